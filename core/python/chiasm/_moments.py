"""Aligners of rows that do not fit into memory, or that several processes read."""

import os

from . import _core
from ._arrays import matrix

#: The number of rows of Parquet files that are in memory at once.
BATCH = 8192


class _Summed:
    """Rows that are added in batches and not kept. `_begin` makes the sums for views of some widths."""

    def update(self, X, y=None):
        """Adds rows.

        Parameters
        ----------
        X : array of shape (n, d), Arrow array of lists, or a list of them
            Items of the first view, or of all views: row i of every view shows the same thing.
        y : array of shape (n, e) or Arrow array of lists, optional
            Items of the second view, if `X` is one array.

        Returns
        -------
        self
        """
        views = list(X) if y is None and isinstance(X, (list, tuple)) else [X, y]
        if len(views) < 2 or any(view is None for view in views):
            raise ValueError("expected two or more views: a list of them, or the second one as y")
        items = [_matrix(view, at) for at, view in enumerate(views)]
        self._begin([view.shape[1] for view in items])
        self._sums.update(items)
        return self

    def update_parquet(self, source, columns):
        """Adds the rows of Parquet files, of which a few thousand rows are in memory at once.

        Parameters
        ----------
        source : path or list of paths
            A file, a folder with files, or several files.
        columns : list of str
            The column of each view: lists of numbers.

        Returns
        -------
        self
        """
        import pyarrow.dataset
        import pyarrow.parquet

        source = [os.fspath(path) for path in source] if isinstance(source, (list, tuple)) else source
        for path in pyarrow.dataset.dataset(source, format="parquet").files:
            with pyarrow.parquet.ParquetFile(path) as file:
                for number, batch in enumerate(file.iter_batches(BATCH, columns=list(columns))):
                    try:
                        self.update([batch.column(name) for name in columns])
                    except (ValueError, _core.ChiasmError) as error:
                        raise ValueError(f"{path}, batch from row {number * BATCH}: {error}") from error
        return self

    @property
    def count(self):
        """The number of rows."""
        return 0 if self._sums is None else self._sums.count


class Moments(_Summed):
    """Sums over rows, from which :class:`chiasm.align.CCA` and :class:`chiasm.align.Ridge` are fitted.

    Rows are added in batches and not kept: memory grows with the square of the widths only. Moments of
    different rows are merged, and pickled to send them to another process. How rows are split and in which
    order they come changes a fit by rounding errors only.

    Parameters that an aligner chooses are chosen on a sample of 2000 distinct rows, which does not depend on
    the split either.

    Parameters
    ----------
    curve : {"unit", "signed-root"}, optional
        What items go through before they are brought to length one. When not given, both are summed, which
        takes four times the work, and the aligner chooses.
    seed : int
        Draws the sample; moments that are merged have the same.

    :class:`chiasm.align.Procrustes` reads the rows twice; see :meth:`second_pass`.

    Examples
    --------
    >>> moments = chiasm.Moments().update_parquet("shards", ["image", "text"])
    >>> aligner = moments.fit("cca")
    >>> open("images.onnx", "wb").write(aligner.to_onnx(0))
    """

    def __init__(self, *, curve=None, seed=0):
        self._curve, self._seed, self._sums = curve, seed, None
        if curve not in (None, "unit", "signed-root"):
            raise ValueError(f'curve: expected "unit" or "signed-root", got {curve!r}')

    def _begin(self, widths):
        if self._sums is None:
            self._sums = _core.Moments(widths, self._curve, self._seed)

    def merge(self, other):
        """Adds the rows of other moments, and returns `self`."""
        if self._sums is None:
            self._sums = _core.Moments(other.widths, self._curve, self._seed) if other._sums else None
        if other._sums is not None:
            self._sums.merge(other._sums)
        return self

    @property
    def widths(self):
        """The width of every view; known after the first rows."""
        if self._sums is None:
            raise ValueError("no rows were added yet")
        return self._sums.widths

    def fit(self, aligner="cca", **parameters):
        """Returns an aligner that is fitted on all rows.

        Parameters
        ----------
        aligner : {"cca", "ridge"} or Aligner
            The method, or an unfitted :class:`chiasm.align.CCA` or :class:`chiasm.align.Ridge`.
        **parameters
            Parameters of the aligner, as ``dimensions=64``.
        """
        from sklearn.base import clone

        from . import align

        methods = {"cca": align.CCA, "ridge": align.Ridge}
        if isinstance(aligner, str):
            if aligner not in methods:
                raise ValueError(
                    f"{aligner!r} is not fitted from moments: expected 'cca' or 'ridge'. 'procrustes' reads "
                    "the rows a second time, see `second_pass`; others need the rows themselves"
                )
            aligner = methods[aligner](random_state=self._seed)
        return clone(aligner).set_params(**parameters).fit_moments(self)

    def second_pass(self, aligner="procrustes", **parameters):
        """Begins the second reading of the same rows, which Procrustes needs.

        Its rotations depend on the coordinates of each row scaled to length one, which moments do not tell.

        Parameters
        ----------
        aligner : "procrustes" or Procrustes
            The method, or an unfitted :class:`chiasm.align.Procrustes`.
        **parameters
            Parameters of the aligner, as ``dimensions=64``.

        Returns
        -------
        SecondPass

        Examples
        --------
        >>> moments = chiasm.Moments().update_parquet("shards", ["image", "text"])
        >>> rows = moments.second_pass("procrustes").update_parquet("shards", ["image", "text"])
        >>> aligner = rows.fit()
        """
        from sklearn.base import clone

        from . import align

        if isinstance(aligner, str):
            if aligner != "procrustes":
                raise ValueError(f"{aligner!r} has no second pass: expected 'procrustes'")
            aligner = align.Procrustes(random_state=self._seed)
        return SecondPass(self, clone(aligner).set_params(**parameters))

    def __reduce__(self):
        state = None if self._sums is None else self._sums.to_bytes()
        return _restored, (self._curve, self._seed, state)


class SecondPass(_Summed):
    """Sums over rows that are read a second time; see :meth:`Moments.second_pass`.

    Rows are added as to :class:`Moments`. Second passes of different rows are merged, and pickled to send
    them to another process. All parameters are chosen when it begins, so every process uses the same.
    """

    def __init__(self, moments, aligner):
        moments.widths  # noqa: B018 - raises if there are no rows
        if aligner._plugin != "procrustes":
            raise ValueError(f"{type(aligner).__name__} has no second pass: expected Procrustes")
        self._moments, self._aligner = moments, aligner
        self._sums = _core.SecondPass(moments._sums, aligner._options(len(moments.widths)))

    def _begin(self, widths):
        pass

    @property
    def widths(self):
        """The width of every view."""
        return self._moments.widths

    def merge(self, other):
        """Adds the rows of another second pass with the same moments and parameters, and returns `self`."""
        self._sums.merge(other._sums)
        return self

    def fit(self):
        """Returns the fitted :class:`chiasm.align.Procrustes`.

        Raises
        ------
        ChiasmError
            If the second reading gave more or fewer rows than the first one.
        """
        from sklearn.base import clone

        return clone(self._aligner).fit_moments(self)

    def __reduce__(self):
        from sklearn.base import clone

        # with what was chosen, so that nothing is chosen again
        aligner = clone(self._aligner).set_params(**self._sums.parameters)
        return _begun, (self._moments, aligner, self._sums.count, self._sums.sums)


def _begun(moments, aligner, count, sums):
    """Restores a pickled second pass."""
    begun = SecondPass(moments, aligner)
    begun._sums.restore(count, sums)
    return begun


def _restored(curve, seed, state):
    """Restores pickled moments."""
    moments = Moments(curve=curve, seed=seed)
    moments._sums = None if state is None else _core.Moments.from_bytes(state)
    return moments


def _matrix(items, at):
    """Returns the items of the view `at` as a contiguous array in single precision."""
    found = matrix(items, f"view {at}")
    if found.ndim != 2 or found.shape[1] < 2:
        raise ValueError(
            f"view {at}: expected an array of shape (n, d) with d > 1, got one of shape {found.shape}"
        )
    return found
