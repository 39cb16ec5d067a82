"""Writes optimizers.json: 50 steps of every optimizer on a small network, by PyTorch in double precision (2.15 was used).

    python core/train/tests/reference/make.py

AdamW, its clipping and SGD's momentum are PyTorch's own; decoupled decay for SGD, and Lion (Chen et al. 2023, algorithm 2), are
written out here. The schedule: 5 steps of linear warm-up, then half a cosine down to a tenth.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

torch.manual_seed(3)
torch.set_default_dtype(torch.float64)
STEPS, WARMUP, FLOOR, DECAY = 50, 5, 0.1, 0.1


def rows(*shape):
    """Random values that f32 holds exactly, so that both sides begin from the same numbers."""
    return (torch.randn(shape) * 1024).round() / 1024


start = {"w1": rows(4, 6), "b1": rows(6), "w2": rows(6, 3), "b2": rows(3)}
x, y = rows(24, 4), rows(24, 3)


def loss_of(p):
    return ((F.gelu(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"] - y) ** 2).mean()


def rate(at, top):
    if at < WARMUP:
        return top * (at + 1) / WARMUP
    cosine = 0.5 * (1 + math.cos(math.pi * (at - WARMUP) / (STEPS - WARMUP)))
    return top * (FLOOR + (1 - FLOOR) * cosine)


def lion(params, state, r):
    for name, p in params.items():
        m = state.setdefault(name, torch.zeros_like(p))
        p.sub_(r * torch.sign(0.9 * m + 0.1 * p.grad))
        m.mul_(0.99).add_(0.01 * p.grad)


def train(kind, top, clip=None, momentum=0.0):
    params = {k: v.clone().requires_grad_() for k, v in start.items()}
    matrices, vectors = [params["w1"], params["w2"]], [params["b1"], params["b2"]]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    if kind == "adamw":
        opt = torch.optim.AdamW(groups, lr=top)
    elif kind == "sgd":
        opt = torch.optim.SGD(list(params.values()), lr=top, momentum=momentum)
    losses, norms, state = [], [], {}
    for at in range(STEPS):
        r = rate(at, top)
        for p in params.values():
            p.grad = None
        loss = loss_of(params)
        loss.backward()
        losses.append(loss.item())
        if clip is not None:
            norms.append(torch.nn.utils.clip_grad_norm_(params.values(), clip).item())
        with torch.no_grad():
            if kind != "adamw":
                for p in matrices:
                    p.mul_(1 - r * DECAY)
            if kind == "lion":
                lion(params, state, r)
            else:
                for group in opt.param_groups:
                    group["lr"] = r
                opt.step()
    return {
        "losses": losses,
        "norms": norms,
        "weights": {k: v.detach().flatten().tolist() for k, v in params.items()},
    }


out = {
    "start": {k: {"shape": list(v.shape), "values": v.flatten().tolist()} for k, v in start.items()},
    "x": x.flatten().tolist(),
    "y": y.flatten().tolist(),
    "adamw": train("adamw", 0.02),
    "clipped": train("adamw", 0.02, clip=0.25),
    "sgd": train("sgd", 0.2),
    "momentum": train("sgd", 0.05, momentum=0.9),
    "lion": train("lion", 0.01),
}
(Path(__file__).parent / "optimizers.json").write_text(json.dumps(out))
