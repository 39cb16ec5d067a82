"""Cases of the sweep for unbalanced, partial, low-rank, sliced and Gromov-Wasserstein transport, with values of POT.

POT runs in double precision on the clouds in units of their largest distance, without the points that have no
weight, and its values are scaled back: it is accurate only there. Where POT has not converged there is no value.
A result is `[value, absolute tolerance, relative tolerance]`, or with `"most"` an upper bound.
"""

import warnings

import numpy as np
import ot
from scipy.spatial.distance import cdist

warnings.simplefilter("ignore")


def kl(p, q):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > 0, p * np.log(p / q), 0.0).sum() - p.sum() + q.sum()


def feasible(plan, a, b, mass=None):
    """Whether a plan of POT has converged to its constraints."""
    if not np.isfinite(plan).all():
        return False
    rows, columns = plan.sum(1) - a, plan.sum(0) - b
    if mass is None:
        return np.abs(rows).sum() + np.abs(columns).sum() < 1e-7
    return rows.max() < 1e-8 and columns.max() < 1e-8 and abs(plan.sum() - mass) < 1e-8


def unbalanced(rng, cost, a, b, unit):
    eps, rho = float(rng.choice([0.05, 0.3])) * cost.mean(), float(rng.choice([0.1, 1.0, 10.0])) * cost.mean()
    plan = ot.unbalanced.sinkhorn_unbalanced(
        a, b, cost, eps, rho, reg_type="kl", numItermax=3000, stopThr=1e-13
    )
    with np.errstate(all="ignore"):  # where the derivative of the objective vanishes
        slope = eps * np.log(plan / (a[:, None] * b)) + cost
        slope += rho * (np.log(plan.sum(1) / a)[:, None] + np.log(plan.sum(0) / b))
    if not np.abs(slope * plan).sum() < 1e-8 * eps * plan.sum():
        return None
    value = (plan * cost).sum() + eps * kl(plan, a[:, None] * b)
    value += rho * (kl(plan.sum(1), a) + kl(plan.sum(0), b))
    expect = {
        "unbalanced": [value * unit, 1e-7 * unit, 1e-5],
        "unbalanced, cost": [(plan * cost).sum() * unit, 1e-5 * unit, 1e-3],
        "unbalanced, mass": [plan.sum(), 1e-6, 1e-4],
    }
    return {"eps": eps * unit, "rho": rho * unit}, expect


def partial(rng, cost, a, b, unit):
    mass = float(rng.choice([0.2, 0.5, 0.9, 1.0]))
    plan = ot.partial.partial_wasserstein(a, b, cost, m=mass) if mass < 1 else ot.emd(a, b, cost)
    if not feasible(plan, a, b, mass):
        return None
    return {"mass": mass}, {"partial": [(plan * cost).sum() * unit, 1e-9 * unit, 1e-7]}


def entropic_partial(rng, cost, a, b, unit):
    mass, eps = float(rng.choice([0.2, 0.5, 0.9])), float(rng.choice([0.05, 0.3])) * cost.mean()
    # POT's entropy is relative to equal weights, and here to the product of the weights.
    relative = cost - eps * (np.log(a)[:, None] + np.log(b))
    plan = ot.partial.entropic_partial_wasserstein(
        a, b, relative, eps, m=mass, numItermax=5000, stopThr=1e-12
    )
    if not feasible(plan, a, b, mass):
        return None
    expect = {
        "entropic partial": [
            ((plan * cost).sum() + eps * kl(plan, a[:, None] * b)) * unit,
            1e-6 * unit,
            1e-5,
        ],
        "entropic partial, cost": [(plan * cost).sum() * unit, 1e-5 * unit, 1e-3],
    }
    return {"mass": mass, "eps": eps * unit}, expect


def low_rank(rng, x, y, a, b, unit):
    """The plan of rank one bounds the others. POT's, which fits the latent weights too, may be lower."""
    rank = int(rng.choice([1, 2, 5]))
    cost = (cdist(x, y) / np.sqrt(unit)) ** 2
    return {"rank": rank}, {"low rank": [a @ cost @ b * unit, 1e-6 * unit, 1e-5, "most"]}


def sliced(rng, x, y, a, b, unit):
    axes = rng.normal(size=(x.shape[1], 20))
    axes /= np.linalg.norm(axes, axis=0)
    scale = np.sqrt(unit)
    # Differences to one row keep the digits of clouds far away.
    value = ot.sliced_wasserstein_distance((x - x[0]) / scale, (y - x[0]) / scale, a, b, projections=axes)
    axes = axes.T.ravel().tolist()
    return {"axes": axes}, {"sliced, weighted": [value * scale, 1e-7 * scale, 1e-6]}


def gromov(rng, solver, x, y, a, b):
    """Between the distances within x and within y, or their squares.

    Both solvers find a local optimum, and not always the same among equal costs, so the bound is 5 % above POT's.

    The linear cost of fgw is the difference of the points' mean distances.
    """
    p, q = a > 0, b > 0
    power = int(rng.choice([1, 2]))
    dx, dy = cdist(x, x), cdist(y, y)
    top = max(dx.max(), dy.max())
    if dx[p][:, p].max() == 0 or dy[q][:, q].max() == 0:
        return None
    dx, dy, unit = (dx / top) ** power, (dy / top) ** power, top**power
    linear = np.abs(dx.mean(1)[:, None] - dy.mean(1))
    alpha, eps = 0.5, float(rng.choice([0.01, 0.05]))
    cx, cy, pa, pb = dx[p][:, p], dy[q][:, q], a[p], b[q]

    def value(plan):
        rows, columns = plan.sum(1), plan.sum(0)
        return rows @ cx**2 @ rows + columns @ cy**2 @ columns - 2 * ((cx @ plan @ cy) * plan).sum()

    if solver == "gw":
        plan = ot.gromov.gromov_wasserstein(cx, cy, pa, pb, "square_loss")
        best = value(plan)
    elif solver == "fgw":
        inner = linear[np.ix_(p, q)]
        plan = ot.gromov.fused_gromov_wasserstein(inner, cx, cy, pa, pb, "square_loss", alpha=alpha)
        best = alpha * value(plan) + (1 - alpha) * (plan * inner).sum()
    else:
        plan = ot.gromov.entropic_gromov_wasserstein(
            cx, cy, pa, pb, "square_loss", epsilon=eps, max_iter=500, tol=1e-9
        )
        best = value(plan) + eps * kl(plan, pa[:, None] * pb)
    if not feasible(plan, pa, pb):
        return None
    settings = {"power": power, "eps": eps * unit**2, "alpha": alpha, "unit": unit}
    return settings, linear * unit**2, {solver: [best * unit**2, 1e-6 * unit**2, 0.05, "most"]}


def case(rng, pair, weights):
    x, y, kind, single = pair(rng)
    x, y = x[:20], y[:20]
    a, b = weights(rng, len(x)), weights(rng, len(y))
    solver = str(
        rng.choice(
            ["unbalanced", "partial", "entropic partial", "low rank", "sliced", "gw", "entropic gw", "fgw"]
        )
    )
    d = cdist(x, y)
    top = d.max()
    if top == 0 or not 1e-18 < top < 1e18:
        return None
    p, q = a > 0, b > 0  # POT divides by weights
    if p.sum() < 3 or q.sum() < 3:
        return None
    inner, costs = (a[p], b[q]), None
    if solver == "low rank":
        made = low_rank(rng, x[p], y[q], *inner, top**2)
    elif solver == "sliced":
        made = sliced(rng, x[p], y[q], *inner, top**2)
    elif solver.endswith("gw"):
        made = gromov(rng, solver, x, y, a, b)
        if made is not None:
            settings, costs, expect = made
            made = settings, expect
    else:
        solve = {"unbalanced": unbalanced, "partial": partial, "entropic partial": entropic_partial}[solver]
        made = solve(rng, (d[np.ix_(p, q)] / top) ** 2, *inner, top**2)
    if made is None:
        return None
    settings, expect = made
    shown = {"case": solver, "kind": kind, "single": single, **settings}
    expect = {
        key: [float(v) if not isinstance(v, str) else v for v in values] for key, values in expect.items()
    }
    return shown, x, y, a, b, costs, expect
