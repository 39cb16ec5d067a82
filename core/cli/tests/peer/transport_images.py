"""Images of points under plans, by POT: prints one object of JSON for tests/transport_images.rs.

Reads x.npy, y.npy, new.npy, a.npy (weights) and dx.npy, dz.npy (inner distances, scaled to a maximum of one) with
z.npy in the current folder.
"""
import json

import numpy as np
import ot

x, y, z, new = (np.load(f"{name}.npy").astype("d") for name in ["x", "y", "z", "new"])
a = np.load("a.npy").astype("d").ravel()
a, b = a / a.sum(), np.full(len(y), 1 / len(y))
cost = ot.dist(x, y)
found = {}


def both(name, fitted):
    """The images of the sources and those of new points, which POT moves as the nearest source."""
    fitted.fit(Xs=x, Xt=y)
    found[name] = fitted.transform(Xs=x)
    found[f"{name} new"] = fitted.transform(Xs=new)


tight = {"max_iter": 100_000, "tol": 1e-12}
both("emd", ot.da.EMDTransport())
both("sinkhorn", ot.da.SinkhornTransport(reg_e=0.5, out_of_sample_map="ferradans", **tight))
smooth = ot.da.SinkhornTransport(reg_e=0.5, method="sinkhorn_log", **tight)
found["entropic new"] = smooth.fit(Xs=x, Xt=y).transform(Xs=new)
both("unbalanced", ot.da.UnbalancedSinkhornTransport(reg_e=0.5, reg_m=1.0, **tight))


def means(plan, targets):
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(plan @ targets / plan.sum(1, keepdims=True))


found["weighted"] = means(ot.emd(a, b, cost), y)
found["partial"] = means(ot.partial.partial_wasserstein(np.full(len(x), 1 / len(x)), b, cost, m=0.6), y)
dx, dz = np.load("dx.npy").astype("d"), np.load("dz.npy").astype("d")
uniform = np.full(len(x), 1 / len(x)), np.full(len(z), 1 / len(z))
plan = ot.gromov.entropic_gromov_wasserstein(
    dx, dz, *uniform, "square_loss", epsilon=0.01, max_iter=2000, tol=1e-10, solver="PGD")
found["gw"] = means(plan, z)
print(json.dumps({name: images.tolist() for name, images in found.items()}))
