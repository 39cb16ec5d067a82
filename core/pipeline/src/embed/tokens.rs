//! Sequences of token vectors and their masks.

use ndarray::{Array2, Array3, Axis, Slice};

/// Token sequences, padded to the longest.
#[derive(Debug, Clone)]
pub struct TokenSequences {
    /// Token vectors, `[n, T, width]`; zero where the mask is 0.
    pub values: Array3<f32>,
    /// Mask, `[n, T]`: 1 for a token, 0 for padding.
    pub mask: Array2<f32>,
}

impl TokenSequences {
    /// Concatenates shards and pads all sequences to the longest.
    pub fn joined(shards: &[TokenSequences], width: usize) -> Self {
        let length = shards.iter().map(|shard| shard.mask.ncols()).max().unwrap_or_default();
        let count = shards.iter().map(|shard| shard.mask.nrows()).sum();
        let mut all =
            Self { values: Array3::zeros((count, length, width)), mask: Array2::zeros((count, length)) };
        let mut start = 0;
        for shard in shards {
            let (rows, steps) = shard.mask.dim();
            let place = Slice::from(start..start + rows);
            let (mut values, mut mask) =
                (all.values.slice_axis_mut(Axis(0), place), all.mask.slice_axis_mut(Axis(0), place));
            values.slice_axis_mut(Axis(1), Slice::from(..steps)).assign(&shard.values);
            mask.slice_axis_mut(Axis(1), Slice::from(..steps)).assign(&shard.mask);
            start += rows;
        }
        all
    }

    /// Returns the sequences at these indices.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self { values: self.values.select(Axis(0), indices), mask: self.mask.select(Axis(0), indices) }
    }
}
