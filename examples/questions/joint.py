"""What training the fusion alone costs beside training encoders and fusion together, in PyTorch on the demo's encoders.

usage: joint.py [THREADS]; needs torch. The encoders have the demo encoders' shapes (models/demo_encoders) and random weights: the cost does not
depend on them. Every way runs in a process of its own, so that the peak of its memory is its own; a step has 64 rows, AdamW.
"""

import resource
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

ROWS, WORDS, STEPS = 64, 11, 60


class Image(nn.Module):
    """models/demo_encoders/image.py: [N,3,64,64] -> [N,64,96]."""

    def __init__(self):
        super().__init__()
        sizes = [(4, 2, 3, 24), (3, 2, 24, 48), (3, 1, 48, 48), (3, 2, 48, 96), (3, 1, 96, 96), (3, 1, 96, 96)]
        self.layers = nn.ModuleList(nn.Conv2d(i, o, k, s, (k - 1) // 2) for k, s, i, o in sizes)

    def forward(self, x):
        for layer in self.layers:
            y = F.relu(layer(x))
            x = x + y if x.shape == y.shape else y
        return x.flatten(2).transpose(1, 2)


class Block(nn.Module):
    """Self-attention, perhaps attention to others, and a feed-forward network, each behind a layer normalisation."""

    def __init__(self, width, heads, hidden, cross):
        super().__init__()
        norms = 4 if cross else 2
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(norms))
        self.own = nn.MultiheadAttention(width, heads, batch_first=True)
        self.cross = nn.MultiheadAttention(width, heads, batch_first=True) if cross else None
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x, keys=None):
        y = self.norms[0](x)
        x = x + self.own(y, y, y, need_weights=False)[0]
        if self.cross:
            keys = self.norms[2](keys)
            x = x + self.cross(self.norms[3](x), keys, keys, need_weights=False)[0]
        return x + self.feed(self.norms[1](x))


class Text(nn.Module):
    """models/demo_encoders/text.py: [N,T] -> [N,T,128]."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(96, 128), nn.Embedding(64, 128)
        self.layers = nn.ModuleList(Block(128, 4, 320, False) for _ in range(2))

    def forward(self, ids):
        x = self.words(ids) + self.places.weight[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return x


class Fusion(nn.Module):
    """The recipe's: entries, one decoder block of width 64, a head over 16 answers."""

    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(nn.Linear(96, 64), nn.LayerNorm(64))
        self.text = nn.Sequential(nn.Linear(128, 64), nn.LayerNorm(64))
        self.places = nn.Parameter(torch.randn(2, 64, 64))
        self.block, self.norm = Block(64, 1, 128, True), nn.LayerNorm(64)
        self.head = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 16))

    def forward(self, image, text):
        image = self.image(image) + self.places[0, : image.shape[1]]
        text = self.text(text) + self.places[1, : text.shape[1]]
        return self.head(self.norm(self.block(text, image)).mean(1))


def measure(way, threads):
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    image, text, fusion = Image(), Text(), Fusion()
    parts = [fusion, image, text] if way == "joint" else [fusion]
    weights = [w for part in parts for w in part.parameters()]
    optimiser = torch.optim.AdamW(weights, 2e-3)
    pixels, ids = torch.rand(ROWS, 3, 64, 64), torch.randint(0, 96, (ROWS, WORDS))
    answers = torch.randint(0, 16, (ROWS,))
    with torch.no_grad():
        cached = image(pixels), text(ids)

    def step():
        optimiser.zero_grad()
        if way == "cached":
            tokens = cached
        else:
            with torch.set_grad_enabled(way == "joint"):
                tokens = image(pixels), text(ids)
        F.cross_entropy(fusion(*tokens), answers).backward()
        optimiser.step()

    with FlopCounterMode(display=False) as flops:
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    state = 4 * 4 * sum(w.numel() for w in weights) / 2**20  # weight, gradient and two moments, in f32
    milliseconds = 1e3 * sorted(times)[STEPS // 2]
    print(f"{way:8} {sum(w.numel() for w in weights):9,} {flops.get_total_flops() / ROWS / 1e6:8.1f} {milliseconds:8.1f} {state:8.1f} {max(before, peak) / 1024:8.0f}")


if len(sys.argv) == 3:
    measure(sys.argv[1], int(sys.argv[2]))
else:
    threads = sys.argv[1] if len(sys.argv) == 2 else "2"
    print("trained   weights  MFLOP/row  ms/step  state MiB  peak MiB")
    for way in ("cached", "frozen", "joint"):
        subprocess.run([sys.executable, __file__, way, threads], check=True)
