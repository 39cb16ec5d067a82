//! Properties of the measures for any two clouds: bounds, symmetry, invariance under rotations and
//! permutations, the triangle inequality, and a finite value or a reason for any rows.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its case has failed")]

use chiasm_geometry::catalogue::CATALOGUE;
use chiasm_geometry::discrepancy::{bures_w2, directions, modality_gap, sliced_w2};
use chiasm_geometry::linalg::thin_svd;
use chiasm_geometry::measure::{MeasureOptions, MeasureReport, measure};
use chiasm_geometry::random::Random;
use chiasm_geometry::wasserstein::w2_exact;
use ndarray::{Array2, Axis};
use proptest::prelude::*;
use std::time::Duration;

const TIME: Duration = Duration::from_secs(60);

fn noise(n: usize, d: usize, seed: u64) -> Array2<f64> {
    let mut random = Random::new(seed);
    Array2::from_shape_simple_fn((n, d), || random.normal())
}

/// Returns clouds of dependent paired rows.
fn pair(n: usize, d: usize, seed: u64) -> (Array2<f64>, Array2<f64>) {
    let x = noise(n, d, seed);
    let y = x.mapv(f64::tanh) + 0.5 * noise(n, d, seed ^ 1) + 0.2;
    (x, y)
}

fn all(x: &Array2<f64>, y: &Array2<f64>) -> MeasureReport {
    let labels = (x.nrows() == y.nrows()).then(|| (0..x.nrows()).map(|i| i % 3).collect());
    let k = 3.min(x.nrows().min(y.nrows()) - 1);
    measure(x.view(), y.view(), &MeasureOptions::new().labels(labels).k(k), &|_, _, _| {}).unwrap()
}

/// Measures that use single precision, a local search or fixed directions.
const APPROXIMATE: [&str; 4] = ["gw", "sinkhorn_divergence", "sliced_w2", "nmi"];

fn same(a: &MeasureReport, b: &MeasureReport, but: &[&str]) -> Result<(), TestCaseError> {
    for (key, found) in &a.measures {
        let (one, other) = (found.value, b.measures[key].value);
        let left_out = APPROXIMATE.iter().chain(but).any(|name| key.starts_with(name));
        // Allows for another order of summation and for square roots of rounding errors.
        prop_assert!(left_out || (one - other).abs() < 1e-6 * one.abs().max(0.1), "{key}: {one} and {other}");
    }
    Ok(())
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn sides_rotations_and_orders_do_not_matter(n in 12..40_usize, d in 2..6_usize, seed: u64) {
        let (x, y) = pair(n, d, seed);
        let plain = all(&x, &y);
        prop_assert!(plain.skipped.is_empty(), "{:?}", plain.skipped);
        same(&plain, &all(&y, &x), &["intrinsic_dimension", "trustworthiness", "continuity"])?;
        let turn = thin_svd(noise(d, d, seed ^ 2).view()).unwrap().u;
        same(&plain, &all(&x.dot(&turn), &y.dot(&turn)), &[])?;
        let order = Random::new(seed ^ 3).permutation(n);
        let [moved_x, moved_y] = [&x, &y].map(|cloud| cloud.select(Axis(0), &order));
        same(&plain, &all(&moved_x, &moved_y), &["silhouette"])?; // labels are not permuted
    }

    /// Under a common shift and scaling, similarities and residuals do not change, and distances scale.
    #[test]
    fn shifts_and_scales_do_not_matter(n in 12..40_usize, d in 2..6_usize, seed: u64) {
        let (x, y) = pair(n, d, seed);
        let (near, far) = (all(&x, &y), all(&(&x * 8.0 + 3.0), &(&y * 8.0 + 3.0)));
        let lengths = ["w2_exact", "bures_w2", "sliced_w2"];
        same(&near, &far, &[lengths.as_slice(), &["modality_gap"]].concat())?;
        for key in lengths {
            let ratio = far.measures[key].value / near.measures[key].value;
            prop_assert!((ratio - 8.0).abs() < 1e-6, "{key}: {ratio}");
        }
    }

    /// The Bures distance is a lower bound of W2 (Gelbrich 1990), and projections shorten distances.
    #[test]
    fn distances_are_metrics_and_bound_each_other(
        n in 2..30_usize,
        m in 2..30_usize,
        d in 1..5_usize,
        seed: u64,
    ) {
        let clouds = [noise(n, d, seed), noise(m, d, seed ^ 1) * 2.0 + 1.0, noise(n, d, seed ^ 2) - 0.5];
        let axes = directions(d, 32, seed);
        let all = |i: usize, j: usize| {
            let (x, y) = (clouds[i].view(), clouds[j].view());
            [
                w2_exact(x, y, TIME).unwrap(),
                bures_w2(x, y).unwrap(),
                sliced_w2(x, y, axes.view()).unwrap(),
                modality_gap(x, y).unwrap(),
            ]
        };
        let (ab, bc, ac) = (all(0, 1), all(1, 2), all(0, 2));
        for i in 0..4 {
            prop_assert!(ac[i] <= ab[i] + bc[i] + 1e-9, "{i}: {} > {} + {}", ac[i], ab[i], bc[i]);
        }
        prop_assert!(ab[1] <= ab[0] + 1e-7 && ab[2] <= ab[0] + 1e-9, "{ab:?}");
    }
}

/// Returns a degenerate cloud: duplicates, a constant column, extreme scales, constant rows or an outlier.
fn degenerate(kind: usize, mut x: Array2<f64>) -> Array2<f64> {
    match kind {
        0 => (0..x.nrows() / 2).for_each(|i| {
            let row = x.row(i).to_owned();
            x.row_mut(x.nrows() - 1 - i).assign(&row);
        }),
        1 => x.column_mut(0).fill(0.1),
        2 => x *= 1e30,
        3 => x *= 1e-30,
        4 => x.fill(0.1),
        5 => x[[0, 0]] = 1e12,
        _ => {}
    }
    x
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn any_rows_give_a_finite_value_in_its_range_or_a_reason(
        n in 2..24_usize,
        m in 2..24_usize,
        d in 1..4_usize,
        kinds in (0..8_usize, 0..8_usize),
        paired: bool,
        seed: u64,
    ) {
        let x = degenerate(kinds.0, noise(n, d, seed));
        let y = degenerate(kinds.1, noise(if paired { n } else { m }, d, seed ^ 1));
        let report = all(&x, &y);
        prop_assert_eq!(report.measures.len() + report.skipped.len(), CATALOGUE.len());
        prop_assert!(report.skipped.values().all(|reason| reason.len() > 10), "{:?}", report.skipped);
        for (key, found) in &report.measures {
            let name = key.split('@').next().unwrap();
            let range = match name {
                "cka_linear" | "cka_rbf" | "svcca" | "mutual_knn" | "neighbourhood_jaccard" => 0.0..=1.0,
                "trustworthiness" | "continuity" | "procrustes_residual" => 0.0..=1.0,
                "geodesic_distortion" | "foscttm" | "nmi" => 0.0..=1.0,
                "silhouette" => -1.0..=1.0,
                "cka_linear_unbiased" | "cka_rbf_unbiased" | "mmd2_rbf" | "mutual_information_ksg" => {
                    f64::MIN..=f64::MAX
                }
                "sinkhorn_divergence" => f64::MIN..=f64::MAX, // slightly negative in single precision
                _ => 0.0..=f64::MAX,
            };
            let (low, high) = (range.start() - 1e-9, range.end() + 1e-9);
            prop_assert!((low..=high).contains(&found.value), "{}: {}", key, found.value);
        }
    }
}
