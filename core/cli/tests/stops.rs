//! A command that is stopped at any moment leaves nothing half-written, and the same command then ends with
//! the same bytes as one that was not disturbed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, binary, contents, project};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// `CHIASM_STOPS` sets the number of moments for each command and signal; the default keeps the test short.
fn moments() -> u32 {
    std::env::var("CHIASM_STOPS").ok().and_then(|count| count.parse().ok()).unwrap_or(2)
}

/// Returns JSON text without the lines that hold times.
fn without_times(json: &str) -> Vec<&str> {
    json.lines().filter(|line| !line.contains("_seconds")).collect()
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
            if let Some(name) = output.filter(|name| sandbox.path(name).exists()) {
                // The signal came too late. Some commands do not write over a result, so none is given again.
                assert_eq!(
                    Some(contents(&sandbox.path(name))),
                    written,
                    "{arguments:?}: a half-written result"
                );
                continue;
            }
            let again = sandbox.good(arguments);
            let same = output.map(|name| contents(&sandbox.path(name))) == written;
            assert!(same, "{arguments:?} after {signal:?} at moment {moment}: the files differ");
            if output.is_none() {
                let (again, printed) = (without_times(&again), without_times(&printed));
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
    let sandbox = Sandbox::new();
    sandbox.world(400); // a fit takes some seconds
    sandbox.recipe();
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
    std::thread::sleep(Duration::from_millis(700));
    let started = Instant::now();
    for _ in 0..2 {
        kill_process(Pid::from_child(&child), Signal::INT).ok();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(!sandbox.path("run").exists());
}

/// Runs a shell command in a namespace of its own, in which it may mount file systems. Returns `None` on a
/// machine that does not allow it.
fn in_namespace(script: &str) -> Option<std::process::Output> {
    let may =
        Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|output| output.status.success());
    if !may {
        chiasm_testing::skip(
            chiasm_testing::Requirement::SmallFileSystem,
            "`unshare -rm` is not allowed here",
        );
        return None;
    }
    Some(Command::new("unshare").args(["-rm", "sh", "-ec", script]).output().unwrap())
}

#[test]
fn a_full_disk_and_a_read_only_folder_end_a_command_cleanly() {
    let sandbox = sandbox();
    let fit = ["fit", "recipe.toml", "-o", "run"];
    sandbox.good(&fit);
    let expected = contents(&sandbox.path("run"));
    let disk = sandbox.path("disk");
    std::fs::create_dir_all(&disk).unwrap();
    let program = binary();
    // The sizes end the fit at several of its files; the folder is read-only at last.
    for mount in ["size=16k", "size=200k", "size=1m", "size=8m,ro"] {
        let script = format!(
            "mount -t tmpfs -o {mount} tmpfs {disk}
             code=0
             {program} fit recipe.toml -o {disk}/run 2> errors.txt > out.txt || code=$?
             ls -A {disk} > left.txt
             echo $code",
            disk = disk.display(),
            program = program.display(),
        );
        let script = format!(
            "cd {}; export CHIASM_CACHE={}; export CHIASM_MODELS={}; {script}",
            sandbox.path("").display(),
            sandbox.path("cache").display(),
            project().join("models").display()
        );
        let Some(output) = in_namespace(&script) else { return };
        let code = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let errors = std::fs::read_to_string(sandbox.path("errors.txt")).unwrap();
        let left = std::fs::read_to_string(sandbox.path("left.txt")).unwrap();
        assert_eq!(code, "2", "{mount}: {errors}");
        let reason = errors.contains("No space left") || errors.contains("Read-only file system");
        assert!(reason && !errors.contains("panicked"), "{mount}: {errors}");
        assert!(!left.lines().any(|name| name == "run"), "{mount}: a half-written run: {left}");
    }
    remove(&sandbox.path("run"));
    sandbox.good(&fit);
    assert_eq!(contents(&sandbox.path("run")), expected);
}
