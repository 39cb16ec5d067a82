"""Stored spectra of a small map, in double precision by NumPy: python spectra.py > spectra.json

x [n, 6] -> h = tanh(x W + b) -> z = h V / |h V| in 4 dimensions. The derivative is written out:
dz = (1 - z z^T) V^T diag(1 - h^2) W^T dx / |h V|.
"""
import json

import numpy as np

r = np.random.default_rng(11)
d, hidden, o, n = 6, 9, 4, 5
w, b, v = r.standard_normal((d, hidden)) / 2, r.standard_normal(hidden) / 4, r.standard_normal((hidden, o)) / 3
x = r.standard_normal((n, d))
# the map gets them in single precision
w, b, v, x = (a.astype(np.float32).astype(np.float64) for a in (w, b, v, x))
singular = []
for row in x:
    h = np.tanh(row @ w + b)
    y = h @ v
    z = y / np.linalg.norm(y)
    jacobian = (np.eye(o) - np.outer(z, z)) @ v.T @ np.diag(1 - h * h) @ w.T / np.linalg.norm(y)
    singular.append(np.linalg.svd(jacobian, compute_uv=False))
singular = np.array(singular)
kept = singular[:, : o - 1]  # the image keeps to a sphere
values = {
    "w": w, "b": b, "v": v, "x": x, "singular_values": kept,
    "condition_number": kept[:, 0] / kept[:, -1], "log_volume": np.log(kept).sum(1),
}
print(json.dumps({name: np.round(value, 12).tolist() for name, value in values.items()}))
