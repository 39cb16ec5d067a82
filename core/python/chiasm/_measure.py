"""Geometry measures of two clouds of points."""

import json

import numpy as np

from . import _core
from ._arrays import array


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
    x, y = array(x, "x"), array(y, "y")
    x, y = (np.ascontiguousarray(np.atleast_2d(cloud), dtype=np.float64) for cloud in (x, y))
    if labels is not None:
        labels = np.ascontiguousarray(labels, dtype=np.uint64)
    only = [only] if isinstance(only, str) else only
    choice = {"only": only, "k": k, "null": null, "seed": seed}
    return json.loads(_core.measure(x, y, choice, labels))
