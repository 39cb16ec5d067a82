"""Attention by PyTorch: values and derivatives of every block, written to attention.json beside this file. Needs torch.

Inputs and weights are sines, so that both sides make them: element i of the tensor of a name is
scale * sin(1.3 i + len(name) + 0.1 * sum of its bytes), in double precision, rounded to single; norms' scales have 1 added.
A derivative is stored as its product with the weight's own direction, sin(0.7 i + 1).
"""
import json, math, pathlib
import torch
import torch.nn.functional as F

WIDTH, HEADS, HIDDEN = 8, 2, 12


def sines(name, shape, scale=0.6):
    count = math.prod(shape)
    phase = len(name) + 0.1 * sum(name.encode())
    values = [scale * math.sin(1.3 * i + phase) for i in range(count)]
    x = torch.tensor(values, dtype=torch.float32).reshape(shape)
    return x + 1 if name.endswith("/scale") else x


class Net:
    def __init__(self):
        self.weights = {}

    def w(self, name, *shape):
        if name not in self.weights:
            self.weights[name] = sines(name, shape).double().requires_grad_()
        return self.weights[name]

    def linear(self, name, x, i, o):
        return x @ self.w(name + "/weight", i, o) + self.w(name + "/bias", o)

    def norm(self, name, x):
        return F.layer_norm(x, (WIDTH,), self.w(name + "/scale", WIDTH), self.w(name + "/shift", WIDTH), 1e-5)

    def mha(self, name, q, k, mask):
        """torch's own module, with the weights put into it."""
        kd = k.shape[-1]
        names = [("query", WIDTH), ("key", kd), ("value", kd)]
        ws = [self.w(f"{name}/{part}/weight", d, WIDTH) for part, d in names]
        bs = [self.w(f"{name}/{part}/bias", WIDTH) for part, _ in names]
        out = self.w(f"{name}/out/weight", WIDTH, WIDTH), self.w(f"{name}/out/bias", WIDTH)
        t = lambda x: x.transpose(0, 1)
        seen, _ = F.multi_head_attention_forward(
            t(q), t(k), t(k), WIDTH, HEADS, None, torch.cat(bs), None, None, False, 0.0, out[0].T, out[1],
            training=False, key_padding_mask=None if mask is None else mask == 0, need_weights=False,
            use_separate_proj_weight=True, q_proj_weight=ws[0].T, k_proj_weight=ws[1].T, v_proj_weight=ws[2].T)
        return t(seen)

    def feed(self, name, x):
        h = F.gelu(self.linear(name + "/in", x, WIDTH, HIDDEN))
        return self.linear(name + "/out", h, HIDDEN, WIDTH)

    def think(self, name, x):
        return x + self.feed(name + "/feed", self.norm(name + "/feed/norm", x))


def pool(x, mask):
    return (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)


def one_way(n, a, ma, b, mb):
    return n.norm("n/norm", b + n.mha("n/cross", b, a, ma))


def decoder(n, a, ma, b, mb):
    y = n.norm("n/self/norm", b)
    x = b + n.mha("n/self", y, y, mb)
    x = x + n.mha("n/cross", n.norm("n/cross/norm", x), n.norm("n/cross/keys", a), ma)
    return n.think("n", x)


def two_way(n, streams):
    own = []
    for i, (x, m) in enumerate(streams):
        y = n.norm(f"n/{i}/self/norm", x)
        own.append(x + n.mha(f"n/{i}/self", y, y, m))
    normed = [n.norm(f"n/{i}/cross/norm", x) for i, x in enumerate(own)]
    out = []
    for i, x in enumerate(own):
        k = torch.cat([y for j, y in enumerate(normed) if j != i], 1)
        m = torch.cat([m for j, (_, m) in enumerate(streams) if j != i], 1)
        out.append(n.think(f"n/{i}", x + n.mha(f"n/{i}/cross", normed[i], k, m)))
    return torch.cat(out, 1)


def gated(n, streams):
    parts = []
    for i, (x, m) in enumerate(streams):
        k = torch.cat([n.linear(f"n/{i}/from_{j}", y, WIDTH, WIDTH) for j, (y, _) in enumerate(streams) if j != i], 1)
        km = torch.cat([m for j, (_, m) in enumerate(streams) if j != i], 1)
        scores = (x @ k.transpose(1, 2) / math.sqrt(WIDTH)).masked_fill(km[:, None] == 0, -torch.inf)
        a = torch.sigmoid(n.w(f"n/{i}/balance"))
        h = a * x + (1 - a) * scores.softmax(-1) @ k
        parts.append(pool(n.norm(f"n/{i}/norm", h), m))
    return torch.cat(parts, 1)


def latent(n, x, mask):
    z = n.w("n/latents", 1, 3, WIDTH).expand(x.shape[0], -1, -1)
    keys = n.norm("n/cross/keys", x)
    z = z + n.mha("n/cross", n.norm("n/cross/norm", z), keys, mask)
    y = n.norm("n/self/norm", z)
    return n.think("n", z + n.mha("n/self", y, y, None))


a, b, c, d = (sines(name, (2, t, d), 1.5).double() for name, t, d in [("a", 5, 6), ("b", 4, WIDTH), ("c", 3, WIDTH), ("d", 2, WIDTH)])
masks = {"a": [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], "b": [[1, 0, 1, 0], [1, 1, 1, 1]], "c": [[1, 1, 0], [0, 1, 0]],
         "d": [[1, 1], [1, 0]]}
ma, mb, mc, md = (torch.tensor(masks[k], dtype=torch.float64) for k in "abcd")
cases = {
    "multi_head": lambda n: n.mha("n", b, a, ma),
    "one_way": lambda n: one_way(n, a, ma, b, mb),
    "decoder": lambda n: decoder(n, c, mc, b, mb),
    "two_way": lambda n: two_way(n, [(b, mb), (c, mc)]),
    "three_way": lambda n: two_way(n, [(b, mb), (c, mc), (d, md)]),
    "gated": lambda n: gated(n, [(b, mb), (c, mc)]),
    "latent": lambda n: latent(n, b, mb),
}
stored = {}
for name, run in cases.items():
    net = Net()
    out = run(net)
    probe = torch.sin(torch.arange(out.numel(), dtype=torch.float64) * 0.7 + 1).reshape(out.shape)
    (out * probe).sum().backward()
    direction = lambda g: torch.sin(torch.arange(g.numel(), dtype=torch.float64) * 0.7 + 1).reshape(g.shape)
    gradients = {k: round(float((w.grad * direction(w.grad)).sum().detach()), 7) for k, w in net.weights.items()}
    stored[name] = {"values": [round(x, 7) for x in out.detach().flatten().tolist()], "gradients": gradients}
path = pathlib.Path(__file__).with_name("attention.json")
path.write_text(json.dumps(stored) + "\n")
