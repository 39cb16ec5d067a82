"""Writes measures.json: all measures of two small clouds by NumPy, SciPy, scikit-learn, POT and ripser + persim.

Run with `python make_measures.py` in an environment with numpy, scipy, scikit-learn, POT, ripser and persim. x [60, 6]
and y [60, 6] are noisy images of one latent cloud, z [60, 4] has the first four columns of y (another width), and
w [45, 6] is an unpaired sample.
"""

import json
from pathlib import Path

import numpy as np
import ot
import scipy.linalg as sl
from persim import bottleneck
from ripser import ripser
from scipy.sparse.csgraph import minimum_spanning_tree, shortest_path
from scipy.spatial import procrustes
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.manifold import trustworthiness
from sklearn.metrics import normalized_mutual_info_score, silhouette_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors

rng = np.random.default_rng(11)
n, k = 60, 5
latent = rng.normal(size=(n, 3))
x = np.tanh(latent @ rng.normal(size=(3, 6))) + 0.1 * rng.normal(size=(n, 6)) + 0.5
y = np.tanh(latent @ rng.normal(size=(3, 6))) + 0.1 * rng.normal(size=(n, 6))
z = y[:, :4]
w = 1.2 * rng.normal(size=(45, 6)) + 0.3
labels = (latent[:, 0] > 0).astype(int) + (latent[:, 1] > 0.8)
out = {"x": x, "y": y, "w": w, "labels": labels}


def centred(a):
    return a - a.mean(0)


# CKA, from the n x n matrices and the definitions
H = np.eye(n) - 1 / n


def biased(K, L):
    return np.trace(K @ H @ L @ H)


def unbiased(K, L):
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    one = np.ones(n)
    return (
        np.trace(K @ L)
        + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ K @ L @ one)
    )


def cka(K, L, hsic):
    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


def gaussian(a, share):
    return rbf_kernel(a, gamma=1 / (2 * share**2 * np.median(pdist(a)) ** 2))


out["cka_linear"] = cka(x @ x.T, z @ z.T, biased)
out["cka_linear_unbiased"] = cka(x @ x.T, z @ z.T, unbiased)
out["cka_rbf"] = cka(gaussian(x, 0.6), gaussian(z, 0.6), biased)
out["cka_rbf_unbiased"] = cka(gaussian(x, 0.6), gaussian(z, 0.6), unbiased)

# Canonical correlations by SciPy's generalised eigenproblem, SVCCA by NumPy
reg = 1e-3
cx, cz = centred(x), centred(z)
sxx, szz, sxz = cx.T @ cx / n + reg * np.eye(6), cz.T @ cz / n + reg * np.eye(4), cx.T @ cz / n
values = sl.eigh(sxz @ np.linalg.solve(szz, sxz.T), sxx, eigvals_only=True)[::-1][:4]
out["correlations"] = np.sqrt(values)


def leading(a, variance):
    u, s, _ = np.linalg.svd(centred(a), full_matrices=False)
    kept = int(np.searchsorted(np.cumsum(s**2) / np.sum(s**2), variance)) + 1
    return u[:, :kept]


out["svcca"] = np.linalg.svd(leading(x, 0.99).T @ leading(z, 0.99))[1].mean()
out["svcca_90"] = np.linalg.svd(leading(x, 0.90).T @ leading(z, 0.90))[1].mean()
out["procrustes_residual"] = procrustes(x, np.hstack([z, np.zeros((n, 2))]))[2]

# Neighbours by scikit-learn
nn = [NearestNeighbors(n_neighbors=k).fit(a).kneighbors()[1] for a in (x, z)]
both = [len(set(a) & set(b)) for a, b in zip(*nn)]
out["mutual_knn"] = np.mean(both) / k
out["neighbourhood_jaccard"] = np.mean([b / (2 * k - b) for b in both])

out["trustworthiness"] = trustworthiness(x, z, n_neighbors=k)
out["continuity"] = trustworthiness(z, x, n_neighbors=k)

# One space
squares = cdist(x, w, "sqeuclidean")
ux, uw = np.full(n, 1 / n), np.full(45, 1 / 45)
gamma = 1 / (2 * np.median(pdist(np.vstack([x, w]))) ** 2)
kxx, kww, kxw = (rbf_kernel(a, b, gamma) for a, b in ((x, x), (w, w), (x, w)))
out["mmd_gamma"] = gamma
out["mmd2_rbf_biased"] = kxx.mean() + kww.mean() - 2 * kxw.mean()
out["mmd2_rbf"] = (kxx.sum() - n) / (n * (n - 1)) + (kww.sum() - 45) / (45 * 44) - 2 * kxw.mean()
covariance = [np.cov(a.T, bias=True) for a in (x, w)]
out["bures_w2"] = ot.gaussian.bures_wasserstein_distance(x.mean(0), w.mean(0), *covariance)
directions = rng.normal(size=(20, 6))
directions /= np.linalg.norm(directions, axis=1, keepdims=True)
out["directions"] = directions
out["sliced_w2"] = ot.sliced_wasserstein_distance(x, w, projections=directions.T)
out["w2_exact"] = np.sqrt(ot.emd2(ux, uw, squares))
eps = 0.05 * squares.mean()


def entropic(a, b, u, v):
    cost = cdist(a, b, "sqeuclidean")
    plan = ot.bregman.sinkhorn_log(u, v, cost, eps, numItermax=100000, stopThr=1e-13)
    return (plan * cost).sum() + eps * (plan * np.log(plan / np.outer(u, v))).sum()


out["sinkhorn_divergence"] = entropic(x, w, ux, uw) - 0.5 * (entropic(x, x, ux, ux) + entropic(w, w, uw, uw))
unit = lambda a: a / np.linalg.norm(a, axis=1, keepdims=True)
out["modality_gap"] = np.linalg.norm(unit(x).mean(0) - unit(w).mean(0))
d = cdist(x, y)
own = np.diag(d)
out["foscttm"] = ((d < own[:, None]).sum() + (d < own[None]).sum()) / (2 * n * (n - 1))

# Local covariances on four common axes
r = 4
axes = np.linalg.svd(centred(np.vstack([x, y])), full_matrices=False)[2][:r].T
near = [NearestNeighbors(n_neighbors=k).fit(a).kneighbors()[1] for a in (x, y)]


def covariances(a, nn):
    for i in range(n):
        s = np.cov((a[np.append(nn[i], i)] @ axes).T, bias=True)
        yield 0.9 * s + 0.1 * np.trace(s) / r * np.eye(r)


pairs = list(zip(covariances(x, near[0]), covariances(y, near[1])))
out["covariance_log_euclidean"] = np.mean([np.linalg.norm(sl.logm(a) - sl.logm(b)) for a, b in pairs])
out["covariance_affine_invariant"] = np.mean(
    [np.sqrt((np.log(sl.eigh(b, a, eigvals_only=True)) ** 2).sum()) for a, b in pairs]
)

# Two-NN as in the paper
r1, r2 = NearestNeighbors(n_neighbors=2).fit(x).kneighbors()[0].T
mu = np.sort(np.log(r2 / r1))
kept = int(n * 0.9)
line = -np.log(1 - np.arange(1, kept + 1) / n)
out["two_nn_fit"] = (mu[:kept] @ line) / (mu[:kept] @ mu[:kept])
out["two_nn_likelihood"] = (n - 1) / mu.sum()


# Graphs: k nearest neighbours, either way, and the minimum spanning tree, so that they are connected
def graph(a):
    dist = squareform(pdist(a))
    nn = NearestNeighbors(n_neighbors=k).fit(a).kneighbors()[1]
    edges = minimum_spanning_tree(dist).toarray() > 0
    for i in range(n):
        edges[i, nn[i]] = True
    return dist, nn, edges | edges.T


(dx, nx, ex), (dz, nz, ez) = graph(x), graph(z)
gx, gz = (shortest_path(np.where(e, dist, 0), directed=False) for dist, e in ((dx, ex), (dz, ez)))
out["geodesic_distortion"] = np.sqrt(1 - (gx * gz).sum() ** 2 / ((gx**2).sum() * (gz**2).sum()))


def forman(edges):
    a = edges.astype(int)
    degree = a.sum(1)
    ricci = (4 - degree[:, None] - degree[None] + 3 * (a @ a)) * a
    return ricci.sum(1) / degree


out["curvature_mismatch"] = np.abs(forman(ex) - forman(ez)).mean() / k


def directed(nn_from, nn_to, dist_to):
    scale = np.mean([dist_to[i, nn_to[i]].max() for i in range(n)])
    return max(dist_to[j, np.append(nn_to[i], i)].min() for i in range(n) for j in nn_from[i]) / scale


out["hausdorff_knn"] = max(directed(nx, nz, dz), directed(nz, nx, dx))

# Persistence: a circle with noise against the cloud, distances in units of their mean
angle = rng.uniform(0, 2 * np.pi, 50)
circle = np.c_[np.cos(angle), np.sin(angle)] + 0.05 * rng.normal(size=(50, 2))
out["circle"] = circle
diagrams = [ripser(a, maxdim=1)["dgms"] for a in (circle / pdist(circle).mean(), x / pdist(x).mean())]
finite = lambda dgm: dgm[np.isfinite(dgm[:, 1])].astype(float)
for h in (0, 1):
    a, b = (finite(dgm[h]) for dgm in diagrams)
    out[f"diagram_h{h}"] = [a, b]
    out[f"persistence_bottleneck_h{h}"] = bottleneck(a, b)

# Gromov-Wasserstein between distance matrices in units of their mean, POT's own start
cost = [dist / dist[np.triu_indices(n, 1)].mean() for dist in (dx, dz)]
out["gw"] = np.sqrt(ot.gromov.gromov_wasserstein2(*cost, ux, ux, max_iter=10000, tol_rel=1e-12, tol_abs=1e-12))

out["silhouette"] = silhouette_score(x, labels)
other = rng.integers(0, 4, n)
out["other_labels"] = other
out["nmi"] = normalized_mutual_info_score(labels, other)


def plain(value):
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value.tolist() if isinstance(value, np.ndarray) else float(value)


text = json.dumps({key: plain(value) for key, value in out.items()})
Path(__file__).with_name("measures.json").write_text(text + "\n")
