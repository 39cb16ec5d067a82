//! The p-values of permutation nulls are uniform if the null hypothesis holds, and small if it does not.
//!
//! `cargo xtask nulls [DRAWS]` draws 500 pairs of clouds for each measure, the tests draw 40 for some of
//! them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot build its case has failed")]

use chiasm_geometry::catalogue::{CATALOGUE, Measure, Shuffle};
use chiasm_geometry::measure::{MeasureOptions, measure};
use chiasm_geometry::random::Random;
use ndarray::Array2;
use rayon::prelude::*;
use std::io::Write;
use std::process::{Command, Stdio};

/// Permutations of each null. P-values are multiples of one hundredth.
const PERMUTATIONS: usize = 99;
const K: usize = 5;
const ROWS: usize = 36;

/// How the rows of both clouds are related.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rows {
    /// Independent rows, as many in both.
    Equal,
    /// Row i of both is one item: the correlation of their coordinates is 0.8.
    Paired,
    /// Independent rows, more in one.
    Pooled,
    /// Independent rows of different widths.
    Widths,
}

fn noise(n: usize, d: usize, random: &mut Random) -> Array2<f64> {
    Array2::from_shape_simple_fn((n, d), || random.normal())
}

/// Draws two clouds of one distribution, or with a shift of the second one.
fn clouds(n: usize, rows: Rows, shift: f64, seed: u64) -> (Array2<f64>, Array2<f64>) {
    let mut random = Random::new(seed);
    let d = 3;
    let x = noise(n, d, &mut random);
    let y = match rows {
        Rows::Equal => noise(n, d, &mut random),
        Rows::Paired => &x * 0.8 + noise(n, d, &mut random) * 0.6,
        Rows::Pooled => noise(2 * n / 3, d, &mut random),
        // The same points in five dimensions: their distances have the same distribution.
        Rows::Widths => {
            let inner = noise(n - 6, d, &mut random);
            Array2::from_shape_fn((n - 6, 5), |(i, j)| if j < d { inner[[i, (j + 1) % d]] } else { 0.0 })
        }
    };
    (x + 1.0, y + 1.0 + shift)
}

fn p_value(measure_key: &Measure, rows: Rows, shift: f64, seed: u64) -> f64 {
    // Loops need more rows.
    let n = if measure_key.name == "persistence_bottleneck_h1" { 180 } else { ROWS };
    let (x, y) = clouds(n, rows, shift, seed);
    let key = measure_key.key(K);
    let mut random = Random::new(seed ^ 77);
    let labels =
        (x.nrows() == y.nrows()).then(|| (0..x.nrows()).map(|_| (random.uniform() * 3.0) as usize).collect());
    let options =
        MeasureOptions::new().only([&key]).k(K).null(PERMUTATIONS).seed(seed).labels(labels).threads(1);
    let report = measure(x.view(), y.view(), &options, &|_, _, _| {}).unwrap();
    let found = report.measures.get(&key).unwrap_or_else(|| panic!("{key}: {:?}", report.skipped));
    found.null.as_ref().unwrap_or_else(|| panic!("{key}: no null for {rows:?}")).p_value
}

/// Returns the p-value of the Kolmogorov-Smirnov test against the uniform distribution on the possible
/// values, by its asymptotic series.
fn uniform(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let steps = (PERMUTATIONS + 1) as f64;
    let apart = |step: usize| {
        let at = step as f64 / steps;
        (values.partition_point(|v| *v <= at + 1e-9) as f64 / n - at).abs()
    };
    let largest = (1..=PERMUTATIONS).map(apart).fold(0.0, f64::max);
    let scaled = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * largest;
    let term = |k: i32| (-1.0_f64).powi(k - 1) * (-2.0 * f64::from(k * k) * scaled * scaled).exp();
    (2.0 * (1..100).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

fn draws() -> usize {
    std::env::var("CHIASM_NULL_DRAWS").map_or(40, |draws| draws.parse().unwrap())
}

/// Returns the ways in which the rows of a measure can be related under its null hypothesis.
fn hypotheses(measure: &Measure) -> &'static [Rows] {
    match measure.shuffle {
        Shuffle::Membership => &[Rows::Equal, Rows::Paired, Rows::Pooled],
        Shuffle::Blocks => &[Rows::Equal, Rows::Paired, Rows::Pooled, Rows::Widths],
        _ => &[Rows::Equal],
    }
}

#[test]
fn p_values_are_uniform_under_their_null() {
    let draws = draws();
    let quick = ["cka_linear", "w2_exact", "mmd2_rbf", "modality_gap", "bures_w2", "gw", "foscttm"];
    let mut bad = Vec::new();
    for measure in CATALOGUE.iter().filter(|m| m.shuffle != Shuffle::Nothing) {
        if draws < 200 && !quick.contains(&measure.name) {
            continue;
        }
        for &rows in hypotheses(measure) {
            let found: Vec<f64> =
                (0..draws as u64).into_par_iter().map(|i| p_value(measure, rows, 0.0, 1000 + i)).collect();
            let small = found.iter().filter(|p| **p <= 0.05).count() as f64 / draws as f64;
            let p = uniform(found);
            println!("{:<28} {rows:?}: KS p = {p:.3}, {:.1} % at most 0.05", measure.name, 100.0 * small);
            if p <= 0.01 {
                bad.push(format!("{} {rows:?}: KS p = {p:.4}", measure.name));
            }
        }
    }
    assert!(bad.is_empty(), "not uniform:\n{}", bad.join("\n"));
}

/// Returns the p-value of the energy distance (Székely and Rizzo 2004) with the right permutation for the
/// rows.
fn energy(rows: Rows, shift: f64, seed: u64) -> f64 {
    let (mut x, mut y) = clouds(ROWS, rows, shift, seed);
    let mut random = Random::new(seed ^ 99);
    let mean = |a: &Array2<f64>, b: &Array2<f64>| {
        let squares = chiasm_geometry::squared_distances(a.view(), b.view()).unwrap();
        squares.mapv(f64::sqrt).mean().unwrap()
    };
    let value = |x: &Array2<f64>, y: &Array2<f64>| 2.0 * mean(x, y) - mean(x, x) - mean(y, y);
    let own = value(&x, &y);
    let mut extreme = 1;
    for _ in 0..PERMUTATIONS {
        for (mut a, mut b) in x.rows_mut().into_iter().zip(y.rows_mut()) {
            if random.uniform() < 0.5 {
                ndarray::Zip::from(&mut a).and(&mut b).for_each(std::mem::swap);
            }
        }
        extreme += usize::from(value(&x, &y) >= own - 1e-12);
    }
    extreme as f64 / (PERMUTATIONS + 1) as f64
}

/// The shift is a quarter of a standard deviation in each coordinate of 36 pairs. Pooling the rows of such
/// pairs, which ignores that they are paired, finds it in almost no draw. The standard error of a share of 40
/// draws is at most 0.08. W2 needs more rows than kernels and energies (Ramdas et al. 2017, arXiv
/// 1509.02237), so its reference is the test of the next function.
#[test]
fn paired_rows_reveal_a_small_shift() {
    let draws = draws();
    let share = |p: &(dyn Fn(u64) -> f64 + Sync)| {
        let found: Vec<f64> = (0..draws as u64).into_par_iter().map(|i| p(5000 + i)).collect();
        found.iter().filter(|p| **p <= 0.05).count() as f64 / draws as f64
    };
    let reference = share(&|seed| energy(Rows::Paired, 0.25, seed));
    println!("power of the energy test: {reference:.3}");
    let slack = 3.0 / (draws as f64).sqrt() * 0.5;
    let mut weak = Vec::new();
    for name in ["mmd2_rbf", "sinkhorn_divergence", "sliced_w2"] {
        let measure = CATALOGUE.iter().find(|m| m.name == name).unwrap();
        let power = share(&|seed| p_value(measure, Rows::Paired, 0.25, seed));
        println!("power of {name}: {power:.3}");
        if power < reference - slack {
            weak.push(format!("{name}: power {power:.3}, energy test {reference:.3}"));
        }
    }
    assert!(weak.is_empty(), "{}", weak.join("\n"));
}

/// The p-values of the exact W2 that SciPy's assignment gives, with as many permutations of its own.
fn w2_of_scipy(rows: Rows, shift: f64, draws: usize) -> Vec<f64> {
    let mut input = Vec::new();
    let mut shape = [0; 3];
    for seed in 0..draws as u64 {
        let (x, y) = clouds(ROWS, rows, shift, 7000 + seed);
        shape = [x.nrows(), y.nrows(), x.ncols()];
        input.extend(x.iter().chain(&y).flat_map(|v| v.to_le_bytes()));
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/w2_p_values.py");
    let shuffle = if rows == Rows::Paired { "pairs" } else { "pooled" };
    let mut process = Command::new(chiasm_testing::peers())
        .arg(script)
        .args(shape.iter().chain([&PERMUTATIONS]).map(usize::to_string))
        .arg(shuffle)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(&input).unwrap();
    let output = process.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// For the exact W2 the power is that of a permutation test of SciPy's assignment on the same clouds, which
/// exchanges the sides of pairs, and pools rows that are not paired. The difference of two shares of the same
/// draws has a standard error of at most 0.11 for 40 draws; permutations are random on both sides.
#[test]
fn the_exact_w2_has_the_power_of_its_permutation_test() {
    let draws = draws();
    let slack = 2.0 / (draws as f64).sqrt() * 0.5;
    let measure = CATALOGUE.iter().find(|m| m.name == "w2_exact").unwrap();
    let share = |found: &[f64]| found.iter().filter(|p| **p <= 0.05).count() as f64 / draws as f64;
    let mut weak = Vec::new();
    for (rows, shift) in [(Rows::Paired, 0.25), (Rows::Paired, 0.4), (Rows::Equal, 0.6), (Rows::Pooled, 0.7)]
    {
        let found: Vec<f64> =
            (0..draws as u64).into_par_iter().map(|i| p_value(measure, rows, shift, 7000 + i)).collect();
        let (power, reference) = (share(&found), share(&w2_of_scipy(rows, shift, draws)));
        println!("power of w2_exact, {rows:?}, shift {shift}: {power:.3}, SciPy {reference:.3}");
        if power < reference - slack {
            weak.push(format!("{rows:?}, shift {shift}: power {power:.3}, SciPy {reference:.3}"));
        }
    }
    assert!(weak.is_empty(), "{}", weak.join("\n"));
}
