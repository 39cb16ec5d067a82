//! A bounded sample of distinct rows that does not depend on their order or on how they are split.
//!
//! Every row has a key, a hash of its numbers and a seed. The rows with the smallest keys are kept, so the
//! sample of a union is that of the samples, and each distinct row is in it with the same chance (bottom-k
//! sampling; Cohen and Kaplan 2007).

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};

/// The rows with the smallest keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowSample {
    pub(crate) seed: u64,
    limit: usize,
    /// The items of all modalities of a row, one after the other, by key.
    rows: BTreeMap<u64, Vec<f32>>,
}

impl RowSample {
    /// An empty sample that will keep `limit` rows.
    pub(crate) fn new(seed: u64, limit: usize) -> Self {
        Self { seed, limit, rows: BTreeMap::new() }
    }

    /// Offers the rows of a batch; `items` are those of each modality.
    pub(crate) fn offer(&mut self, items: &[ArrayView2<'_, f32>]) {
        for at in 0..items.first().map_or(0, ArrayView2::nrows) {
            let values = || items.iter().flat_map(|items| items.row(at).into_iter().copied());
            let key = key(self.seed, values());
            if self.would_keep(key) {
                self.insert(values().collect());
            }
        }
    }

    /// Keeps a row if its key is small enough.
    pub(crate) fn insert(&mut self, row: Vec<f32>) {
        self.rows.insert(key(self.seed, row.iter().copied()), row);
        if self.rows.len() > self.limit {
            self.rows.pop_last();
        }
    }

    fn would_keep(&self, key: u64) -> bool {
        self.rows.len() < self.limit || self.rows.last_key_value().is_some_and(|(largest, _)| key < *largest)
    }

    /// Adds the rows of another sample with the same seed.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.rows.values().for_each(|row| self.insert(row.clone()));
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows in the order of their keys.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.rows.values().map(Vec::as_slice)
    }

    /// The items of each modality, given its width.
    pub(crate) fn items(&self, widths: impl Iterator<Item = usize>) -> Vec<Array2<f32>> {
        let part = |(start, width): (usize, usize)| {
            let mut items = Array2::zeros((self.len(), width));
            for (mut item, row) in items.outer_iter_mut().zip(self.rows()) {
                item.iter_mut().zip(&row[start..start + width]).for_each(|(to, from)| *to = *from);
            }
            items
        };
        let starts = widths.scan(0, |end, width| {
            let start = *end;
            *end += width;
            Some((start, width))
        });
        starts.map(part).collect()
    }
}

/// The key of a row: its numbers are mixed in one after the other by the finaliser of SplitMix64 (Steele, Lea
/// and Flood 2014).
fn key(seed: u64, values: impl Iterator<Item = f32>) -> u64 {
    let mix = |state: u64, bits: u64| {
        let mut z = (state ^ bits).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    values.fold(mix(0, seed), |state, value| mix(state, u64::from(value.to_bits())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Axis, Slice};

    fn rows() -> Array2<f32> {
        Array2::from_shape_fn((500, 3), |(i, j)| ((i / 2 * 3 + j) as f32).sin())
    }

    fn sample(parts: &[Slice]) -> RowSample {
        let mut whole = RowSample::new(7, 40);
        for part in parts {
            let mut own = RowSample::new(7, 40);
            own.offer(&[rows().slice_axis(Axis(0), *part)]);
            whole.merge(&own);
        }
        whole
    }

    /// Every row is there twice, so a sample of rows would hold some twice.
    #[test]
    fn the_sample_does_not_depend_on_the_split_and_holds_each_row_once() {
        let whole = sample(&[Slice::from(..)]);
        assert_eq!(whole.len(), 40);
        assert_eq!(whole, sample(&[Slice::from(300..), Slice::from(..9), Slice::from(9..300)]));
        let mut distinct: Vec<&[f32]> = whole.rows().collect();
        distinct.sort_by(|a, b| a[0].total_cmp(&b[0]));
        distinct.dedup();
        assert_eq!(distinct.len(), 40);
    }

    /// The mean index of 40 of 250 places varies by 250 / sqrt(12 * 40) = 11.4 around 124.5.
    #[test]
    fn the_sample_is_spread_evenly() {
        let places = Array2::from_shape_fn((250, 1), |(i, _)| i as f32);
        for seed in 0..5 {
            let mut sample = RowSample::new(seed, 40);
            sample.offer(&[places.view()]);
            let mean = sample.rows().map(|row| row[0]).sum::<f32>() / 40.0;
            assert!((mean - 124.5).abs() < 4.0 * 11.4, "{mean}");
        }
        let mut both = RowSample::new(0, 9);
        both.offer(&[places.view(), rows().slice_axis(Axis(0), Slice::from(..250))]);
        let items = both.items([1, 3].into_iter());
        for (place, item) in items[0].iter().zip(items[1].outer_iter()) {
            assert_eq!(item, rows().row(*place as usize));
        }
    }
}
