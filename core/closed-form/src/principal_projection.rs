//! A fitted linear map as a projection on principal coordinates and a matrix, from which training starts.
//!
//! u = s Vᵀ (φ(x) - m), V the strongest principal axes of the training items and s such that the mean square
//! of a coordinate is one. In these coordinates the map is z = normalise(S u), and a network can start from S
//! and add to it. The axes are not whitened: weak ones stay weak, which keeps a network on few pairs from
//! fitting noise.
//!
//! A ridge of r w₁ in a linear fit equals training with noise of that variance on the items (Bishop 1995). So
//! the ridge that cross-validation found for the linear map says how much noise a network should be trained
//! with: [`PrincipalProjection::noise`].
//!
//! Maps with a kernel or an entropic map are refused.

use chiasm_geometry::linalg::product;
use chiasm_graph::{Builder, DType, Dim, Graph};
use ndarray::{Array2, ArrayView2};

use crate::basis::Basis;
use crate::features::FeatureMap;
use crate::sample::axes;
use crate::tensors::{matrix, vector};
use crate::{Error, Map, Result};

/// The projection of a modality on its principal coordinates, and a linear map of these.
#[derive(Debug, Clone)]
pub struct PrincipalProjection {
    features: FeatureMap,
    basis: Basis,
    /// s.
    scale: f64,
    start: Array2<f64>,
}

impl PrincipalProjection {
    /// Splits a fitted linear map, given its training items; a final fit of as many items has the same number
    /// of coordinates.
    ///
    /// # Errors
    /// When the map is not linear, or the items do not vary.
    pub fn new(map: &Map, items: ArrayView2<'_, f32>) -> Result<Self> {
        let features = map.features().clone();
        if !map.is_linear() {
            let got = "one that goes through a kernel or an entropic map";
            return Err(Error::data("the start of a trained map", "a linear map", got));
        }
        let basis = Basis::fit("training items", &features.features(items)?, None, axes(items.nrows()))?;
        let scale = (basis.rank() as f64 / basis.variances.sum()).sqrt();
        let turned = basis.axes.t();
        let start = match map.weights() {
            Some(weights) => product(&turned, weights)?,
            None => turned.to_owned(),
        };
        // the mean square of |S u| is the same trace in both forms
        let energy = (&start * &start).sum_axis(ndarray::Axis(1)).dot(&basis.variances);
        let start = start / (scale * energy.sqrt().max(f64::MIN_POSITIVE));
        Ok(Self { features, basis, scale, start })
    }

    /// Width of an item.
    pub fn input_dim(&self) -> usize {
        self.features.transform.width()
    }

    /// Number of coordinates.
    pub fn coordinates(&self) -> usize {
        self.basis.rank()
    }

    /// Returns S, `[coordinates, k]`, scaled so that images of items have a mean square length of one.
    pub fn start(&self) -> &Array2<f64> {
        &self.start
    }

    /// The standard deviation, in each coordinate, of the noise that stands for a ridge relative to the top
    /// variance.
    pub fn noise(&self, ridge: f64) -> f64 {
        self.scale * (ridge * self.basis.variances[0]).sqrt()
    }

    /// The graph: `x` f32 `[batch, input_dim]` to `u` f32 `[batch, coordinates]`.
    ///
    /// # Errors
    /// When the graph does not verify, which would be a defect of this crate.
    pub fn graph(&self) -> Result<Graph> {
        let mut b = Builder::new("front");
        let x = b.input("x", DType::F32, &[Dim::named("batch"), self.input_dim().into()])?;
        let h = self.features.transform.build(&mut b, &x);
        let centre = b.constant("centre", vector(&self.basis.mean)?);
        let h = b.sub(&h, &centre);
        let axes = b.constant("axes", matrix(&(&self.basis.axes * self.scale))?);
        let u = b.matmul(&h, &axes);
        b.output("u", &u, DType::F32, &[Dim::named("batch"), self.coordinates().into()]);
        Ok(b.finish()?)
    }

    /// The inverse: `u` f32 `[batch, coordinates]` to `x` f32 `[batch, input_dim]`, the item of length one on
    /// the plane of the kept axes that has these coordinates. Returns the reason if there is none.
    ///
    /// # Errors
    /// When the graph does not verify, which would be a defect of this crate.
    pub fn inverse(&self) -> Result<std::result::Result<Graph, String>> {
        if self.features.transform.blocks() > 1 {
            let reason = "several encoders are joined, each brought to length one by itself: \
                          coordinates fix no item of all of them";
            return Ok(Err(reason.to_owned()));
        }
        let mut b = Builder::new("front_inverse");
        let u = b.input("u", DType::F32, &[Dim::named("batch"), self.coordinates().into()])?;
        let axes = b.constant("axes_back", matrix(&(&self.basis.axes.t() / self.scale))?);
        let centre = b.constant("centre", vector(&self.basis.mean)?);
        let p = b.linear(&u, &axes, Some(&centre));
        let p = b.l2_normalise(&p, -1, 1e-12);
        let x = self.features.transform.undo(&mut b, &p);
        b.output("x", &x, DType::F32, &[Dim::named("batch"), self.input_dim().into()]);
        Ok(Ok(b.finish()?))
    }
}
