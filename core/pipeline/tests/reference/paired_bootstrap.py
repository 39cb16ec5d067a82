"""Paired bootstrap p-values and intervals with NumPy, for compare/significance/tests.rs.

Run with `python paired_bootstrap.py`; it prints the values that the test holds. The data are zeros and ones
from integer hashes, so that the test makes the same ones.
"""

import numpy as np

ROWS, DRAWS = 60, 400_000


def uniform(stream, row, query):
    return (row * 37 + query * 101 + stream * 53) * 2654435761 % 2**32 / 2**32


def right(stream, share, direction, row, query):
    shared, own = uniform(9 * direction, row, query), uniform(stream, row, query + 3 + 4 * direction)
    return float(0.7 * shared + 0.3 * own < share)


def sums(stream, share):
    """Sums of values and numbers of queries per row: one query a->b, and one to three queries b->a."""
    values = [[right(stream, share, 0, row, 0), sum(right(stream, share, 1, row, q) for q in range(1 + row % 3))]
              for row in range(ROWS)]
    return np.array(values)


COUNTS = np.array([[1.0, 1 + row % 3] for row in range(ROWS)])


def test(name, first, second):
    """`first` and `second` are [seeds, rows, directions]."""
    difference, seeds = first - second, len(first)
    random = np.random.default_rng(1)

    def statistic(rows, weights):
        values = np.einsum("s,srd->rd", weights, difference)
        return (values[rows].sum(0) / COUNTS[rows].sum(0)).mean()

    whole = statistic(np.arange(ROWS), np.full(seeds, 1 / seeds))
    drawn = np.empty(DRAWS)
    for draw in range(DRAWS):
        weights = np.bincount(random.integers(0, seeds, seeds), minlength=seeds) / seeds
        drawn[draw] = statistic(random.integers(0, ROWS, ROWS), weights)
    p = (1 + np.sum(np.abs(drawn - whole) >= abs(whole) - 1e-12)) / (1 + DRAWS)
    low, high = np.percentile(drawn, [2.5, 97.5])
    print(f'("{name}", {whole:.6f}, [{low:.4f}, {high:.4f}], {p:.4f}),')


def system(stream, share, seeds=1):
    return np.array([sums(stream + 11 * seed, share) for seed in range(seeds)])


for other in (0.49, 0.47, 0.45):
    test(f"one seed, 0.5 and {other}", system(1, 0.5), system(2, other))
test("three seeds, 0.5 and 0.47", system(1, 0.5, 3), system(2, 0.47, 3))
test("three seeds and one, 0.5 and 0.45", system(1, 0.5, 3), np.repeat(system(2, 0.45), 3, 0))
