"""Trains two small tokenizers on our own sentences and stores what the reference library makes of awkward texts.

    python make.py [PATH/TO/minilm-l6]     # needs tokenizers; rewrites the .json files beside this script

Given the folder of the real all-MiniLM-L6-v2, it also stores the numbers its tokenizer gives (minilm.golden.json),
not the tokenizer itself.
"""
import json, pathlib, sys
import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent

SUBJECTS = "a child,two dogs,the old fisherman,a cyclist in red,three women,a crowd,my neighbour's cat,an engineer".split(",")
VERBS = "runs along,looks at,paints,jumps over,carries,is waiting near,photographs,doesn't notice".split(",")
PLACES = "the beach,a snowy mountain,a café,the river bank,an unfinished bridge,the playground,42 boxes,Zürich's station".split(",")
SENTENCES = [f"{s} {v} {p}." for s in SUBJECTS for v in VERBS for p in PLACES]

TEXTS = [
    "",
    "   \t\n ",
    "A child in a pink dress is climbing up a set of stairs in an entry way .",
    "Don't stop: it's 3.14% (approx.) -- isn't it?!",
    "Café naïve Ångström İstanbul straße ﬁnance Ⅷ",
    "cafe\u0301 versus caf\u00e9",
    "東京タワーと大阪城, 서울, 北京",
    "مرحبا بالعالم שלום",
    "👩‍👩‍👧‍👦 family 👍🏽 flag 🇨🇭 ☕️",
    "zero\u200bwidth no\u00a0break soft\u00adhyphen \ufeffbom",
    "control\u0001chars\u007fand\u0085more\u2028line",
    "literal [SEP] and [MASK] and [PAD] tokens <|end|>",
    "supercalifragilisticexpialidocious" * 4,
    " ".join(SENTENCES[::37]) + " " + " ".join(SENTENCES[5::41]),
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 \U0001f9ff",
]


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=320, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.enable_truncation(16)  # as published files have them: the adapter must replace both
    tokenizer.enable_padding(length=16, pad_id=0, pad_token="[PAD]")
    return tokenizer


def byte_pairs():
    """Byte-level BPE: its splitting expression needs look-ahead, which not every regex engine has."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=["<|start|>", "<|end|>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|start|> $A <|end|>", special_tokens=[("<|start|>", 0), ("<|end|>", 1)])
    return tokenizer


def golden(tokenizer, lengths):
    cases = []
    tokenizer.no_padding()
    for max_length in lengths:
        tokenizer.enable_truncation(max_length)
        for text in TEXTS:
            encoding = tokenizer.encode(text)
            cases.append({"text": text, "max_length": max_length, "ids": encoding.ids,
                          "mask": encoding.attention_mask, "types": encoding.type_ids})
    return cases


def store(name, cases):
    lines = ",\n  ".join(json.dumps(case) for case in cases)
    (HERE / name).write_text(f'{{"made_with": "tokenizers {tokenizers.__version__}", "cases": [\n  {lines}\n]}}\n')


def main():
    for name, tokenizer in [("word-piece", word_piece()), ("byte-pairs", byte_pairs())]:
        tokenizer.save(str(HERE / f"{name}.json"), pretty=False)
        store(f"{name}.golden.json", golden(tokenizer, [3, 12, 64]))
    if len(sys.argv) > 1:
        real = Tokenizer.from_file(str(pathlib.Path(sys.argv[1]) / "tokenizer.json"))
        store("minilm.golden.json", golden(real, [8, 256]))


main()
