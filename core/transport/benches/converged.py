"""POT's entropic Gromov-Wasserstein for converged.rs: `python converged.py X.f32 Y.f32 EPSILON`."""
import json, sys, time
import numpy as np, ot
from scipy.spatial.distance import cdist

x = np.fromfile(sys.argv[1], "<f4").reshape(-1, 5)
y = np.fromfile(sys.argv[2], "<f4").reshape(-1, 3)
epsilon = float(sys.argv[3])
cx, cy = cdist(x, x), cdist(y, y)
cx, cy, p = cx / cx.max(), cy / cy.max(), ot.unif(len(x))
wall, cpu = time.perf_counter(), time.process_time()
plan, log = ot.gromov.entropic_gromov_wasserstein(
    cx, cy, p, p, "square_loss", epsilon=epsilon, max_iter=1000, solver="PGD", log=True)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
value = p @ cx**2 @ p + p @ cy**2 @ p - 2 * np.sum(cx @ plan @ cy * plan)
entropy = np.sum(plan * np.log(np.maximum(plan * plan.size, 1e-300)))
# POT records the error every tenth iteration.
print(json.dumps(dict(t_median_s=wall, own_cpus=cpu / wall, objective=value + epsilon * entropy,
                      iterations=10 * (len(log["err"]) - 1) + 1)))
