"""Embeds the same items in several forms with an export for sentence-transformers.

usage: sentence_transformers_forms.py EXPORT PICTURES TEXT
Prints one line of JSON: the largest difference of each form from single items, and how many wrong items were
refused.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
from PIL import Image
from sentence_transformers import SentenceTransformer

export, pictures, text = sys.argv[1:]
model = SentenceTransformer(export, trust_remote_code=True)
paths = sorted(str(path) for path in pathlib.Path(pictures).iterdir())[:5]
texts = [text, "a star", "a golden plus is below the purple star, and so on", "a star"]
single = {
    "text": np.concatenate([model.encode([item]) for item in texts]),
    "image": np.concatenate([model.encode([item]) for item in paths]),
}
opened = [Image.open(path) for path in paths]


def gap(found, kind):
    return float(np.abs(found - single[kind]).max())


differences = {
    "batch": max(gap(model.encode(texts), "text"), gap(model.encode(paths, batch_size=2), "image")),
    "picture": gap(model.encode(opened), "image"),
    "array": gap(model.encode([np.asarray(picture.convert("RGB")) for picture in opened]), "image"),
    "dict": gap(model.encode([{"image": path} for path in paths]), "image"),
}
with tempfile.TemporaryDirectory() as folder:
    model.save(folder)
    differences["saved"] = gap(SentenceTransformer(folder, trust_remote_code=True).encode(texts), "text")
refused = 0
try:
    model.encode([3.5])
except (ValueError, TypeError):
    refused += 1
print(json.dumps({"differences": differences, "refused": refused}))
