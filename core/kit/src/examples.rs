//! Training examples: each holds at most one item of each modality of a row.
//!
//! A row whose modalities hold at most n items gives n examples of weight 1/n, so that every row counts once.
//! A modality with fewer than n items repeats them in order. Rows that hold no pair of the loss are left out.

use std::collections::BTreeMap;
use std::ops::Range;

use chiasm_plugin::graph::Tensor;
use chiasm_plugin::ndarray::{ArrayView2, Axis};
use chiasm_plugin::{Error, Result};

use crate::tensor;

/// Training examples of two or more modalities.
#[derive(Debug, Clone)]
pub struct TrainingExamples {
    /// For every modality, the item of each example, if the row has one.
    items: Vec<Vec<Option<usize>>>,
    /// The row of each example, in ascending order.
    rows: Vec<usize>,
    /// The weight of each example: those of a row add up to one.
    weights: Vec<f32>,
}

/// Returns the rows that hold both modalities of at least one of these pairs, in ascending order. `rows`
/// holds the row of each item, by modality.
pub fn paired_rows(rows: &[&[usize]], pairs: &[(usize, usize)]) -> Vec<usize> {
    let paired = by_row(rows).into_iter().filter(|(_, items)| holds_pair(items, pairs));
    paired.map(|(row, _)| row).collect()
}

impl TrainingExamples {
    /// Builds the examples for a loss over these pairs of modalities. `rows` holds the row of each item, by
    /// modality, in ascending order. With `unpaired` rows that hold no pair have examples too.
    pub fn new(rows: &[&[usize]], pairs: &[(usize, usize)], unpaired: bool) -> Self {
        let mut examples =
            Self { items: vec![Vec::new(); rows.len()], rows: Vec::new(), weights: Vec::new() };
        let kept = by_row(rows).into_iter().filter(|(_, items)| unpaired || holds_pair(items, pairs));
        for (row, items) in kept {
            let count = items.iter().map(Range::len).max().unwrap_or_default();
            for turn in 0..count {
                for (all, own) in examples.items.iter_mut().zip(&items) {
                    all.push((!own.is_empty()).then(|| own.start + turn % own.len()));
                }
                examples.rows.push(row);
                #[expect(clippy::cast_precision_loss, reason = "a few items")]
                examples.weights.push((count as f32).recip());
            }
        }
        examples
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether every row holds one item of every modality: a loss then needs no mask.
    pub fn are_complete(&self) -> bool {
        self.items.iter().flatten().all(Option::is_some) && self.rows.windows(2).all(|two| two[0] < two[1])
    }

    /// The weight of each example: those of a row add up to one.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Of these pairs of modalities, those that some example holds.
    pub fn present_pairs(&self, pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
        let held = |(first, second): &&(usize, usize)| {
            self.items[*first].iter().zip(&self.items[*second]).any(|(a, b)| a.is_some() && b.is_some())
        };
        pairs.iter().filter(held).copied().collect()
    }

    /// Selects the vector of a modality's item for every example, `[examples, width]`. An example without the
    /// modality gets its first item, which the mask hides.
    ///
    /// # Errors
    /// When the modality has no item.
    pub fn select(&self, modality: usize, items: ArrayView2<'_, f32>) -> Result<Tensor> {
        if items.nrows() == 0 {
            return Err(Error::invalid("a modality without any item cannot be trained on"));
        }
        let places: Vec<usize> = self.items[modality].iter().map(|item| item.unwrap_or(0)).collect();
        tensor(items.select(Axis(0), &places).view())
    }

    /// The class of every example's row, i64 `[examples]`; -1 for rows without a label.
    ///
    /// # Errors
    /// Never, for examples that fit in memory.
    pub fn labels(&self, labels: &BTreeMap<usize, usize>) -> Result<Tensor> {
        let of = |row: &usize| labels.get(row).and_then(|class| i64::try_from(*class).ok()).unwrap_or(-1);
        Ok(Tensor::i64(&[self.len()], self.rows.iter().map(of).collect())?)
    }

    /// Returns the inputs of [`crate::BatchMask`]: rows numbered from 0, weights, and the presence of
    /// every modality.
    ///
    /// # Errors
    /// Never, for examples that fit in memory.
    pub fn mask_tensors(&self, modalities: &[&str]) -> Result<Vec<(String, Tensor)>> {
        let shape = [self.len()];
        let rows: Vec<i64> = self.rows.chunk_by(|a, b| a == b).zip(0..).flat_map(numbered).collect();
        let mut tensors = vec![
            ("example/row".to_owned(), Tensor::i64(&shape, rows)?),
            ("example/weight".to_owned(), Tensor::f32(&shape, self.weights.clone())?),
        ];
        for (name, items) in modalities.iter().zip(&self.items) {
            let present = items.iter().map(|item| f32::from(u8::from(item.is_some()))).collect();
            tensors.push((format!("present/{name}"), Tensor::f32(&shape, present)?));
        }
        Ok(tensors)
    }
}

/// Repeats a chunk's number for each of its elements.
fn numbered((chunk, number): (&[usize], i64)) -> impl Iterator<Item = i64> {
    std::iter::repeat_n(number, chunk.len())
}

/// Every row with the range of its items in each modality.
fn by_row(rows: &[&[usize]]) -> BTreeMap<usize, Vec<Range<usize>>> {
    let mut items: BTreeMap<usize, Vec<Range<usize>>> = BTreeMap::new();
    for (place, own) in rows.iter().enumerate() {
        let mut start = 0;
        for chunk in own.chunk_by(|a, b| a == b) {
            let ranges = items.entry(chunk[0]).or_insert_with(|| vec![0..0; rows.len()]);
            ranges[place] = start..start + chunk.len();
            start += chunk.len();
        }
    }
    items
}

fn holds_pair(items: &[Range<usize>], pairs: &[(usize, usize)]) -> bool {
    pairs.iter().any(|(first, second)| !items[*first].is_empty() && !items[*second].is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_repeated_and_rows_without_a_pair_are_left_out() {
        let rows: [&[usize]; 3] = [&[0, 2, 5], &[0, 0, 0, 7], &[0, 0, 2, 7]];
        let all = [(0, 1), (0, 2), (1, 2)];
        let examples = TrainingExamples::new(&rows, &all, false);
        assert_eq!(examples.rows, [0, 0, 0, 2, 7], "row 5 holds one modality");
        assert_eq!(examples.items[0], [Some(0), Some(0), Some(0), Some(1), None]);
        assert_eq!(examples.items[2], [Some(0), Some(1), Some(0), Some(2), Some(3)]);
        assert_eq!(examples.weights(), [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 1.0, 1.0]);
        assert!(!examples.are_complete());
        let tensors = examples.mask_tensors(&["image", "text", "sound"]).unwrap();
        assert_eq!(tensors[0].1.as_i64().unwrap(), [0, 0, 0, 1, 2]);
        let present = Tensor::f32(&[5], vec![1., 1., 1., 1., 0.]).unwrap();
        assert_eq!(tensors[2], ("present/image".to_owned(), present));
        let anchored = [(0, 1), (0, 2)];
        assert_eq!(paired_rows(&rows, &anchored), [0, 2], "row 7 lacks the anchor");
        let examples = TrainingExamples::new(&[&[0, 2], &[0, 3], &[2]], &all, false);
        assert_eq!(examples.present_pairs(&all), [(0, 1), (0, 2)]);
    }

    #[test]
    fn rows_with_one_item_of_each_modality_are_complete() {
        let rows: [&[usize]; 2] = [&[3, 4, 9], &[3, 4, 9]];
        let examples = TrainingExamples::new(&rows, &[(0, 1)], false);
        assert!(examples.are_complete());
        assert_eq!((examples.len(), examples.is_empty()), (3, false));
        assert!(
            !TrainingExamples::new(&[&[3, 4, 4], &[3, 4, 4]], &[(0, 1)], false).are_complete(),
            "two items in a row"
        );
    }
}
