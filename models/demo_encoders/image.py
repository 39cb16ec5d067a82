"""The image encoder: a small residual CNN, trained to tell which shapes of which colours and sizes lie where.

Its pictures come from a world of its own (SEED); it never sees a caption. The embedding pools the feature map in
three ways (mean, maximum, a 4x4 grid), so that what is there and where it is both stay readable.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

from .common import MODELS, WIDTH, Graph, apply, compare, dense, make_world, port, train, write_card

SEED, SCENES, HELD, BATCH, STEPS = 1001, 40_000, 1000, 64, 1500
MEAN, STD = 0.5, 0.25

SHAPES = ["circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart"]
COLOURS = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"]
SIZES = ["small", "medium", "large"]
SHADES = ["dark", "grey", "light"]

# name, kernel, stride, channels in, channels out; a layer that keeps the shape is residual.
CONVOLUTIONS = [
    ("stem", 4, 2, 3, 24),
    ("half", 3, 2, 24, 48),
    ("fine", 3, 1, 48, 48),
    ("quarter", 3, 2, 48, 96),
    ("coarse1", 3, 1, 96, 96),
    ("coarse2", 3, 1, 96, 96),
]
WHAT, WHERE, HIDDEN = 96, 24, 224


def image_parameters(random):
    """Weights of the encoder, running statistics of its normalisations, and heads that only training uses."""
    params, stats = {}, {}
    for name, kernel, _, inputs, outputs in CONVOLUTIONS:
        scale = (2 / (kernel * kernel * inputs)) ** 0.5
        weight = random.normal(0, scale, (kernel, kernel, inputs, outputs)).astype(np.float32)
        params[name] = {"w": weight, "gain": np.ones(outputs, np.float32), "b": np.zeros(outputs, np.float32)}
        stats[name] = {"mean": np.zeros(outputs, np.float32), "var": np.ones(outputs, np.float32)}
    params["what"] = dense(random, 96, WHAT)
    params["where"] = dense(random, 96, WHERE)
    params["hidden"] = dense(random, 2 * WHAT + 16 * WHERE, HIDDEN)
    params["embedding"] = dense(random, HIDDEN, WIDTH)
    params["heads"] = {name: dense(random, WIDTH, size) for name, size in HEADS.items()}
    params["heads"]["token"] = dense(random, 96, 9 + 9 + 4)
    return params, stats


def convolve(x, weight, stride):
    kernel, _, inputs, outputs = weight.shape
    if inputs > 3:
        axes, pads = ("NHWC", "HWIO", "NHWC"), [(kernel // 2, kernel // 2)] * 2
        return jax.lax.conv_general_dilated(x, weight, (stride, stride), pads, dimension_numbers=axes)
    # The stem: XLA's convolution of three channels is several times slower on a CPU than this product.
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    side = (x.shape[1] - kernel) // stride + 1
    window = [slice(i, i + stride * side, stride) for i in range(kernel)]
    patches = jnp.concatenate([x[:, rows, columns] for rows in window for columns in window], -1)
    return patches @ weight.reshape(-1, outputs)


def encode_image(params, stats, pixels, training):
    """NHWC pixels -> features [N,8,8,96], embedding [N,192], new running statistics."""
    x, fresh = pixels, {}
    for name, _, stride, inputs, outputs in CONVOLUTIONS:
        layer = params[name]
        y = convolve(x, layer["w"], stride)
        mean, var = (y.mean((0, 1, 2)), y.var((0, 1, 2))) if training else (stats[name]["mean"], stats[name]["var"])
        old = stats[name]
        fresh[name] = {"mean": 0.97 * old["mean"] + 0.03 * mean, "var": 0.97 * old["var"] + 0.03 * var}
        y = jax.nn.relu((y - mean) * layer["gain"] / jnp.sqrt(var + 1e-5) + layer["b"])
        x = x + y if stride == 1 and inputs == outputs else y
    what = jax.nn.relu(apply(params["what"], x))
    where = jax.nn.relu(apply(params["where"], x))
    grid = where.reshape(-1, 4, 2, 4, 2, WHERE).mean((2, 4))
    pooled = [what.mean((1, 2)), what.max((1, 2)), grid.transpose(0, 3, 1, 2).reshape(len(x), -1)]
    hidden = jax.nn.relu(apply(params["hidden"], jnp.concatenate(pooled, -1)))
    return x, apply(params["embedding"], hidden), fresh


# What is read off the embedding by linear heads while training.
HEADS = {"pair": 64, "cell": 9 * (9 + 9 + 4), "shade": 3, "sized": 8 * 3 * 2, "relation": 4 * 64}


def facts_of(rows):
    """[n,3,8]: present, shape, colour, size, left, top, right, bottom of every object; and the shades [n]."""
    facts = np.zeros((len(rows), 3, 8), np.int32)
    for row, table in zip(rows, facts):
        for thing, line in zip(row["scene"]["objects"], table):
            named = SHAPES.index(thing["shape"]), COLOURS.index(thing["colour"]), SIZES.index(thing["size"])
            line[:] = (1, *named, *thing["box"])
    return facts, np.array([SHADES.index(row["scene"]["background"]) for row in rows], np.int32)


def image_targets(facts):
    """The answers to every question asked of a batch of pictures."""
    here = facts[..., 0:1].astype(jnp.float32)
    shape, colour = (jax.nn.one_hot(facts[..., i], 8) * here for i in (1, 2))
    size = jax.nn.one_hot(facts[..., 3], 3) * here
    middle = (facts[..., 4:6] + facts[..., 6:8]) / 2
    pair = jnp.einsum("nos,noc->nsc", shape, colour).reshape(-1, 64)
    sized = jnp.concatenate([jnp.einsum("noz,nok->nkz", size, k).reshape(-1, 24) for k in (shape, colour)], -1)
    before = middle[:, :, None] + 10 <= middle[:, None]  # [n, a, b, axis]: a lies left of (above) b, plainly
    order = before * (here * here.transpose(0, 2, 1))[..., None]
    relation = [jnp.einsum("nabx,nai,nbj->nxij", order, k, k).reshape(-1, 128) for k in (shape, colour)]
    classes = (facts[..., 1:4] + 1) * facts[..., 0:1]  # 0 is "nothing"
    column_row = (middle * 3 // 64).astype(jnp.int32)
    cell = jax.nn.one_hot(column_row[..., 1] * 3 + column_row[..., 0], 9, dtype=jnp.int32)
    cells = jnp.einsum("nop,nof->npf", cell, classes)
    line = jnp.arange(8) * 8 + 4
    inside = (facts[..., None, 4:6] <= line[:, None]) & (line[:, None] < facts[..., None, 6:8])  # [n, o, 8, axis]
    grid = inside[..., :, None, 1] & inside[..., None, :, 0]
    tokens = jnp.einsum("noyx,nof->nyxf", grid.astype(jnp.int32), classes)
    return {"pair": jnp.minimum(pair, 1), "sized": jnp.minimum(sized, 1), "cell": cells, "token": tokens,
            "relation": jnp.minimum(jnp.concatenate(relation, -1), 1)}  # fmt: skip


def classify(logits, classes):
    """Cross-entropy of shape, colour and size, told apart by the last axis."""
    parts = jnp.split(logits, [9, 18], -1)
    return sum(optax.softmax_cross_entropy_with_integer_labels(p, classes[..., i]) for i, p in enumerate(parts))


def image_loss(params, stats, key, batch):
    pixels, facts, shade = batch
    x = (pixels.astype(jnp.float32) / 255 - MEAN) / STD
    x = x + 0.05 * jax.random.normal(key, x.shape)
    tokens, embedding, stats = encode_image(params, stats, x, True)
    told = {name: apply(params["heads"][name], embedding) for name in HEADS}
    true = image_targets(facts)
    doubt = lambda k: optax.sigmoid_binary_cross_entropy(told[k], true[k]).sum(-1).mean()
    yes_no = {k: doubt(k) for k in ("pair", "sized", "relation")}
    cell = classify(told["cell"].reshape(-1, 9, 22), true["cell"]).sum(-1).mean()
    token = classify(apply(params["heads"]["token"], tokens), true["token"])
    thing = true["token"][..., 0] > 0
    token = (token * thing).sum() / thing.sum() + (token * ~thing).sum() / (~thing).sum()
    ground = optax.softmax_cross_entropy_with_integer_labels(told["shade"], shade).mean()
    value = 2 * yes_no["pair"] + yes_no["sized"] + 0.3 * yes_no["relation"] + cell + 20 * token + ground
    return value, (stats, yes_no | {"cell": cell, "token": token})


def image_batches(pixels, facts, shades, size):
    """Batches in random order, half of the pictures mirrored (every shape is its own mirror image)."""
    random = np.random.default_rng(3)
    while True:
        order = random.permutation(len(pixels))
        for start in range(0, len(order) - size + 1, size):
            pick = order[start : start + size]
            seen, told = pixels[pick], facts[pick]
            mirror = random.random(size) < 0.5
            seen[mirror] = seen[mirror][:, :, ::-1]
            left, right = told[mirror][..., 4], told[mirror][..., 6]
            told[mirror, :, 4], told[mirror, :, 6] = 64 - right, 64 - left
            yield seen, told, shades[pick]


def export_image(params, stats, path):
    """The encoder as a graph, with every normalisation folded into its convolution."""
    g = Graph()
    x = "pixel_values"
    for name, kernel, stride, inputs, outputs in CONVOLUTIONS:
        layer, stat = params[name], stats[name]
        gain = layer["gain"] / np.sqrt(stat["var"] + 1e-5)
        weight = (layer["w"] * gain).transpose(3, 2, 0, 1)
        bias = layer["b"] - stat["mean"] * gain
        pads = [(kernel - 1) // 2] * 4
        y = g.op("Conv", x, g.weight(f"{name}.weight", weight), g.weight(f"{name}.bias", bias),
                 kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)  # fmt: skip
        y = g.op("Relu", y)
        x = g.op("Add", x, y) if stride == 1 and inputs == outputs else y
    g.op("Identity", x, out="features")
    for name in ("what", "where"):
        kernel = params[name]["w"].T[:, :, None, None]
        y = g.op("Conv", x, g.weight(f"{name}.weight", kernel), g.weight(f"{name}.bias", params[name]["b"]))
        g.op("Relu", y, out=name)
    grid = g.op("AveragePool", "where", kernel_shape=[2, 2], strides=[2, 2])
    flat = [g.op("Flatten", v) for v in (g.op("GlobalAveragePool", "what"), g.op("GlobalMaxPool", "what"), grid)]
    hidden = g.op("Relu", g.linear("hidden", params["hidden"], g.op("Concat", *flat, axis=1)))
    g.linear("embedding", params["embedding"], hidden, out="embedding")
    outputs = [port("features", ["batch", 96, 8, 8]), port("embedding", ["batch", WIDTH])]
    g.save(path, "demo-image", [port("pixel_values", ["batch", 3, 64, 64])], outputs)


def make(work, steps):
    rows = make_world(work, SEED, SCENES)
    pixels = np.stack([np.asarray(Image.open(work / row["image"])) for row in rows])
    facts, shades = facts_of(rows)
    params, stats = image_parameters(np.random.default_rng(1))
    batches = image_batches(pixels[HELD:], facts[HELD:], shades[HELD:], BATCH)
    params, stats = jax.tree.map(np.asarray, train("image", params, stats, image_loss, batches, steps, 3e-3))

    x = ((pixels[:HELD] / 255 - MEAN) / STD).astype(np.float32)
    tokens, embedding, _ = encode_image(params, stats, x, False)
    pair = np.asarray(apply(params["heads"]["pair"], embedding)) > 0
    exact = (pair == np.asarray(image_targets(facts[:HELD])["pair"])).all(1).mean()
    print(f"image: {100 * exact:.1f} % of {HELD} unseen pictures have all their (shape, colour) pairs told exactly")

    path = MODELS / "demo-image" / "model.onnx"
    export_image(params, stats, path)
    reference = {"features": np.asarray(tokens).transpose(0, 3, 1, 2), "embedding": np.asarray(embedding)}
    compare(path, {"pixel_values": np.ascontiguousarray(x.transpose(0, 3, 1, 2))}, reference)
    preprocessing = f"""size = [64, 64]
resize = "stretch"
filter = "bilinear"
channels = "rgb"
mean = [{MEAN}, {MEAN}, {MEAN}]
std = [{STD}, {STD}, {STD}]
layout = "nchw"
"""
    write_card(path, "image", 'tokens = "features"\npooled = "embedding"\n', preprocessing)
