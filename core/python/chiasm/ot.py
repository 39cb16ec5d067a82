"""Optimal transport, with the signatures of POT (`Python Optimal Transport`).

The functions take POT's arguments in POT's order. They take and return NumPy arrays in double precision.
Entropic solvers work in single precision on a rescaled kernel: the entries of their plans are right to about
1e-5 of the largest. Arguments of POT that choose among its own implementations (``method``, ``numThreads``,
``check_marginals``, ``warmstart``) are accepted and make no difference; any other name is a ``TypeError``.
Where functions differ from POT's is in the README of the package.

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

import numpy as np

from ._images import barycentric, entropic_map, transform
from ._solvers import (
    BALANCED,
    EMD_OPTIONS,
    GROMOV_OPTIONS,
    SINKHORN_OPTIONS,
    UNBALANCED,
    check,
    each,
    entropic,
    exact,
    gromov,
    only_known,
    problem,
    relative_costs,
    with_cost,
)

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


def emd(a, b, M, numItermax=100_000, log=False, **others):
    """Solves exact transport: min <P, M> with P 1 = a, P^T 1 = b, P >= 0.

    Parameters
    ----------
    a, b : array of shape (n,) and (m,)
        Weights of the source and the target; empty for uniform ones. Their sums must be equal up to 1e-6.
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
    only_known(others, EMD_OPTIONS)
    found = exact(a, b, M, numItermax)
    return (found.pop("plan"), found) if log else found["plan"]


def emd2(a, b, M, processes=1, numItermax=100_000, log=False, return_matrix=False, **others):
    """Returns the cost of exact transport, as :func:`emd`; with ``log`` or ``return_matrix`` also a dict.

    With `b` of shape (m, k), the costs (k,) to each of its columns; arrays of the dict have k in the last
    axis.
    """
    only_known(others, EMD_OPTIONS)
    if np.ndim(b) == 2:
        return each(b, log or return_matrix, lambda own: emd2(a, own, M, 1, numItermax, True, return_matrix))
    found = exact(a, b, M, numItermax)
    plan = found.pop("plan")
    if return_matrix:
        found["G"] = plan
    return (found["cost"], found) if log or return_matrix else found["cost"]


def sinkhorn(
    a,
    b,
    M,
    reg,
    method="sinkhorn",
    numItermax=1000,
    stopThr=1e-9,
    verbose=False,
    log=False,
    warn=True,
    **others,
):
    """Solves entropic transport: min <P, M> + reg KL(P | a b^T) with P 1 = a, P^T 1 = b.

    Parameters
    ----------
    a, b : array of shape (n,) and (m,)
        Weights of the source and the target; empty for uniform ones. With `b` of shape (m, k), the result is
        the costs (k,) to each of its columns, and arrays of the dict have k in the last axis.
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
    only_known(others, SINKHORN_OPTIONS)
    if np.ndim(b) == 2:
        return sinkhorn2(a, b, M, reg, method, numItermax, stopThr, verbose, log, warn)
    check("method", method, BALANCED)
    found = entropic(a, b, M, reg, numItermax, stopThr, warn)
    return (found.pop("plan"), found) if log else found["plan"]


def sinkhorn2(
    a,
    b,
    M,
    reg,
    method="sinkhorn",
    numItermax=1000,
    stopThr=1e-9,
    verbose=False,
    log=False,
    warn=True,
    **others,
):
    """Returns the cost <P, M> of entropic transport, as :func:`sinkhorn`; with ``log`` also a dict."""
    only_known(others, SINKHORN_OPTIONS)
    if np.ndim(b) == 2:
        return each(
            b, log, lambda own: sinkhorn2(a, own, M, reg, method, numItermax, stopThr, verbose, True, warn)
        )
    check("method", method, BALANCED)
    found = entropic(a, b, M, reg, numItermax, stopThr, warn)
    del found["plan"]
    return (found["cost"], found) if log else found["cost"]


def sinkhorn_unbalanced(
    a,
    b,
    M,
    reg,
    reg_m,
    method="sinkhorn",
    reg_type="kl",
    c=None,
    warmstart=None,
    numItermax=1000,
    stopThr=1e-6,
    verbose=False,
    log=False,
    warn=True,
    **others,
):
    """Solves entropic unbalanced transport.

    min <P, M> + reg KL(P | c) + reg_m[0] KL(P 1 | a) + reg_m[1] KL(P^T 1 | b). `reg_m` is a number or a
    pair. `c` is a b^T when it is not given; with ``reg_type="entropy"`` it is one everywhere. With `b` of
    shape (m, k), the result is the costs <P, M> (k,) to each of its columns, with the entropy, as in POT. The
    dict of ``log`` holds ``logu`` and ``logv`` as well: P = c exp(logu + logv^T - M / reg). Other arguments
    as :func:`sinkhorn`.
    """
    only_known(others, SINKHORN_OPTIONS)
    check("method", method, UNBALANCED)
    check("reg_type", reg_type, ("kl", "entropy"))
    if np.ndim(b) == 2:
        options = (reg, reg_m, method, "entropy", None, None, numItermax, stopThr, verbose, True, warn)
        return each(b, log, lambda own: with_cost(M, *sinkhorn_unbalanced(a, own, M, *options)))
    penalties = np.broadcast_to(np.asarray(reg_m, dtype=np.float64), (2,))
    c = None if reg_type == "entropy" else c
    relative = relative_costs(a, b, M, reg, c) if reg_type == "entropy" or c is not None else M
    found = entropic(
        a, b, relative, reg, numItermax, stopThr, warn, unbalanced=(float(penalties[0]), float(penalties[1]))
    )
    found["logu"], found["logv"] = (np.asarray(found[name]) / reg for name in ("u", "v"))
    if relative is not M:
        found["cost"] = float((found["plan"] * np.asarray(M)).sum())
    return (found.pop("plan"), found) if log else found["plan"]


def partial_wasserstein(a, b, M, m=None, nb_dummies=1, log=False, numItermax=100_000, **others):
    """Solves exact transport of the mass `m`: P 1 <= a, P^T 1 <= b; all that fits when `m` is not given."""
    only_known(others, EMD_OPTIONS)
    a, b, _cost = problem(a, b, M)
    found = exact(a, b, M, numItermax, mass=float(min(a.sum(), b.sum()) if m is None else m))
    found["partial_w_dist"] = found["cost"]
    return (found.pop("plan"), found) if log else found["plan"]


def entropic_partial_wasserstein(
    a,
    b,
    M,
    reg,
    m=None,
    method="sinkhorn",
    numItermax=1000,
    stopThr=1e-6,
    verbose=False,
    log=False,
    warn=True,
    **others,
):
    """Solves entropic transport of the mass `m`; all that fits when `m` is not given.

    min <P, M> + reg sum P (log P - 1) with P 1 <= a, P^T 1 <= b and sum P = m. The entropy is relative to
    equal weights, as in POT and in Benamou et al., Iterative Bregman projections for regularized
    transportation problems, SIAM J. Sci. Comput. 37 (2015), section 5.
    """
    only_known(others)
    check("method", method, ("sinkhorn", "sinkhorn_log"))
    a, b, cost = problem(a, b, M)
    mass = float(min(a.sum(), b.sum()) if m is None else m)
    found = entropic(a, b, relative_costs(a, b, cost, reg), reg, numItermax, stopThr, warn, partial=mass)
    found["cost"] = found["partial_w_dist"] = float((found["plan"] * cost).sum())
    return (found.pop("plan"), found) if log else found["plan"]


def gromov_wasserstein(
    C1,
    C2,
    p=None,
    q=None,
    loss_fun="square_loss",
    symmetric=None,
    log=False,
    armijo=False,
    G0=None,
    max_iter=10_000,
    tol_rel=1e-9,
    tol_abs=1e-9,
    starts=7,
    **others,
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
    only_known(others, GROMOV_OPTIONS)
    found = gromov(C1, C2, p, q, loss_fun, None, max_iter, tol_abs, starts)
    return (found.pop("plan"), found) if log else found["plan"]


def gromov_wasserstein2(C1, C2, p=None, q=None, loss_fun="square_loss", symmetric=None, log=False, **options):
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
    symmetric=None,
    G0=None,
    max_iter=1000,
    tol=1e-9,
    solver="PGD",
    warmstart=False,
    verbose=False,
    log=False,
    starts=7,
    **others,
):
    """Solves :func:`gromov_wasserstein` with an entropy of weight `epsilon`, by projected gradients."""
    only_known(others, SINKHORN_OPTIONS)
    check("solver", solver, ("pgd",))
    found = gromov(C1, C2, p, q, loss_fun, float(epsilon), max_iter, tol, starts)
    return (found.pop("plan"), found) if log else found["plan"]


def fused_gromov_wasserstein(
    M,
    C1,
    C2,
    p=None,
    q=None,
    loss_fun="square_loss",
    symmetric=None,
    alpha=0.5,
    armijo=False,
    G0=None,
    log=False,
    max_iter=10_000,
    tol_rel=1e-9,
    tol_abs=1e-9,
    starts=7,
    **others,
):
    """Solves :func:`gromov_wasserstein` and costs `M` between the spaces: (1 - alpha) <P, M> + alpha GW."""
    only_known(others, GROMOV_OPTIONS)
    found = gromov(C1, C2, p, q, loss_fun, None, max_iter, tol_abs, starts, linear=M, alpha=float(alpha))
    found["fgw_dist"] = found["gw_dist"]
    return (found.pop("plan"), found) if log else found["plan"]
