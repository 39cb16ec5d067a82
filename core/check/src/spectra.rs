//! Singular values of Jacobians, and the largest rank that a map can attain.
//!
//! Many maps return unit vectors, and many divide their input by its length first. Neither is a defect: the
//! derivative along the length is then zero by construction. Both constraints are detected from the values of
//! the map: it ignores the length of its input if f(2x) = f(x), and its images lie on a sphere if all have
//! one length. The direction that is lost is then projected out of every Jacobian, J - J x xᵀ/|x|² and J - z
//! zᵀ J/|z|², so that its singular value is zero and no tolerance decides whether it counts.
//!
//! A map that was fitted learns only the s dimensions that its training rows span, and has no reason to reach
//! more than the t dimensions that the rows span which it was fitted to reach. The attainable rank is
//!
//! min(min(d, s) - [ignores length], min(o, s, t) - [on a sphere]).
//!
//! At a point where inputs are left out because the slope by them is infinite, d is without them, and s
//! without those of them that vary. Rank, condition number and log-volume refer to the attainable rank.

use chiasm_geometry::linalg::{product, symmetric_eigen};
use chiasm_geometry::spectrum::singular_values;
use ndarray::{Array1, Array2, ArrayView2, Axis, Slice, concatenate};
use serde::Serialize;

use crate::map::{Jacobians, LearnedMap};
use crate::{CheckSettings, Result};

/// Images of x and 2x are the same if they differ by less than this fraction of the spread of all images, and
/// lengths are the same if they differ by less than this fraction. It is far above the rounding of single
/// precision (1e-6) and far below what a map does that does not normalise.
const SAME: f64 = 1e-4;
/// The unit roundoff of single precision: smaller values, relative to the largest, are rounding and count as
/// this.
const ROUNDING: f64 = 1.0 / (1 << 24) as f64;

/// Above this many dimensions on both sides Jacobians are not formed: 2048² numbers per point, and cubic
/// time.
pub(crate) const WIDE: usize = 2048;

/// Which of a map's input and output are constrained to a sphere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SphereConstraints {
    /// `f(c x) = f(x)` for `c > 0`: the map depends only on the direction of its input.
    pub ignores_length: bool,
    /// `|f(x)|` is constant: the images lie on a sphere.
    pub on_sphere: bool,
}

impl SphereConstraints {
    /// Returns the number of input dimensions that the map can distinguish, for inputs of this width.
    pub fn input_dims(self, width: usize) -> usize {
        width.saturating_sub(usize::from(self.ignores_length))
    }

    /// Returns the number of dimensions that images can have, for outputs of this width.
    pub fn output_dims(self, width: usize) -> usize {
        width.saturating_sub(usize::from(self.on_sphere))
    }

    /// Detects the constraints of a map from its images of `points [n, d]`, of twice these points, and of the
    /// points with their coordinates in reverse order, where data has no influence.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn of(map: &LearnedMap<'_>, points: ArrayView2<'_, f32>) -> Result<Self> {
        let images = |rows: ArrayView2<'_, f32>| Ok::<_, crate::Error>(map.apply(rows)?.mapv(f64::from));
        let own = images(points)?;
        let doubled = images(points.mapv(|v| 2.0 * v).view())?;
        let mut mirrored = points;
        mirrored.invert_axis(Axis(1));
        let reversed = images(mirrored)?;
        // A map of a part of space may have no value there.
        let defined = reversed.iter().all(|v| v.is_finite());
        let reversed = if defined { reversed } else { Array2::zeros((0, own.ncols())) };
        let all = concatenate![Axis(0), own, doubled, reversed];
        let lengths = |rows: &Array2<f64>| rows.map_axis(Axis(1), |row| row.dot(&row).sqrt());
        let mean = all.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(all.ncols()));
        let spread = (lengths(&(&all - &mean)).mapv(|v| v * v).mean().unwrap_or_default()).sqrt();
        let moved = lengths(&(&doubled - &own)).into_iter().fold(0.0, f64::max);
        let (shortest, longest) =
            lengths(&all).into_iter().fold((f64::INFINITY, 0.0_f64), |(a, b), v| (a.min(v), b.max(v)));
        let spread_out = spread > 0.0 && all.iter().all(|v| v.is_finite());
        Ok(Self {
            ignores_length: spread_out && moved <= SAME * spread,
            on_sphere: spread_out && longest - shortest <= SAME * longest,
        })
    }

    /// Projects the directions that are lost by construction out of a transposed Jacobian `[d, o]` at the
    /// point `x [d]` with the image `z [o]`.
    pub(crate) fn project(self, jacobian: &Array2<f64>, x: &Array1<f64>, z: &Array1<f64>) -> Array2<f64> {
        let mut projected = jacobian.clone();
        let (x_size, z_size) = (x.dot(x), z.dot(z));
        if self.ignores_length && x_size > 0.0 {
            let along = projected.t().dot(x) / x_size;
            projected -= &outer(x, &along);
        }
        if self.on_sphere && z_size > 0.0 {
            let across = projected.dot(z) / z_size;
            projected -= &outer(&across, z);
        }
        projected
    }
}

/// What limits the rank of a map, beside its widths and its sphere constraints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// The number of dimensions that the data spans.
    pub(crate) spanned: usize,
    /// The number of dimensions that the map was fitted to reach.
    pub(crate) reached: usize,
}

/// The singular values at one point.
pub(crate) struct PointSpectrum {
    pub(crate) values: Array1<f64>,
    /// The number of inputs by which the slope is infinite, and how many of them vary in the data.
    pub(crate) left_out: (usize, usize),
}

/// The singular values of a map's Jacobians at some points.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JacobianSpectra {
    /// Which of the input and output are constrained to a sphere.
    #[serde(flatten)]
    pub spheres: SphereConstraints,
    /// Whether these are all singular values. For very wide maps they are Ritz values of a Lanczos process:
    /// the largest are singular values, the smallest is an upper bound.
    pub exact: bool,
    /// The number of dimensions that the data spans, as far as known.
    pub spanned: usize,
    /// The number of dimensions that the map was fitted to reach, as far as known.
    pub reached: usize,
    /// The largest rank possible.
    pub attainable_rank: usize,
    /// For each point, the largest rank possible there: lower where slopes are infinite.
    pub attainable_ranks: Vec<usize>,
    /// Singular values below this fraction of a point's largest count as zero.
    pub rank_tolerance: f64,
    /// For each point, `min(d, o)` values in descending order (fewer where some slopes are infinite).
    pub singular_values: Vec<Vec<f32>>,
    /// For each point, the number of singular values above the tolerance.
    pub rank: Vec<usize>,
    /// For each point, the largest singular value divided by that at the attainable rank; at most 2²⁴, the
    /// limit of single precision.
    pub condition_number: Vec<f64>,
    /// For each point, the sum of ln s over the attainable rank: the log of the change of volume.
    pub log_volume: Vec<f64>,
}

impl JacobianSpectra {
    /// Computes the spectra at `points [n, d]`, with given sphere constraints.
    ///
    /// # Errors
    /// When the engine refuses, or a Jacobian is not finite.
    pub fn at(
        jacobians: &Jacobians<'_>,
        points: ArrayView2<'_, f32>,
        spheres: SphereConstraints,
        settings: &CheckSettings,
    ) -> Result<Self> {
        let images = jacobians.images(points)?;
        let values = jacobians.each(points, &|_| (), |number, jacobian| {
            let (x, z) = (points.row(number).mapv(f64::from), images.row(number).mapv(f64::from));
            let projected = spheres.project(&jacobian.transposed, &x, &z);
            Ok(PointSpectrum { values: singular_values(projected.view())?, left_out: (0, 0) })
        })?;
        let span = Span { spanned: usize::MAX, reached: usize::MAX };
        Ok(Self::of(values, (points.ncols(), images.ncols()), span, spheres, settings))
    }

    /// Derives the other fields from the singular values at each point, of a map from width `d` to width `o`.
    pub(crate) fn of(
        points: Vec<PointSpectrum>,
        (d, o): (usize, usize),
        span: Span,
        spheres: SphereConstraints,
        settings: &CheckSettings,
    ) -> Self {
        let attainable = |(left_out, varying): (usize, usize)| {
            let kept = d - left_out.min(d);
            let spanned = span.spanned.saturating_sub(varying);
            let reached = o.min(spanned).min(span.reached);
            let possible = spheres.input_dims(kept.min(spanned)).min(spheres.output_dims(reached));
            settings.expected_rank.unwrap_or(possible).min(kept).min(o)
        };
        let ranks: Vec<usize> = points.iter().map(|point| attainable(point.left_out)).collect();
        let tolerance = settings.rank_tolerance;
        let top = |s: &Array1<f64>| s.first().copied().unwrap_or_default();
        let floored = |s: &Array1<f64>, attainable: usize| -> Vec<f64> {
            let floor = (top(s) * ROUNDING).max(f64::from(f32::MIN_POSITIVE));
            s.iter().take(attainable).map(|value| value.max(floor)).collect()
        };
        let rank = |s: &Array1<f64>| s.iter().filter(|value| **value > tolerance * top(s)).count();
        let condition = |s: &Array1<f64>, attainable: usize| {
            if attainable > 0 && top(s) < f64::from(f32::MIN_POSITIVE) {
                return 1.0 / ROUNDING; // a zero Jacobian
            }
            let kept = floored(s, attainable);
            kept.first().zip(kept.last()).map_or(1.0, |(first, last)| first / last)
        };
        let both = || points.iter().map(|point| &point.values).zip(ranks.iter().copied());
        Self {
            spheres,
            exact: d.min(o) <= WIDE,
            spanned: span.spanned.min(d),
            reached: span.reached.min(o),
            attainable_rank: ranks.iter().copied().max().unwrap_or_default(),
            rank_tolerance: tolerance,
            rank: both().map(|(s, _)| rank(s)).collect(),
            condition_number: both().map(|(s, attainable)| condition(s, attainable)).collect(),
            log_volume: both()
                .map(|(s, attainable)| floored(s, attainable).iter().map(|v| v.ln()).sum())
                .collect(),
            singular_values: both().map(|(s, _)| s.iter().map(|v| *v as f32).collect()).collect(),
            attainable_ranks: ranks,
        }
    }

    /// Returns, for each point, the singular value at the attainable rank: how far the map is from folding
    /// there.
    pub fn margins(&self) -> Vec<f64> {
        let last = |(s, rank): (&Vec<f32>, &usize)| s.get(rank.saturating_sub(1)).or(s.last()).copied();
        let both = self.singular_values.iter().zip(&self.attainable_ranks);
        both.map(|both| last(both).map_or(0.0, f64::from)).collect()
    }

    /// Returns the number of points whose rank is below the attainable one.
    pub fn points_short_of_rank(&self) -> usize {
        self.rank.iter().zip(&self.attainable_ranks).filter(|(rank, attainable)| rank < attainable).count()
    }

    /// Returns, for each point, the largest singular value: how far the map stretches there.
    pub fn stretches(&self) -> Vec<f64> {
        self.singular_values.iter().map(|s| s.first().copied().map_or(0.0, f64::from)).collect()
    }
}

/// Returns an orthonormal basis `[d, r]` of the column space of a transposed Jacobian `[d, o]`: the input
/// directions that the map depends on.
///
/// # Errors
/// When the Jacobian is not finite.
pub(crate) fn row_space(jacobian: ArrayView2<'_, f64>, tolerance: f64) -> Result<Array2<f64>> {
    let eigen = symmetric_eigen(product(&jacobian.t(), &jacobian)?.view())?;
    let floor = tolerance * tolerance * eigen.values[0];
    let kept = eigen.values.iter().filter(|value| **value > floor).count();
    let vectors = eigen.vectors.slice_axis(Axis(1), Slice::from(..kept));
    let scale = eigen.values.slice_axis(Axis(0), Slice::from(..kept)).mapv(f64::sqrt);
    Ok(product(&jacobian, &vectors)? / &scale)
}

/// The matrix `a bᵀ`.
pub(crate) fn outer(a: &Array1<f64>, b: &Array1<f64>) -> Array2<f64> {
    Array2::from_shape_fn((a.len(), b.len()), |(i, j)| a[i] * b[j])
}

pub(crate) fn norm(v: &Array1<f64>) -> f64 {
    v.dot(v).sqrt()
}
