"""Models as libraries save them, from `../libraries`, with the vectors that these libraries computed."""

import json, shutil
from pathlib import Path

from kinds import kind

MADE = Path(__file__).parent.parent / "libraries"


def libraries(root):
    def library(name, what, takes="text"):
        folder = root / f"saved-{name}"
        shutil.copytree(MADE / name, folder, dirs_exist_ok=True)
        vectors = json.loads((folder / "vectors.json").read_text())
        (folder / "vectors.json").unlink()
        kind(f"saved-{name}", what, takes=takes, vectors=vectors)

    library("sentence_transformers", "saved by sentence-transformers, its own vectors")
    library("optimum", "exported by Optimum, the vectors of transformers")
    library("transformers", "an image model saved by transformers, its own vectors", takes="image")
