//! Differences of harmonic numbers.

/// Returns `1/(from + 1) + ... + 1/to`, with a relative error below 1e-13.
///
/// Short sums are added term by term. Long ones use H(n) = ln n + γ + 1/(2n) - 1/(12n²) + 1/(120n⁴) -
/// 1/(252n⁶) for n >= 64.
pub(crate) fn harmonic(from: usize, to: usize) -> f64 {
    const SHORT: usize = 64;
    let add = |from: usize, to: usize| (from + 1..=to).map(|n| 1.0 / n as f64).sum::<f64>();
    if to <= from + SHORT {
        return add(from, to);
    }
    let (middle, n) = (from.max(SHORT), |n: usize| n as f64);
    let tail = |n: f64| (0.5 - (1.0 / 12.0 - (1.0 / 120.0 - 1.0 / (252.0 * n * n)) / (n * n)) / n) / n;
    add(from, middle) + ((n(to) - n(middle)) / n(middle)).ln_1p() + tail(n(to)) - tail(n(middle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmonic_differences_agree_with_the_sums() {
        for (from, to) in
            [(0, 0), (0, 1), (3, 60), (0, 65), (0, 1000), (10, 129), (500, 5000), (90_000, 90_100)]
        {
            let want: f64 = (from + 1..=to).rev().map(|n| 1.0 / n as f64).sum();
            let got = harmonic(from, to);
            assert!((got - want).abs() <= 1e-13 * want, "{from}..{to}: {got} and {want}");
        }
    }
}
