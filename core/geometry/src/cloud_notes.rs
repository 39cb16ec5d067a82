//! Remarks on a cloud that help to read its measures: repeated rows and constant columns.

use ndarray::ArrayView2;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::cloud::NAMES;
use crate::real::Real;

/// Returns remarks on a cloud of at least one row.
pub(crate) fn notes<T: Real>(side: usize, x: ArrayView2<'_, T>) -> Vec<String> {
    let (n, d) = x.dim();
    let mut seen = HashSet::with_capacity(n);
    let repeated = x.outer_iter().filter(|row| {
        let mut hasher = DefaultHasher::new();
        for &value in row {
            let wide: f64 = value.into();
            (wide + 0.0).to_bits().hash(&mut hasher); // adding 0.0 turns -0.0 into 0.0
        }
        !seen.insert(hasher.finish())
    });
    let (repeated, first) = (repeated.count(), x.row(0));
    let constant = (0..d).filter(|&j| x.column(j).iter().all(|v| *v == first[j])).count();
    let mut notes = Vec::new();
    if repeated > 0 {
        notes.push(format!(
            "{}: {repeated} of {n} rows repeat an earlier one: ties between neighbours are broken at random, \
             and intrinsic_dimension skips these rows",
            NAMES[side]
        ));
    }
    if constant > 0 {
        notes.push(format!("{}: {constant} of {d} columns are constant", NAMES[side]));
    }
    notes
}
