//! `chiasm transport`: penalties, inner distances and weights of each side.

mod common;

use common::{Sandbox, npy};
use serde_json::Value;

/// Points and weights by formula; the values are POT's (0.9.6) on the same numbers:
/// `ot.unbalanced.sinkhorn_unbalanced(a, b, ot.dist(x, y), 0.1, (0.5, 2.0), reg_type="kl")`, the same with
/// `(0.5, inf)`, and `ot.gromov.fused_gromov_wasserstein(M, C1, C2, u, v, alpha=0.5)` with Euclidean inner
/// distances, scaled to a maximum of one, and with squared ones.
#[test]
fn penalties_and_inner_distances_are_chosen_for_each_side() {
    let sandbox = Sandbox::new();
    let x: Vec<f32> = (0..15).map(|i| ((i / 3 * 7 + i % 3 * 3) % 11) as f32 / 11.0 - 0.5).collect();
    let y: Vec<f32> = (0..12).map(|i| ((i / 3 * 5 + i % 3 * 2) % 7) as f32 / 7.0 - 0.4).collect();
    let m: Vec<f32> = (0..20)
        .map(|i: i32| (i / 4 - i % 4).abs() as f32 / 5.0 + 0.1 * (i / 4 * (i % 4) % 3) as f32)
        .collect();
    sandbox.write("x.npy", npy(5, 3, &x));
    sandbox.write("y.npy", npy(4, 3, &y));
    sandbox.write("m.npy", npy(5, 4, &m));
    sandbox.write("a.npy", npy(5, 1, &[0.1, 0.3, 0.2, 0.15, 0.25]));
    sandbox.write("b.npy", npy(4, 1, &[0.4, 0.1, 0.3, 0.2]));
    let solve = |arguments: &[&str]| -> Value {
        let all = [&["transport", "x.npy", "y.npy"], arguments, &["--format", "json"]].concat();
        serde_json::from_str(&sandbox.good(&all)).unwrap()
    };
    let weighted = ["--solver", "unbalanced", "--eps", "0.1", "--a", "a.npy", "--b", "b.npy"];
    for (rho, cost, mass) in [("0.5,2", 0.069_913_373_3, 0.921_923_475_8), ("0.5,inf", 0.100_283_384_0, 1.0)]
    {
        let report = solve(&[&weighted[..], &["--tolerance", "1e-7", "--rho", rho]].concat());
        for (key, known) in [("cost", cost), ("mass", mass)] {
            let got = report[key].as_f64().unwrap();
            // The kernel is in single precision.
            assert!((got - known).abs() < 1e-4 * known, "{rho}: {key} {got}, expected {known}");
        }
    }
    let fused = ["--solver", "fgw", "--cost-matrix", "m.npy", "--alpha", "0.5"];
    for (cost, known) in [(&["--cost", "euclidean"][..], 0.177_891_550_7), (&[], 0.180_524_135_2)] {
        let got = solve(&[&fused[..], cost].concat())["cost"].as_f64().unwrap();
        // POT starts once and may end in a worse optimum.
        assert!(got < known * (1.0 + 1e-5) && got > 0.9 * known, "{cost:?}: {got}, POT {known}");
    }
    sandbox.refused(
        &["transport", "x.npy", "y.npy", "--cost", "euclidean", "--cost-matrix", "m.npy"],
        &["--cost cannot be used together with --cost-matrix"],
    );
    sandbox.refused(
        &["transport", "x.npy", "y.npy", "--solver", "unbalanced", "--rho", "1,2,3"],
        &["one for each side"],
    );
}

/// On a line every direction is the line, so the sliced distance is W2: of the mass 4, 1 moves by 2 and 2 by
/// 1. The cost is that of emd, and the distance that of the mass 1.
#[test]
fn the_sliced_distance_takes_weights_and_has_no_plan() {
    let sandbox = Sandbox::new();
    sandbox.write("x.npy", npy(3, 1, &[0.0, 4.0, 9.0]));
    sandbox.write("y.npy", npy(3, 1, &[2.0, 5.0, 9.0]));
    sandbox.write("w.npy", npy(3, 1, &[1.0, 2.0, 1.0]));
    let sliced = ["transport", "x.npy", "y.npy", "--solver", "sliced", "--a", "w.npy", "--b", "w.npy"];
    let report: Value =
        serde_json::from_str(&sandbox.good(&[&sliced[..], &["--format", "json"]].concat())).unwrap();
    assert!((report["cost"].as_f64().unwrap() - 6.0).abs() < 1e-9, "{report}");
    assert!((report["distance"].as_f64().unwrap() - 1.5_f64.sqrt()).abs() < 1e-9, "{report}");
    sandbox.refused(&[&sliced[..], &["-o", "plan.npy"]].concat(), &["does not support --output"]);
    sandbox.refused(&[&sliced[..], &["--eps", "1"]].concat(), &["does not support --eps"]);
    sandbox.refused(&[&sliced[..], &["--directions", "2000000000000"]].concat(), &["GiB are free"]);
    sandbox.write("half.npy", npy(3, 1, &[0.5, 1.0, 0.5]));
    let unequal = ["transport", "x.npy", "y.npy", "--solver", "sliced", "--a", "w.npy", "--b", "half.npy"];
    sandbox.refused(&unequal, &["source weights sum to 4", "target weights to 2", "equal sums"]);
}
