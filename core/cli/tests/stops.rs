//! A command that is stopped at any moment leaves nothing half-written, and the same command then ends with
//! the same bytes as one that was not disturbed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, contents};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

/// `CHIASM_STOPS` sets the number of moments for each command and signal; the default keeps the test short.
fn moments() -> u32 {
    std::env::var("CHIASM_STOPS").ok().and_then(|count| count.parse().ok()).unwrap_or(2)
}

fn remove(path: &Path) {
    if path.exists() {
        std::fs::remove_dir_all(path).unwrap();
    }
}

/// Stops a command at several moments of its work with each signal, runs it again to its end, and compares
/// what it printed and wrote with an undisturbed run. `before` restores the state before the command.
fn survives_stops(sandbox: &Sandbox, arguments: &[&str], output: Option<&str>, before: &dyn Fn()) {
    before();
    let started = Instant::now();
    let printed = sandbox.good(arguments);
    let whole = started.elapsed();
    let written = output.map(|name| contents(&sandbox.path(name)));
    for (signal, code) in [(Signal::KILL, None), (Signal::TERM, Some(143)), (Signal::INT, Some(130))] {
        for moment in 0..moments() {
            before();
            let mut child =
                sandbox.chiasm().args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(whole.mul_f64((f64::from(moment) + 0.6) / (f64::from(moments()) + 0.2)));
            let sent = kill_process(Pid::from_child(&child), signal);
            let ended = child.wait().unwrap();
            let finished = ended.success();
            if sent.is_ok() && !finished {
                assert_eq!(ended.code(), code, "{arguments:?} after {signal:?}");
            }
            if let Some(name) = output.filter(|name| !finished && sandbox.path(name).exists()) {
                assert_eq!(
                    Some(contents(&sandbox.path(name))),
                    written,
                    "{arguments:?}: a half-written result"
                );
            }
            let again = sandbox.good(arguments);
            let same = output.map(|name| contents(&sandbox.path(name))) == written;
            assert!(same, "{arguments:?} after {signal:?} at moment {moment}: the files differ");
            if output.is_none() {
                assert_eq!(again, printed, "{arguments:?} after {signal:?} at moment {moment}");
            }
        }
    }
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.world(60);
    sandbox.recipe();
    sandbox
}

#[test]
fn a_fit_goes_on_after_it_was_stopped() {
    let sandbox = sandbox();
    survives_stops(&sandbox, &["fit", "recipe.toml", "-o", "run"], Some("run"), &|| {
        remove(&sandbox.path("run"));
        remove(&sandbox.path("cache"));
    });
}

#[test]
fn an_export_goes_on_after_it_was_stopped() {
    let sandbox = sandbox();
    sandbox.good(&["fit", "recipe.toml", "-o", "run"]);
    survives_stops(
        &sandbox,
        &["export", "run", "--layout", "towers", "-o", "towers"],
        Some("towers"),
        &|| {
            remove(&sandbox.path("towers"));
        },
    );
}

#[test]
fn a_comparison_goes_on_after_it_was_stopped() {
    let sandbox = sandbox();
    let arguments = [
        "compare",
        "recipe.toml",
        "--swap",
        "align.plugin=cca,procrustes",
        "--folds",
        "2",
        "--format",
        "json",
    ];
    survives_stops(&sandbox, &arguments, None, &|| remove(&sandbox.path("cache")));
}

#[test]
fn a_second_signal_ends_the_command_at_once() {
    let sandbox = sandbox();
    sandbox.write("endless.toml", std::fs::read_to_string(sandbox.path("recipe.toml")).unwrap());
    let set = ["--set", "align.plugin=mlp", "--set", "align.steps=1000000"];
    let mut child = sandbox
        .chiasm()
        .args(["fit", "endless.toml", "-o", "run"])
        .args(set)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let started = Instant::now();
    for _ in 0..2 {
        kill_process(Pid::from_child(&child), Signal::INT).ok();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(!sandbox.path("run").exists());
}
