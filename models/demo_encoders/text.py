"""The text encoder: a small transformer, trained on captions alone, from a world of its own (SEED).

It fills in masked words, and tells which two captions were written of one scene (InfoNCE: van den Oord et al.,
"Representation learning with contrastive predictive coding", 2018). It never sees a picture.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from onnx import TensorProto
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from .common import MODELS, WIDTH, Graph, apply, compare, dense, make_world, port, train, write_card

SEED, SCENES, HELD, BATCH, STEPS = 1002, 30_000, 1000, 192, 400
MAX_LENGTH = 64
MODEL, HEADS, FEED, LAYERS = 128, 4, 320, 2


def make_tokenizer(captions, path):
    """One token per word of the captions, in alphabetical order after [PAD], [UNK], [CLS]; lower-cased."""
    split = pre_tokenizers.Whitespace()
    words = {word for caption in captions for word, _ in split.pre_tokenize_str(caption.lower())}
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = split
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 2)])
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return tokenizer


def text_parameters(random, words):
    """Weights of the encoder, and the head of the masked words that only training uses."""
    table = lambda rows: random.normal(0, 0.1, (rows, MODEL)).astype(np.float32)
    norm = lambda: {"gain": np.ones(MODEL, np.float32), "b": np.zeros(MODEL, np.float32)}
    params = {"words": table(words), "places": table(MAX_LENGTH), "last": norm()}
    for i in range(LAYERS):
        layer = {name: dense(random, MODEL, MODEL) for name in ("query", "key", "value", "mix")}
        layer |= {"up": dense(random, MODEL, FEED), "down": dense(random, FEED, MODEL), "one": norm(), "two": norm()}
        layer["mix"]["w"] *= 0.3
        layer["down"]["w"] *= 0.3
        params[f"layer{i}"] = layer
    params["lift"], params["embedding"] = dense(random, MODEL, WIDTH), dense(random, WIDTH, WIDTH)
    params["heads"] = {"word": dense(random, MODEL, words)}
    return params


def normalise(x, layer):
    x = x - x.mean(-1, keepdims=True)
    return x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * layer["gain"] + layer["b"]


def encode_text(params, ids, mask):
    """Token ids and mask [N,T] -> token embeddings [N,T,128], sentence embedding [N,192]."""
    count, length = ids.shape
    x = params["words"][ids] + params["places"][:length]
    hide = (1.0 - mask[:, None, None, :]) * -1e9
    split = lambda v: v.reshape(count, length, HEADS, -1).transpose(0, 2, 1, 3)
    for i in range(LAYERS):
        layer = params[f"layer{i}"]
        y = normalise(x, layer["one"])
        query, key, value = (split(apply(layer[name], y)) for name in ("query", "key", "value"))
        score = query @ key.transpose(0, 1, 3, 2) / (MODEL / HEADS) ** 0.5 + hide
        mixed = (jax.nn.softmax(score, -1) @ value).transpose(0, 2, 1, 3).reshape(count, length, MODEL)
        x = x + apply(layer["mix"], mixed)
        x = x + apply(layer["down"], jax.nn.relu(apply(layer["up"], normalise(x, layer["two"]))))
    tokens = normalise(x, params["last"])
    lifted = jax.nn.relu(apply(params["lift"], tokens)) * mask[..., None]
    return tokens, apply(params["embedding"], lifted.sum(1) / mask.sum(1, keepdims=True))


def text_loss(params, stats, key, batch):
    """Masked words, plus: find the other caption of the same scene among those of the batch."""
    ids, mask = batch  # [2n, T]: the first half's partners are the second half
    hidden = (jax.random.uniform(key, ids.shape) < 0.12) & (mask > 0) & (ids > 2)
    tokens, sentence = encode_text(params, jnp.where(hidden, 1, ids), mask)
    word = optax.softmax_cross_entropy_with_integer_labels(apply(params["heads"]["word"], tokens), ids)
    word = (word * hidden).sum() / jnp.maximum(hidden.sum(), 1)
    unit = sentence / jnp.linalg.norm(sentence, axis=-1, keepdims=True)
    one, two = jnp.split(unit, 2)
    score = one @ two.T / 0.07
    right = jnp.arange(len(one))
    ways = [optax.softmax_cross_entropy_with_integer_labels(s, right).mean() for s in (score, score.T)]
    found = (score.argmax(1) == right).mean()
    return word + ways[0] + ways[1], (stats, {"word": word, "pair": ways[0], "found": found})


def text_batches(ids, mask, size):
    """Two different captions of each of `size` scenes, drawn at random."""
    random = np.random.default_rng(4)
    while True:
        scenes = random.choice(len(ids), size, replace=False)
        one = random.integers(0, 5, size)
        two = (one + random.integers(1, 5, size)) % 5
        pick = lambda table: np.concatenate([table[scenes, one], table[scenes, two]])
        yield pick(ids), pick(mask).astype(np.float32)


def export_text(params, path):
    """The encoder as a graph; texts of up to MAX_LENGTH tokens."""
    g = Graph()
    whole = lambda name, values: g.weight(name, np.array(values, np.int64))
    length = g.op("Gather", g.op("Shape", "input_ids"), whole("one", [1]), axis=0)
    places = g.op("Slice", g.weight("places", params["places"]), whole("zero", [0]), length)
    x = g.op("Add", g.op("Gather", g.weight("words", params["words"]), "input_ids"), places)
    mask = g.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    hide = g.op("Mul", g.op("Sub", mask, g.weight("unit", np.float32(1))), g.weight("huge", np.float32(1e9)))
    hide = g.op("Unsqueeze", hide, whole("head_axes", [1, 2]))
    apart = whole("apart", [0, 0, HEADS, MODEL // HEADS])
    together = whole("together", [0, 0, MODEL])
    scale = g.weight("scale", np.float32((HEADS / MODEL) ** 0.5))

    def norm(name, layer, v):
        return g.op("LayerNormalization", v, g.weight(f"{name}.gain", layer["gain"]),
                    g.weight(f"{name}.bias", layer["b"]), axis=-1, epsilon=1e-5)  # fmt: skip

    for i in range(LAYERS):
        name, layer = f"layer{i}", params[f"layer{i}"]
        y = norm(f"{name}.one", layer["one"], x)
        split = {k: g.op("Reshape", g.linear(f"{name}.{k}", layer[k], y), apart) for k in ("query", "key", "value")}
        turn = {"query": [0, 2, 1, 3], "key": [0, 2, 3, 1], "value": [0, 2, 1, 3]}
        q, k, v = (g.op("Transpose", split[part], perm=perm) for part, perm in turn.items())
        score = g.op("Add", g.op("Mul", g.op("MatMul", q, k), scale), hide)
        mixed = g.op("MatMul", g.op("Softmax", score, axis=-1), v)
        mixed = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), together)
        x = g.op("Add", x, g.linear(f"{name}.mix", layer["mix"], mixed))
        up = g.op("Relu", g.linear(f"{name}.up", layer["up"], norm(f"{name}.two", layer["two"], x)))
        x = g.op("Add", x, g.linear(f"{name}.down", layer["down"], up))
    tokens = g.op("Identity", norm("last", params["last"], x), out="token_embeddings")
    column = g.op("Unsqueeze", mask, whole("last_axis", [-1]))
    lifted = g.op("Mul", g.op("Relu", g.linear("lift", params["lift"], tokens)), column)
    count = g.op("ReduceSum", column, whole("token_axis", [1]), keepdims=0)
    mean = g.op("Div", g.op("ReduceSum", lifted, "token_axis", keepdims=0), count)
    g.linear("embedding", params["embedding"], mean, out="sentence_embedding")
    ids = [port(name, ["batch", "sequence"], TensorProto.INT64) for name in ("input_ids", "attention_mask")]
    outputs = [port("token_embeddings", ["batch", "sequence", MODEL]), port("sentence_embedding", ["batch", WIDTH])]
    g.save(path, "demo-text", ids, outputs)


def make(work, steps):
    rows = make_world(work, SEED, SCENES)
    captions = [caption for row in rows for caption in row["captions"]]
    path = MODELS / "demo-text" / "model.onnx"
    tokenizer = make_tokenizer(captions, path.parent / "tokenizer.json")
    encoded = [e.ids for e in tokenizer.encode_batch(captions)]
    longest = max(map(len, encoded))
    assert longest <= MAX_LENGTH, f"a caption has {longest} tokens, the encoder takes {MAX_LENGTH}"
    ids = np.zeros((len(captions), longest), np.int32)
    for line, values in zip(ids, encoded):
        line[: len(values)] = values
    ids = ids.reshape(len(rows), 5, longest)
    params = text_parameters(np.random.default_rng(2), tokenizer.get_vocab_size())
    batches = text_batches(ids[HELD:], ids[HELD:] > 0, BATCH)
    params, _ = train("text", params, {}, text_loss, batches, steps, 2e-3)
    params = jax.tree.map(np.asarray, params)

    sample, mask = ids[:HELD, 0], (ids[:HELD, 0] > 0).astype(np.float32)
    tokens, sentence = map(np.asarray, encode_text(params, sample, mask))
    other = np.asarray(encode_text(params, ids[:HELD, 1], (ids[:HELD, 1] > 0).astype(np.float32))[1])
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)
    found = ((unit(sentence) @ unit(other).T).argmax(1) == np.arange(HELD)).mean()
    print(f"text: {100 * found:.1f} % of {HELD} unseen captions are nearest to another caption of their scene")

    export_text(params, path)
    feed = {"input_ids": sample.astype(np.int64), "attention_mask": mask.astype(np.int64)}
    compare(path, feed, {"token_embeddings": tokens, "sentence_embedding": sentence})
    preprocessing = f'tokenizer = "tokenizer.json"\nmax_length = {MAX_LENGTH}\n'
    write_card(path, "text", 'tokens = "token_embeddings"\npooled = "sentence_embedding"\n', preprocessing)
