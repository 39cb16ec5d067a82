"""How well the demo's two encoders can be aligned: a peer in Python of what the demo does.

    python models/check_demo_encoders.py            # see make_demo_encoders.py for the environment

Makes the demo's world (seed 2026, 5000 scenes), embeds it with the two .onnx files, fits regularised CCA on the 4000
training pairs (the first caption of each) and prints recall over the 1000 test scenes. The regularisation is chosen
on the last fifth of the training pairs; test pairs are looked at once.
"""

import argparse
import itertools
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from tokenizers import Tokenizer

MODELS = Path(__file__).resolve().parent
SEED, COUNT = 2026, 5000
CUTS = (1, 5, 10)


def embed(work):
    """Image embeddings [n,192], caption embeddings [n,5,192], and which rows are for testing."""
    command = ["cargo", "run", "-q", "-p", "world", "--", "--out", work, "--seed", str(SEED), "--count", str(COUNT)]
    subprocess.run(command, cwd=MODELS.parent, check=True)
    rows = [json.loads(line) for line in open(Path(work) / "pairs.jsonl", encoding="utf-8")]
    open_model = lambda name: onnxruntime.InferenceSession(str(MODELS / name / "model.onnx"))
    pixels = np.stack([np.asarray(Image.open(Path(work) / row["image"])) for row in rows])
    session, images = open_model("demo-image"), []
    for start in range(0, len(rows), 100):
        batch = ((pixels[start : start + 100] / 255 - 0.5) / 0.25).astype(np.float32).transpose(0, 3, 1, 2)
        images.append(session.run(["embedding"], {"pixel_values": np.ascontiguousarray(batch)})[0])
    tokenizer = Tokenizer.from_file(str(MODELS / "demo-text" / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    captions = [caption for row in rows for caption in row["captions"]]
    session, texts = open_model("demo-text"), []
    for start in range(0, len(captions), 250):
        encoded = tokenizer.encode_batch(captions[start : start + 250])
        feed = {"input_ids": [e.ids for e in encoded], "attention_mask": [e.attention_mask for e in encoded]}
        texts.append(session.run(["sentence_embedding"], {k: np.array(v, np.int64) for k, v in feed.items()})[0])
    test = np.array([row["split"] == "test" for row in rows])
    return np.concatenate(images), np.concatenate(texts).reshape(len(rows), 5, -1), test


def cca(x, y, ridge):
    """Regularised CCA: whitening maps shrunk by `ridge` times the mean variance, scores weighted by correlation."""
    sides = []
    for values in (x, y):
        mean = values.mean(0)
        variance, basis = np.linalg.eigh(np.cov(values - mean, rowvar=False))
        sides.append((mean, basis / np.sqrt(np.maximum(variance, 0) + ridge * variance.mean())))
    (mx, wx), (my, wy) = sides
    left, strength, right = np.linalg.svd(((x - mx) @ wx).T @ ((y - my) @ wy) / len(x))
    return (mx, wx @ left * strength), (my, wy @ right.T * strength)


def scores(maps, x, y):
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)
    (mx, wx), (my, wy) = maps
    return unit((x - mx) @ wx) @ unit((y - my) @ wy).T


def recalls(score):
    """Recall at CUTS from rows to columns; ties count half."""
    own = np.diag(score)[:, None]
    rank = (score > own).sum(1) + ((score == own).sum(1) - 1) / 2
    return [float((rank < cut).mean()) for cut in CUTS]


def main():
    """Prints the table; with --save, keeps the embeddings."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--save", type=Path, help="folder for the embeddings, as .npy")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as work:
        image, text, test = embed(work)
    if chosen.save:
        chosen.save.mkdir(parents=True, exist_ok=True)
        for name, values in {"image": image, "text": text, "test": test}.items():
            np.save(chosen.save / f"{name}.npy", values)
    image, text = image.astype(np.float64), text[:, 0].astype(np.float64)
    x, y = image[~test], text[~test]
    cut = len(x) * 4 // 5
    quality = lambda ridge: sum(recalls(scores(cca(x[:cut], y[:cut], ridge), x[cut:], y[cut:])))
    ridge = max([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0], key=quality)
    shuffled = np.random.default_rng(0).permutation(len(x))
    runs = {f"cca, ridge {ridge}": cca(x, y, ridge), "shuffled pairs": cca(x, y[shuffled], ridge)}
    columns = itertools.product(("image->text", "text->image"), CUTS)
    print(f"{'':24}" + "".join(f"{way} @{cut:<6}" for way, cut in columns))
    for name, maps in runs.items():
        score = scores(maps, image[test], text[test])
        line = recalls(score) + recalls(score.T)
        print(f"{name:24}" + "".join(f"{100 * value:<19.1f}" for value in line))
    print(f"{'chance':24}" + "".join(f"{100 * cut / test.sum():<19.1f}" for cut in CUTS * 2))


if __name__ == "__main__":
    main()
