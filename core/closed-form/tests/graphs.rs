//! What leaves this crate, run by the engine: unit rows, ways back, blocks, the bank.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its case has failed")]

mod common;

use chiasm_closed_form::bank::{Role, bank_tail};
use chiasm_closed_form::{Conduct, Fitted, Front, InverseKind, Method, Pairs};
use chiasm_closed_form::{
    cca::CcaParams, kcca::KccaParams, mean_vector::MeanVectorParams, procrustes::ProcrustesParams,
    ridge::RidgeParams,
};
use chiasm_geometry::hubness::bank;
use chiasm_geometry::retrieval::Ranks;
use common::{engine, gap, pairs, run, unit};
use ndarray::{Array2, Axis, concatenate};
use serde_json::{Value, json};

fn fit<P: Method>(x: &Array2<f32>, y: &Array2<f32>, parameters: Value) -> Fitted<P> {
    let parameters: P = serde_json::from_value(parameters).unwrap();
    parameters.fit_pairs(Pairs::new(x.view(), y.view()).unwrap(), Conduct::default()).unwrap()
}

fn unit_rows_of<P: Method>(x: &Array2<f32>, y: &Array2<f32>) {
    let Some(engine) = engine() else { return };
    let fitted: Fitted<P> = fit(x, y, json!({}));
    let (source, target) = (fitted.source.graph("x").unwrap(), fitted.target.graph("y").unwrap());
    for z in [run(engine, &source, x), run(engine, &target, y)] {
        // 1e-6: single precision
        assert!(z.outer_iter().all(|row| (row.dot(&row) - 1.0).abs() < 1e-6));
    }
    assert_eq!(fitted.source.output_dim(), fitted.target.output_dim());
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

/// source(inverse(z)) = z for z that no training row maps to.
#[test]
fn a_right_inverse_reaches_every_point() {
    let Some(engine) = engine() else { return };
    let (x, y) = pairs(200, 20, 12, 6, 2);
    for curve in ["unit", "signed-root"] {
        let fitted: Fitted<CcaParams> = fit(&x, &y, json!({ "source_curve": curve, "dimensions": 6 }));
        let way = fitted.source.inverse().unwrap().unwrap();
        assert_eq!(way.kind, InverseKind::Right);
        let z = unit(&pairs(50, fitted.source.output_dim(), 1, 3, 9).0);
        let back = run(engine, &fitted.source.graph("x").unwrap(), &run(engine, &way.graph, &z));
        // 1e-4: the map's condition is below 100
        assert!(gap(&back, &z) < 1e-4, "{curve}: {} ({})", gap(&back, &z), way.note);
    }
}

/// inverse(source(x)) = x up to its length when nothing is projected away, and then both ways hold.
#[test]
fn a_full_procrustes_turn_is_undone_both_ways() {
    let Some(engine) = engine() else { return };
    let (x, y) = pairs(200, 8, 11, 8, 3);
    let fitted: Fitted<ProcrustesParams> = fit(&x, &y, json!({ "dimensions": 8 }));
    let way = fitted.source.inverse().unwrap().unwrap();
    assert_eq!(way.kind, InverseKind::TwoSided);
    let new = pairs(40, 8, 1, 8, 4).0;
    let z = run(engine, &fitted.source.graph("x").unwrap(), &new);
    let x_back = run(engine, &way.graph, &z);
    assert!(gap(&unit(&x_back), &unit(&new)) < 1e-4, "{}", gap(&unit(&x_back), &unit(&new)));
}

/// A narrow source predicted into a wide target: x is found again, up to its length.
#[test]
fn a_left_inverse_finds_the_row_again() {
    let Some(engine) = engine() else { return };
    let (x, y) = pairs(200, 7, 15, 7, 5);
    let given = json!({ "direction": "source-to-target", "source_curve": "signed-root", "ridge": 0.01 });
    let fitted: Fitted<RidgeParams> = fit(&x, &y, given);
    let way = fitted.source.inverse().unwrap().unwrap();
    assert_eq!(way.kind, InverseKind::Left);
    let new = pairs(40, 7, 1, 7, 6).0;
    let back = run(engine, &way.graph, &run(engine, &fitted.source.graph("x").unwrap(), &new));
    assert!(gap(&unit(&back), &unit(&new)) < 1e-3, "{} ({})", gap(&unit(&back), &unit(&new)), way.note);
}

#[test]
fn where_there_is_no_way_back_the_reason_is_given() {
    let (x, y) = pairs(60, 14, 9, 5, 7);
    let kernel: Fitted<KccaParams> = fit(&x, &y, json!({}));
    assert!(kernel.source.inverse().unwrap().unwrap_err().contains("kernel"));
    let joined: Fitted<CcaParams> = fit(&x, &y, json!({ "source_blocks": [10, 4] }));
    assert!(joined.source.inverse().unwrap().unwrap_err().contains("several encoders"));
    let few = (x.select(Axis(0), &[0, 1, 2, 3]), y.select(Axis(0), &[0, 1, 2, 3]));
    let thin: Fitted<RidgeParams> = fit(&few.0, &few.1, json!({ "direction": "source-to-target" }));
    assert!(thin.source.inverse().unwrap().unwrap_err().contains("weaker"));
    let note = thin.deliver().unwrap().notes["inverse"].as_str().unwrap().to_owned();
    assert!(note.starts_with("none: "), "{note}");
}

/// Each encoder's block is brought to length one by itself, so a block's scale must not matter.
#[test]
fn joined_encoders_do_not_drown_each_other() {
    let Some(engine) = engine() else { return };
    let (x, y) = pairs(80, 12, 9, 5, 8);
    let (a, b) = (x.select(Axis(1), &[0, 1, 2, 3, 4, 5, 6]), x.select(Axis(1), &[7, 8, 9, 10, 11]));
    let loud = concatenate(Axis(1), &[a.view(), (&b * 1000.0).view()]).unwrap();
    let given = json!({ "source_blocks": [7, 5] });
    let (quiet, shrill): (Fitted<CcaParams>, Fitted<CcaParams>) =
        (fit(&x, &y, given.clone()), fit(&loud, &y, given));
    let z =
        [(&quiet, &x), (&shrill, &loud)].map(|(f, rows)| run(engine, &f.source.graph("x").unwrap(), rows));
    let t = [&quiet, &shrill].map(|f| run(engine, &f.target.graph("y").unwrap(), &y));
    // scores, since a basis may differ by signs; 1e-4 for the different rounding of the scaled rows
    assert!(gap(&z[0].dot(&t[0].t()), &z[1].dot(&t[1].t())) < 1e-4);
}

/// The dot product of the banked rows is the corrected score of the numbers' own definition.
#[test]
fn the_bank_as_a_graph_is_the_bank_in_numbers() {
    let Some(engine) = engine() else { return };
    let (a, b) = (unit(&pairs(30, 6, 1, 6, 10).0), unit(&pairs(30, 6, 1, 6, 11).0));
    let (bank_a, bank_b) = (unit(&pairs(90, 6, 1, 6, 12).0), unit(&pairs(90, 6, 1, 6, 13).0));
    for top in [7, 1000] {
        let source = run(engine, &bank_tail(bank_b.view(), top, 0.75, Role::Source).unwrap(), &a);
        let target = run(engine, &bank_tail(bank_a.view(), top, 0.75, Role::Target).unwrap(), &b);
        let rows = bank(a.view(), bank_b.view(), top, 0.75).unwrap();
        let columns = bank(b.view(), bank_a.view(), top, 0.75).unwrap();
        let plain = a.dot(&b.t());
        let expected =
            Array2::from_shape_fn(plain.dim(), |(i, j)| plain[[i, j]] - (rows[i] + columns[j]) as f32);
        assert!(gap(&source.dot(&target.t()), &expected) < 1e-5);
    }
    assert!(bank_tail(bank_a.view(), 0, 0.75, Role::Source).is_err());
    assert!(bank_tail(bank_a.view(), 5, -1.0, Role::Source).is_err());
}

/// What is learned must beat the floor on rows never seen, and the floor must be near chance.
#[test]
fn learned_maps_beat_the_floor_on_unseen_rows() {
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
        (fitted.source.graph("x").unwrap(), fitted.target.graph("y").unwrap())
    }
    let (source, target) = graphs::<MeanVectorParams>(&xt, &yt);
    let floor = score(&source, &target);
    // chance is 32 of 600 here, its standard error over 200 queries about 10
    assert!(floor < 75.0, "{floor}");
    for (source, target) in [
        graphs::<ProcrustesParams>(&xt, &yt),
        graphs::<RidgeParams>(&xt, &yt),
        graphs::<CcaParams>(&xt, &yt),
        graphs::<KccaParams>(&xt, &yt),
    ] {
        assert!(score(&source, &target) > 300.0, "{}", score(&source, &target));
    }
}

/// Turning an encoder's space must turn nothing in the scores: the methods know no coordinates.
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
        let given = json!({ "source_curve": "unit", "target_curve": "unit", "dimensions": 4 });
        fn scores<P: Method>(
            engine: &chiasm_runtime::Engine,
            x: &Array2<f32>,
            y: &Array2<f32>,
            given: &Value,
        ) -> Array2<f32> {
            let fitted: Fitted<P> = fit(x, y, given.clone());
            let target = run(engine, &fitted.target.graph("y").unwrap(), y);
            run(engine, &fitted.source.graph("x").unwrap(), x).dot(&target.t())
        }
        let p = [&x, &turned].map(|x| scores::<ProcrustesParams>(engine, x, &y, &given));
        let c = [&x, &turned].map(|x| scores::<CcaParams>(engine, x, &y, &given));
        // 1e-4: rows are rotated in single precision
        assert!(gap(&p[0], &p[1]) < 1e-4 && gap(&c[0], &c[1]) < 1e-4, "seed {seed}");
    }
}

/// A learned map starts here: the front's matrix on its coordinates must be the side, its coordinates of unit mean square, and with
/// all axes kept the way back must find the direction of every training row.
#[test]
fn a_front_with_its_start_is_the_side() {
    let Some(engine) = engine() else { return };
    let (x, y) = pairs(200, 20, 12, 6, 4);
    let fitted: Fitted<CcaParams> = fit(&x, &y, json!({ "source_curve": "signed-root" }));
    let front = Front::new(&fitted.source, x.view()).unwrap();
    let u = run(engine, &front.graph("x").unwrap(), &x);
    assert_eq!(u.ncols(), front.coordinates());
    let square = u.iter().map(|v| f64::from(v * v)).sum::<f64>() / u.len() as f64;
    assert!((square - 1.0).abs() < 1e-4, "mean square {square}");
    let z = u.dot(&front.start().mapv(|w| w as f32));
    let length = z.iter().map(|v| f64::from(v * v)).sum::<f64>() / z.nrows() as f64;
    assert!((length - 1.0).abs() < 1e-4, "mean square length {length}");
    // 1e-5: two orders of the same sums in single precision
    assert!(gap(&unit(&z), &run(engine, &fitted.source.graph("x").unwrap(), &x)) < 1e-5);
    let back = run(engine, &front.back("x").unwrap().unwrap(), &u);
    // 1e-3: the square that undoes the signed root has no slope at zero
    assert!(gap(&unit(&back), &unit(&x)) < 1e-3);
    let [source, target] = fitted.parameters.ridges().unwrap();
    assert!((0.01..=1.0).contains(&source) && (0.01..=1.0).contains(&target));
    assert!(
        front.noise(4.0 * source) / front.noise(source) - 2.0 < 1e-12,
        "a variance, so twice the deviation"
    );
    let kernel: Fitted<KccaParams> = fit(&x, &y, json!({}));
    let refusal = Front::new(&kernel.source, x.view()).unwrap_err().to_string();
    assert!(refusal.contains("kernel"), "{refusal}");
}
