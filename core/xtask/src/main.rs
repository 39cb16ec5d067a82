//! The project's own commands: `cargo xtask demo` runs the main job, `cargo xtask test` proves it.
//!
//! Both bring what they need: the plugins and the binary are built, ONNX Runtime comes through the user's own
//! Python, and the Python peers that tests compare with live in a virtual environment under `target/`.

mod check;
mod demo;
mod layering;
mod provision;
mod tidy;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const USAGE: &str = "usage: cargo xtask COMMAND
  demo       build, then merge the two small encoders of the demo world and ask the result a question
  test       build, bring the engine and the Python peers, run every test
  ci         test, and fmt, clippy, layering, tidiness, docs, licences
  questions  examples/questions: answer questions about pictures with attention over tokens, and see where it looked
  flickr1k   examples/flickr1k: every method on real encoders and real pairs, as one table
  provision  only bring what demo and test need";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("demo") => demo::run(),
        Some("flickr1k") => demo::flickr1k(&arguments[1..]),
        Some("questions") => demo::questions(&arguments[1..]),
        Some("test") => check::test(&arguments[1..]),
        Some("ci") => check::ci(),
        Some("provision") => provision::everything().map(|_| ()),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say(&message);
            ExitCode::FAILURE
        }
    }
}

/// What a task returns: nothing, or a message for the person who ran it.
type Outcome<T = ()> = Result<T, String>;

#[expect(clippy::print_stderr, reason = "a command's own words to its user")]
fn say(message: &str) {
    eprintln!("{message}");
}

/// The workspace's root folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_path_buf()
}

/// Cargo, as the one that runs us, in the root.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command to its end; a failure says which command and how it ended.
fn must(command: &mut Command) -> Outcome {
    let shown = format!("{command:?}").replace('"', "");
    let status = command.status().map_err(|e| format!("cannot start `{shown}`: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed: {status}")) }
}
