"""The Python side of the benchmark ``overhead``: answers each line of JSON with another.

The first line says how many rows the data have; the answer says where they and the package's files are. Each
further one names a call; the answer has its seconds, and a number that both sides must agree on.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import chiasm
from chiasm import _package, ot
from chiasm.align import Ridge


def prepare(folder, rows, width, points):
    """Writes two views that share 64 factors, and the costs of a transport problem."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(rows, 64))
    for name in ("x", "y"):
        view = shared @ rng.normal(size=(64, width)) + rng.normal(size=(rows, width))
        view.astype(np.float32).tofile(folder / name)
    first, second = rng.normal(size=(points, 8)), rng.normal(size=(points, 8))
    costs = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    np.maximum(costs, 0).tofile(folder / "costs")


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        shape = json.loads(sys.stdin.readline())
        prepare(folder, **shape)
        engine = _package.engine()
        paths = {"data": str(folder), "package": str(_package.FOLDER), "engine": engine and str(engine)}
        print(json.dumps(paths))
        sys.stdout.flush()
        x, y = (np.fromfile(folder / name, np.float32).reshape(-1, shape["width"]) for name in ("x", "y"))
        wide = x.astype(np.float64), y.astype(np.float64)
        costs = np.fromfile(folder / "costs").reshape(shape["points"], -1)
        ridge = Ridge(ridge=0.1, onto="view0", curve="unit")
        fitted = Ridge(ridge=0.1, onto="view0", curve="unit").fit(x, y)
        weights = np.full(len(costs), 1 / len(costs))
        calls = {
            "Ridge.fit": lambda: ridge.fit(x, y).maps_.transform(1, y[:1])[0, 0],
            "Ridge.transform": lambda: fitted.transform(y, view=1)[0, 0],
            "measure": lambda: chiasm.measure(*wide, only="cka_linear")["measures"]["cka_linear"]["value"],
            "ot.sinkhorn": lambda: ot.sinkhorn(weights, weights, costs, 0.5)[0, 0],
            "ot.emd": lambda: ot.emd(weights, weights, costs)[0].max(),
        }
        for line in sys.stdin:
            call = calls[json.loads(line)["call"]]
            started, processor = time.perf_counter(), time.process_time()
            value = float(call())
            seconds, processor = time.perf_counter() - started, time.process_time() - processor
            print(json.dumps({"seconds": seconds, "processor": processor, "value": value}))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
