"""The Python peer of the embedding bench, written to be fast: prints one JSON line per modality.

What it does for speed: weight-only quantised models are folded to floats at load (session.disable_quant_qdq), captions
are sorted by length into batches under a token budget, and every thread prepares and runs its own batches on a
single-threaded session of its own. `--plain` leaves the engine's
options alone and uses one session with all threads, as scripts commonly do.

Usage: peer_embed.py MODELS_AND_PAIRS_FOLDER [--threads N] [--plain] [--only text|image] [--save FOLDER]
"""

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

arguments = argparse.ArgumentParser()
arguments.add_argument("real", type=Path)
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--plain", action="store_true")
arguments.add_argument("--only", choices=["text", "image"])
arguments.add_argument("--save", type=Path)
arguments = arguments.parse_args()
for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = str(arguments.threads)

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
from PIL import Image  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

TEXT = "models/minilm-l6/all-MiniLM-L6-v2_w8.onnx"
IMAGE = "models/mobilenetv2/mobilenet_v2_1.0_224_w8.onnx"
TOKENS, ROWS, PICTURES = 1024, 64, 8


def session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if not arguments.plain:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def lanes(path):
    """Sessions and the pool that runs them: one thread each, or one session for all threads."""
    count = 1 if arguments.plain else arguments.threads
    free = [session(path, arguments.threads // count) for _ in range(count)]
    return free, ThreadPoolExecutor(count)


def run_batches(free, pool, batches, work):
    def one(batch):
        lane = free.pop()
        try:
            return batch, work(lane, batch)
        finally:
            free.append(lane)

    return list(pool.map(one, batches))


def text(captions):
    free, pool = lanes(arguments.real / TEXT)
    tokenizer = Tokenizer.from_file(str(arguments.real / "models/minilm-l6/tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.no_padding()
    start = time.perf_counter()
    rows = [np.array(e.ids, np.int64) for e in tokenizer.encode_batch(captions)]
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
    batches = []
    while order:
        size = max(1, min(ROWS, TOKENS // len(rows[order[0]])))
        batches.append(order[:size])
        order = order[size:]

    def work(lane, batch):
        longest = len(rows[batch[0]])
        ids = np.zeros((len(batch), longest), np.int64)
        mask = np.zeros((len(batch), longest), np.int64)
        for row, i in enumerate(batch):
            ids[row, : len(rows[i])] = rows[i]
            mask[row, : len(rows[i])] = 1
        return lane.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": mask})[0]

    out = np.empty((len(rows), 384), np.float32)
    for batch, result in run_batches(free, pool, batches, work):
        out[batch] = result
    return out, time.perf_counter() - start


def image(files):
    free, pool = lanes(arguments.real / IMAGE)
    scale, shift = np.float32(1 / 128), np.float32(-1)

    def load(path, into):
        with Image.open(path) as picture:
            picture = picture.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        pixels = np.asarray(picture).transpose(2, 0, 1)
        np.multiply(pixels, scale, out=into, dtype=np.float32)
        into += shift

    def work(lane, batch):
        pixels = np.empty((len(batch), 3, 224, 224), np.float32)
        if decoders is None:
            for row, i in enumerate(batch):
                load(files[i], pixels[row])
        else:
            pixels = prepared[batch[0]].result()
        return lane.run(["embedding"], {"image": pixels})[0]

    start = time.perf_counter()
    batches = [list(range(i, min(i + PICTURES, len(files)))) for i in range(0, len(files), PICTURES)]
    decoders, prepared = None, {}
    if arguments.plain:
        decoders = ThreadPoolExecutor(arguments.threads)

        def ahead(batch):
            pixels = np.empty((len(batch), 3, 224, 224), np.float32)
            for row, i in enumerate(batch):
                load(files[i], pixels[row])
            return pixels

        prepared = {batch[0]: decoders.submit(ahead, batch) for batch in batches}
    out = np.empty((len(files), 1280), np.float32)
    for batch, result in run_batches(free, pool, batches, work):
        out[batch] = result
    return out, time.perf_counter() - start


pairs = [json.loads(line) for line in open(arguments.real / "flickr1k/pairs.jsonl")]
captions = [caption for pair in pairs for caption in pair["captions"]]
files = [arguments.real / "flickr1k" / pair["image"] for pair in pairs]
for name, work, items in (("text", text, captions), ("image", image, files)):
    if arguments.only in (None, name):
        rows, seconds = work(items)
        print(json.dumps({"what": name, "items": len(items), "seconds": seconds}), flush=True)
        if arguments.save:
            np.save(arguments.save / f"{name}.npy", rows)
