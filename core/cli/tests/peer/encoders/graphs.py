"""Graphs, node by node."""

import numpy as np, onnx
from onnx import TensorProto as T, helper as H, numpy_helper as N

from kinds import D, E, P, S


class Graph:
    """A graph that grows node by node."""

    def __init__(self):
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []

    def op(self, kind, *inputs, name=None, domain="", **attributes):
        output = name or f"v{len(self.nodes)}"
        self.nodes.append(
            H.make_node(kind, list(inputs), [output], name=f"/{output}", domain=domain, **attributes)
        )
        return output

    def const(self, value):
        name = f"w{len(self.weights)}"
        self.weights.append(N.from_array(np.asarray(value), name))
        return name

    def input(self, name, dtype, *dims):
        self.inputs.append(H.make_tensor_value_info(name, dtype, dims))
        return name

    def output(self, value, name, *dims, dtype=T.FLOAT):
        self.op("Identity", value, name=name)
        self.outputs.append(H.make_tensor_value_info(name, dtype, dims))

    def save(self, path, opset=17, ir=8, imports=(), check=True, external=False):
        graph = H.make_graph(self.nodes, "encoder", self.inputs, self.outputs, self.weights)
        opsets = [H.make_opsetid("", opset)] + [H.make_opsetid(domain, 1) for domain in imports]
        model = H.make_model(graph, opset_imports=opsets)
        model.ir_version = ir
        if check:
            onnx.checker.check_model(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        more = (
            {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
            if external
            else {}
        )
        onnx.save(model, str(path), **more)


class Text(Graph):
    """h_t = tanh(E[id] + P[place] + S[type] + mean E[id]), with a mean over all or over the earlier tokens."""

    def __init__(
        self,
        ids="input_ids",
        mask="attention_mask",
        batch="B",
        length="T",
        dtype=T.INT64,
        mask_type=None,
        types=False,
        positions=False,
        causal=False,
        opset=17,
        table=64,
    ):
        super().__init__()
        self.opset, self.batch, self.length = opset, batch, length
        self.ids = self.input(ids, dtype, batch, length)
        x = self.op("Gather", self.const(E), self.ids)
        shape = self.op("Shape", self.ids)
        if mask:
            given = self.input(mask, mask_type or dtype, batch, length)
            m = self.op("Cast", given, to=T.FLOAT)
        else:
            m = self.op("ConstantOfShape", shape, value=N.from_array(np.ones(1, np.float32)))
        if positions:
            places = self.input("position_ids", T.INT64, batch, length)
        else:
            ones = self.op("ConstantOfShape", shape, value=N.from_array(np.ones(1, np.float32)))
            count = self.op("CumSum", ones, self.const(np.int64(1)))
            places = self.op("Sub", self.op("Cast", count, to=T.INT64), self.const(np.int64(1)))
        m3 = self.unsqueeze(m, 2)
        masked = self.op("Mul", x, m3)
        if causal:
            axis = self.const(np.int64(1))
            total, number = self.op("CumSum", masked, axis), self.op("CumSum", m3, axis)
            number = self.op("Add", number, self.const(np.float32(1e-9)))
        else:
            total, number = self.sum(masked), self.sum(m3)
        h = self.op("Add", x, self.op("Div", total, number))
        h = self.op("Add", h, self.op("Gather", self.const(P[:table]), places))
        if types:
            given = self.input("token_type_ids", T.INT64, batch, length)
            h = self.op("Add", h, self.op("Gather", self.const(S), given))
        self.mask, self.hidden = m3, self.op("Tanh", h)

    def unsqueeze(self, x, axis):
        if self.opset < 13:
            return self.op("Unsqueeze", x, axes=[axis])
        return self.op("Unsqueeze", x, self.const(np.array([axis])))

    def sum(self, x, keep=1):
        if self.opset < 13:
            return self.op("ReduceSum", x, axes=[1], keepdims=keep)
        return self.op("ReduceSum", x, self.const(np.array([1])), keepdims=keep)

    def mean(self):
        return self.op("Div", self.sum(self.op("Mul", self.hidden, self.mask), 0), self.sum(self.mask, 0))

    def tokens(self, name="last_hidden_state", value=None, dims=None, **more):
        self.output(value or self.hidden, name, *(dims or (self.batch, self.length, D)), **more)
        return self
