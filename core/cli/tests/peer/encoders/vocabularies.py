"""Tokenizers from before tokenizer.json."""

import numpy as np
from onnx import TensorProto as T

from graphs import Graph, Text
from kinds import D, TEXTS, WORDS, kind, numbers, write
from reference import MEAN, of_texts

SIZE = ["--set", "preprocessing.max_length=48"]


def vocabularies(root):
    """Tokenizers from before tokenizer.json."""
    for name, uncased in [("vocab-uncased", True), ("vocab-cased", False)]:
        Text().tokens().save(root / name / "model.onnx")
        write(root / name / "vocab.txt", "\n".join(WORDS) + "\n")
        write(root / name / "tokenizer_config.json", {"do_lower_case": uncased, "model_max_length": 48})
        kind(
            name,
            f"`vocab.txt`, `do_lower_case` {str(uncased).lower()}",
            vectors=of_texts(MEAN, uncased=uncased),
        )
    # Byte pairs: every letter, and the merges of "cat" with and without the space before it.
    letters = sorted({c for text in TEXTS for c in text + text.lower()} - {" "})
    space = "\u0120"  # the byte of a space
    for family in ("gpt2", "roberta", "clip"):
        clip, around = (
            family == "clip",
            {"gpt2": [], "roberta": ["<s>", "</s>"], "clip": ["<|startoftext|>", "<|endoftext|>"]}[family],
        )
        ends = [c + "</w>" for c in letters] if clip else [space]
        joined = ["ca", "cat</w>"] if clip else ["ca", "cat", space + "cat"]
        vocabulary = around + letters + ends + joined
        vocabulary = list(dict.fromkeys(vocabulary))
        merges = ["c a", "ca t</w>"] if clip else ["c a", "ca t", f"{space} cat"]
        name = f"vocab-{family}"
        graph = Graph()
        table = numbers(11, len(vocabulary), D)
        ids = graph.input("input_ids", T.INT64, "B", "T")
        graph.input("attention_mask", T.INT64, "B", "T")
        graph.output(graph.op("Gather", graph.const(table), ids), "last_hidden_state", "B", "T", D)
        graph.save(root / name / "model.onnx")
        write(root / name / "vocab.json", {token: i for i, token in enumerate(vocabulary)})
        write(root / name / "merges.txt", "#version: 0.2\n" + "\n".join(merges) + "\n")
        classes = {"gpt2": "GPT2Tokenizer", "roberta": "RobertaTokenizer", "clip": "CLIPTokenizer"}
        write(
            root / name / "tokenizer_config.json",
            {"tokenizer_class": classes[family], "model_max_length": 64},
        )

        def split(text):
            found = []
            for at, word in enumerate((text.lower() if clip else text).split()):
                parts = list(word)
                if clip:
                    parts[-1] += "</w>"
                elif at:
                    parts = [space, *parts]
                for left, right in (merge.split() for merge in merges):
                    while any(pair == (left, right) for pair in zip(parts, parts[1:])):
                        place = list(zip(parts, parts[1:])).index((left, right))
                        parts[place : place + 2] = [left + right]
                found += parts
            return [vocabulary.index(part) for part in around[:1] + found + around[1:]]

        kind(
            name,
            f"`vocab.json` and `merges.txt` of {classes[family][:-9]}",
            vectors=[table[split(text)].mean(0) for text in TEXTS],
        )
    for family in ("t5", "albert", "xlm-roberta"):
        sentence_piece(root, family)
    sentence_piece(root, "llama")
    Text().tokens().save(root / "no-tokenizer/model.onnx")
    kind("no-tokenizer", "no tokenizer beside the model", refused=["tokenizer.json"], by="plan")


def message(number, content):
    """A field of a protocol buffer: bytes, a number, or a float."""
    if isinstance(content, float):
        return bytes([number << 3 | 5]) + np.float32(content).tobytes()
    if isinstance(content, int):
        return bytes([number << 3, content])
    return bytes([number << 3 | 2, len(content)]) + content


def best(word, scores):
    """The pieces of a word with the largest sum of scores (Viterbi)."""
    ways = {0: (0.0, [])}
    for end in range(1, len(word) + 1):
        parts = [
            (ways[start][0] + scores[word[start:end]], ways[start][1] + [word[start:end]])
            for start in range(end)
            if start in ways and word[start:end] in scores
        ]
        if parts:
            ways[end] = max(parts)
    return ways[len(word)][1]


def joined(text, scores):
    """The pieces of a text: of all neighbours, those that make the piece with the best score are joined."""
    parts = list(text)
    while True:
        pairs = [
            (scores[left + right], -at)
            for at, (left, right) in enumerate(zip(parts, parts[1:]))
            if left + right in scores
        ]
        if not pairs:
            return parts
        at = -max(pairs)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def sentence_piece(root, family):
    """A SentencePiece model: all letters, and a few longer pieces."""
    name, space = f"sentencepiece-{family}", "\u2581"
    first = {
        "t5": ["<pad>", "</s>", "<unk>"],
        "albert": ["<pad>", "<unk>", "[CLS]", "[SEP]"],
        "xlm-roberta": ["<unk>", "<s>", "</s>"],
        "llama": ["<unk>", "<s>", "</s>"],
    }[family]
    lower = family == "albert"
    letters = sorted({c for text in TEXTS for c in (text.lower() if lower else text)} - {" "})
    scores = {piece: -5.0 - i / 16 for i, piece in enumerate([space, *letters])}
    scores.update(
        {space + "cat": -4.0, "at": -3.5, space + "the": -2.0, "og": -3.0, "ee": -6.0, space + "d": -4.5}
    )
    pieces = b"".join(
        message(1, message(1, piece.encode()) + message(2, score) + message(3, kind_of))
        for piece, score, kind_of in [(piece, 0.0, 2 if piece == "<unk>" else 3) for piece in first]
        + [(piece, score, 1) for piece, score in scores.items()]
    )
    byte_pairs = family == "llama"
    model = pieces + message(2, message(3, 2 if byte_pairs else 1))
    files = {"xlm-roberta": "sentencepiece.bpe.model", "llama": "tokenizer.model"}
    file = files.get(family, "spiece.model")
    classes = {"t5": "T5Tokenizer", "albert": "AlbertTokenizer", "xlm-roberta": "XLMRobertaTokenizer"}
    classes["llama"] = "LlamaTokenizer"
    vocabulary = first + list(scores)
    if family == "xlm-roberta":
        vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *scores, "<mask>"]
    graph, table = Graph(), numbers(13, len(vocabulary), D)
    ids = graph.input("input_ids", T.INT64, "B", "T")
    graph.input("attention_mask", T.INT64, "B", "T")
    graph.output(graph.op("Gather", graph.const(table), ids), "last_hidden_state", "B", "T", D)
    graph.save(root / name / "model.onnx")
    (root / name / file).write_bytes(model)
    write(
        root / name / "tokenizer_config.json",
        {"tokenizer_class": classes.get(family), "model_max_length": 64},
    )

    def split(text):
        if byte_pairs:
            return [vocabulary.index(piece) for piece in ["<s>", *joined(space + text.replace(" ", space), scores)]]
        words = (text.lower() if lower else text).split()
        found = [piece for word in words for piece in best(space + word, scores)]
        before, after = {
            "t5": ([], ["</s>"]),
            "albert": (["[CLS]"], ["[SEP]"]),
            "xlm-roberta": (["<s>"], ["</s>"]),
        }[family]
        return [vocabulary.index(piece) for piece in before + found + after]

    kind(
        name,
        f"a SentencePiece model of {classes[family][:-9]}{', byte pairs' if byte_pairs else ''}",
        vectors=[table[split(text)].mean(0) for text in TEXTS],
    )
