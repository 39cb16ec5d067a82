//! The manifolds on which the factors of a modality lie before its network observes them.

use serde::{Deserialize, Serialize};

/// The shape of the space that a modality's factors are placed in.
///
/// A row has `q` factors u ~ N(0, I). With r = |u| / sqrt(q), which is near 1, and the curvature κ:
///
/// | geometry | coordinates | Gaussian curvature |
/// |---|---|---|
/// | plane | u / sqrt(q) | 0 |
/// | sphere | (sin(√κ r) u / (√κ \|u\|), (1 - cos(√κ r)) / √κ) | κ |
/// | hyperbolic | (sinh(√κ r) u / (√κ \|u\|), (cosh(√κ r) - 1) / √κ) | -κ, in the metric of Minkowski |
/// | torus | sqrt(2 / q) times, for each pair of factors, ((1 + κ cos θ) cos φ, (1 + κ cos θ) sin φ, κ sin θ) with θ = 2 atan u₁, φ = 2 atan u₂ | cos θ / (κ (1 + κ cos θ)), of both signs |
///
/// The sphere and the hyperboloid are the exponential maps at one point, so that the factors are geodesic
/// normal coordinates (do Carmo 1992, "Riemannian Geometry", chapter 3). The curvature of a torus is the
/// radius of its tube divided by that of its ring. The last factor of an odd number stays flat on a torus.
/// For κ = 0 every geometry is the plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Geometry {
    /// Flat.
    Plane,
    /// Constant positive curvature.
    Sphere,
    /// Constant negative curvature.
    Hyperbolic,
    /// A product of tori of revolution.
    Torus,
}

impl Geometry {
    /// All geometries, in the order in which the modalities use them.
    pub const ALL: &'static [Self] = &[Self::Plane, Self::Sphere, Self::Hyperbolic, Self::Torus];

    /// Returns the name, as in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plane => "plane",
            Self::Sphere => "sphere",
            Self::Hyperbolic => "hyperbolic",
            Self::Torus => "torus",
        }
    }

    /// Returns the number of coordinates for `factors` factors.
    pub(crate) fn coordinates(self, factors: usize, curvature: f64) -> usize {
        match self {
            _ if curvature == 0.0 => factors,
            Self::Plane => factors,
            Self::Sphere | Self::Hyperbolic => factors + 1,
            Self::Torus => 3 * (factors / 2) + factors % 2,
        }
    }

    /// Places factors on the manifold. The result has a length near 1.
    pub(crate) fn embed(self, curvature: f64, factors: &[f64]) -> Vec<f64> {
        let unit = (factors.len() as f64).sqrt();
        let flat = |u: &f64| u / unit;
        match self {
            _ if curvature == 0.0 => factors.iter().map(flat).collect(),
            Self::Plane => factors.iter().map(flat).collect(),
            Self::Sphere => exponential(curvature, factors, |angle| (angle.sin(), 1.0 - angle.cos())),
            Self::Hyperbolic => exponential(curvature, factors, |angle| (angle.sinh(), angle.cosh() - 1.0)),
            Self::Torus => {
                let pairs = factors.chunks_exact(2);
                let rest: Vec<f64> = pairs.remainder().iter().map(flat).collect();
                let scale = (2.0 / factors.len() as f64).sqrt();
                let ring = |pair: &[f64]| tube(curvature, pair).map(|c| scale * c);
                pairs.flat_map(ring).chain(rest).collect()
            }
        }
    }
}

/// Returns the exponential map at a point of constant curvature. `along` returns the coordinate along the
/// tangent vector and the one away from the tangent plane, for a distance of `angle` and a curvature of 1.
fn exponential(curvature: f64, factors: &[f64], along: fn(f64) -> (f64, f64)) -> Vec<f64> {
    let root = curvature.sqrt();
    let length = factors.iter().map(|u| u * u).sum::<f64>().sqrt();
    let (tangent, away) = along(root * length / (factors.len() as f64).sqrt());
    let scale = if length > 0.0 { tangent / (root * length) } else { 0.0 };
    factors.iter().map(|u| scale * u).chain([away / root]).collect()
}

/// Returns a point of a torus whose ring has the radius 1. The cosine and sine of `2 atan u` are
/// `(1 - u²) / (1 + u²)` and `2 u / (1 + u²)`.
fn tube(radius: f64, pair: &[f64]) -> [f64; 3] {
    let [[cos_tube, sin_tube], [cos_ring, sin_ring]] =
        [pair[0], pair[1]].map(|u| [(1.0 - u * u) / (1.0 + u * u), 2.0 * u / (1.0 + u * u)]);
    let out = 1.0 + radius * cos_tube;
    [out * cos_ring, out * sin_ring, radius * sin_tube]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Central differences with a step of 1e-4 have an error near 1e-8, hence the tolerance of 1e-6.
    fn velocity(geometry: Geometry, curvature: f64, at: &[f64], along: usize) -> Vec<f64> {
        let step = 1e-4;
        let moved = |by: f64| {
            let mut at = at.to_vec();
            at[along] += by;
            geometry.embed(curvature, &at)
        };
        moved(step).iter().zip(moved(-step)).map(|(a, b)| (a - b) / (2.0 * step)).collect()
    }

    #[test]
    fn spheres_and_hyperboloids_satisfy_their_equations() {
        let mut rng = Rng::of(3, 0);
        for _ in 0..100 {
            let (factors, curvature) = (rng.normals(6), 0.1 + rng.uniform());
            let radius = 1.0 / curvature.sqrt();
            let square = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
            let sphere = Geometry::Sphere.embed(curvature, &factors);
            let found = square(&sphere[..6]) + (radius - sphere[6]).powi(2);
            assert!((found - radius * radius).abs() < 1e-12 * found, "{found}");
            let hyperbolic = Geometry::Hyperbolic.embed(curvature, &factors);
            let found = (radius + hyperbolic[6]).powi(2) - square(&hyperbolic[..6]);
            assert!((found - radius * radius).abs() < 1e-9, "{found}");
        }
    }

    /// On a circle of radius R around the centre of the chart, the length of the tangent vector is
    /// sin(√κ R) / √κ on a sphere and sinh(√κ R) / √κ on a hyperboloid.
    #[test]
    fn circles_have_the_circumference_of_the_curvature() {
        let (curvature, distance) = (0.8_f64, 1.3_f64);
        let root = curvature.sqrt();
        let at = [distance * 2.0_f64.sqrt(), 0.0];
        let across = |geometry| {
            let found = velocity(geometry, curvature, &at, 1);
            found.iter().map(|v| v * v).sum::<f64>().sqrt() * at[0]
        };
        assert!((across(Geometry::Sphere) - (root * distance).sin() / root).abs() < 1e-6);
        assert!((across(Geometry::Hyperbolic) - (root * distance).sinh() / root).abs() < 1e-6);
    }

    #[test]
    fn a_small_curvature_is_nearly_flat() {
        let factors = Rng::of(4, 0).normals(5);
        let plane = Geometry::Plane.embed(1.0, &factors);
        for geometry in [Geometry::Sphere, Geometry::Hyperbolic] {
            let found = geometry.embed(1e-8, &factors);
            assert!(found.iter().zip(plane.iter().chain(&[0.0])).all(|(a, b)| (a - b).abs() < 1e-3));
            assert_eq!(geometry.embed(0.0, &factors), plane);
        }
    }

    #[test]
    fn a_torus_lies_at_the_radius_of_its_tube_and_keeps_an_odd_factor() {
        let factors = Rng::of(5, 0).normals(5);
        let found = Geometry::Torus.embed(0.4, &factors);
        assert_eq!(found.len(), Geometry::Torus.coordinates(5, 0.4));
        let scale = (2.0_f64 / 5.0).sqrt();
        for point in found[..6].chunks(3) {
            let [x, y, z] = [point[0] / scale, point[1] / scale, point[2] / scale];
            let from_ring = ((x * x + y * y).sqrt() - 1.0).powi(2) + z * z;
            assert!((from_ring - 0.16).abs() < 1e-12, "{from_ring}");
        }
        assert!((found[6] - factors[4] / 5.0_f64.sqrt()).abs() < 1e-15);
    }
}
