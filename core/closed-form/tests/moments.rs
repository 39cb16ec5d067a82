//! Moments against NumPy and SciPy, and fits from moments against fits on rows.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its case has failed")]

mod common;

use chiasm_closed_form::{
    Curve, FitContext, FromMoments, Method, Moments, SummedView, cca::CcaParams, fit_named,
    ridge::RidgeParams,
};
use ndarray::{Array2, ArrayView2, Axis, Slice};
use serde_json::{Value, json};

/// Moments of two modalities, `first` and `second`, added in these parts, each summed by itself.
fn moments(x: &Array2<f32>, y: &Array2<f32>, curve: Option<Curve>, parts: &[Slice]) -> Moments {
    let views = vec![SummedView::new("first", x.ncols()), SummedView::new("second", y.ncols())];
    let mut whole = Moments::new(views.clone(), curve, 3).unwrap();
    for part in parts {
        let mut own = Moments::new(views.clone(), curve, 3).unwrap();
        own.update(&[x.slice_axis(Axis(0), *part), y.slice_axis(Axis(0), *part)]).unwrap();
        whole.merge(&own).unwrap();
    }
    whole
}

const ALL: [Slice; 1] = [Slice { start: 0, end: None, step: 1 }];

/// The items of both modalities of sixty rows; those of the first have a common offset.
fn items(offset: i64) -> (Array2<f32>, Array2<f32>) {
    let x = |(i, j): (usize, usize)| (offset + ((7 * i + 3 * j + i * j) % 11) as i64 - 5) as f32;
    let y = |(i, j): (usize, usize)| (((5 * i + 2 * j + i * i) % 13) as i64 - 6) as f32;
    (Array2::from_shape_fn((60, 3), x), Array2::from_shape_fn((60, 2), y))
}

/// From NumPy, in extended precision: a = f(x), a - a.mean(0), its product with itself and with that of y.
/// With an offset of a million the features of the first modality differ by 1e-6 only, in double precision by
/// ten digits, so the tolerance is 1e-9 of each value; sums that are centred afterwards are 1e-5 off.
#[test]
fn sums_are_those_of_numpy_also_with_a_large_offset() {
    let (unit, root) = (Curve::Unit, Curve::SignedRoot);
    let plain = [
        (unit, [-0.010992992176484927, -0.03093042188671179, -0.017532255887412453], 18.319850216586698),
        (root, [0.00569325556818733, -0.032863576780334025, -0.02178219032024676], 19.24805521046212),
    ];
    let offset = [
        (unit, [0.5773503108856634, 0.5773502339051239, 0.5773502627728394], 1.418585576855074e-10),
        (root, [0.5773502900380074, 0.577350251547878, 0.5773502659816793], 3.5464645777985066e-11),
    ];
    let mixed = [
        [-0.9819492721935571, 1.8488560756304315, 2.1321301027362556, -0.8659248900153648],
        [-8.39169457059712e-06, 1.8247384901484605e-06, 5.055884296882943e-06, -5.055158075387635e-06],
    ];
    let near =
        |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 1e-9, "{found}, {expected}");
    for ((shift, cases), mixed) in [(0, plain), (1_000_000, offset)].into_iter().zip(mixed) {
        let (x, y) = items(shift);
        let parts = [Slice::from(..1), Slice::from(1..31), Slice::from(31..)];
        let sums = moments(&x, &y, None, &parts);
        assert_eq!(sums.count(), 60);
        for (curve, mean, variance) in cases {
            sums.mean(0, curve).unwrap().iter().zip(mean).for_each(|(&found, mean)| near(found, mean));
            near(sums.scatter((0, curve), (0, curve)).unwrap()[[0, 0]], variance);
        }
        let cross = sums.scatter((0, unit), (1, root)).unwrap();
        cross.iter().zip(mixed).for_each(|(&found, mixed)| near(found, mixed));
        assert_eq!(cross.t(), sums.scatter((1, root), (0, unit)).unwrap());
    }
}

/// Sums of 9000 rows in any order differ by rounding: 1e-12 of the largest.
#[test]
fn neither_the_split_nor_the_order_changes_moments_or_a_fit() {
    let (x, y) = common::pairs(9000, 12, 7, 5, 1);
    let whole = moments(&x, &y, None, &ALL);
    let pieces: Vec<Slice> = (0..45).rev().map(|at| Slice::from(at * 200..(at + 1) * 200)).collect();
    let split = moments(&x, &y, None, &pieces);
    for (a, b) in [(Curve::Unit, Curve::Unit), (Curve::Unit, Curve::SignedRoot)] {
        for (first, second) in [(0, 0), (0, 1), (1, 1)] {
            let [one, other] = [&whole, &split].map(|sums| sums.scatter((first, a), (second, b)).unwrap());
            let largest = one.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
            assert!((one - other).iter().all(|gap| gap.abs() < 1e-12 * largest));
        }
    }
    let [one, other] = [&whole, &split]
        .map(|sums| CcaParams::default().fit_moments(sums, None, FitContext::default()).unwrap());
    assert_eq!(one.parameters, other.parameters, "both choose on the same sample");
    assert_eq!(one.report.unwrap().rows, 2000);
    let z = |map: &chiasm_closed_form::Map, items: &Array2<f32>| map.apply(items.view()).unwrap();
    let scores = |maps: &[chiasm_closed_form::Map]| {
        z(&maps[0], &x).dot(&z(&maps[1], &y).t().slice_axis(Axis(1), Slice::from(..50)))
    };
    assert!(common::gap(&scores(&one.maps), &scores(&other.maps)) < 1e-5);
}

/// The same solver gets the same statistics, summed in another order; images are unit rows in single
/// precision, hence 1e-6.
#[test]
fn a_fit_from_moments_is_the_fit_on_the_rows() {
    fn check<P: Method + FromMoments>(curve: Value, parameters: Value) {
        let (x, y) = common::pairs(700, 12, 9, 5, 2);
        let mut given = json!({ "curve": curve });
        given.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
        let rows = common::fit::<P>(&x, &y, given.clone()).unwrap();
        let summed = moments(&x, &y, None, &[Slice::from(..300), Slice::from(300..)]);
        let parameters: P = serde_json::from_value(given).unwrap();
        let sums = parameters.fit_moments(&summed, None, FitContext::default()).unwrap();
        assert_eq!(sums.parameters.to_json(), rows.parameters.to_json());
        for ((one, other), items) in rows.maps.iter().zip(&sums.maps).zip([&x, &y]) {
            let [one, other] = [one, other].map(|map| map.apply(items.view()).unwrap());
            // the sign of a direction is free
            let gap = common::gap(&one.dot(&one.t()), &other.dot(&other.t()));
            assert!(gap < 1e-6, "{gap}");
        }
        let scores = |maps: &[chiasm_closed_form::Map]| {
            maps[0].apply(x.view()).unwrap().dot(&maps[1].apply(y.view()).unwrap().t())
        };
        let gap = common::gap(&scores(&rows.maps), &scores(&sums.maps));
        assert!(gap < 1e-6, "{gap}");
    }
    let mixed = json!({ "first": "signed-root", "second": "unit" });
    for curve in [json!("unit"), mixed] {
        check::<CcaParams>(curve.clone(), json!({ "ridge": 0.1, "dimensions": 4, "power": 1.0 }));
        let setting = |ridge: f64| json!({ "ridge": ridge, "dimensions": 5, "power": 0.5 });
        check::<CcaParams>(curve.clone(), json!({ "settings": [setting(0.1), setting(0.3)] }));
        check::<RidgeParams>(curve.clone(), json!({ "onto": "second", "ridge": 0.07 }));
        check::<RidgeParams>(curve, json!({ "onto": "first", "ridge": 0.2 }));
    }
}

/// The cosines of held-out pairs, from SciPy (see reference/make.py), with the tolerance of references.rs.
#[test]
fn cca_and_ridge_from_moments_equal_scipy() {
    let cases = common::cases();
    let (x, y) = (common::array(&cases["x"]), common::array(&cases["y"]));
    let train = cases["train"].as_u64().unwrap() as usize;
    let summed = moments(&x, &y, Some(Curve::Unit), &[Slice::from(..40), Slice::from(40..train)]);
    let cca = json!({ "ridge": 0.0, "dimensions": 4, "power": 1.0 });
    let cca: CcaParams = serde_json::from_value(cca).unwrap();
    let cca = cca.fit_moments(&summed, None, FitContext::default()).unwrap();
    let ridge = json!({ "onto": "second", "ridge": 0.07 });
    let ridge: RidgeParams = serde_json::from_value(ridge).unwrap();
    let ridge = ridge.fit_moments(&summed, None, FitContext::default()).unwrap();
    for (expected, maps) in [("cca", cca.maps), ("ridge", ridge.maps)] {
        let held_out = |items: &Array2<f32>| items.slice_axis(Axis(0), Slice::from(train..)).to_owned();
        let a = maps[0].apply(held_out(&x).view()).unwrap();
        let b = maps[1].apply(held_out(&y).view()).unwrap();
        let off = common::gap(&a.dot(&b.t()), &common::array(&cases[expected]));
        assert!(off < 2e-5, "{expected}: cosines differ by up to {off}");
    }
}

/// MAXVAR of three complete modalities; the maps of rows are tested against SciPy in references.rs.
#[test]
fn three_modalities_are_fitted_from_moments() {
    let clouds = common::shared_latents(400, &[("image", 9), ("text", 6), ("sound", 5)], 4, 5);
    let given = json!({ "curve": "unit", "ridge": 0.1, "dimensions": 4, "power": 1.0 });
    let rows = common::fit_views::<CcaParams>(&common::views(&clouds, Some("text")), given.clone()).unwrap();
    let views = clouds.iter().map(|(name, items, _)| SummedView::new(name, items.ncols())).collect();
    let mut summed = Moments::new(views, Some(Curve::Unit), 0).unwrap();
    let items: Vec<ArrayView2<'_, f32>> = clouds.iter().map(|(_, items, _)| items.view()).collect();
    summed.update(&items).unwrap();
    let parameters: CcaParams = serde_json::from_value(given).unwrap();
    let sums = parameters.fit_moments(&summed, Some(1), FitContext::default()).unwrap();
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let scores = |maps: &[chiasm_closed_form::Map]| {
            maps[a].apply(items[a]).unwrap().dot(&maps[b].apply(items[b]).unwrap().t())
        };
        assert!(common::gap(&scores(&rows.maps), &scores(&sums.maps)) < 1e-6);
    }
}

/// With no more rows than the sample holds, the search sees them all, though in another order.
#[test]
fn free_parameters_are_chosen_on_the_sample() {
    let (x, y) = common::pairs(600, 12, 7, 5, 8);
    let summed = moments(&x, &y, Some(Curve::SignedRoot), &ALL);
    let fitted = RidgeParams::default().fit_moments(&summed, None, FitContext::default()).unwrap();
    let report = fitted.report.unwrap();
    assert_eq!((report.rows, report.folds), (600, 5));
    assert!(report.score > 5.0 * report.chance, "{report:?}");
    assert_eq!(fitted.maps[0].curve(), Curve::SignedRoot, "the only curve that was summed");
    let again = fitted.parameters.fit_moments(&summed, None, FitContext::default()).unwrap();
    assert!(again.report.is_none());
    let bytes = |maps: &[chiasm_closed_form::Map]| maps[0].graph().unwrap().to_bytes().unwrap();
    assert_eq!(bytes(&again.maps), bytes(&fitted.maps));
}

#[test]
fn moments_are_read_back_and_damaged_ones_are_refused() {
    let (x, y) = common::pairs(300, 5, 4, 3, 8);
    let summed = moments(&x, &y, None, &ALL);
    let bytes = summed.to_bytes().unwrap();
    assert_eq!(Moments::from_bytes(&bytes).unwrap(), summed);
    for end in [0, 5, bytes.len() / 2, bytes.len() - 1] {
        let error = Moments::from_bytes(&bytes[..end]).unwrap_err().to_string();
        assert!(error.contains("serialised moments"), "{error}");
    }
    let header = bytes.iter().position(|&byte| byte == b'\n').unwrap();
    let text = String::from_utf8(bytes[..header].to_vec()).unwrap();
    for (from, to) in [
        ("[5]", "[18446744073709551615]"),
        ("[5]", "[4294967295,4294967295]"),
        ("[5]", "[]"),
        ("\"count\":300", "\"count\":0"),
    ] {
        let mut damaged = text.replace(from, to).into_bytes();
        assert_ne!(damaged, text.as_bytes());
        damaged.extend(&bytes[header..]);
        assert!(Moments::from_bytes(&damaged).is_err());
    }
    let mut damaged = bytes.clone();
    damaged[header + 1..header + 9].copy_from_slice(&f64::NAN.to_le_bytes());
    assert!(Moments::from_bytes(&damaged).unwrap_err().to_string().contains("not finite"));
}

#[test]
fn mistakes_are_named_and_add_nothing() {
    let (x, y) = common::pairs(30, 5, 4, 3, 8);
    let mut summed = moments(&x, &y, Some(Curve::Unit), &ALL);
    let before = summed.clone();
    let mut bad = y.clone();
    bad[[7, 1]] = f32::NAN;
    let short = y.slice_axis(Axis(0), Slice::from(..29));
    for (items, expected) in [
        (vec![x.view()], "items of 2 modalities, got 1"),
        (vec![x.view(), x.view()], "items of `second`: expected 4 columns, got 5"),
        (vec![x.view(), short], "items of `second`: expected 30, as many as of `first`, got 29"),
        (vec![x.view(), bad.view()], "NaN or infinity in row 7"),
    ] {
        let error = summed.update(&items).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let other = moments(&x, &y, None, &ALL);
    let error = summed.merge(&other).unwrap_err().to_string();
    assert!(error.contains("curve unit") && error.contains("both curves"), "{error}");
    assert_eq!(summed, before);
    let fit = |method: &str, parameters: Value, moments: &Moments| {
        fit_named(method, &parameters, moments, None, FitContext::default()).unwrap_err().to_string()
    };
    let error = fit("cca", json!({ "curve": "signed-root" }), &summed);
    assert!(error.contains("expected unit, the curve of the moments, got signed-root"), "{error}");
    assert!(fit("mlp", json!({}), &summed).contains("cca or ridge, got `mlp`"));
    assert!(fit("ridge", json!({ "rigde": 1 }), &summed).contains("rigde"));
    let none = Moments::new(summed.views().to_vec(), None, 0).unwrap();
    assert!(fit("cca", json!({}), &none).contains("at least 2 distinct rows, got 0 rows"));
    let same = moments(&Array2::ones((9, 5)), &Array2::ones((9, 4)), None, &ALL);
    assert!(fit("cca", json!({}), &same).contains("got 9 rows, 1 of them distinct"));
    for (views, expected) in [
        (vec![SummedView::new("a", 3)], "2 or more"),
        (vec![SummedView::new("a", 3), SummedView::new("a", 2)], "names that differ"),
        (vec![SummedView::new("a", 3), SummedView::new("b", 0)], "at least 1 column"),
    ] {
        let error = Moments::new(views, None, 0).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
