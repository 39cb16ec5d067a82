"""P-values of the exact W2 by SciPy, for nulls.rs: `python w2_p_values.py n m d PERMUTATIONS pairs|pooled`.

Reads pairs of clouds x [n, d] and y [m, d] as little-endian doubles until the input ends, and prints their p-values as
one line of JSON. `pairs` exchanges the sides of random pairs of rows, `pooled` all rows.
"""
import json
import sys

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

n, m, d, permutations = map(int, sys.argv[1:5])
rng = np.random.default_rng(0)


def w2(x, y):
    """The cost of the best matching; rows are repeated where their numbers differ."""
    common = np.lcm(len(x), len(y))
    x, y = np.repeat(x, common // len(x), 0), np.repeat(y, common // len(y), 0)
    cost = cdist(x, y, "sqeuclidean")
    return cost[linear_sum_assignment(cost)].mean()


def shuffled(x, y):
    if sys.argv[5] == "pairs":
        swap = rng.random((n, 1)) < 0.5
        return np.where(swap, y, x), np.where(swap, x, y)
    both = rng.permutation(np.r_[x, y])
    return both[:n], both[n:]


found = []
for draw in np.frombuffer(sys.stdin.buffer.read(), "<f8").reshape(-1, (n + m) * d):
    x, y = draw[: n * d].reshape(n, d), draw[n * d :].reshape(m, d)
    own = w2(x, y)
    extreme = sum(w2(*shuffled(x, y)) >= own - 1e-12 for _ in range(permutations))
    found.append((extreme + 1) / (permutations + 1))
print(json.dumps(found))
