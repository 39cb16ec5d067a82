"""Speech vectors and the data files of the trimodal example.

    python prepare.py --real FOLDER --out FOLDER

FOLDER holds flickr1k/ (pairs.jsonl, images, recordings) and models/speech-embedding/. Written are

    speech.npy       one vector of 288 numbers a recording: mean, deviation and maximum over the 96 numbers of every 80 ms
    complete.jsonl   every row with image, captions and speech
    bound.jsonl      training rows hold image and captions, or captions and speech, never image and speech
    missing.jsonl    from complete.jsonl, every item of the training rows removed with probability 0.2
    dropped.jsonl    from missing.jsonl, only the training rows that are complete

Needs numpy, scipy, soundfile and onnxruntime.
"""

import argparse
import json
import pathlib

import numpy
import onnxruntime
import scipy.signal
import soundfile

RATE = 16_000
WINDOW, HOP = 76, 8  # frames of 10 ms that the embedding model sees at a time, and the step between windows


def recording(path):
    """Samples of one channel at 16 kHz, in the range of 16-bit integers."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    samples = samples.mean(axis=1)
    if rate != RATE:
        samples = scipy.signal.resample_poly(samples, RATE, rate)
    return (32767 * samples).astype(numpy.float32)


def vector(path, mel, embedding):
    """Mean, deviation and maximum over time of the model's tokens."""
    (spectrogram,) = mel.run(None, {mel.get_inputs()[0].name: recording(path)[None]})
    frames = spectrogram.reshape(-1, 32) / 10 + 2
    if len(frames) < WINDOW:
        frames = numpy.pad(frames, ((0, WINDOW - len(frames)), (0, 0)), mode="edge")
    starts = range(0, len(frames) - WINDOW + 1, HOP)
    windows = numpy.stack([frames[start : start + WINDOW] for start in starts])[..., None]
    (tokens,) = embedding.run(None, {embedding.get_inputs()[0].name: windows})
    tokens = tokens.reshape(len(windows), 96)
    return numpy.concatenate([tokens.mean(axis=0), tokens.std(axis=0), tokens.max(axis=0)])


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def bound(row, number):
    """Half of the training rows lose their image, the other half their speech."""
    lost = "image" if number % 2 else "speech"
    return {key: value for key, value in row.items() if row["split"] != "train" or key != lost}


def missing(row, random):
    """Every item of a training row is removed with probability 0.2; a row that would be empty keeps its captions."""
    if row["split"] != "train":
        return row
    kept = dict(row)
    for key in ("image", "speech"):
        if random.random() < 0.2:
            del kept[key]
    captions = [caption for caption in row["captions"] if random.random() >= 0.2]
    kept["captions"] = captions or ([] if {"image", "speech"} & kept.keys() else row["captions"])
    return kept


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    folder = (given.real / "flickr1k").resolve()
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    models = given.real / "models" / "speech-embedding"
    sessions = [onnxruntime.InferenceSession(models / name) for name in ("melspectrogram.onnx", "embedding_model.onnx")]
    vectors = numpy.stack([vector(folder / row["speech"], *sessions) for row in rows])
    numpy.save(given.out / "speech.npy", vectors.astype(numpy.float32))
    rows = [
        {"id": row["id"], "split": row["split"], "image": str(folder / row["image"]), "captions": row["captions"], "speech": at}
        for at, row in enumerate(rows)
    ]
    random = numpy.random.default_rng(0)
    partial = [missing(row, random) for row in rows]
    complete = lambda row: row["split"] != "train" or ("image" in row and "speech" in row and row["captions"])
    write(given.out / "complete.jsonl", rows)
    write(given.out / "bound.jsonl", [bound(row, number) for number, row in enumerate(rows)])
    write(given.out / "missing.jsonl", partial)
    write(given.out / "dropped.jsonl", [row for row in partial if complete(row)])


if __name__ == "__main__":
    main()
