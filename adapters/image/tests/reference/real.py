"""Stores the embeddings that Pillow + ONNX Runtime give for some real pictures.

    python real.py PATH/TO/real        # needs numpy, onnxruntime, "pillow < 13"; rewrites real.json and real.bin here

The folder holds models/ and flickr1k/ (see the project's examples/flickr1k). Neither pictures nor weights are stored.
"""
import json, pathlib, sys
import numpy as np
import onnxruntime
from PIL import Image

HERE, REAL = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[1])
MODELS = {
    "mobilenetv2": ("mobilenet_v2_1.0_224_w8.onnx", 224, lambda x: (x - 128) / 128),
    "squeezenet11": ("squeezenet11_fp16w.onnx", 227, lambda x: x[..., ::-1] - np.array([104, 117, 123])),
}


def main():
    pictures = sorted((REAL / "flickr1k/images").glob("*.jpg"))[::125]
    golden, cases = bytearray(), []
    for model, (file, size, values) in MODELS.items():
        options = onnxruntime.SessionOptions()
        # The weights are int8, the activations are not; by default the engine would round them to int8 too (cosine 0.9998).
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        session = onnxruntime.InferenceSession(str(REAL / "models" / model / file), options, providers=["CPUExecutionProvider"])
        for path in pictures:
            picture = Image.open(path).convert("RGB").resize((size, size), Image.BICUBIC)
            x = values(np.asarray(picture).astype(np.float64)).transpose(2, 0, 1)[None].astype(np.float32)
            (embedding,) = session.run(["embedding"], {"image": x})
            cases.append({"model": model, "picture": f"flickr1k/images/{path.name}", "offset": len(golden), "dim": embedding.size})
            golden.extend(embedding.astype("<f4").tobytes())
    (HERE / "real.bin").write_bytes(golden)
    (HERE / "real.json").write_text("[\n  " + ",\n  ".join(json.dumps(case) for case in cases) + "\n]\n")


main()
