//! Orthogonal Procrustes between the leading axes of two or more modalities.
//!
//! Each modality is reduced to its first k principal coordinates, scaled to length one. With two, one is
//! rotated onto the other, the reference, by R = U Vᵀ of AᵀB = U S Vᵀ, which minimises |A R - B| over all
//! orthogonal R (Schoenemann 1966). With more, each but the reference is rotated onto the sum of all others
//! in turn, R_a = polar(Σ_b C_ab R_b), until the rotations converge, which increases Σ tr(R_aᵀ C_ab R_b)
//! over all pairs (generalised Procrustes; Gower 1975). Since a common rotation changes nothing, the
//! reference keeps its own coordinates. C_ab is summed over the rows that hold both. The shape of each
//! modality is kept: distances within k coordinates are those of the encoder.
//!
//! ```
//! use chiasm_closed_form::procrustes::Procrustes;
//! use linfa::prelude::*;
//! use ndarray::Array2;
//!
//! let x = Array2::from_shape_fn((30, 6), |(i, j)| ((i * (2 * j + 3)) as f64).sin());
//! let y = Array2::from_shape_fn((30, 4), |(i, j)| ((i * (2 * j + 3)) as f64).cos());
//! let fitted = Procrustes::params().dimensions(3_usize).fit(&Dataset::new(x, y))?;
//! assert_eq!(fitted.maps[0].output_dim(), 3);
//! # Ok::<(), chiasm_closed_form::Error>(())
//! ```

use chiasm_geometry::linalg::{Svd, product, thin_svd, unit_rows};
use chiasm_parameters::{Parameters, PerModality};
use ndarray::{Array2, ArrayView2, Axis, Slice};
use serde::{Deserialize, Serialize};

use crate::basis::columns;
use crate::features::FeatureSpec;
use crate::fitted::estimator;
use crate::per_modality::resolve;
use crate::prepared::{FoldView, prepare};
use crate::sample::{RowMeans, axes};
use crate::search::{Fold, SearchMethod, Tick, curves, search};
use crate::{Curve, FitContext, Fitted, Result, Views};

const DIMENSIONS: [usize; 10] = [8, 16, 32, 48, 64, 96, 128, 192, 256, 384];
const QUICK: [usize; 3] = [32, 64, 128];
/// Stands for all dimensions, whose number depends on the rows that are fitted on.
const ALL: usize = usize::MAX;
/// With fewer rows all dimensions are kept: folds of a few rows choose by chance, and on vectors of encoders
/// fewer dimensions were worse from 20 pairs on.
const ENOUGH: usize = 100;
/// The largest number of iterations; the iteration ends when no rotation changes by more than [`STILL`]. A
/// search only ranks numbers of dimensions, so it needs few iterations.
pub(crate) const TURNS: usize = 100;
const SEARCH_TURNS: usize = 2;
const STILL: f64 = 1e-6;

/// Parameters of Procrustes; those that are not set are chosen from the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Parameters)]
#[serde(default, deny_unknown_fields)]
#[parameters(builder)]
pub struct ProcrustesParams {
    /// What items go through before they are brought to length one.
    pub curve: Option<PerModality<Curve>>,
    /// Number of principal coordinates kept of each modality.
    #[parameter(range = 1..)]
    pub dimensions: Option<usize>,
}

/// The maps of a fit, and how they were found.
pub type Procrustes = Fitted<ProcrustesParams>;

estimator!(ProcrustesParams);

/// The search over the number of dimensions, given the place of the reference.
pub(crate) struct DimensionSearch {
    pub(crate) dimensions: Option<usize>,
    pub(crate) reference: usize,
    /// The number of rows that hold two or more modalities.
    pub(crate) rows: usize,
}

impl ProcrustesParams {
    /// Fits on the items of two or more modalities.
    ///
    /// # Errors
    /// When a modality does not vary, no chain of rows links the modalities, or the caller asked to stop.
    fn fit_with(&self, views: &Views<'_>, context: FitContext<'_>) -> Result<Procrustes> {
        views.check_linked()?;
        let names = views.names();
        let specs = FeatureSpec::linear(views);
        let candidates = curves(&resolve("curve", self.curve.as_ref(), &names)?);
        let sizes = DimensionSearch {
            dimensions: self.dimensions,
            reference: views.reference(),
            rows: views.shared_rows().len(),
        };
        let found = search(&sizes, views, &specs, &candidates, context)?;
        let least = self.dimensions.unwrap_or(0);
        let prepared = prepare(views, &specs, &found.curves, |rows| axes(rows).max(least))?;
        let rank = prepared.iter().map(|view| view.basis.rank()).min().unwrap_or(1);
        let k = found.ranked[0].min(rank);
        let means: Vec<RowMeans> =
            prepared.iter().map(|view| leading(&view.coordinates, &view.rows, k)).collect();
        let rotations = rotations(&crosses(&means)?, views.reference(), TURNS)?;
        let lift = |rank: usize, rotation: &Array2<f64>| {
            let mut out = Array2::zeros((rank, k));
            out.slice_axis_mut(Axis(0), Slice::from(..k)).assign(rotation);
            out
        };
        let maps = prepared.into_iter().zip(&rotations).map(|(view, rotation)| {
            let weights = lift(view.basis.rank(), rotation);
            view.map(&weights)
        });
        let parameters = Self { curve: Some(PerModality::each(&names, &found.curves)), dimensions: Some(k) };
        Ok(Fitted { maps: maps.collect::<Result<_>>()?, parameters, report: found.report, unpaired: None })
    }
}

impl SearchMethod for DimensionSearch {
    type Candidate = usize;

    fn candidates(&self, ranks: &[usize], quick: bool) -> Vec<usize> {
        let rank = ranks.iter().copied().min().unwrap_or(1).max(1);
        let list: &[usize] = match quick {
            _ if self.rows < ENOUGH => &[],
            true => &QUICK,
            false => &DIMENSIONS,
        };
        let fewer = list.iter().copied().filter(|&k| k < rank);
        self.dimensions.map_or_else(|| fewer.chain([ALL]).collect(), |k| vec![k])
    }

    fn scores(&self, fold: &Fold<'_>, candidates: &[usize], tick: Tick<'_>) -> Result<Vec<f64>> {
        let rank = fold.views.iter().map(|view| view.basis.rank()).min().unwrap_or(1);
        let mut out = Vec::with_capacity(candidates.len());
        for &k in candidates {
            tick()?;
            let k = k.min(rank);
            let means: Vec<RowMeans> =
                fold.views.iter().map(|view| leading(&view.train, &view.rows, k)).collect();
            let rotations = rotations(&crosses(&means)?, self.reference, SEARCH_TURNS)?;
            let image = |(at, rotation): (usize, &Array2<f64>)| -> Result<Array2<f64>> {
                let rows = columns(&fold.views[at].test, k);
                let turned = if at == self.reference { rows.to_owned() } else { product(&rows, rotation)? };
                Ok(unit_rows(turned))
            };
            let images: Vec<_> = rotations.iter().enumerate().map(image).collect::<Result<_>>()?;
            out.push(fold.criterion(&images)?);
        }
        Ok(out)
    }
}

/// The images of the test items of both modalities of a fold under a fit on its training items, in `k`
/// dimensions or all.
pub(crate) fn images_of_fold(
    fold: [&FoldView; 2],
    k: Option<usize>,
    reference: usize,
) -> Result<[Array2<f64>; 2]> {
    let k = fold.map(|view| view.basis.rank()).into_iter().min().unwrap_or(1).min(k.unwrap_or(ALL));
    let means = fold.map(|view| leading(&view.train, &view.rows, k));
    let rotations = rotations(&crosses(&means)?, reference, SEARCH_TURNS)?;
    let image = |at: usize| product(&unit_rows(columns(&fold[at].test, k).to_owned()), &rotations[at]);
    Ok([image(0)?, image(1)?])
}

/// The row means of the first k coordinates, after scaling each item to length one.
fn leading(coordinates: &Array2<f64>, rows: &[usize], k: usize) -> RowMeans {
    RowMeans::of(unit_rows(columns(coordinates, k).to_owned()), rows)
}

/// C_ab `[k, k]` of each modality a with each modality b, and the number of rows that hold both.
pub(crate) type Crosses = Vec<Vec<(Array2<f64>, usize)>>;

/// The products of all modalities over the rows that hold both.
fn crosses(modalities: &[RowMeans]) -> Result<Crosses> {
    let with = |a: &RowMeans, b: &RowMeans| -> Result<(Array2<f64>, usize)> {
        let (first, second) = a.shared(b);
        Ok((product(&first.t(), &second)?, first.nrows()))
    };
    modalities.iter().map(|a| modalities.iter().map(|b| with(a, b)).collect()).collect()
}

/// Returns the rotation `[k, k]` of each modality after at most `turns` iterations; the reference keeps the
/// identity.
pub(crate) fn rotations(crosses: &Crosses, reference: usize, turns: usize) -> Result<Vec<Array2<f64>>> {
    let count = crosses.len();
    let k = crosses[reference][reference].0.nrows();
    let mut rotations: Vec<Option<Array2<f64>>> = vec![None; count];
    rotations[reference] = Some(Array2::eye(k));
    // next is the modality that shares the most rows with those that have a rotation
    while let Some(next) = (0..count).filter(|&at| rotations[at].is_none()).max_by_key(|&at| {
        let rows = |b: usize| if rotations[b].is_some() { crosses[at][b].1 } else { 0 };
        ((0..count).map(rows).sum::<usize>(), std::cmp::Reverse(at))
    }) {
        rotations[next] = Some(rotation_onto(next, crosses, &rotations)?);
    }
    for _ in 0..if count == 2 { 0 } else { turns } {
        let mut moved: f64 = 0.0;
        for at in (0..count).filter(|&at| at != reference) {
            let next = rotation_onto(at, crosses, &rotations)?;
            if let Some(last) = &rotations[at] {
                moved = moved.max((&next - last).iter().map(|d| d * d).sum::<f64>().sqrt());
            }
            rotations[at] = Some(next);
        }
        if moved < STILL {
            break;
        }
    }
    Ok(rotations.into_iter().map(|rotation| rotation.unwrap_or_else(|| Array2::eye(k))).collect())
}

/// The rotation of one modality onto the sum of all others that have one.
fn rotation_onto(at: usize, crosses: &Crosses, rotations: &[Option<Array2<f64>>]) -> Result<Array2<f64>> {
    let k = crosses[at][at].0.nrows();
    let mut pull = Array2::zeros((k, k));
    for (b, rotation) in rotations.iter().enumerate().filter(|(b, _)| *b != at) {
        let (cross, rows) = &crosses[at][b];
        if let Some(rotation) = rotation.as_ref().filter(|_| *rows > 0) {
            pull += &product(cross, rotation)?;
        }
    }
    polar(pull.view())
}

/// The orthogonal matrix nearest to a square one.
pub(crate) fn polar(matrix: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
    let Svd { u, v, .. } = thin_svd(matrix)?;
    Ok(product(&u, &v.t())?)
}
