"""The map of the peers' jacobian.py and its singular values in double precision, as arrays for the bench to read.

python peer_jacobian.py SCRIPTS OUT: SCRIPTS holds jacobian.py and common.py, OUT receives x, w1, w2 and singular.npy."""
import sys
from pathlib import Path

scripts, out = Path(sys.argv[1]), Path(sys.argv[2])
sys.argv[1:] = []
sys.path.insert(0, str(scripts))
import common

common.pin(2)
import numpy as np
import torch

points, d, hidden, seed = 64, 384, 1024, 0  # jacobian.py's defaults
x, _, _ = common.make_xy(points, points, d, seed)
r = np.random.default_rng(seed + 6)
w1 = (r.standard_normal((hidden, d)) / np.sqrt(d)).astype("float32")
w2 = (r.standard_normal((d, hidden)) / np.sqrt(hidden)).astype("float32")
one, two = torch.from_numpy(w1).double(), torch.from_numpy(w2).double()
f = lambda z: torch.nn.functional.linear(torch.nn.functional.gelu(torch.nn.functional.linear(z, one)), two)
jacobians = torch.func.vmap(torch.func.jacrev(f))(torch.from_numpy(x).double())
for name, array in {"x": x, "w1": w1, "w2": w2, "singular": torch.linalg.svdvals(jacobians).numpy()}.items():
    np.save(out / f"{name}.npy", np.ascontiguousarray(array))
