//! Cross-validation folds.
//!
//! ```
//! use chiasm_geometry::folds::interleaved_folds;
//! let folds = interleaved_folds(6, 3)?;
//! assert_eq!(folds[0].test, [0, 3]);
//! assert_eq!(folds[0].train, [1, 2, 4, 5]);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use crate::random::Random;
use crate::{Error, Result};

/// One split into training and test rows, both sorted in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrossValidationFold {
    /// Rows to fit on.
    pub train: Vec<usize>,
    /// Rows to evaluate on.
    pub test: Vec<usize>,
}

/// Returns `count` folds without shuffling: fold `j` tests the rows whose index is `j` modulo `count`.
///
/// # Errors
/// When `count` is below 2 or above `rows`.
pub fn interleaved_folds(rows: usize, count: usize) -> Result<Vec<CrossValidationFold>> {
    split(count, &(0..rows).map(|row| row % count.max(1)).collect::<Vec<_>>())
}

/// Returns `count` folds of a random partition. Their sizes differ by at most one row.
///
/// # Errors
/// When `count` is below 2 or above `rows`.
pub fn shuffled_folds(rows: usize, count: usize, seed: u64) -> Result<Vec<CrossValidationFold>> {
    let mut label = vec![0; rows];
    for (place, row) in Random::new(seed).permutation(rows).into_iter().enumerate() {
        label[row] = place % count.max(1);
    }
    split(count, &label)
}

fn split(count: usize, label: &[usize]) -> Result<Vec<CrossValidationFold>> {
    if count < 2 || count > label.len() {
        return Err(Error::Setting {
            what: "folds",
            expected: format!("2 to {} (the number of rows)", label.len()),
            got: count.to_string(),
        });
    }
    let part = |fold: usize| (0..label.len()).partition(|&row| label[row] != fold);
    Ok((0..count)
        .map(|fold| {
            let (train, test) = part(fold);
            CrossValidationFold { train, test }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_tested_exactly_once() {
        for folds in [interleaved_folds(11, 5).unwrap(), shuffled_folds(11, 5, 9).unwrap()] {
            let mut tested: Vec<usize> = folds.iter().flat_map(|f| f.test.clone()).collect();
            tested.sort_unstable();
            assert!(tested.into_iter().eq(0..11));
            for fold in &folds {
                assert_eq!(fold.train.len() + fold.test.len(), 11);
                assert!(fold.test.iter().all(|row| !fold.train.contains(row)));
                assert!((2..=3).contains(&fold.test.len()));
            }
        }
        assert_eq!(interleaved_folds(10, 5).unwrap()[1].test, [1, 6]);
    }

    #[test]
    fn invalid_counts_are_errors_that_name_the_valid_range() {
        let text = interleaved_folds(3, 5).unwrap_err().to_string();
        assert!(text.contains("2 to 3") && text.contains("got 5"), "{text}");
        assert!(shuffled_folds(3, 1, 0).is_err());
        assert!(interleaved_folds(3, 0).is_err());
    }
}
