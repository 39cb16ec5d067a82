//! Singular values of Jacobians, and how many of them a map can have at most.
//!
//! Maps here often end on the unit sphere, and many divide their input by its length first. Neither is a
//! defect: the derivative along the length is then zero by construction, on both sides. Both ends are found
//! from the Jacobians themselves, exactly and locally: a map keeps to a sphere iff Jᵀ f = 0 (the gradient of
//! |f|²/2), and ignores the length of its input iff J x = 0 (Euler's theorem for degree zero). What is left
//! is the attainable rank
//!
//! min(d - [ignores length], o - [on a sphere]),
//!
//! that of the map between the tangent spaces of the two spheres, or less where the data leaves no more to
//! learn: directions in which the points do not vary (dead inputs), or that no training row spans. Rank,
//! condition number and log-volume are counted on it.

use chiasm_geometry::linalg::{product, symmetric_eigen};
use chiasm_geometry::spectrum::singular_values;
use ndarray::{Array1, Array2, ArrayView2, Axis, Slice};
use serde::Serialize;

use crate::map::Jacobians;
use crate::{CheckSettings, Result};

/// A derivative along the length below this share of the largest stretch is zero by construction: far above
/// the rounding of single precision (1e-6), far below what a map does to a direction that it means to keep.
const RADIAL: f64 = 1e-4;
/// The unit roundoff of single precision: smaller values, relative to the largest, are rounding and count as
/// this.
const ROUNDING: f64 = 1.0 / (1 << 24) as f64;

/// Above this many dimensions on both sides Jacobians are not formed: 2048² numbers a point, and their cube
/// in work.
pub(crate) const WIDE: usize = 2048;

/// Which ends of a map are spheres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SphereConstraints {
    /// `f(c x) = f(x)` for `c > 0`: only the direction of the input counts.
    pub ignores_length: bool,
    /// `|f(x)|` is constant.
    pub on_sphere: bool,
}

impl SphereConstraints {
    /// Dimensions of the input that the map can tell apart.
    pub fn input(self, width: usize) -> usize {
        width.saturating_sub(usize::from(self.ignores_length))
    }

    /// Dimensions that images can have.
    pub fn output(self, width: usize) -> usize {
        width.saturating_sub(usize::from(self.on_sphere))
    }

    /// As seen at one point: transposed Jacobian `[d, o]`, point `[d]`, image `[o]`, largest singular value.
    pub(crate) fn at(jacobian: ArrayView2<'_, f64>, x: &Array1<f64>, z: &Array1<f64>, top: f64) -> Self {
        Self::told(&jacobian.t().dot(x), &jacobian.dot(z), x, z, top)
    }

    /// From the products `J x` and `Jᵀ z`.
    pub(crate) fn told(
        along: &Array1<f64>,
        across: &Array1<f64>,
        x: &Array1<f64>,
        z: &Array1<f64>,
        top: f64,
    ) -> Self {
        let vanishes = |product: &Array1<f64>, of: &Array1<f64>| norm(product) < RADIAL * top * norm(of);
        Self { ignores_length: vanishes(along, x), on_sphere: vanishes(across, z) }
    }

    /// The ends that all points share.
    pub(crate) fn shared(seen: impl Iterator<Item = Self>) -> Self {
        let both = |a: Self, b: Self| Self {
            ignores_length: a.ignores_length && b.ignores_length,
            on_sphere: a.on_sphere && b.on_sphere,
        };
        seen.reduce(both).unwrap_or_default()
    }
}

/// The Jacobians' spectra at some points.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JacobianSpectra {
    /// Which ends are spheres.
    #[serde(flatten)]
    pub ends: SphereConstraints,
    /// Whether these are all singular values; else the Ritz values of a Lanczos process, for very wide maps:
    /// the largest are singular values, the smallest is an upper bound.
    pub exact: bool,
    /// Dimensions that the data spans, as far as it is known.
    pub spanned: usize,
    /// The most that the rank can be.
    pub attainable_rank: usize,
    /// Singular values below this share of a point's largest count as zero.
    pub rank_tolerance: f64,
    /// Of each point, descending, `min(d, o)` of them (less where the slope by some inputs is infinite).
    pub singular_values: Vec<Vec<f32>>,
    /// Of each point: singular values above the tolerance.
    pub rank: Vec<usize>,
    /// Of each point: the largest singular value over that at the attainable rank; at most 2²⁴, where
    /// rounding begins.
    pub condition_number: Vec<f64>,
    /// Of each point: the sum of ln s over the attainable rank, the log of how volume changes.
    pub log_volume: Vec<f64>,
}

impl JacobianSpectra {
    /// Spectra at `points [n, d]` with the ends taken as given.
    ///
    /// # Errors
    /// When the engine refuses, or a Jacobian is not finite.
    pub fn at(
        jacobians: &Jacobians<'_>,
        points: ArrayView2<'_, f32>,
        ends: SphereConstraints,
        settings: &CheckSettings,
    ) -> Result<Self> {
        let values = jacobians
            .each(points, &|_| (), |_, jacobian| Ok(singular_values(jacobian.transposed.view())?))?;
        let output = values.first().map_or(0, Array1::len);
        Ok(Self::of(values, (points.ncols(), output), usize::MAX, ends, settings))
    }

    /// From singular values of each point, of a map from width `d` to width `o` whose data spans `spanned`
    /// dimensions.
    pub(crate) fn of(
        values: Vec<Array1<f64>>,
        (d, o): (usize, usize),
        spanned: usize,
        ends: SphereConstraints,
        settings: &CheckSettings,
    ) -> Self {
        let possible = ends.input(d).min(ends.output(o.min(spanned)));
        let attainable = settings.expected_rank.unwrap_or(possible).min(d).min(o);
        let tolerance = settings.rank_tolerance;
        let top = |s: &Array1<f64>| s.first().copied().unwrap_or_default();
        let floored = |s: &Array1<f64>| -> Vec<f64> {
            let floor = (top(s) * ROUNDING).max(f64::from(f32::MIN_POSITIVE));
            s.iter().take(attainable).map(|value| value.max(floor)).collect()
        };
        let rank = |s: &Array1<f64>| s.iter().filter(|value| **value > tolerance * top(s)).count();
        let condition = |s: &Array1<f64>| {
            if attainable > 0 && top(s) < f64::from(f32::MIN_POSITIVE) {
                return 1.0 / ROUNDING; // nothing is left to compare: as singular as rounding lets it show
            }
            let kept = floored(s);
            kept.first().zip(kept.last()).map_or(1.0, |(first, last)| first / last)
        };
        Self {
            ends,
            exact: d.min(o) <= WIDE,
            spanned: spanned.min(d),
            attainable_rank: attainable,
            rank_tolerance: tolerance,
            rank: values.iter().map(rank).collect(),
            condition_number: values.iter().map(condition).collect(),
            log_volume: values.iter().map(|s| floored(s).iter().map(|v| v.ln()).sum()).collect(),
            singular_values: values.iter().map(|s| s.iter().map(|v| *v as f32).collect()).collect(),
        }
    }

    /// Of each point, the singular value at the attainable rank: how far the map is from folding there.
    pub fn margins(&self) -> Vec<f64> {
        let last = |s: &Vec<f32>| s.get(self.attainable_rank.saturating_sub(1)).or(s.last()).copied();
        self.singular_values.iter().map(|s| last(s).map_or(0.0, f64::from)).collect()
    }

    /// Of each point, the largest singular value: how far the map stretches there.
    pub fn stretches(&self) -> Vec<f64> {
        self.singular_values.iter().map(|s| s.first().copied().map_or(0.0, f64::from)).collect()
    }
}

/// Shares `[d, r]` of the directions that a transposed Jacobian `[d, o]` sees: an orthonormal basis of its
/// column space.
///
/// # Errors
/// When the Jacobian is not finite.
pub(crate) fn seen(jacobian: ArrayView2<'_, f64>, tolerance: f64) -> Result<Array2<f64>> {
    let eigen = symmetric_eigen(product(&jacobian.t(), &jacobian)?.view())?;
    let floor = tolerance * tolerance * eigen.values[0];
    let kept = eigen.values.iter().filter(|value| **value > floor).count();
    let vectors = eigen.vectors.slice_axis(Axis(1), Slice::from(..kept));
    let scale = eigen.values.slice_axis(Axis(0), Slice::from(..kept)).mapv(f64::sqrt);
    Ok(product(&jacobian, &vectors)? / &scale)
}

pub(crate) fn norm(v: &Array1<f64>) -> f64 {
    v.dot(v).sqrt()
}
