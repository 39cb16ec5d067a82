"""What the models compute, for single items: NumPy, and no padding."""

import json

import numpy as np

from kinds import E, P, S, TEXTS, WORDS, write


def pieces(word):
    """WordPiece: the longest known beginning, again and again."""
    found, rest, first = [], word, True
    while rest:
        ends = [n for n in range(len(rest), 0, -1) if (rest[:n] if first else "##" + rest[:n]) in WORDS]
        if not ends:
            return ["[UNK]"]
        found.append(rest[: ends[0]] if first else "##" + rest[: ends[0]])
        rest, first = rest[ends[0] :], False
    return found


def tokens(text, uncased=True, special=True):
    words = (text.lower() if uncased else text).replace(":", " : ").split()
    inner = [WORDS.index(piece) for word in words for piece in pieces(word)]
    return [2] + inner + [3] if special else inner


def tokenizer(folder, uncased=True, special=True, left=False, length=None, **more):
    post = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {t: {"id": t, "ids": [WORDS.index(t)], "tokens": [t]} for t in ("[CLS]", "[SEP]")},
    }
    padding = {
        "strategy": "BatchLongest",
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    cut = {"direction": "Right", "max_length": length, "strategy": "LongestFirst", "stride": 0}
    write(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": cut if length else None,
            "padding": padding if left else None,
            "added_tokens": [
                {
                    "id": i,
                    "content": t,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                    "special": True,
                }
                for i, t in enumerate(WORDS[:4])
            ],
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": True,
                "strip_accents": None,
                "lowercase": uncased,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": post if special else None,
            "decoder": None,
            "model": {
                "type": "WordPiece",
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": {w: i for i, w in enumerate(WORDS)},
            },
        },
    )


def hidden(ids, first=0, types=False, causal=False):
    x = E[ids].astype(np.float64)
    mean = np.cumsum(x, 0) / np.arange(1, len(ids) + 1)[:, None] if causal else x.mean(0)
    return np.tanh(x + mean + P[first : first + len(ids)] + (S[0] if types else 0))


def pool(h, how):
    n = np.arange(1, len(h) + 1)[:, None]
    return {
        "mean": lambda: h.mean(0),
        "cls": lambda: h[0],
        "max": lambda: h.max(0),
        "lasttoken": lambda: h[-1],
        "weightedmean": lambda: (h * n).sum(0) / n.sum(),
        "mean_sqrt_len_tokens": lambda: h.sum(0) / len(h) ** 0.5,
    }[how]()


def of_texts(make, text=lambda t: t, cut=None, **how):
    ids = [tokens(text(t), **how) for t in TEXTS]
    ids = [i if cut is None or len(i) <= cut else i[: cut - 1] + [3] for i in ids]
    return [make(i) for i in ids]


MEAN = lambda ids: pool(hidden(ids), "mean")
