//! Double-precision kernels of the exact solvers.

use super::LANES;
#[cfg(target_arch = "x86_64")]
use super::{InstructionSet, instruction_set};

dispatch! {
    /// Returns `min_j (row[j] - v[j])`.
    min_reduced = min_reduced_body(row: &[f64], v: &[f64]) -> f64
}
dispatch! {
    /// Returns the minimum and the maximum.
    range = range_body(values: &[f64]) -> (f64, f64)
}
dispatch! {
    /// Relaxes the columns of a row in Dijkstra's algorithm: lowers open keys to `row[j] - v[j] + shift` and
    /// sets their parents to `from`. Returns the smallest open key. Closed columns have the key -infinity.
    lower_keys = lower_keys_body(
        row: &[f64], v: &[f64], shift: f64, keys: &mut [f64], parents: &mut [u64], from: u64
    ) -> f64
}

#[inline(always)]
fn min_reduced_body<const FMA: bool>(row: &[f64], v: &[f64]) -> f64 {
    let ((row, row_rest), (v, v_rest)) = (row.as_chunks::<LANES>(), v.as_chunks::<LANES>());
    let mut low = [f64::INFINITY; LANES];
    for (row, v) in row.iter().zip(v) {
        for l in 0..LANES {
            let x = row[l] - v[l];
            low[l] = if x < low[l] { x } else { low[l] };
        }
    }
    let rest = row_rest.iter().zip(v_rest).map(|(x, v)| x - v).fold(f64::INFINITY, f64::min);
    low.into_iter().fold(rest, f64::min)
}

#[inline(always)]
fn range_body<const FMA: bool>(values: &[f64]) -> (f64, f64) {
    let (lanes, rest) = values.as_chunks::<LANES>();
    let (mut low, mut high) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
    for lane in lanes {
        for l in 0..LANES {
            low[l] = if lane[l] < low[l] { lane[l] } else { low[l] };
            high[l] = if lane[l] > high[l] { lane[l] } else { high[l] };
        }
    }
    let all = |ends: [f64; LANES]| ends.into_iter().chain(rest.iter().copied());
    (all(low).fold(f64::INFINITY, f64::min), all(high).fold(f64::NEG_INFINITY, f64::max))
}

#[inline(always)]
fn lower_keys_body<const FMA: bool>(
    row: &[f64],
    v: &[f64],
    shift: f64,
    keys: &mut [f64],
    parents: &mut [u64],
    from: u64,
) -> f64 {
    const WIDE: usize = 8;
    let mut low = [f64::INFINITY; WIDE];
    let whole = row.len() / WIDE * WIDE;
    let lanes = row.as_chunks::<WIDE>().0.iter().zip(v.as_chunks::<WIDE>().0);
    let state = keys.as_chunks_mut::<WIDE>().0.iter_mut().zip(parents.as_chunks_mut::<WIDE>().0);
    for ((row, v), (keys, parents)) in lanes.zip(state) {
        for l in 0..WIDE {
            let x = row[l] - v[l] + shift;
            let lower = x < keys[l];
            let key = if lower { x } else { keys[l] };
            keys[l] = key;
            parents[l] = if lower { from } else { parents[l] };
            let open = if key == f64::NEG_INFINITY { f64::INFINITY } else { key };
            low[l] = if open < low[l] { open } else { low[l] };
        }
    }
    let mut least = low.into_iter().fold(f64::INFINITY, f64::min);
    for j in whole..row.len() {
        let x = row[j] - v[j] + shift;
        if x < keys[j] {
            (keys[j], parents[j]) = (x, from);
        }
        if keys[j] > f64::NEG_INFINITY {
            least = least.min(keys[j]);
        }
    }
    least
}
