"""The peers' problem for our side, and PyTorch's loss curve on it.

    python core/train/benches/peer.py SCRIPTS FOLDER [--steps 50]

SCRIPTS holds the peers' mlp_train.py and its common.py. Writes into FOLDER the rows of its 20 mini-batches one after another
(x.npy, y.npy) and its starting weights (w1.npy [d, hidden], w2.npy [hidden, d]); prints one line of JSON with the losses of the
first steps, by the formula of mlp_train.py.
"""

import argparse
import json
import pathlib
import sys

words = argparse.ArgumentParser()
words.add_argument("scripts")
words.add_argument("folder")
words.add_argument("--steps", type=int, default=50)
mine = words.parse_args()
sys.path.insert(0, mine.scripts)
import common

common._pin(2)
import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(2)
D, HIDDEN, BATCH, BLOCK, SEED = 384, 1024, 1024, 20, 0
x, y, _ = common.make_xy(20000, 20000, D, SEED)
rows = np.random.default_rng(SEED + 5).integers(0, len(x), (BLOCK, BATCH))
r = np.random.default_rng(SEED + 6)
w1 = (r.standard_normal((HIDDEN, D)) / np.sqrt(D)).astype("float32")
w2 = (r.standard_normal((D, HIDDEN)) / np.sqrt(HIDDEN)).astype("float32")
out = pathlib.Path(mine.folder)
for name, array in (("x", x[rows.ravel()]), ("y", y[rows.ravel()]), ("w1", w1.T), ("w2", w2.T)):
    np.save(out / f"{name}.npy", np.ascontiguousarray(array))

net = torch.nn.Sequential(torch.nn.Linear(D, HIDDEN), torch.nn.GELU(), torch.nn.Linear(HIDDEN, D))
with torch.no_grad():
    net[0].weight.copy_(torch.from_numpy(w1))
    net[2].weight.copy_(torch.from_numpy(w2))
    net[0].bias.zero_()
    net[2].bias.zero_()
opt = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
labels, losses = torch.arange(BATCH), []
for step in range(mine.steps):
    chosen = torch.from_numpy(rows[step % BLOCK])
    xb, yb = torch.from_numpy(x)[chosen], torch.from_numpy(y)[chosen]
    opt.zero_grad(set_to_none=True)
    u, v = F.normalize(net(xb), dim=1), F.normalize(yb, dim=1)
    s = (u @ v.T) / 0.07
    loss = 0.5 * (F.cross_entropy(s, labels) + F.cross_entropy(s.T, labels))
    loss.backward()
    opt.step()
    losses.append(float(loss.detach()))
print(json.dumps({"losses": losses}))
