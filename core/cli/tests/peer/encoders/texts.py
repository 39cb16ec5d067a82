"""Text models by their inputs, outputs and operators."""

import numpy as np
from onnx import TensorProto as T, numpy_helper as N

from graphs import Text
from kinds import D, E, kind, numbers, write
from reference import MEAN, hidden, of_texts, pool, tokenizer

SIZE = ["--set", "preprocessing.max_length=48"]
CACHE = {"past_key_values.0.key": T.FLOAT, "past_key_values.0.value": T.FLOAT}


def inputs(root):
    """Text models by their inputs."""

    def one(
        name,
        what,
        graph,
        make=MEAN,
        add=(),
        refused=None,
        by="plan",
        files={},
        told=None,
        text=lambda t: t,
        cut=None,
        save={},
        place="model.onnx",
        size=True,
        **how,
    ):
        graph.save(root / name / place, **save)
        tokenizer(root / name, **how)
        for file, content in files.items():
            write(root / name / file, content)
        how = {key: value for key, value in how.items() if key in ("uncased", "special")}
        kind(
            name,
            what,
            vectors=None if refused else of_texts(make, text, cut, **how),
            add=[*(SIZE if size else []), *add],
            refused=refused,
            by=by,
            told=told,
        )

    one("plain", "`input_ids` and `attention_mask`, mean of the tokens", Text().tokens())
    one(
        "optimum",
        "an export of Optimum in `onnx/`, tokenizer one folder up",
        Text(types=True).tokens(),
        lambda i: pool(hidden(i, types=True), "mean"),
        place="onnx/model.onnx",
    )
    one("types", "`token_type_ids`", Text(types=True).tokens(), lambda i: pool(hidden(i, types=True), "mean"))
    one("int32", "`int32` tokens", Text(dtype=T.INT32).tokens())
    graph = Text()
    graph.output(graph.ids, "output", "B", "T", dtype=T.INT64)
    graph.output("attention_mask", "463", "B", "T", dtype=T.INT64)
    one("repeated", "outputs that repeat the inputs, before the tokens", graph.tokens("onnx::Shape_422"))
    one("mask-float", "a mask of `float32`", Text(mask_type=T.FLOAT).tokens())
    one("mask-bool", "a mask of `bool`", Text(mask_type=T.BOOL).tokens())
    one("no-mask", "no mask: only texts of one length share a batch", Text(mask=None).tokens())
    one("positions", "`position_ids`", Text(positions=True).tokens())
    one(
        "positions-roberta",
        "`position_ids` that count from the padding token",
        Text(positions=True).tokens(),
        lambda i: pool(hidden(i, first=2), "mean"),
        files={"config.json": {"model_type": "roberta", "pad_token_id": 1}},
    )
    for name, what, extra in [
        ("past", "`past_key_values`, set empty", {}),
        ("past-branch", "`past_key_values` and `use_cache_branch`", {"use_cache_branch": T.BOOL}),
    ]:
        graph = Text(positions=True, causal=True)
        past = [graph.input(key, dtype, "B", 2, "P", 3) for key, dtype in CACHE.items()]
        for key in extra:
            graph.op("Cast", graph.input(key, T.BOOL, 1), to=T.FLOAT)
        # Reads the length of the past, which moves the places of all tokens.
        length = graph.op(
            "Cast", graph.op("Gather", graph.op("Shape", past[0]), graph.const(np.int64(2))), to=T.FLOAT
        )
        graph.hidden = graph.op("Add", graph.hidden, length)
        graph.tokens()
        graph.output(past[1], "present.0.value", "B", 2, "P", 3)
        one(
            name,
            what,
            graph,
            lambda i: pool(hidden(i, causal=True), "lasttoken"),
            add=["--set", "ports.pooled=lasttoken"],
        )
    one("length-12", "a fixed length of 12 tokens", Text(length=12).tokens(), cut=12, size=False)
    one(
        "length-12-left",
        "a fixed length, padding on the left",
        Text(length=12, positions=True).tokens(),
        cut=12,
        left=True,
        size=False,
    )
    one("batch-1", "a fixed batch of 1: runs item by item", Text(batch=1).tokens())
    one(
        "batch-1-length",
        "a fixed batch of 1 and a fixed length",
        Text(batch=1, length=12).tokens(),
        cut=12,
        size=False,
    )
    one("batch-4", "a fixed batch of 4: runs four items at a time", Text(batch=4).tokens())
    for name, what, add, refused in [
        ("inner-batch", "a batch of 1 that only the nodes fix", [], ["runs with one item, but not with two"]),
        ("inner-batch-1", "the same with `ports.batch = 1`", ["--set", "ports.batch=1"], None),
    ]:
        graph = Text()
        graph.hidden = graph.op("Reshape", graph.hidden, graph.const(np.array([1, -1, D])))
        one(name, what, graph.tokens(), add=add, refused=refused)
    one("axes", 'tokens `[T,B,D]` with `axes = "TBD"`', swapped(), add=["--set", "ports.axes=TBD"])
    one(
        "names",
        "ports called `tokens`, `mask` and `pooled`",
        named("tokens", "mask", "pooled"),
        add=["--set", "ports.pooled=pooled"],
    )
    one(
        "names-inner",
        "tokens called `tokens`, and an input `token_ids`",
        named("token_ids", "mask", "vector", "tokens"),
        add=["--set", "ports.tokens=tokens", "--set", "ports.pooled=mean"],
    )
    graph = Text()
    mean = graph.op("Identity", graph.mean(), name="inner_mean")
    graph.output(graph.op("MatMul", mean, graph.const(numbers(9, D, 3))), "scores", "B", 3)
    one(
        "inner",
        "an inner tensor that the card names",
        graph.tokens(),
        add=["--set", "ports.pooled=inner_mean"],
    )
    graph = Text()
    one("embedding", "an output `sentence_embedding`", graph.tokens() and embedded(graph))
    graph = Text()
    graph.output(
        graph.op("MatMul", graph.op("Identity", graph.mean(), name="before"), graph.const(numbers(9, D, 3))),
        "logits",
        "B",
        3,
    )
    one("classifier", "a classifier: the tensor before its scores", graph)
    for name, dtype in [("half", T.FLOAT16), ("double", T.DOUBLE)]:
        graph = Text()
        one(
            name,
            f"tokens of `{name}` precision",
            graph.tokens(value=graph.op("Cast", graph.hidden, to=dtype), dtype=dtype),
        )
    one("external", "weights in a file beside the model", Text().tokens(), save={"external": True})
    one(
        "long",
        "texts beyond max_length: cut, and told",
        Text().tokens(),
        add=["--set", "preprocessing.max_length=6"],
        cut=6,
        told="longer than the max_length",
    )
    one("table", "max_length beyond the table of positions", Text(table=16).tokens(), refused=["table of 16"])
    one(
        "table-16",
        "the same with `max_length = 16`",
        Text(table=16).tokens(),
        add=["--set", "preprocessing.max_length=16"],
    )
    graph = Text()
    graph.weights[0] = N.from_array(E[:6], "w0")
    one("small-vocabulary", "tokens beyond the table of the model", graph.tokens(), refused=["table of 6"])
    graph = Text()
    graph.input("decoder_input_ids", T.INT64, "B", "T")
    one(
        "decoder",
        "an encoder with its decoder",
        graph.tokens(),
        refused=["decoder_input_ids"],
        by="plan",
        size=False,
    )
    graph = Text()
    graph.input("pixel_sizes", T.INT64, "B", 2)
    one(
        "unknown-input",
        "an input that does not follow from a text",
        graph.tokens(),
        refused=["pixel_sizes"],
        size=False,
    )
    graph = Text()
    graph.hidden = graph.op("Log", graph.op("Sub", graph.hidden, graph.const(np.float32(5))))
    one("not-finite", "vectors that are NaN", graph.tokens(), refused=["NaN"])
    graph = Text()
    graph.hidden = graph.op("Attention", graph.hidden, domain="com.acme")
    one(
        "domain",
        "operators of an unknown domain",
        graph.tokens(),
        save={"imports": ["com.acme"], "check": False},
        refused=["com.acme"],
    )
    one(
        "ir",
        "an IR version that the engine lacks",
        Text().tokens(),
        save={"ir": 99, "check": False},
        refused=["99"],
    )
    one(
        "opset",
        "an operator set that the engine lacks",
        Text().tokens(),
        save={"opset": 99, "check": False},
        refused=["99"],
        size=False,
    )
    for name, axis, what in [
        ("softmax-11", -1, "Softmax of the last axis in operator set 11"),
        ("softmax-11-rank", 2, "the same, counted from the front"),
        ("softmax-11-flat", 1, "Softmax of operator set 11 over two axes"),
    ]:
        graph = Text(opset=11)
        pooled = graph.op("Softmax", graph.unsqueeze(graph.mean(), 1), axis=axis)
        pooled = graph.op("Squeeze", pooled, axes=[1])
        graph.output(pooled, "text_embeds", "B", D)
        one(name, what, graph, lambda i: np.exp(MEAN(i)) / np.exp(MEAN(i)).sum(), save={"opset": 11, "ir": 6})


def swapped():
    graph = Text()
    return graph.tokens(value=graph.op("Transpose", graph.hidden, perm=[1, 0, 2]), dims=("T", "B", D))


def named(ids, mask, vector, tokens="hidden"):
    graph = Text(ids=ids, mask=mask)
    graph.tokens(tokens)
    graph.output(graph.mean(), vector, "B", D)
    return graph


def embedded(graph):
    graph.output(graph.mean(), "sentence_embedding", "B", D)
    return graph
