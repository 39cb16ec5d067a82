//! The tests, and all that CI checks besides.

use crate::{
    demo, layering, provision,
    shell::{Outcome, cargo, must, root, say},
    skipped, tidy,
};
use chiasm_testing::{SKIPPED_VARIABLE, SkippedTest};
use std::{collections::BTreeSet, process::Command};

/// Runs every test of the workspace, then prints the tests that were skipped.
pub fn test(extra: &[String]) -> Outcome {
    tested(extra).map(|_| ())
}

/// Brings what the tests need and runs them; returns those that were skipped.
fn tested(extra: &[String]) -> Outcome<BTreeSet<SkippedTest>> {
    let python = provision::everything()?;
    let file = skipped::fresh_file()?;
    let outcome = must(
        cargo()
            // one failure hides no other
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

/// Everything a change must pass.
pub fn ci() -> Outcome {
    must(cargo().args(["fmt", "--all", "--check"]))?;
    layering::check()?;
    tidy::check()?;
    demo::run()?; // the README's first command, and its second
    skipped::verify(&tested(&[])?)?;
    must(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    must(cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    licences()?;
    say("ci: everything passed");
    Ok(())
}

/// cargo-deny over licences, bans and sources; brought once when it is not there.
fn licences() -> Outcome {
    let there = cargo().args(["deny", "--version"]).output().is_ok_and(|o| o.status.success());
    if !there {
        say("bringing cargo-deny, once");
        must(cargo().args(["install", "--locked", "cargo-deny@0.20.2"]))?;
    }
    must(Command::new("cargo").current_dir(root()).args([
        "deny",
        "--all-features",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}
