"""Images of points under a transport plan."""

import numpy as np

from . import _core
from ._arrays import real


def barycentric(P, Xt, Xs=None):
    """Returns the images of the sources under a plan: the mean of the targets that the mass of each goes to.

    T(x_i) = sum_j P_ij y_j / sum_j P_ij (Ferradans et al. 2014, section 4.1; Perrot et al. 2016).

    Parameters
    ----------
    P : array of shape (n, m)
        A plan of any solver. Between two spaces (Gromov-Wasserstein) the images are in that of the targets.
    Xt : array of shape (m, d)
        The target points.
    Xs : array of shape (n, d), optional
        The source points. A source that sends no mass moves as the nearest one that does. POT moves it to
        zero; without `Xs`, such a row is an error.

    Returns
    -------
    images : array of shape (n, d)
    """
    plan, targets = _matrix("P", P), _matrix("Xt", Xt)
    if plan.shape[1] != len(targets):
        raise ValueError(f"Xt: expected {plan.shape[1]} rows, the columns of P, got {len(targets)}")
    mass = plan.sum(axis=1)
    silent = np.flatnonzero(~(mass > 0))
    images = (plan / np.where(mass > 0, mass, 1)[:, None]) @ targets
    if len(silent) == 0:
        return images
    if Xs is None or len(silent) == len(plan):
        shown = ", ".join(map(str, silent[:5])) + (", ..." if len(silent) > 5 else "")
        raise ValueError(f"P: rows without mass have no image: {shown}; give Xs to move them as the nearest")
    sources, sending = _matrix("Xs", Xs), mass > 0
    images[silent] = _shifted(sources[sending], images[sending], sources[silent])
    return images


def transform(P, Xs, Xt, X):
    """Moves points that are not in the problem as their nearest source moves: x + T(x_i) - x_i.

    T are the images of :func:`barycentric` (Ferradans et al. 2014, section 4.2; ``transform`` in POT's
    ``ot.da``). Sources that send no mass are left out. Where the targets have another width, the result is
    T(x_i).

    Parameters
    ----------
    P : array of shape (n, m)
        A plan of any solver.
    Xs, Xt : array of shape (n, d) and (m, e)
        The source and the target points.
    X : array of shape (k, d)
        The points to move.

    Returns
    -------
    images : array of shape (k, e)
    """
    plan, sources, points = _matrix("P", P), _matrix("Xs", Xs), _matrix("X", X)
    if sources.shape != (len(plan), points.shape[1]):
        raise ValueError(f"Xs: expected the shape {(len(plan), points.shape[1])}, got {sources.shape}")
    sending = plan.sum(axis=1) > 0
    if not sending.any():
        raise ValueError("P: the plan has no mass, so nothing says where to move")
    return _shifted(sources[sending], barycentric(plan[sending], Xt), points)


def entropic_map(M, Xt, v, reg, b=None):
    """Returns the images of points under the entropic map of a solved problem.

    T(x) = sum_j softmax_j((v_j - M_j) / reg + log b_j) y_j (Pooladian and Niles-Weed 2021, arXiv
    2109.12004). At the sources of the problem these are the images of :func:`barycentric`, and between them
    the map is smooth.

    Parameters
    ----------
    M : array of shape (k, m)
        Costs from the points to the targets, computed as those of the problem were.
    Xt : array of shape (m, d)
        The target points.
    v : array of shape (m,)
        The target potential, ``log["v"]`` of :func:`sinkhorn` or :func:`sinkhorn_unbalanced`.
    reg : float
        The regularisation of the problem.
    b : array of shape (m,), optional
        Weights of the targets in the problem; uniform when not given.

    Returns
    -------
    images : array of shape (k, d)
    """
    cost, targets, potential = _matrix("M", M), _matrix("Xt", Xt), np.asarray(v, dtype=np.float64)
    weights = np.full(len(targets), 1.0) if b is None else np.asarray(b, dtype=np.float64)
    for name, length in (("Xt", len(targets)), ("v", potential.size), ("b", weights.size)):
        if length != cost.shape[1]:
            raise ValueError(f"{name}: expected one value for each of {cost.shape[1]} targets, got {length}")
    if not (reg > 0 and np.isfinite(potential).all()):
        raise ValueError(f"expected a positive reg and finite potentials v, got reg={reg}")
    if not (weights >= 0).all() or weights.sum() <= 0:
        raise ValueError("b: expected weights >= 0 with a positive sum")
    with np.errstate(divide="ignore"):
        scores = (potential - cost) / reg + np.log(weights)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (shares / shares.sum(axis=1, keepdims=True)) @ targets


def _matrix(name, given):
    """Returns a matrix of finite doubles."""
    matrix = np.asarray(real(given, name), dtype=np.float64, order="C")
    if matrix.ndim != 2:
        raise ValueError(f"{name}: expected a matrix, got an array of shape {matrix.shape}")
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(bad):
        raise ValueError(f"{name}: row {bad[0]} holds a value that is not finite")
    return matrix


def _shifted(known, images, points):
    """Moves points as the nearest known point moves, the first of equally near ones."""
    if len(points) == 0:
        return np.empty((0, images.shape[1]))
    nearest = _core.nearest_rows(known, points)
    if points.shape[1] != images.shape[1]:
        return images[nearest]
    return images[nearest] + (points - known[nearest])
