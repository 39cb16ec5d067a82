//! Cross-validation folds: which rows train and which rows test.

use crate::random::Random;
use crate::{Error, Result};

/// One split of the rows; both lists are in increasing order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Rows to fit on.
    pub train: Vec<usize>,
    /// Rows to measure on.
    pub test: Vec<usize>,
}

/// Fold `j` tests the rows whose index is `j` modulo `count`.
///
/// # Errors
/// When `count` is below 2 or above `rows`.
pub fn modulo(rows: usize, count: usize) -> Result<Vec<Fold>> {
    split(count, &(0..rows).map(|row| row % count.max(1)).collect::<Vec<_>>())
}

/// Folds of a seeded random partition, sizes equal to within one row.
///
/// # Errors
/// When `count` is below 2 or above `rows`.
pub fn seeded(rows: usize, count: usize, seed: u64) -> Result<Vec<Fold>> {
    let mut label = vec![0; rows];
    for (place, row) in Random::new(seed).permutation(rows).into_iter().enumerate() {
        label[row] = place % count.max(1);
    }
    split(count, &label)
}

fn split(count: usize, label: &[usize]) -> Result<Vec<Fold>> {
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
            Fold { train, test }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_tested_exactly_once() {
        for folds in [modulo(11, 5).unwrap(), seeded(11, 5, 9).unwrap()] {
            let mut tested: Vec<usize> = folds.iter().flat_map(|f| f.test.clone()).collect();
            tested.sort_unstable();
            assert!(tested.into_iter().eq(0..11));
            for fold in &folds {
                assert_eq!(fold.train.len() + fold.test.len(), 11);
                assert!(fold.test.iter().all(|row| !fold.train.contains(row)));
                assert!((2..=3).contains(&fold.test.len()));
            }
        }
        assert_eq!(modulo(10, 5).unwrap()[1].test, [1, 6]);
    }

    #[test]
    fn impossible_counts_are_refused_with_both_numbers() {
        let text = modulo(3, 5).unwrap_err().to_string();
        assert!(text.contains("2 to 3") && text.contains("got 5"), "{text}");
        assert!(seeded(3, 1, 0).is_err());
        assert!(modulo(3, 0).is_err());
    }
}
