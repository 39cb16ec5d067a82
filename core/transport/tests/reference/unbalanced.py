"""Writes unbalanced.json: masses and costs of unbalanced plans with penalties far above epsilon, from plain
iterations in double precision, run until the potentials no longer change.

    pip install numpy && python unbalanced.py
"""
import json, pathlib
import numpy as np

here = pathlib.Path(__file__).parent
given = json.loads((here / "values.json").read_text())
x, y, a, b = (np.array(given[name]) for name in "xyab")
C, eps = ((x[:, None] - y[None]) ** 2).sum(-1), given["epsilon"]


def log_sum(v, axis):
    top = v.max(axis, keepdims=True)
    return np.log(np.exp(v - top).sum(axis)) + top.squeeze(axis)


def solve(a, b, rho):
    """Chizat et al. 2018, algorithm 2, with potentials in units of epsilon; returns mass and cost."""
    tau = rho / (rho + eps)
    K, g = -C / eps + np.log(a)[:, None] + np.log(b), np.zeros(len(b))
    for _ in range(1_000_000):
        f = -tau * (log_sum(K + g, 1) - np.log(a))
        new = -tau * (log_sum(K + f[:, None], 0) - np.log(b))
        change, g = np.abs(new - g).max(), new
        if change < 1e-11:
            break
    else:
        raise RuntimeError("not converged")
    P = np.exp(K + f[:, None] + g)
    return P.sum(), (P * C).sum()


out = []
for share in 1e2, 1e3, 1e4:
    for ratio in 1.0, 3.0, 10.0:
        mass, cost = solve(a, ratio * b, share * eps)
        out.append(dict(penalty=share * eps, ratio=ratio, mass=mass, cost=cost))
(here / "unbalanced.json").write_text(json.dumps(out) + "\n")
