//! Items in the coordinates of their own basis: one modality of all training rows, or of one fold.

use chiasm_geometry::linalg::product;
use ndarray::{Array2, Axis};
use rayon::prelude::*;

use crate::basis::Basis;
use crate::features::{FeatureMap, FeatureSpec};
use crate::sample::{AXES, distinct, selected, weights};
use crate::{Curve, Map, Result, View, Views};

/// The training items of one modality.
pub(crate) struct Prepared {
    pub(crate) features: FeatureMap,
    pub(crate) basis: Basis,
    /// `[items, r]`.
    pub(crate) coordinates: Array2<f64>,
    /// The row of each item.
    pub(crate) rows: Vec<usize>,
}

impl Prepared {
    /// Prepares the items at `places` of a view, with at most `limit(number of rows)` axes.
    pub(crate) fn of(
        view: &View<'_>,
        spec: FeatureSpec<'_>,
        curve: Curve,
        places: &[usize],
        limit: impl Fn(usize) -> usize,
    ) -> Result<Self> {
        let rows = selected(&view.rows, places);
        let items = view.items.select(Axis(0), places);
        let limit = limit(distinct(&rows));
        let features = spec.fit(curve, items.view(), limit)?;
        let values = features.features(items.view())?;
        let basis = Basis::fit(spec.name, &values, weights(&rows).as_ref(), limit)?;
        Ok(Self { coordinates: basis.coordinates(&values)?, features, basis, rows })
    }

    /// Returns the map with these weights, `[r, k]`, on the coordinates.
    pub(crate) fn map(self, weights: &Array2<f64>) -> Result<Map> {
        let weights = product(&self.basis.axes, weights)?;
        Ok(Map::new(self.features, self.basis.mean, Some(weights)))
    }
}

/// Prepares the training items of all modalities.
pub(crate) fn prepare(
    views: &Views<'_>,
    specs: &[FeatureSpec<'_>],
    curves: &[Curve],
    limit: impl Fn(usize) -> usize + Sync,
) -> Result<Vec<Prepared>> {
    let places = views.training();
    (0..views.count())
        .into_par_iter()
        .map(|at| Prepared::of(&views.all()[at], specs[at], curves[at], &places[at], &limit))
        .collect()
}

/// One modality of one fold in the basis of its training items.
pub(crate) struct FoldView {
    pub(crate) basis: Basis,
    /// `[items, r]`.
    pub(crate) train: Array2<f64>,
    /// The row of each training item.
    pub(crate) rows: Vec<usize>,
    /// `[test rows, r]`.
    pub(crate) test: Array2<f64>,
}

/// Prepares one modality of one fold, given the places of its items.
pub(crate) fn fold_view(
    view: &View<'_>,
    spec: FeatureSpec<'_>,
    curve: Curve,
    train: &[usize],
    test: &[usize],
) -> Result<FoldView> {
    let Prepared { features, basis, coordinates, rows } = Prepared::of(view, spec, curve, train, |_| AXES)?;
    let test = basis.coordinates(&features.features(view.items.select(Axis(0), test).view())?)?;
    Ok(FoldView { basis, train: coordinates, rows, test })
}
