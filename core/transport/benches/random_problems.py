"""POT on the problems of random.rs: reads a line of JSON for each, writes the plan, and prints the seconds."""
import json, sys, time, warnings
import numpy as np, ot

warnings.simplefilter("ignore")
for line in sys.stdin:
    given = json.loads(line)
    n, m, kind = given["n"], given["m"], given["kind"]
    epsilon, bound = given["epsilon"], given["bound"]
    values = np.fromfile(given["file"])
    parts = [n * n, m * m, n, m] if kind.endswith("gw") else [n * m, n, m]
    *costs, a, b = np.split(values, np.cumsum(parts)[:-1])
    costs = [c.reshape(s) for c, s in zip(costs, [(n, n), (m, m)] if kind.endswith("gw") else [(n, m)])]
    start = time.perf_counter()
    if kind in ("gw", "one start, gw"):
        plan = ot.gromov.gromov_wasserstein(*costs, a, b, "square_loss")
    elif kind == "entropic gw":
        plan = ot.gromov.entropic_gromov_wasserstein(*costs, a, b, "square_loss", epsilon=epsilon)
    elif kind == "partial":
        plan = ot.partial.partial_wasserstein(a, b, costs[0], m=bound)
    elif kind == "entropic partial":
        plan = ot.partial.entropic_partial_wasserstein(a, b, costs[0], epsilon, m=bound)
    else:
        plan = ot.unbalanced.sinkhorn_unbalanced(a, b, costs[0], epsilon, bound, reg_type="kl")
    seconds = time.perf_counter() - start
    np.ascontiguousarray(plan, dtype="<f8").tofile(given["plan"])
    print(json.dumps({"seconds": seconds}), flush=True)
