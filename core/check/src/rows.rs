//! Which rows are looked at, where all would take too long.

/// Returns at most `wanted` of the indices `0..n`, evenly spaced.
pub(crate) fn evenly_spaced(n: usize, wanted: usize) -> Vec<usize> {
    let wanted = wanted.min(n);
    (0..wanted).map(|i| i * n / wanted.max(1)).collect()
}
