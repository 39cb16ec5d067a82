"""Opens the files beside the cards of a run or an export with transformers, as its model card says.

usage: transformers_beside_cards.py FOLDER OUTPUT.json ITEM...
(OUTPUT.json is what `chiasm run --format json` printed; the items are those of the card's program, in its order)
Executes the lines that the card shows for each encoder and prints one line of JSON: the largest absolute difference of
each input from the one that the card's program makes, and of each output of the models from OUTPUT.json if they get
these inputs.
"""

import contextlib
import io
import json
import os
import pathlib
import re
import sys
import wave

import numpy as np
import onnxruntime
import transformers
from PIL import Image, ImageOps

folder, output_path, *items = sys.argv[1:]
expected = json.loads(pathlib.Path(output_path).read_text())["outputs"]
os.chdir(folder)
text = pathlib.Path("README.md").read_text(encoding="utf-8")
(program,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
sys.argv = ["card", *items]
names = {"__name__": "__main__"}
with contextlib.redirect_stdout(io.StringIO()):
    exec(compile(program, "the program of the card", "exec"), names)


def samples_of(path):
    with wave.open(path) as file:
        data, channels = file.readframes(file.getnframes()), file.getnchannels()
    return np.frombuffer(data, "<i2").reshape(-1, channels).mean(1) / 32768


inputs, folders = {}, []
for line in text.splitlines():
    found = re.match(r"- \*\*(.*?)\*\*, for .*`(prepare = .*?)`, `(features = .*?)`; (.*)", line)
    if not found:
        continue
    modality, opened, call, rest = found.groups()
    item = names["items"][modality]
    own = {"np": np, "Image": Image, "ImageOps": ImageOps, "item": item}
    for name in ["AutoTokenizer", "AutoImageProcessor", "AutoFeatureExtractor"]:
        own[name] = getattr(transformers, name)
    if "samples" in call:
        own["samples"] = samples_of(item)
    exec(opened, own)
    exec(call, own)
    folders.append(re.search(r'from_pretrained\("(.*)"\)', opened)[1])
    for made, port in re.findall(r"`(np\.stack\(.*?\))` is the input `(.*?)`", rest):
        inputs[port] = eval(made, own)

feeds = names["feeds"]
arrays = {
    port: float(np.abs(value.astype(np.float64) - feeds[port]).max()) if value.shape == feeds[port].shape else None
    for port, value in inputs.items()
}
differences = {}
for file, outputs in names["models"].items():
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    own = {}
    for port in session.get_inputs():
        value = inputs.get(port.name, feeds[port.name])
        own[port.name] = value.astype(feeds[port.name].dtype)
    for name, value in zip(outputs, session.run(outputs, own)):
        differences[name] = float(np.abs(np.array(expected[name]) - value).max())
print(json.dumps({"folders": folders, "arrays": arrays, "differences": differences}))
