"""Makes cases.json: what SciPy and scikit-learn say about small paired clouds.

Run with `python make.py` in a venv that holds numpy, scipy and scikit-learn; the result is kept beside this file. Every
value is worked out by another route than the crate takes: CCA by a generalised eigenproblem, Procrustes by
scipy.linalg.orthogonal_procrustes, ridge by sklearn.linear_model.Ridge, kernel CCA by sklearn's KernelCenterer and dual
coefficients. Compared are the cosines of all held-out pairs, which do not depend on signs or rotations of a basis.
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
    "kcca": kernel_cca(xt, yt, xs, ys, [0.7], [1.0, 0.5], SETTINGS).tolist(),
}
round_ = lambda v: [round_(u) for u in v] if isinstance(v, list) else (round(v, 9) if isinstance(v, float) else v)
text = json.dumps({key: round_(value) for key, value in cases.items()})
Path(__file__).with_name("cases.json").write_text(text + "\n")
