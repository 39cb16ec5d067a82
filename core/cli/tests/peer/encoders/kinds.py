"""The data, and the list of kinds."""

import json

import numpy as np

D = 6  # the width of every vector
SIDE = 8  # the sides of the pictures that models take
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "a",
    "the",
    "cat",
    "dog",
    "runs",
    "sleeps",
    "red",
    "blue",
    "query",
    "passage",
    ":",
    "on",
    "mat",
    "moon",
    "tree",
    "cafe",
    "un",
    "##happy",
    "##s",
    "A",
    "Cat",
    "The",
]
TEXTS = [
    "a cat runs",
    "the dog sleeps on the mat",
    "red moon",
    "blue",
    "the red cat sleeps",
    "a tree on the moon",
    "The Cat runs on a tree",
    "dog dog dog",
    "a blue dog runs",
    "the moon",
    "cats",
    "unhappy dog sleeps",
]


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


E, P, S = numbers(1, len(WORDS), D), numbers(2, 64, D), numbers(3, 2, D)
W1 = numbers(4, D, D)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


KINDS = []


def levels(row):
    """The picture of a row, as levels [height, width, 3]."""
    return np.random.default_rng(row).integers(0, 256, (11 + row % 3, 14, 3), np.uint8)


def kind(name, what, takes="text", vectors=None, add=(), refused=None, by="plan", path=".", told=None):
    entry = {"kind": name, "what": what, "takes": takes, "add": list(add), "path": path, "told": told}
    if refused:
        entry.update(refused=refused, by=by)
    else:
        entry["vectors"] = [np.asarray(vector, np.float64).tolist() for vector in vectors]
    KINDS.append(entry)
