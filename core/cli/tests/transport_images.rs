//! `chiasm transport --images`: the images of points under every solver's plan, compared with POT.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{RandomNumbers, Sandbox, npy, peers, project};
use serde_json::Value;
use std::process::Command;

const N: usize = 40;
const M: usize = 33;
const NEW: usize = 9;

/// Reads a file of doubles [., columns].
fn read(sandbox: &Sandbox, name: &str, rows: usize, columns: usize) -> Vec<Vec<f64>> {
    let bytes = std::fs::read(sandbox.path(name)).unwrap();
    let size = rows * columns * 8;
    let header = String::from_utf8_lossy(&bytes[..bytes.len() - size]).into_owned();
    assert!(header.contains("<f8") && header.contains(&format!("({rows}, {columns}")), "{name}: {header}");
    let values: Vec<f64> =
        bytes[bytes.len() - size..].chunks(8).map(|v| f64::from_le_bytes(v.try_into().unwrap())).collect();
    values.chunks(columns).map(<[f64]>::to_vec).collect()
}

fn near(name: &str, got: &[Vec<f64>], want: &[Vec<f64>], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (row, (got, want)) in got.iter().zip(want).enumerate() {
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() <= tolerance, "{name}, row {row}: {got}, POT {want}");
        }
    }
}

/// Writes points x[N, 3], y[M, 3], z[M, 2] and new[NEW, 3], weights a of which every fourth is zero, and the
/// inner distances of x and z. Returns POT's images.
fn written(sandbox: &Sandbox) -> Value {
    let mut random = RandomNumbers(11);
    let mut points = |name: &str, rows: usize, columns: usize, shift: f32| {
        let values: Vec<f32> = (0..rows * columns).map(|_| 2.0 * random.next() + shift).collect();
        sandbox.write(&format!("{name}.npy"), npy(rows, columns, &values));
        values
    };
    let x = points("x", N, 3, 0.0);
    points("y", M, 3, 1.0);
    points("new", NEW, 3, 0.3);
    let z = points("z", M, 2, 0.0);
    for (name, values, width) in [("dx", &x, 3), ("dz", &z, 2)] {
        let rows: Vec<&[f32]> = values.chunks(width).collect();
        let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        let all: Vec<f32> = rows.iter().flat_map(|a| rows.iter().map(|b| apart(a, b))).collect();
        let top = all.iter().fold(0.0_f32, |top, d| top.max(*d));
        let scaled: Vec<f32> = all.iter().map(|d| d / top).collect();
        sandbox.write(&format!("{name}.npy"), npy(rows.len(), rows.len(), &scaled));
    }
    let weights: Vec<f32> = (0..N).map(|i| if i % 4 == 0 { 0.0 } else { 1.0 + (i % 3) as f32 }).collect();
    let sum: f32 = weights.iter().sum();
    let weights: Vec<f32> = weights.into_iter().map(|w| w / sum).collect();
    sandbox.write("a.npy", npy(N, 1, &weights));
    let script = project().join("core/cli/tests/peer/transport_images.py");
    let peer = Command::new(peers()).current_dir(sandbox.path("")).arg(script).output().unwrap();
    assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
    serde_json::from_slice(&peer.stdout).unwrap()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    let row = |row: &Value| row.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    value.as_array().unwrap().iter().map(row).collect()
}

/// Exact plans agree to rounding of the inputs' arithmetic; entropic ones to the tolerances 1e-6 of the
/// marginals here, which move an image by about that share of the spread of the targets.
#[test]
fn images_equal_those_of_pot() {
    let sandbox = Sandbox::new();
    let known = written(&sandbox);
    let solve = |arguments: &[&str], rows: usize, columns: usize| -> (Value, Vec<Vec<f64>>) {
        let all = [&["transport"], arguments, &["--images", "images.npy", "--format", "json"]].concat();
        let report = serde_json::from_str(&sandbox.good(&all)).unwrap();
        (report, read(&sandbox, "images.npy", rows, columns))
    };
    let entropic = ["--eps", "0.5", "--tolerance", "1e-7"];
    for (name, more, tolerance) in [
        ("emd", &[][..], 1e-6),
        ("sinkhorn", &entropic[..], 2e-5),
        ("unbalanced", &[&entropic[..], &["--rho", "1"]].concat(), 2e-5),
    ] {
        let call = [&["x.npy", "y.npy", "--solver", name], more].concat();
        let (report, images) = solve(&call, N, 3);
        near(name, &images, &rows(&known[name]), tolerance);
        assert_eq!(report["images_by_nearest"], 0, "{report}");
        let (_, images) = solve(&[&call[..], &["--points", "new.npy"]].concat(), NEW, 3);
        near(&format!("{name} new"), &images, &rows(&known[&format!("{name} new")]), tolerance);
    }
    let smooth = ["x.npy", "y.npy", "--points", "new.npy", "--extend", "entropic"];
    let (_, images) = solve(&[&smooth[..], &entropic].concat(), NEW, 3);
    near("entropic new", &images, &rows(&known["entropic new"]), 2e-5);
    let spaces = ["--solver", "gw", "--eps", "0.01", "--starts", "1", "--tolerance", "1e-7"];
    let distances = ["--source-distances", "dx.npy", "--target-distances", "dz.npy"];
    let (_, images) = solve(&[&["x.npy", "z.npy"], &spaces[..], &distances].concat(), N, 2);
    near("gw", &images, &rows(&known["gw"]), 1e-3); // outer iterations end at 1e-7 of the plan
    let (_, moved) = solve(
        &[&["x.npy", "z.npy"], &spaces[..], &["--cost", "euclidean", "--points", "x.npy"]].concat(),
        N,
        2,
    );
    near("gw, the sources as new points", &moved, &images, 1e-3);
}

/// POT's images of sources without mass are zero; here they move as the nearest source with mass.
#[test]
fn sources_without_mass_move_as_the_nearest_one_that_sends_some() {
    let sandbox = Sandbox::new();
    let known = written(&sandbox);
    let x: Vec<Vec<f64>> = std::fs::read(sandbox.path("x.npy")).unwrap()[128..]
        .chunks(12)
        .map(|row| row.chunks(4).map(|v| f64::from(f32::from_le_bytes(v.try_into().unwrap()))).collect())
        .collect();
    let square = |i: usize, k: usize| x[i].iter().zip(&x[k]).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    for (name, more) in [("weighted", ["--a", "a.npy"]), ("partial", ["--mass", "0.6"])] {
        let call = [&["transport", "x.npy", "y.npy", "--solver", "emd"], &more[..]].concat();
        let call = [&call[..], &["--images", "images.npy", "--format", "json"]].concat();
        let output = sandbox.call(&call);
        let report: Value = serde_json::from_str(&output.stdout).unwrap();
        let mut want = rows(&known[name]);
        let (silent, sending): (Vec<usize>, Vec<usize>) =
            (0..N).partition(|&i| want[i].iter().all(|v| *v == 0.0));
        assert!(silent.len() >= 10 && report["images_by_nearest"] == silent.len(), "{report}");
        assert!(output.stderr.contains(&format!("{} source points send no mass", silent.len())));
        for &i in &silent {
            let from = *sending.iter().min_by(|a, b| square(i, **a).total_cmp(&square(i, **b))).unwrap();
            want[i] = (0..3).map(|k| x[i][k] + want[from][k] - x[from][k]).collect();
        }
        near(name, &read(&sandbox, "images.npy", N, 3), &want, 1e-6);
    }
}

/// A plan of full rank of two equal clouds is the identity up to its smoothing; the images of low-rank plans
/// are those of the plan that is written. The entropic map at the sources gives the images of the sources.
#[test]
fn images_are_the_means_of_the_written_plans() {
    let sandbox = Sandbox::new();
    written(&sandbox);
    let y: Vec<Vec<f64>> = std::fs::read(sandbox.path("y.npy")).unwrap()[128..]
        .chunks(12)
        .map(|row| row.chunks(4).map(|v| f64::from(f32::from_le_bytes(v.try_into().unwrap()))).collect())
        .collect();
    for more in [
        &["lowrank", "--rank", "5"][..],
        &["partial", "--mass", "0.4", "--eps", "0.3"],
        &["fgw"],
        &["gw", "--rank", "4"],
        &["sinkhorn", "--cost", "cosine"],
        &["sinkhorn", "--cost", "euclidean", "--a", "a.npy"],
    ] {
        let call = [&["transport", "x.npy", "y.npy", "--solver"], more].concat();
        sandbox.good(&[&call[..], &["-o", "plan.npy", "--images", "images.npy"]].concat());
        let plan = read(&sandbox, "plan.npy", N, M);
        let images = read(&sandbox, "images.npy", N, 3);
        for (row, image) in plan.iter().zip(&images).filter(|(row, _)| row.iter().sum::<f64>() > 0.0) {
            let mass: f64 = row.iter().sum();
            let mean = |k: usize| row.iter().zip(&y).map(|(p, y)| p * y[k]).sum::<f64>() / mass;
            let want: Vec<f64> = (0..3).map(mean).collect();
            // plans in single precision
            near(&format!("{more:?}"), std::slice::from_ref(image), &[want], 1e-5);
        }
        if ["sinkhorn", "partial"].contains(&more[0]) {
            let extended = ["--images", "new.npz.npy", "--points", "x.npy", "--extend", "entropic"];
            sandbox.good(&[&call[..], &extended].concat());
            near(&format!("{more:?}"), &read(&sandbox, "new.npz.npy", N, 3), &images, 1e-9);
        }
    }
}

#[test]
fn images_that_cannot_be_computed_are_refused() {
    let sandbox = Sandbox::new();
    written(&sandbox);
    let refused = |more: &[&str], words: &[&str]| {
        sandbox.refused(&[&["transport", "--images", "i.npy"][..], more].concat(), words);
        assert!(!sandbox.path("i.npy").exists());
    };
    refused(&["--cost-matrix", "dx.npy", "--solver", "emd"], &["X.npy and Y.npy"]);
    refused(&["x.npy", "y.npy", "--cost-matrix", "dx.npy"], &["y.npy", "expected 40, got 33"]);
    refused(&["x.npy", "y.npy", "--solver", "sliced"], &["sliced", "--images"]);
    refused(&["x.npy", "y.npy", "--points", "z.npy"], &["z.npy", "expected 3, got 2"]);
    refused(&["x.npy", "y.npy", "--solver", "emd", "--points", "new.npy", "--extend", "entropic"], &["emd"]);
    refused(&["x.npy", "y.npy", "-o", "i.npy"], &["same file"]);
    sandbox.refused(&["transport", "x.npy", "y.npy", "--points", "new.npy"], &["--images"]);
    sandbox.refused(&["transport", "x.npy", "y.npy", "--images", "x.npy"], &["an input of the command"]);
    let distances = ["--source-distances", "dx.npy", "--target-distances", "dz.npy"];
    let unused = [&["transport", "x.npy", "z.npy", "--solver", "gw"], &distances[..]].concat();
    sandbox.refused(&unused, &["only --images needs"]);
}
