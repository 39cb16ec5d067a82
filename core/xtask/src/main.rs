//! The project's own commands: `cargo xtask demo` runs the main job, `cargo xtask test` proves it.
//!
//! Both bring what they need: the plugins and the binary are built, ONNX Runtime comes through the user's own
//! Python, and the Python peers that tests compare with live in a virtual environment under `target/`.

mod check;
mod demo;
mod layering;
mod provision;
mod shell;
mod skipped;
mod tidy;

use shell::say;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND
  demo       build, then merge the two small encoders of the demo world and ask the result a question
  test       build, bring the engine and the Python peers, run every test, list the skipped ones
  ci         test, and fmt, clippy, layering, tidiness, docs, licences
  layering   the map of crates and of the pipeline's stages, and whether every import keeps to it
  questions  examples/questions: questions about pictures, with attention over tokens, and where it looked
  trimodal   examples/trimodal: pictures, captions and speech in one space, some never seen together
  flickr1k   examples/flickr1k: every method on real encoders and real pairs, as one table
  provision  only bring what demo and test need";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("demo") => demo::run(),
        Some("flickr1k") => demo::flickr1k(&arguments[1..]),
        Some("trimodal") => demo::trimodal(&arguments[1..]),
        Some("questions") => demo::questions(&arguments[1..]),
        Some("test") => check::test(&arguments[1..]),
        Some("ci") => check::ci(),
        Some("layering") => layering::show(),
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
