"""Writes cases.json: ranks with ties by scipy.stats.rankdata and decompositions by numpy.linalg of small matrices.

Run with `python make.py` in an environment with numpy and scipy.
"""

import json
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

rng = np.random.default_rng(3)
scores = rng.integers(-4, 5, (24, 24)) / 4  # many ties
# best and worst rank of the true pair, from 0; every rank between them is equally likely
ranks = [[[int(rankdata(-row, how)[i]) - 1 for how in ("min", "max")] for i, row in enumerate(s)] for s in (scores, scores.T)]
over_ties = lambda f, r: float(np.mean([np.mean([f(place) for place in range(low, high + 1)]) for low, high in r]))
hits = lambda r, k: over_ties(lambda place: place < k, r)
matrix = rng.normal(size=(7, 5))
cases = {
    "scores": scores.tolist(),
    "forward": ranks[0],
    "backward": ranks[1],
    "rsum": 100 * sum(hits(r, k) for r in ranks for k in (1, 5, 10)),
    "mrr": over_ties(lambda place: 1 / (1 + place), ranks[0]),
    "median_rank": float(np.median(np.mean(ranks[0], axis=1)) + 1),
    "matrix": matrix.tolist(),
    "singular": np.linalg.svd(matrix)[1].tolist(),
    "eigen": np.linalg.eigvalsh(matrix.T @ matrix)[::-1].tolist(),
}
Path(__file__).with_name("cases.json").write_text(json.dumps(cases) + "\n")
