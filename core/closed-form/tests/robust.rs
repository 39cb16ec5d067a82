//! Few rows, degenerate rows, invalid parameters, cancellation and reproducibility.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its case has failed")]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};

use chiasm_closed_form::{Error, FitContext, Fitted, Method, Views};
use chiasm_closed_form::{
    cca::CcaParams,
    kcca::KccaParams,
    mean_vector::MeanVectorParams,
    procrustes::{Procrustes, ProcrustesParams},
    ridge::RidgeParams,
};
use common::{bytes, engine, fit, gap, pairs, run};
use linfa::traits::{Fit, Predict, Transformer};
use ndarray::Array2;
use serde_json::{Value, json};

/// A fit succeeds with weights without NaN, or returns an error about the data.
fn survives<P: Method>(x: &Array2<f32>, y: &Array2<f32>) {
    match fit::<P>(x, y, json!({})) {
        Ok(fitted) => {
            for graph in fitted.maps.iter().map(|map| map.graph().unwrap()) {
                for name in graph.weight_names() {
                    assert!(!graph.weight(name).unwrap().data().has_nan(), "{name} of {} rows", x.nrows());
                }
            }
            fitted.export(&["first", "second"]).unwrap();
        }
        Err(error) => assert!(matches!(error, Error::Data { .. }), "{error}"),
    }
}

fn all_survive(x: &Array2<f32>, y: &Array2<f32>) {
    survives::<ProcrustesParams>(x, y);
    survives::<RidgeParams>(x, y);
    survives::<CcaParams>(x, y);
    survives::<KccaParams>(x, y);
    survives::<MeanVectorParams>(x, y);
}

#[test]
fn two_to_twelve_rows_fit() {
    for n in 2..=12 {
        let (x, y) = pairs(n, 30, 20, 3, n as u64);
        all_survive(&x, &y);
        assert!(fit::<CcaParams>(&x, &y, json!({})).is_ok(), "{n} rows");
    }
}

#[test]
fn degenerate_columns_and_rows() {
    let (mut x, mut y) = pairs(24, 6, 5, 3, 1);
    x.column_mut(2).fill(0.7);
    all_survive(&x, &y);
    for i in 0..12 {
        let (row, partner) = (x.row(i).to_owned(), y.row(i).to_owned());
        x.row_mut(i + 12).assign(&row);
        y.row_mut(i + 12).assign(&partner);
    }
    all_survive(&x, &y);
    x.row_mut(5).fill(0.0);
    all_survive(&x, &y);
    let one_column = x.select(ndarray::Axis(1), &[0]);
    all_survive(&one_column, &y);
}

/// Items are brought to length one, so their scale makes no difference; it did below 1e-12. A power of two
/// scales without rounding: 2^-47 is 7e-15. Graphs run in single precision, hence 1e-6.
#[test]
fn the_scale_of_items_makes_no_difference() {
    let Some(engine) = engine() else { return };
    let (x, y) = pairs(60, 14, 9, 5, 1);
    let small = [x.mapv(|v| v * 2_f32.powi(-47)), y.mapv(|v| v * 2_f32.powi(50))];
    let (plain, scaled): (Fitted<CcaParams>, Fitted<CcaParams>) =
        (fit(&x, &y, json!({})).unwrap(), fit(&small[0], &small[1], json!({})).unwrap());
    for (side, items) in [&x, &y].into_iter().enumerate() {
        let expected = run(engine, &plain.maps[side].graph().unwrap(), items);
        let found = run(engine, &scaled.maps[side].graph().unwrap(), &small[side]);
        assert!(gap(&expected, &found) < 1e-6, "side {side}: {}", gap(&expected, &found));
    }
}

#[test]
fn rows_that_cannot_be_fitted_are_named() {
    let (x, y) = pairs(20, 6, 5, 3, 2);
    let message =
        |x: &Array2<f32>, y: &Array2<f32>| fit::<CcaParams>(x, y, json!({})).unwrap_err().to_string();
    let alike = message(&Array2::from_elem((20, 6), 2.0), &y);
    assert!(alike.contains("items of `first`") && alike.contains("all alike"), "{alike}");
    let mut holed = y.clone();
    holed[[13, 2]] = f32::NAN;
    assert!(
        message(&x, &holed)
            .contains("modality `second`: expected finite numbers, got NaN or infinity in item 13"),
        "{}",
        message(&x, &holed)
    );
    // Graphs square items in single precision: from 1.8e19 on, all images of such a map would be zero.
    let huge = message(&x, &y.mapv(|v| v * 1e21));
    assert!(huge.contains("modality `second`: expected items of a length up to 1e19"), "{huge}");
    let tiny = message(&x, &y.mapv(|v| v * 1e-20));
    assert!(tiny.contains("modality `second`: expected items of zeros or of a length from 1e-16"), "{tiny}");
    let short = y.select(ndarray::Axis(0), &[0, 1, 2]);
    assert!(message(&x, &short).contains("20 rows of the first array and 3 of the second"));
    let one = (x.select(ndarray::Axis(0), &[0]), y.select(ndarray::Axis(0), &[0]));
    assert!(message(&one.0, &one.1).contains("at least 2"));
}

#[test]
fn errors_of_parameters_name_the_range_and_the_value() {
    let (x, y) = pairs(20, 6, 5, 3, 2);
    let message = |given: Value| fit::<KccaParams>(&x, &y, given).unwrap_err().to_string();
    assert_eq!(
        message(json!({ "widths": { "first": [-1.0] } })),
        "parameter `widths`: expected a list of numbers above 0, at most 1000, or a table of them by \
         modality, got -1"
    );
    assert!(message(json!({ "members": 0 })).contains("from 1 to 450"));
    assert!(message(json!({ "power": 11.0 })).contains("got 11"));
    let setting = json!({ "ridge": 0.1, "dimensions": 2, "power": 1.0 });
    assert!(message(json!({ "power": 1.0, "settings": [setting] })).contains("no settings beside ridge"));
    assert!(fit::<RidgeParams>(&x, &y, json!({ "ridge": -0.1 })).is_err());
    assert!(fit::<ProcrustesParams>(&x, &y, json!({ "dimensions": 0 })).is_err());
    assert!(message(json!({ "ridge": { "third": 0.1 } })).contains("among first, second, got `third`"));
    let partial = json!({ "ridge": { "first": 0.1 }, "dimensions": 2, "power": 1.0 });
    assert!(message(json!({ "settings": [partial] })).contains("none for `second`"));
    let unknown = serde_json::from_value::<CcaParams>(json!({ "dimension": 4 })).unwrap_err().to_string();
    assert!(unknown.contains("unknown field `dimension`") && unknown.contains("`dimensions`"), "{unknown}");
}

/// Fitting with the chosen parameters searches nothing and gives the same graphs, byte for byte.
fn refits<P: Method>(x: &Array2<f32>, y: &Array2<f32>) {
    let first: Fitted<P> = fit(x, y, json!({})).unwrap();
    assert!(first.report.as_ref().is_none_or(|report| report.score > report.chance));
    let again: Fitted<P> = fit(x, y, serde_json::to_value(&first.parameters).unwrap()).unwrap();
    assert!(again.report.is_none());
    assert_eq!(bytes(&first), bytes(&again));
    let json = |fitted: &Fitted<P>| serde_json::to_value(&fitted.parameters).unwrap();
    assert_eq!(json(&first), json(&again));
}

#[test]
fn chosen_parameters_refit_to_the_same_bytes() {
    let (x, y) = pairs(70, 20, 12, 5, 3);
    refits::<ProcrustesParams>(&x, &y);
    refits::<RidgeParams>(&x, &y);
    refits::<CcaParams>(&x, &y);
    refits::<KccaParams>(&x, &y);
    refits::<MeanVectorParams>(&x, &y);
    let (x, y) = pairs(6, 20, 12, 3, 3);
    refits::<CcaParams>(&x, &y);
    refits::<KccaParams>(&x, &y);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (x, y) = pairs(60, 20, 12, 5, 4);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| bytes(&fit::<KccaParams>(&x, &y, json!({})).unwrap()))
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn fewer_landmarks_than_rows_still_fit() {
    let (x, y) = pairs(120, 20, 12, 5, 5);
    let fitted: Fitted<KccaParams> = fit(&x, &y, json!({ "landmarks": 40 })).unwrap();
    let graph = fitted.maps[0].graph().unwrap();
    assert_eq!(graph.weight("landmarks").unwrap().shape(), [20, 40]);
}

#[test]
fn a_fit_stops_when_asked_and_counts_up_to_its_total() {
    let (x, y) = pairs(60, 20, 12, 5, 6);
    let views = Views::paired(x.view(), y.view()).unwrap();
    let calls = AtomicU64::new(0);
    let stop = |_, _| calls.fetch_add(1, Ordering::Relaxed) < 3;
    let result = CcaParams::default().fit_views(&views, FitContext { seed: 0, progress: &stop });
    assert!(matches!(result, Err(Error::Cancelled)));
    let most = AtomicU64::new(0);
    let watch = |done: u64, total: u64| {
        assert!(done <= total);
        most.fetch_max(done, Ordering::Relaxed);
        true
    };
    CcaParams::default().fit_views(&views, FitContext { seed: 0, progress: &watch }).unwrap();
    assert!(most.load(Ordering::Relaxed) > 10);
}

/// A linfa data set in either precision gives the same fit, and its transform the images of both modalities.
#[test]
fn a_linfa_data_set_gives_the_same_fit_in_either_precision() {
    let (x, y) = pairs(40, 8, 6, 4, 7);
    let by_hand: Fitted<ProcrustesParams> = fit(&x, &y, json!({})).unwrap();
    let wide = linfa::DatasetBase::new(x.mapv(f64::from), y.mapv(f64::from));
    assert_eq!(bytes(&by_hand), bytes(&Procrustes::params().fit(&wide).unwrap()));
    let dataset = linfa::DatasetBase::new(x.clone(), y);
    let fitted = Procrustes::params().fit(&dataset).unwrap();
    assert_eq!(bytes(&by_hand), bytes(&fitted));
    let images = fitted.transform(dataset);
    assert_eq!(images.records, fitted.maps[0].apply(x.view()).unwrap());
    assert_eq!(fitted.maps[0].predict(&x), images.records);
    let refused = Procrustes::params().dimensions(0_usize).fit(&wide).unwrap_err().to_string();
    assert!(refused.contains("`dimensions`: expected an integer of at least 1, got 0"), "{refused}");
}
