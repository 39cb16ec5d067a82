//! The commands `test` and `ci`.

use crate::{
    demo, layering, provision,
    shell::{CommandResult, cargo, print_stderr, root, run_command},
    skipped, tidy,
};
use chiasm_testing::{SKIPPED_VARIABLE, SkippedTest};
use std::{collections::BTreeSet, process::Command};

/// Runs every test of the workspace, then prints the tests that were skipped.
pub fn test(extra: &[String]) -> CommandResult {
    run_tests(extra).map(|_| ())
}

/// Installs what the tests need and runs them. Returns the skipped tests.
fn run_tests(extra: &[String]) -> CommandResult<BTreeSet<SkippedTest>> {
    let python = provision::prepare()?;
    let file = skipped::fresh_file()?;
    let outcome = run_command(
        cargo()
            // A failure must not hide the failures of other crates.
            .args(["test", "--workspace", "--no-fail-fast", "--features", "chiasm/hub"])
            .args(provision::NOT_FOR_USERS)
            .args(extra)
            .env("CHIASM_PEERS", python)
            .env(SKIPPED_VARIABLE, &file),
    );
    // Also after a failure: a skipped test may explain it.
    let skipped = skipped::report(&file)?;
    outcome.map(|()| skipped)
}

/// Runs a test of chiasm-geometry at its full length, which the variable sets, and prints its table.
pub fn long_test(name: &str, variable: &str, length: &str) -> CommandResult {
    let python = provision::python_environment()?;
    run_command(
        cargo()
            .args([
                "test",
                "-p",
                "chiasm-geometry",
                "--test",
                name,
                "--",
                "--nocapture",
                "--test-threads",
                "1",
            ])
            .env("CHIASM_PEERS", python)
            .env(variable, length),
    )
}

/// Runs everything that a change must pass.
pub fn ci() -> CommandResult {
    run_command(cargo().args(["fmt", "--all", "--check"]))?;
    layering::check()?;
    tidy::check()?;
    demo::run()?; // The README's first command, then its second.
    skipped::verify(&run_tests(&[])?)?;
    run_command(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run_command(cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    check_licences()?;
    print_stderr("ci: everything passed");
    Ok(())
}

/// Runs cargo-deny over licences, bans and sources. Installs it if it is missing.
fn check_licences() -> CommandResult {
    let installed = cargo().args(["deny", "--version"]).output().is_ok_and(|o| o.status.success());
    if !installed {
        print_stderr("installing cargo-deny");
        // It runs once, so it is compiled quickly instead of well.
        run_command(
            cargo()
                .args(["install", "--locked", "cargo-deny@0.20.2"])
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
        )?;
    }
    run_command(Command::new("cargo").current_dir(root()).args([
        "deny",
        "--all-features",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}
