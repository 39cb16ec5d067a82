//! Bootstrap intervals (Efron 1979), by percentiles of the resampled statistic.

use std::collections::BTreeMap;

use crate::random::Random;
use crate::{Error, Result, same};

/// Returns the percentile interval of a statistic over independent samples.
///
/// `statistic` is called with `draws` resamples of `cases`. `level` is the coverage, for example 0.95.
///
/// ```
/// use chiasm_geometry::retrieval::bootstrap;
/// let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
/// let (low, high) = bootstrap(&[0.0, 1.0, 1.0, 1.0], mean, 200, 0.95, 1)?;
/// assert!(0.0 <= low && low <= high && high <= 1.0);
/// # Ok::<(), chiasm_geometry::Error>(())
/// ```
///
/// # Errors
/// When there are no cases or no draws, or `level` is not inside (0, 1).
pub fn bootstrap<T: Copy>(
    cases: &[T],
    statistic: impl Fn(&[T]) -> f64,
    draws: usize,
    level: f64,
    seed: u64,
) -> Result<(f64, f64)> {
    let mut sample = cases.to_vec();
    percentiles(cases.len(), draws, level, seed, |pick| {
        sample.iter_mut().for_each(|case| *case = cases[pick()]);
        statistic(&sample)
    })
}

/// Returns the percentile interval of a statistic of sums over cases, where whole rows are resampled, because
/// cases of the same row are not independent (cluster bootstrap).
///
/// Case `i` belongs to `rows[i]` and contributes `cases[i]` to the sums that `statistic` receives. For
/// example, a mean is the ratio of the sums of values and of ones. The cost grows with the number of rows,
/// not of cases.
///
/// # Errors
/// When the lengths differ, there are no cases or no draws, or `level` is not inside (0, 1).
pub fn bootstrap_of_rows<const N: usize>(
    rows: &[usize],
    cases: &[[f64; N]],
    statistic: impl Fn(&[f64; N]) -> f64,
    draws: usize,
    level: f64,
    seed: u64,
) -> Result<(f64, f64)> {
    same("rows of the cases (one for each)", cases.len(), rows.len())?;
    let mut by_row: BTreeMap<usize, [f64; N]> = BTreeMap::new();
    for (&row, case) in rows.iter().zip(cases) {
        add(by_row.entry(row).or_insert([0.0; N]), case);
    }
    let sums: Vec<[f64; N]> = by_row.into_values().collect();
    percentiles(sums.len(), draws, level, seed, |pick| {
        let mut total = [0.0; N];
        (0..sums.len()).for_each(|_| add(&mut total, &sums[pick()]));
        statistic(&total)
    })
}

/// Returns the percentile interval of a mean over cases, where whole rows are resampled as in
/// [`bootstrap_of_rows`].
///
/// # Errors
/// The errors of [`bootstrap_of_rows`].
pub fn bootstrap_of_mean(
    rows: &[usize],
    values: &[f64],
    draws: usize,
    level: f64,
    seed: u64,
) -> Result<(f64, f64)> {
    let cases: Vec<[f64; 2]> = values.iter().map(|&value| [value, 1.0]).collect();
    bootstrap_of_rows(rows, &cases, |[sum, count]| sum / count, draws, level, seed)
}

fn add<const N: usize>(sums: &mut [f64; N], case: &[f64; N]) {
    sums.iter_mut().zip(case).for_each(|(sum, value)| *sum += value);
}

/// Returns the percentiles of the values of `draw`, which calls its argument to pick cases with replacement.
fn percentiles(
    cases: usize,
    draws: usize,
    level: f64,
    seed: u64,
    mut draw: impl FnMut(&mut dyn FnMut() -> usize) -> f64,
) -> Result<(f64, f64)> {
    let bad =
        |what, expected: &str, got: String| Err(Error::Setting { what, expected: expected.into(), got });
    if cases == 0 || draws == 0 {
        return bad("bootstrap", "at least one case and one draw", format!("{cases} and {draws}"));
    }
    if !(level > 0.0 && level < 1.0) {
        return bad("bootstrap level", "a number inside (0, 1)", level.to_string());
    }
    let mut random = Random::new(seed);
    let mut values: Vec<f64> = (0..draws).map(|_| draw(&mut || random.below(cases))).collect();
    values.sort_by(f64::total_cmp);
    let at = |q: f64| values[((draws - 1) as f64 * q).round() as usize];
    Ok((at((1.0 - level) / 2.0), at((1.0 + level) / 2.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    /// By normal theory the interval of a mean of n zero-one values has the half width 1.96 sqrt(p (1 - p) /
    /// n) = 0.069.
    #[test]
    fn the_bootstrap_agrees_with_normal_theory() {
        let hits: Vec<f64> = (0..200).map(|i| f64::from(i % 2)).collect();
        let (low, high) = bootstrap(&hits, mean, 2000, 0.95, 1).unwrap();
        assert!((low - 0.431).abs() < 0.015 && (high - 0.569).abs() < 0.015, "{low} {high}");
        assert_eq!(bootstrap(&hits, mean, 50, 0.9, 4), bootstrap(&hits, mean, 50, 0.9, 4));
        assert!(bootstrap(&[], mean, 10, 0.95, 0).is_err());
        assert!(bootstrap(&hits, mean, 10, 1.0, 0).is_err());
    }

    /// With five equal items per row the interval is that of 200 rows, not of 1000 items, which would have
    /// the half width 0.031. With one case per row the result equals the plain bootstrap exactly.
    #[test]
    fn cases_of_a_row_are_resampled_together() {
        let rows: Vec<usize> = (0..1000).map(|i| 7 * (i % 200)).collect();
        let hits: Vec<f64> = rows.iter().map(|row| f64::from((row / 7 % 2) as u8)).collect();
        let (low, high) = bootstrap_of_mean(&rows, &hits, 2000, 0.95, 1).unwrap();
        assert!((low - 0.431).abs() < 0.015 && (high - 0.569).abs() < 0.015, "{low} {high}");
        let single: Vec<usize> = (0..200).collect();
        let once = bootstrap_of_mean(&single, &hits[..200], 500, 0.95, 3).unwrap();
        assert_eq!(once, bootstrap(&hits[..200], mean, 500, 0.95, 3).unwrap());
        assert!(bootstrap_of_mean(&single, &hits, 500, 0.95, 3).is_err());
    }

    #[test]
    fn a_perfect_score_has_an_interval_of_zero_width() {
        let rows: Vec<usize> = (0..50).map(|i| i / 5).collect();
        assert_eq!(bootstrap_of_mean(&rows, &[1.0; 50], 100, 0.95, 0), Ok((1.0, 1.0)));
    }
}
