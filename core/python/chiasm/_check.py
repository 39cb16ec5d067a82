"""Checks and Jacobians of maps."""

import json
import os

import numpy as np

from . import _core
from ._arrays import matrix


def check(model, points, *, inverse=None, targets=None, device="cpu", threads=0):
    """Checks the geometry of a map, as ``chiasm check MAP --at POINTS`` does.

    Parameters
    ----------
    model : path or bytes
        The map, an ONNX file with one input (n, d) and one output (n, o).
    points : array of shape (n, d)
        The points to check it at.
    inverse : path or bytes, optional
        The inverse; it is checked in both directions.
    targets : array of shape (m, o), optional
        Points that the images should cover.
    device, threads
        As :func:`chiasm.open`.

    Returns
    -------
    dict
        ``verdict`` ("pass", "warn", "fail" or "unknown"), ``checks`` (each with ``name``, ``value``,
        ``verdict`` and ``meaning``), ``skipped`` and ``jacobian``, the spectra. ``chiasm explain NAME``
        defines each check.
    """
    targets = None if targets is None else matrix(targets, "targets")
    report = _core.check(
        _model(model),
        _rows(points),
        None if inverse is None else _model(inverse),
        targets,
        (device, threads),
    )
    return json.loads(report)


def jacobian(model, points, *, device="cpu", threads=0):
    """Returns the exact Jacobians (n, o, d) of a map at points (n, d), computed by a differentiated graph.

    Parameters
    ----------
    model : path or bytes
        The map, an ONNX file with one input (n, d) and one output (n, o).
    points : array of shape (n, d)
    device, threads
        As :func:`chiasm.open`.

    Raises
    ------
    ChiasmError
        If an operator of the map has no derivative here; the message names it. If the image of a row depends
        on the other rows of its batch, as after a mean over them.
    """
    return _core.jacobian(_model(model), _rows(points), device=device, threads=threads)


def _rows(points):
    """Returns points as a matrix of finite numbers with at least one row."""
    rows = matrix(points, "points")
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError(f"points: expected at least one row, (n, d), got the shape {rows.shape}")
    if not np.isfinite(rows).all():
        row = int((~np.isfinite(rows).all(axis=1)).argmax())
        raise ValueError(f"points: row {row} holds a value that is not finite in single precision")
    return rows


def _model(model):
    return model if isinstance(model, bytes) else os.fspath(model)
