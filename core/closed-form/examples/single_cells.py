"""SCOT's alignment with POT: graph distances, entropic Gromov-Wasserstein, barycentric projection; FOSCTTM.

    pip install POT==0.9.7.post1 scipy scikit-learn
    OMP_NUM_THREADS=2 python single_cells.py FOLDER

FOLDER as for single_cells.rs. k and epsilon are those with the lowest Gromov-Wasserstein distance over a grid
(SCOT's unsupervised choice; Demetci et al. 2022), with max_iter=100 and POT's other defaults.
"""
import pathlib, sys, time, warnings
import numpy as np, ot
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.distance import cdist
from sklearn.neighbors import kneighbors_graph
from sklearn.preprocessing import normalize

warnings.simplefilter("ignore")


def distances(x, k):
    graph = kneighbors_graph(x, k, mode="connectivity", metric="correlation", include_self=True)
    paths = dijkstra(graph, directed=False)
    top = paths[np.isfinite(paths)].max()
    return np.minimum(paths, top) / top


def foscttm(a, b):
    d = cdist(a, b)
    own = np.diag(d)
    return ((d < own[:, None]).sum(1).mean() + (d < own).sum(0).mean()) / 2 / (len(d) - 1)


def align(name, x, y, ks, epsilons):
    clock, best = time.time(), (np.inf,)
    x, y = normalize(x), normalize(y)
    p, q = ot.unif(len(x)), ot.unif(len(y))
    for k in ks:
        cx, cy = distances(x, k), distances(y, k)
        for epsilon in epsilons:
            start = time.time()
            plan, log = ot.gromov.entropic_gromov_wasserstein(
                cx, cy, p, q, "square_loss", epsilon=epsilon, max_iter=100, log=True)
            took = time.time() - start
            usable = np.isfinite(plan).all() and plan.sum() > 0.95
            score = foscttm(plan @ y / plan.sum(1, keepdims=True), y) if usable else np.nan
            print(f"{name}: k {k}, epsilon {epsilon:g}, distance {log['gw_dist']:.5f}, FOSCTTM {score:.4f}, {took:.1f} s", flush=True)
            if usable and log["gw_dist"] < best[0]:
                best = (log["gw_dist"], k, epsilon, score)
    print(f"{name}: chosen k {best[1]}, epsilon {best[2]:g}, FOSCTTM {best[3]:.4f}, {time.time() - clock:.1f} s")


folder = pathlib.Path(sys.argv[1])
read = lambda file: np.genfromtxt(folder / file, delimiter=",")
align("scGEM", read("scGEM_expression.csv"), read("scGEM_methylation.csv"), (10, 20, 35, 50), (5e-3, 1e-3))
align("SNARE-seq", np.load(folder / "SNAREseq_atac_feat.npy"), np.load(folder / "SNAREseq_rna_feat.npy"),
      (50, 110), (5e-3, 1e-3))
