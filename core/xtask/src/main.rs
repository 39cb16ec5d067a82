//! The project's development commands, e.g. `cargo xtask demo` and `cargo xtask test`.
//!
//! Both build the plugins and the binary first. They install ONNX Runtime through the user's pip, uv or npm,
//! and the Python packages that tests compare with in a virtual environment under `target/`.

mod check;
mod demo;
mod layering;
mod provision;
mod sanitize;
mod shell;
mod skipped;
mod tidy;
mod tokens;
mod trimodal;

use shell::print_stderr;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND
  demo       build, merge the two small encoders of the demo, and search with the merged model
  test       build, install ONNX Runtime and the Python packages, run every test, list the skipped ones
  ci         test, and fmt, clippy, layering, tidy, docs, licences
  layering   print the allowed dependencies of crates and pipeline stages, and check every import
  tidy       count long files, functions and lines, and retired words, and check them
  questions  examples/questions: questions about pictures, with attention maps over the tokens
  trimodal   examples/trimodal: pictures, captions and speech in one space, some without pairs
  flickr1k   examples/flickr1k: every method on real encoders and real pairs, as one table
  sweep      measures and transport solvers on 5,000 generated inputs (or as many as given)
  nulls      p-values of 500 pairs of clouds (or as many as given) for each measure with a permutation null
  sanitize   tests of unsafe code under AddressSanitizer and Miri; needs nightly with miri and rust-src
  fuzz       every reader of files on a million inputs of libFuzzer, or `fuzz TARGET RUNS`; needs cargo-fuzz
  advisories compare the dependencies with the advisory database, which is downloaded
  provision  only build and install what demo and test need";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("demo") => demo::run(),
        Some("flickr1k") => demo::flickr1k(&arguments[1..]),
        Some("trimodal") => trimodal::run(&arguments[1..]),
        Some("questions") => demo::questions(&arguments[1..]),
        Some("test") => check::test(&arguments[1..]),
        Some("ci") => check::ci(),
        Some("layering") => layering::show(),
        Some("tidy") => tidy::show(),
        Some("sweep") => {
            check::long_test("sweep", "CHIASM_SWEEP", arguments.get(1).map_or("5000", String::as_str))
        }
        Some("nulls") => {
            check::long_test("nulls", "CHIASM_NULL_DRAWS", arguments.get(1).map_or("500", String::as_str))
        }
        Some("sanitize") => sanitize::sanitize(),
        Some("fuzz") => sanitize::fuzz(&arguments[1..]),
        Some("advisories") => sanitize::advisories(),
        Some("provision") => provision::prepare().map(|_| ()),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            print_stderr(&message);
            ExitCode::FAILURE
        }
    }
}
