"""Cases of the sweep and their values in double precision, by NumPy, SciPy, scikit-learn and POT (solvers.py).

tests/sweep.rs starts this script.

Arguments: the number of cases and a seed. A case is a line of JSON and then its arrays, as little-endian doubles:
x [n, d], y [m, d], the weights a [n] and b [m], and where the line says so costs [n, m]. `expect` holds for each
result its value, its absolute tolerance and its relative tolerance.

Distances are computed from differences of the rows as they are, which loses nothing to offsets and to rows far away.
"""
import json
import sys

import numpy as np
import solvers
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.manifold import trustworthiness

NORMAL = 1e-6  # the relative tolerance of values that have no reason to be less accurate


def cloud(rng, n, d, kind, offset):
    z = rng.normal(size=(n, d))
    if kind == "outlier":
        z[rng.integers(n)] += 10.0 ** rng.uniform(2, 9)
    elif kind == "clusters":
        z = z * 1e-2 + (rng.random(n) < 0.5)[:, None] * 10.0 ** rng.uniform(1, 5)
    elif kind == "duplicates":
        z = z[rng.integers(max(2, n // 2), size=n)]
    elif kind == "constant columns":
        z[:, rng.random(d) < 0.5] = 0.1
    elif kind == "ties":
        z = np.round(z)
    return z + offset


def pair(rng):
    """Two clouds of one width; paired rows are related."""
    n, d = int(rng.integers(12, 50)), int(rng.choice([1, 2, 3, 8, 70]))
    m = n if rng.random() < 0.7 else int(rng.integers(12, 50))
    kind = str(rng.choice(["plain", "outlier", "clusters", "duplicates", "constant columns", "ties"]))
    offset = float(rng.choice([0.0, 0.0, 1.0, 1e3, 1e6]))
    x = cloud(rng, n, d, kind, offset)
    if kind == "outlier" and m == n:  # the same row of both is far away
        y = x + rng.normal(size=(n, d)) * 0.5
    elif m == n and rng.random() < 0.7:
        y = x + rng.normal(size=(n, d)) * float(rng.choice([1e-3, 0.3, 2.0]))
    else:
        y = cloud(rng, m, d, kind, offset)
    scale = 10.0 ** rng.uniform(-20, 20) if rng.random() < 0.5 else 1.0
    x, y = x * scale, y * scale
    single = bool(rng.random() < 0.5)
    if single:
        x, y = x.astype("f").astype("d"), y.astype("f").astype("d")
    return x, y, kind, single


def squares(x, y):
    """Squared distances in units of the largest, and that unit."""
    d = cdist(x, y)
    top = d.max() or 1.0
    return (d / top) ** 2, top


def middle(x):
    """The rows relative to their mean, in units of the largest, without rounding the mean of far rows."""
    x = x - x[0]
    x = x - x.mean(0)
    return x / (np.abs(x).max() or 1.0)


def hsic(k, l, unbiased):
    n = len(k)
    if unbiased:
        k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))
        return (k * l).sum() + k.sum() * l.sum() / (n - 1) / (n - 2) - 2 / (n - 2) * (k.sum(0) @ l.sum(0))
    h = np.eye(n) - 1 / n
    return np.sum((h @ k @ h) * l)


def cka(k, l, unbiased=False):
    kk, ll = hsic(k, k, unbiased), hsic(l, l, unbiased)
    return hsic(k, l, unbiased) / np.sqrt(kk * ll) if kk > 1e-9 and ll > 1e-9 else None


def median_square(square):
    return np.median(square[np.triu_indices(len(square), 1)])


def near(distance, k):
    """The k nearest other rows, or None if a tie, or nearly one, decides."""
    d = distance + np.diag(np.full(len(distance), np.inf))
    order = np.sort(d, 1)
    gap = order[:, k] - order[:, k - 1]
    if (gap <= 1e-6 * order[:, k]).any():
        return None
    return np.argsort(d, 1)[:, :k]


def trust(distance, other, k):
    """scikit-learn's trustworthiness, or None if a tie, or nearly one, decides a rank."""
    d = np.sort(distance + np.diag(np.full(len(distance), np.inf)), 1)[:, : len(distance) - 1]
    if (np.diff(d, axis=1) <= 1e-6 * d[:, 1:]).any():
        return None
    return trustworthiness(distance, middle(other), n_neighbors=k, metric="precomputed")


def two_nn(distance):
    d = np.sort(distance + np.diag(np.full(len(distance), np.inf)), 1)
    d = d[d[:, 0] > 0]
    n = len(d)
    if n < 10:
        return None
    logs = np.sort(np.log(d[:, 1] / d[:, 0]))[: int(n * 0.9)]
    if (logs == 0).all():
        return None
    f = -np.log(1 - np.arange(1, len(logs) + 1) / n)
    return (logs @ f) / (logs @ logs)


def exact(cost, a, b):
    """The optimal cost over the finite entries, or None if no plan avoids the others."""
    top = np.abs(cost[np.isfinite(cost)]).max() or 1.0
    if len(a) == len(b) and np.ptp(a) == 0 and np.ptp(b) == 0 and np.isfinite(cost).all():
        i, j = linear_sum_assignment(cost)
        return cost[i, j].sum() * a[0]
    i, j = np.nonzero(np.isfinite(cost))
    rows = np.zeros((len(a) + len(b), len(i)))
    rows[i, np.arange(len(i))] = 1
    rows[len(a) + j, np.arange(len(i))] = 1
    exactly = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    found = linprog(cost[i, j] / top, A_eq=rows, b_eq=np.r_[a, b], method="highs", options=exactly)
    return found.fun * top if found.status == 0 else None


def measures(rng):
    x, y, kind, single = pair(rng)
    n, m, d = len(x), len(y), x.shape[1]
    k = 4
    expect = {}

    def say(key, value, atol=0.0, rtol=NORMAL):
        if value is not None and np.isfinite(value):
            expect[key] = [float(value), float(atol), rtol]

    both = np.r_[x, y]
    c, unit = squares(x, y)
    mean = c.mean()
    if n == m or n * m < 700:
        w2 = exact(c, np.full(n, 1 / n), np.full(m, 1 / m))
        if w2 is not None:
            say("w2_exact", unit * np.sqrt(max(w2, 0)), unit * 4e-7 * np.sqrt(mean))
    if d == 1:
        grid = np.unique(np.r_[np.arange(n + 1) / n, np.arange(m + 1) / m])
        centre = (grid[1:] + grid[:-1]) / 2
        q = lambda z: np.sort(z[:, 0])[np.minimum((centre * len(z)).astype(int), len(z) - 1)]
        say("sliced_w2", unit * np.sqrt((np.diff(grid) * ((q(x) - q(y)) / unit) ** 2).sum()), unit * 1e-7)
    s, _ = squares(both, both)
    med = median_square(s)
    if med > 0:
        g = np.exp(-s / (2 * med))
        xx, yy, xy = g[:n, :n], g[n:, n:], g[:n, n:]
        say("mmd2_rbf_biased", xx.mean() + yy.mean() - 2 * xy.mean(), 1e-8)
        un = (xx.sum() - n) / n / (n - 1) + (yy.sum() - m) / m / (m - 1) - 2 * xy.mean()
        say("mmd2_rbf", un, 1e-8)
    far = np.abs(both - both[0]).max() or 1.0
    p, q = (both[:n] - both[0]) / far, (both[n:] - both[0]) / far
    mx, my = p.mean(0), q.mean(0)
    a, b = (p - mx) / np.sqrt(n), (q - my) / np.sqrt(m)
    nuclear = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    spread = (a**2).sum() + (b**2).sum()
    bures = ((mx - my) ** 2).sum() + spread - 2 * nuclear
    say("bures_w2", far * np.sqrt(max(bures, 0)), far * 3e-7 * np.sqrt(spread), 1e-5)
    size = lambda z: np.linalg.norm(z / np.abs(z).max(1, keepdims=True), axis=1) * np.abs(z).max(1)
    if (np.abs(x).max(1) > 0).all() and (np.abs(y).max(1) > 0).all():
        gap = (x / size(x)[:, None]).mean(0) - (y / size(y)[:, None]).mean(0)
        say("modality_gap", np.linalg.norm(gap), 1e-9)
    dx, dy = cdist(x, x), cdist(y, y)
    say("intrinsic_dimension_a", two_nn(dx))
    say("intrinsic_dimension_b", two_nn(dy))
    if n == m:
        u, v = middle(x), middle(y)
        if (u**2).sum() > 1e-12 and (v**2).sum() > 1e-12:
            kx, ky = u @ u.T / (u**2).sum(), v @ v.T / (v**2).sum()
            say("cka_linear", cka(kx, ky), 1e-7)
            if kind != "outlier":  # one row is all of the variance: both are differences of equal numbers
                say("cka_linear_unbiased", cka(kx, ky, True), 1e-5, 1e-4)
            nuc = np.linalg.svd(u.T @ v, compute_uv=False).sum()
            say("procrustes_residual", 1 - nuc**2 / (u**2).sum() / (v**2).sum(), 1e-6)
        sx, sy = squares(x, x)[0], squares(y, y)[0]
        gx, gy = median_square(sx), median_square(sy)
        if gx > 0 and gy > 0:
            ex, ey = np.exp(-sx / (2 * gx)), np.exp(-sy / (2 * gy))
            say("cka_rbf", cka(ex, ey), 1e-7)
            say("cka_rbf_unbiased", cka(ex, ey, True), 1e-7)
        nx, ny = near(dx, k), near(dy, k)
        if nx is not None and ny is not None:
            shared = [len(set(i) & set(j)) for i, j in zip(nx, ny)]
            say("mutual_knn@4", np.mean(shared) / k, 1e-9)
            say("neighbourhood_jaccard@4", np.mean([s / (2 * k - s) for s in shared]), 1e-9)
            if n > 2 * k:
                say("trustworthiness@4", trust(dx, y, k), 1e-9)
                say("continuity@4", trust(dy, x, k), 1e-9)
    case = {"case": "measures", "kind": kind, "single": single, "k": k}
    return case, x, y, np.ones(n), np.ones(m), None, expect


def weights(rng, n):
    w = rng.random(n)
    if rng.random() < 0.5:
        w[rng.random(n) < 0.3] = 0
    if w.sum() == 0 or rng.random() < 0.3:
        w = np.ones(n)
    return w / w.sum()


def transport(rng):
    x, y, kind, single = pair(rng)
    x, y = x[:15], y[:15]
    n, m = len(x), len(y)
    a, b = weights(rng, n), weights(rng, m)
    s, unit = squares(x, y)
    if s.max() == 0 or unit**2 > 1e36 or unit**2 < 1e-36:
        return None
    cost = s * unit**2
    # The linear program is solved to a tolerance relative to the largest cost; the other side checks a tighter gap.
    best = exact(cost, a, b)
    if best is None:  # the reference did not solve it
        return None
    expect = {"emd": [float(best), 1e-9 * float(cost.max()), 1e-7]}
    eps = float(rng.choice([0.05, 0.2])) * float(np.median(cost[cost > 0]))
    f, g = np.zeros(n), np.zeros(m)
    with np.errstate(divide="ignore"):
        la, lb = np.log(a), np.log(b)
    for _ in range(600):
        f = -eps * logsumexp((g - cost) / eps + lb, axis=1)
        g = -eps * logsumexp((f[:, None] - cost) / eps + la[:, None], axis=0)
        plan = np.exp((f[:, None] + g - cost) / eps + la[:, None] + lb)
        if np.abs(plan.sum(1) - a).sum() < 1e-10:
            expect["sinkhorn"] = [float((plan * cost).sum()), 1e-6 * eps, 2e-4]
            break
    return {"case": "transport", "kind": kind, "single": single, "eps": eps}, x, y, a, b, None, expect


def forbidden(rng):
    """Entries that must not be used, as large costs or infinity, and partial transport."""
    n, m = int(rng.integers(2, 9)), int(rng.integers(2, 9))
    cost = np.round(rng.random((n, m)) * 9) + float(rng.choice([0, 1, 100]))
    barred = rng.random((n, m)) < float(rng.choice([0.1, 0.35, 0.6]))
    a = rng.integers(1, 6, n).astype("d")
    b = rng.integers(1, 6, m).astype("d")
    a, b = a / a.sum(), b / b.sum()
    value = float(rng.choice([1e12, 1e20, 1e32, np.inf]))
    open_cost = np.where(barred, np.inf, cost)
    best = exact(open_cost, a, b) if not barred.all() else None
    given = np.where(barred, value, cost)
    expect = {"emd": [float(best), 1e-9, 1e-9]} if best is not None else {}
    case = {"case": "forbidden", "kind": f"{value:g}", "single": False, "possible": best is not None}
    case["infinite"] = bool(np.isinf(given).any())
    zeros = np.zeros((n, 1)), np.zeros((m, 1))
    return case, *zeros, a, b, given, expect


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    rng = np.random.default_rng(seed)
    out = sys.stdout.buffer
    while count > 0:
        solved = lambda rng: solvers.case(rng, pair, weights)
        kinds = [measures, transport, forbidden, solved]
        made = kinds[int(rng.choice(4, p=[0.4, 0.15, 0.1, 0.35]))](rng)
        if made is None:
            continue
        case, x, y, a, b, cost, expect = made
        shape = {"n": len(x), "m": len(y), "d": x.shape[1], "costs": cost is not None, "expect": expect}
        out.write(json.dumps({**case, **shape}).encode() + b"\n")
        for array in [x, y, a, b] + ([] if cost is None else [cost]):
            out.write(np.ascontiguousarray(array, "<f8").tobytes())
        count -= 1


main()
