use super::*;

fn values(of: impl Fn(usize) -> f64) -> QueryValues {
    [("a->b", 100), ("b->a", 200)]
        .into_iter()
        .map(|(name, count)| (name.to_owned(), (0..count).map(|i| (i % 100, of(i))).collect()))
        .collect()
}

/// Two fits that differ by a constant differ by it in every resample, although their scores vary widely.
#[test]
fn a_constant_difference_has_an_interval_of_zero_width() {
    let (own, other) = (values(|i| (i % 7) as f64 + 0.25), values(|i| (i % 7) as f64));
    let found = paired_difference(&own, &other, 1).unwrap().unwrap();
    assert!([found.mean, found.interval[0], found.interval[1]].iter().all(|d| (d - 0.25).abs() < 1e-12));
    assert!(found.p < 0.001, "{found:?}");
}

/// Each row has differences of one sign, so the standard error is that of 100 rows: 1 / sqrt(100) = 0.1.
/// Percentiles of 20,000 draws are within 0.005 of normal theory.
#[test]
fn the_interval_is_that_of_the_rows() {
    let (own, other) = (values(|i| if i % 2 == 0 { 1.0 } else { -1.0 }), values(|_| 0.0));
    let found = paired_difference(&own, &other, 1).unwrap().unwrap();
    assert!(found.mean.abs() < 1e-12);
    assert!((found.interval[1] - 0.196).abs() < 0.01 && (found.interval[0] + 0.196).abs() < 0.01);
    assert!((found.p - 1.0).abs() < 1e-12, "no difference at all: {found:?}");
}

#[test]
fn fits_with_other_queries_are_not_compared() {
    let mut other = values(|_| 0.0);
    other.get_mut("a->b").unwrap().pop();
    assert_eq!(paired_difference(&values(|_| 1.0), &other, 1).unwrap(), None);
    let sums = |values: &QueryValues| RowSums::of(std::slice::from_ref(values)).unwrap();
    assert!(sums(&values(|_| 1.0)).minus(&sums(&other)).is_none());
    assert!(RowSums::of(&[values(|_| 1.0), other]).is_none(), "nor are seeds");
}

fn uniform(stream: u64, row: u64, query: u64) -> f64 {
    ((row * 37 + query * 101 + stream * 53) * 2_654_435_761 % (1 << 32)) as f64 / (1_u64 << 32) as f64
}

/// The data of `tests/reference/paired_bootstrap.py`: 60 rows with one query a->b and one to three b->a.
fn system(stream: u64, share: f64) -> QueryValues {
    let right = |direction: u64, row: u64, query: u64| {
        let value =
            0.7 * uniform(9 * direction, row, query) + 0.3 * uniform(stream, row, query + 3 + 4 * direction);
        f64::from(u8::from(value < share))
    };
    let one = (0..60).map(|row| (row as usize, right(0, row, 0))).collect();
    let several = (0..60).flat_map(|row| (0..=row % 3).map(move |query| (row, query)));
    let several = several.map(|(row, query)| (row as usize, right(1, row, query))).collect();
    [("a->b".to_owned(), one), ("b->a".to_owned(), several)].into()
}

/// The values are printed by `tests/reference/paired_bootstrap.py`, with 400,000 resamples of NumPy. With
/// 20,000 resamples the standard error of a p-value of 0.5 is 0.0035, and the tolerance 0.01.
#[test]
fn p_values_and_intervals_equal_those_of_numpy() {
    let seeds = |stream: u64, share: f64, count: u64| -> RowSums {
        let all: Vec<QueryValues> = (0..count).map(|seed| system(stream + 11 * seed, share)).collect();
        RowSums::of(&all).unwrap()
    };
    let cases = [
        ((1, 0.49), 1, -0.045833, [-0.0825, -0.0083], 0.0155),
        ((1, 0.47), 1, -0.004167, [-0.0332, 0.0261], 0.8288),
        ((1, 0.45), 1, 0.025000, [-0.0042, 0.0570], 0.1134),
        ((3, 0.47), 3, 0.044444, [-0.0250, 0.1389], 0.3466),
        ((3, 0.45), 1, 0.016667, [-0.0417, 0.0725], 0.5462),
    ];
    for ((count, share), others, mean, interval, p) in cases {
        let (own, other) = (seeds(1, 0.5, count), seeds(2, share, others));
        let found = own.minus(&other).unwrap().tested(7);
        assert!((found.mean - mean).abs() < 1e-6, "{found:?}, NumPy {mean}");
        assert!((found.p - p).abs() < 0.01, "{found:?}, NumPy {p}");
        let ends = found.interval.iter().zip(interval).all(|(own, numpy)| (own - numpy).abs() < 0.005);
        assert!(ends, "{found:?}, NumPy {interval:?}");
        let turned = other.minus(&own).unwrap().tested(7);
        assert_eq!((turned.mean, turned.p), (-found.mean, found.p), "exchanging the fits changes the sign");
    }
}

/// Rows with many queries are drawn more than once in some resamples: the sum of their values exceeds the
/// number of all queries, but not that of the drawn ones.
#[test]
fn intervals_stay_inside_the_bounds_of_the_metric() {
    let uneven = |value: f64| -> QueryValues {
        let queries = (0..12_usize).flat_map(|row| std::iter::repeat_n((row, value), 1 + row * row));
        [("a->b".to_owned(), queries.collect())].into()
    };
    let sums = |value| RowSums::of(&[uneven(value)]).unwrap();
    let (one, zero) = (sums(1.0), sums(0.0));
    assert_eq!(one.value(), 1.0);
    assert_eq!((one.interval(3), zero.interval(3)), ([1.0, 1.0], [0.0, 0.0]));
    assert_eq!(one.minus(&zero).unwrap().tested(3).interval, [1.0, 1.0]);
}

/// Three rows that all changed show little: the exact test that changes signs has p = 2 / 2^3.
#[test]
fn a_few_rows_show_nothing() {
    let of = |rows: usize, value: f64| -> QueryValues {
        [("a->b".to_owned(), (0..rows).map(|row| (row, value)).collect())].into()
    };
    let p = |rows| paired_difference(&of(rows, 1.0), &of(rows, 0.0), 1).unwrap().unwrap().p;
    assert_eq!((p(1), p(3)), (1.0, 0.25));
    assert!(p(40) < 0.001);
}

/// `p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")` in R gives 0.03 0.06 0.06 0.02.
#[test]
fn holms_correction_is_that_of_r() {
    let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
    let expected = [0.03, 0.06, 0.06, 0.02];
    assert!(corrected.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{corrected:?}");
    assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    assert!(holm(&[]).is_empty());
}
