"""A run's merged model, and its parts one after the other, in Python's onnxruntime.

usage: peer_merged.py RUN ROWS LENGTH THREADS; for every line on stdin it takes one round of both and prints their seconds.
"""

import pathlib
import sys
import time

import numpy as np
import onnxruntime

run, (rows, length, threads) = pathlib.Path(sys.argv[1]), map(int, sys.argv[2:])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads


def session(path):
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def names(ports):
    return [port.name for port in ports]


def probe(port):
    shape = [d if isinstance(d, int) else (length if i else rows) for i, d in enumerate(port.shape)]
    if "float" not in port.type:
        return np.ones(shape, np.int64)
    return (np.arange(np.prod(shape)) % 17 / 17).astype(np.float32).reshape(shape)


whole = session(run / "model.onnx")
inputs = {port.name: probe(port) for port in whole.get_inputs()}
towers = [(f.stem, session(f), session(run / "aligner" / f.name)) for f in sorted((run / "encoders").glob("*.onnx"))]
fusion = session(run / "fusion.onnx") if (run / "fusion.onnx").is_file() else None
answers = [n for n in names(fusion.get_outputs()) if not n.startswith("attention.")] if fusion else []


def staged():
    seen = {}
    for name, encoder, head in towers:
        made = encoder.run(None, {n: inputs[n] for n in names(encoder.get_inputs())})
        made = dict(zip(names(encoder.get_outputs()), made))
        seen[f"{name}.pooled"] = head.run(None, {f"{name}/pooled": made.pop(f"{name}/pooled")})[0]
        seen |= {key.replace("/", "."): value for key, value in made.items()}
    if fusion:
        fusion.run(answers, {n: seen[n] for n in names(fusion.get_inputs())})


def timed(work, calls=5):
    time.sleep(0.02)
    work()
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls


for _ in sys.stdin:
    print(timed(lambda: whole.run(None, inputs)), timed(staged), flush=True)
