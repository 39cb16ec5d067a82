"""Compares report.parquet with brute force in NumPy.

usage: report_table.py report.parquet RUN FOLDER    (FOLDER holds a.npy, b.npy, ... of the run's modalities)
Embeds the rows of the table with the run's model.onnx and prints one line of JSON: the columns, and the largest
differences.
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow.parquet

path, run, folder = sys.argv[1:]
table = pd.read_parquet(path)
manifest = json.loads((pathlib.Path(run) / "manifest.json").read_text())
session = onnxruntime.InferenceSession(pathlib.Path(run) / "model.onnx", providers=["CPUExecutionProvider"])
values = {}
for name, own in table.groupby("modality", sort=False):
    (modality,) = (m for m in manifest["modalities"] if m["name"] == name)
    (encoder,) = modality["encoders"]
    (port,) = encoder["inputs"].values()
    rows = [int(row.removeprefix("r")) for row in own["row"]]
    values[port] = np.load(pathlib.Path(folder) / f"{name}.npy")[rows]
embeds = session.run([f"{name}_embeds" for name in table["modality"].unique()], values)
vectors = np.concatenate(embeds).astype(np.float64)

distances = np.sqrt(((vectors[:, None] - vectors[None]) ** 2).sum(-1))
np.fill_diagonal(distances, np.inf)
nearest = np.sort(distances, axis=1)[:, :10]
stated = np.array([list(row["distances"]) for row in table["neighbors"]])
ids = np.array([list(row["ids"]) for row in table["neighbors"]])
of_ids = np.take_along_axis(distances, ids, 1)

centred = vectors - vectors.mean(0)
axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
axes *= np.sign(axes[np.arange(2), np.abs(axes).argmax(1)])[:, None]
principal = table[["pca_x", "pca_y"]].to_numpy()
print(json.dumps({
    "columns": {field.name: str(field.type) for field in pyarrow.parquet.read_schema(path)},
    "rows": len(table),
    "ids": bool((table["id"] == np.arange(len(table))).all()),
    "item": table["item"][0],
    "unlabelled": bool(table["label"].isna().all()),
    "stated": float(np.abs(stated - nearest).max()),
    "of_ids": float(np.abs(of_ids - nearest).max()),
    "distinct": bool(all(len(set(row)) == 10 for row in ids)),
    "principal": float(np.abs(centred @ axes.T - principal).max()),
    "finite": bool(np.isfinite(table[["projection_x", "projection_y"]].to_numpy()).all()),
}))
