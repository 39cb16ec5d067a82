//! The commands `sanitize`, `fuzz` and `advisories`. The first two need a nightly toolchain.

use crate::shell::{CommandResult, print_stderr, root, run_command};
use std::{path::Path, process::Command};

/// The target that the sanitizers are built for. Naming it keeps build scripts and macros free of them.
const MACHINE: &str = "x86_64-unknown-linux-gnu";

/// What AddressSanitizer runs: the arguments of `cargo test`.
const ADDRESSES: &[&[&str]] = &[
    &["-p", "chiasm-abi", "--tests"],
    &["-p", "chiasm-plugin", "--lib"],
    &["-p", "chiasm-host", "--lib"],
    &["-p", "chiasm-runtime", "--test", "programs"],
    &["-p", "chiasm-fuzz", "--test", "replay"],
];

/// What Miri runs: the views of the ABI, and the kernel of the fused operator.
const MIRI: &[&[&str]] = &[
    &["-p", "chiasm-abi", "--test", "view"],
    &["-p", "chiasm-plugin", "--lib", "npy_header"],
    &["-p", "chiasm-runtime", "--test", "programs"],
];

/// Runs tests of unsafe code under AddressSanitizer and under Miri.
pub fn sanitize() -> CommandResult {
    for arguments in ADDRESSES {
        run_command(
            nightly()
                .args(["test", "--target", MACHINE])
                .args(*arguments)
                .env("RUSTFLAGS", "-Zsanitizer=address")
                .env("CARGO_TARGET_DIR", root().join("target/sanitizer"))
                // The payload of a panic is never dropped, because that may panic too.
                .env("ASAN_OPTIONS", "detect_leaks=0")
                // The replay limits its memory otherwise, and the sanitizer reserves terabytes of addresses.
                .env("CHIASM_SANITIZER", "address"),
        )?;
    }
    for arguments in MIRI {
        // The tests read files and the time, and the payload of a panic is never dropped, because that may
        // panic too.
        let mut miri = nightly();
        miri.args(["miri", "test"])
            .args(*arguments)
            .env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-ignore-leaks");
        run_command(&mut miri)?;
    }
    print_stderr("sanitize: AddressSanitizer and Miri found nothing");
    Ok(())
}

/// Runs libFuzzer on one target or on all: `fuzz [TARGET] [RUNS]`.
pub fn fuzz(arguments: &[String]) -> CommandResult {
    let runs = arguments.iter().find(|one| one.parse::<u64>().is_ok()).map_or("1000000", String::as_str);
    let named = arguments.iter().find(|one| one.parse::<u64>().is_err());
    let folder = root().join("core/fuzz/libfuzzer");
    let known = targets(&folder)?;
    let chosen = known.iter().filter(|target| named.is_none_or(|name| name == *target));
    let chosen: Vec<&String> = chosen.collect();
    if chosen.is_empty() {
        return Err(format!("there is no such target; the targets are {}", known.join(", ")));
    }
    for target in chosen {
        let corpus = folder.join("corpus").join(target);
        std::fs::create_dir_all(&corpus).map_err(|e| format!("cannot create {}: {e}", corpus.display()))?;
        run_command(
            nightly()
                .args(["fuzz", "run", "--fuzz-dir"])
                .arg(&folder)
                .arg(target)
                .arg(&corpus)
                .args(["--", "-rss_limit_mb=2048", "-timeout=10", "-max_len=4096"])
                .arg(format!("-runs={runs}"))
                .env("CHIASM_FUZZ_SEEDS", &corpus),
        )?;
    }
    Ok(())
}

/// Returns the names of the targets, sorted.
fn targets(folder: &Path) -> CommandResult<Vec<String>> {
    let folder = folder.join("targets");
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| stem(&entry.path())).collect();
    names.sort();
    Ok(names)
}

/// Compares the dependencies with the advisory database of RustSec, which is downloaded.
pub fn advisories() -> CommandResult {
    let arguments = ["deny", "--all-features", "check", "advisories"];
    run_command(Command::new("cargo").current_dir(root()).args(arguments))
}

/// Returns rustup's nightly cargo, to be started in the root folder.
fn nightly() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root()).arg("+nightly");
    // The cargo that runs this program set its own compiler.
    command.env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command
}
