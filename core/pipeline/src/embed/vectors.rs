//! The pooled vectors of items.

use chiasm_host::{BorrowedArray, SharedValues};
use ndarray::{Array2, ArrayView2, aview2};

/// One vector per item, `[items, width]`, in memory that the process of a plugin reads in place. A clone
/// shares the memory.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemVectors {
    values: SharedValues,
    shape: [usize; 2],
}

impl ItemVectors {
    /// Returns `rows` vectors of this width, which `fill` sets; they are zero before.
    fn filled(rows: usize, width: usize, fill: impl FnOnce(&mut [f32])) -> Self {
        Self { values: SharedValues::filled(rows * width, fill), shape: [rows, width] }
    }

    /// Joins vectors side by side: the width is the sum of their widths.
    ///
    /// # Errors
    /// If the numbers of items differ.
    pub fn beside(parts: &[Array2<f32>]) -> Result<Self, String> {
        let rows = parts.first().map_or(0, Array2::nrows);
        if let Some(other) = parts.iter().find(|part| part.nrows() != rows) {
            return Err(format!("expected {rows} items of every encoder, got {}", other.nrows()));
        }
        let width = parts.iter().map(Array2::ncols).sum();
        Ok(Self::filled(rows, width, |all| {
            for (row, place) in all.chunks_exact_mut(width.max(1)).enumerate() {
                let values = parts.iter().flat_map(|part| part.row(row));
                place.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
            }
        }))
    }

    /// Joins the vectors of several sets of items.
    ///
    /// # Errors
    /// If the widths differ.
    pub fn joined(parts: &[&Self]) -> Result<Self, String> {
        let width = parts.first().map_or(0, |part| part.ncols());
        if let Some(other) = parts.iter().find(|part| part.ncols() != width) {
            return Err(format!("expected vectors of width {width}, got {}", other.ncols()));
        }
        let rows = parts.iter().map(|part| part.nrows()).sum();
        Ok(Self::filled(rows, width, |all| {
            let values = parts.iter().flat_map(|part| part.values.as_slice());
            all.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        }))
    }

    /// Returns the vectors at these indices.
    pub fn select(&self, indices: &[usize]) -> Self {
        let [rows, width] = self.shape;
        if indices.len() == rows && indices.iter().enumerate().all(|(at, index)| at == *index) {
            return self.clone();
        }
        let view = self.view();
        Self::filled(indices.len(), width, |all| {
            for (index, place) in indices.iter().zip(all.chunks_exact_mut(width.max(1))) {
                view.row(*index).iter().zip(place).for_each(|(from, to)| *to = *from);
            }
        })
    }

    /// Returns the number of items.
    pub fn nrows(&self) -> usize {
        self.shape[0]
    }

    /// Returns the width of a vector.
    pub fn ncols(&self) -> usize {
        self.shape[1]
    }

    /// Returns the vectors as a matrix.
    pub fn view(&self) -> ArrayView2<'_, f32> {
        // Both the values and the shape come from one constructor, so they fit each other.
        ArrayView2::from_shape(self.shape, self.values.as_slice()).unwrap_or_else(|_| aview2::<f32, 0>(&[]))
    }

    /// Returns the vectors as an array for a plugin.
    pub fn borrowed(&self) -> BorrowedArray<'_> {
        BorrowedArray::shared(&self.shape, &self.values)
    }
}

impl From<Array2<f32>> for ItemVectors {
    fn from(vectors: Array2<f32>) -> Self {
        let shape = [vectors.nrows(), vectors.ncols()];
        let values: Vec<f32> = match vectors.is_standard_layout() {
            true => vectors.into_raw_vec_and_offset().0,
            false => vectors.iter().copied().collect(),
        };
        Self { values: values.into(), shape }
    }
}
