"""Writes values.json: small inputs and the results of POT and SciPy for them, in double precision.

    pip install POT==0.9.7.post1 scipy && python make.py
"""
import json, pathlib
import numpy as np, ot
from scipy.optimize import linear_sum_assignment

r = np.random.default_rng(7)
n, m, d = 40, 30, 5
f4 = lambda z: np.asarray(z, "f4").astype("f8")
x, y = f4(r.standard_normal((n, d))), f4(0.8 * r.standard_normal((m, d)) + 0.3)
z = f4(r.standard_normal((n, 3)))
a, b = r.random(n) + 0.1, r.random(m) + 0.1
a, b = a / a.sum(), b / b.sum()
M = ot.dist(x, y)
eps = 0.1 * M.mean()
out = dict(x=x, y=y, z=z, a=a, b=b, epsilon=eps)

out["emd"] = ot.emd2(a, b, M)
square = r.random((25, 25))
i, j = linear_sum_assignment(square)
out.update(square=square, assignment=square[i, j].sum(), assignment_columns=j)

P, log = ot.sinkhorn(a, b, M, eps, method="sinkhorn_log", numItermax=100000, stopThr=1e-13, log=True)
out.update(sinkhorn=(P * M).sum(), sinkhorn_plan=P)
for name, metric in (("euclidean", "euclidean"), ("cosine", "cosine")):
    C = ot.dist(x, y, metric=metric)
    P = ot.sinkhorn(a, b, C, 0.1 * C.mean(), method="sinkhorn_log", numItermax=100000, stopThr=1e-13)
    out["sinkhorn_" + name] = (P * C).sum()
out["sinkhorn_divergence"] = (
    lambda v: v(x, y, a, b) - 0.5 * v(x, x, a, a) - 0.5 * v(y, y, b, b)
)(lambda s, t, p, q: ot.solve_sample(s, t, p, q, reg=eps, reg_type="KL", tol=1e-13, max_iter=100000).value)

P = ot.unbalanced.sinkhorn_unbalanced(a, 2 * b, M, eps, (3.0, 5.0), reg_type="kl", numItermax=100000, stopThr=1e-14)
out.update(unbalanced_rho=[3.0, 5.0], unbalanced_mass=P.sum(), unbalanced=(P * M).sum())
u, v = np.full(n, 1 / n), np.full(m, 1 / m)  # with equal weights POT's entropy is ours up to a constant
P = ot.partial.entropic_partial_wasserstein(u, v, M, eps, m=0.6, numItermax=100000, stopThr=1e-14)
out.update(partial_mass=0.6, partial=(P * M).sum())

C1, C2 = ot.dist(x, x), ot.dist(z, z)
C1, C2 = C1 / C1.max(), C2 / C2.max()
p = np.full(n, 1 / n)
T, log = ot.gromov.gromov_wasserstein(C1, C2, p, p, "square_loss", log=True)
out.update(gw_uniform_start=log["gw_dist"])
T, log = ot.gromov.entropic_gromov_wasserstein(C1, C2, p, p, "square_loss", epsilon=0.01, max_iter=2000, tol=1e-12, log=True, solver="PGD", numItermax=20000, stopThr=1e-13)
out.update(entropic_gw=log["gw_dist"])
F = ot.dist(x[:, :3], z)
F = F / F.max()
T, log = ot.gromov.fused_gromov_wasserstein(F, C1, C2, p, p, "square_loss", alpha=0.5, log=True)
out.update(fused_gw=log["fgw_dist"])

out["bures"] = ot.gaussian.empirical_bures_wasserstein_distance(x, z @ r.standard_normal((3, d)) + x[::-1], reg=1e-9)
s, t = r.standard_normal(n), r.standard_normal(m)
out.update(line_x=s, line_y=t, line_1=ot.wasserstein_1d(s, t, a, b, p=1), line_2=ot.wasserstein_1d(s, t, a, b, p=2))

plain = {k: (v.tolist() if isinstance(v, np.ndarray) else v) for k, v in out.items()}
(pathlib.Path(__file__).parent / "values.json").write_text(json.dumps(plain, default=float) + "\n")
