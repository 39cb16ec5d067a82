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

============================= ===================
in cca-zoo                    here
============================= ===================
``CCA``, ``RidgeCCA``         ``CCA``
``GCCA``, ``MCCA``            ``CCA``, all views
``KCCA``, ``KGCCA``           ``KernelCCA``
``TCCA``                      ``TensorCCA``
============================= ===================
"""

from dataclasses import dataclass
from typing import ClassVar

from ._aligner import Aligner

__all__ = ["CCA", "MLP", "Cycle", "KernelCCA", "OTMap", "Procrustes", "Ridge", "TensorCCA"]


@dataclass(eq=False, repr=False)
class Procrustes(Aligner):
    """Generalised Procrustes: turns the leading axes of every view onto the others; keeps distances.

    Parameters
    ----------
    dimensions : int, optional
        Number of principal coordinates kept of each view.
    curve : {"unit", "signed-root"}, optional
        What items go through before they are brought to length one.
    anchor, random_state, device, threads, progress
        As for all aligners: the view that the others are compared with, the seed (or a generator of NumPy,
        which draws one), where graphs run, the number of threads (0: all), and whether progress is shown.

    References
    ----------
    Gower, Generalized Procrustes Analysis, Psychometrika 40 (1975).
    """

    _plugin: ClassVar[str] = "procrustes"

    dimensions: int | None = None
    curve: str | None = None


@dataclass(eq=False, repr=False)
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

    _plugin: ClassVar[str] = "ridge"

    ridge: float | None = None
    onto: str | None = None
    curve: str | None = None


@dataclass(eq=False, repr=False)
class CCA(Aligner):
    """Regularised canonical correlation of two or more views, with correlation-weighted cosine.

    Of more than two views it is generalised canonical correlation (GCCA, MAXVAR): ``CCA().fit([x, y, z])``.

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

    _plugin: ClassVar[str] = "cca"

    dimensions: int | None = None
    ridge: float | None = None
    power: float | None = None
    members: int | None = None
    settings: list | None = None
    curve: str | None = None


@dataclass(eq=False, repr=False)
class KernelCCA(Aligner):
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

    _plugin: ClassVar[str] = "kcca"

    widths: list | None = None
    landmarks: int | None = None
    dimensions: int | None = None
    ridge: float | None = None
    power: float | None = None
    members: int | None = None
    settings: list | None = None
    curve: str | None = None


@dataclass(eq=False, repr=False)
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

    _plugin: ClassVar[str] = "tensor-cca"

    dimensions: int | None = None
    ridge: float | None = None
    power: float | None = None
    starts: int | None = None
    curve: str | None = None


@dataclass(eq=False, repr=False)
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

    _plugin: ClassVar[str] = "ot-map"

    dimensions: int | None = None
    pairs: int | None = None
    solver: str | None = None
    eps_scale: float | None = None
    weight: float | None = None
    steps: int | None = None
    map: str | None = None
    shrinkage: float | None = None
    curve: str | None = None


@dataclass(eq=False, repr=False)
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

    _plugin: ClassVar[str] = "mlp"

    terms: dict | None = None
    d_z: int | None = None
    hidden: int | None = None
    members: int | None = None
    steps: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    dropout: float | None = None
    modality_dropout: float | None = None
    noise: float | None = None
    tau: float | None = None
    epsilon: float | None = None
    early_stopping: bool | None = None


@dataclass(eq=False, repr=False)
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

    _plugin: ClassVar[str] = "cycle"

    terms: dict | None = None
    cycle: float | None = None
    hidden: int | None = None
    steps: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
