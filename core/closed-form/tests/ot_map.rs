//! Wasserstein-Procrustes: rows without a partner are matched, independently of their order.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_closed_form::Fitted;
use chiasm_closed_form::ot_map::OtMapParams;
use chiasm_geometry::random::Random;
use ndarray::Array2;
use serde_json::json;

/// A cloud with a different spread along each axis, and the same rows turned, with noise.
fn turned(n: usize, d: usize) -> (Array2<f32>, Array2<f32>) {
    let mut random = Random::new(5);
    let x = Array2::from_shape_fn((n, d), |(_, j)| (random.normal() / (1.0 + j as f64 / 3.0)) as f32);
    let basis = Array2::from_shape_simple_fn((d, d), || random.normal());
    let turn = chiasm_geometry::linalg::thin_svd(basis.view()).unwrap().u.mapv(|v| v as f32);
    let noise = Array2::from_shape_simple_fn((n, d), || 0.03 * random.normal() as f32);
    let y = x.dot(&turn) + noise;
    (x, y)
}

fn fit(x: &Array2<f32>, y: &Array2<f32>, parameters: serde_json::Value) -> Fitted<OtMapParams> {
    common::fit(x, y, parameters).unwrap()
}

/// The share of rows whose nearest image of the other side is their partner's.
fn found(fitted: &Fitted<OtMapParams>, x: &Array2<f32>, y: &Array2<f32>) -> Option<f64> {
    let engine = common::engine()?;
    let a = common::run(engine, &fitted.maps[0].graph().unwrap(), x);
    let b = common::run(engine, &fitted.maps[1].graph().unwrap(), y);
    let scores = a.dot(&b.t());
    let own = |(i, row): (usize, ndarray::ArrayView1<'_, f32>)| row.iter().all(|score| *score <= row[i]);
    Some(scores.outer_iter().enumerate().filter(|at| own(*at)).count() as f64 / x.nrows() as f64)
}

/// Six noisy pairs do not determine a rotation of ten dimensions; the plan of the other 294 rows does.
#[test]
fn rows_without_a_partner_are_matched() {
    let (x, mut y) = turned(300, 10);
    let mut random = Random::new(6);
    let known = ndarray::Slice::from(..6);
    y.slice_axis_mut(ndarray::Axis(0), known).mapv_inplace(|v| v + 0.15 * random.normal() as f32);
    let settings = |steps: usize| json!({ "pairs": 6, "dimensions": 10, "steps": steps });
    let Some(alone) = found(&fit(&x, &y, settings(0)), &x, &y) else { return };
    let helped = found(&fit(&x, &y, settings(20)), &x, &y).unwrap();
    assert!(helped > 0.9 && helped > alone + 0.2, "pairs alone {alone}, with all rows {helped}");
    let exact = json!({ "pairs": 6, "dimensions": 10, "steps": 20, "solver": "emd" });
    let exact = found(&fit(&x, &y, exact), &x, &y).unwrap();
    assert!(exact > 0.9, "by assignment {exact}");
}

/// Rows that hold one modality only are the items without a partner, and the two need not be as many.
#[test]
fn rows_of_one_modality_are_matched() {
    let (x, y) = turned(300, 10);
    let Some(engine) = common::engine() else { return };
    let kept: Vec<usize> = (0..300).filter(|row| *row < 6 || row % 8 != 0).collect();
    // nothing but the first six rows says who belongs to whom
    let rows = kept.iter().enumerate().map(|(at, row)| if *row < 6 { *row } else { 1000 + at }).collect();
    let clouds: Vec<common::TestModality> =
        vec![("image", x.clone(), (0..300).collect()), ("text", y.select(ndarray::Axis(0), &kept), rows)];
    for (anchor, solver) in [(None, "sinkhorn"), (Some("image"), "sinkhorn"), (None, "emd")] {
        let given = json!({ "dimensions": 10, "solver": solver });
        let fitted: Fitted<OtMapParams> = common::fit_views(&common::views(&clouds, anchor), given).unwrap();
        let a = common::run(engine, &fitted.maps[0].graph().unwrap(), &x);
        let b = common::run(engine, &fitted.maps[1].graph().unwrap(), &y);
        let scores = a.dot(&b.t());
        let own = (0..300).filter(|&i| scores.row(i).iter().all(|score| *score <= scores[[i, i]])).count();
        assert!(own > 270, "{own} of 300 with {solver}, anchor {anchor:?}");
    }
}

/// Unequal groups in general position, turned: which group is which shows in their inner products alone.
#[test]
fn a_rotation_is_found_without_any_pair() {
    let mut random = Random::new(11);
    let centres = Array2::from_shape_simple_fn((12, 8), || random.normal());
    let x = Array2::from_shape_fn((360, 8), |(i, j)| (centres[[i % 12, j]] + 0.3 * random.normal()) as f32);
    let basis = Array2::from_shape_simple_fn((8, 8), || random.normal());
    let turn = chiasm_geometry::linalg::thin_svd(basis.view()).unwrap().u.mapv(|v| v as f32);
    let y = x.dot(&turn) + Array2::from_shape_simple_fn((360, 8), || 0.03 * random.normal() as f32);
    let settings = json!({ "pairs": 0, "dimensions": 8 });
    let Some(share) = found(&fit(&x, &y, settings), &x, &y) else { return };
    assert!(share > 0.8, "{share}");
}

#[test]
fn the_order_of_rows_without_a_partner_does_not_matter() {
    let (x, _) = turned(120, 6);
    let mut random = Random::new(9);
    let noise = Array2::from_shape_simple_fn((120, 6), || random.normal() as f32);
    let settings = json!({ "pairs": 0, "dimensions": 6 });
    let Some(share) = found(&fit(&x, &noise, settings), &x, &noise) else { return };
    assert!(share < 0.1, "nothing can be known of noise: {share}");
}

#[test]
fn chosen_parameters_give_the_same_bits() {
    let (x, y) = turned(160, 8);
    for pairs in [20, 120, 160] {
        let first = fit(&x, &y, json!({ "pairs": pairs }));
        assert_eq!(first.report.is_some(), pairs > 100, "twenty pairs choose nothing");
        let again = fit(&x, &y, serde_json::to_value(&first.parameters).unwrap());
        assert_eq!(common::bytes(&first), common::bytes(&again));
        assert!(again.report.is_none());
    }
}

/// A cloud that lies the same way on both sides of each axis, beside one long constant column, and a copy
/// whose axes are stretched and turned. Rows of length one then keep the cloud's shape up to its square,
/// 1e-6.
fn stretched() -> (Array2<f32>, Array2<f32>) {
    let mut random = Random::new(3);
    let some = Array2::from_shape_simple_fn((12, 4), || 0.2 + random.uniform());
    let sign = |i: usize, j: usize| if (i % 16) >> j & 1 == 0 { 1.0 } else { -1.0 };
    let cloud = Array2::from_shape_fn((192, 4), |(i, j)| some[[i / 16, j]] * sign(i, j));
    let basis = Array2::from_shape_simple_fn((4, 4), || random.normal());
    let turn = chiasm_geometry::linalg::thin_svd(basis.view()).unwrap().u;
    let copy = (&cloud * &ndarray::array![0.4, 0.8, 1.5, 3.0]).dot(&turn);
    let long = |rows: &Array2<f64>| {
        Array2::from_shape_fn((192, 5), |(i, j)| if j < 4 { 1e-3 * rows[[i, j]] as f32 } else { 1.0 })
    };
    (long(&cloud), long(&copy))
}

/// The optimal map of a stretch along its own axes is that stretch: every row meets its partner, and comes
/// back.
#[test]
fn a_gaussian_map_undoes_a_stretch_and_has_an_inverse() {
    let (x, y) = stretched();
    let Some(engine) = common::engine() else { return };
    let worst = |map: &str| {
        let fitted = fit(&x, &y, json!({ "map": map, "dimensions": 4, "curve": "unit" }));
        let a = common::run(engine, &fitted.maps[0].graph().unwrap(), &x);
        let b = common::run(engine, &fitted.maps[1].graph().unwrap(), &y);
        let cosines = (&a * &b).sum_axis(ndarray::Axis(1));
        (cosines.iter().fold(1.0_f32, |least, &c| least.min(c)), fitted, a)
    };
    let (turned, ..) = worst("orthogonal");
    let (moved, fitted, z) = worst("gaussian");
    // Single precision leaves 1e-4 of coordinates that are 1e-3 of a row.
    assert!(
        turned < 0.9 && moved > 0.9999,
        "cosine of the worst pair: {turned} turned, {moved} by the Gaussian map"
    );
    let back = fitted.maps[0].inverse().unwrap().unwrap();
    let again = common::run(engine, &fitted.maps[0].graph().unwrap(), &common::run(engine, &back.graph, &z));
    assert!(common::gap(&again, &z) < 1e-3, "{}", common::gap(&again, &z));
}

/// The potentials and the map are worked out again in double precision, by the plain iteration.
#[test]
fn attention_maps_rows_to_the_mean_of_their_partners() {
    let (x, y) = turned(150, 6);
    let Some(engine) = common::engine() else { return };
    let settings = |map: &str| json!({ "map": map, "pairs": 20, "dimensions": 6, "eps_scale": 0.1 });
    let plain = fit(&x, &y, settings("orthogonal"));
    let q = common::run(engine, &plain.maps[0].graph().unwrap(), &x).mapv(f64::from);
    let k = common::run(engine, &plain.maps[1].graph().unwrap(), &y).mapv(f64::from);
    let cost = q.dot(&k.t()).mapv(|s| 2.0 - 2.0 * s);
    let kernel = (&cost / (-0.1 * cost.mean().unwrap())).mapv(f64::exp);
    let mut v = ndarray::Array1::<f64>::ones(150);
    for _ in 0..2000 {
        let u = kernel.dot(&v).mapv(|s| 1.0 / s);
        v = kernel.t().dot(&u).mapv(|s| 1.0 / s);
    }
    let want = common::unit(&(&kernel * &v).dot(&k).mapv(|v| v as f32));
    let fitted = fit(&x, &y, settings("attention"));
    let got = common::run(engine, &fitted.maps[0].graph().unwrap(), &x);
    // The plan's marginals are 1e-3 off.
    assert!(common::gap(&got, &want) < 3e-3, "{}", common::gap(&got, &want));
    // keys are large, since they are divided by the regularisation: 1e-4
    let applied = fitted.maps[0].apply(x.view()).unwrap();
    assert!(common::gap(&got, &applied) < 1e-4, "{}", common::gap(&got, &applied));
    assert!(found(&fitted, &x, &y).unwrap() > 0.5);
    assert!(fitted.maps[0].inverse().unwrap().unwrap_err().contains("entropic"));
}

#[test]
fn unused_parameters_and_a_plan_that_takes_too_long_are_refused() {
    let (x, y) = turned(300, 10);
    let refusal = |parameters: serde_json::Value| {
        common::fit::<OtMapParams>(&x, &y, parameters).unwrap_err().to_string()
    };
    for (parameters, told) in [
        (json!({ "shrinkage": 0.1 }), "map = gaussian"),
        (json!({ "shrinkage": 1.0, "map": "gaussian" }), "below 1"),
        (json!({ "time_limit": 5.0 }), "solver = emd"),
        (json!({ "time_limit": 0.0, "solver": "emd" }), "above 0"),
        (json!({ "eps_scale": 0.1, "solver": "emd" }), "map = attention"),
        (json!({ "pairs": 6, "solver": "emd", "time_limit": 1e-9 }), "time limit"),
    ] {
        let text = refusal(parameters.clone());
        assert!(text.contains(told), "{parameters}: {text}");
    }
}

/// The fewest rows there are, and rows of which most are the same: a map, or a reason in words.
#[test]
fn few_or_equal_rows_give_unit_rows_or_a_reason() {
    let (x, y) = turned(60, 4);
    let Some(engine) = common::engine() else { return };
    for map in ["orthogonal", "gaussian", "attention"] {
        for (rows, pairs) in [(2, 2), (3, 3), (3, 0), (12, 4)] {
            let first: Vec<usize> = (0..rows).collect();
            let [mut x, y] = [&x, &y].map(|cloud| cloud.select(ndarray::Axis(0), &first));
            for repeat in [false, true] {
                if repeat {
                    (1..rows - 1).for_each(|i| x.row_mut(i).assign(&y.row(0)));
                }
                let parameters = json!({ "map": map, "pairs": pairs });
                match common::fit::<OtMapParams>(&x, &y, parameters) {
                    Ok(fitted) => {
                        let z = common::run(engine, &fitted.maps[0].graph().unwrap(), &x);
                        let long = |row: ndarray::ArrayView1<'_, f32>| (row.dot(&row) - 1.0).abs() < 1e-4;
                        assert!(z.outer_iter().all(long), "{map}, {rows} rows: {z}");
                    }
                    Err(error) => assert!(error.to_string().len() > 20, "{map}, {rows} rows: {error}"),
                }
            }
        }
    }
}
