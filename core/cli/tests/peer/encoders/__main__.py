"""Makes small encoders as they come from exporters, and computes their vectors with NumPy.

    python encoders FOLDER

writes the data (`pairs.jsonl`, `vectors.npy`, `images/`) and one folder for each kind of encoder into FOLDER,
and prints a JSON list of the kinds:

- `kind`: the name, also of the folder; `what`: a description;
- `add`: arguments of `chiasm model add` after the path;
- `takes`: `text` or `image`; `vectors`: one vector for each row of the data, or
- `refused`: words of the message, and `by`: `add` or `plan`.

The vectors are computed from single items without padding, by code that shares nothing with Chiasm: NumPy,
Pillow for the pictures, and the tokens that `tokens` and its variants list.
"""

import json, sys
from pathlib import Path

import numpy as np
from PIL import Image

from classifiers import classifiers
from kinds import D, KINDS, TEXTS, levels, numbers, write
from libraries import libraries
from pictures import both_towers, images
from sentence import sentence
from texts import inputs
from vocabularies import vocabularies


def data(root):
    lines = []
    (root / "images").mkdir(parents=True, exist_ok=True)
    for row, text in enumerate(TEXTS):
        Image.fromarray(levels(row)).save(root / f"images/{row}.png")
        lines.append(
            json.dumps(
                {
                    "id": str(row),
                    "text": text,
                    "image": f"images/{row}.png",
                    "vector": row,
                    "split": "test" if row % 6 == 5 else "train",
                }
            )
        )
    write(root / "pairs.jsonl", "\n".join(lines) + "\n")
    np.save(root / "vectors.npy", numbers(31, len(TEXTS), D))


root = Path(sys.argv[1])
data(root)
for make in (sentence, inputs, vocabularies, images, classifiers, both_towers, libraries):
    make(root)
json.dump(KINDS, sys.stdout)
