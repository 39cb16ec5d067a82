"""Writes spaces.json: what SciPy and POT find for the clouds that `unpaired.rs` computes itself.

    pip install POT==0.9.7.post1 scipy && python spaces.py
"""
import json, pathlib
import numpy as np, ot
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree, shortest_path
from scipy.spatial.distance import cdist


def cloud(n, d, seed):
    """`cloud` of gromov.rs: a linear congruential generator, in rows."""
    state, out = seed, []
    for _ in range(n * d):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append(np.float32(state >> 40) / np.float32(2**24) - np.float32(0.5))
    return np.array(out, "f4").reshape(n, d).astype("f8")


def geodesic(D, k):
    near = np.argsort(D + np.diag([-1.0] * len(D)), axis=1, kind="stable")[:, 1 : k + 1]
    edge = np.zeros(D.shape, bool)
    edge[np.arange(len(D))[:, None], near] = True
    edge |= edge.T
    parts, label = connected_components(csr_matrix(edge), directed=False)
    tree = minimum_spanning_tree(csr_matrix(D)).tocoo()
    for _, i, j in sorted(zip(tree.data, tree.row, tree.col)):
        if label[i] != label[j]:
            edge[i, j] = edge[j, i] = True
            label[label == label[j]] = label[i]
    return shortest_path(csr_matrix(np.where(edge, D, 0)), directed=False), int(parts)


out = {}
x = cloud(60, 3, 5)
paths, parts = geodesic(cdist(x, x), 2)
out.update(parts=parts, paths=paths[:3].tolist(), paths_sum=paths.sum())

n = 200
Cx, Cy = (cdist(z, z) for z in (cloud(n, 5, 1), cloud(n, 3, 2)))
Cx, Cy, p = Cx / Cx.max(), Cy / Cy.max(), ot.unif(n)
for eps in (1e-2, 5e-3):
    T = ot.gromov.entropic_gromov_wasserstein(Cx, Cy, p, p, "square_loss", epsilon=eps, max_iter=1000, solver="PGD")
    gw = p @ Cx**2 @ p + p @ Cy**2 @ p - 2 * np.sum(Cx @ T @ Cy * T)
    out[f"gw_{eps}"] = gw
    out[f"objective_{eps}"] = gw + eps * np.sum(T * np.log(np.maximum(T * n * n, 1e-300)))
known = json.loads(pathlib.Path(__file__).with_name("values.json").read_text())
M = ot.dist(np.array(known["x"]), np.array(known["y"]))
u, v = ot.unif(len(M)), ot.unif(len(M.T))
out["partial"] = [[m, ot.partial.partial_wasserstein2(u, v, M, m=m)] for m in (0.3, 0.6, 0.95)]
a, b = np.array(known["a"]), 2 * np.array(known["b"])
out["partial_weighted"] = [[m, ot.partial.partial_wasserstein2(a, b, M, m=m)] for m in (0.7, 1.0)]
pathlib.Path(__file__).with_name("spaces.json").write_text(json.dumps(out) + "\n")
