"""Opened runs."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from . import _core
from ._arrays import array, real
from ._items import Items


def open_run(path, *, device="cpu", threads=0):
    """Opens the folder of a run.

    Parameters
    ----------
    path : path
        The folder that ``chiasm fit`` wrote.
    device : {"cpu", "cuda", "auto"}
        Where graphs run.
    threads : int
        Number of threads; 0 means all cores.

    Returns
    -------
    Run

    Raises
    ------
    ChiasmError
        If it is no run, a file of it is missing or was changed, or the engine is missing.
    """
    return Run(path, device=device, threads=threads)


class Run:
    """A merged model with the encoders, maps and fusion of a fit.

    Items are given by modality. A text is a string; a picture or a recording is a path, its bytes, a PIL
    image, pixels (uint8, height x width x 3) or a dict with ``array`` and ``sampling_rate``; an item of a
    file of vectors is its row number, or new vectors as an array (n, width) of NumPy, Arrow or any library
    with DLPack.

    A picklable object: what is pickled is the path.
    """

    def __init__(self, path, *, device="cpu", threads=0):
        self._arguments = {"device": device, "threads": threads}
        self._path = Path(path).absolute()
        self._run = _core.Run(self._path, device, threads)
        self._manifest = json.loads(self._run.manifest)
        self._takes = dict(self._run.modalities)

    def __reduce__(self):
        return _reopen, (str(self._path), self._arguments)

    def __repr__(self):
        return f"Run({str(self._path)!r}, modalities={self.modalities})"

    @property
    def path(self):
        """The folder."""
        return self._path

    @property
    def manifest(self):
        """What ``manifest.json`` holds: the encoders, the plugins, digests and settings."""
        return self._manifest

    @property
    def modalities(self):
        """The names of the modalities."""
        return list(self._takes)

    @property
    def dim(self):
        """The width of the shared space."""
        return self._run.dim

    @property
    def version(self):
        """A digest of the run, which changes with every part of it."""
        # The manifest holds the digests of all other files.
        return hashlib.sha256((self._path / "manifest.json").read_bytes()).hexdigest()

    def encode(self, **items):
        """Embeds items into the shared space.

        Parameters
        ----------
        **items
            A list of items for each modality, for example ``text=["a red circle"]``. The lists may have
            different lengths.

        Returns
        -------
        array of shape (n, k), or dict of them by modality if several are given
            Unit rows in single precision: the dot product of two is the score of a match.
        """
        self._check(items)
        found = {name: self._encoded(name, own) for name, own in items.items()}
        return next(iter(found.values())) if len(found) == 1 else found

    def encode_query(self, sentences):
        """Embeds texts of the only modality that takes texts. There is no difference from documents here."""
        return self.encode(**{self._text(): sentences})

    def encode_document(self, sentences):
        """Embeds texts of the only modality that takes texts."""
        return self.encode_query(sentences)

    def similarity(self, first, second):
        """Returns the scores (n, m) of the rows of `first` (n, k) with those of `second` (m, k)."""
        return np.asarray(array(first, "first")) @ np.asarray(array(second, "second")).T

    def predict(self, **items):
        """Runs whole rows through the merged model: item i of each modality belongs to row i.

        Returns
        -------
        dict of arrays by the name of the output
            ``<modality>_embeds`` (n, k); if the run has a fusion that works without the modalities that
            are not given, also ``fused`` (n, d) and, for a task with labels, ``logits`` (n, labels).
        """
        self._check(items)
        lengths = {name: len(own) for name, own in items.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"expected as many items of each modality, got {lengths}")
        with Items() as files:
            columns = {name: files.column(name, self._takes[name], own) for name, own in items.items()}
            outputs, bad = self._run.outputs(columns)
        _refuse(bad, "row")
        return outputs

    def search(self, query, among, top_k=10):
        """Finds the test items of one modality that match a query best.

        Parameters
        ----------
        query : dict or array of shape (k,)
            One item for each of some modalities, for example ``{"text": "a red circle"}``, whose scores are
            averaged; or a vector of the shared space.
        among : str
            The modality to search.
        top_k : int
            Number of results.

        Returns
        -------
        list of dict
            ``score``, ``row`` (the id of the row) and ``item`` (a path or a text), best first.
        """
        self._check([among])
        if isinstance(query, dict):
            self._check(query)
            vectors = [self._encoded(name, [item])[0] for name, item in query.items()]
            vector = np.mean(vectors, axis=0)
        else:
            vector = np.asarray(array(query, "query"))
        hits = self._run.search(vector.astype(np.float32).tolist(), among, int(top_k))
        return [{"score": score, "row": row, "item": item} for score, row, item in hits]

    def save_pretrained(self, folder):
        """Copies the run to another folder, which must not exist."""
        shutil.copytree(self._path, folder)

    def _encoded(self, name, items, skip=False):
        """Embeds items of one modality; with `skip` returns the items that cannot be read as well."""
        if self._takes[name] == "row":
            items = array(items, name)
        if isinstance(items, np.ndarray) and self._takes[name] == "row" and items.ndim == 2:
            rows = self._run.vectors(name, _vectors(items, name))
            return (rows, {}) if skip else rows
        with Items() as files:
            column = files.column(name, self._takes[name], items)
            outputs, bad = self._run.outputs({name: column}) if column else ({}, {})
        if bad and not skip:
            _refuse(bad, name)
        rows = outputs.get(self._output(name), np.zeros((0, self.dim), dtype=np.float32))
        return (rows, bad) if skip else rows

    def _output(self, name):
        return next(own["output"] for own in self._manifest["modalities"] if own["name"] == name)

    def _text(self):
        names = [name for name, takes in self._takes.items() if takes == "text"]
        if len(names) != 1:
            raise ValueError(f"expected one modality of texts, got {names}: use `encode`")
        return names[0]

    def _check(self, names):
        if not names:
            raise ValueError(f"expected items of one or more of the modalities {self.modalities}")
        for name in names:
            if name not in self.modalities:
                raise ValueError(f"this run has no modality {name!r}; it has {', '.join(self.modalities)}")


def _refuse(bad, what):
    """Raises an error about the first item that could not be read."""
    for at, reason in sorted(bad.items()):
        raise _core.unreadable(f"{what}[{at}]: {reason}")


def _reopen(path, arguments):
    return Run(path, **arguments)


def _vectors(items, name):
    """Returns vectors in single precision, of a length whose square single precision holds."""
    lengths = np.linalg.norm(np.asarray(real(items, name), dtype=np.float64), axis=1)
    bad = np.flatnonzero(~(lengths <= 1e19))
    if len(bad):
        got = f"row {bad[0]} has the length {lengths[bad[0]]:.1e}"
        raise ValueError(f"{name}: expected finite vectors of a length up to 1e19, {got}")
    return np.ascontiguousarray(items, dtype=np.float32)
