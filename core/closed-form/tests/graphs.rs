//! The exported graphs, run by the engine: unit rows, inverses, blocks, the hubness bank.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its case has failed")]

mod common;

use chiasm_closed_form::bank::bank_tail;
use chiasm_closed_form::{Fitted, MapInverseKind, Method, PrincipalProjection, View, Views};
use chiasm_closed_form::{
    cca::CcaParams, kcca::KccaParams, mean_vector::MeanVectorParams, procrustes::ProcrustesParams,
    ridge::RidgeParams,
};
use chiasm_geometry::hubness::bank_penalties;
use chiasm_geometry::retrieval::Ranks;
use common::{engine, fit_views, gap, pairs, run, unit};
use ndarray::{Array2, Axis, concatenate};
use serde_json::{Value, json};

fn fit<P: Method>(x: &Array2<f32>, y: &Array2<f32>, parameters: Value) -> Fitted<P> {
    common::fit(x, y, parameters).unwrap()
}

/// The same with two encoders in the first modality.
fn fit_blocks<P: Method>(x: &Array2<f32>, y: &Array2<f32>, blocks: [usize; 2]) -> Fitted<P> {
    let view = |name: &str, items, blocks: &[usize]| View {
        name: name.to_owned(),
        blocks: blocks.to_vec(),
        items,
        rows: (0..x.nrows()).collect(),
    };
    let both = vec![view("first", x.view(), &blocks), view("second", y.view(), &[y.ncols()])];
    fit_views(&Views::new(both, None, Vec::new()).unwrap(), json!({})).unwrap()
}

fn unit_rows_of<P: Method>(x: &Array2<f32>, y: &Array2<f32>) {
    let Some(engine) = engine() else { return };
    let fitted: Fitted<P> = fit(x, y, json!({}));
    let (source, target) = (fitted.maps[0].graph().unwrap(), fitted.maps[1].graph().unwrap());
    for (z, applied) in [
        (run(engine, &source, x), fitted.maps[0].apply(x.view()).unwrap()),
        (run(engine, &target, y), fitted.maps[1].apply(y.view()).unwrap()),
    ] {
        // 1e-6: single precision
        assert!(z.outer_iter().all(|row| (row.dot(&row) - 1.0).abs() < 1e-6));
        // the graph computes in single precision, `apply` in double: sums of up to a hundred products differ
        assert!(gap(&z, &applied) < 2e-5, "{}", gap(&z, &applied));
    }
    assert!(fitted.maps[0].apply(x.slice_axis(Axis(1), (1..).into())).is_err(), "items of another width");
    assert_eq!(fitted.maps[0].output_dim(), fitted.maps[1].output_dim());
    // one row at a time gives what the batch gave: the batch axis is free and rows do not mix
    let first = x.select(Axis(0), &[0]);
    assert!(gap(&run(engine, &source, &first), &run(engine, &source, x).select(Axis(0), &[0])) < 1e-6);
}

#[test]
fn every_method_gives_unit_rows_of_one_width() {
    let (x, y) = pairs(60, 14, 9, 5, 1);
    unit_rows_of::<ProcrustesParams>(&x, &y);
    unit_rows_of::<RidgeParams>(&x, &y);
    unit_rows_of::<CcaParams>(&x, &y);
    unit_rows_of::<KccaParams>(&x, &y);
    unit_rows_of::<MeanVectorParams>(&x, &y);
}

/// map(inverse(z)) = z for z that no training item maps to.
#[test]
fn a_right_inverse_reaches_every_point() {
    let Some(engine) = engine() else { return };
    let (x, y) = pairs(200, 20, 12, 6, 2);
    for curve in ["unit", "signed-root"] {
        let fitted: Fitted<CcaParams> = fit(&x, &y, json!({ "curve": { "first": curve }, "dimensions": 6 }));
        let way = fitted.maps[0].inverse().unwrap().unwrap();
        assert_eq!(way.kind, MapInverseKind::Right);
        let z = unit(&pairs(50, fitted.maps[0].output_dim(), 1, 3, 9).0);
        let back = run(engine, &fitted.maps[0].graph().unwrap(), &run(engine, &way.graph, &z));
        // 1e-4: the map's condition is below 100
        assert!(gap(&back, &z) < 1e-4, "{curve}: {} ({})", gap(&back, &z), way.note);
    }
}

/// inverse(map(x)) = x up to its length when nothing is projected away, and then both ways hold.
#[test]
fn a_procrustes_map_of_full_rank_has_a_two_sided_inverse() {
    let Some(engine) = engine() else { return };
    let (x, y) = pairs(200, 8, 11, 8, 3);
    let fitted: Fitted<ProcrustesParams> = fit(&x, &y, json!({ "dimensions": 8 }));
    let way = fitted.maps[0].inverse().unwrap().unwrap();
    assert_eq!(way.kind, MapInverseKind::TwoSided);
    let new = pairs(40, 8, 1, 8, 4).0;
    let z = run(engine, &fitted.maps[0].graph().unwrap(), &new);
    let x_back = run(engine, &way.graph, &z);
    assert!(gap(&unit(&x_back), &unit(&new)) < 1e-4, "{}", gap(&unit(&x_back), &unit(&new)));
}

/// A narrow modality predicted into a wide one: x is found again, up to its length.
#[test]
fn a_left_inverse_recovers_the_row() {
    let Some(engine) = engine() else { return };
    let (x, y) = pairs(200, 7, 15, 7, 5);
    let given = json!({ "onto": "second", "curve": { "first": "signed-root" }, "ridge": 0.01 });
    let fitted: Fitted<RidgeParams> = fit(&x, &y, given);
    let way = fitted.maps[0].inverse().unwrap().unwrap();
    assert_eq!(way.kind, MapInverseKind::Left);
    let new = pairs(40, 7, 1, 7, 6).0;
    let back = run(engine, &way.graph, &run(engine, &fitted.maps[0].graph().unwrap(), &new));
    assert!(gap(&unit(&back), &unit(&new)) < 1e-3, "{} ({})", gap(&unit(&back), &unit(&new)), way.note);
}

#[test]
fn a_map_without_an_inverse_gives_the_reason() {
    let (x, y) = pairs(60, 14, 9, 5, 7);
    let kernel: Fitted<KccaParams> = fit(&x, &y, json!({}));
    assert!(kernel.maps[0].inverse().unwrap().unwrap_err().contains("kernel"));
    let joined: Fitted<CcaParams> = fit_blocks(&x, &y, [10, 4]);
    assert!(joined.maps[0].inverse().unwrap().unwrap_err().contains("several encoders"));
    let few = (x.select(Axis(0), &[0, 1, 2, 3]), y.select(Axis(0), &[0, 1, 2, 3]));
    let thin: Fitted<RidgeParams> = fit(&few.0, &few.1, json!({ "onto": "second" }));
    assert!(thin.maps[0].inverse().unwrap().unwrap_err().contains("weaker"));
    let exported = thin.export(&["first", "second"]).unwrap();
    assert!(exported.inverses[0].is_none() && exported.inverses[1].is_some());
    let note = exported.notes["inverses"]["first"].as_str().unwrap().to_owned();
    assert!(note.starts_with("none: "), "{note}");
}

/// Each encoder's block is brought to length one by itself, so a block's scale must not matter.
#[test]
fn the_scale_of_an_encoders_block_does_not_matter() {
    let Some(engine) = engine() else { return };
    let (x, y) = pairs(80, 12, 9, 5, 8);
    let (a, b) = (x.select(Axis(1), &[0, 1, 2, 3, 4, 5, 6]), x.select(Axis(1), &[7, 8, 9, 10, 11]));
    let loud = concatenate(Axis(1), &[a.view(), (&b * 1000.0).view()]).unwrap();
    let [quiet, shrill]: [Fitted<CcaParams>; 2] = [&x, &loud].map(|x| fit_blocks(x, &y, [7, 5]));
    let z = [(&quiet, &x), (&shrill, &loud)].map(|(f, rows)| run(engine, &f.maps[0].graph().unwrap(), rows));
    let t = [&quiet, &shrill].map(|f| run(engine, &f.maps[1].graph().unwrap(), &y));
    // scores, since a basis may differ by signs; 1e-4 for the different rounding of the scaled rows
    assert!(gap(&z[0].dot(&t[0].t()), &z[1].dot(&t[1].t())) < 1e-4);
}

/// The dot product of the bank's output rows is the corrected score by its definition, for every pair.
#[test]
fn the_bank_graph_gives_the_corrected_scores() {
    let Some(engine) = engine() else { return };
    for count in [2, 3] {
        let cloud = |n, seed| unit(&pairs(n, 6, 1, 6, seed).0);
        let asked: Vec<_> = (0..count).map(|at| cloud(30, 10 + at as u64)).collect();
        let banks: Vec<_> = (0..count).map(|at| cloud(90 + 5 * at, 20 + at as u64)).collect();
        let clouds: Vec<_> = banks.iter().map(Array2::view).collect();
        for top in [7, 1000] {
            let banked: Vec<_> = (0..count)
                .map(|own| run(engine, &bank_tail(own, &clouds, top, 0.75).unwrap(), &asked[own]))
                .collect();
            assert_eq!(banked[0].ncols(), 6 + count * (count - 1));
            for (a, b) in [(0, 1), (0, count - 1), (1, count - 1)].into_iter().filter(|(a, b)| a < b) {
                let rows = bank_penalties(asked[a].view(), clouds[b], top, 0.75).unwrap();
                let columns = bank_penalties(asked[b].view(), clouds[a], top, 0.75).unwrap();
                let plain = asked[a].dot(&asked[b].t());
                let expected = Array2::from_shape_fn(plain.dim(), |(i, j)| {
                    plain[[i, j]] - (rows[i] + columns[j]) as f32
                });
                assert!(gap(&banked[a].dot(&banked[b].t()), &expected) < 1e-5, "{a} and {b} of {count}");
            }
        }
    }
    let one = unit(&pairs(90, 6, 1, 6, 12).0);
    let clouds = [one.view(), one.view()];
    assert!(bank_tail(0, &clouds, 0, 0.75).is_err());
    assert!(bank_tail(0, &clouds, 5, -1.0).is_err());
    assert!(bank_tail(2, &clouds, 5, 0.75).is_err());
}

/// Learned maps must exceed the baseline on test rows, and the baseline must be near chance.
#[test]
fn learned_maps_exceed_the_baseline_on_test_rows() {
    let Some(engine) = engine() else { return };
    let (x, y) = pairs(400, 24, 16, 8, 14);
    let part =
        |rows: &Array2<f32>, from: usize, to: usize| rows.select(Axis(0), &(from..to).collect::<Vec<_>>());
    let (xt, yt) = (part(&x, 0, 300), part(&y, 0, 300));
    let score = |source: &chiasm_graph::Graph, target: &chiasm_graph::Graph| {
        let (a, b) = (run(engine, source, &part(&x, 300, 400)), run(engine, target, &part(&y, 300, 400)));
        Ranks::of_embeddings(a.view(), b.view()).unwrap().rsum()
    };
    fn graphs<P: Method>(x: &Array2<f32>, y: &Array2<f32>) -> (chiasm_graph::Graph, chiasm_graph::Graph) {
        let fitted: Fitted<P> = fit(x, y, json!({}));
        (fitted.maps[0].graph().unwrap(), fitted.maps[1].graph().unwrap())
    }
    let (source, target) = graphs::<MeanVectorParams>(&xt, &yt);
    let baseline = score(&source, &target);
    // chance is 32 of 600 here, its standard error over 200 queries about 10
    assert!(baseline < 75.0, "{baseline}");
    for (source, target) in [
        graphs::<ProcrustesParams>(&xt, &yt),
        graphs::<RidgeParams>(&xt, &yt),
        graphs::<CcaParams>(&xt, &yt),
        graphs::<KccaParams>(&xt, &yt),
    ] {
        assert!(score(&source, &target) > 300.0, "{}", score(&source, &target));
    }
}

/// A rotation of an encoder's space must not change the scores.
#[test]
fn a_rotation_of_an_encoder_changes_no_score() {
    let Some(engine) = engine() else { return };
    for seed in 20..25 {
        let (x, y) = pairs(60, 6, 5, 3, seed);
        let mut turned = x.clone();
        for i in 0..x.nrows() {
            // a plane rotation of columns 0 and 3
            turned[[i, 0]] = 0.6 * x[[i, 0]] - 0.8 * x[[i, 3]];
            turned[[i, 3]] = 0.8 * x[[i, 0]] + 0.6 * x[[i, 3]];
        }
        let given = json!({ "curve": "unit", "dimensions": 4 });
        fn scores<P: Method>(
            engine: &chiasm_runtime::Engine,
            x: &Array2<f32>,
            y: &Array2<f32>,
            given: &Value,
        ) -> Array2<f32> {
            let fitted: Fitted<P> = fit(x, y, given.clone());
            let target = run(engine, &fitted.maps[1].graph().unwrap(), y);
            run(engine, &fitted.maps[0].graph().unwrap(), x).dot(&target.t())
        }
        let p = [&x, &turned].map(|x| scores::<ProcrustesParams>(engine, x, &y, &given));
        let c = [&x, &turned].map(|x| scores::<CcaParams>(engine, x, &y, &given));
        // 1e-4: rows are rotated in single precision
        assert!(gap(&p[0], &p[1]) < 1e-4 && gap(&c[0], &c[1]) < 1e-4, "seed {seed}");
    }
}

/// The matrix on the principal coordinates must equal the map, coordinates must have unit mean square, and
/// with all axes kept the inverse must recover the direction of every training item.
#[test]
fn a_principal_projection_with_its_start_equals_the_map() {
    let Some(engine) = engine() else { return };
    let (x, y) = pairs(200, 20, 12, 6, 4);
    let fitted: Fitted<CcaParams> = fit(&x, &y, json!({ "curve": { "first": "signed-root" } }));
    let projection = PrincipalProjection::new(&fitted.maps[0], x.view()).unwrap();
    let u = run(engine, &projection.graph().unwrap(), &x);
    assert_eq!(u.ncols(), projection.coordinates());
    let square = u.iter().map(|v| f64::from(v * v)).sum::<f64>() / u.len() as f64;
    assert!((square - 1.0).abs() < 1e-4, "mean square {square}");
    let z = u.dot(&projection.start().mapv(|w| w as f32));
    let length = z.iter().map(|v| f64::from(v * v)).sum::<f64>() / z.nrows() as f64;
    assert!((length - 1.0).abs() < 1e-4, "mean square length {length}");
    // 1e-5: two orders of the same sums in single precision
    assert!(gap(&unit(&z), &run(engine, &fitted.maps[0].graph().unwrap(), &x)) < 1e-5);
    let back = run(engine, &projection.inverse().unwrap().unwrap(), &u);
    // 1e-3: the square that undoes the signed root has no slope at zero
    assert!(gap(&unit(&back), &unit(&x)) < 1e-3);
    let ridges = fitted.parameters.ridges(&["first", "second"]).unwrap();
    assert!(ridges.iter().all(|ridge| (0.01..=1.0).contains(ridge)));
    assert!(
        projection.noise(4.0 * ridges[0]) / projection.noise(ridges[0]) - 2.0 < 1e-12,
        "a variance, so twice the deviation"
    );
    let kernel: Fitted<KccaParams> = fit(&x, &y, json!({}));
    let refusal = PrincipalProjection::new(&kernel.maps[0], x.view()).unwrap_err().to_string();
    assert!(refusal.contains("kernel"), "{refusal}");
}
