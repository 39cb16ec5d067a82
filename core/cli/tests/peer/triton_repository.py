"""Reads a model repository as Triton does: each configuration with Triton's schema, each model with ONNX Runtime.

usage: triton_repository.py REPOSITORY
Prints one line of JSON: the names of the models, and what does not agree.
"""

import json
import pathlib
import sys

import onnxruntime as ort
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

TYPES = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64"}
repository = pathlib.Path(sys.argv[1])
models, problems = [], []
for folder in sorted(path for path in repository.iterdir() if path.is_dir()):
    config = text_format.Parse((folder / "config.pbtxt").read_text("utf-8"), schema.ModelConfig())
    models.append(config.name)
    versions = [path.name for path in folder.iterdir() if path.name.isdigit()]
    if config.name != folder.name or versions != ["1"] or config.backend != "onnxruntime":
        problems.append(f"{folder.name}: {config.name} {versions} {config.backend}")
    if config.max_batch_size < 2 or not config.HasField("dynamic_batching"):
        problems.append(f"{folder.name}: no batches")
    session = ort.InferenceSession(str(folder / "1/model.onnx"), providers=["CPUExecutionProvider"])
    for ports, own in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        # Triton adds the first axis, that of the batch.
        said = [(p.name, schema.DataType.Name(p.data_type), list(p.dims)) for p in ports]
        meant = [(p.name, TYPES[p.type], [n if isinstance(n, int) else -1 for n in p.shape[1:]]) for p in own]
        if said != meant:
            problems.append(f"{folder.name}: {said} is not {meant}")
print(json.dumps({"models": models, "problems": problems}))
