"""Makes cases.json: what SciPy and scikit-learn say about small paired clouds.

Run with `python make.py` in a venv that holds numpy, scipy and scikit-learn; the result is kept beside this file. Every
value is worked out by another route than the crate takes: CCA by a generalised eigenproblem, Procrustes by
scipy.linalg.orthogonal_procrustes, ridge by sklearn.linear_model.Ridge, kernel CCA by sklearn's KernelCenterer and dual
coefficients, MAXVAR through matrix square roots and explicit sums over pairs. Compared are the cosines of all held-out pairs, which do not depend on signs or rotations of a basis.
"""

import json
from pathlib import Path

import numpy as np
import scipy.linalg as sl
from sklearn.linear_model import Ridge
from sklearn.preprocessing import KernelCenterer

rng = np.random.default_rng(5)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def root(x):
    return unit(np.sign(x) * np.sqrt(np.abs(x)))


def cosines(a, b):
    return unit(a) @ unit(b).T


def cloud(n, da, db, latent):
    z = rng.normal(size=(n, latent))
    a = z @ rng.normal(size=(latent, da)) + 0.3 * rng.normal(size=(n, da)) + 0.5
    b = np.tanh(z @ rng.normal(size=(latent, db))) + 0.3 * rng.normal(size=(n, db))
    return a.astype(np.float32), b.astype(np.float32)


def canonical(x, y, rx, ry, k):
    """Both sides' directions from [[0, C], [C', 0]] v = rho [[A, 0], [0, B]] v; x and y are centred."""
    n, da, db = len(x), x.shape[1], y.shape[1]
    a, b, c = x.T @ x / n, y.T @ y / n, x.T @ y / n
    a = a + rx * np.linalg.eigvalsh(a)[-1] * np.eye(da)
    b = b + ry * np.linalg.eigvalsh(b)[-1] * np.eye(db)
    left = np.block([[np.zeros((da, da)), c], [c.T, np.zeros((db, db))]])
    right = sl.block_diag(a, b)
    values, vectors = sl.eigh(left, right)
    top = np.argsort(-values)[:k]
    return values[top], vectors[:da, top] * np.sqrt(2), vectors[da:, top] * np.sqrt(2)


def cca(xt, yt, xs, ys, rx, ry, k, p):
    mx, my = xt.mean(0), yt.mean(0)
    rho, u, v = canonical(xt - mx, yt - my, rx, ry, k)
    return rho, cosines((xs - mx) @ u * rho**p, (ys - my) @ v * rho**p)


def joined(xt, yt, xs, ys, settings):
    """The mean of the settings' bilinear forms, factored through matrix square roots of the covariances."""
    mx, my = xt.mean(0), yt.mean(0)
    x, y = xt - mx, yt - my
    form = 0
    for rx, ry, k, p in settings:
        rho, u, v = canonical(x, y, rx, ry, k)
        u, v = u * rho**p, v * rho**p
        form = form + u @ v.T / np.sqrt(((x @ u) ** 2).sum() / len(x) * ((y @ v) ** 2).sum() / len(y))
    roots = [sl.sqrtm(z.T @ z / len(z)).real for z in (x, y)]
    u, s, vt = np.linalg.svd(roots[0] @ form @ roots[1])
    k = max(setting[2] for setting in settings)
    a = np.linalg.solve(roots[0], u[:, :k] * np.sqrt(s[:k]))
    b = np.linalg.solve(roots[1], vt[:k].T * np.sqrt(s[:k]))
    return cosines((xs - mx) @ a, (ys - my) @ b)


def procrustes(xt, yt, xs, ys, k):
    def axes(t, s):
        m = t.mean(0)
        _, _, vt = np.linalg.svd(t - m, full_matrices=False)
        return (t - m) @ vt[:k].T, (s - m) @ vt[:k].T

    (a, at), (b, bt) = axes(xt, xs), axes(yt, ys)
    turn, _ = sl.orthogonal_procrustes(unit(a), unit(b))
    return cosines(at @ turn, bt)


def ridge(xt, yt, xs, ys, r):
    x = xt - xt.mean(0)
    top = np.linalg.eigvalsh(x.T @ x / len(x))[-1]
    model = Ridge(alpha=r * top * len(x), solver="cholesky").fit(xt, yt)
    return cosines(model.predict(xs) - yt.mean(0), ys - yt.mean(0))


def kernel_cca(xt, yt, xs, ys, gx, gy, settings):
    """Dual form: Kx a, Ky b whitened through the centred kernels' own eigenvectors."""

    def side(t, s, g):
        d = lambda u, v: ((u[:, None] - v[None]) ** 2).sum(2)
        scale = d(t, t).mean()
        kt, ks = (sum(np.exp(-w * d(v, t) / scale) for w in g) / len(g) for v in (t, s))
        centre = KernelCenterer().fit(kt)
        kt, ks = centre.transform(kt), centre.transform(ks)
        w, u = np.linalg.eigh(kt)
        keep = w > 1e-7 * w[-1]
        return np.sqrt(w[keep]) * u[:, keep], ks @ u[:, keep] / np.sqrt(w[keep])

    (at, a), (bt, b) = side(xt, xs, gx), side(yt, ys, gy)
    return joined(at, bt, a, b, settings)


# Three modalities, and rows that lack some: a modality is (items, row of each item), items already of length one.


def moments(modalities):
    """Means and covariances of every row counted once, and cross-covariances over the rows that hold both."""
    by_row = [{r: [x for x, q in zip(z, rows) if q == r] for r in rows} for z, rows in modalities]
    means, own = [], []
    for items in by_row:
        m = np.mean([np.mean(xs, axis=0) for xs in items.values()], axis=0)
        means.append(m)
        own.append(np.mean([np.mean([np.outer(x - m, x - m) for x in xs], axis=0) for xs in items.values()], axis=0))
    cross = {}
    for a in range(len(by_row)):
        for b in range(a + 1, len(by_row)):
            shared = sorted(set(by_row[a]) & set(by_row[b]))
            if not shared:
                continue
            # sums over the pairs of a row, each with weight 1 / (n_a n_b)
            pairs = [
                (x, y, 1 / len(by_row[a][r]) / len(by_row[b][r]))
                for r in shared
                for x in by_row[a][r]
                for y in by_row[b][r]
            ]
            ma = sum(w * x for x, _, w in pairs) / len(shared)
            mb = sum(w * y for _, y, w in pairs) / len(shared)
            cross[a, b] = sum(w * np.outer(x - ma, y - mb) for x, y, w in pairs) / len(shared)
            cross[b, a] = cross[a, b].T
    return means, own, cross


def power(c, p):
    w, u = np.linalg.eigh(c)
    return u * w**p @ u.T


def maxvar(own, cross, ridges, k, p, through=1):
    """Weighted MAXVAR directions through matrix square roots; pairs without rows are completed through one modality."""
    m = len(own)
    white = [power(c + r * np.linalg.eigvalsh(c)[-1] * np.eye(len(c)), -0.5) for c, r in zip(own, ridges)]
    corr = {(a, b): white[a] @ c @ white[b] for (a, b), c in cross.items()}
    blocks = [[np.eye(len(own[a])) for a in range(m)] for _ in range(m)]
    for a in range(m):
        for b in range(m):
            if a != b:
                blocks[a][b] = corr[a, b] if (a, b) in corr else corr[a, through] @ corr[through, b]
            else:
                blocks[a][b] = np.eye(len(own[a]))
    values, vectors = np.linalg.eigh(np.block(blocks))
    top = np.argsort(-values)[:k]
    rho = (values[top] - 1) / (m - 1)
    ends = np.cumsum([0] + [len(c) for c in own])
    parts = [vectors[ends[a] : ends[a + 1]][:, top] * np.sqrt(m) for a in range(m)]
    return [w @ v * np.clip(rho, 0, None) ** p for w, v in zip(white, parts)]


def joined_maxvar(own, cross, settings):
    """The mean of the settings' forms over all pairs of modalities, factored through square roots of the covariances."""
    form = 0
    for ridges, k, p in settings:
        u = maxvar(own, cross, ridges, k, p)
        energy = [np.trace(v.T @ c @ v) for v, c in zip(u, own)]
        stack = np.vstack([power(c, 0.5) @ v for v, c in zip(u, own)])
        form = form + stack @ stack.T / np.prod(energy) ** (1 / len(own))
    values, vectors = np.linalg.eigh(form)
    k = max(k for _, k, _ in settings)
    z = vectors[:, ::-1][:, :k] * np.sqrt(values[::-1][:k])
    ends = np.cumsum([0] + [len(c) for c in own])
    return [power(c, -0.5) @ z[a:b] for c, a, b in zip(own, ends[:-1], ends[1:])]


def all_cosines(means, weights, tests):
    """Of held-out items, for each pair of modalities in order."""
    images = [(t - m) @ w for t, m, w in zip(tests, means, weights)]
    return [cosines(images[a], images[b]).tolist() for a in range(len(images)) for b in range(a + 1, len(images))]


def two_views(own, cross, ridges, k, p):
    white = [power(c + r * np.linalg.eigvalsh(c)[-1] * np.eye(len(c)), -0.5) for c, r in zip(own, ridges)]
    u, s, vt = np.linalg.svd(white[0] @ cross[0, 1] @ white[1])
    return [white[0] @ u[:, :k] * s[:k] ** p, white[1] @ vt[:k].T * s[:k] ** p]


def three():
    """Fifty-eight rows to fit on and twelve to measure on, of three modalities that show one latent vector."""
    n, train = 70, 58
    z = rng.normal(size=(n, 4))
    raw = [(z @ rng.normal(size=(4, d)) + 0.4 * rng.normal(size=(n, d)) + 0.3).astype(np.float32) for d in (7, 6, 5)]
    items = [unit(x.astype(np.float64)) for x in raw]
    tests = [x[train:] for x in items]
    holds = {
        "complete": [lambda r: True] * 3,
        "missing": [lambda r: r % 5 != 1, lambda r: r % 7 != 3, lambda r: r % 4 != 2],
        "apart": [lambda r: r < 28, lambda r: r % 7 != 3, lambda r: r >= 28],
    }
    settings = [((0.1, 0.03, 0.2), 4, 1.0), ((0.3, 0.1, 0.1), 5, 0.5)]
    out = {"train": train, "items": [x.tolist() for x in raw]}
    for name, has in holds.items():
        kept = [[r for r in range(train) if h(r)] for h in has]
        means, own, cross = moments([(x[rows], rows) for x, rows in zip(items, kept)])
        plain = maxvar(own, cross, *settings[0])
        out[name] = {
            "rows": kept,
            "one": all_cosines(means, plain, tests),
            "joined": all_cosines(means, joined_maxvar(own, cross, settings), tests),
        }
    return out


def several():
    """Rows with one to three items of the second modality, each pair of a row weighted 1 / (n_a n_b)."""
    n, train = 52, 40
    z = rng.normal(size=(n, 4))
    rows = [r for r in range(n) for _ in range(1 + r % 3 if r < train else 1)]
    a = (z @ rng.normal(size=(4, 7)) + 0.3 * rng.normal(size=(n, 7))).astype(np.float32)
    b = (z[rows] @ rng.normal(size=(4, 6)) + 0.6 * rng.normal(size=(len(rows), 6))).astype(np.float32)
    xa, xb = unit(a.astype(np.float64)), unit(b.astype(np.float64))
    fit = [r for r in rows if r < train]
    means, own, cross = moments([(xa[:train], list(range(train))), (xb[: len(fit)], fit)])
    weights = two_views(own, cross, (0.0, 0.0), 4, 1.0)
    tests = [xa[train:], xb[len(fit) :]]
    return {
        "first": a.tolist(),
        "second": b.tolist(),
        "rows": rows,
        "train": train,
        "cca": all_cosines(means, weights, tests)[0],
    }


SETTINGS = [(0.1, 0.03, 4, 1.0), (0.1, 0.03, 5, 0.5), (0.3, 0.2, 5, 1.5)]
train, test = 60, 12
x, y = cloud(train + test, 9, 6, 4)
split = lambda f, z: (f(z.astype(np.float64))[:train], f(z.astype(np.float64))[train:])
(xt, xs), (yt, ys) = split(unit, x), split(unit, y)
(xr, xrs) = split(root, x)
rho, plain = cca(xt, yt, xs, ys, 0.0, 0.0, 4, 1.0)
cases = {
    "train": train,
    "x": x.tolist(),
    "y": y.tolist(),
    "cca": plain.tolist(),
    "cca_rho": rho.tolist(),
    "cca_root": cca(xr, yt, xrs, ys, 0.0, 0.0, 3, 0.5)[1].tolist(),
    "cca_joined": joined(xt, yt, xs, ys, SETTINGS).tolist(),
    "procrustes": procrustes(xt, yt, xs, ys, 5).tolist(),
    "ridge": ridge(xt, yt, xs, ys, 0.07).tolist(),
    "ridge_back": ridge(yt, xt, ys, xs, 0.2).T.tolist(),
    "three": three(),
    "several": several(),
    "kcca": kernel_cca(xt, yt, xs, ys, [0.7], [1.0, 0.5], SETTINGS).tolist(),
}


def round_(v):
    if isinstance(v, dict):
        return {key: round_(value) for key, value in v.items()}
    return [round_(u) for u in v] if isinstance(v, list) else round(v, 9) if isinstance(v, float) else v



text = json.dumps(round_(cases))
Path(__file__).with_name("cases.json").write_text(text + "\n")
