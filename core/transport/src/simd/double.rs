//! Double-precision kernels of the exact solvers.

use super::LANES;
#[cfg(target_arch = "x86_64")]
use super::{InstructionSet, instruction_set};

dispatch! {
    /// Returns `min_j (row[j] - v[j])`.
    min_reduced = min_reduced_body(row: &[f64], v: &[f64]) -> f64
}
dispatch! {
    /// Returns the two smallest of `row[j] - v[j]`; infinity for those that there are not.
    two_least = two_least_body(row: &[f64], v: &[f64]) -> (f64, f64)
}
dispatch! {
    /// Adds the places where `row[j] - v[j] + shift` is below `keys[j]` and at most `most`.
    places_below = places_below_body(row: &[f64], v: &[f64], keys: &[f64], shift: f64, most: f64,
        places: &mut Vec<u32>)
}
dispatch! {
    /// Returns the minimum and the maximum.
    range = range_body(values: &[f64]) -> (f64, f64)
}
dispatch! {
    /// Returns the smallest magnitude that is not zero and the largest finite one, infinity and zero where
    /// there is none, and whether a value is infinite.
    magnitudes = magnitudes_body(values: &[f64]) -> (f64, f64, bool)
}
dispatch! {
    /// Returns `sum_j x[j] y[j]` in double precision.
    wide_dot = wide_dot_body(x: &[f32], y: &[f32]) -> f64
}
dispatch! {
    /// Returns `sum_j |x[j] - y[j]|` in double precision.
    wide_distance = wide_distance_body(x: &[f32], y: &[f32]) -> f64
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
fn two_least_body<const FMA: bool>(row: &[f64], v: &[f64]) -> (f64, f64) {
    let ((row, row_rest), (v, v_rest)) = (row.as_chunks::<LANES>(), v.as_chunks::<LANES>());
    let (mut first, mut second) = ([f64::INFINITY; LANES], [f64::INFINITY; LANES]);
    let add = |x: f64, first: &mut f64, second: &mut f64| {
        let larger = if x < *first { *first } else { x };
        *first = if x < *first { x } else { *first };
        *second = if larger < *second { larger } else { *second };
    };
    for (row, v) in row.iter().zip(v) {
        for l in 0..LANES {
            add(row[l] - v[l], &mut first[l], &mut second[l]);
        }
    }
    let (mut least, mut next) = (f64::INFINITY, f64::INFINITY);
    let rest = row_rest.iter().zip(v_rest).map(|(x, v)| x - v);
    first.into_iter().chain(second).chain(rest).for_each(|x| add(x, &mut least, &mut next));
    (least, next)
}

#[inline(always)]
fn places_below_body<const FMA: bool>(
    row: &[f64],
    v: &[f64],
    keys: &[f64],
    shift: f64,
    most: f64,
    places: &mut Vec<u32>,
) {
    const BLOCK: usize = 8;
    let blocks = row.chunks(BLOCK).zip(v.chunks(BLOCK)).zip(keys.chunks(BLOCK));
    for (block, ((row, v), keys)) in blocks.enumerate() {
        let is_below = |l: usize| {
            let key = row[l] - v[l] + shift;
            (key < keys[l]) & (key <= most)
        };
        let full = row.len() == BLOCK && v.len() == BLOCK && keys.len() == BLOCK;
        if !full || (0..BLOCK).fold(false, |any, l| any | is_below(l)) {
            places.extend((0..row.len()).filter(|&l| is_below(l)).map(|l| (BLOCK * block + l) as u32));
        }
    }
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
fn magnitudes_body<const FMA: bool>(values: &[f64]) -> (f64, f64, bool) {
    let (lanes, rest) = values.as_chunks::<LANES>();
    let (mut low, mut high, mut top) = ([f64::INFINITY; LANES], [0.0_f64; LANES], [0.0_f64; LANES]);
    let add = |value: f64, low: &mut f64, high: &mut f64, top: &mut f64| {
        let size = value.abs();
        *low = if size > 0.0 && size < *low { size } else { *low };
        *high = if size < f64::INFINITY && size > *high { size } else { *high };
        *top = if size > *top { size } else { *top };
    };
    for lane in lanes {
        for l in 0..LANES {
            add(lane[l], &mut low[l], &mut high[l], &mut top[l]);
        }
    }
    rest.iter().for_each(|value| add(*value, &mut low[0], &mut high[0], &mut top[0]));
    let most = |values: [f64; LANES]| values.into_iter().fold(0.0, f64::max);
    (low.into_iter().fold(f64::INFINITY, f64::min), most(high), most(top) == f64::INFINITY)
}

#[inline(always)]
fn wide_dot_body<const FMA: bool>(x: &[f32], y: &[f32]) -> f64 {
    wide_sum(x, y, |x, y| x * y)
}

#[inline(always)]
fn wide_distance_body<const FMA: bool>(x: &[f32], y: &[f32]) -> f64 {
    wide_sum(x, y, |x, y| (x - y).abs())
}

/// Sums in independent lanes.
#[inline(always)]
fn wide_sum(x: &[f32], y: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    let mut sums = [0.0_f64; LANES];
    for (x, y) in x.iter().zip(y) {
        for l in 0..LANES {
            sums[l] += term(f64::from(x[l]), f64::from(y[l]));
        }
    }
    let rest: f64 = x_rest.iter().zip(y_rest).map(|(&x, &y)| term(f64::from(x), f64::from(y))).sum();
    sums.iter().sum::<f64>() + rest
}
