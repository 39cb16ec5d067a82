"""Stores the embeddings that the reference tokenizer + ONNX Runtime give for some real captions.

    python real.py PATH/TO/real        # needs numpy, onnxruntime, tokenizers; rewrites real.json and real.bin here

The folder holds models/ and flickr1k/ (see the project's examples/flickr1k). Neither captions nor weights are stored.
"""
import json, pathlib, sys
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

HERE, REAL = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[1])


def main():
    folder = REAL / "models/minilm-l6"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    options = onnxruntime.SessionOptions()
    # The weights are int8, the activations are not; by default the engine would round them to int8 too (cosine 0.9998).
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(str(folder / "all-MiniLM-L6-v2_w8.onnx"), options, providers=["CPUExecutionProvider"])
    rows = (REAL / "flickr1k/pairs.jsonl").read_text().splitlines()
    golden, cases = bytearray(), []
    for row in range(0, len(rows), 125):
        encoding = tokenizer.encode(json.loads(rows[row])["captions"][0])
        feeds = {"input_ids": [encoding.ids], "attention_mask": [encoding.attention_mask]}
        (embedding,) = session.run(["sentence_embedding"], {k: np.array(v, np.int64) for k, v in feeds.items()})
        cases.append({"row": row, "offset": len(golden), "dim": embedding.size})
        golden.extend(embedding.astype("<f4").tobytes())
    (HERE / "real.bin").write_bytes(golden)
    (HERE / "real.json").write_text("[\n  " + ",\n  ".join(json.dumps(case) for case in cases) + "\n]\n")


main()
