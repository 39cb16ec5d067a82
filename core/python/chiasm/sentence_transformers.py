"""A run as the module of a SentenceTransformer.

>>> from sentence_transformers import SentenceTransformer
>>> from chiasm.sentence_transformers import RunModule
>>> model = SentenceTransformer(modules=[RunModule("run")], similarity_fn_name="dot")
>>> model.similarity(model.encode(["a red circle"]), model.encode([{"image": "circle.png"}]))

``chiasm export --layout sentence-transformers`` writes a folder that sentence-transformers opens without this
package.
"""

import os
import shutil

import torch

from ._run import Run

__all__ = ["RunModule"]

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tiff", ".webp")
SOUNDS = (".flac", ".mp3", ".ogg", ".wav")


class RunModule(torch.nn.Module):
    """Embeds items with a run; the kind of an item chooses the modality.

    A string is a text, or the path of a picture or a recording if there is such a file and the run takes it.
    PIL images and pixels are pictures, ``{"array", "sampling_rate"}`` is a recording, and ``{"image": item}``
    states the kind.

    Parameters
    ----------
    run : Run or path
        The run, or its folder.
    **modalities
        The modality of the kinds ``text``, ``image`` and ``audio``. By default the first one of that kind.
    """

    def __init__(self, run, **modalities):
        super().__init__()
        self.run = Run(run) if isinstance(run, (str, os.PathLike)) else run
        self.names = {}
        for own in self.run.manifest["modalities"]:
            adapter = own["encoders"][0]["adapter"]
            if adapter in ("text", "image", "audio"):
                self.names.setdefault(adapter, own["name"])
        for kind, name in modalities.items():
            if kind not in self.names or name not in self.run.modalities:
                raise ValueError(f"expected kinds of {sorted(self.names)} and modalities of the run, got {kind}={name!r}")
            self.names[kind] = name

    @classmethod
    def load(cls, model_name_or_path, subfolder="", **kwargs):
        return cls(os.path.join(model_name_or_path, subfolder))

    def save(self, output_path, *args, **kwargs):
        shutil.copytree(self.run.path, output_path, dirs_exist_ok=True)

    @property
    def modalities(self):
        return list(self.names)

    def get_embedding_dimension(self):
        return self.run.dim

    get_sentence_embedding_dimension = get_embedding_dimension

    def preprocess(self, inputs, prompt=None, **kwargs):
        items = [self._kind_of(item) for item in inputs]
        if prompt:
            items = [(kind, prompt + item if kind == "text" else item) for kind, item in items]
        return {"items": items}

    def tokenize(self, texts, **kwargs):
        return self.preprocess(texts, **kwargs)

    def forward(self, features, **kwargs):
        items = features["items"]
        rows = torch.empty((len(items), self.run.dim))
        for kind in dict(items):
            members = [at for at, (other, _) in enumerate(items) if other == kind]
            found = self.run.encode(**{self.names[kind]: [items[at][1] for at in members]})
            rows[members] = torch.as_tensor(found)
        features["sentence_embedding"] = rows
        return features

    def _kind_of(self, item):
        kind = None
        if isinstance(item, dict) and "sampling_rate" in item:
            kind = "audio"
        elif isinstance(item, dict) and len(item) == 1:
            ((kind, item),) = item.items()
        elif isinstance(item, str):
            path = item.lower() if os.path.isfile(item) else ""
            kinds = [("image", path.endswith(IMAGES)), ("audio", path.endswith(SOUNDS)), ("text", True)]
            kind = next((name for name, is_it in kinds if is_it and name in self.names), None)
        elif hasattr(item, "convert") or getattr(item, "ndim", 0) == 3:
            kind = "image"
        if kind not in self.names:
            raise ValueError(f"expected items of {', '.join(self.names)}, got {type(item).__name__}")
        return kind, item
