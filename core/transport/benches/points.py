"""POT's exact transport without a cost matrix for points.rs: `python points.py X.f32 Y.f32 DIMENSIONS`."""
import json, resource, sys, time
import numpy as np, ot

x, y = (np.fromfile(path, "<f4").reshape(-1, int(sys.argv[3])).astype(float) for path in sys.argv[1:3])
wall, cpu = time.perf_counter(), time.process_time()
cost = ot.emd2_lazy(x, y, metric="sqeuclidean", numItermax=10**9, return_matrix=False)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps(dict(t_median_s=wall, own_cpus=cpu / wall, cost=float(cost), peak_mib=peak)))
