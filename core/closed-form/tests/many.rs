//! Three modalities: incomplete rows, pairs of modalities that share no row, several items per row.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its case has failed")]

mod common;

use chiasm_closed_form::{Fitted, Method, View, Views};
use chiasm_closed_form::{
    cca::CcaParams, kcca::KccaParams, mean_vector::MeanVectorParams, ot_map::OtMapParams,
    procrustes::ProcrustesParams, ridge::RidgeParams,
};
use chiasm_geometry::linalg::thin_svd;
use chiasm_geometry::random::Random;
use chiasm_geometry::retrieval::Ranks;
use common::{TestModality, bytes, engine, fit_views, gap, part, run, shared_latents, views};
use ndarray::{Array2, Axis, Slice};
use serde_json::{Value, json};

const WIDTHS: [(&str, usize); 3] = [("image", 12), ("text", 10), ("sound", 8)];

/// The images of the clouds' items under a fit.
fn images<P>(fitted: &Fitted<P>, clouds: &[TestModality]) -> Vec<Array2<f32>> {
    let engine = engine().unwrap();
    let maps = fitted.maps.iter().map(|map| map.graph().unwrap());
    maps.zip(clouds).map(|(map, cloud)| run(engine, &map, &cloud.1)).collect()
}

/// The fit on rows below `train`, of which each modality has those that `holds` says, and the images of all
/// other rows.
fn fit_and_map<P: Method>(
    clouds: &[TestModality],
    train: usize,
    holds: impl Fn(usize, usize) -> bool,
    parameters: Value,
) -> Vec<Array2<f32>> {
    let fitted_on: Vec<TestModality> = clouds
        .iter()
        .enumerate()
        .map(|(at, cloud)| part(cloud, |row| row < train && holds(at, row)))
        .collect();
    let fitted: Fitted<P> = fit_views(&views(&fitted_on, Some("text")), parameters).unwrap();
    let tests: Vec<TestModality> = clouds.iter().map(|cloud| part(cloud, |row| row >= train)).collect();
    images(&fitted, &tests)
}

fn rsum(a: &Array2<f32>, b: &Array2<f32>) -> f64 {
    Ranks::of_embeddings(a.view(), b.view()).unwrap().rsum()
}

/// Generalised Procrustes must align three rotated copies of one cloud.
#[test]
fn generalised_procrustes_recovers_known_rotations() {
    if engine().is_none() {
        return;
    }
    let mut random = Random::new(1);
    let cloud = Array2::from_shape_fn((120, 6), |(_, j)| (random.normal() / (1.0 + j as f64)) as f32);
    let mut turned = |name| -> TestModality {
        let basis = Array2::from_shape_simple_fn((6, 6), || random.normal());
        (name, cloud.dot(&thin_svd(basis.view()).unwrap().u.mapv(|v| v as f32)), (0..120).collect())
    };
    let clouds = vec![turned("image"), turned("text"), turned("sound")];
    let given = json!({ "curve": "unit", "dimensions": 6 });
    for anchor in [None, Some("image")] {
        let fitted: Fitted<ProcrustesParams> = fit_views(&views(&clouds, anchor), given.clone()).unwrap();
        let z = images(&fitted, &clouds);
        // 1e-4: single precision
        assert!(gap(&z[0], &z[1]) < 1e-4 && gap(&z[1], &z[2]) < 1e-4 && gap(&z[0], &z[2]) < 1e-4);
    }
    // no row holds image and sound together, and the means of the halves differ a little
    let z = fit_and_map::<ProcrustesParams>(
        &clouds,
        100,
        |at, row| at == 1 || row.is_multiple_of(2) == (at == 0),
        given,
    );
    assert!((&z[0] * &z[2]).sum_axis(Axis(1)).iter().all(|cosine| *cosine > 0.9));
}

/// Where text shows the latent vector exactly, image and sound are independent given text: completing their
/// cross-covariance through text must give what rows that hold both would have given.
#[test]
fn a_pair_that_no_row_holds_is_completed_through_a_third_modality() {
    if engine().is_none() {
        return;
    }
    let mut random = Random::new(3);
    let mut noise = |rows, columns| Array2::from_shape_simple_fn((rows, columns), || random.normal() as f32);
    let latent = noise(2100, 4);
    let mut cloud = |name, d, level: f32| -> TestModality {
        (name, latent.dot(&noise(4, d)) + noise(2100, d) * level, (0..2100).collect())
    };
    let clouds = vec![cloud("image", 9, 0.5), cloud("text", 8, 0.01), cloud("sound", 7, 0.5)];
    let apart = |at: usize, row: usize| at == 1 || (row < 1000) == (at == 0);
    let setting = json!([{ "ridge": 1e-4, "dimensions": 4, "power": 1.0 }]);
    let given = json!({ "curve": "unit", "settings": setting });
    let whole = fit_and_map::<CcaParams>(&clouds, 2000, |_, _| true, given.clone());
    let emergent = fit_and_map::<CcaParams>(&clouds, 2000, apart, given);
    let scores = |z: &[Array2<f32>]| z[0].dot(&z[2].t());
    let off = (scores(&whole) - scores(&emergent)).mapv(|x| f64::from(x * x)).mean().unwrap().sqrt();
    // the sampling error of a correlation of a thousand rows is 1 / sqrt(1000) = 0.03
    assert!(off < 0.05, "root mean square difference of cosines {off}");
    let [whole, emergent] = [whole, emergent].map(|z| rsum(&z[0], &z[2]));
    assert!(emergent > 0.95 * whole, "{emergent} of {whole}");
}

/// All methods align three modalities with default parameters, also the two that share no row.
#[test]
fn modalities_without_shared_rows_are_aligned_above_chance() {
    if engine().is_none() {
        return;
    }
    let clouds = shared_latents(400, &WIDTHS, 5, 5);
    let apart = |at: usize, row: usize| at == 1 || row.is_multiple_of(2) == (at == 0);
    let emergent = [
        fit_and_map::<ProcrustesParams>(&clouds, 300, apart, json!({})),
        fit_and_map::<RidgeParams>(&clouds, 300, apart, json!({})),
        fit_and_map::<CcaParams>(&clouds, 300, apart, json!({})),
        fit_and_map::<KccaParams>(&clouds, 300, apart, json!({})),
    ];
    for z in emergent {
        // chance is 32 of 600
        assert!(rsum(&z[0], &z[2]) > 150.0, "{}", rsum(&z[0], &z[2]));
    }
}

/// A fifth of the items of each modality is missing. Incomplete rows must improve the fit.
#[test]
fn rows_that_lack_a_modality_are_used() {
    if engine().is_none() {
        return;
    }
    let clouds = shared_latents(260, &WIDTHS, 5, 6);
    let missing = |at: usize, row: usize| !(row * 7 + at * 3).is_multiple_of(5);
    let complete = |_: usize, row: usize| (0..3).all(|at| missing(at, row));
    let given = json!({ "curve": "unit", "settings": [{ "ridge": 0.03, "dimensions": 5, "power": 1.0 }] });
    let total = |z: &[Array2<f32>]| rsum(&z[0], &z[1]) + rsum(&z[1], &z[2]) + rsum(&z[0], &z[2]);
    let all = total(&fit_and_map::<CcaParams>(&clouds, 60, missing, given.clone()));
    let some = total(&fit_and_map::<CcaParams>(&clouds, 60, complete, given));
    assert!(all > some, "{all} with all rows, {some} with complete rows only");
}

/// Scores of every pair of modalities, in the order of [`WIDTHS`].
fn scores<P: Method>(clouds: &[TestModality], parameters: &Value) -> Vec<Array2<f32>> {
    let fitted: Fitted<P> = fit_views(&views(clouds, Some("text")), parameters.clone()).unwrap();
    let z = images(&fitted, clouds);
    let of = |name: &str| &z[clouds.iter().position(|cloud| cloud.0 == name).unwrap()];
    [("image", "text"), ("text", "sound"), ("image", "sound")]
        .iter()
        .map(|(a, b)| of(a).dot(&of(b).t()))
        .collect()
}

fn order_is_free<P: Method>(parameters: &Value) {
    let mut clouds = shared_latents(90, &WIDTHS, 5, 7);
    clouds[0] = part(&clouds[0], |row| row % 5 != 1);
    clouds[2] = part(&clouds[2], |row| row % 4 != 2);
    let first = scores::<P>(&clouds, parameters);
    for order in [[2, 0, 1], [1, 2, 0], [2, 1, 0]] {
        let other: Vec<TestModality> = order.map(|at| clouds[at].clone()).into();
        for (a, b) in first.iter().zip(scores::<P>(&other, parameters)) {
            // 1e-4: single precision, and where alternating turns end
            assert!(gap(a, &b) < 1e-4, "{order:?}: {}", gap(a, &b));
        }
    }
}

#[test]
fn the_order_of_modalities_changes_no_score() {
    if engine().is_none() {
        return;
    }
    let ridge = json!({ "image": 0.1, "text": 0.03, "sound": 0.3 });
    let settings = json!([
        { "ridge": ridge, "dimensions": 5, "power": 1.0 },
        { "ridge": 0.1, "dimensions": 4, "power": 0.5 },
    ]);
    order_is_free::<ProcrustesParams>(&json!({ "curve": "unit", "dimensions": 5 }));
    order_is_free::<RidgeParams>(&json!({ "curve": "unit", "ridge": ridge }));
    order_is_free::<CcaParams>(&json!({ "curve": "unit", "settings": settings }));
    order_is_free::<KccaParams>(&json!({ "curve": "unit", "settings": settings }));
    order_is_free::<MeanVectorParams>(&json!({}));
}

fn copies_count_once<P: Method>(parameters: &Value) {
    let clouds = shared_latents(60, &WIDTHS, 5, 8);
    let mut copied = clouds.clone();
    let places: Vec<usize> = (0..60).flat_map(|row| std::iter::repeat_n(row, 1 + row % 3)).collect();
    copied[1] = ("text", clouds[1].1.select(Axis(0), &places), places);
    let fit = |clouds: &[TestModality]| -> Fitted<P> {
        fit_views(&views(clouds, None), parameters.clone()).unwrap()
    };
    let (plain, several) = (images(&fit(&clouds), &clouds), images(&fit(&copied), &clouds));
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        let off = gap(&plain[a].dot(&plain[b].t()), &several[a].dot(&several[b].t()));
        // 1e-5: sums in another order, in single precision
        assert!(off < 1e-5, "{off}");
    }
}

/// Copies of an item in its row must not change the fit.
#[test]
fn copies_of_an_item_in_its_row_change_nothing() {
    if engine().is_none() {
        return;
    }
    let setting = json!([{ "ridge": 0.1, "dimensions": 5, "power": 1.0 }]);
    copies_count_once::<MeanVectorParams>(&json!({}));
    copies_count_once::<ProcrustesParams>(&json!({ "curve": "unit", "dimensions": 5 }));
    copies_count_once::<RidgeParams>(&json!({ "curve": "unit", "ridge": 0.1 }));
    copies_count_once::<CcaParams>(&json!({ "curve": "unit", "settings": setting }));
}

fn refits<P: Method>(clouds: &[TestModality], anchor: Option<&str>) {
    let first: Fitted<P> = fit_views(&views(clouds, anchor), json!({})).unwrap();
    let chosen = serde_json::to_value(&first.parameters).unwrap();
    let again: Fitted<P> = fit_views(&views(clouds, anchor), chosen.clone()).unwrap();
    assert!(again.report.is_none(), "everything was chosen already");
    assert_eq!(bytes(&first), bytes(&again));
    assert_eq!(chosen, serde_json::to_value(&again.parameters).unwrap());
}

#[test]
fn chosen_parameters_of_three_modalities_refit_to_the_same_bytes() {
    let mut clouds = shared_latents(80, &WIDTHS, 5, 9);
    clouds[0] = part(&clouds[0], |row| row % 5 != 1);
    for anchor in [None, Some("image")] {
        refits::<ProcrustesParams>(&clouds, anchor);
        refits::<RidgeParams>(&clouds, anchor);
        refits::<CcaParams>(&clouds, anchor);
        refits::<KccaParams>(&clouds, anchor);
        refits::<MeanVectorParams>(&clouds, anchor);
    }
}

/// Validation rows choose, and nothing is fitted on them.
#[test]
fn validation_rows_choose_and_are_not_fitted_on() {
    let clouds = shared_latents(120, &WIDTHS, 5, 10);
    let mut altered = clouds.clone();
    for cloud in &mut altered {
        cloud.1.slice_axis_mut(Axis(0), Slice::from(90..)).mapv_inplace(f32::cos);
    }
    let with = |clouds: &[TestModality], parameters: Value| -> Fitted<CcaParams> {
        let all = views(clouds, None).all().to_vec();
        fit_views(&Views::new(all, None, (90..120).collect()).unwrap(), parameters).unwrap()
    };
    let chosen = with(&clouds, json!({}));
    let report = chosen.report.as_ref().unwrap();
    assert_eq!((report.folds, report.rows), (1, 120));
    assert!(report.criterion.contains("validation rows"), "{}", report.criterion);
    assert!(report.score > report.chance);
    let given = serde_json::to_value(&chosen.parameters).unwrap();
    assert_eq!(bytes(&with(&clouds, given.clone())), bytes(&with(&altered, given)));
}

#[test]
fn unlinked_modalities_and_wrong_views_are_refused() {
    let clouds = shared_latents(60, &WIDTHS, 5, 11);
    let mut apart = clouds.clone();
    apart[2].2 = (100..160).collect();
    let message_of = |error: chiasm_closed_form::Error| error.to_string();
    let alone = message_of(fit_views::<CcaParams>(&views(&apart, None), json!({})).unwrap_err());
    assert!(alone.contains("`sound`") && alone.contains("which items belong together"), "{alone}");
    assert!(fit_views::<MeanVectorParams>(&views(&apart, None), json!({})).is_ok(), "needs no pairs");
    let many = message_of(fit_views::<OtMapParams>(&views(&clouds, None), json!({})).unwrap_err());
    assert!(many.contains("exactly 2") && many.contains("got 3"), "{many}");
    let onto =
        message_of(fit_views::<RidgeParams>(&views(&clouds, None), json!({ "onto": "video" })).unwrap_err());
    assert!(onto.contains("`video`") && onto.contains("image, text, sound"), "{onto}");
    let view = |name: &str, rows: Vec<usize>, blocks: Vec<usize>| View {
        name: name.to_owned(),
        blocks,
        items: clouds[0].1.view(),
        rows,
    };
    let (rising, falling): (Vec<usize>, Vec<usize>) = ((0..60).collect(), (0..60).rev().collect());
    let good = || view("image", rising.clone(), vec![12]);
    for (second, expected) in [
        (view("image", rising.clone(), vec![12]), "`image` twice"),
        (view("text", falling, vec![12]), "row 58 after row 59"),
        (view("text", vec![1, 2], vec![12]), "2 row numbers for 60 items"),
        (view("text", rising.clone(), vec![4, 4]), "add up to 12, got [4, 4]"),
    ] {
        let message = message_of(Views::new(vec![good(), second], None, Vec::new()).unwrap_err());
        assert!(message.contains(expected), "{message}");
    }
    assert!(message_of(Views::new(vec![good()], None, Vec::new()).unwrap_err()).contains("2 or more"));
}
