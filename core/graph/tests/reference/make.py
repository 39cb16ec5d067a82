"""Writes the small models of tests/data with the `onnx` package (1.23.2 was used): an independent writer of the format.

    python core/graph/tests/reference/make.py core/graph/tests/data
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh


def value(name, dims, kind=T.FLOAT):
    return h.make_tensor_value_info(name, kind, dims)


def model(name, nodes, inputs, outputs, weights=(), opset=17, ir=8, check=True, imports=(), **more):
    graph_only = {k: more.pop(k) for k in ("sparse_initializer", "value_info") if k in more}
    graph = h.make_graph(nodes, name, inputs, outputs, list(weights), **graph_only)
    made = h.make_model(graph, opset_imports=[h.make_opsetid("", opset), *imports], ir_version=ir, **more)
    if check:
        filled = onnx.shape_inference.infer_shapes(made, data_prop=True)
        for mine, found in zip(made.graph.output, filled.graph.output):
            mine.CopyFrom(found)
        onnx.checker.check_model(made, full_check=True)
    return made


def weights(**arrays):
    return [nh.from_array(np.asarray(array), name) for name, array in arrays.items()]


def f32(*values):
    return np.array(values, np.float32)


def branch():
    """If with outer names taken inside, an initializer inside, and a nested If."""
    inner_then = h.make_graph([h.make_node("Add", ["scaled", "x"], ["deep"])], "inner_then", [], [value("deep", None)])
    inner_else = h.make_graph([h.make_node("Neg", ["w"], ["deep_2"])], "inner_else", [], [value("deep_2", None)])
    then = h.make_graph(
        [
            h.make_node("Mul", ["x", "two"], ["scaled"]),
            h.make_node("If", ["flag"], ["picked"], name="inner", then_branch=inner_then, else_branch=inner_else),
        ],
        "then", [], [value("picked", None)], weights(two=f32(2)),
    )
    other = h.make_graph([h.make_node("Add", ["x", "w"], ["sum"])], "else", [], [value("sum", None)])
    return model(
        "branch",
        [
            h.make_node("If", ["flag"], ["y"], name="outer", then_branch=then, else_branch=other),
            h.make_node("Relu", ["x"], ["unused"], name="relu"),
        ],
        [value("x", ["N", 3]), value("flag", [], T.BOOL)], [value("y", ["N", 3]), value("unused", ["N", 3])],
        weights(w=f32(1, 2, 3)),
    )


def known_branch():
    """2 x^2 + x: an If whose condition follows from the width of x, a nested one and a later one with a constant, and
    inner names that occur twice."""
    def graph(name, nodes, output, **arrays):
        return h.make_graph(nodes, name, [], [value(output, None)], weights(**arrays))

    n = h.make_node
    false = n("Constant", [], ["never"], value=nh.from_array(np.array(False)))
    nested = n("If", ["never"], ["picked"], then_branch=graph("a", [n("Exp", ["x"], ["e"])], "e"),
               else_branch=graph("b", [n("Mul", ["scaled", "x"], ["product"])], "product"))
    then = graph("then", [n("Mul", ["x", "two"], ["scaled"]), false, nested], "picked", two=f32(2))
    other = graph("else", [n("Exp", ["x"], ["scaled"])], "scaled")
    again = graph("again", [n("Add", ["squares", "x"], ["scaled"])], "scaled")
    return model(
        "known_branch",
        [
            n("Shape", ["x"], ["shape"]),
            n("Gather", ["shape", "one"], ["width"]),
            n("Equal", ["width", "four"], ["fits"]),
            n("If", ["fits"], ["squares"], then_branch=then, else_branch=other),
            n("If", ["yes"], ["y"], then_branch=again, else_branch=other),
        ],
        [value("x", ["N", 4])], [value("y", ["N", 4])],
        weights(one=np.array(1), four=np.array(4), yes=np.array(True)),
    )


def loop():
    """Loop that adds an outer weight n times."""
    body = h.make_graph(
        [h.make_node("Add", ["state", "step"], ["next"]), h.make_node("Identity", ["going"], ["still"])],
        "body", [value("i", [], T.INT64), value("going", [], T.BOOL), value("state", [3])],
        [value("still", [], T.BOOL), value("next", [3])],
    )
    return model(
        "loop", [h.make_node("Loop", ["n", "", "x"], ["y"], body=body)],
        [value("n", [], T.INT64), value("x", [3])], [value("y", [3])], weights(step=f32(1, 1, 1)),
    )


def function(scale, opset=17, name="function"):
    """A local function that calls another, both in a domain of their own."""
    double = h.make_function("local", "Double", ["a"], ["b"], [h.make_node("Add", ["a", "a"], ["b"])],
                             [h.make_opsetid("", opset)])
    scale = h.make_function(
        "local", "Scale", ["a"], ["b"],
        [
            h.make_node("Constant", [], ["k"], value=h.make_tensor("k", T.FLOAT, [], [scale])),
            h.make_node("Double", ["a"], ["d"], domain="local"),
            h.make_node("Mul", ["d", "k"], ["b"]),
        ],
        [h.make_opsetid("", opset), h.make_opsetid("local", 1)],
    )
    return model(
        name, [h.make_node("Scale", ["x"], ["y"], domain="local")], [value("x", ["N"])], [value("y", ["N"])],
        imports=[h.make_opsetid("local", 1)], functions=[double, scale], check=opset == 17,
    )


def old_inputs():
    """IR version 3: the weight is listed as an input."""
    return model("old_inputs", [h.make_node("Add", ["x", "w"], ["y"])], [value("x", [3]), value("w", [3])],
                 [value("y", [3])], weights(w=f32(1, 2, 3)), ir=3)


def typed_fields():
    """Weights in the older typed fields instead of raw bytes."""
    kinds = {"f32": (T.FLOAT, [1.5, -2.0]), "f64": (T.DOUBLE, [0.1, 2.0]), "f16": (T.FLOAT16, [0.5, -1.0]),
             "i64": (T.INT64, [-3, 1 << 40]), "i32": (T.INT32, [-7, 8]), "i8": (T.INT8, [-1, 5]), "u8": (T.UINT8, [200, 1]),
             "bool": (T.BOOL, [True, False]), "u64": (T.UINT64, [1 << 63, 2])}
    made = [h.make_tensor(name, kind, [2], values) for name, (kind, values) in kinds.items()]
    nodes = [h.make_node("Identity", [name], [f"y_{name}"]) for name in kinds]
    outputs = [value(f"y_{name}", [2], kind) for name, (kind, _) in kinds.items()]
    return model("typed_fields", nodes, [], outputs, made)


def sparse():
    """A sparse initializer, and quantization annotations."""
    values = nh.from_array(f32(5, 7), "s")
    indices = nh.from_array(np.array([1, 3], np.int64), "s_indices")
    made = model("sparse", [h.make_node("Add", ["x", "s"], ["y"])], [value("x", [4])], [value("y", [4])],
                 weights(scale=f32(0.5)), sparse_initializer=[h.make_sparse_tensor(values, indices, [4])], check=False)
    note = made.graph.quantization_annotation.add(tensor_name="y")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    return made


def one(name, node, opset, inputs=None, outputs=None, given=(), check=True):
    """A model of one node."""
    inputs = inputs or [value("x", ["N", 4])]
    outputs = outputs or [value("y", None)]
    return model(name, [node], inputs, outputs, given, opset=opset, ir=4 if opset < 13 else 8, check=check)


def opsets():
    """Models of one operator each, for moves between opsets: the number is the opset they are written in."""
    n = h.make_node
    i64 = lambda *v: np.array(v, np.int64)
    image = [value("x", ["N", 2, 8, 8])]
    yield one("softmax_11", n("Softmax", ["x"], ["y"], name="head"), 11)
    yield one("clip_13", n("Clip", ["x", "low"], ["y"]), 13, given=weights(low=np.float32(0)))
    yield one("clip_10", n("Clip", ["x"], ["y"], min=0.0), 10)
    yield one("reshape_13", n("Reshape", ["x", "s"], ["y"]), 13, given=weights(s=i64(-1)))
    yield one("add_13", n("Add", ["x", "x"], ["y"]), 13)
    yield one("conv_13", n("Conv", ["x", "w"], ["y"]), 13, image, given=weights(w=np.ones((3, 2, 3, 3), np.float32)))
    yield one("dequantize_13", n("DequantizeLinear", ["x", "s"], ["y"]), 13, [value("x", ["N", 4], T.INT8)],
              given=weights(s=np.float32(0.5)))
    yield one("reduce_mean_13", n("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0), 13)
    yield one("reduce_sum_11", n("ReduceSum", ["x"], ["y"], axes=[-1]), 11)
    yield one("squeeze_11", n("Squeeze", ["x"], ["y"], axes=[1]), 11, [value("x", ["N", 1])])
    yield one("unsqueeze_11", n("Unsqueeze", ["x"], ["y"], axes=[0, 2]), 11)
    yield model("split_11", [n("Split", ["x"], ["y", "z"], axis=1, split=[1, 3])], [value("x", ["N", 4])],
                [value("y", ["N", 1]), value("z", ["N", 3])], opset=11, ir=4)
    yield one("max_pool_13", n("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), 13, image)
    yield one("batch_norm_13", n("BatchNormalization", ["x", "a", "b", "c", "d"], ["y"]), 13, image,
              given=weights(a=f32(1, 1), b=f32(0, 0), c=f32(0, 0), d=f32(1, 1)))
    inner = h.make_graph([n("ReduceMax", ["x"], ["m"], axes=[1], name="nested")], "then", [], [value("m", None)])
    other = h.make_graph([n("Softmax", ["x"], ["s"], name="deep_softmax")], "else", [], [value("s", None)])
    plain = h.make_graph([n("Identity", ["x"], ["s"])], "else", [], [value("s", None)])
    flag = [value("x", ["N", 4]), value("f", [], T.BOOL)]
    yield one("if_reduce_13", n("If", ["f"], ["y"], then_branch=inner, else_branch=plain), 13, flag)
    yield one("if_softmax_11", n("If", ["f"], ["y"], then_branch=plain, else_branch=other), 11, flag)
    yield model("custom_13", [n("Gelu", ["x"], ["y"], domain="com.microsoft")], [value("x", ["N"])], [value("y", ["N"])],
                opset=13, imports=[h.make_opsetid("com.microsoft", 1)], check=False)
    yield model("custom_v2_13", [n("Gelu", ["x"], ["y"], domain="com.microsoft")], [value("x", ["N"])],
                [value("y", ["N"])], opset=13, imports=[h.make_opsetid("com.microsoft", 2)], check=False)


def unsound():
    """Models that break one rule each."""
    n = h.make_node
    x, y = [value("x", [3])], [value("y", [3])]
    bad = lambda name, nodes, **more: model(name, nodes, more.pop("inputs", x), more.pop("outputs", y), check=False, **more)
    yield bad("bad_order", [n("Neg", ["a"], ["y"]), n("Neg", ["x"], ["a"])])
    yield bad("bad_twice", [n("Neg", ["x"], ["y"]), n("Abs", ["x"], ["y"])])
    yield bad("bad_unknown_input", [n("Add", ["x", "nowhere"], ["y"])])
    yield bad("bad_output", [n("Neg", ["x"], ["a"])])
    yield bad("bad_operator", [n("Negate", ["x"], ["y"])])
    yield bad("bad_operator_age", [n("Gelu", ["x"], ["y"])])
    yield bad("bad_domain", [n("Gelu", ["x"], ["y"], domain="com.microsoft")])
    inside = h.make_graph([n("Neg", ["nowhere"], ["m"])], "then", [], [value("m", None)])
    yield bad("bad_inside", [n("If", ["x"], ["y"], then_branch=inside, else_branch=inside)], inputs=[value("x", [], T.BOOL)])
    yield function(3.0, opset=11, name="bad_function_opset")
    short = bad("bad_weight", [n("Add", ["x", "w"], ["y"])], weights=weights(w=f32(1, 2, 3)))
    short.graph.initializer[0].raw_data = b"\0" * 8
    yield short
    sequence = h.make_tensor_sequence_value_info("y", T.FLOAT, None)
    yield bad("bad_port", [n("SequenceConstruct", ["x"], ["y"])], outputs=[sequence])
    yield bad("text_port", [n("Identity", ["x"], ["y"])], inputs=[value("x", [3], T.STRING)], outputs=[value("y", [3], T.STRING)])
    nameless = bad("bad_no_import", [n("Neg", ["x"], ["y"])])
    del nameless.opset_import[:]
    yield nameless


def external():
    """A weight in another file, and two that reach outside the model's folder."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for name, location in (("external", "external.bin"), ("external_up", "../data/external.bin"),
                           ("external_absolute", "/etc/hostname")):
        made = model(name, [h.make_node("MatMul", ["x", "w"], ["y"])], [value("x", ["N", 2])], [value("y", ["N", 3])],
                     weights(w=array))
        tensor = made.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = T.EXTERNAL
        for key, text in (("location", location), ("offset", "16"), ("length", "24")):
            tensor.external_data.add(key=key, value=text)
        yield made, array.tobytes()


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    made = [branch(), known_branch(), loop(), function(3.0), function(5.0, name="function_other"), old_inputs(), typed_fields(), sparse()]
    for item in [*made, *opsets(), *unsound()]:
        (folder / f"{item.graph.name}.onnx").write_bytes(item.SerializeToString(deterministic=True))
    for item, data in external():
        (folder / f"{item.graph.name}.onnx").write_bytes(item.SerializeToString(deterministic=True))
        (folder / "external.bin").write_bytes(b"\xff" * 16 + data)


main(Path(sys.argv[1]))
