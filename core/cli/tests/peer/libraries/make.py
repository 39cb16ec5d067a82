"""Small models as three libraries save them, and the vectors that these libraries compute.

It needs torch, torchvision, transformers, sentence-transformers and optimum-onnx, so its results are kept
beside it:

    python core/cli/tests/peer/libraries/make.py

The weights are random. The texts and pictures are those of `../encoders`.
"""

import json, shutil, sys, tempfile
from pathlib import Path

import numpy as np
import torch
from optimum.onnxruntime import ORTModelForFeatureExtraction
from PIL import Image
from sentence_transformers import SentenceTransformer, models
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizerFast
from transformers import ViTConfig, ViTImageProcessor, ViTModel

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "encoders"))
from kinds import D, TEXTS, levels

WORDS = sorted({word for text in TEXTS for word in text.lower().split()})


def bert(folder):
    """A BERT of one layer, with the words of the texts as its vocabulary."""
    torch.manual_seed(1)
    letters = sorted({letter for word in WORDS for letter in word})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *WORDS, *letters, *("##" + letter for letter in letters)]
    vocabulary = list(dict.fromkeys(vocabulary))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=48)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=D,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=48,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def sentence_transformers(source, out):
    """Mean of the tokens, a dense layer with tanh, and length one, exported by the library's ONNX backend."""
    torch.manual_seed(2)
    tokens = models.Transformer(str(source), max_seq_length=48)
    dense = models.Dense(D, D, activation_function=torch.nn.Tanh())
    original = SentenceTransformer(modules=[tokens, models.Pooling(D, "mean"), dense, models.Normalize()])
    original.save_pretrained(str(source / "st"), safe_serialization=True)
    exported = SentenceTransformer(
        str(source / "st"), backend="onnx", model_kwargs={"provider": "CPUExecutionProvider"}
    )
    exported.save_pretrained(str(out))
    return original.encode(TEXTS, batch_size=1)


def optimum(source, out):
    """The tokens, exported by Optimum; their mean, which is what a user of such a model takes."""
    ORTModelForFeatureExtraction.from_pretrained(source, export=True).save_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.save_pretrained(out)
    original = AutoModel.from_pretrained(source).eval()
    with torch.no_grad():
        rows = [
            original(**tokenizer(text, return_tensors="pt")).last_hidden_state.mean(1)[0] for text in TEXTS
        ]
    return torch.stack(rows).numpy()


class Pooled(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        return self.model(pixel_values).pooler_output


def transformers(source, out):
    """A vision transformer with the files of its image processor; the vector is `pooler_output`."""
    torch.manual_seed(3)
    config = ViTConfig(
        hidden_size=D,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        image_size=16,
        patch_size=8,
        initializer_range=0.3,
    )
    original = ViTModel(config).eval()
    original.save_pretrained(out)
    processor = ViTImageProcessor(
        size={"height": 16, "width": 16}, image_mean=[0.5, 0.4, 0.3], image_std=[0.3, 0.25, 0.2]
    )
    processor.save_pretrained(out)
    pictures = [Image.fromarray(levels(row)) for row in range(len(TEXTS))]
    pixels = [processor(picture, return_tensors="pt").pixel_values for picture in pictures]
    torch.onnx.export(
        Pooled(original),
        (pixels[0],),
        out / "model.onnx",
        input_names=["pixel_values"],
        output_names=["pooler_output"],
        dynamic_axes={"pixel_values": {0: "batch"}, "pooler_output": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    with torch.no_grad():
        return np.concatenate([original(one).pooler_output.numpy() for one in pixels])


with tempfile.TemporaryDirectory() as scratch:
    source = Path(scratch)
    bert(source)
    for make in (sentence_transformers, optimum, transformers):
        out = HERE / make.__name__
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        vectors = make(source, out)
        # The weights of the original are not needed beside those of the graph.
        for unused in [*out.glob("*.safetensors"), *out.glob("README.md")]:
            unused.unlink()
        (out / "vectors.json").write_text(json.dumps(np.round(vectors.astype(np.float64), 7).tolist()) + "\n")
