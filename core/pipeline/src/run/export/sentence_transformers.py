"""A Chiasm run as a module of sentence-transformers: ONNX Runtime runs the models, one for each kind of items.

Opened by ``SentenceTransformer(FOLDER, trust_remote_code=True)``. Vectors of all kinds are in one space; the
score of two is their dot product.
"""

import functools
import io
import os
import shutil
import types
@IMPORTS@

# The model of each kind of items: its file, its output, and the modality of the run.
MODELS = @MODELS@
WIDTH = @WIDTH@
IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tiff", ".webp")


def functions(folder):
    """Returns the functions that make the inputs of the model of one item, by the kind of the item."""

    def refuse(message):
        raise ValueError(message)

    def read(name):
        return tokenizers.Tokenizer.from_file(os.path.join(folder, name))

    # The functions read the tokenizer for every item, and end a program: here it is read once, and they raise.
    Tokenizer = types.SimpleNamespace(from_file=functools.cache(read))
    sys = types.SimpleNamespace(exit=refuse)
@FUNCTIONS@

class ChiasmModule(torch.nn.Module):
    """Embeds texts, and pictures or recordings if the run has them.

    A picture is a path, a PIL image or an array (height, width, 3) of uint8; a recording is the path of a WAV
    file; a dict ``{"image": item}`` states the kind.
    """

    save_in_root = True

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.functions = functions(folder)
        self.sessions = {}

    @classmethod
    def load(cls, model_name_or_path, subfolder="", token=None, cache_folder=None, revision=None, **kwargs):
        folder = model_name_or_path
        if not os.path.isdir(folder):
            from huggingface_hub import snapshot_download

            folder = snapshot_download(folder, token=token, cache_dir=cache_folder, revision=revision)
        return cls(os.path.join(folder, subfolder))

    def save(self, output_path, *args, **kwargs):
        names = ["preprocessing", *(file for file, _ in MODELS.values())]
        for name in names + [f"{name}.data" for name in names]:
            source, target = os.path.join(self.folder, name), os.path.join(output_path, name)
            if os.path.isdir(source):
                shutil.copytree(source, target, dirs_exist_ok=True)
            elif os.path.exists(source):
                shutil.copyfile(source, target)

    @property
    def modalities(self):
        return list(MODELS)

    def get_embedding_dimension(self):
        return WIDTH

    get_sentence_embedding_dimension = get_embedding_dimension

    def preprocess(self, inputs, prompt=None, **kwargs):
        items = [kind_of(item) for item in inputs]
        if prompt:
            items = [(kind, prompt + item if kind == "text" else item) for kind, item in items]
        return {"prepared": [(kind, self.functions[kind](item)) for kind, item in items]}

    def tokenize(self, texts, **kwargs):
        return self.preprocess(texts, **kwargs)

    def forward(self, features, **kwargs):
        prepared = features["prepared"]
        rows, groups = np.empty((len(prepared), WIDTH), np.float32), {}
        # Items of one shape are run together, so that nothing is padded.
        for at, (kind, feeds) in enumerate(prepared):
            shapes = tuple((name, value.shape) for name, value in feeds.items())
            groups.setdefault((kind, shapes), []).append(at)
        for (kind, _), members in groups.items():
            file, output = MODELS[kind]
            session = self.session(file)
            feeds = {
                port.name: np.concatenate([prepared[at][1][port.name] for at in members])
                for port in session.get_inputs()
            }
            (rows[members],) = session.run([output], feeds)
        features["sentence_embedding"] = torch.from_numpy(rows)
        return features

    def session(self, file):
        if file not in self.sessions:
            path = os.path.join(self.folder, file)
            self.sessions[file] = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return self.sessions[file]


def kind_of(item):
    """Returns the kind of an item, and the item as its function takes it."""
    kind = None
    if isinstance(item, dict) and len(item) == 1:
        ((kind, item),) = item.items()
    elif isinstance(item, str):
        path = item.lower() if os.path.isfile(item) else ""
        kinds = [("image", path.endswith(IMAGES)), ("audio", path.endswith(".wav")), ("text", True)]
        kind = next((name for name, is_it in kinds if is_it and name in MODELS), None)
    elif hasattr(item, "convert") or getattr(item, "ndim", 0) == 3:
        kind = "image"
    if kind not in MODELS:
        raise ValueError(f"expected items of {', '.join(MODELS)}, got {type(item).__name__}")
    if kind == "image" and not isinstance(item, (str, os.PathLike)):
        picture = item if hasattr(item, "convert") else Image.fromarray(np.asarray(item))
        item = io.BytesIO()
        picture.save(item, "PNG")
    return kind, item
