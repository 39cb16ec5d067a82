"""Folders of sentence-transformers."""

import json

import numpy as np

from graphs import Text
from kinds import D, W1, kind, write
from reference import MEAN, hidden, of_texts, pool, tokenizer


def sentence(root):
    """Folders of sentence-transformers, with the model in `onnx/`."""

    def folder(name, pooling, dense=None, causal=False, left=False, new=True, **files):
        here = root / name
        Text(causal=causal).tokens().save(here / "onnx/model.onnx")
        tokenizer(here, left=left)
        modules = [("", "Transformer"), ("1_Pooling", "Pooling")] + ([("2_Dense", "Dense")] if dense else [])
        write(
            here / "modules.json",
            [
                {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{module}"}
                for i, (path, module) in enumerate(modules)
            ],
        )
        write(here / "sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": False})
        old = {
            "mean": "pooling_mode_mean_tokens",
            "cls": "pooling_mode_cls_token",
            "lasttoken": "pooling_mode_lasttoken",
        }
        write(
            here / "1_Pooling/config.json",
            (
                {"word_embedding_dimension": D, "pooling_mode": pooling}
                if new
                else {"word_embedding_dimension": D, **{old[p]: True for p in pooling}}
            ),
        )
        for file, content in files.items():
            write(here / f"{file}.json", content)
        return here

    for pooling in ("mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean"):
        name = "st-" + pooling.replace("_", "-")
        folder(name, pooling)
        kind(
            name,
            f"sentence-transformers, pooling `{pooling}`",
            vectors=of_texts(lambda i: pool(hidden(i), pooling)),
        )
    for left in (False, True):
        name = "st-last-left" if left else "st-last"
        folder(name, ["lasttoken"], causal=True, left=left, new=False)
        kind(
            name,
            f"sentence-transformers, last token, padding on the {'left' if left else 'right'}",
            vectors=of_texts(lambda i: pool(hidden(i, causal=True), "lasttoken")),
        )
    here = folder("st-dense", "mean", dense=True)
    write(
        here / "2_Dense/config.json",
        {
            "in_features": D,
            "out_features": D,
            "bias": False,
            "activation_function": "torch.nn.modules.activation.Tanh",
        },
    )
    header = json.dumps({"linear.weight": {"dtype": "F32", "shape": [D, D], "data_offsets": [0, 4 * D * D]}})
    (here / "2_Dense/model.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header.encode() + W1.tobytes()
    )
    kind(
        "st-dense",
        "sentence-transformers, mean and a dense layer with tanh",
        vectors=of_texts(lambda i: np.tanh(W1.astype(np.float64) @ MEAN(i))),
    )
    prompts = {"prompts": {"query": "query: ", "document": "passage: "}}
    query = of_texts(MEAN, lambda t: "query: " + t)
    folder("st-prompt", "mean", config_sentence_transformers={**prompts, "default_prompt_name": "query"})
    kind("st-prompt", "sentence-transformers, default prompt", vectors=query)
    folder("st-prompts", "mean", config_sentence_transformers={**prompts, "default_prompt_name": None})
    kind(
        "st-prompts", "sentence-transformers, prompts without a default: none is used", vectors=of_texts(MEAN)
    )
    folder("st-prompt-chosen", "mean", config_sentence_transformers={**prompts, "default_prompt_name": None})
    kind(
        "st-prompt-chosen",
        'a prompt chosen with `prompt = "query"`',
        vectors=query,
        add=["--set", "preprocessing.prompt=query"],
    )
    folder("prefix-document", "mean")
    kind(
        "prefix-document",
        "`prefix.document` in the card",
        vectors=of_texts(MEAN, lambda t: "passage: " + t),
        add=["--set", 'preprocessing.prefix.document="passage: "', "--set", "preprocessing.prompt=document"],
    )
    folder(
        "st-unknown",
        "mean",
        modules=[
            {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "path": "1_Bow", "type": "sentence_transformers.models.BoW"},
        ],
    )
    kind(
        "st-unknown", "sentence-transformers, a module that a card cannot express", by="add", refused=["BoW"]
    )
