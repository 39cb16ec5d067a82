"""Aligners as scikit-learn estimators: maps of several views into one shared space.

An estimator is fitted on two or more *views*: arrays with one row per item, where row i of every view shows
the same thing. ``transform`` maps a view into the shared space, where rows have length one and the dot
product of two rows is the score of a match.

>>> from chiasm.align import CCA
>>> aligner = CCA().fit([images, texts])
>>> scores = aligner.transform(images) @ aligner.transform(texts, view=1).T

With two views the second may be given as ``y``, so that aligners work in ``GridSearchCV``,
``cross_val_score`` and pipelines:

>>> GridSearchCV(CCA(), {"dimensions": [8, 16, 32]}).fit(images, texts)

Parameters that are None are chosen by the method; ``chiasm explain NAME`` defines each.
"""

import json

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from . import _core
from ._progress import listener

__all__ = ["CCA", "MLP", "Cycle", "KernelCCA", "OTMap", "Procrustes", "Ridge", "TensorCCA"]


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

    _plugin = None
    #: Parameters of the estimator that are not parameters of the plugin.
    _own = ("anchor", "random_state", "device", "threads", "progress")

    def fit(self, X, y=None, *, rows=None):
        """Fits the maps.

        Parameters
        ----------
        X : array of shape (n, d), or list of arrays of shapes (n_i, d_i)
            The first view, or all views.
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
        names = [f"view{at}" for at in range(len(views))]
        given = {name: value for name, value in self.get_params().items() if name not in self._own}
        given = {name: _plain(value) for name, value in given.items() if value is not None}
        self.maps_ = _core.fit_aligner(
            self._plugin,
            {
                "views": views,
                "rows": [np.ascontiguousarray(own, dtype=np.int64) for own in rows],
                "names": names,
            },
            {
                "parameters": json.dumps(given),
                "anchor": None if self.anchor is None else names[self.anchor],
                "seed": 0 if self.random_state is None else int(self.random_state),
                "device": self.device,
                "threads": int(self.threads),
            },
            listener(self.progress),
        )
        report = json.loads(self.maps_.report)
        self.parameters_, self.notes_ = report["parameters"], report["notes"]
        self.n_views_ = len(views)
        self.n_components_ = self.maps_.transform(0, views[0][:1]).shape[1]
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
        rows = np.ascontiguousarray(check_array(Z, dtype=np.float32))
        return self.maps_.inverse(view, rows)

    def score(self, X, y=None):
        """Returns recall@1: the share of items whose nearest item of the other view is their partner.

        It is the mean over both directions of every pair of views. Ties count as their share.
        """
        mapped = [self._map(own, at) for at, own in enumerate(self._views(X, y, reset=False))]
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
        if view == 0:
            X = validate_data(self, X, reset=False, dtype=np.float32)
        else:
            X = check_array(X, dtype=np.float32, ensure_2d=False)
            X = X.reshape(-1, 1) if X.ndim == 1 else X
            if X.shape[1] != self.view_widths_[view]:
                raise ValueError(
                    f"view {view}: expected {self.view_widths_[view]} features, got {X.shape[1]}"
                )
        return np.ascontiguousarray(X)

    def _views(self, X, y, reset=True):
        """Checks all views, and returns them as contiguous arrays in single precision."""
        if not reset:
            check_is_fitted(self)
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
            first = validate_data(self, first, dtype=np.float32, ensure_min_samples=2)
            others = [check_array(own, dtype=np.float32, ensure_2d=False) for own in others]
            others = [own.reshape(-1, 1) if own.ndim == 1 else own for own in others]
            return [np.ascontiguousarray(own) for own in [first, *others]]
        return [self._view(own, at) for at, own in enumerate([first, *others])]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = []
        return tags


class Procrustes(Aligner):
    """Generalised Procrustes: turns the leading axes of every view onto the others; keeps distances.

    Parameters
    ----------
    dimensions : int, optional
        Number of principal coordinates kept of each view.
    curve : {"unit", "signed-root"}, optional
        What items go through before they are brought to length one.
    anchor, random_state, device, threads, progress
        As for all aligners: the view that the others are compared with, the seed, where graphs run, the
        number of threads (0: all), and whether progress is shown.

    References
    ----------
    Gower, Generalized Procrustes Analysis, Psychometrika 40 (1975).
    """

    _plugin = "procrustes"

    def __init__(
        self,
        dimensions=None,
        curve=None,
        *,
        anchor=None,
        random_state=0,
        device="cpu",
        threads=0,
        progress=False,
    ):
        self.dimensions = dimensions
        self.curve = curve
        self.anchor = anchor
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.progress = progress


class Ridge(Aligner):
    """Ridge regression of every other view on one.

    Parameters
    ----------
    ridge : float, optional
        Ridge relative to the largest variance of the view that predicts.
    onto : str, optional
        The view that is predicted, ``"view0"`` or ``"view1"``; the better one when not given.
    curve, anchor, random_state, device, threads, progress
        As :class:`Procrustes`.
    """

    _plugin = "ridge"

    def __init__(
        self,
        ridge=None,
        onto=None,
        curve=None,
        *,
        anchor=None,
        random_state=0,
        device="cpu",
        threads=0,
        progress=False,
    ):
        self.ridge = ridge
        self.onto = onto
        self.curve = curve
        self.anchor = anchor
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.progress = progress


class CCA(Aligner):
    """Regularised canonical correlation of two or more views, with correlation-weighted cosine.

    Parameters
    ----------
    dimensions : int, optional
        Number of canonical directions kept.
    ridge : float, optional
        Ridge relative to the largest variance of the view.
    power : float, optional
        Power of the correlation that weights each direction.
    members : int, optional
        Number of the best settings that are joined into one map; 20 when not given.
    settings : list of dict, optional
        The settings to join, instead of a search: excludes `ridge`, `dimensions` and `power`.
    curve, anchor, random_state, device, threads, progress
        As :class:`Procrustes`.

    References
    ----------
    Hotelling, Relations between two sets of variates, Biometrika 28 (1936); Kettenring, Canonical analysis of
    several sets of variables, Biometrika 58 (1971).
    """

    _plugin = "cca"

    def __init__(
        self,
        dimensions=None,
        ridge=None,
        power=None,
        members=None,
        settings=None,
        curve=None,
        *,
        anchor=None,
        random_state=0,
        device="cpu",
        threads=0,
        progress=False,
    ):
        self.dimensions = dimensions
        self.ridge = ridge
        self.power = power
        self.members = members
        self.settings = settings
        self.curve = curve
        self.anchor = anchor
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.progress = progress


class KernelCCA(CCA):
    """Canonical correlation in the space of a radial kernel; the strongest closed form with few pairs.

    Parameters
    ----------
    widths : list of float, optional
        Widths of the kernels, divided by the mean squared distance; (0.35, 0.7, 1.4) when not given.
    landmarks : int, optional
        Largest number of training items of a view that serve as landmarks; 2000 when not given.
    dimensions, ridge, power, members, settings
        As :class:`CCA`.
    curve, anchor, random_state, device, threads, progress
        As :class:`Procrustes`.

    References
    ----------
    Lai and Fyfe, Kernel and nonlinear canonical correlation analysis, Int. J. Neural Systems 10 (2000).
    """

    _plugin = "kcca"

    def __init__(
        self,
        widths=None,
        landmarks=None,
        dimensions=None,
        ridge=None,
        power=None,
        members=None,
        settings=None,
        curve=None,
        *,
        anchor=None,
        random_state=0,
        device="cpu",
        threads=0,
        progress=False,
    ):
        super().__init__(
            dimensions,
            ridge,
            power,
            members,
            settings,
            curve,
            anchor=anchor,
            random_state=random_state,
            device=device,
            threads=threads,
            progress=progress,
        )
        self.widths = widths
        self.landmarks = landmarks


class TensorCCA(Aligner):
    """Tensor canonical correlation: the product over all views instead of every pair.

    Parameters
    ----------
    dimensions : int, optional
        Number of components; 16 when not given.
    ridge : float, optional
        Ridge relative to the largest variance of each view; 0.1 when not given.
    power : float, optional
        Power of the correlation that weights each component; 1 when not given.
    starts : int, optional
        Random starts of each component; 4 when not given.
    curve, anchor, random_state, device, threads, progress
        As :class:`Procrustes`.

    References
    ----------
    Luo et al., Tensor canonical correlation analysis for multi-view dimension reduction, IEEE TKDE 27 (2015).
    """

    _plugin = "tensor-cca"

    def __init__(
        self,
        dimensions=None,
        ridge=None,
        power=None,
        starts=None,
        curve=None,
        *,
        anchor=None,
        random_state=0,
        device="cpu",
        threads=0,
        progress=False,
    ):
        self.dimensions = dimensions
        self.ridge = ridge
        self.power = power
        self.starts = starts
        self.curve = curve
        self.anchor = anchor
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.progress = progress


class OTMap(Aligner):
    """Wasserstein-Procrustes of two views: a rotation from some pairs and from items without partners.

    Items of rows that only one view has are used as well; see `rows` of ``fit``.

    Parameters
    ----------
    dimensions : int, optional
        Number of principal coordinates kept of each view.
    pairs : int, optional
        Largest number of rows that hold both views and count as pairs; all of them when not given.
    solver : {"sinkhorn", "emd"}, optional
        How the transport plan of each turn is found.
    eps_scale : float, optional
        Sinkhorn's regularisation as a share of the mean cost; 0.05 when not given.
    weight : float, optional
        The weight of an item without a partner, where a pair has weight 1; 0.1 when not given.
    steps : int, optional
        Largest number of turns; 20 when not given.
    map : {"orthogonal", "gaussian", "attention", "canonical"}, optional
        What a rotated item goes through.
    shrinkage : float, optional
        Of a Gaussian map: the share of each covariance that its mean variance replaces.
    curve, anchor, random_state, device, threads, progress
        As :class:`Procrustes`.

    References
    ----------
    Grave, Joulin and Berthet, Unsupervised alignment of embeddings with Wasserstein Procrustes, AISTATS 2019.
    """

    _plugin = "ot-map"

    def __init__(
        self,
        dimensions=None,
        pairs=None,
        solver=None,
        eps_scale=None,
        weight=None,
        steps=None,
        map=None,
        shrinkage=None,
        curve=None,
        *,
        anchor=None,
        random_state=0,
        device="cpu",
        threads=0,
        progress=False,
    ):
        self.dimensions = dimensions
        self.pairs = pairs
        self.solver = solver
        self.eps_scale = eps_scale
        self.weight = weight
        self.steps = steps
        self.map = map
        self.shrinkage = shrinkage
        self.curve = curve
        self.anchor = anchor
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.progress = progress


class MLP(Aligner):
    """Networks into a shared space, trained with weighted terms; started from canonical correlations.

    Parameters
    ----------
    terms : dict, optional
        Weights of the terms of the objective, for example ``{"infonce": 1.0, "ot": 0.1}``.
    d_z : int, optional
        Columns of the shared space; those of the canonical correlations when not given.
    hidden : int, optional
        Hidden units of each network; 256 when not given, 0 for a linear map.
    members : int, optional
        Number of networks that are trained from different seeds; 2 when not given.
    steps, batch : int, optional
        Mini-batches to train for, and examples in each.
    learning_rate, weight_decay, dropout, modality_dropout, noise, tau, epsilon : float, optional
        Of the training; ``chiasm explain mlp`` defines each.
    early_stopping : bool, optional
        Whether the loss on rows held out ends the training.
    anchor, random_state, device, threads, progress
        As :class:`Procrustes`.
    """

    _plugin = "mlp"

    def __init__(
        self,
        terms=None,
        d_z=None,
        hidden=None,
        members=None,
        steps=None,
        batch=None,
        learning_rate=None,
        weight_decay=None,
        dropout=None,
        modality_dropout=None,
        noise=None,
        tau=None,
        epsilon=None,
        early_stopping=None,
        *,
        anchor=None,
        random_state=0,
        device="cpu",
        threads=0,
        progress=False,
    ):
        self.terms = terms
        self.d_z = d_z
        self.hidden = hidden
        self.members = members
        self.steps = steps
        self.batch = batch
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.modality_dropout = modality_dropout
        self.noise = noise
        self.tau = tau
        self.epsilon = epsilon
        self.early_stopping = early_stopping
        self.anchor = anchor
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.progress = progress


class Cycle(Aligner):
    """Maps onto a reference view and back that invert each other, started from ridge regressions.

    Parameters
    ----------
    terms : dict, optional
        Weights of the terms of the objective.
    cycle : float, optional
        Weight of the term ``cycle``.
    hidden : int, optional
        Hidden units of each network; 256 when not given, 0 for linear maps.
    steps, batch : int, optional
        Mini-batches to train for, and examples in each.
    learning_rate, weight_decay : float, optional
        Of the training.
    anchor, random_state, device, threads, progress
        As :class:`Procrustes`.

    References
    ----------
    Zhu et al., Unpaired image-to-image translation using cycle-consistent adversarial networks, ICCV 2017.
    """

    _plugin = "cycle"

    def __init__(
        self,
        terms=None,
        cycle=None,
        hidden=None,
        steps=None,
        batch=None,
        learning_rate=None,
        weight_decay=None,
        *,
        anchor=None,
        random_state=0,
        device="cpu",
        threads=0,
        progress=False,
    ):
        self.terms = terms
        self.cycle = cycle
        self.hidden = hidden
        self.steps = steps
        self.batch = batch
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.anchor = anchor
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.progress = progress


def _plain(value):
    """Returns NumPy numbers and arrays as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(own) for own in value]
    if isinstance(value, dict):
        return {name: _plain(own) for name, own in value.items()}
    return value


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
