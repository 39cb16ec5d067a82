"""Makes cases.json: ranks by scipy.stats.rankdata and spectra by numpy.linalg of small matrices.

Run with `python make.py` in a venv that holds numpy and scipy; the result is kept beside this file.
"""

import json
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

rng = np.random.default_rng(3)
scores = rng.integers(-4, 5, (24, 24)) / 4  # many ties
ranks = [[rankdata(-row, "average")[i] - 1 for i, row in enumerate(s)] for s in (scores, scores.T)]
hits = lambda r, k: float(np.mean(np.array(r) < k))
matrix = rng.normal(size=(7, 5))
cases = {
    "scores": scores.tolist(),
    "forward": [float(r) for r in ranks[0]],
    "backward": [float(r) for r in ranks[1]],
    "rsum": 100 * sum(hits(r, k) for r in ranks for k in (1, 5, 10)),
    "mrr": float(np.mean(1 / (1 + np.array(ranks[0])))),
    "median_rank": float(np.median(ranks[0]) + 1),
    "matrix": matrix.tolist(),
    "singular": np.linalg.svd(matrix)[1].tolist(),
    "eigen": np.linalg.eigvalsh(matrix.T @ matrix)[::-1].tolist(),
}
Path(__file__).with_name("cases.json").write_text(json.dumps(cases) + "\n")
