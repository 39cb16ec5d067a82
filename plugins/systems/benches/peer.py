"""The training step of InfoNCE and of three systems in PyTorch, with the losses and networks of ours.

    python plugins/systems/benches/peer.py --system geometric --inputs 384,288 --width 96 [--compile 1]

Residual networks (S + D) x + W2 gelu(W1 x + b1) + b2, into a shared space with dropout and noise on their inputs, AdamW
(fused). The transport plans take 60 scaling steps on the first 256 examples of a batch without gradient, as the envelope
theorem allows. Prints one line of JSON with the median milliseconds of a step.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

words = argparse.ArgumentParser()
words.add_argument("--system", choices=["infonce", "geometric", "ot-align-merge", "geometry-warping"], required=True)
words.add_argument("--inputs", default="384,288")
words.add_argument("--width", type=int, default=96)
words.add_argument("--hidden", type=int, default=256)
words.add_argument("--batch", type=int, default=1024)
words.add_argument("--compared", type=int, default=256)
words.add_argument("--smooth", type=int, default=64)
words.add_argument("--steps", type=int, default=30)
words.add_argument("--threads", type=int, default=2)
words.add_argument("--compile", type=int, default=1)
asked = words.parse_args()
torch.set_num_threads(asked.threads)
torch.manual_seed(0)
COLUMNS = [int(one) for one in asked.inputs.split(",")]
SCALING_STEPS, SHARE, DROPOUT, NOISE, MARGIN = 60, 0.05, 0.3, 0.3, 0.7


class Residual(torch.nn.Module):
    def __init__(self, columns, width):
        super().__init__()
        self.register_buffer("start", torch.randn(columns, width) / columns**0.5)
        self.delta = torch.nn.Parameter(torch.zeros(columns, width))
        self.first = torch.nn.Linear(columns, asked.hidden)
        self.second = torch.nn.Linear(asked.hidden, width)

    def evaluate(self, x, dropout=0.0):
        """The output, and the hidden units before their activation."""
        inner = self.first(x)
        hidden = F.dropout(F.gelu(inner), dropout, dropout > 0)
        return x @ (self.start + self.delta) + self.second(hidden), inner

    def forward(self, x, dropout=0.0):
        return self.evaluate(x, dropout)[0]

    def directional(self, inner, direction):
        """The derivative along a direction where the hidden units are `inner`, by the rule of the product."""
        normal = torch.exp(-0.5 * inner * inner) * 0.3989422804014327
        slope = 0.5 * (1 + torch.erf(inner * 0.7071067811865476)) + inner * normal
        return direction @ (self.start + self.delta) + (slope * (direction @ self.first.weight.T)) @ self.second.weight.T


def squared(x, y):
    return (x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2 * x @ y.T


def plan(cost, epsilon):
    with torch.no_grad():
        scaled = cost / epsilon
        scaled = scaled - scaled.min(1, keepdim=True).values
        scaled = scaled - scaled.min(0, keepdim=True).values
        kernel = torch.exp(-scaled)
        mass = torch.full((kernel.shape[0], 1), 1.0 / kernel.shape[0])
        u, v = mass, mass
        for _ in range(SCALING_STEPS):
            u = mass / (kernel @ v).clamp_min(1e-30)
            v = mass / (kernel.T @ u).clamp_min(1e-30)
        return u * kernel * v.T


def epsilon_of(cost):
    return SHARE * cost.detach().mean().clamp_min(1e-12)


def transport(x, y, epsilon=None):
    cost = squared(x, y)
    return (plan(cost, epsilon_of(cost) if epsilon is None else epsilon) * cost).sum()


def infonce(x, y, log_tau):
    scores = (x * torch.exp(-log_tau)) @ y.T
    labels = torch.arange(len(x))
    return 0.5 * (F.cross_entropy(scores, labels) + F.cross_entropy(scores.T, labels))


def noisy(x):
    return x + NOISE * torch.randn_like(x)


class Heads(torch.nn.Module):
    """InfoNCE, `geometric` with transport, and `ot-align-merge`."""

    def __init__(self):
        super().__init__()
        self.maps = torch.nn.ModuleList(Residual(columns, asked.width) for columns in COLUMNS)
        self.decoders = torch.nn.ModuleList(Residual(asked.width, columns) for columns in COLUMNS)
        self.log_tau = torch.nn.Parameter(torch.tensor(-3.0))

    def forward(self, items):
        mapped = [F.normalize(net(noisy(x), DROPOUT), dim=1) for net, x in zip(self.maps, items)]
        some = [z[: asked.compared] for z in mapped]
        if asked.system == "infonce":
            return infonce(*mapped, self.log_tau)
        if asked.system == "geometric":
            return infonce(*mapped, self.log_tau) + transport(*some)
        paired = ((mapped[0] - mapped[1]) ** 2).sum(1).mean()
        epsilon = epsilon_of(squared(*some))
        divergence = transport(*some, epsilon) - sum(transport(z, z, epsilon) for z in some) / 2
        errors = [((net(z) - x) ** 2).mean() for net, z, x in zip(self.decoders, mapped, items)]
        return paired + 0.1 * divergence + 0.1 * sum(errors)


def unit(x):
    return F.normalize(x, dim=1)


def signs(rows):
    return torch.randint(0, 2, rows.shape) * 2.0 - 1


class Translators(torch.nn.Module):
    """`geometry-warping`: a map onto the sphere of the second modality, whose radius is the root of its columns, and one
    back. Round trips start at even rows from the first modality and at odd rows from the second; the other terms are on
    the first examples.
    """

    def __init__(self):
        super().__init__()
        self.there, self.back = Residual(*COLUMNS), Residual(*reversed(COLUMNS))
        self.register_buffer("different", 1 - torch.eye(asked.compared))

    def forward(self, items):
        x, w = items[0], COLUMNS[1] ** 0.5 * unit(items[1])
        return self.local(x[: asked.compared], w[: asked.compared]) + self.cycle(x[::2], w[1::2])

    def on_sphere(self, x):
        return COLUMNS[1] ** 0.5 * unit(self.there(x))

    def cycle(self, x, w):
        errors = ((self.back(self.on_sphere(x)) - x) ** 2).mean() + ((self.on_sphere(self.back(w)) - w) ** 2).mean()
        return errors / 2

    def local(self, x, w):
        """The regression on the plan, injectivity and smoothness."""
        (out, inner), (home, inner_back) = self.there.evaluate(x), self.back.evaluate(w)
        image, radius = unit(out), COLUMNS[1] ** 0.5
        with torch.no_grad():
            cost = squared(unit(x @ self.there.start), unit(w))
            matched = plan(cost, epsilon_of(cost))
            there = matched @ w / matched.sum(1, keepdim=True)
            back = matched.T @ x / matched.sum(0)[:, None]
        loss = (((radius * image - there) ** 2).mean() + ((home - back) ** 2).mean()) / 2
        for images in (image, home / COLUMNS[0] ** 0.5):
            distances = squared(images, images).clamp_min(1e-10).sqrt()
            loss = loss + 0.05 * (self.different * (MARGIN - distances).clamp_min(0)).mean()
        x, w, out, inner, inner_back = (rows[: asked.smooth] for rows in (x, w, out, inner, inner_back))
        tangent = self.there.directional(inner, signs(x))
        length = (out * out).sum(1)
        across = ((tangent * tangent).sum(1) - (out * tangent).sum(1) ** 2 / length) / length
        return loss + 5e-4 * (across.mean() + (self.back.directional(inner_back, signs(w)) ** 2).mean())


model = Translators() if asked.system == "geometry-warping" else Heads()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)
loss_of = torch.compile(model) if asked.compile else model
data = [torch.randn(4096, columns) for columns in COLUMNS]
times = []
for step in range(8 + asked.steps):
    clock = time.perf_counter()
    rows = torch.randint(0, 4096, (asked.batch,))
    items = [x[rows] for x in data]
    optimizer.zero_grad(set_to_none=True)
    loss_of(items).backward()
    optimizer.step()
    times.append(1e3 * (time.perf_counter() - clock))
print(json.dumps({"milliseconds": statistics.median(times[8:])}))
