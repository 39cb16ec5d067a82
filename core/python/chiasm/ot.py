"""Optimal transport, with the signatures of POT (`Python Optimal Transport`).

The functions take and return NumPy arrays in double precision. Entropic solvers work in single precision on a
rescaled kernel: the entries of their plans are right to about 1e-5 of the largest. Arguments of POT that
choose among its own implementations (``method``, ``numThreads``, ``check_marginals``) are accepted and
ignored.

==================================== =====================================================================
here                                 in POT
==================================== =====================================================================
``emd``, ``emd2``                    exact transport; a certificate (the duality gap) is in ``log["gap"]``
``sinkhorn``, ``sinkhorn2``          entropic transport
``sinkhorn_unbalanced``              ``ot.unbalanced.sinkhorn_unbalanced``
``partial_wasserstein``              ``ot.partial.partial_wasserstein``
``entropic_partial_wasserstein``     ``ot.partial.entropic_partial_wasserstein``
``gromov_wasserstein``               ``ot.gromov.gromov_wasserstein``
``entropic_gromov_wasserstein``      ``ot.gromov.entropic_gromov_wasserstein``
``fused_gromov_wasserstein``         ``ot.gromov.fused_gromov_wasserstein``
``barycentric``, ``transform``       ``transform`` of the classes in ``ot.da``, for any plan
``entropic_map``                     ``ot.da.SinkhornTransport`` with ``out_of_sample_map="continuous"``
==================================== =====================================================================
"""

import warnings

import numpy as np

from . import _core
from ._images import barycentric, entropic_map, transform

__all__ = [
    "barycentric",
    "emd",
    "emd2",
    "entropic_gromov_wasserstein",
    "entropic_map",
    "entropic_partial_wasserstein",
    "fused_gromov_wasserstein",
    "gromov_wasserstein",
    "gromov_wasserstein2",
    "partial_wasserstein",
    "sinkhorn",
    "sinkhorn2",
    "sinkhorn_unbalanced",
    "transform",
]


def emd(a, b, M, numItermax=100_000, log=False, **_):
    """Solves exact transport: min <P, M> with P 1 = a, P^T 1 = b, P >= 0.

    Parameters
    ----------
    a, b : array of shape (n,) and (m,)
        Weights of the source and the target; empty for uniform ones. Their sums must be equal.
    M : array of shape (n, m)
        The costs; infinity forbids an entry.
    numItermax : int
        Largest number of simplex pivots.
    log : bool
        Return a dict with ``cost``, the potentials ``u`` and ``v``, ``gap`` and ``warning`` as well.

    Returns
    -------
    P : array of shape (n, m)
    log : dict, only if ``log``
    """
    found = _exact(a, b, M, numItermax)
    return (found.pop("plan"), found) if log else found["plan"]


def emd2(a, b, M, numItermax=100_000, log=False, return_matrix=False, **_):
    """Returns the cost of exact transport, as :func:`emd`; with ``log`` or ``return_matrix`` also a dict."""
    found = _exact(a, b, M, numItermax)
    plan = found.pop("plan")
    if return_matrix:
        found["G"] = plan
    return (found["cost"], found) if log or return_matrix else found["cost"]


def sinkhorn(a, b, M, reg, method="sinkhorn", numItermax=1000, stopThr=1e-9, log=False, warn=True, **_):
    """Solves entropic transport: min <P, M> + reg KL(P | a b^T) with P 1 = a, P^T 1 = b.

    Parameters
    ----------
    a, b : array of shape (n,) and (m,)
        Weights of the source and the target; empty for uniform ones.
    M : array of shape (n, m)
        The costs.
    reg : float
        The regularisation, in units of the cost.
    numItermax : int
        Largest number of iterations.
    stopThr : float
        Tolerance of the L1 error of the marginals; at least 1e-6 can be reached.
    log : bool
        Return a dict with ``cost``, ``err``, ``niter`` and the potentials ``u`` and ``v`` as well.
    warn : bool
        Warn if the tolerance was not met.

    Returns
    -------
    P : array of shape (n, m)
    log : dict, only if ``log``
    """
    del method
    found = _entropic(a, b, M, reg, numItermax, stopThr, warn)
    return (found.pop("plan"), found) if log else found["plan"]


def sinkhorn2(a, b, M, reg, method="sinkhorn", numItermax=1000, stopThr=1e-9, log=False, warn=True, **_):
    """Returns the cost <P, M> of entropic transport, as :func:`sinkhorn`; with ``log`` also a dict."""
    del method
    found = _entropic(a, b, M, reg, numItermax, stopThr, warn)
    del found["plan"]
    return (found["cost"], found) if log else found["cost"]


def sinkhorn_unbalanced(a, b, M, reg, reg_m, numItermax=1000, stopThr=1e-6, log=False, warn=True, **_):
    """Solves entropic unbalanced transport.

    min <P, M> + reg KL(P | a b^T) + reg_m[0] KL(P 1 | a) + reg_m[1] KL(P^T 1 | b). `reg_m` is a number or a
    pair. Other arguments as :func:`sinkhorn`.
    """
    penalties = np.broadcast_to(np.asarray(reg_m, dtype=np.float64), (2,))
    found = _entropic(
        a, b, M, reg, numItermax, stopThr, warn, unbalanced=(float(penalties[0]), float(penalties[1]))
    )
    return (found.pop("plan"), found) if log else found["plan"]


def partial_wasserstein(a, b, M, m=None, numItermax=100_000, log=False, **_):
    """Solves exact transport of the mass `m`: P 1 <= a, P^T 1 <= b; all that fits when `m` is not given."""
    a, b, _cost = _problem(a, b, M)
    found = _exact(a, b, M, numItermax, mass=float(min(a.sum(), b.sum()) if m is None else m))
    found["partial_w_dist"] = found["cost"]
    return (found.pop("plan"), found) if log else found["plan"]


def entropic_partial_wasserstein(
    a, b, M, reg, m=None, numItermax=1000, stopThr=1e-6, log=False, warn=True, **_
):
    """Solves entropic transport of the mass `m`; all that fits when `m` is not given.

    min <P, M> + reg sum P (log P - 1) with P 1 <= a, P^T 1 <= b and sum P = m. The entropy is relative to
    equal weights, as in POT and in Benamou et al., Iterative Bregman projections for regularized
    transportation problems, SIAM J. Sci. Comput. 37 (2015), section 5.
    """
    a, b, cost = _problem(a, b, M)
    mass = float(min(a.sum(), b.sum()) if m is None else m)
    # The solver's entropy is relative to the product of the weights; this cost makes up for that.
    smallest = np.finfo(np.float64).tiny
    relative = cost + reg * (np.log(np.maximum(a, smallest))[:, None] + np.log(np.maximum(b, smallest)))
    found = _entropic(a, b, relative, reg, numItermax, stopThr, warn, partial=mass)
    found["cost"] = found["partial_w_dist"] = float((found["plan"] * cost).sum())
    return (found.pop("plan"), found) if log else found["plan"]


def gromov_wasserstein(
    C1, C2, p=None, q=None, loss_fun="square_loss", max_iter=10_000, tol_abs=1e-9, log=False, starts=7, **_
):
    """Matches two spaces by the distances within each: min sum (C1_ij - C2_kl)^2 P_ik P_jl.

    Parameters
    ----------
    C1, C2 : array of shape (n, n) and (m, m)
        Distances within each space.
    p, q : array of shape (n,) and (m,), optional
        Weights; uniform when not given.
    loss_fun : {"square_loss"}
    max_iter : int
        Largest number of iterations.
    tol_abs : float
        Tolerance of the change of the plan.
    log : bool
        Return a dict with ``gw_dist`` as well.
    starts : int
        Number of starts, of which the best result is kept. POT has one.

    Returns
    -------
    P : array of shape (n, m)
    log : dict, only if ``log``
    """
    found = _gromov(C1, C2, p, q, loss_fun, None, max_iter, tol_abs, starts)
    return (found.pop("plan"), found) if log else found["plan"]


def gromov_wasserstein2(C1, C2, p=None, q=None, loss_fun="square_loss", log=False, **options):
    """Returns the Gromov-Wasserstein loss, as :func:`gromov_wasserstein`; with ``log`` also a dict."""
    plan, found = gromov_wasserstein(C1, C2, p, q, loss_fun, log=True, **options)
    found["T"] = plan
    return (found["gw_dist"], found) if log else found["gw_dist"]


def entropic_gromov_wasserstein(
    C1,
    C2,
    p=None,
    q=None,
    loss_fun="square_loss",
    epsilon=0.1,
    max_iter=1000,
    tol=1e-9,
    log=False,
    starts=7,
    **_,
):
    """Solves :func:`gromov_wasserstein` with an entropy of weight `epsilon`."""
    found = _gromov(C1, C2, p, q, loss_fun, float(epsilon), max_iter, tol, starts)
    return (found.pop("plan"), found) if log else found["plan"]


def fused_gromov_wasserstein(
    M,
    C1,
    C2,
    p=None,
    q=None,
    loss_fun="square_loss",
    alpha=0.5,
    max_iter=10_000,
    tol_abs=1e-9,
    log=False,
    starts=7,
    **_,
):
    """Solves :func:`gromov_wasserstein` and costs `M` between the spaces: (1 - alpha) <P, M> + alpha GW."""
    found = _gromov(C1, C2, p, q, loss_fun, None, max_iter, tol_abs, starts, linear=M, alpha=float(alpha))
    found["fgw_dist"] = found["gw_dist"]
    return (found.pop("plan"), found) if log else found["plan"]


def _problem(a, b, M):
    """Returns weights and costs as contiguous arrays; empty weights are uniform."""
    cost = np.ascontiguousarray(M, dtype=np.float64)
    if cost.ndim != 2:
        raise ValueError(f"expected a matrix of costs, got an array of shape {cost.shape}")
    weights = []
    for given, length in zip((a, b), cost.shape, strict=True):
        empty = given is None or np.size(given) == 0
        weights.append(
            np.full(length, 1 / length) if empty else np.ascontiguousarray(given, dtype=np.float64)
        )
    return (*weights, cost)


def _exact(a, b, M, iterations, mass=None):
    a, b, cost = _problem(a, b, M)
    found = _core.exact(a, b, cost, iterations=int(iterations), mass=mass)
    found["warning"] = None if found["stop"] == "converged" else f"the solver stopped early: {found['stop']}"
    if found["warning"]:
        warnings.warn(found["warning"], stacklevel=3)
    return found


def _entropic(a, b, M, reg, iterations, tolerance, warn, **kind):
    a, b, cost = _problem(a, b, M)
    # Single precision reaches 1e-6.
    tolerance = max(float(tolerance), 1e-6)
    options = {"epsilon": float(reg), "iterations": int(iterations), "tolerance": tolerance}
    found = _core.sinkhorn(a, b, cost, {"unbalanced": None, "partial": None, **options, **kind})
    if warn and found["stop"] != "converged":
        message = f"Sinkhorn stopped ({found['stop']}) with a marginal error of {found['err']:.1e}"
        warnings.warn(message, stacklevel=3)
    return found


def _gromov(C1, C2, p, q, loss, epsilon, iterations, tolerance, starts, **fused):
    if loss != "square_loss":
        raise ValueError(f"loss_fun: expected 'square_loss', got {loss!r}")
    # Single precision holds neither the squares of huge distances nor those of tiny ones.
    given = [np.asarray(distances, dtype=np.float64) for distances in (C1, C2)]
    unit = max((np.abs(distances).max() for distances in given if distances.size), default=0.0) or 1.0
    first, second = (np.ascontiguousarray(distances / unit, dtype=np.float32) for distances in given)
    if "linear" in fused:
        linear = np.asarray(fused["linear"], dtype=np.float64) / unit / unit
        fused["linear"] = np.ascontiguousarray(linear, dtype=np.float32)
    weights = [
        np.full(len(space), 1 / len(space)) if own is None else np.ascontiguousarray(own, dtype=np.float64)
        for own, space in ((p, first), (q, second))
    ]
    options = {
        "epsilon": None if epsilon is None else epsilon / unit / unit,
        "iterations": int(iterations),
        "tolerance": float(tolerance),
        "starts": int(starts),
    }
    found = _core.gromov(first, second, *weights, {"linear": None, "alpha": 0.5, **options, **fused})
    found["gw_dist"] *= unit * unit
    return found
