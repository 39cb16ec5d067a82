//! The same objective, rows, options, engine and threads give the same bytes, also after an interruption.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chiasm_graph::{Builder, DType, Dim};
use chiasm_train::{
    Error, NoiseDistribution, Objective, TrainedWeights, Trainer, TrainingLength, TrainingOptions,
    TrainingProgress,
};
use common::{bytes, rows, scalar, squared_error, tensor, trainer};

/// A linear map with dropout, so that rows, noise and optimizer state must all be resumed.
fn objective() -> Objective {
    let mut b = Builder::new("linear");
    let (x, y) = (rows(&mut b, "x", 8), rows(&mut b, "y", 4));
    let mask = b.input("mask", DType::F32, &[Dim::named("batch"), Dim::Fixed(8)]).unwrap();
    let w = b.constant("w", tensor(&[8, 4], 1));
    let kept = b.mul(&x, &mask);
    let out = b.matmul(&kept, &w);
    let loss = squared_error(&mut b, &out, &y);
    scalar(&mut b, "loss", &loss);
    Objective::new(b.finish().unwrap(), &["w"])
        .unwrap()
        .with_random("mask", NoiseDistribution::Mask { keep: 0.8 })
}

fn options() -> TrainingOptions {
    let length = TrainingLength::Steps(90);
    TrainingOptions {
        learning_rate: 0.02,
        length,
        batch: 16,
        validation: 0.2,
        clip: Some(1.0),
        check_every: Some(7),
        ..TrainingOptions::default()
    }
}

fn run(
    folder: Option<&Path>,
    options: &TrainingOptions,
    observe: &mut dyn FnMut(&TrainingProgress<'_>) -> bool,
) -> chiasm_train::Result<TrainedWeights> {
    let (x, y) = (tensor(&[100, 8], 2), tensor(&[100, 4], 3));
    common::train(&Trainer { checkpoints: folder, ..trainer() }, &objective(), &x, &y, options, observe)
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
    let once = |options: &TrainingOptions| bytes(&run(None, options, &mut |_| true).unwrap());
    assert_eq!(once(&options()), once(&options()));
    assert_ne!(once(&options()), once(&TrainingOptions { seed: 1, ..options() }));
}

#[test]
fn a_stopped_training_resumes_and_ends_with_the_same_bytes() {
    let whole = run(None, &options(), &mut |_| true).unwrap();
    for stop in [1, 7, 8, 40, 89] {
        let folder = tempfile::tempdir().unwrap();
        let error = run(Some(folder.path()), &options(), &mut |p| p.step < stop).unwrap_err();
        assert!(matches!(error, Error::Cancelled { step, steps: 90 } if step == stop), "{error}");
        let mut first = None;
        let resumed = run(Some(folder.path()), &options(), &mut |p| {
            first.get_or_insert(p.step);
            true
        });
        assert_eq!(bytes(&resumed.unwrap()), bytes(&whole), "stopped at {stop}");
        assert_eq!(first, Some(stop / 7 * 7 + 1), "it goes on after the last check");
    }
}

#[test]
fn a_finished_training_is_reused_only_for_the_same_training() {
    let folder = tempfile::tempdir().unwrap();
    let mut steps = 0;
    let mut counted = |options: &TrainingOptions| {
        steps = 0;
        let trained = run(Some(folder.path()), options, &mut |_| {
            steps += 1;
            true
        });
        (bytes(&trained.unwrap()), steps)
    };
    let first = counted(&options());
    assert_eq!(first.1, 90);
    assert_eq!(counted(&options()), (first.0, 0));
    assert_eq!(counted(&TrainingOptions { learning_rate: 0.03, ..options() }).1, 90);
}

#[test]
fn a_damaged_checkpoint_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let whole = run(None, &options(), &mut |_| true).unwrap();
    run(Some(folder.path()), &options(), &mut |p| p.step < 50).unwrap_err();
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let saved = std::fs::read(&file).unwrap();
    std::fs::write(&file, &saved[..saved.len() / 2]).unwrap();
    assert_eq!(bytes(&run(Some(folder.path()), &options(), &mut |_| true).unwrap()), bytes(&whole));
}

const CHILD: &str = "CHIASM_TRAIN_CHILD";

/// Run as a child process by the test below: trains slowly until it is killed. Not a test of its own: without
/// the variable it does nothing.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    run(Some(Path::new(&folder)), &options(), &mut |_| {
        std::thread::sleep(Duration::from_millis(20));
        true
    })
    .unwrap();
}

#[test]
fn a_training_killed_in_the_middle_ends_with_the_same_bytes() {
    let whole = run(None, &options(), &mut |_| true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Wait until its checkpoint was written three times: at the start and at two checks.
    let patience = Instant::now() + Duration::from_secs(120);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        assert!(Instant::now() < patience, "the child never came so far");
        assert!(child.try_wait().unwrap().is_none(), "the child ended before it was killed");
        std::thread::sleep(Duration::from_millis(2));
        let files = std::fs::read_dir(folder.path()).unwrap().flatten();
        let time = files
            .filter(|f| f.path().extension().is_some_and(|e| e == "onnx"))
            .find_map(|f| f.metadata().ok()?.modified().ok());
        if let Some(time) = time.filter(|time| !seen.contains(time)) {
            seen.push(time);
        }
    }
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    let mut first = None;
    let resumed = run(Some(folder.path()), &options(), &mut |p| {
        first.get_or_insert(p.step);
        true
    });
    assert_eq!(bytes(&resumed.unwrap()), bytes(&whole));
    let first = first.unwrap();
    assert!((14..90).contains(&first), "it resumed from step {first}");
}
