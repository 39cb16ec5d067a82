//! One fitted side: what it is, and the ONNX graph of it.
//!
//! z = normalise(Wᵀ (φ(x) - m)), φ the transform and, for a kernel method, the kernel features behind it; without W
//! the coordinates stay as they are. An entropic map may follow: z' = normalise(softmax(z Kᵀ + c) V). A side is never evaluated here: its graph is what runs and what is exported.

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_transport::EntropicMap;
use ndarray::{Array1, Array2, ArrayView2};

use crate::inverse::{Inverse, ray};
use crate::kernel::{Kernel, matrix};
use crate::transform::Transform;
use crate::{Curve, Result};

/// Below this length a mapped row counts as zero.
const TINY: f32 = 1e-12;

/// How rows become features.
#[derive(Debug, Clone)]
pub(crate) struct Lens {
    pub(crate) transform: Transform,
    pub(crate) kernel: Option<Kernel>,
}

/// A fitted map of one side, rows `[batch, input_dim]` to unit rows `[batch, output_dim]`.
#[derive(Debug, Clone)]
pub struct Side {
    lens: Lens,
    centre: Array1<f64>,
    weights: Option<Array2<f64>>,
    attention: Option<EntropicMap>,
}

impl Lens {
    /// Features of rows, centred by nobody yet.
    pub(crate) fn features(&self, rows: ArrayView2<'_, f32>) -> Result<Array2<f64>> {
        let rows = self.transform.apply(rows);
        match &self.kernel {
            Some(kernel) => kernel.features(&rows),
            None => Ok(rows),
        }
    }
}

impl Side {
    pub(crate) fn new(lens: Lens, centre: Array1<f64>, weights: Option<Array2<f64>>) -> Self {
        Self { lens, centre, weights, attention: None }
    }

    /// The same side with an entropic map behind it, whose keys are as wide as its rows.
    pub(crate) fn followed_by(self, attention: EntropicMap) -> Self {
        Self { attention: Some(attention), ..self }
    }

    pub(crate) fn lens(&self) -> &Lens {
        &self.lens
    }

    pub(crate) fn weights(&self) -> Option<&Array2<f64>> {
        self.weights.as_ref()
    }

    /// Whether a matrix is all that follows the rows' transform.
    pub(crate) fn is_linear(&self) -> bool {
        self.lens.kernel.is_none() && self.attention.is_none()
    }

    /// Width of a row.
    pub fn input_dim(&self) -> usize {
        self.lens.transform.width()
    }

    /// Width of a mapped row.
    pub fn output_dim(&self) -> usize {
        self.weights.as_ref().map_or(self.centre.len(), Array2::ncols)
    }

    /// What rows go through first.
    pub fn curve(&self) -> Curve {
        self.lens.transform.curve
    }

    /// The graph: `input` f32 `[batch, input_dim]` to `z` f32 `[batch, output_dim]`, rows of length one.
    ///
    /// # Errors
    /// When the graph does not verify, which would be a defect of this crate.
    pub fn graph(&self, input: &str) -> Result<Graph> {
        let mut b = Builder::new("side");
        let x = b.input(input, DType::F32, &[Dim::named("batch"), self.input_dim().into()])?;
        let mut h = self.lens.transform.build(&mut b, &x);
        if let (Some(kernel), Some(weights)) = (&self.lens.kernel, &self.weights) {
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

    /// The way back, `z [batch, output_dim]` to `x [batch, input_dim]`, or in plain words why there is none.
    ///
    /// # Errors
    /// When the decomposition fails.
    pub fn inverse(&self) -> Result<std::result::Result<Inverse, String>> {
        if self.lens.kernel.is_some() {
            let reason =
                "a kernel map goes through distances to the training rows, which have no closed inverse";
            return Ok(Err(reason.to_owned()));
        }
        if self.attention.is_some() {
            let reason = "an entropic map sends each row to a mean of target rows, which many rows share";
            return Ok(Err(reason.to_owned()));
        }
        ray(&self.lens.transform, &self.centre, self.weights.as_ref())
    }
}

/// One attention layer over the rows that the map was fitted on.
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

/// A vector as a tensor of single precision.
pub(crate) fn vector(values: &Array1<f64>) -> Result<Tensor> {
    Ok(Tensor::f32(&[values.len()], values.iter().map(|&x| x as f32).collect())?)
}
