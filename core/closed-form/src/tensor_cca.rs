//! Tensor canonical correlation of two or more modalities: one product of all instead of one of every pair.
//!
//! For whitened modalities h_1, ..., h_M it looks for unit vectors u_m whose canonical variables multiply to
//! a large mean,
//!
//! ```text
//! rho = E[(u_1 · h_1) (u_2 · h_2) ... (u_M · h_M)],    h_m = (W_m + ridge w_m1)^(-1/2) (x_m - mean_m)
//! ```
//!
//! which is the best rank-one approximation of the covariance tensor E[h_1 ∘ ... ∘ h_M] (Luo et al. 2015,
//! arXiv 1502.02330, section 4). Each vector in turn is set to the tensor's contraction with the others (the
//! higher-order power method, De Lathauwer et al. 2000, algorithm 3.1), from several starts; the next
//! component is fitted to what the earlier ones leave. The tensor is never formed: a contraction is a mean
//! over rows, so a sweep costs M products of `[n, r]` and a vector, where all pairs cost M (M - 1) / 2 of
//! `[n, r]` and `[n, r]`.
//!
//! For two modalities it is canonical correlation. For an odd number it has a limit that the text does not
//! state: the mean of an odd product of factors with a symmetric distribution is zero, however strongly the
//! modalities depend on each other. Then `cca`, whose cost does not grow with the pairs either, is the method
//! to use; the report of a fit has the correlations, which show the case.
//!
//! Only rows that hold every modality are fitted on; several items of a row count as their mean.
//!
//! ```
//! use chiasm_closed_form::tensor_cca::TensorCca;
//! use linfa::prelude::*;
//! use ndarray::Array2;
//!
//! let x = Array2::from_shape_fn((30, 6), |(i, j)| ((i * (2 * j + 3)) as f64).sin());
//! let y = Array2::from_shape_fn((30, 4), |(i, j)| ((i * (2 * j + 3)) as f64).cos());
//! let fitted = TensorCca::params().dimensions(3_usize).fit(&Dataset::new(x, y))?;
//! assert_eq!(fitted.maps[0].output_dim(), 3);
//! # Ok::<(), chiasm_closed_form::Error>(())
//! ```

use chiasm_geometry::random::Random;
use chiasm_parameters::{Parameters, PerModality};
use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::basis::damped;
use crate::features::FeatureSpec;
use crate::fitted::estimator;
use crate::per_modality::resolve;
use crate::prepared::{Prepared, prepare};
use crate::sample::{RowMeans, axes, common_rows};
use crate::{Curve, Error, FitContext, Fitted, Map, Result, Views};

/// A start ends when its correlation grows by less than this share.
const TOLERANCE: f64 = 1e-9;
const SWEEPS: usize = 200;

/// Parameters of tensor canonical correlation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Parameters)]
#[serde(default, deny_unknown_fields)]
#[parameters(builder)]
pub struct TensorCcaParams {
    /// What items go through before they are brought to length one; `unit` when not set.
    pub curve: Option<PerModality<Curve>>,
    /// Ridge relative to the largest variance of each modality.
    #[parameter(default = 0.1, range = 0..=1000)]
    pub ridge: f64,
    /// Number of components; the least rank of a modality bounds it.
    #[parameter(default = 16, range = 1..=4096)]
    pub dimensions: usize,
    /// Power of the correlation that weights each component.
    #[parameter(default = 1.0, range = 0..=10)]
    pub power: f64,
    /// Random starts of each component; the one with the largest correlation is kept.
    #[parameter(default = 4, range = 1..=256)]
    pub starts: usize,
}

/// The maps of a fit, and how they were found.
pub type TensorCca = Fitted<TensorCcaParams>;

estimator!(TensorCcaParams);

impl TensorCcaParams {
    fn fit_with(&self, views: &Views<'_>, context: FitContext<'_>) -> Result<TensorCca> {
        let curves: Vec<Curve> = resolve("curve", self.curve.as_ref(), &views.names())?
            .into_iter()
            .map(|curve| curve.unwrap_or(Curve::Unit))
            .collect();
        let mut prepared = prepare(views, &FeatureSpec::linear(views), &curves, axes)?;
        let means: Vec<RowMeans> = prepared
            .iter_mut()
            .map(|view| RowMeans::of(std::mem::take(&mut view.coordinates), &view.rows))
            .collect();
        let rows = common_rows(&means);
        let count = rows.first().map_or(0, Array2::nrows);
        if count < 2 {
            let expected = "2 or more rows that hold every modality";
            return Err(Error::data("training rows", expected, count.to_string()));
        }
        let scales: Vec<Array1<f64>> = prepared
            .iter()
            .map(|view| damped(&view.basis.variances, self.ridge).mapv(|w| 1.0 / w.sqrt()))
            .collect();
        let whitened = rows.into_iter().zip(&scales).map(|(rows, scale)| centred(rows) * scale).collect();
        let components = RankOneFit::new(whitened, context).components(self)?;
        if components.is_empty() {
            let expected = "canonical variables with a product whose mean is not zero";
            return Err(Error::data("training rows", expected, format!("none in {count} rows")));
        }
        let maps =
            prepared.into_iter().enumerate().map(|(at, view)| self.map(view, at, &scales, &components));
        let curve = Some(PerModality::each(&views.names(), &curves));
        Ok(Fitted {
            maps: maps.collect::<Result<_>>()?,
            parameters: Self { curve, ..self.clone() },
            report: None,
            unpaired: None,
        })
    }

    /// The map of the modality `at`: whiten, project on the components, weight them by their correlations.
    fn map(&self, view: Prepared, at: usize, scales: &[Array1<f64>], found: &[RankOne]) -> Result<Map> {
        let mut weights = Array2::zeros((scales[at].len(), found.len()));
        for (component, mut column) in found.iter().zip(weights.columns_mut()) {
            column.assign(&(&component.vectors[at] * &scales[at] * component.correlation.powf(self.power)));
        }
        view.map(&weights)
    }
}

/// Rows minus their mean.
fn centred(mut rows: Array2<f64>) -> Array2<f64> {
    let mean = rows.sum_axis(Axis(0)) / rows.nrows() as f64;
    rows -= &mean;
    rows
}

/// A rank-one term of the covariance tensor.
#[derive(Debug, Clone)]
struct RankOne {
    /// The unit vector of each modality.
    vectors: Vec<Array1<f64>>,
    /// The mean product of the canonical variables, at least 0.
    correlation: f64,
}

/// Fits rank-one terms to the covariance tensor of whitened modalities `[n, r_m]`.
struct RankOneFit<'a> {
    whitened: Vec<Array2<f64>>,
    context: FitContext<'a>,
    random: Random,
}

impl<'a> RankOneFit<'a> {
    fn new(whitened: Vec<Array2<f64>>, context: FitContext<'a>) -> Self {
        Self { whitened, random: Random::new(context.seed), context }
    }

    fn components(mut self, parameters: &TensorCcaParams) -> Result<Vec<RankOne>> {
        let rank = self.whitened.iter().map(Array2::ncols).min().unwrap_or(0);
        let count = parameters.dimensions.min(rank);
        let mut found: Vec<RankOne> = Vec::with_capacity(count);
        for done in 0..count {
            if !(self.context.progress)(done as u64, count as u64) {
                return Err(Error::Cancelled);
            }
            let starts = (0..parameters.starts).map(|_| self.start()).collect::<Vec<_>>();
            let fitted = starts.into_iter().map(|start| self.improved(start, &found));
            let best = fitted.max_by(|a, b| a.correlation.total_cmp(&b.correlation));
            let Some(best) = best.filter(|best| best.correlation > 0.0) else { break };
            found.push(best);
        }
        let mut found: Vec<RankOne> = found.into_iter().map(|term| self.with_signs(term)).collect();
        found.sort_by(|a, b| b.correlation.total_cmp(&a.correlation));
        Ok(found)
    }

    /// Random unit vectors.
    fn start(&mut self) -> Vec<Array1<f64>> {
        let draw =
            |width: usize, random: &mut Random| Array1::from_shape_simple_fn(width, || random.normal());
        let widths: Vec<usize> = self.whitened.iter().map(Array2::ncols).collect();
        widths.into_iter().map(|width| unit(draw(width, &mut self.random)).0).collect()
    }

    /// Sweeps over the modalities until the correlation no longer grows.
    fn improved(&self, mut vectors: Vec<Array1<f64>>, earlier: &[RankOne]) -> RankOne {
        let mut variables: Vec<Array1<f64>> =
            self.whitened.iter().zip(&vectors).map(|(rows, vector)| rows.dot(vector)).collect();
        let mut correlation = 0.0;
        for _ in 0..SWEEPS {
            let before = correlation;
            for at in 0..vectors.len() {
                let contraction = self.contraction(at, &variables, &vectors, earlier);
                (vectors[at], correlation) = unit(contraction);
                variables[at] = self.whitened[at].dot(&vectors[at]);
            }
            if correlation - before <= TOLERANCE * correlation {
                break;
            }
        }
        RankOne { vectors, correlation }
    }

    /// The contraction of the tensor, less the earlier terms, with the vectors of all modalities but one.
    fn contraction(
        &self,
        at: usize,
        variables: &[Array1<f64>],
        vectors: &[Array1<f64>],
        earlier: &[RankOne],
    ) -> Array1<f64> {
        let rows = self.whitened[at].nrows();
        let others = variables.iter().enumerate().filter(|(other, _)| *other != at);
        let product = others.fold(Array1::from_elem(rows, 1.0 / rows as f64), |all, (_, own)| all * own);
        let mut sum = product.dot(&self.whitened[at]);
        for term in earlier {
            let others = vectors.iter().zip(&term.vectors).enumerate().filter(|(other, _)| *other != at);
            let overlap: f64 = others.map(|(_, (own, theirs))| own.dot(theirs)).product();
            sum.scaled_add(-term.correlation * overlap, &term.vectors[at]);
        }
        sum
    }

    /// Changes signs, which the tensor leaves free in pairs, so that every canonical variable correlates
    /// positively with that of the first modality.
    fn with_signs(&self, mut term: RankOne) -> RankOne {
        let first = self.whitened[0].dot(&term.vectors[0]);
        for (rows, vector) in self.whitened.iter().zip(&mut term.vectors).skip(1) {
            if rows.dot(vector).dot(&first) < 0.0 {
                vector.mapv_inplace(|x| -x);
            }
        }
        term
    }
}

/// The vector at length one, and its length.
fn unit(vector: Array1<f64>) -> (Array1<f64>, f64) {
    let length = vector.dot(&vector).sqrt();
    (if length > 0.0 { vector / length } else { vector }, length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiasm_geometry::linalg::symmetric_eigen;

    /// Views of `factors` common factors with noise, whitened; `skewed` factors are exponential.
    fn whitened(count: usize, factors: usize, skewed: bool) -> Vec<Array2<f64>> {
        let mut random = Random::new(3);
        let mut draw = || if skewed { -random.uniform().max(1e-12).ln() - 1.0 } else { random.normal() };
        let common = Array2::from_shape_simple_fn((600, factors), &mut draw);
        let mut random = Random::new(8);
        (0..count)
            .map(|at| {
                let mixing = Array2::from_shape_simple_fn((factors, factors + at), || random.normal());
                let noise = Array2::from_shape_simple_fn((600, factors + at), || random.normal());
                let rows = centred(common.dot(&mixing) + noise * 0.2);
                let covariance = rows.t().dot(&rows) / 600.0;
                let eigen = symmetric_eigen(covariance.view()).unwrap();
                rows.dot(&(eigen.vectors / eigen.values.mapv(f64::sqrt)))
            })
            .collect()
    }

    fn components(whitened: Vec<Array2<f64>>, dimensions: usize) -> Vec<RankOne> {
        let parameters = TensorCcaParams { dimensions, ..TensorCcaParams::default() };
        RankOneFit::new(whitened, FitContext::default()).components(&parameters).unwrap()
    }

    /// For two modalities the components are the singular vectors of the cross-covariance, whose squared
    /// singular values are eigenvalues of C Cᵀ. The power method converges to 1e-9 of a correlation.
    #[test]
    fn two_modalities_have_their_canonical_correlations() {
        let rows = whitened(2, 4, false);
        let cross = rows[0].t().dot(&rows[1]) / 600.0;
        let expected = symmetric_eigen(cross.dot(&cross.t()).view()).unwrap().values.mapv(f64::sqrt);
        let found = components(rows, 4);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found.correlation - expected).abs() < 1e-5, "{} {expected}", found.correlation);
        }
    }

    /// The correlation is that of the tensor summed entry by entry, and no vectors from 300 random starts of
    /// plain gradient steps on that tensor reach a larger one.
    #[test]
    fn the_first_component_is_the_best_rank_one_term_of_the_tensor() {
        let rows = whitened(3, 3, true);
        let best = components(rows.clone(), 1).remove(0);
        let value = |vectors: &[Array1<f64>]| {
            let mut sum = 0.0;
            for n in 0..600 {
                for i in 0..3 {
                    for j in 0..4 {
                        for k in 0..5 {
                            let entry = rows[0][[n, i]] * rows[1][[n, j]] * rows[2][[n, k]] / 600.0;
                            sum += entry * vectors[0][i] * vectors[1][j] * vectors[2][k];
                        }
                    }
                }
            }
            sum
        };
        assert!((value(&best.vectors).abs() - best.correlation).abs() < 1e-9);
        let mut random = Random::new(9);
        for _ in 0..300 {
            let vectors: Vec<Array1<f64>> =
                [3, 4, 5].map(|width| unit(Array1::from_shape_simple_fn(width, || random.normal())).0).into();
            assert!(value(&vectors).abs() <= best.correlation, "a random start is better");
        }
    }

    /// The centred values of two rows differ in sign only, so every product of three has mean zero.
    #[test]
    fn a_product_that_vanishes_is_an_error() {
        let items = ndarray::array![[1.0_f32, 0.0], [0.0, 1.0]];
        let view = |name: &str| crate::View {
            name: name.to_owned(),
            blocks: vec![2],
            items: items.view(),
            rows: vec![0, 1],
        };
        let views = Views::new(["a", "b", "c"].map(view).into(), None, Vec::new()).unwrap();
        let error = TensorCcaParams::default().fit_with(&views, FitContext::default()).unwrap_err();
        assert!(error.to_string().contains("none in 2 rows"), "{error}");
    }

    /// Three modalities of skewed factors have large mean products; those of normal factors, whose third
    /// moments are zero, do not, although the modalities are as dependent. With 600 rows chance is near 0.2.
    #[test]
    fn an_odd_product_of_symmetric_factors_vanishes() {
        let [skewed, normal] = [true, false].map(|skewed| components(whitened(3, 3, skewed), 3));
        assert!(skewed.iter().all(|one| one.correlation > 0.8), "{skewed:?}");
        assert!(normal.iter().all(|one| one.correlation < 0.5), "{normal:?}");
    }
}
