"""POT and SciPy on the problems of exact.rs: reads a line of JSON for each and prints the cost and the seconds."""
import json, sys, time
import numpy as np, ot
from scipy.optimize import linear_sum_assignment

for line in sys.stdin:
    given = json.loads(line)
    n = given["n"]
    values = np.fromfile(given["file"])
    a, b, cost = values[:n], values[n:2 * n], values[2 * n:].reshape(n, n)
    wall, processor = time.perf_counter(), time.process_time()
    if given["solver"] == "scipy":
        rows, columns = linear_sum_assignment(cost)
        value = cost[rows, columns].sum() / n
    else:
        plan, log = ot.emd(a, b, cost, numItermax=100_000_000, log=True)
        value = log["cost"]
    answer = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    print(json.dumps(answer | {"cost": float(value)}), flush=True)
