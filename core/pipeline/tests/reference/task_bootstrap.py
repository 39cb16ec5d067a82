"""Paired bootstrap p-values and intervals of task scores with NumPy and scikit-learn, for
compare/task_significance/tests.rs.

Run with `python task_bootstrap.py`; it prints the values that the test holds. The data are answers and truths
from integer hashes, so that the test makes the same ones. Accuracy and micro F1 of a resample are those of
scikit-learn, which the script checks on some resamples; R2 is one minus the squared errors divided by the squared
deviations from the mean of all rows.
"""

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, r2_score

ROWS, DRAWS = 80, 400_000


def uniform(stream, row, column):
    return (row * 37 + column * 101 + stream * 53) * 2654435761 % 2**32 / 2**32


def table(stream, columns):
    return np.array([[uniform(stream, row, column) for column in range(columns)] for row in range(ROWS)])


TRUTH = table(5, 3)


def answers(stream, noise):
    """The truth with noise, different in each system."""
    return (1 - noise) * TRUTH + noise * table(stream, 3)


def accuracy(rows, system):
    """`rows` is [draws, rows]."""
    return (TRUTH.argmax(1) == system.argmax(1))[rows].mean(1)


def micro_f1(rows, system):
    truth, found = TRUTH > 0.6, system > 0.6
    right, errors = (truth & found).sum(1)[rows].sum(1), (truth ^ found).sum(1)[rows].sum(1)
    return 2 * right / (2 * right + errors)


def r2(rows, system):
    variance = TRUTH.var(0)
    errors = (((TRUTH - system) ** 2) / variance).sum(1)[rows].sum(1)
    return 1 - errors / (((TRUTH - TRUTH.mean(0)) ** 2) / variance).sum(1)[rows].sum(1)


def check():
    rows = np.random.default_rng(2).integers(0, ROWS, (50, ROWS))
    system = answers(7, 0.45)
    for drawn, own, labels in zip(rows, accuracy(rows, system), micro_f1(rows, system)):
        assert abs(own - accuracy_score(TRUTH[drawn].argmax(1), system[drawn].argmax(1))) < 1e-12
        assert abs(labels - f1_score(TRUTH[drawn] > 0.6, system[drawn] > 0.6, average="micro")) < 1e-12
    everything = np.arange(ROWS)[None]
    assert abs(r2(everything, system)[0] - r2_score(TRUTH, system, multioutput="uniform_average")) < 1e-12


def test(name, score, first, second):
    """`first` and `second` are lists of systems, one for each seed."""
    random, seeds = np.random.default_rng(1), len(first)
    rows = random.integers(0, ROWS, (DRAWS, ROWS))
    weights = np.array([np.bincount(random.integers(0, seeds, seeds), minlength=seeds) / seeds for _ in range(DRAWS)])
    of = lambda rows: np.array([score(rows, a) - score(rows, b) for a, b in zip(first, second)]).T
    whole = of(np.arange(ROWS)[None]).mean()
    drawn = (weights * of(rows)).sum(1)
    p = (1 + np.sum(np.abs(drawn - whole) >= abs(whole) - 1e-12)) / (1 + DRAWS)
    low, high = np.percentile(drawn, [2.5, 97.5])
    print(f'("{name}", {whole:.6f}, [{low:.4f}, {high:.4f}], {p:.4f}),')


check()
for name, score in [("accuracy", accuracy), ("micro_f1", micro_f1), ("r2", r2)]:
    test(name, score, [answers(7, 0.45)], [answers(11, 0.5)])
    test(f"{name}, close", score, [answers(7, 0.45)], [answers(11, 0.47)])
    seeds = [[answers(stream + 2 * seed, noise) for seed in range(3)] for stream, noise in [(7, 0.4), (31, 0.45)]]
    test(f"{name}, three seeds", score, *seeds)
