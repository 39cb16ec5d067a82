"""The command ``chiasm`` of the package."""

import os
import sys

from ._package import FOLDER, engine


def main():
    """Replaces this process by the program, which uses the installed ONNX Runtime."""
    library = engine()
    if library is not None:
        os.environ["ORT_DYLIB_PATH"] = str(library)
    program = str(FOLDER / "chiasm")
    os.execv(program, ["chiasm", *sys.argv[1:]])
