//! Aligners that train a network: their messages, their files, and resuming after a kill.

mod common;

use common::{CommandOutput, RandomNumbers, Sandbox, contents, npy};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Writes two files of vectors that are sines of three latent numbers. With `gain` 1 the dependence is
/// nonlinear.
fn nonlinear(sandbox: &Sandbox, gain: f32) -> PathBuf {
    const ROWS: usize = 1_500;
    let mut numbers = RandomNumbers(5);
    let waves: Vec<[f32; 4]> = (0..28).map(|_| [(); 4].map(|()| numbers.next())).collect();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..ROWS {
        let cause = [(); 3].map(|()| numbers.next());
        for (column, wave) in waves.iter().enumerate() {
            let phase = wave[0] * cause[0] + wave[1] * cause[1] + wave[2] * cause[2];
            let value = (gain * 4.0 * phase + wave[3]).sin() / gain + 0.02 * numbers.next();
            if column < 16 { &mut a } else { &mut b }.push(value);
        }
    }
    sandbox.write("a.npy", npy(ROWS, 16, &a));
    sandbox.write("b.npy", npy(ROWS, 12, &b));
    sandbox.write(
        "recipe.toml",
        "[encoders.a]\nvectors = \"a.npy\"\n[encoders.b]\nvectors = \"b.npy\"\n\
         [align]\nplugin = \"mlp\"\nhidden = 64\nmembers = 1\nsteps = 400\nbatch = 256\n",
    )
}

/// Fits the recipe. The checks may fail, since networks may not be injective.
fn fitted(sandbox: &Sandbox, arguments: &[&str]) -> CommandOutput {
    let output = sandbox.call(arguments);
    assert!(matches!(output.code, Some(0 | 1)), "{arguments:?}: {}", output.stderr);
    output
}

#[test]
fn a_network_beats_the_closed_forms_on_nonlinear_data() {
    let sandbox = Sandbox::new();
    nonlinear(&sandbox, 1.0);
    let output = fitted(&sandbox, &["fit", "recipe.toml", "-o", "run"]);
    assert!(output.stderr.contains("the MLP beats every closed form here"), "{}", output.stderr);
    let json = |file: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(sandbox.path(file)).unwrap()).unwrap()
    };
    let curve = json("run/training.json")[0]["curve"].as_array().unwrap().clone();
    let loss = |at: &serde_json::Value| at["training"]["loss"].as_f64().unwrap();
    assert!(loss(curve.last().unwrap()) < 0.9 * loss(&curve[1]), "{curve:?}");
    let rsum = |run: &str| json(&format!("{run}/metrics.json"))["rsum"].as_f64().unwrap();
    sandbox.write(
        "cca.toml",
        "[encoders.a]\nvectors = \"a.npy\"\n[encoders.b]\nvectors = \"b.npy\"\n[align]\nplugin = \"cca\"\n",
    );
    fitted(&sandbox, &["fit", "cca.toml", "-o", "cca"]);
    assert!(rsum("run") > rsum("cca") + 20.0, "mlp {}, cca {}", rsum("run"), rsum("cca"));
}

#[test]
fn a_killed_training_resumes_and_gives_the_same_bytes() {
    let sandbox = Sandbox::new();
    nonlinear(&sandbox, 1.0);
    fitted(&sandbox, &["fit", "recipe.toml", "-o", "whole"]);
    std::fs::remove_dir_all(sandbox.path("cache")).unwrap();
    let mut child = sandbox.chiasm().args(["fit", "recipe.toml", "-o", "run"]).spawn().unwrap();
    let since = Instant::now();
    while !holds_a_file(&sandbox.path("cache/trainings")) {
        assert!(since.elapsed() < Duration::from_secs(120), "no checkpoint");
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!sandbox.path("run").exists(), "a killed fit left a run folder");
    fitted(&sandbox, &["fit", "recipe.toml", "-o", "run"]);
    let (run, whole) = (contents(&sandbox.path("run")), contents(&sandbox.path("whole")));
    for file in ["model.onnx", "aligner/a.onnx", "aligner/b.onnx", "training.json", "metrics.json"] {
        assert!(run[file] == whole[file], "{file} differs");
    }
}

fn holds_a_file(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some())
}
