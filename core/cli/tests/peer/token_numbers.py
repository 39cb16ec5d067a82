"""Compares the token numbers inside an exported model with those of the package tokenizers.

usage: token_numbers.py MODEL.onnx TOKENIZER.json TEXTS.json PREFIX MAX_LENGTH
Adds 500 random texts of all assigned planes, and prints the number of texts and those with other numbers as JSON.
"""

import json
import random
import sys

import numpy as np
import onnx
import onnxruntime
from onnxruntime_extensions import get_library_path
from tokenizers import Tokenizer

model_path, tokenizer_path, texts_path, prefix, most = sys.argv[1:]
tokenizer = Tokenizer.from_file(tokenizer_path)
tokenizer.no_padding()
tokenizer.enable_truncation(int(most))
model = onnx.load(model_path)
(node,) = [node for node in model.graph.node if node.op_type == "BertTokenizer"]
wanted, kept = {node.output[0]}, []
for one in reversed(model.graph.node):
    if wanted & set(one.output):
        kept.insert(0, one)
        wanted |= set(one.input)
ids = onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.INT64, [None])
inputs = [port for port in model.graph.input if port.name == "text_text"]
weights = [weight for weight in model.graph.initializer if weight.name in wanted]
part = onnx.helper.make_model(onnx.helper.make_graph(kept, "tokens", inputs, [ids], weights))
part.ir_version = model.ir_version
del part.opset_import[:]
part.opset_import.extend(model.opset_import)
options = onnxruntime.SessionOptions()
options.register_custom_ops_library(get_library_path())
session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])

texts = json.load(open(texts_path, encoding="utf-8"))
draw = random.Random(1)
ranges = [(0x20, 0x250), (0x250, 0xD800), (0xE000, 0x10000), (0x10000, 0x30000), (0x61, 0x7B)]
for _ in range(500):
    texts.append("".join(chr(draw.randrange(*draw.choice(ranges))) for _ in range(draw.randrange(1, 30))))
different = []
for text in texts:
    (got,) = session.run(None, {"text_text": np.array([text], dtype=object)})
    if got.tolist() != tokenizer.encode(prefix + text).ids:
        different.append(ascii(text))
print(json.dumps({"texts": len(texts), "different": different}))
