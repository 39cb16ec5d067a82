//! Score penalties against hubness: hubs are items that are near to many others and displace the true
//! matches.
//!
//! There are two penalties. The *bank* is inductive: the penalty of an item depends only on training items of
//! the other side, so that queries are scored one by one and an index can hold corrected vectors. CSLS
//! (Conneau et al. 2018, arXiv 1710.04087) is transductive: it depends on all test items. Its results are not
//! comparable with inductive ones.
//!
//! ```
//! use chiasm_geometry::hubness::csls_penalties;
//! let x = ndarray::array![[1.0_f32, 0.0], [0.0, 1.0]];
//! let [first, second] = csls_penalties(x.view(), x.view(), 1)?;
//! assert_eq!((first, second), (vec![0.5, 0.5], vec![0.5, 0.5]));
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use ndarray::{ArrayView1, ArrayView2, Axis, parallel::prelude::*};

use crate::linalg::product;
use crate::{Error, Result, same};

/// Rows of the similarity matrix that a thread computes at a time.
const BLOCK: usize = 512;

/// Returns the mean dot product of each row of `items [n, k]` with its `top` most similar rows of
/// `others [m, k]`.
///
/// If `top` is larger than `m`, all rows are used.
///
/// # Errors
/// When the widths differ, `top` is 0, or `others` has no rows.
pub fn mean_top_similarity(
    items: ArrayView2<'_, f32>,
    others: ArrayView2<'_, f32>,
    top: usize,
) -> Result<Vec<f64>> {
    same("width of the other items", items.ncols(), others.ncols())?;
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
        // Summed in sorted order, because the order after the selection is unspecified.
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

/// Returns the penalties `weight r` of `items [n, k]`, where r is the [`mean_top_similarity`] to the training
/// items `bank [m, k]` of the other side. The corrected score is `S - weight (r_first + r_second)`.
///
/// # Errors
/// The errors of [`mean_top_similarity`].
pub fn bank_penalties(
    items: ArrayView2<'_, f32>,
    bank: ArrayView2<'_, f32>,
    top: usize,
    weight: f64,
) -> Result<Vec<f64>> {
    Ok(mean_top_similarity(items, bank, top)?.into_iter().map(|r| weight * r).collect())
}

/// Returns the CSLS penalties of both sides of a test set, `first [n, k]` and `second [m, k]`, which need not
/// be paired.
///
/// CSLS scores are `2 S - r_first - r_second`. They are halved here, so that the corrected score is
/// `S - penalty`.
///
/// # Errors
/// The errors of [`mean_top_similarity`].
pub fn csls_penalties(
    first: ArrayView2<'_, f32>,
    second: ArrayView2<'_, f32>,
    top: usize,
) -> Result<[Vec<f64>; 2]> {
    Ok([bank_penalties(first, second, top, 0.5)?, bank_penalties(second, first, top, 0.5)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn mean_top_similarity_averages_the_largest_products() {
        let items = array![[1.0f32, 0.0], [0.0, 2.0]];
        let others = array![[0.5f32, 0.1], [0.3, 0.4], [0.1, -0.2]];
        let got = mean_top_similarity(items.view(), others.view(), 2).unwrap();
        // single precision entries: 1e-7
        assert!((got[0] - 0.4).abs() < 1e-7 && (got[1] - 0.5).abs() < 1e-7, "{got:?}");
        let all = mean_top_similarity(items.view(), others.view(), 99).unwrap();
        assert!((all[0] - 0.3).abs() < 1e-7);
        assert!(mean_top_similarity(items.view(), others.view(), 0).is_err());
        assert!(mean_top_similarity(items.view(), array![[1.0f32]].view(), 1).is_err());
    }
}
