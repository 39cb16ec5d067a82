"""Reproduces `chiasm run RUN --image I --text T --format json` with Python alone: onnx.checker, ONNX Runtime, Pillow, tokenizers.

usage: reproduce.py RUN IMAGE TEXT OUTPUT.json    (OUTPUT.json is what chiasm printed)
Prints one line of JSON: the largest absolute difference of each output. Exit 1 when the checker refuses the model.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from tokenizers import Tokenizer

run, image_path, text, output_path = sys.argv[1:]
run = pathlib.Path(run)
manifest = json.loads((run / "manifest.json").read_text())
model_path = str(run / "model.onnx")
onnx.checker.check_model(model_path, full_check=True)


def pixels(spec, path):
    table = spec["preprocessing"]
    height, width = table["size"]
    picture = Image.open(path).convert("RGB")
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling[table.get("filter", "bicubic").upper()])
    value = np.asarray(picture, dtype=np.float32) * np.float32(table.get("scale", 1 / 255))
    if table.get("channels", "rgb") == "bgr":
        value = value[:, :, ::-1]
    value = (value - np.float32(table["mean"])) / np.float32(table["std"])
    return np.ascontiguousarray(value.transpose(2, 0, 1)[None])


def tokens(spec, folder, words):
    encoding = Tokenizer.from_file(str(folder / spec["preprocessing"].get("tokenizer", "tokenizer.json"))).encode(words)
    return np.array([encoding.ids], np.int64), np.array([encoding.attention_mask], np.int64)


feeds = {}
for modality in manifest["modalities"]:
    for encoder in modality["encoders"]:
        names = encoder["inputs"]
        if encoder["adapter"] == "image":
            (merged,) = names.values()
            feeds[merged] = pixels(encoder["spec"], image_path)
        elif encoder["adapter"] == "text":
            ids, mask = tokens(encoder["spec"], run / encoder["folder"], text)
            feeds[names["input_ids"]] = ids
            feeds[names["attention_mask"]] = mask

session = onnxruntime.InferenceSession(model_path, providers=["CPUExecutionProvider"])
names = [port.name for port in session.get_outputs()]
theirs = dict(zip(names, session.run(names, feeds)))
ours = json.loads(pathlib.Path(output_path).read_text())["outputs"]
assert set(ours) == set(theirs), (sorted(ours), sorted(theirs))
differences = {name: float(np.abs(np.array(ours[name]) - theirs[name]).max()) for name in names}
print(json.dumps(differences))
