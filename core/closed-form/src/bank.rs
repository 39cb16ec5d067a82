//! The hubness bank: a graph that appends columns, so that the dot product is the corrected score.
//!
//! For items of modalities a and b the score is S - w (r_a^(b) + r_b^(a)), r_a^(b)(z) the mean of the `top`
//! largest similarities of an item z of a to the training items of b (the inductive half of CSLS, Conneau et
//! al. 2018, arXiv 1710.04087). Each pair i < j of the M modalities takes two columns, in the order (0, 1),
//! (0, 2), ..., (1, 2), ...: (-w r_i^(j), 1) behind an item of i, (1, -w r_j^(i)) behind an item of j, and
//! (0, 0) behind all others. So e_a · e_b is that score for every pair, and any index of dot products can
//! search by it.
//!
//! ```
//! use chiasm_closed_form::bank::{TOP, WEIGHT, bank_tail};
//! use ndarray::Array2;
//!
//! let cloud = Array2::<f32>::eye(4); // unit rows, `[n, k]`
//! let graph = bank_tail(0, &[cloud.view(), cloud.view()], TOP, WEIGHT)?;
//! assert_eq!(graph.outputs()[0].to_string(), "e f32[batch,6]"); // k + M (M - 1) columns
//! # Ok::<(), chiasm_closed_form::Error>(())
//! ```

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_parameters::ParameterError;
use ndarray::ArrayView2;

use crate::views::pairs;
use crate::{Error, Result};

/// The number of neighbours with the best recall on held-out rows of 1000 real pairs; flat from 20 to 60.
pub const TOP: usize = 30;
/// The weight with the best recall there; flat from 0.5 to 1.
pub const WEIGHT: f32 = 0.75;

/// Builds the graph that follows the map of modality `own`: `z [batch, k]` to `e [batch, k + M (M - 1)]`,
/// given the mapped training items `clouds [n, k]` of all M modalities.
///
/// `top` above the number of items means all of them.
///
/// # Errors
/// When there are fewer than two clouds or `own` is none of them, a cloud that is used is empty, not finite
/// or of another width, `top` is 0, or `weight` is negative or not finite.
pub fn bank_tail(own: usize, clouds: &[ArrayView2<'_, f32>], top: usize, weight: f32) -> Result<Graph> {
    let k = check(own, clouds, top, weight)?;
    let mut b = Builder::new("bank");
    let batch = || Dim::named("batch");
    let z = b.input("z", DType::F32, &[batch(), k.into()])?;
    let mut columns = vec![z.clone()];
    let mut ends: Option<[Value; 2]> = None;
    let mut penalties: Vec<Option<Value>> = vec![None; clouds.len()];
    for (other, cloud) in clouds.iter().enumerate().filter(|(other, _)| *other != own) {
        let n = cloud.nrows();
        let name = if clouds.len() == 2 { "bank".to_owned() } else { format!("bank_{other}") };
        let bank = b.constant(&name, Tensor::f32(&[k, n], cloud.t().iter().copied().collect())?);
        let similarities = b.matmul(&z, &bank);
        let (nearest, _) = b.top_k(&similarities, top.min(n), -1);
        let sum = b.reduce_sum(&nearest, &[-1], true);
        penalties[other] = Some(b.mul_scalar(&sum, -weight / top.min(n) as f32));
        if ends.is_none() {
            let zero = b.mul_scalar(&sum, 0.0);
            let one = b.add_scalar(&zero, 1.0);
            ends = Some([zero, one]);
        }
    }
    let Some([zero, one]) = ends else { return Ok(b.finish()?) };
    for (i, j) in pairs(clouds.len()) {
        let penalty = |other: usize| penalties[other].clone().unwrap_or_else(|| zero.clone());
        columns.extend(match own {
            own if own == i => [penalty(j), one.clone()],
            own if own == j => [one.clone(), penalty(i)],
            _ => [zero.clone(), zero.clone()],
        });
    }
    let width = k + columns.len() - 1;
    let e = b.concat(&columns.iter().collect::<Vec<_>>(), 1);
    b.output("e", &e, DType::F32, &[batch(), width.into()]);
    Ok(b.finish()?)
}

/// The width k of all clouds.
fn check(own: usize, clouds: &[ArrayView2<'_, f32>], top: usize, weight: f32) -> Result<usize> {
    if clouds.len() < 2 || own >= clouds.len() {
        let got = format!("{} and place {own}", clouds.len());
        return Err(Error::data("clouds of a hubness bank", "2 or more and a place among them", got));
    }
    let k = clouds[own].ncols();
    for (at, cloud) in clouds.iter().enumerate().filter(|(at, _)| *at != own) {
        let what = format!("hubness bank of modality {at}");
        let (n, width) = cloud.dim();
        if n == 0 || width == 0 || width != k {
            let got = format!("{n} by {width}");
            return Err(Error::data(what, format!("at least 1 row and {k} columns"), got));
        }
        if let Some(row) = cloud.outer_iter().position(|row| row.iter().any(|x| !x.is_finite())) {
            return Err(Error::data(what, "finite numbers", format!("NaN or infinity in row {row}")));
        }
    }
    if top == 0 {
        return Err(ParameterError::new("top", "at least 1", "0").into());
    }
    if !(weight >= 0.0 && weight.is_finite()) {
        return Err(ParameterError::new("weight", "at least 0", weight.to_string()).into());
    }
    Ok(k)
}
