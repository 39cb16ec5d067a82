"""Embedding columns of data sets on Ray Data, Spark, Daft, or with Arrow alone."""

import numpy as np

from . import _core
from ._run import open_run


class Embedder:
    """Adds a column of embeddings to batches of a data set.

    It is pickled as the path and the digest of the run: every worker opens the run once, at its first
    batch, and refuses a run that has changed since.

    Parameters
    ----------
    run : path or Run
        The run; its folder must be at the same path on every machine.
    modality : str
        The modality whose items the column holds.
    column : str, optional
        The column with the items: texts, paths, bytes or row numbers. When not given, it is called as the
        modality.
    output : str
        The new column.
    key : str, optional
        A column that identifies rows in error messages.
    skip_bad : bool
        Give items that cannot be read a null instead of raising an error.
    device, threads
        As :func:`chiasm.open`.

    Examples
    --------
    Ray Data, where each actor opens the run once, and Spark:

    >>> arguments = {"run": "run", "modality": "text"}
    >>> actors = ray.data.ActorPoolStrategy(size=2)
    >>> dataset.map_batches(
    ...     Embedder, fn_constructor_kwargs=arguments, batch_format="pyarrow", compute=actors
    ... )
    >>> frame.mapInArrow(Embedder("run", "text").batches, schema)
    """

    def __init__(
        self,
        run,
        modality,
        *,
        column=None,
        output="embedding",
        key=None,
        skip_bad=False,
        device="cpu",
        threads=0,
    ):
        opened = open_run(getattr(run, "path", run), device=device, threads=threads)
        opened._check([modality])
        self._path, self._run = str(opened.path), opened
        self._options = {"device": device, "threads": threads}
        self.modality = modality
        self.source = column or modality
        self.output, self.key, self.skip_bad = output, key, skip_bad
        #: The width of an embedding.
        self.dim = opened.dim
        #: The digest of the run.
        self.version = opened.version

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name != "_run"}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._run = None

    @property
    def arrow_type(self):
        """The Arrow type of the new column: a list of `dim` 32-bit floats."""
        import pyarrow

        return pyarrow.list_(pyarrow.float32(), self.dim)

    def __call__(self, batch):
        """Returns a RecordBatch, Table, pandas DataFrame or dict of arrays with the new column."""
        import pyarrow

        if isinstance(batch, (pyarrow.RecordBatch, pyarrow.Table)):
            keys = batch.column(self.key).to_pylist() if self.key else None
            embedded = self.embed(batch.column(self.source).to_pylist(), keys)
            return batch.append_column(pyarrow.field(self.output, self.arrow_type), embedded)
        keys = list(batch[self.key]) if self.key else None
        embedded = self.embed(list(batch[self.source]), keys)
        rows = list(embedded.to_numpy(zero_copy_only=False))
        if isinstance(batch, dict):
            return {**batch, self.output: rows}
        return batch.assign(**{self.output: rows})

    def batches(self, batches):
        """Embeds an iterator of Arrow batches, as Spark's ``mapInArrow`` passes them.

        The new column holds plain lists, as Spark does not read Arrow's lists of a fixed size.
        """
        import pyarrow

        for batch in batches:
            added = self(batch)
            at = added.schema.get_field_index(self.output)
            lists = added.column(at).cast(pyarrow.list_(pyarrow.float32()))
            yield added.set_column(at, self.output, lists)

    def embed(self, items, keys=None):
        """Returns the embeddings of a list of items as an Arrow array of type `arrow_type`."""
        import pyarrow

        present = [at for at, item in enumerate(items) if item is not None]
        rows, bad = self._opened()._encoded(self.modality, [items[at] for at in present], skip=True)
        names = keys or range(len(items))
        if not self.skip_bad:
            if len(present) < len(items):
                missing = next(at for at, item in enumerate(items) if item is None)
                raise ValueError(f"row {names[missing]!r}: the column {self.source!r} is null")
            for at, reason in sorted(bad.items()):
                raise _core.unreadable(f"row {names[present[at]]!r}: {reason}")
        whole = np.zeros((len(items), self.dim), dtype=np.float32)
        whole[present] = rows
        null = np.ones(len(items), dtype=bool)
        null[present] = [number in bad for number in range(len(present))]
        values = pyarrow.array(whole.ravel())
        return pyarrow.FixedSizeListArray.from_arrays(values, self.dim, mask=pyarrow.array(null))

    def _opened(self):
        if self._run is None:
            self._run = open_run(self._path, **self._options)
            if self._run.version != self.version:
                raise ValueError(f"the run {self._path} has changed since this embedder was made")
        return self._run
