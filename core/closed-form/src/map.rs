//! The fitted map of one modality and its ONNX graph.
//!
//! z = normalise(Wᵀ (φ(x) - m)), φ the transform and, for a kernel method, the kernel features behind it;
//! without W the coordinates stay as they are. An entropic map may follow: z' = normalise(softmax(z Kᵀ + c)
//! V). Pipelines run and export the graph. [`Map::apply`] computes the same in Rust, without an engine.

use chiasm_geometry::linalg::{product, unit_rows};
use chiasm_graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_transport::EntropicMap;
use ndarray::{Array1, Array2, ArrayView2};

use crate::features::FeatureMap;
use crate::inverse::{MapInverse, linear_inverse};
use crate::tensors::{matrix, vector};
use crate::{Curve, Error, Result};

/// Below this length a mapped item counts as zero.
const TINY: f32 = 1e-12;

/// The fitted map of one modality, items `[batch, input_dim]` to unit rows `[batch, output_dim]`.
#[derive(Debug, Clone)]
pub struct Map {
    features: FeatureMap,
    centre: Array1<f64>,
    weights: Option<Array2<f64>>,
    attention: Option<EntropicMap>,
}

impl Map {
    pub(crate) fn new(features: FeatureMap, centre: Array1<f64>, weights: Option<Array2<f64>>) -> Self {
        Self { features, centre, weights, attention: None }
    }

    /// The same map with an entropic map behind it, whose keys are as wide as its output.
    pub(crate) fn followed_by(self, attention: EntropicMap) -> Self {
        Self { attention: Some(attention), ..self }
    }

    pub(crate) fn features(&self) -> &FeatureMap {
        &self.features
    }

    pub(crate) fn weights(&self) -> Option<&Array2<f64>> {
        self.weights.as_ref()
    }

    /// Returns whether the map is a matrix after the items' transform, without a kernel or an entropic map.
    pub fn is_linear(&self) -> bool {
        self.features.kernel.is_none() && self.attention.is_none()
    }

    /// Width of an item.
    pub fn input_dim(&self) -> usize {
        self.features.transform.width()
    }

    /// Width of a mapped item.
    pub fn output_dim(&self) -> usize {
        self.weights.as_ref().map_or(self.centre.len(), Array2::ncols)
    }

    /// The curve of the items' transform.
    pub fn curve(&self) -> Curve {
        self.features.transform.curve
    }

    /// The graph: `x` f32 `[batch, input_dim]` to `z` f32 `[batch, output_dim]`, rows of length one.
    ///
    /// # Errors
    /// When the graph does not verify, which would be a defect of this crate.
    pub fn graph(&self) -> Result<Graph> {
        let mut b = Builder::new("map");
        let x = b.input("x", DType::F32, &[Dim::named("batch"), self.input_dim().into()])?;
        let mut h = self.features.transform.build(&mut b, &x);
        if let (Some(kernel), Some(weights)) = (&self.features.kernel, &self.weights) {
            let (weights, offset) = kernel.fold(&self.centre, weights)?;
            h = kernel.build(&mut b, &h)?;
            let weights = b.constant("weights", matrix(&weights)?);
            let offset = b.constant("offset", vector(&-offset)?);
            h = b.linear(&h, &weights, Some(&offset));
        } else {
            let centre = b.constant("centre", vector(&self.centre)?);
            h = b.sub(&h, &centre);
            if let Some(weights) = &self.weights {
                let weights = b.constant("weights", matrix(weights)?);
                h = b.matmul(&h, &weights);
            }
        }
        let mut z = b.l2_normalise(&h, -1, TINY);
        if let Some(attention) = &self.attention {
            z = attend(&mut b, &z, attention)?;
        }
        b.output("z", &z, DType::F32, &[Dim::named("batch"), self.output_dim().into()]);
        Ok(b.finish()?)
    }

    /// The images of items `[n, input_dim]`: unit rows `[n, output_dim]`, those of the graph up to rounding.
    ///
    /// # Errors
    /// When the items have another width.
    pub fn apply(&self, items: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        let (expected, got) = (self.input_dim(), items.ncols());
        if got != expected {
            return Err(Error::data("items of a map", format!("{expected} columns"), got.to_string()));
        }
        let mut z = self.features.features(items)? - &self.centre;
        if let Some(weights) = &self.weights {
            z = product(&z, weights)?;
        }
        z = unit_rows(z);
        if let Some(attention) = &self.attention {
            let mut scores = z.dot(&attention.keys.t().mapv(f64::from)) + attention.bias.mapv(f64::from);
            for mut row in scores.outer_iter_mut() {
                let top = row.fold(f64::NEG_INFINITY, |top, &score| top.max(score));
                row.mapv_inplace(|score| (score - top).exp());
                row /= row.sum();
            }
            z = unit_rows(scores.dot(&attention.values.mapv(f64::from)));
        }
        Ok(z.mapv(|value| value as f32))
    }

    /// The inverse, `z [batch, output_dim]` to `x [batch, input_dim]`, or the reason why there is none.
    ///
    /// # Errors
    /// When the decomposition fails.
    pub fn inverse(&self) -> Result<std::result::Result<MapInverse, String>> {
        if self.features.kernel.is_some() {
            let reason =
                "a kernel map goes through distances to the training items, which have no closed inverse";
            return Ok(Err(reason.to_owned()));
        }
        if self.attention.is_some() {
            let reason = "an entropic map sends each item to a mean of target items, which many items share";
            return Ok(Err(reason.to_owned()));
        }
        linear_inverse(&self.features.transform, &self.centre, self.weights.as_ref())
    }
}

/// One attention layer over the items that the entropic map was fitted on.
fn attend(b: &mut Builder, z: &Value, map: &EntropicMap) -> Result<Value> {
    let dense = |m: ArrayView2<'_, f32>| Tensor::f32(&[m.nrows(), m.ncols()], m.iter().copied().collect());
    let keys = b.constant("keys", dense(map.keys.t())?);
    let bias = b.constant("key_bias", Tensor::f32(&[map.bias.len()], map.bias.to_vec())?);
    let values = b.constant("values", dense(map.values.view())?);
    let scores = b.linear(z, &keys, Some(&bias));
    let shares = b.softmax(&scores, -1);
    let mean = b.matmul(&shares, &values);
    Ok(b.l2_normalise(&mean, -1, TINY))
}
