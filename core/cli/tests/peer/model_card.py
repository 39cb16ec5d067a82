"""Checks the model card of a run or export as a stranger would use it.

usage: model_card.py FOLDER OUTPUT.json ITEM...    (OUTPUT.json is what `chiasm run --format json` printed)
Reads the front matter and eval_results.yaml with huggingface_hub, executes the card's Python program in FOLDER with the items as arguments,
and prints one line of JSON: the front matter, and the largest absolute difference of each output from OUTPUT.json.
"""

import contextlib
import io
import json
import os
import pathlib
import re
import sys

import numpy as np
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

folder, output_path, *items = sys.argv[1:]
expected = json.loads(pathlib.Path(output_path).read_text())["outputs"]
os.chdir(folder)
text = pathlib.Path("README.md").read_text(encoding="utf-8")
data = ModelCard(text).data
results = [
    [result.task_type, result.dataset_name, result.metric_type, result.metric_value]
    for result in data.eval_results or []
]
entries = parse_eval_result_entries(yaml.safe_load(pathlib.Path("eval_results.yaml").read_text(encoding="utf-8")))
stored = [[entry.dataset_id, entry.task_id, entry.value, entry.notes] for entry in entries]
(program,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
sys.argv = ["card", *items]
names = {"__name__": "__main__"}
with contextlib.redirect_stdout(io.StringIO()) as printed:
    exec(compile(program, "the program of the card", "exec"), names)
differences = {
    name: float(np.abs(np.array(expected[name]) - value).max()) if name in expected else None
    for name, value in names["outputs"].items()
}
front = {key: value for key, value in data.to_dict().items() if key != "model-index"}
print(json.dumps({
    "front": front, "results": results, "stored": stored, "differences": differences,
    "printed": printed.getvalue(),
}))
