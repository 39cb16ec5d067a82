//! Tests of inputs that must not fill the memory or take forever.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Set in the child process of [`limited`].
const CHILD: &str = "CHIASM_LIMITED";

/// Runs a test in a process of its own, which may use `mebibytes` of address space and take `seconds`.
///
/// Call it from the test's own thread: the child runs the test of that name alone, and there `test` is
/// called. A test program takes about 100 MiB of address space by itself.
///
/// # Panics
/// When the child fails, is killed, or takes longer; with what it printed.
#[expect(clippy::panic, reason = "only tests call this")]
pub fn limited(mebibytes: u64, seconds: u64, test: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return test();
    }
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default().to_owned();
    let program = std::env::current_exe().unwrap_or_else(|error| panic!("the test program: {error}"));
    let script = format!("ulimit -v {} && exec \"$0\" \"$@\"", mebibytes * 1024);
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .arg(program)
        .args(["--exact", &name, "--nocapture", "--test-threads", "1"])
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {name} in a process of its own: {error}"));
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return,
            Ok(Some(status)) => panic!("{name} failed within {mebibytes} MiB of memory: {status}"),
            Ok(None) if start.elapsed() > Duration::from_secs(seconds) => {
                let _ = (child.kill(), child.wait());
                panic!("{name} took longer than {seconds} seconds");
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}
