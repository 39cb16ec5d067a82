"""Merges frozen, separately trained encoders into one multimodal model.

>>> import chiasm
>>> run = chiasm.fit("recipe.toml", "run")            # maps, fusion, checks: one folder, one model.onnx
>>> run.encode(text=["a red circle"])                 # vectors of the shared space
>>> run.search({"text": "a red circle"}, "image")     # the nearest pictures of the test rows

`chiasm.align` has the aligners as scikit-learn estimators, `chiasm.ot` optimal transport with the signatures
of POT, and `chiasm.measure` the geometry measures.
"""

from . import _package

_package.prepare()

from . import ot
from ._check import check, jacobian
from ._core import ChiasmError, __version__
from ._embedder import Embedder
from ._measure import measure
from ._moments import Moments, SecondPass
from ._recipe import fit
from ._run import Run, open_run

#: Opens the folder of a run; see :func:`chiasm._run.open_run`.
open = open_run

__all__ = [
    "ChiasmError",
    "Embedder",
    "Moments",
    "Run",
    "SecondPass",
    "__version__",
    "check",
    "fit",
    "jacobian",
    "measure",
    "open",
    "ot",
]
