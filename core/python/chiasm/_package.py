"""Where this package keeps its program and plugins, and where ONNX Runtime is."""

import importlib.util
import os
from pathlib import Path

#: The folder with the program ``chiasm`` and the plugins.
FOLDER = Path(__file__).resolve().parent / "bin"


def engine():
    """Returns the library of the installed package ``onnxruntime``, or None.

    The variable ``ORT_DYLIB_PATH`` names another library, which is then used.
    """
    if os.environ.get("ORT_DYLIB_PATH"):
        return None
    try:
        found = importlib.util.find_spec("onnxruntime")
    except (ImportError, ValueError):
        return None
    for folder in (found.submodule_search_locations or []) if found else []:
        libraries = sorted(Path(folder, "capi").glob("libonnxruntime.so*"))
        if libraries:
            return libraries[0]
    return None


def prepare():
    """Tells the Rust part of the package where its files are."""
    from . import _core

    _core.use_folder(FOLDER, engine())
