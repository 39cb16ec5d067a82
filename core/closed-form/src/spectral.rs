//! The linear algebra of canonical correlation, shared by the linear and the kernel form.
//!
//! Each modality is taken in its spectral basis (coordinates a with variances v) and whitened with a ridge r
//! relative to the top variance, W_a = (v + r v₁)^-½. R is the symmetric matrix of the blocks W_a E[a bᵀ] W_b
//! of all pairs, its diagonal blocks zero. The eigenvectors of 1 + R with the largest eigenvalues λ are the
//! directions of maximum-variance generalised canonical correlation (MAXVAR; Kettenring 1971), and their mean
//! (shrunken) correlation is ρ = (λ - 1) / (M - 1). For M = 2 they are the singular vectors and values of the
//! one block: canonical correlation (Hotelling 1936). With missing rows the blocks are estimated from the
//! available cases, as in [`crate::cca`].
//!
//! A setting keeps the first `dimensions` directions and weights each by ρ^power: its similarity of items of
//! a and b is the bilinear form aᵀ M_ab b, M_ab = U_a ρ^2power U_bᵀ, U_a the directions in unwhitened
//! coordinates. Several settings are joined by averaging these forms, each scaled to unit mean similarity,
//! and factoring the mean once more: by the singular value decomposition of v^½ M_ab w^½ for M = 2, and for
//! more by the eigenvectors of the matrix of all blocks, M_aa among them, which leaves a single setting
//! unchanged. The result is one linear map per modality. It varies less than the map of the best setting,
//! which is partly chosen by chance.

use std::ops::Range;

use chiasm_geometry::linalg::{Eigen, Svd, product, symmetric_eigen, thin_svd, unit_rows};
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis, Slice, concatenate};
use rayon::prelude::*;

use crate::basis::{columns, damped};
use crate::crosses::CrossCovariances;
use crate::views::pairs;
use crate::{Error, Result};

/// Directions of the joint form weaker than this share of the strongest are dropped: the map could not be
/// inverted along them.
const FLOOR: f64 = 1e-6;

/// One setting, with the ridge of each modality in the order of the views.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CcaCandidate {
    pub(crate) ridges: Vec<f64>,
    pub(crate) dimensions: usize,
    pub(crate) power: f64,
}

/// Canonical directions of one list of ridges, in the coordinates of the bases.
pub(crate) struct Directions {
    /// By modality, `[rank, directions]`.
    vectors: Vec<Array2<f64>>,
    correlations: Array1<f64>,
}

impl Directions {
    /// Computes at most `limit` directions of modalities with these variances.
    pub(crate) fn of(
        variances: &[&Array1<f64>],
        crosses: &CrossCovariances,
        ridges: &[f64],
        limit: usize,
    ) -> Result<Self> {
        let damped: Vec<Array1<f64>> =
            variances.iter().zip(ridges).map(|(variances, &ridge)| damped(variances, ridge)).collect();
        let whitening: Vec<Array1<f64>> = damped.iter().map(|values| values.mapv(|w| w.powf(-0.5))).collect();
        let whitened = |a: usize, b: usize| -> Result<Array2<f64>> {
            Ok(crosses.get(a, b, &damped)? * whitening[a].view().insert_axis(Axis(1)) * &whitening[b])
        };
        if variances.len() == 2 {
            let Svd { u, s, v } = thin_svd(whitened(0, 1)?.view())?;
            let vectors = [u, v].into_iter().zip(&whitening);
            let vectors = vectors.map(|(part, w)| part * w.view().insert_axis(Axis(1))).collect();
            return Ok(Self { vectors, correlations: s });
        }
        let count = variances.len();
        let starts = starts(variances.iter().map(|values| values.len()));
        let size = starts[count];
        let mut blocks = Array2::zeros((size, size));
        for (a, b) in pairs(count) {
            let block = whitened(a, b)?;
            let (rows, columns) = (starts[a]..starts[a + 1], starts[b]..starts[b + 1]);
            part_mut(&mut blocks, rows.clone(), columns.clone()).assign(&block);
            part_mut(&mut blocks, columns, rows).assign(&block.t());
        }
        let Eigen { values, vectors } = symmetric_eigen(blocks.view())?;
        let kept = values.iter().take_while(|&&value| value > FLOOR * values[0]).count().min(limit);
        // for two modalities each part of a direction has unit length; here the mean square length is one
        let scale = (count as f64).sqrt();
        let part = |at: usize| {
            let rows = vectors.slice_axis(Axis(0), Slice::from(starts[at]..starts[at + 1]));
            &rows.slice_axis(Axis(1), Slice::from(..kept)) * scale * whitening[at].view().insert_axis(Axis(1))
        };
        let others = (count - 1) as f64;
        Ok(Self {
            vectors: (0..count).map(part).collect(),
            correlations: values.iter().take(kept).map(|value| value / others).collect(),
        })
    }

    /// Projects `rows [n, rank]` of each modality on all directions, without weights.
    pub(crate) fn images(&self, rows: &[Array2<f64>]) -> Result<Vec<Array2<f64>>> {
        rows.iter().zip(&self.vectors).map(|(rows, vectors)| Ok(product(rows, vectors)?)).collect()
    }

    /// Returns the images weighted by a setting and scaled to unit rows.
    pub(crate) fn weighted(&self, images: &[Array2<f64>], at: &CcaCandidate) -> Vec<Array2<f64>> {
        let weights = self.weights(at);
        images.iter().map(|image| unit_rows(&columns(image, weights.len()) * &weights)).collect()
    }

    fn weights(&self, at: &CcaCandidate) -> Array1<f64> {
        self.correlations.iter().take(at.dimensions).map(|rho| rho.powf(at.power)).collect()
    }
}

/// Joins settings: returns the weights `[rank, k]` of each modality in the coordinates of its basis.
pub(crate) fn join(
    variances: &[&Array1<f64>],
    crosses: &CrossCovariances,
    settings: &[CcaCandidate],
) -> Result<Vec<Array2<f64>>> {
    let widest = settings.iter().map(|setting| setting.dimensions).max().unwrap_or(1);
    let groups: Vec<&[CcaCandidate]> = settings.chunk_by(|a, b| a.ridges == b.ridges).collect();
    let found: Vec<Directions> = groups
        .par_iter()
        .map(|group| Directions::of(variances, crosses, &group[0].ridges, widest))
        .collect::<Result<_>>()?;
    let roots: Vec<Array1<f64>> = variances.iter().map(|variances| variances.mapv(f64::sqrt)).collect();
    // v^½ U ρ^power of each setting, by modality, scaled to unit mean similarity
    let mut factors: Vec<Vec<Array2<f64>>> = Vec::new();
    for (group, found) in groups.iter().zip(&found) {
        for setting in *group {
            factors.extend(scaled(&roots, found, setting));
        }
    }
    let none = || Error::data("shared rows", "modalities that vary together", "no correlation at all");
    if factors.is_empty() {
        return Err(none());
    }
    let (vectors, values) = factored(&side_by_side(&factors)?)?;
    let k = values.iter().take_while(|&&value| value > FLOOR * values[0]).count().min(widest);
    if k == 0 {
        return Err(none());
    }
    let lengths: Array1<f64> = values.iter().take(k).map(|value| value.sqrt()).collect();
    let part = |(vectors, roots): (&Array2<f64>, &Array1<f64>)| {
        &columns(vectors, k) * &lengths / roots.view().insert_axis(Axis(1))
    };
    Ok(vectors.iter().zip(&roots).map(part).collect())
}

/// Returns the factors of one setting's form; `None` if the form is zero.
fn scaled(roots: &[Array1<f64>], found: &Directions, setting: &CcaCandidate) -> Option<Vec<Array2<f64>>> {
    let weights = found.weights(setting);
    let factors: Vec<Array2<f64>> = found
        .vectors
        .iter()
        .zip(roots)
        .map(|(vectors, roots)| {
            &columns(vectors, weights.len()) * &weights * roots.view().insert_axis(Axis(1))
        })
        .collect();
    let energy = |factor: &Array2<f64>| factor.iter().map(|x| x * x).sum::<f64>();
    let mean = factors.iter().map(energy).product::<f64>().powf(1.0 / roots.len() as f64);
    let scale = mean.sqrt();
    (scale > 0.0).then(|| factors.into_iter().map(|factor| factor / scale).collect())
}

/// Returns the vectors of each modality and the values of the mean form with these factors, in descending
/// order.
fn factored(factors: &[Array2<f64>]) -> Result<(Vec<Array2<f64>>, Array1<f64>)> {
    if let [a, b] = factors {
        let Svd { u, s, v } = thin_svd(product(a, &b.t())?.view())?;
        return Ok((vec![u, v], s));
    }
    let all = stacked(Axis(0), factors.iter())?;
    let form = product(&all, &all.t())?;
    let starts = starts(factors.iter().map(Array2::nrows));
    let Eigen { values, vectors } = symmetric_eigen(form.view())?;
    let part = |at: usize| vectors.slice_axis(Axis(0), Slice::from(starts[at]..starts[at + 1])).to_owned();
    Ok(((0..factors.len()).map(part).collect(), values))
}

/// Concatenates the factors of all settings: the product of two results is the sum over the settings.
fn side_by_side(factors: &[Vec<Array2<f64>>]) -> Result<Vec<Array2<f64>>> {
    let count = factors.first().map_or(0, Vec::len);
    (0..count).map(|at| stacked(Axis(1), factors.iter().map(|setting| &setting[at]))).collect()
}

fn stacked<'a>(axis: Axis, parts: impl Iterator<Item = &'a Array2<f64>>) -> Result<Array2<f64>> {
    let views: Vec<ArrayView2<'_, f64>> = parts.map(Array2::view).collect();
    concatenate(axis, &views).map_err(|e| Error::data("factors of a form", "sizes that fit", e.to_string()))
}

/// Returns the start of each of the concatenated parts of these lengths, and the end of the last.
fn starts(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let sums = lengths.scan(0, |sum, length| {
        *sum += length;
        Some(*sum)
    });
    std::iter::once(0).chain(sums).collect()
}

/// Returns a mutable view of these rows and columns.
fn part_mut(matrix: &mut Array2<f64>, rows: Range<usize>, columns: Range<usize>) -> ArrayViewMut2<'_, f64> {
    let mut part = matrix.view_mut();
    part.slice_axis_inplace(Axis(0), Slice::from(rows));
    part.slice_axis_inplace(Axis(1), Slice::from(columns));
    part
}
