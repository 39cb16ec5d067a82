from collections.abc import Sequence
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import ot as ot

Path = str | PathLike[str]
Device = Literal["cpu", "cuda", "auto"]

__version__: str

class ChiasmError(Exception):
    code: str
    help: str | None
    place: str | None

class Run:
    report: dict[str, Any]
    def __init__(self, path: Path, *, device: Device = "cpu", threads: int = 0) -> None: ...
    @property
    def path(self) -> Path: ...
    @property
    def manifest(self) -> dict[str, Any]: ...
    @property
    def modalities(self) -> list[str]: ...
    def encode(self, **items: Any) -> Any: ...
    def encode_query(self, sentences: Sequence[str]) -> NDArray[np.float32]: ...
    def encode_document(self, sentences: Sequence[str]) -> NDArray[np.float32]: ...
    def similarity(self, first: ArrayLike, second: ArrayLike) -> NDArray[np.float32]: ...
    def predict(self, **items: Any) -> dict[str, NDArray[np.float32]]: ...
    def search(
        self, query: dict[str, Any] | ArrayLike, among: str, top_k: int = 10
    ) -> list[dict[str, Any]]: ...
    def save_pretrained(self, folder: Path) -> None: ...

class Moments:
    def __init__(self, *, curve: Literal["unit", "signed-root"] | None = None, seed: int = 0) -> None: ...
    @property
    def count(self) -> int: ...
    @property
    def widths(self) -> list[int]: ...
    def update(self, X: Any, y: Any = None) -> Moments: ...
    def update_parquet(self, source: Path | Sequence[Path], columns: Sequence[str]) -> Moments: ...
    def merge(self, other: Moments) -> Moments: ...
    def fit(self, aligner: Any = "cca", **parameters: Any) -> Any: ...

def fit(
    recipe: Path,
    output: Path,
    *,
    skip_bad: bool = False,
    force: bool = False,
    device: Device = "cpu",
    threads: int = 0,
    progress: Any = True,
    **overrides: Any,
) -> Run: ...
def open(path: Path, *, device: Device = "cpu", threads: int = 0) -> Run: ...
def check(
    model: Path | bytes,
    points: ArrayLike,
    *,
    inverse: Path | bytes | None = None,
    targets: ArrayLike | None = None,
    device: Device = "cpu",
    threads: int = 0,
) -> dict[str, Any]: ...
def jacobian(
    model: Path | bytes, points: ArrayLike, *, device: Device = "cpu", threads: int = 0
) -> NDArray[np.float64]: ...
def measure(
    x: ArrayLike,
    y: ArrayLike,
    *,
    only: str | Sequence[str] | None = None,
    k: int | None = None,
    null: int = 0,
    seed: int = 0,
    labels: ArrayLike | None = None,
) -> dict[str, Any]: ...
