//! Several threads may create the first sessions of a process at once.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod common;

use std::process::Command;
use std::sync::Barrier;

use chiasm_runtime::SessionOptions;
use common::{engine, text_encoder};

const CHILD: &str = "CHIASM_STARTING_CHILD";
const THREADS: usize = 8;

/// Run as a child process by the test below: several threads create its first sessions at once. Not a test of
/// its own: without the variable it does nothing.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let (engine, graph, together) = (engine(), text_encoder(), Barrier::new(THREADS));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let options = SessionOptions { fuse: true, threads: 1, ..SessionOptions::default() };
                together.wait();
                engine.session(&graph, &options).unwrap();
            });
        }
    });
}

/// ONNX Runtime looks up the domain of our operators and adds it without holding a lock in between, so one of
/// two first sessions could be refused. That happened about once in some tens of processes, so many are
/// tried.
#[test]
fn first_sessions_created_at_once_all_succeed() {
    let program = std::env::current_exe().unwrap();
    for attempt in 0..60 {
        let run = Command::new(&program)
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(run.status.success(), "process {attempt}: {}", String::from_utf8_lossy(&run.stderr));
    }
}
