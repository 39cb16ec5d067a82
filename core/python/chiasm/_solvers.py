"""Calls of the solvers in Rust, with arguments as POT has them."""

import warnings

import numpy as np

from . import _core
from ._arrays import real

#: The methods of POT, which all have the same result.
BALANCED = ("sinkhorn", "sinkhorn_log", "greenkhorn", "sinkhorn_stabilized", "sinkhorn_epsilon_scaling")
UNBALANCED = (
    "sinkhorn",
    "sinkhorn_stabilized",
    "sinkhorn_translation_invariant",
    "sinkhorn_reg_scaling",
)
#: Arguments with which POT chooses among its own implementations. They make no difference here.
EMD_OPTIONS = ("center_dual", "numThreads", "check_marginals", "potentials_init")
SINKHORN_OPTIONS = ("warmstart", "tau", "print_period", "epsilon0", "numInnerItermax")
GROMOV_OPTIONS = ("numItermaxEmd", "stopThr2", "verbose", "nx", "alpha_min", "alpha_max")


def only_known(others, known=()):
    """Refuses arguments that POT has not: most likely the name of one is misspelt."""
    unknown = sorted(set(others) - set(known))
    if unknown:
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}; see the help of this function")


def check(name, given, known):
    """Refuses a value that is not one of the known ones."""
    if str(given).lower() not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {given!r}")


def each(b, log, solve):
    """Solves for every column of `b`. Returns the costs, and with `log` a dict of the last axis of all."""
    costs, logs = zip(*(solve(column) for column in np.asarray(b, dtype=np.float64).T), strict=True)
    if not log:
        return np.array(costs)
    return np.array(costs), {name: np.stack([own[name] for own in logs], axis=-1) for name in logs[0]}


def with_cost(M, plan, found):
    """Returns the cost of a plan, and the dict of its solver."""
    return float((plan * np.asarray(M)).sum()), found


def relative_costs(a, b, M, reg, c=None):
    """Returns costs for which the entropy relative to the weights is that relative to `c`, or to ones."""
    a, b, cost = problem(a, b, M)
    smallest = np.finfo(np.float64).tiny
    logarithm = lambda weights: np.log(np.maximum(weights, smallest))  # noqa: E731
    own = 0 if c is None else logarithm(np.asarray(c, dtype=np.float64))
    return cost + reg * (logarithm(a)[:, None] + logarithm(b) - own)


def problem(a, b, M):
    """Returns weights and costs as contiguous arrays; empty weights are uniform."""
    cost = np.ascontiguousarray(real(M, "M"), dtype=np.float64)
    if cost.ndim != 2 or cost.size == 0:
        raise ValueError(f"expected a matrix of costs, got an array of shape {cost.shape}")
    named = zip(("a", "b"), (a, b), cost.shape, strict=True)
    return (*(weights(name, given, length) for name, given, length in named), cost)


def weights(name, given, length):
    """Returns the weights of points as a contiguous array; none or empty ones are uniform."""
    if given is None or np.size(given) == 0:
        return np.full(length, 1 / length)
    found = np.ascontiguousarray(real(given, name), dtype=np.float64)
    if np.ndim(given) != 1:
        raise ValueError(f"{name}: expected {length} weights on one axis, got the shape {np.shape(given)}")
    return found


def exact(a, b, M, iterations, mass=None):
    """Solves exact transport, or that of a part of the mass."""
    a, b, cost = problem(a, b, M)
    found = _core.exact(a, b, cost, iterations=int(iterations), mass=mass)
    stopped = f"the solver stopped early: {found['stop']}; see numItermax"
    found["warning"] = None if found["stop"] == "converged" else stopped
    if found["warning"]:
        warnings.warn(found["warning"], stacklevel=3)
    return found


def entropic(a, b, M, reg, iterations, tolerance, warn, **kind):
    """Solves entropic transport of a kind."""
    a, b, cost = problem(a, b, M)
    unit = 1.0
    if not kind:
        # Plans are in single precision; a power of two scales weights without rounding.
        total = a.sum()
        if 0 < total < np.inf and not 1e-6 <= total <= 1e6:
            unit = 2.0 ** np.round(np.log2(total))
            a, b = a / unit, b / unit
    # Single precision reaches 1e-6.
    tolerance = max(float(tolerance), 1e-6)
    options = {"epsilon": float(reg), "iterations": int(iterations), "tolerance": tolerance}
    found = _core.sinkhorn(a, b, cost, {"unbalanced": None, "partial": None, **options, **kind})
    if unit != 1.0:
        # The potentials stay: P = a b^T exp((u + v^T - M) / reg) / sum(a), whatever the sum.
        found["plan"] = np.multiply(found["plan"], unit, dtype=np.float64)
        found["cost"] *= unit
    if warn and found["stop"] != "converged":
        message = f"Sinkhorn stopped ({found['stop']}) with a marginal error of {found['err']:.1e}"
        warnings.warn(message, stacklevel=3)
    return found


def gromov(C1, C2, p, q, loss, epsilon, iterations, tolerance, starts, **fused):
    """Solves Gromov-Wasserstein transport."""
    if loss != "square_loss":
        raise ValueError(f"loss_fun: expected 'square_loss', got {loss!r}")
    # Single precision holds neither the squares of huge distances nor those of tiny ones.
    given = []
    for name, distances in (("C1", C1), ("C2", C2)):
        given.append(np.asarray(real(distances, name), dtype=np.float64))
        if given[-1].ndim != 2 or given[-1].size == 0:
            raise ValueError(f"{name}: expected a matrix of distances, got the shape {given[-1].shape}")
    if int(starts) != starts or starts < 1:
        raise ValueError(f"starts: expected a whole number of 1 or more, got {starts}")
    unit = max(np.abs(distances).max() for distances in given) or 1.0
    first, second = (np.ascontiguousarray(distances / unit, dtype=np.float32) for distances in given)
    if "linear" in fused:
        linear = np.asarray(real(fused["linear"], "M"), dtype=np.float64) / unit / unit
        fused["linear"] = np.ascontiguousarray(linear, dtype=np.float32)
    shares = weights("p", p, len(first)), weights("q", q, len(second))
    options = {
        "epsilon": None if epsilon is None else epsilon / unit / unit,
        "iterations": int(iterations),
        "tolerance": float(tolerance),
        "starts": int(starts),
    }
    found = _core.gromov(first, second, *shares, {"linear": None, "alpha": 0.5, **options, **fused})
    found["gw_dist"] *= unit * unit
    return found
