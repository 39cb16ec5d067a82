"""Writes operators.json: what every method of the graph builder must compute, by NumPy in double precision.

    python3 core/runtime/tests/reference/make.py

Independent of ONNX: nothing here reads a graph. `inputs` are the values the test feeds, `outputs` what it must find.
"""

import json
import math
from pathlib import Path

import numpy as np

rng = np.random.default_rng(20)
erf = np.vectorize(math.erf)


def f32(*shape):
    """Random values that f32 holds exactly, so that both sides begin from the same numbers."""
    return rng.standard_normal(shape).astype(np.float32).astype(np.float64).round(3)


def gelu(x):
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


inputs = {
    "x": f32(3, 5),
    "y": f32(3, 5),
    "w1": f32(5, 4),
    "b1": f32(4),
    "w2": f32(4, 2),
    "b2": f32(2),
    "scale": f32(5),
    "bias": f32(5),
    "tokens": f32(3, 4, 5),
    "mask": np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], np.float64),
    "rows": np.array([2, 0, 2], np.int64),
}
inputs["x"][1] = 0.0  # a row without direction: its normalised form is zero
v = dict(inputs)
x, y, mask, tokens = v["x"], v["y"], v["mask"], v["tokens"]
deviation = x - x.mean(-1, keepdims=True)
order = np.argsort(-y, axis=-1, kind="stable")[:, :2]
outputs = {
    "add": x + y,
    "sub": x - y,
    "mul": x * y,
    "div": x / np.abs(y),
    "neg": -x,
    "sqrt": np.sqrt(np.abs(x)),
    "exp": np.exp(x),
    "log": np.log(np.abs(y)),
    "abs": np.abs(x),
    "sign": np.sign(x),
    "relu": np.maximum(x, 0),
    "tanh": np.tanh(x),
    "erf": erf(x),
    "identity": x,
    "matmul": x @ v["w1"],
    "add_scalar": x + 0.25,
    "mul_scalar": x * -1.5,
    "max_scalar": np.maximum(x, 0.1),
    "pow": np.abs(x) ** 1.5,
    "gelu": gelu(x),
    "softmax": softmax(x),
    "layer_norm": deviation / np.sqrt((deviation**2).mean(-1, keepdims=True) + 1e-5) * v["scale"] + v["bias"],
    "l2_normalise": x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12),
    "linear": x @ v["w1"] + v["b1"],
    "mlp": gelu(x @ v["w1"] + v["b1"]) @ v["w2"] + v["b2"],
    "reduce_sum": tokens.sum((1, 2), keepdims=True),
    "transpose": tokens.transpose(2, 0, 1),
    "reshape": tokens.reshape(3, 20),
    "unsqueeze": x[:, None],
    "squeeze": x,
    "concat": np.concatenate([x, y], 1),
    "top_k": np.take_along_axis(y, order, -1),
    "top_k_places": order,
    "where": np.where(x > y, x, y),
    "cast": np.trunc(x).astype(np.int64),
    "gather": x[v["rows"]],
    "expand": np.broadcast_to(v["scale"], (3, 5)),
    "shape": np.array([3, 4, 5], np.int64),
    "mean_pool": (tokens * mask[..., None]).sum(1) / np.maximum(mask.sum(1, keepdims=True), 1),
    "cls_pool": tokens[:, 0],
}


def plain(values):
    return {name: {"shape": list(a.shape), "values": np.asarray(a).ravel().tolist()} for name, a in values.items()}


path = Path(__file__).with_name("operators.json")
path.write_text(json.dumps({"inputs": plain(inputs), "outputs": plain(outputs)}, indent=None) + "\n")
