"""Stores the vectors that soundfile, NumPy, librosa's resampler and ONNX Runtime give for some real recordings.

    python real.py PATH/TO/real    # needs numpy, soundfile, librosa, onnx and onnxruntime; rewrites real.json and real.bin here

The folder holds models/, esc10/ and flickr1k/. Neither recordings nor weights are stored.
"""

import json
import pathlib
import sys

import librosa
import numpy as np
import onnx
import onnxruntime
import soundfile

HERE, REAL = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[1])
RATE = 16_000
EMBEDDING = "model_1/sequential_2/global_average_pooling2d_3/Mean_Squeeze__119:0"


def read(path):
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return librosa.resample(samples.mean(axis=1), orig_sr=rate, target_sr=RATE)


def windows(frames, size, hop):
    return np.stack([frames[start : start + size] for start in range(0, len(frames) - size + 1, hop)])


def session(path, expose=None):
    model = onnx.load(path)
    if expose:
        model.graph.output.append(onnx.helper.make_tensor_value_info(expose, onnx.TensorProto.FLOAT, None))
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


class Yamnet:
    def __init__(self):
        self.model = session(next((REAL / "models/yamnet256").glob("*.onnx")), EMBEDDING)
        mels = lambda hertz: 1127 * np.log1p(hertz / 700)
        edges = np.linspace(mels(125), mels(7500), 66)
        bins = mels(np.arange(257) * RATE / 512)[:, None]
        lower = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
        upper = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
        self.filters = np.maximum(0, np.minimum(lower, upper))

    def __call__(self, samples):
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
        frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160] * hann
        mel = np.log(np.abs(np.fft.rfft(frames, 512)) @ self.filters + 0.01).astype(np.float32)
        patches = windows(mel, 96, 48).transpose(0, 2, 1)[:, None]
        (tokens,) = self.model.run([EMBEDDING], {"input_1": patches})
        return np.concatenate([tokens.mean(0), tokens.max(0)])


class Speech:
    def __init__(self):
        folder = REAL / "models/speech-embedding"
        self.mel, self.model = session(folder / "melspectrogram.onnx"), session(folder / "embedding_model.onnx")

    def __call__(self, samples):
        (mel,) = self.mel.run(None, {"input": 32767 * samples[None]})
        patches = windows(mel.reshape(-1, 32) / 10 + 2, 76, 8)[..., None]
        (tokens,) = self.model.run(None, {"input_1": patches})
        tokens = tokens.reshape(-1, 96)
        return np.concatenate([tokens.mean(0), tokens.std(0), tokens.max(0)])


def main():
    clips = sorted((REAL / "esc10").glob("*/*/*.ogg"))[::80]
    rows = [json.loads(line) for line in (REAL / "flickr1k/pairs.jsonl").read_text().splitlines()]
    spoken = [REAL / "flickr1k" / row["speech"] for row in rows[::300]]
    golden, cases = bytearray(), []
    for name, encoder in [("yamnet256", Yamnet()), ("speech-embedding", Speech())]:
        for path in clips + spoken:
            vector = encoder(read(path))
            recording = path.relative_to(REAL).as_posix()
            cases.append({"model": name, "recording": recording, "offset": len(golden), "dim": vector.size})
            golden.extend(vector.astype("<f4").tobytes())
    (HERE / "real.bin").write_bytes(golden)
    (HERE / "real.json").write_text("[\n  " + ",\n  ".join(json.dumps(case) for case in cases) + "\n]\n")


main()
