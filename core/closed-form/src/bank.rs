//! The hubness bank as a graph: two more columns, and the dot product is the corrected score.
//!
//! score = S - weight (r_source + r_target), r(z) the mean of the `top` largest similarities of z to the OTHER side's
//! training items (the inductive half of CSLS, Conneau et al. 2018, arXiv 1710.04087). With
//! e_source = [z, -weight r, 1] and e_target = [z, 1, -weight r] the score is e_source · e_target, so any index of dot
//! products serves it.

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor};
use ndarray::ArrayView2;

use crate::{Error, Result};

/// Neighbours that served best on held-out rows of 1000 real pairs; flat between 20 and 60.
pub const TOP: usize = 30;
/// Weight that served best there; flat between 0.5 and 1.
pub const WEIGHT: f32 = 0.75;

/// Which side's embeddings a tail stands behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Behind the source map; its bank holds target items.
    Source,
    /// Behind the target map; its bank holds source items.
    Target,
}

/// The tail: `z [batch, k]` to `e [batch, k + 2]`, given the other side's mapped training items `others [n, k]`.
///
/// `top` above `n` means all of them.
///
/// # Errors
/// When the bank is empty or not finite, `top` is 0, or `weight` is negative or not finite.
pub fn bank_tail(others: ArrayView2<'_, f32>, top: usize, weight: f32, role: Role) -> Result<Graph> {
    let (n, k) = others.dim();
    if n == 0 || k == 0 {
        return Err(Error::data("hubness bank", "at least 1 row and 1 column", format!("{n} by {k}")));
    }
    if let Some(row) = others.outer_iter().position(|row| row.iter().any(|x| !x.is_finite())) {
        return Err(Error::data("hubness bank", "finite numbers", format!("row {row} without")));
    }
    if top == 0 {
        return Err(Error::Parameter { name: "top", expected: "at least 1", got: "0".into() });
    }
    if !(weight >= 0.0 && weight.is_finite()) {
        return Err(Error::Parameter { name: "weight", expected: "at least 0", got: weight.to_string() });
    }
    let top = top.min(n);
    let mut b = Builder::new("bank");
    let batch = || Dim::named("batch");
    let z = b.input("z", DType::F32, &[batch(), k.into()])?;
    let bank = b.constant("bank", Tensor::f32(&[k, n], others.t().iter().copied().collect())?);
    let similarities = b.matmul(&z, &bank);
    let (nearest, _) = b.top_k(&similarities, top, -1);
    let sum = b.reduce_sum(&nearest, &[-1], true);
    let penalty = b.mul_scalar(&sum, -weight / top as f32);
    let nothing = b.mul_scalar(&sum, 0.0);
    let one = b.add_scalar(&nothing, 1.0);
    let e = match role {
        Role::Source => b.concat(&[&z, &penalty, &one], 1),
        Role::Target => b.concat(&[&z, &one, &penalty], 1),
    };
    b.output("e", &e, DType::F32, &[batch(), (k + 2).into()]);
    Ok(b.finish()?)
}
