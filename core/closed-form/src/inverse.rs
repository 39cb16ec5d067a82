//! The exact inverse of a linear map: the point where a ray meets the unit sphere.
//!
//! A linear map is z = normalise(Wᵀ (p - m)) with p = transform(x) on the unit sphere and the mean m inside
//! it. Let P be the pseudo-inverse of Wᵀ and u = P z. Every p = m + t u with t > 0 has the direction z again,
//! and since |m| < 1 exactly one of them lies on the sphere:
//!
//! t = (1 - |m|²) / (m·u + sqrt((m·u)² + |u|² (1 - |m|²))).
//!
//! The curve is then undone. If W has full column rank, every z is reached: map(inverse(z)) = z. If it has
//! full row rank, p itself is found: inverse(map(x)) = x up to the length of x, which the transform divides
//! away.

use chiasm_geometry::linalg::{Svd, product, thin_svd};
use chiasm_graph::{Builder, DType, Dim, Graph};
use ndarray::{Array1, Array2};

use crate::Result;
use crate::tensors::{matrix, vector};
use crate::transform::Transform;

/// Singular values below this share of the largest cannot be undone in single precision.
const FLOOR: f64 = 1e-5;

/// The side on which an inverse is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapInverseKind {
    /// Both `Left` and `Right`.
    TwoSided,
    /// inverse(map(x)) = x, up to the length of x.
    Left,
    /// map(inverse(z)) = z.
    Right,
}

/// An inverse: input `z [batch, k]`, output `x [batch, d]`.
#[derive(Debug, Clone)]
pub struct MapInverse {
    /// The graph.
    pub graph: Graph,
    /// The side on which it is exact.
    pub kind: MapInverseKind,
    /// The kind in words, with the largest amplification of an error.
    pub note: String,
}

/// The inverse of a linear map, or the reason why there is none.
pub(crate) fn linear_inverse(
    transform: &Transform,
    centre: &Array1<f64>,
    weights: Option<&Array2<f64>>,
) -> Result<std::result::Result<MapInverse, String>> {
    if transform.blocks() > 1 {
        let reason = "the modality joins several encoders, each brought to length one by itself: \
                      a point of the shared space fixes no row of all of them";
        return Ok(Err(reason.to_owned()));
    }
    let gap = 1.0 - centre.dot(centre);
    if gap < 1e-6 {
        return Ok(Err(
            "all training items have nearly the same direction: the inverse is not well defined".into()
        ));
    }
    let (back, kind, spread) = match weights {
        None => (None, MapInverseKind::TwoSided, 1.0),
        Some(weights) => {
            let (d, k) = weights.dim();
            let Svd { u, s, v } = thin_svd(weights.view())?;
            let spread = s[0] / s[s.len() - 1];
            if !spread.is_finite() || spread * FLOOR > 1.0 {
                let reason = format!(
                    "the map has {d} columns in and {k} out, but its weakest direction is {spread:.1e} times \
                     weaker than its strongest: single precision cannot undo that"
                );
                return Ok(Err(reason));
            }
            let kind = match d.cmp(&k) {
                std::cmp::Ordering::Equal => MapInverseKind::TwoSided,
                std::cmp::Ordering::Greater => MapInverseKind::Right,
                std::cmp::Ordering::Less => MapInverseKind::Left,
            };
            // Wᵀ P = 1 for W = U s Vᵀ takes P = U s⁻¹ Vᵀ; rows of z multiply Pᵀ
            (Some(product(&(v / &s), &u.t())?), kind, spread)
        }
    };
    let graph = build(transform, centre, gap, back.as_ref())?;
    Ok(Ok(MapInverse { graph, kind, note: note(kind, spread) }))
}

fn build(transform: &Transform, centre: &Array1<f64>, gap: f64, back: Option<&Array2<f64>>) -> Result<Graph> {
    let d = transform.width();
    let k = back.map_or(d, Array2::nrows);
    let mut b = Builder::new("inverse");
    let z = b.input("z", DType::F32, &[Dim::named("batch"), k.into()])?;
    let u = match back {
        Some(back) => {
            let back = b.constant("back", matrix(back)?);
            b.matmul(&z, &back)
        }
        None => z,
    };
    let u = b.l2_normalise(&u, -1, 1e-12);
    let mean = b.constant("centre", vector(centre)?);
    let along = b.mul(&u, &mean);
    let along = b.reduce_sum(&along, &[-1], true);
    let squared = b.mul(&along, &along);
    let under = b.add_scalar(&squared, gap as f32);
    let root = b.sqrt(&under);
    let below = b.add(&along, &root);
    let top = b.scalar(gap as f32);
    let t = b.div(&top, &below);
    let step = b.mul(&u, &t);
    let p = b.add(&mean, &step);
    let x = transform.undo(&mut b, &p);
    b.output("x", &x, DType::F32, &[Dim::named("batch"), d.into()]);
    Ok(b.finish()?)
}

fn note(kind: MapInverseKind, spread: f64) -> String {
    let sense = match kind {
        MapInverseKind::TwoSided => {
            "inverse(map(x)) = x up to the length of x, and map(inverse(z)) = z for unit z"
        }
        MapInverseKind::Left => {
            "inverse(map(x)) = x up to the length of x; a z that no x maps to comes back as the nearest one"
        }
        MapInverseKind::Right => {
            "map(inverse(z)) = z for unit z; inverse(map(x)) keeps only what the map kept of x"
        }
    };
    format!("{sense}; errors of z grow by at most {spread:.1}")
}
