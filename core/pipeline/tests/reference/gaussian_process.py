"""Writes gaussian_process.json: the posterior of a Gaussian process by matrix inverses in numpy.

    target/peers/bin/python core/pipeline/tests/reference/gaussian_process.py
"""

import json
import pathlib

import numpy as np

random = np.random.default_rng(0)
points = random.uniform(size=(12, 3))
scores = np.sin(5 * points[:, 0]) + points[:, 1] ** 2 + 0.05 * random.normal(size=12)
lengths, noise = np.array([0.3, 0.8, 2.2]), 1e-3
queries = random.uniform(size=(6, 3))
queries[0] = points[4]


def kernel(x, y):
    r = np.sqrt(5 * (((x[:, None] - y[None]) / lengths) ** 2).sum(-1))
    return (1 + r + r**2 / 3) * np.exp(-r)


n = len(points)
matrix = kernel(points, points) + noise * np.eye(n)
inverse = np.linalg.inv(matrix)
mean = scores.mean()
variance = (scores - mean) @ inverse @ (scores - mean) / n
across = kernel(queries, points)
result = {
    "points": points.tolist(),
    "scores": scores.tolist(),
    "lengths": lengths.tolist(),
    "noise": noise,
    "queries": queries.tolist(),
    "means": (mean + across @ inverse @ (scores - mean)).tolist(),
    "variances": (variance * (1 - np.einsum("qi,ij,qj->q", across, inverse, across))).tolist(),
    # the log density of the normal distribution N(mean, variance * matrix) at the scores
    "log_likelihood": -0.5 * n * np.log(2 * np.pi)
    - 0.5 * np.linalg.slogdet(variance * matrix)[1]
    - 0.5 * (scores - mean) @ np.linalg.inv(variance * matrix) @ (scores - mean),
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
