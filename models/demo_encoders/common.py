"""What both encoders' trainings share: scenes, the optimiser's loop, and writing a checked .onnx with its card."""

import hashlib
import json
import subprocess
import time
from pathlib import Path

import jax
import numpy as np
import onnx
import onnxruntime
import optax
from onnx import TensorProto, helper, numpy_helper

MODELS = Path(__file__).resolve().parent.parent
WIDTH = 192  # of both embeddings
LIMIT = 2_000_000  # bytes of a model file


def make_world(folder, seed, count):
    """Writes a world with the generator of examples/world; returns its rows."""
    command = ["cargo", "run", "-q", "-p", "world", "--", "--out", str(folder), "--seed", str(seed)]
    subprocess.run([*command, "--count", str(count)], cwd=MODELS.parent, check=True)
    with open(folder / "pairs.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def train(name, params, stats, loss, batches, steps, rate):
    """AdamW with a warm-up and a cosine decay. `loss(params, stats, key, batch)` -> (value, (stats, notes))."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, steps // 20, steps, rate / 100)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-3))
    state = optimiser.init(params)

    @jax.jit
    def step(params, stats, state, key, batch):
        (value, (stats, notes)), gradient = jax.value_and_grad(loss, has_aux=True)(params, stats, key, batch)
        updates, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, updates), stats, state, notes | {"loss": value}

    start, key = time.time(), jax.random.key(0)
    for number in range(steps):
        key, fresh = jax.random.split(key)
        params, stats, state, notes = step(params, stats, state, fresh, next(batches))
        if number % 100 == 99:
            text = " ".join(f"{k} {float(v):.3f}" for k, v in sorted(notes.items()))
            print(f"{name} {number + 1}/{steps} {time.time() - start:.0f}s {text}", flush=True)
    return params, stats


def dense(random, inputs, outputs):
    """A linear layer's weight (He) and bias."""
    weight = random.normal(0, (2 / inputs) ** 0.5, (inputs, outputs)).astype(np.float32)
    return {"w": weight, "b": np.zeros(outputs, np.float32)}


def apply(layer, x):
    return x @ layer["w"] + layer["b"]


class Graph:
    """An ONNX graph being written down, node by node."""

    def __init__(self):
        self.nodes, self.weights = [], {}

    def weight(self, name, values):
        values = np.ascontiguousarray(values) if np.ndim(values) else np.asarray(values)
        self.weights[name] = numpy_helper.from_array(values, name)
        return name

    def op(self, kind, *inputs, out=None, **attributes):
        out = out or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=out, **attributes))
        return out

    def linear(self, name, layer, x, out=None):
        product = self.op("MatMul", x, self.weight(f"{name}.weight", layer["w"]))
        return self.op("Add", product, self.weight(f"{name}.bias", layer["b"]), out=out)

    def save(self, path, name, inputs, outputs):
        graph = helper.make_graph(self.nodes, name, inputs, outputs, list(self.weights.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.SerializeToString(deterministic=True))
        assert path.stat().st_size <= LIMIT, f"{path} has {path.stat().st_size} bytes, more than {LIMIT}"


def port(name, dims, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, dims)


def compare(path, inputs, reference):
    """The written graph, run by ONNX Runtime, must say what the trained one says, for any size of batch."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for size in (1, 3, len(next(iter(inputs.values())))):
        found = session.run(list(reference), {name: values[:size] for name, values in inputs.items()})
        for (name, expected), got in zip(reference.items(), found):
            worst = np.abs(got - expected[:size])
            worst = worst[inputs["attention_mask"][:size] > 0].max() if got.ndim == 3 else worst.max()
            assert worst < 1e-4 * max(1, np.abs(expected).max()), f"{path}: {name} differs by {worst}"
    print(f"{path.relative_to(MODELS.parent)}: {path.stat().st_size} bytes, as trained within 1e-4 of the largest value")


def write_card(path, adapter, ports, preprocessing):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    card = f"""name = "{path.parent.name}"
adapter = "{adapter}"
model = "{path.name}"
sha256 = "{digest}"
licence = "Apache-2.0"
source = "trained by models/make_demo_encoders.py"

[ports]
{ports}
[preprocessing]
{preprocessing}"""
    (path.parent / "card.toml").write_text(card, encoding="utf-8")
