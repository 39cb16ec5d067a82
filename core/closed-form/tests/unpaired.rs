//! Items without a partner: two measurements of one process are joined without a pair, fits that cannot be
//! trusted say so, and items that mislead do not outvote the pairs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_closed_form::ot_map::OtMapParams;
use chiasm_closed_form::{Fitted, UnpairedReport};
use chiasm_geometry::foscttm::foscttm;
use chiasm_geometry::random::Random;
use ndarray::{Array2, Axis, Slice};
use serde_json::{Value, json};

fn fit(x: &Array2<f32>, y: &Array2<f32>, parameters: Value) -> (Fitted<OtMapParams>, UnpairedReport) {
    let fitted: Fitted<OtMapParams> = common::fit(x, y, parameters).unwrap();
    let report = fitted.unpaired.clone().unwrap();
    (fitted, report)
}

fn images(fitted: &Fitted<OtMapParams>, x: &Array2<f32>, y: &Array2<f32>) -> [Array2<f32>; 2] {
    [fitted.maps[0].apply(x.view()).unwrap(), fitted.maps[1].apply(y.view()).unwrap()]
}

/// Cells at a stage of one process, as levels of 12 genes and as 25 binary marks, with noise. More cells are
/// at the start.
fn cells(n: usize, seed: u64) -> (Array2<f32>, Array2<f32>) {
    let mut random = Random::new(seed);
    let stages: Vec<f64> = (0..n).map(|_| random.uniform().powf(1.6)).collect();
    let genes = Array2::from_shape_fn((n, 12), |(i, k)| {
        let apart = (stages[i] - k as f64 / 11.0) / 0.25;
        ((-apart * apart).exp() + 0.1 * random.normal()) as f32
    });
    let marks = Array2::from_shape_fn((n, 25), |(i, k)| {
        let sign = if k % 3 == 0 { -1.0 } else { 1.0 };
        let apart = sign * (stages[i] + 0.2 - 1.4 * k as f64 / 24.0) / 0.08;
        f32::from(u8::from(random.uniform() < 1.0 / (1.0 + (-apart).exp())))
    });
    (genes, marks)
}

/// With true pairs instead of the plan the same maps reach about 0.1, and chance is 0.5. The mirrored
/// matching, which a single start may end in, gives more than 0.6.
#[test]
fn two_views_of_one_process_are_joined_without_a_pair() {
    let (x, y) = cells(150, 1);
    let (fitted, report) = fit(&x, &y, json!({ "pairs": 0, "map": "canonical" }));
    let [a, b] = images(&fitted, &x, &y);
    let share = foscttm(a.view(), b.view()).unwrap();
    assert!(share < 0.16, "{share}, {report:?}");
    assert_eq!(report.warning, None);
    let matching = report.matching.unwrap();
    assert!(matching.next_best.unwrap() > 1.5 * matching.unexplained, "{matching:?}");
    assert!(matching.distances[0].contains("neighbours"), "a curved process: {matching:?}");
    // A fit with the chosen parameters gives the same bits.
    let again = fit(&x, &y, serde_json::to_value(&fitted.parameters).unwrap()).0;
    assert_eq!(common::bytes(&fitted), common::bytes(&again));
    assert!(fitted.maps[0].inverse().unwrap().is_ok(), "linear maps have an inverse");
}

/// The reference's order says nothing: with a shuffled partner nothing is found.
#[test]
fn the_order_of_the_cells_is_not_read() {
    let (x, y) = cells(150, 2);
    let order = Random::new(8).permutation(150);
    let shuffled = y.select(Axis(0), &order);
    let (fitted, _) = fit(&x, &shuffled, json!({ "pairs": 0, "map": "canonical" }));
    let [a, b] = images(&fitted, &x, &shuffled);
    let by_row = foscttm(a.view(), b.view()).unwrap();
    let [a, b] = images(&fitted, &x, &y);
    let by_cell = foscttm(a.view(), b.view()).unwrap();
    assert!(by_cell < 0.16 && by_row > 0.3, "by cell {by_cell}, by row {by_row}");
}

#[test]
fn a_fit_of_noise_says_that_it_cannot_be_trusted() {
    let mut random = Random::new(4);
    let mut noise = |d| Array2::from_shape_simple_fn((160, d), || random.normal() as f32);
    let (x, y) = (noise(8), noise(6));
    let (_, report) = fit(&x, &y, json!({ "pairs": 0, "dimensions": 6 }));
    assert!(report.agreement.unwrap() < 0.5, "{report:?}");
    assert!(report.warning.unwrap().contains("halves of the items disagree"));
    let (_, report) = fit(&x, &y, json!({ "pairs": 0, "map": "canonical" }));
    assert!(report.warning.unwrap().contains("nearly as good"));
}

/// A cloud of unequal groups, and the same rows turned, with noise.
fn turned(n: usize, d: usize) -> (Array2<f32>, Array2<f32>) {
    let mut random = Random::new(11);
    let centres = Array2::from_shape_simple_fn((12, d), || random.normal());
    let x = Array2::from_shape_fn((n, d), |(i, j)| (centres[[i % 12, j]] + 0.3 * random.normal()) as f32);
    let basis = Array2::from_shape_simple_fn((d, d), || random.normal());
    let turn = chiasm_geometry::linalg::thin_svd(basis.view()).unwrap().u.mapv(|v| v as f32);
    let y = x.dot(&turn) + Array2::from_shape_simple_fn((n, d), || 0.03 * random.normal() as f32);
    (x, y)
}

#[test]
fn halves_that_agree_are_no_reason_to_doubt() {
    let (x, y) = turned(360, 8);
    let (_, report) = fit(&x, &y, json!({ "pairs": 0, "dimensions": 8 }));
    assert!(report.agreement.unwrap() > 0.8 && report.warning.is_none(), "{report:?}");
}

/// The other items of the second modality are of another cloud, so that their plan turns the map away from
/// what sixty pairs determine.
#[test]
fn items_that_mislead_do_not_outvote_the_pairs() {
    let (x, mut y) = turned(360, 8);
    let mut random = Random::new(5);
    let other = Array2::from_shape_simple_fn((300, 8), || random.normal() as f32);
    y.slice_axis_mut(Axis(0), Slice::from(60..)).assign(&other);
    let settings = |steps: usize| json!({ "pairs": 60, "dimensions": 8, "weight": 3.0, "steps": steps });
    let (fitted, report) = fit(&x, &y, settings(20));
    let scores = report.held_out.unwrap();
    assert_eq!(scores.pairs, 60);
    assert!(scores.pairs_alone > scores.with_the_rest && !report.used, "{report:?}");
    let alone: Fitted<OtMapParams> = common::fit(&x, &y, settings(0)).unwrap();
    assert_eq!(common::bytes(&fitted), common::bytes(&alone));
}

/// Twelve noisy pairs leave a rotation of sixteen dimensions open; the other items determine it.
#[test]
fn items_that_help_are_used() {
    let (x, mut y) = turned(360, 16);
    let mut random = Random::new(6);
    y.slice_axis_mut(Axis(0), Slice::from(..12)).mapv_inplace(|v| v + 0.5 * random.normal() as f32);
    let (_, report) = fit(&x, &y, json!({ "pairs": 12, "dimensions": 16, "weight": 1.0 }));
    let scores = report.held_out.unwrap();
    assert!(report.used && scores.with_the_rest > scores.pairs_alone, "{report:?}");
}
