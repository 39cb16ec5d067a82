"""The base class of aligners."""

import json
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from . import _core
from ._arrays import array, arrays, warn_of_offset
from ._progress import listener


@dataclass(eq=False, repr=False, kw_only=True)
class Aligner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The base class of aligners.

    Attributes
    ----------
    n_views_ : int
        Number of views.
    n_features_in_ : int
        Width of the first view.
    n_components_ : int
        Width of the shared space.
    parameters_ : dict
        All parameters of the fit, including those that the method chose.
    notes_ : dict
        What the method reports, for example scores on held-out rows.
    """

    #: The id of the plugin.
    _plugin: ClassVar[str]

    anchor: int | None = None
    random_state: int | np.random.RandomState | np.random.Generator | None = 0
    device: str = "cpu"
    threads: int = 0
    progress: object = False

    def fit(self, X, y=None, *, rows=None):
        """Fits the maps.

        Parameters
        ----------
        X : array of shape (n, d), or list of arrays of shapes (n_i, d_i)
            The first view, or all views: arrays of NumPy, Arrow arrays of lists of numbers, or arrays of any
            library with DLPack. Rows of 32-bit floats one after the other are read where they are.
        y : array of shape (n, e) or (n,), optional
            The second view, if `X` is one array. Items are brought to length one, which would leave nothing
            of a single number, so a view of one column is standardised and gets a second column of ones.
        rows : list of arrays of int of shape (n_i,), optional
            The row number of every item of each view, sorted in ascending order, if views differ in their
            items: items of equal numbers belong together. Without it, views have equal numbers of items.

        Returns
        -------
        self
        """
        views = self._views(X, y)
        self.view_widths_ = [view.shape[1] for view in views]
        self._scales = [_scale(view) for view in views]
        views = [_lifted(view, scale) for view, scale in zip(views, self._scales, strict=True)]
        if rows is None:
            if len({len(view) for view in views}) != 1:
                lengths = ", ".join(str(len(view)) for view in views)
                raise ValueError(
                    f"Found input variables with inconsistent numbers of samples: {lengths}; `rows` says "
                    "which items belong together"
                )
            rows = [np.arange(len(view)) for view in views]
        rows = _row_numbers(rows, views)
        names = [f"view{at}" for at in range(len(views))]
        data = {"views": views, "rows": rows, "names": names}
        maps = _core.fit_aligner(self._plugin, data, self._options(len(views)), listener(self.progress))
        return self._fitted(maps)

    def fit_moments(self, moments):
        """Fits the maps on all rows that were added to a :class:`chiasm.Moments`: `CCA` and `Ridge` only.

        `Procrustes` takes a :class:`chiasm.SecondPass`, which holds its parameters.

        Returns
        -------
        self
        """
        self.view_widths_ = moments.widths
        self.n_features_in_ = self.view_widths_[0]
        self._scales = [None] * len(self.view_widths_)
        options = self._options(len(self.view_widths_))
        maps = moments._sums.fit(self._plugin, options, listener(self.progress))
        return self._fitted(maps)

    def _options(self, views):
        """Returns how a number of views is fitted, as the Rust module expects it."""
        # The parameters that all aligners share are not those of a plugin.
        shared = {field.name for field in fields(Aligner)}
        given = {
            name: _plain(value)
            for name, value in self.get_params().items()
            if name not in shared and value is not None
        }
        for name, value in given.items():
            if isinstance(value, float) and not np.isfinite(value):
                raise ValueError(f"{name}: expected a finite number, got {value}")
        at = None if self.anchor is None else self._whole("anchor", -views, views - 1) % views
        return {
            "parameters": json.dumps(given),
            "anchor": None if at is None else f"view{at}",
            "seed": self._seed(),
            "device": self.device,
            "threads": self._whole("threads", 0, 2**31 - 1),
        }

    def _seed(self):
        """Returns the seed; a generator of NumPy draws one, so that every fit has another."""
        given = self.random_state
        if given is None:
            return 0
        if isinstance(given, np.random.RandomState):
            return int(given.randint(2**32, dtype=np.uint64))
        if isinstance(given, np.random.Generator):
            return int(given.integers(2**32))
        return self._whole("random_state", 0, 2**64 - 1)

    def _whole(self, name, least, most):
        """Returns a parameter that is a whole number from `least` to `most`."""
        value = getattr(self, name)
        if not isinstance(value, (int, np.integer)) or not least <= value <= most:
            raise ValueError(f"{name}: expected a whole number from {least} to {most}, got {value!r}")
        return int(value)

    def _fitted(self, maps):
        """Keeps the maps of a fit."""
        self.maps_ = maps
        report = json.loads(maps.report)
        self.parameters_, self.notes_ = report["parameters"], report["notes"]
        self.n_views_ = len(self.view_widths_)
        self.n_components_ = maps.width
        return self

    def transform(self, X, y=None, *, view=0):
        """Maps items into the shared space.

        Parameters
        ----------
        X : array of shape (n, d), or list of arrays
            Items of the view `view`, or of all views in their order.
        y : array, optional
            Items of the second view.
        view : int
            The view of `X`, if it is one array.

        Returns
        -------
        Z : array of shape (n, n_components_), or a list of them, or a pair if `y` is given
            Rows of length one.
        """
        check_is_fitted(self)
        X = arrays(X)
        if isinstance(X, (list, tuple)) and len(X) and getattr(X[0], "ndim", 0) == 2:
            return [self.transform(own, view=at) for at, own in enumerate(X)]
        mapped = self._map(self._view(X, view), view)
        return mapped if y is None else (mapped, self.transform(y, view=1))

    def fit_transform(self, X, y=None, **fit_params):
        """Fits the maps and returns the images of `X`."""
        return self.fit(X, y, **fit_params).transform(X)

    def inverse_transform(self, Z, *, view=0):
        """Maps rows (n, n_components_) of the shared space back to a view, where there is an inverse.

        Views are centred and brought to length one before they are mapped, so what comes back is a unit
        vector.
        """
        check_is_fitted(self)
        rows = np.ascontiguousarray(check_array(array(Z, "Z"), dtype=np.float32))
        return self.maps_.inverse(view, rows)

    def score(self, X, y=None):
        """Returns recall@1: the share of items whose nearest item of the other view is their partner.

        It is the mean over both directions of every pair of views. Ties count as their share.
        """
        views = self._views(X, y, reset=False)
        if len({len(view) for view in views}) != 1:
            lengths = ", ".join(str(len(view)) for view in views)
            raise ValueError(f"Found input variables with inconsistent numbers of samples: {lengths}")
        mapped = [self._map(own, at) for at, own in enumerate(views)]
        scores = [_recall(a @ b.T) for a in mapped for b in mapped if a is not b]
        return float(np.mean(scores))

    def to_onnx(self, view=0):
        """Returns the map of a view as the bytes of an ONNX file, from `x` (n, d) to `z` (n, n_components_).

        The input of a view of one column has two: the standardised numbers, and ones.
        """
        check_is_fitted(self)
        return self.maps_.onnx(view)

    @property
    def _n_features_out(self):
        return self.n_components_

    def _map(self, rows, view):
        return self.maps_.transform(view, _lifted(rows, self._scales[view]))

    def _view(self, X, view):
        """Checks items of one view."""
        X = array(X, f"view {view}")
        if view == 0:
            X = validate_data(self, X, reset=False, dtype=_precision(X))
        else:
            X = check_array(X, dtype=_precision(X), ensure_2d=False)
            X = X.reshape(-1, 1) if X.ndim == 1 else X
            if X.shape[1] != self.view_widths_[view]:
                raise ValueError(
                    f"view {view}: expected {self.view_widths_[view]} features, got {X.shape[1]}"
                )
        return np.ascontiguousarray(X)

    def _views(self, X, y, reset=True):
        """Checks all views, and returns them as contiguous arrays in single precision.

        A view of one column stays in double precision: it is standardised before it is converted.
        """
        if not reset:
            check_is_fitted(self)
        X, y = arrays(X), array(y, "view 1")
        if isinstance(X, (list, tuple)) and len(X) and getattr(X[0], "ndim", 0) == 2:
            if y is not None:
                raise ValueError("expected all views in X, or the second one in y, got both")
            first, others = X[0], list(X[1:])
        else:
            if y is None:
                raise ValueError(
                    f"{type(self).__name__} requires y to be passed, but the target y is None: "
                    "give a list of views, or the second view as y"
                )
            first, others = X, [y]
        if reset:
            given = [first, *others]
            first = validate_data(self, first, dtype=_precision(first), ensure_min_samples=2)
            others = [check_array(own, dtype=_precision(own), ensure_2d=False) for own in others]
            others = [own.reshape(-1, 1) if own.ndim == 1 else own for own in others]
            views = [np.ascontiguousarray(own) for own in [first, *others]]
            for at, (own, view) in enumerate(zip(given, views, strict=True)):
                if view.shape[1] > 1:
                    warn_of_offset(own, f"view {at}")
            return views
        return [self._view(own, at) for at, own in enumerate([first, *others])]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _precision(view):
    """Returns the type that a view is converted to: float64 for one column, float32 for wider ones."""
    shape = getattr(view, "shape", None)
    shape = np.asarray(view).shape if shape is None else tuple(shape)
    return np.float64 if len(shape) == 1 or shape[1:] == (1,) else np.float32


def _plain(value):
    """Returns NumPy numbers and arrays as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(own) for own in value]
    if isinstance(value, dict):
        return {name: _plain(own) for name, own in value.items()}
    return value


def _row_numbers(rows, views):
    """Returns the row numbers of each view, which must be sorted, as arrays."""
    rows = [np.ascontiguousarray(own, dtype=np.int64) for own in rows]
    for at, (own, view) in enumerate(zip(rows, views, strict=True)):
        if own.shape != (len(view),):
            raise ValueError(
                f"rows[{at}]: expected {len(view)} row numbers, got an array of shape {own.shape}"
            )
        if np.any(np.diff(own) < 0):
            raise ValueError(f"rows[{at}]: expected row numbers in ascending order")
    return rows


def _scale(view):
    """Returns the mean and the deviation of a view of one column; None for wider ones."""
    if view.shape[1] != 1:
        return None
    return float(view.mean()), float(view.std()) or 1.0


def _lifted(view, scale):
    """Returns a view; if it has one column, standardised and beside a column of ones."""
    if scale is None:
        return view
    mean, deviation = scale
    return np.ascontiguousarray(
        np.column_stack([(view - mean) / deviation, np.ones(len(view))]), dtype=np.float32
    )


def _recall(scores):
    """Returns the share of rows whose own column has the largest score; ties count as their share."""
    own = np.diag(scores)[:, None]
    above, equal = (scores > own).sum(axis=1), (scores == own).sum(axis=1)
    return float(np.mean(np.where(above == 0, 1.0 / equal, 0.0)))
