//! Procrustes on rows that are read twice, against SciPy and against the fit on rows in memory.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its case has failed")]

mod common;

use chiasm_closed_form::{
    Curve, FitContext, Map, Moments, SecondPass, SummedView, procrustes::ProcrustesParams,
};
use ndarray::{Array2, ArrayView2, Axis, Slice};
use serde_json::{Value, json};

/// Both passes over complete rows, in these parts, each in a process of its own: the sums travel.
fn passes(
    clouds: &[(&str, &Array2<f32>)],
    curve: Option<Curve>,
    (parameters, anchor): (&Value, Option<usize>),
    parts: &[Slice],
) -> SecondPass {
    let views: Vec<SummedView> =
        clouds.iter().map(|(name, items)| SummedView::new(name, items.ncols())).collect();
    let items = |part: &Slice| -> Vec<ArrayView2<'_, f32>> {
        clouds.iter().map(|(_, items)| items.slice_axis(Axis(0), *part)).collect()
    };
    let mut moments = Moments::new(views.clone(), curve, 3).unwrap();
    for part in parts {
        let mut own = Moments::new(views.clone(), curve, 3).unwrap();
        own.update(&items(part)).unwrap();
        moments.merge(&own).unwrap();
    }
    let parameters: ProcrustesParams = serde_json::from_value(parameters.clone()).unwrap();
    let begun = |parameters: &ProcrustesParams| {
        SecondPass::new(parameters, &moments, anchor, FitContext::default()).unwrap()
    };
    let mut whole = begun(&parameters);
    for part in parts {
        let mut own = begun(whole.parameters());
        own.update(&items(part)).unwrap();
        let arrived = begun(whole.parameters()).with_sums(own.count(), &own.sums()).unwrap();
        whole.merge(&arrived).unwrap();
    }
    whole
}

fn image(map: &Map, items: &Array2<f32>) -> Array2<f32> {
    map.apply(items.view()).unwrap()
}

/// The cosines of held-out pairs, from SciPy (see reference/make.py), with the tolerance of references.rs.
#[test]
fn rows_that_are_read_twice_give_the_rotation_of_scipy() {
    let cases = common::cases();
    let (x, y) = (common::array(&cases["x"]), common::array(&cases["y"]));
    let train = cases["train"].as_u64().unwrap() as usize;
    let parts = [Slice::from(30..train), Slice::from(..1), Slice::from(1..30)];
    let given = json!({ "curve": "unit", "dimensions": 5 });
    let fitted = passes(&[("first", &x), ("second", &y)], Some(Curve::Unit), (&given, None), &parts);
    let fitted = fitted.fit().unwrap();
    let test = |items: &Array2<f32>| items.slice_axis(Axis(0), Slice::from(train..)).to_owned();
    let (a, b) = (image(&fitted.maps[0], &test(&x)), image(&fitted.maps[1], &test(&y)));
    let off = common::gap(&a.dot(&b.t()), &common::array(&cases["procrustes"]));
    assert!(off < 2e-5, "cosines differ by up to {off}");
}

/// The sums are added in another order, and images are unit rows in single precision, hence 1e-6. Rotations
/// of three modalities are iterated until they move by less than 1e-6, so those may differ by a few of these.
#[test]
fn the_fit_is_that_on_rows_in_memory_whatever_the_split() {
    let clouds = common::shared_latents(9000, &[("image", 12), ("text", 9), ("sound", 7)], 5, 4);
    let given = [
        (json!({ "curve": "unit", "dimensions": 5 }), 1e-6),
        (json!({ "curve": { "image": "signed-root", "text": "unit", "sound": "unit" } }), 1e-6),
    ];
    for count in [2, 3] {
        let clouds = &clouds[..count];
        let anchor = (count == 3).then_some(1);
        let items: Vec<(&str, &Array2<f32>)> = clouds.iter().map(|(name, items, _)| (*name, items)).collect();
        for (given, tolerance) in &given {
            let mut given = given.clone();
            if count == 2 && given["curve"].is_object() {
                given["curve"].as_object_mut().unwrap().remove("sound");
            }
            let tolerance = if count == 3 { 5e-6 } else { *tolerance };
            let pieces: Vec<Slice> = (0..9).rev().map(|at| Slice::from(at * 1000..(at + 1) * 1000)).collect();
            let split = passes(&items, None, (&given, anchor), &pieces);
            let whole = passes(&items, None, (&given, anchor), &[Slice::from(..)]);
            assert_eq!(split.parameters(), whole.parameters(), "both choose on the same sample");
            let fixed = serde_json::to_value(whole.parameters()).unwrap();
            let anchor = anchor.map(|at| clouds[at].0);
            let rows = common::fit_views::<ProcrustesParams>(&common::views(clouds, anchor), fixed).unwrap();
            for fitted in [whole.fit().unwrap(), split.fit().unwrap()] {
                assert_eq!(fitted.parameters, rows.parameters);
                for (a, b) in (0..count).flat_map(|a| (0..a).map(move |b| (a, b))) {
                    let scores = |maps: &[Map]| {
                        let first =
                            image(&maps[a], &items[a].1.slice_axis(Axis(0), Slice::from(..300)).to_owned());
                        first.dot(&image(&maps[b], items[b].1).t())
                    };
                    let gap = common::gap(&scores(&rows.maps), &scores(&fitted.maps));
                    assert!(gap < tolerance, "{a} and {b}: {gap}");
                }
            }
        }
    }
}

#[test]
fn mistakes_are_named() {
    let (x, y) = common::pairs(60, 5, 4, 3, 8);
    let clouds = [("first", &x), ("second", &y)];
    let given = |dimensions: usize| json!({ "curve": "unit", "dimensions": dimensions });
    let all = [Slice::from(..)];
    let mut pass = passes(&clouds, Some(Curve::Unit), (&given(3), None), &all);
    let other = passes(&clouds, Some(Curve::Unit), (&given(2), None), &all);
    assert!(pass.merge(&other).unwrap_err().to_string().contains("the same moments and parameters"));
    let error = pass.update(&[x.view(), x.view()]).unwrap_err().to_string();
    assert!(error.contains("items of `second`: expected 4 columns, got 5"), "{error}");
    let error = pass.clone().with_sums(60, &[1.0; 4]).unwrap_err().to_string();
    assert!(error.contains("expected 9 finite numbers, got 4 numbers"), "{error}");
    assert!(pass.clone().with_sums(60, &[f64::NAN; 9]).is_err());
    assert_eq!(pass.count(), 60);
    pass.update(&[x.view(), y.view()]).unwrap();
    let error = pass.fit().unwrap_err().to_string();
    assert!(error.contains("expected the 60 rows of the first one, got 120"), "{error}");
    let views = vec![SummedView::new("first", 5), SummedView::new("second", 4)];
    let mut moments = Moments::new(views, Some(Curve::Unit), 3).unwrap();
    moments.update(&[x.view(), y.view()]).unwrap();
    let begin = |given: Value| {
        let parameters: ProcrustesParams = serde_json::from_value(given).unwrap();
        SecondPass::new(&parameters, &moments, None, FitContext::default()).unwrap_err().to_string()
    };
    assert!(begin(json!({ "curve": "signed-root" })).contains("expected unit, the curve of the moments"));
    assert!(begin(json!({ "dimensions": 0 })).contains("dimensions"));
}
