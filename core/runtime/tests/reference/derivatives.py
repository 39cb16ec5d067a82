"""Random graphs with their derivatives by PyTorch in double precision: writes derivatives.json beside this file.

    python derivatives.py        (needs torch, onnx)

Each graph is built twice in step, as ONNX nodes and as a PyTorch expression; tangents and cotangents are random.
"""
import json, pathlib, random
import numpy as np, torch
from onnx import TensorProto, helper, numpy_helper

torch.set_default_dtype(torch.float64)
GRAPHS, OPSET = 60, 20


class Graph:
    """An ONNX graph and the PyTorch function that it is."""

    def __init__(self, seed):
        self.random, self.nodes, self.weights, self.steps, self.shapes, self.count = random.Random(seed), [], [], [], {}, 0
        n, d = self.random.choice([1, 2, 3, 5]), self.random.choice([2, 3, 4])
        shapes = [(n, d), self.random.choice([(d,), (n, 1), (1, d), (n, d)]), (d, self.random.choice([1, 2, 3]))]
        self.inputs = [f"x{i}" for i in range(len(shapes))]
        self.shapes.update(zip(self.inputs, shapes))
        self.random_values = np.random.default_rng(seed)
        self.values = {name: torch.tensor(self.random_values.uniform(-1.5, 1.5, shape).astype("float32")).double()
                       for name, shape in zip(self.inputs, shapes)}

    def weight(self, array):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op, names, function, extra=(), **attributes):
        """A node over named values (and weights after them); `function` is the same on tensors."""
        name = f"v{self.count}"
        self.count += 1
        self.nodes.append(helper.make_node(op, [*names, *extra], [name], **attributes))
        self.steps.append((name, list(names), function))
        self.values[name] = function(*[self.values[other] for other in names])
        self.shapes[name] = tuple(self.values[name].shape)
        return name

    def __call__(self, *inputs):
        values = dict(zip(self.inputs, inputs))
        for name, names, function in self.steps:
            values[name] = function(*[values[other] for other in names])
        return values[self.steps[-1][0]]

    def unary(self, a):
        g, r = self, self.random
        rank = len(g.shapes[a])
        axis = r.randrange(rank)
        ints = lambda *values: g.weight(np.array(values, dtype=np.int64))
        f32 = lambda value: g.weight(np.array(value, dtype=np.float32))
        positive = lambda: g.add("Add", [g.add("Mul", [a, a], lambda x, _: x * x)], lambda x: x + 0.5, [f32(0.5)])
        F = torch.nn.functional
        reduce = lambda op, f, keep: g.add(op, [a], lambda x: f(x, axis, keep), [ints(axis)], keepdims=int(keep))
        keep = r.random() < 0.7 or rank == 1
        return r.choice([
            lambda: g.add("Neg", [a], torch.neg), lambda: g.add("Tanh", [a], torch.tanh), lambda: g.add("Erf", [a], torch.erf),
            lambda: g.add("Sigmoid", [a], torch.sigmoid), lambda: g.add("Softplus", [a], F.softplus),
            lambda: g.add("Gelu", [a], F.gelu), lambda: g.add("Gelu", [a], lambda x: F.gelu(x, approximate="tanh"), approximate="tanh"),
            lambda: g.add("LeakyRelu", [a], lambda x: F.leaky_relu(x, 0.2), alpha=0.2), lambda: g.add("Relu", [a], torch.relu),
            lambda: g.add("Abs", [a], torch.abs), lambda: g.add("Exp", [g.add("Tanh", [a], torch.tanh)], torch.exp),
            lambda: g.add("Log", [positive()], torch.log), lambda: g.add("Sqrt", [positive()], torch.sqrt),
            lambda: g.add("Pow", [positive()], lambda x: x**1.5, [f32(1.5)]),
            lambda: g.add("Clip", [a], lambda x: torch.clamp(x, -0.7, 0.9), [f32(-0.7), f32(0.9)]),
            lambda: g.add("Softmax", [a], lambda x: torch.softmax(x, axis), axis=axis),
            lambda: g.add("LogSoftmax", [a], lambda x: torch.log_softmax(x, axis), axis=axis),
            lambda: reduce("ReduceSum", lambda x, at, k: x.sum(at, keepdim=k), keep),
            lambda: reduce("ReduceMean", lambda x, at, k: x.mean(at, keepdim=k), keep),
            lambda: reduce("ReduceL2", lambda x, at, k: x.norm(dim=at, keepdim=k), keep),
            lambda: reduce("ReduceMax", lambda x, at, k: x.amax(at, keepdim=k), keep),
            lambda: reduce("ReduceLogSumExp", lambda x, at, k: x.logsumexp(at, keepdim=k), keep),
            lambda: g.norm(a), lambda: g.add("Transpose", [a], lambda x: x.permute(*reversed(range(x.ndim)))),
            lambda: g.add("Reshape", [a], lambda x: x.reshape(-1), [ints(-1)]),
            lambda: g.add("Unsqueeze", [a], lambda x: x.unsqueeze(0), [ints(0)]) if rank < 3 else g.add("Neg", [a], torch.neg),
            lambda: g.add("Slice", [a], lambda x: x.narrow(axis, 0, max(1, x.shape[axis] - 1)),
                          [ints(0), ints(max(1, g.shapes[a][axis] - 1)), ints(axis)]),
            lambda: g.gather(a, axis), lambda: g.add("Concat", [a, a], lambda x, y: torch.cat([x, y], axis), axis=axis),
        ])()

    def norm(self, a):
        width = self.shapes[a][-1]
        scale, bias = self.random_values.uniform(0.5, 1.5, width).astype("float32"), self.random_values.uniform(-1, 1, width).astype("float32")
        function = lambda x: torch.nn.functional.layer_norm(x, (width,), torch.tensor(scale).double(), torch.tensor(bias).double(), 1e-2)
        return self.add("LayerNormalization", [a], function, [self.weight(scale), self.weight(bias)], axis=-1, epsilon=1e-2)

    def gather(self, a, axis):
        places = [self.random.randrange(self.shapes[a][axis]) for _ in range(3)]
        return self.add("Gather", [a], lambda x: x.index_select(axis, torch.tensor(places)), [self.weight(np.array(places))], axis=axis)

    def binary(self, a, b):
        g, r = self, self.random
        fits = len(g.shapes[a]) >= 2 and len(g.shapes[b]) >= 2 and g.shapes[a][-1] == g.shapes[b][-2]
        if fits and len(g.shapes[a]) == len(g.shapes[b]) == 2 and r.random() < 0.7:
            return r.choice([lambda: g.add("MatMul", [a, b], torch.matmul), lambda: g.add("Gemm", [a, b], torch.matmul),
                             lambda: g.add("Einsum", [a, b], lambda x, y: torch.einsum("ij,jk->ki", x, y), equation="ij,jk->ki")])()
        try:
            torch.broadcast_shapes(g.shapes[a], g.shapes[b])
        except RuntimeError:
            return None
        two = lambda: g.add("Add", [g.add("Tanh", [b], torch.tanh)], lambda x: x + 2, [g.weight(np.array(2, dtype=np.float32))])
        return r.choice([lambda: g.add("Add", [a, b], torch.add), lambda: g.add("Sub", [a, b], torch.sub), lambda: g.add("Mul", [a, b], torch.mul),
                         lambda: g.add("Div", [a, two()], torch.div), lambda: g.add("Max", [a, b], torch.maximum), lambda: g.add("Min", [a, b], torch.minimum),
                         lambda: g.where(a, b)])()

    def where(self, a, b):
        condition = f"c{self.count}"
        self.nodes.append(helper.make_node("Greater", [a, b], [condition]))
        name = f"v{self.count}"
        self.count += 1
        self.nodes.append(helper.make_node("Where", [condition, b, a], [name]))
        function = lambda x, y: torch.where(x > y, y, x)
        self.steps.append((name, [a, b], function))
        self.values[name] = function(self.values[a], self.values[b])
        self.shapes[name] = tuple(self.values[name].shape)
        return name

    def grow(self):
        for _ in range(self.random.randint(5, 11)):
            names = [name for name in self.values if len(self.shapes[name]) > 0]
            recent = names[-3:] + names[:3]
            a, b = self.random.choice(recent), self.random.choice(recent)
            if self.random.random() < 0.55 or self.binary(a, b) is None:
                self.unary(a)
        # The last value takes in every other that nothing has used.
        used = {name for _, names, _ in self.steps for name in names}
        last = self.steps[-1][0]
        for name in [name for name in self.values if name not in used and name != last]:
            total = self.add("ReduceSum", [name], lambda x: x.sum(), keepdims=0)
            last = self.add("Add", [last, total], torch.add)


def tensor(value):
    return {"shape": list(value.shape), "data": [float(x) for x in np.asarray(value).astype("float32").ravel()]}


def case(seed):
    graph = Graph(seed)
    graph.grow()
    inputs = [graph.values[name] for name in graph.inputs]
    rng = np.random.default_rng(1000 + seed)
    tangents = [torch.tensor(rng.standard_normal(x.shape).astype("float32")).double() for x in inputs]
    y, moved = torch.func.jvp(graph, tuple(inputs), tuple(tangents))
    cotangent = torch.tensor(rng.standard_normal(y.shape).astype("float32")).double()
    gradients = torch.func.vjp(graph, *inputs)[1](cotangent)
    info = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    dims = [[f"{name}_{at}" if seed % 2 else length for at, length in enumerate(graph.shapes[name])] for name in graph.inputs]
    if seed % 2:  # Free axes: the batch axis of the first two inputs is one axis where it is as long.
        dims[0][0] = "batch"
    model = helper.make_model(
        helper.make_graph([*graph.nodes, helper.make_node("Identity", [graph.steps[-1][0]], ["y"])], f"random {seed}",
                          [info(*port) for port in zip(graph.inputs, dims)], [info("y", [None] * y.ndim)], graph.weights),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    assert bool(torch.isfinite(moved).all()) and all(bool(torch.isfinite(g).all()) for g in gradients)
    return {"model": model.SerializeToString().hex(), "inputs": [tensor(x) for x in inputs], "tangents": [tensor(t) for t in tangents],
            "y": tensor(y), "moved": tensor(moved), "cotangent": tensor(cotangent), "gradients": [tensor(g) for g in gradients]}


cases, seed = [], 0
while len(cases) < GRAPHS:
    cases.append(case(seed))
    seed += 1
path = pathlib.Path(__file__).with_name("derivatives.json")
path.write_text(json.dumps(cases, separators=(",", ":")))
print(f"{len(cases)} graphs, {path.stat().st_size / 1024:.0f} KiB")
