"""Checks exported models with the onnx package, and compares their outputs with those of the run.

usage: exported_opset.py RUN EXPORT
Prints one line of JSON: for each model of EXPORT its operator set and the largest difference of its outputs from
RUN/model.onnx on random inputs.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort

run, export = map(pathlib.Path, sys.argv[1:])


def session(path):
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def outputs(session, feeds):
    own = {port.name: feeds[port.name] for port in session.get_inputs()}
    return dict(zip([port.name for port in session.get_outputs()], session.run(None, own)))


random = np.random.default_rng(0)
whole = session(run / "model.onnx")
feeds = {}
for port in whole.get_inputs():
    shape = [n if isinstance(n, int) else 3 for n in port.shape]
    feeds[port.name] = np.ones(shape, "int64") if "int" in port.type else random.random(shape, "float32")
expected = outputs(whole, feeds)
found = []
for path in sorted(export.glob("*.onnx")):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    (opset,) = (entry.version for entry in model.opset_import if entry.domain == "")
    got = outputs(session(path), feeds)
    found.append({"opset": opset, "difference": max(float(np.abs(expected[n] - v).max()) for n, v in got.items())})
print(json.dumps(found))
