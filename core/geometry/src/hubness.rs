//! Penalties against hubs: items that lie near everything and so crowd out the true partners.
//!
//! The *bank* is inductive: an item's penalty looks only at the other side's training items, so each query is
//! scored alone and an index can hold the corrected vectors. CSLS (Conneau et al. 2018, arXiv 1710.04087)
//! looks at the whole gallery under test; it is transductive and is reported apart.

use ndarray::{ArrayView1, ArrayView2, Axis, parallel::prelude::*};

use crate::linalg::product;
use crate::{Error, Result, same};

/// Rows of the similarity matrix that a thread holds at a time.
const BLOCK: usize = 512;

/// Mean similarity of each row of `items [n, k]` to its `top` nearest rows of `others [m, k]`.
///
/// `top` larger than `m` means all of them.
///
/// # Errors
/// When the widths differ, `top` is 0, or `others` has no rows.
pub fn nearness(items: ArrayView2<'_, f32>, others: ArrayView2<'_, f32>, top: usize) -> Result<Vec<f64>> {
    same("width of the bank", items.ncols(), others.ncols())?;
    if top == 0 || others.nrows() == 0 {
        return Err(Error::Setting {
            what: "hubness neighbours",
            expected: "at least 1 neighbour and 1 bank row".into(),
            got: format!("{top} and {}", others.nrows()),
        });
    }
    let top = top.min(others.nrows());
    let others = others.mapv(f64::from);
    let mean_of_largest = |similarities: ArrayView1<'_, f64>| {
        let mut row = similarities.to_vec();
        row.select_nth_unstable_by(top - 1, |a, b| b.total_cmp(a));
        row.truncate(top);
        // summed in sorted order: the selection's order is not part of its contract
        row.sort_unstable_by(f64::total_cmp);
        row.iter().sum::<f64>() / top as f64
    };
    let blocks: Result<Vec<Vec<f64>>> = (items.axis_chunks_iter(Axis(0), BLOCK).into_par_iter())
        .map(|rows| {
            let similarities = product(&rows.mapv(f64::from), &others.t())?;
            Ok(similarities.outer_iter().map(mean_of_largest).collect())
        })
        .collect();
    Ok(blocks?.concat())
}

/// Penalties of the bank score `S - weight (r_first + r_second)`, r the [`nearness`] to the other side's
/// training items.
///
/// # Errors
/// As [`nearness`].
pub fn bank(
    items: ArrayView2<'_, f32>,
    bank: ArrayView2<'_, f32>,
    top: usize,
    weight: f64,
) -> Result<Vec<f64>> {
    Ok(nearness(items, bank, top)?.into_iter().map(|r| weight * r).collect())
}

/// Penalties of CSLS for both sides of a test set, `first [n, k]` and `second [m, k]`: `2 S - r_first -
/// r_second`, halved so that the score stays `S - penalty`. The sides need no pairs, nor as many items.
///
/// # Errors
/// As [`nearness`].
pub fn csls(first: ArrayView2<'_, f32>, second: ArrayView2<'_, f32>, top: usize) -> Result<[Vec<f64>; 2]> {
    Ok([bank(first, second, top, 0.5)?, bank(second, first, top, 0.5)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn nearness_is_the_mean_of_the_largest() {
        let items = array![[1.0f32, 0.0], [0.0, 2.0]];
        let others = array![[0.5f32, 0.1], [0.3, 0.4], [0.1, -0.2]];
        let got = nearness(items.view(), others.view(), 2).unwrap();
        // single precision entries: 1e-7
        assert!((got[0] - 0.4).abs() < 1e-7 && (got[1] - 0.5).abs() < 1e-7, "{got:?}");
        let all = nearness(items.view(), others.view(), 99).unwrap();
        assert!((all[0] - 0.3).abs() < 1e-7);
        assert!(nearness(items.view(), others.view(), 0).is_err());
        assert!(nearness(items.view(), array![[1.0f32]].view(), 1).is_err());
    }
}
