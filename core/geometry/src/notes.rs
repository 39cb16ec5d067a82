//! What a reader of measures should know about a cloud: rows that repeat and columns that never change.

use ndarray::ArrayView2;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::cloud::NAMES;
use crate::real::Real;

/// Remarks on one cloud of at least one row; none where there is nothing to say.
pub(crate) fn notes<T: Real>(side: usize, x: ArrayView2<'_, T>) -> Vec<String> {
    let (n, d) = x.dim();
    let mut seen = HashSet::with_capacity(n);
    let repeated = x.outer_iter().filter(|row| {
        let mut hasher = DefaultHasher::new();
        for &value in row {
            let wide: f64 = value.into();
            (wide + 0.0).to_bits().hash(&mut hasher); // so that both zeros are one
        }
        !seen.insert(hasher.finish())
    });
    let (repeated, first) = (repeated.count(), x.row(0));
    let constant = (0..d).filter(|&j| x.column(j).iter().all(|v| *v == first[j])).count();
    let mut notes = Vec::new();
    if repeated > 0 {
        let what = "repeat an earlier one: their neighbours are drawn at random, intrinsic_dimension leaves them out";
        notes.push(format!("{}: {repeated} of {n} rows {what}", NAMES[side]));
    }
    if constant > 0 {
        notes.push(format!("{}: {constant} of {d} columns are constant and say nothing", NAMES[side]));
    }
    notes
}
