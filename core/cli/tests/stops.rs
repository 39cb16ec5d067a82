//! A command that is stopped at any moment leaves nothing half-written, and the same command then ends with
//! the same bytes as one that was not disturbed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, binary, contents, project};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// `CHIASM_STOPS` sets the number of moments for each command and signal; the default keeps the test short.
fn moments() -> u32 {
    std::env::var("CHIASM_STOPS").ok().and_then(|count| count.parse().ok()).unwrap_or(2)
}

/// A comparison of two aligners.
const COMPARE: [&str; 8] =
    ["compare", "recipe.toml", "--swap", "align.plugin=cca,procrustes", "--folds", "2", "--format", "json"];

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
            // A signal before the command listens ends it as any program; shells report the same code.
            let before_listening = ended.signal() == Some(signal.as_raw());
            if sent.is_ok() && !finished && !before_listening {
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
    survives_stops(&sandbox, &COMPARE, None, &|| remove(&sandbox.path("cache")));
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

#[test]
fn a_measurement_ends_at_the_first_signal() {
    let sandbox = Sandbox::new();
    sandbox.vectors([2000, 2000]);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut child = sandbox
            .chiasm()
            .args(["measure", "a.npy", "b.npy", "--null", "2000", "--format", "json"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(700));
        let started = Instant::now();
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
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

/// Runs a command whose output and cache are on a disk that fills up, and on one that becomes read-only, at
/// several moments. The command must end with an error that says so, or with its result, and the same command
/// must then end with the same bytes as an undisturbed one.
fn survives_a_failing_disk(sandbox: &Sandbox, arguments: &[&str], output: Option<&str>) {
    let cache = sandbox.path("whole-cache");
    let started = Instant::now();
    let undisturbed = sandbox.chiasm().args(arguments).env("CHIASM_CACHE", &cache).output().unwrap();
    let whole = started.elapsed().as_secs_f64();
    let printed = String::from_utf8(undisturbed.stdout).unwrap();
    assert!(undisturbed.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&undisturbed.stderr));
    let written = output.map(|name| contents(&sandbox.path(name)));
    let size = |path: &Path| if path.exists() { contents(path).values().map(Vec::len).sum() } else { 0 };
    let bytes = size(&cache) + output.map_or(0, |name| size(&sandbox.path(name)));
    let disk = sandbox.path("disk");
    std::fs::create_dir_all(&disk).unwrap();
    for moment in 0..moments() {
        let part = (f64::from(moment) + 0.5) / f64::from(moments());
        let full = (bytes as f64 * part / 4096.0).ceil() as usize * 4096;
        let read_only = "for try in $(seq 500); do mount -o remount,ro disk && break; sleep 0.002; done";
        for (size, disturb) in [(full, "true"), (64 << 20, &format!("sleep {}; {read_only}", whole * part))] {
            let name = output.map_or_else(|| "none".to_owned(), |name| format!("disk/{name}"));
            let words = arguments.iter().map(|word| match output {
                Some(output) if *word == output => name.clone(),
                _ => (*word).to_owned(),
            });
            let command = words.fold(binary().display().to_string(), |line, word| format!("{line} '{word}'"));
            let script = format!(
                "cd {folder}; rm -rf copy; export CHIASM_CACHE={folder}/disk/cache CHIASM_MODELS={models}
                 mount -t tmpfs -o size={size} tmpfs disk
                 (code=0; {command} > out.txt 2> errors.txt || code=$?; echo $code > code.txt) &
                 ({disturb}) 2> mount.txt
                 wait
                 mount -o remount,rw,size=64m disk
                 if [ $(cat code.txt) -ne 0 ]; then {command} > out.txt 2> again.txt || true; fi
                 if [ -e {name} ]; then cp -r {name} copy; fi",
                folder = sandbox.path("").display(),
                models = project().join("models").display(),
            );
            let Some(ran) = in_namespace(&script) else { return };
            let read = |name| std::fs::read_to_string(sandbox.path(name)).unwrap_or_default();
            let (code, errors) = (read("code.txt"), read("errors.txt").replace('│', " "));
            let errors = errors.split_whitespace().collect::<Vec<_>>().join(" ");
            let what = format!("{arguments:?} with {size} bytes, then {disturb}: {code} {errors} {ran:?}");
            let reason = errors.contains("No space left") || errors.contains("Read-only file system");
            assert!(code.trim() == "0" || code.trim() == "2" && reason, "{what}");
            assert!(!errors.contains("panicked"), "{what}");
            let copy = sandbox.path("copy");
            let again = copy.exists().then(|| contents(&copy));
            assert!(again == written, "{what}: the files differ: {}", read("again.txt"));
            if output.is_none() {
                assert_eq!(without_times(&read("out.txt")), without_times(&printed), "{what}");
            }
        }
    }
}

#[test]
fn a_fit_survives_a_failing_disk() {
    survives_a_failing_disk(&sandbox(), &["fit", "recipe.toml", "-o", "run"], Some("run"));
}

#[test]
fn an_export_survives_a_failing_disk() {
    let sandbox = sandbox();
    sandbox.good(&["fit", "recipe.toml", "-o", "run"]);
    let arguments = ["export", "run", "--layout", "towers", "-o", "exported"];
    survives_a_failing_disk(&sandbox, &arguments, Some("exported"));
}

#[test]
fn a_comparison_survives_a_failing_disk() {
    survives_a_failing_disk(&sandbox(), &COMPARE, None);
}
