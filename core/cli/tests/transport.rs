//! `chiasm transport`: comparison with POT, the marginals of plans, and invalid input.
//!
//! The reference values are those of the transport crate, computed with POT
//! (core/transport/tests/reference/make.py).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{RandomNumbers, Sandbox, npy, peers, project};
use serde_json::Value;
use std::process::Command;

struct Reference {
    sandbox: Sandbox,
    known: Value,
}

fn rows(value: &Value) -> Vec<Vec<f32>> {
    let row = |row: &Value| row.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
    value.as_array().unwrap().iter().map(row).collect()
}

fn matrix(rows: &[Vec<f32>]) -> Vec<u8> {
    npy(rows.len(), rows[0].len(), &rows.concat())
}

impl Reference {
    /// Writes the points and weights of the reference.
    fn new() -> Self {
        let text = std::fs::read(project().join("core/transport/tests/reference/values.json")).unwrap();
        let known: Value = serde_json::from_slice(&text).unwrap();
        let sandbox = Sandbox::new();
        for name in ["x", "y", "z"] {
            sandbox.write(&format!("{name}.npy"), matrix(&rows(&known[name])));
        }
        for name in ["a", "b"] {
            let weights: Vec<f32> =
                known[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
            sandbox.write(&format!("{name}.npy"), npy(weights.len(), 1, &weights));
        }
        Self { sandbox, known }
    }

    fn solve(&self, arguments: &[&str]) -> Value {
        let all = [&["transport"][..], arguments, &["--format", "json"]].concat();
        serde_json::from_str(&self.sandbox.good(&all)).unwrap()
    }

    fn near(&self, report: &Value, key: &str, known: &str, tolerance: f64) {
        let (got, known) = (report[key].as_f64().unwrap(), self.known[known].as_f64().unwrap());
        assert!((got - known).abs() <= tolerance * known.abs(), "{known}: {got} in {report}");
    }
}

const WEIGHTED: [&str; 6] = ["x.npy", "y.npy", "--a", "a.npy", "--b", "b.npy"];

/// The tolerance is 1e-6 if only the weights are rounded to single precision, and 1e-5 if the kernel is as
/// well.
#[test]
fn the_results_equal_those_of_pot() {
    let reference = Reference::new();
    let eps = reference.known["epsilon"].as_f64().unwrap().to_string();
    let solve = |more: &[&str]| reference.solve(&[&WEIGHTED[..], more].concat());
    let report = solve(&["--solver", "emd"]);
    reference.near(&report, "cost", "emd", 1e-6);
    assert!(report["gap"].as_f64().unwrap().abs() < 1e-9 && report["stop"] == "converged", "{report}");
    let report = solve(&["--solver", "sinkhorn", "--eps", &eps, "--debias"]);
    reference.near(&report, "cost", "sinkhorn", 1e-5);
    reference.near(&report, "divergence", "sinkhorn_divergence", 1e-5);
    assert!(report["marginal_error"].as_f64().unwrap() <= 1e-6, "{report}");
    for (cost, known) in [("euclidean", "sinkhorn_euclidean"), ("cosine", "sinkhorn_cosine")] {
        let report = solve(&["--solver", "sinkhorn", "--eps-scale", "0.1", "--cost", cost]);
        // The mean distance, which scales the entropy, is computed in single precision.
        reference.near(&report, "cost", known, 1e-4);
    }
    let partial = ["x.npy", "y.npy", "--solver", "partial", "--eps", &eps, "--mass", "0.6"];
    let report = reference.solve(&partial);
    reference.near(&report, "cost", "partial", 1e-4);
    reference.near(&report, "mass", "partial_mass", 1e-4);
}

/// Compared with POT, with distances scaled to a maximum of one.
#[test]
fn gromov_wasserstein_compares_points_of_different_width() {
    let reference = Reference::new();
    let entropic = ["x.npy", "z.npy", "--solver", "gw", "--eps", "0.01"];
    let exactly = ["--starts", "1", "--tolerance", "1e-6", "-o", "plan.npy"];
    let report = reference.solve(&[&entropic[..], &exactly].concat());
    reference.near(&report, "cost", "entropic_gw", 1e-5); // single-precision plans
    // By default it starts from six plans, and stops when the objective is flat.
    let cost = |report: &Value| report["cost"].as_f64().unwrap();
    assert!(cost(&reference.solve(&entropic)) <= cost(&report) * 1.001);
    let report = reference.solve(&["x.npy", "z.npy", "--solver", "gw"]);
    let known = reference.known["gw_uniform_start"].as_f64().unwrap();
    assert!(cost(&report) <= known * 1.001, "six starts do no worse than one: {report}");
    assert!(report["unexplained"].as_f64().unwrap() < 1.0, "{report}");
    let few: Vec<Vec<f32>> = rows(&reference.known["x"]).into_iter().map(|row| row[..3].to_vec()).collect();
    let z = rows(&reference.known["z"]);
    let square = |x: &[f32], z: &[f32]| x.iter().zip(z).map(|(x, z)| (x - z).powi(2)).sum::<f32>();
    let cost: Vec<Vec<f32>> = few.iter().map(|x| z.iter().map(|z| square(x, z)).collect()).collect();
    let top = cost.concat().into_iter().fold(0.0_f32, f32::max);
    let cost: Vec<Vec<f32>> =
        cost.into_iter().map(|row| row.into_iter().map(|c| c / top).collect()).collect();
    reference.sandbox.write("c.npy", matrix(&cost));
    let fused = ["x.npy", "z.npy", "--solver", "fgw", "--cost-matrix", "c.npy", "--starts", "1"];
    let report = reference.solve(&fused);
    reference.near(&report, "cost", "fused_gw", 1e-2); // stationary points of one another's neighbourhood
}

/// Given distances are those of the points; paths over all neighbours are the distances themselves.
#[test]
fn gromov_wasserstein_takes_distances_and_paths() {
    let reference = Reference::new();
    for name in ["x", "z"] {
        let points = rows(&reference.known[name]);
        let apart = |a: &[f32], b: &[f32]| {
            a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt() as f32
        };
        let distances: Vec<Vec<f32>> =
            points.iter().map(|a| points.iter().map(|b| apart(a, b)).collect()).collect();
        reference.sandbox.write(&format!("d{name}.npy"), matrix(&distances));
    }
    let solve = |more: &[&str]| reference.solve(&[&["--solver", "gw", "--eps", "0.005"][..], more].concat());
    let cost = |report: &Value| report["cost"].as_f64().unwrap();
    let points = cost(&solve(&["x.npy", "z.npy", "--cost", "euclidean"]));
    let given = ["--source-distances", "dx.npy", "--target-distances", "dz.npy"];
    // Products of matrices in single precision.
    assert!((cost(&solve(&given)) - points).abs() < 1e-4 * points);
    assert!((cost(&solve(&["x.npy", "z.npy", "--geodesic", "39"])) - points).abs() < 1e-4 * points);
    let several = solve(&[&given[..], &["--geodesic", "3,10,39"]].concat());
    let neighbours = (several["neighbours"].as_f64().unwrap() as usize).to_string();
    let least = solve(&[&given[..], &["--geodesic", &neighbours]].concat());
    assert_eq!(several["unexplained"], least["unexplained"], "{several}");
    let refused = |more: &[&str], words: &[&str]| {
        reference.sandbox.refused(&[&["transport", "--solver"][..], more].concat(), words)
    };
    refused(&["gw", "--source-distances", "dx.npy"], &["--target-distances"]);
    refused(&[&["fgw"][..], &given].concat(), &["--cost-matrix"]);
    refused(&["fgw", "--cost-matrix", "c.npy"], &["neither points nor distances", "X.npy Y.npy"]);
    refused(&["gw", "x.npy", "z.npy", "--geodesic", "0"], &["--geodesic: expected 1 or more"]);
    refused(&["gw", "x.npy", "z.npy", "--geodesic", "5", "--rank", "4"], &["--rank", "--geodesic"]);
    refused(&["emd", "x.npy", "y.npy", "--geodesic", "5"], &["emd", "--geodesic"]);
}

#[test]
fn plans_are_written_and_reaching_a_limit_is_a_warning() {
    let reference = Reference::new();
    for solver in ["emd", "sinkhorn", "lowrank"] {
        let name = format!("{solver}.npy");
        reference.solve(&[&WEIGHTED[..], &["--solver", solver, "-o", &name]].concat());
        let bytes = std::fs::read(reference.sandbox.path(&name)).unwrap();
        let plan: Vec<f64> = bytes[bytes.len() - 40 * 30 * 8..]
            .chunks(8)
            .map(|v| f64::from_le_bytes(v.try_into().unwrap()))
            .collect();
        for (i, row) in plan.chunks(30).enumerate() {
            let wanted = reference.known["a"][i].as_f64().unwrap();
            // a low-rank plan's own marginal error is that of two small Sinkhorn problems
            assert!((row.iter().sum::<f64>() - wanted).abs() < 1e-5, "{solver}, row {i}");
        }
    }
    for (solver, target) in [("lowrank", "y.npy"), ("gw", "z.npy")] {
        let name = format!("{solver}.npz");
        let factors = ["x.npy", target, "--solver", solver, "--rank", "7", "-o", &name];
        assert_eq!(reference.solve(&factors)["rank"], 7.0);
        assert!(reference.sandbox.path(&name).is_file());
    }
    let cut =
        reference.sandbox.call(&["transport", "x.npy", "y.npy", "--eps-scale", "0.001", "--iterations", "2"]);
    assert_eq!(cut.code, Some(0), "{}", cut.stderr);
    assert!(cut.stderr.contains("not converged") && cut.stderr.contains("--iterations"), "{}", cut.stderr);
    assert!(cut.stdout.contains("marginal_error"), "{}", cut.stdout);
}

/// Unusual but valid input: every solver returns the correct value or an error, within seconds.
#[test]
fn unusual_input_gives_the_correct_value_or_an_error() {
    let reference = Reference::new();
    let x = rows(&reference.known["x"]);
    let solvers: [&[&str]; 9] = [
        &["--solver", "emd"],
        &["--solver", "sinkhorn", "--eps-scale", "0.1"],
        &["--solver", "unbalanced", "--eps-scale", "0.1", "--rho", "1"],
        &["--solver", "partial", "--eps-scale", "0.1", "--mass", "0.5"],
        &["--solver", "gw"],
        &["--solver", "gw", "--eps", "0.01"],
        &["--solver", "gw", "--rank", "4"],
        &["--solver", "fgw"],
        &["--solver", "lowrank", "--rank", "4"],
    ];
    let scaled = |rows: &[Vec<f32>], factor: f32| -> Vec<Vec<f32>> {
        rows.iter().map(|row| row.iter().map(|v| v * factor).collect()).collect()
    };
    let y = rows(&reference.known["y"]);
    for (name, factor) in [("huge", 1e30), ("tiny", 1e-30)] {
        reference.sandbox.write(&format!("{name}_x.npy"), matrix(&scaled(&x, factor)));
        reference.sandbox.write(&format!("{name}_y.npy"), matrix(&scaled(&y, factor)));
    }
    reference.sandbox.write("one.npy", matrix(&x[..1]));
    reference.sandbox.write("alike.npy", matrix(&vec![x[0].clone(); 40]));
    let half: Vec<f32> = (0..40).map(|i| if i % 2 == 0 { 0.05 } else { 0.0 }).collect();
    reference.sandbox.write("half.npy", npy(40, 1, &half));
    let spread: f64 =
        y.iter().map(|y| x[0].iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>()).sum();
    for solver in solvers {
        let solve = |files: &[&str]| reference.solve(&[files, solver].concat())["cost"].as_f64().unwrap();
        let plain = solve(&["x.npy", "y.npy"]);
        let space = solver[1] == "gw" || solver[1] == "fgw"; // distances are brought to one: no unit is left
        for (name, factor) in [("huge", 1e30_f64), ("tiny", 1e-30)] {
            let files = [format!("{name}_x.npy"), format!("{name}_y.npy")];
            let unit = if space { 1.0 } else { factor.powi(2) };
            let got = solve(&[&files[0], &files[1]]) / unit;
            // penalties and single-precision scaling are in units of the cost
            let free = solver[1] == "unbalanced" || (got - plain).abs() <= 1e-3 * plain;
            assert!(got.is_finite() && free, "{solver:?} {name}: {got}, plain {plain}");
        }
        assert!(solve(&["x.npy", "y.npy", "--a", "half.npy"]).is_finite());
        for file in ["one.npy", "alike.npy"] {
            let got = solve(&[file, "y.npy"]);
            let all_to_one = ["emd", "sinkhorn", "lowrank"].contains(&solver[1]);
            assert!(!all_to_one || (got - spread / 30.0).abs() < 1e-5 * got, "{solver:?} {file}: {got}");
        }
    }
    let refused = |more: &[&str], words: &[&str]| {
        reference.sandbox.refused(&[&["transport"][..], more].concat(), words)
    };
    refused(&["x.npy", "y.npy", "--eps", "1e-12"], &["raise epsilon"]);
    refused(&["alike.npy", "alike.npy"], &["zero mean cost"]);
    assert_eq!(reference.solve(&["alike.npy", "alike.npy", "--eps", "1"])["cost"], 0.0);
}

#[test]
fn errors_name_the_invalid_file_or_option() {
    let reference = Reference::new();
    let sandbox = &reference.sandbox;
    let mut nan = rows(&reference.known["x"]);
    nan[7][2] = f32::NAN;
    sandbox.write("nan.npy", matrix(&nan));
    sandbox.write("empty.npy", npy(0, 5, &[]));
    sandbox.write("negative.npy", npy(40, 1, &[-1.0; 40]));
    sandbox.write("text.npy", "no array");
    sandbox.write("zeros.npy", npy(40, 1, &[0.0; 40]));
    sandbox.write("twos.npy", npy(40, 1, &[2.0; 40]));
    nan[7][2] = f32::INFINITY;
    sandbox.write("infinite.npy", matrix(&nan));
    let refused =
        |more: &[&str], words: &[&str]| sandbox.refused(&[&["transport"][..], more].concat(), words);
    refused(&["nan.npy", "y.npy"], &["nan.npy", "row 7"]);
    refused(&["infinite.npy", "y.npy"], &["infinite.npy", "row 7"]);
    refused(&["x.npy", "y.npy", "--solver", "gw", "--rank", "3", "--eps", "0.1"], &["--rank", "--eps"]);
    refused(&["x.npy", "y.npy", "--solver", "gw", "--rank", "3", "--cost", "euclidean"], &["squared"]);
    refused(&["x.npy", "y.npy", "--a", "zeros.npy"], &["zeros.npy", "a sum of 0"]);
    refused(&["x.npy", "y.npy", "--a", "twos.npy"], &["sum to 80", "normalise"]);
    refused(&["empty.npy", "y.npy"], &["empty.npy", "empty"]);
    refused(&["text.npy", "y.npy"], &["text.npy"]);
    refused(&["none.npy", "y.npy"], &["none.npy"]);
    refused(&["x.npy", "z.npy"], &["z.npy", "expected 5, got 3"]);
    refused(&["x.npy", "y.npy", "--a", "negative.npy"], &["negative.npy", "-1"]);
    refused(&["x.npy", "y.npy", "--a", "b.npy"], &["b.npy", "expected 40, got 30"]);
    refused(&["x.npy", "y.npy", "--a", "x.npy"], &["x.npy", "expected a vector of 40 weights"]);
    refused(&["x.npy", "y.npy", "--iterations", "0"], &["--iterations: expected 1 or more"]);
    refused(&["x.npy", "z.npy", "--solver", "gw", "--tolerance=-1"], &["--tolerance: expected 0 or more"]);
    refused(&["x.npy", "y.npy", "-o", "plan.npz"], &["-o plan.npy"]);
    refused(&["x.npy", "y.npy", "--eps", "-1"], &["epsilon", "-1"]);
    refused(&["x.npy", "y.npy", "--solver", "unbalanced"], &["--rho"]);
    refused(&["x.npy", "y.npy", "--solver", "emd", "--eps", "1"], &["--eps", "emd"]);
    refused(&["x.npy"], &["Y.npy"]);
    refused(&["x.npy", "y.npy", "--time-limit", "0"], &["--time-limit"]);
}

/// Scaling the weights scales the cost, and translating the points does not change it.
#[test]
fn the_cost_scales_with_the_mass_and_ignores_offsets() {
    let reference = Reference::new();
    let scaled = |name: &str, by: f32| {
        let text = |v: &Value| v.as_f64().unwrap() as f32 * by;
        let weights: Vec<f32> = reference.known[name].as_array().unwrap().iter().map(text).collect();
        reference.sandbox.write(&format!("{name}7.npy"), npy(weights.len(), 1, &weights));
    };
    scaled("a", 7.0);
    scaled("b", 7.0);
    let heavy = ["x.npy", "y.npy", "--a", "a7.npy", "--b", "b7.npy", "--solver"];
    let cost = |arguments: &[&str]| reference.solve(arguments)["cost"].as_f64().unwrap();
    // Scaled weights are rounded differently, and low-rank plans are local optima.
    for (solver, tolerance) in [("emd", 1e-5), ("lowrank", 2e-3)] {
        let (one, seven) =
            (cost(&[&WEIGHTED[..], &["--solver", solver]].concat()), cost(&[&heavy[..], &[solver]].concat()));
        assert!((seven - 7.0 * one).abs() < tolerance * seven, "{solver}: {seven}, shares {one}");
    }
    reference
        .sandbox
        .refused(&[&["transport"][..], &heavy, &["gw"]].concat(), &["a7.npy", "shares that sum to one"]);

    // In single precision, points at a distance of 1e8 from zero would be equal.
    let script = "import numpy
for name in 'xy':
    numpy.save(f'far-{name}.npy', numpy.load(f'{name}.npy').astype('f8') + 1e8)";
    let made =
        Command::new(peers()).current_dir(reference.sandbox.path("")).args(["-c", script]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for solver in [&["emd"][..], &["sinkhorn", "--eps", "0.3"], &["lowrank"]] {
        let near = cost(&[&["x.npy", "y.npy", "--solver"][..], solver].concat());
        let far = cost(&[&["far-x.npy", "far-y.npy", "--solver"][..], solver].concat());
        // The resolution of doubles at 1e8 is 1.5e-8.
        assert!((far - near).abs() < 1e-5 * near, "{solver:?}: {far}, near zero {near}");
    }
}

/// If the time limit is reached in the first step, the starting plan is returned, and not as "converged".
#[test]
fn gromov_wasserstein_with_a_time_limit_keeps_the_marginals() {
    let reference = Reference::new();
    for solver in ["gw", "fgw"] {
        let files = if solver == "gw" { ["x.npy", "z.npy"] } else { ["x.npy", "y.npy"] };
        let report = reference
            .solve(&[&files[..], &["--solver", solver, "--time-limit", "1e-9", "-o", "p.npy"]].concat());
        assert_eq!(report["stop"], "time", "{report}");
        assert!(report["marginal_error"].as_f64().unwrap() < 1e-6, "{report}");
    }
}

#[test]
fn problems_without_mass_or_direction_are_refused() {
    let reference = Reference::new();
    let partial = ["transport", "x.npy", "y.npy", "--solver", "partial", "--mass", "0.5", "--eps", "1e-12"];
    reference.sandbox.refused(&partial, &["raise epsilon"]);
    let mut points = rows(&reference.known["x"]);
    points[3].iter_mut().for_each(|v| *v = 0.0);
    reference.sandbox.write("x.npy", matrix(&points));
    for solver in ["emd", "gw"] {
        let cosine = ["transport", "x.npy", "y.npy", "--cost", "cosine", "--solver", solver];
        reference.sandbox.refused(&cosine, &["x.npy", "the cosine of a zero row is undefined"]);
    }
}

/// 2,100 x 2,000 points are beyond the size up to which the exact solver stores a matrix of costs. On a line
/// the plan is known: both sides in ascending order (Santambrogio 2015, Optimal Transport for Applied
/// Mathematicians, section 2.2).
#[test]
fn many_points_are_matched_exactly_without_a_matrix_of_costs() {
    let sandbox = Sandbox::new();
    let (n, m) = (2_100_usize, 2_000_usize);
    let mut random = RandomNumbers(5);
    let x: Vec<f32> = (0..n).map(|_| random.next()).collect();
    let y: Vec<f32> = (0..m).map(|_| 2.0 * random.next() + 0.5).collect();
    sandbox.write("x.npy", npy(n, 1, &x));
    sandbox.write("y.npy", npy(m, 1, &y));
    let printed = sandbox.good(&[
        "transport",
        "x.npy",
        "y.npy",
        "--solver",
        "emd",
        "-o",
        "plan.csv",
        "--format",
        "json",
    ]);
    let report: Value = serde_json::from_str(&printed).unwrap();

    let sorted = |values: &[f32]| {
        let mut values: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (x, y) = (sorted(&x), sorted(&y));
    let (mut i, mut j, mut cost) = (0, 0, 0.0);
    let (mut left, mut right) = (1.0 / n as f64, 1.0 / m as f64);
    while i < n && j < m {
        let mass = f64::min(left, right);
        cost += mass * (x[i] - y[j]).powi(2);
        (left, right) = (left - mass, right - mass);
        if left <= 1e-15 {
            (i, left) = (i + 1, 1.0 / n as f64);
        }
        if right <= 1e-15 {
            (j, right) = (j + 1, 1.0 / m as f64);
        }
    }
    let got = report["cost"].as_f64().unwrap();
    // The solver's own bound of its error is 1e-9 of the cost.
    assert!((got - cost).abs() <= 1e-9 * cost, "{got} instead of {cost}");
    let plan = std::fs::read_to_string(sandbox.path("plan.csv")).unwrap();
    let mass: f64 =
        plan.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse::<f64>().unwrap()).sum();
    assert_eq!(plan.lines().next(), Some("source,target,mass"));
    assert!((mass - 1.0).abs() < 1e-9 && plan.lines().count() <= n + m, "{mass}");
    sandbox.refused(&["transport", "x.npy", "y.npy", "-o", "plan.csv"], &["-o: a .csv file", "--solver emd"]);
}
