"""Geometry measures of two clouds of points."""

import json

import numpy as np

from . import _core
from ._arrays import array, real


def measure(x, y, *, only=None, k=None, null=0, seed=0, labels=None):
    """Measures how alike two clouds of points are, as ``chiasm measure`` does.

    Parameters
    ----------
    x, y : array of shape (n, a) and (m, b)
        The points, one per row: of NumPy, Arrow or any library with DLPack. Where a measure needs pairs,
        row i of one belongs to row i of the other.
    only : list of str, optional
        Names of measures; all that apply when not given. ``chiasm explain NAME`` defines each.
    k : int, optional
        Number of neighbours of measures on neighbourhoods; 10 when not given.
    null : int
        Number of permutations for p-values.
    seed : int
        The seed of permutations and samples.
    labels : array of int of shape (n,), optional
        The class of every row, for measures of classes.

    Returns
    -------
    dict
        ``measures`` holds the results by name: ``value``, and ``null`` with p-values; ``skipped`` the
        measures that do not apply, and why.

    Raises
    ------
    ChiasmError
        If a value is not finite, there are fewer than two points, or a measure does not exist.
    """
    x, y = real(array(x, "x"), "x"), real(array(y, "y"), "y")
    x, y = (np.ascontiguousarray(np.atleast_2d(cloud), dtype=np.float64) for cloud in (x, y))
    if labels is not None:
        labels = _classes(labels)
    if int(null) != null or null < 0:
        raise ValueError(f"null: expected a number of permutations of 0 or more, got {null}")
    only = [only] if isinstance(only, str) else only
    choice = {"only": only, "k": k, "null": int(null), "seed": seed}
    return json.loads(_core.measure(x, y, choice, labels))


def _classes(labels):
    """Returns the number of the class of each row; a fraction, a text or a number below 0 is none."""
    given = np.asarray(real(array(labels, "labels"), "labels"))
    whole = given.dtype.kind in "bui" or (given.dtype.kind == "f" and (given % 1 == 0).all())
    if given.ndim != 1 or not whole or (given < 0).any():
        wrong = f"got {given.ravel()[:3].tolist()}..., of shape {given.shape}"
        raise ValueError(f"labels: expected one whole number of 0 or more for each row, {wrong}")
    return np.ascontiguousarray(given, dtype=np.uint64)
