//! Singular values of Jacobians, and the largest rank that a map can attain.
//!
//! Many maps return unit vectors, and many divide their input by its length first. Neither is a defect: the
//! derivative along the length is then zero by construction. Both constraints are detected from the
//! Jacobians, exactly and locally: the images lie on a sphere iff Jᵀ f = 0 (the gradient of |f|²/2), and the
//! map ignores the length of its input iff J x = 0 (Euler's theorem for degree zero). The attainable rank is
//!
//! min(d - [ignores length], o - [on a sphere]),
//!
//! the rank of the map between the tangent spaces of the two spheres. It is lower when the data does not vary
//! in all directions (dead inputs) or the training rows do not span them. Rank, condition number and
//! log-volume refer to it.

use chiasm_geometry::linalg::{product, symmetric_eigen};
use chiasm_geometry::spectrum::singular_values;
use ndarray::{Array1, Array2, ArrayView2, Axis, Slice};
use serde::Serialize;

use crate::map::Jacobians;
use crate::{CheckSettings, Result};

/// A derivative along the length below this fraction of the largest stretch counts as zero by construction.
/// It is far above the rounding of single precision (1e-6) and far below the stretch of a direction that a
/// map keeps.
const RADIAL: f64 = 1e-4;
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

    /// Detects the constraints at one point, from the transposed Jacobian `[d, o]`, the point `[d]`, the
    /// image `[o]` and the largest singular value.
    pub(crate) fn at(jacobian: ArrayView2<'_, f64>, x: &Array1<f64>, z: &Array1<f64>, top: f64) -> Self {
        Self::from_products(&jacobian.t().dot(x), &jacobian.dot(z), x, z, top)
    }

    /// Detects the constraints from the products `J x` and `Jᵀ z`.
    pub(crate) fn from_products(
        along: &Array1<f64>,
        across: &Array1<f64>,
        x: &Array1<f64>,
        z: &Array1<f64>,
        top: f64,
    ) -> Self {
        let vanishes = |product: &Array1<f64>, of: &Array1<f64>| norm(product) < RADIAL * top * norm(of);
        Self { ignores_length: vanishes(along, x), on_sphere: vanishes(across, z) }
    }

    /// Returns the constraints that hold at all points.
    pub(crate) fn shared(seen: impl Iterator<Item = Self>) -> Self {
        let both = |a: Self, b: Self| Self {
            ignores_length: a.ignores_length && b.ignores_length,
            on_sphere: a.on_sphere && b.on_sphere,
        };
        seen.reduce(both).unwrap_or_default()
    }
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
    /// The largest rank possible.
    pub attainable_rank: usize,
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
        let values = jacobians
            .each(points, &|_| (), |_, jacobian| Ok(singular_values(jacobian.transposed.view())?))?;
        let output = values.first().map_or(0, Array1::len);
        Ok(Self::of(values, (points.ncols(), output), usize::MAX, spheres, settings))
    }

    /// Derives the other fields from the singular values at each point, of a map from width `d` to width `o`
    /// whose data spans `spanned` dimensions.
    pub(crate) fn of(
        values: Vec<Array1<f64>>,
        (d, o): (usize, usize),
        spanned: usize,
        spheres: SphereConstraints,
        settings: &CheckSettings,
    ) -> Self {
        let possible = spheres.input_dims(d).min(spheres.output_dims(o.min(spanned)));
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
                return 1.0 / ROUNDING; // a zero Jacobian
            }
            let kept = floored(s);
            kept.first().zip(kept.last()).map_or(1.0, |(first, last)| first / last)
        };
        Self {
            spheres,
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

    /// Returns, for each point, the singular value at the attainable rank: how far the map is from folding
    /// there.
    pub fn margins(&self) -> Vec<f64> {
        let last = |s: &Vec<f32>| s.get(self.attainable_rank.saturating_sub(1)).or(s.last()).copied();
        self.singular_values.iter().map(|s| last(s).map_or(0.0, f64::from)).collect()
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

pub(crate) fn norm(v: &Array1<f64>) -> f64 {
    v.dot(v).sqrt()
}
