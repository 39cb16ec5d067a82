//! The commands of `chiasm plugin`: lock, sign, trust, verify, validate and new.

mod common;

use common::{Sandbox, binary, project};
use std::{path::PathBuf, process::Command};

/// Returns a shipped plugin, which lies beside the binary.
fn shipped(name: &str) -> PathBuf {
    binary().with_file_name(format!("libchiasm_{name}.so"))
}

#[test]
fn a_lock_keeps_changed_plugins_from_running() {
    let sandbox = Sandbox::new();
    sandbox.world(40);
    sandbox.recipe();
    assert!(sandbox.good(&["plugin", "lock"]).contains("only these files may run here now"));
    assert!(sandbox.good(&["plugin", "lock"]).contains("unchanged"));
    let listed = sandbox.good(&["plugin", "list", "--load"]);
    assert!(listed.contains("loads") && listed.contains("locked"), "{listed}");
    sandbox.good(&["fit", "recipe.toml", "-o", "run"]);

    // A copy of a plugin with one more byte at its end has another digest.
    let mut bytes = std::fs::read(shipped("procrustes")).unwrap();
    bytes.push(0);
    sandbox.write("libprocrustes.so", bytes);
    let changed = ["--plugin", "libprocrustes.so", "fit", "recipe.toml", "-o", "other", "--set"];
    let changed = [&changed[..], &["align.plugin=procrustes"]].concat();
    sandbox.call(&changed).refused(&changed, &["chiasm.lock", "SHA-256", "chiasm plugin lock"]);
    sandbox.good(&[&["--plugin-policy", "any"], &changed[..]].concat());
}

#[test]
fn a_signature_vouches_for_a_plugin() {
    let sandbox = Sandbox::new();
    std::fs::copy(shipped("mean"), sandbox.path("libmean.so")).unwrap();
    assert_eq!(sandbox.call(&["plugin", "verify", "libmean.so"]).code, Some(1));
    sandbox.good(&["plugin", "key", "me.key"]);
    sandbox.good(&["plugin", "sign", "libmean.so", "--key", "me.key"]);
    let unknown = sandbox.call(&["plugin", "verify", "libmean.so"]);
    assert!(unknown.code == Some(1) && unknown.stdout.contains("not trusted"), "{}", unknown.stdout);
    sandbox.good(&["plugin", "trust", "me.pub"]);
    assert!(sandbox.good(&["plugin", "verify", "libmean.so"]).contains("valid, by the trusted key"));
    let listed = sandbox.good(&["--plugin-policy", "signed", "plugin", "list"]);
    assert!(listed.contains("mean"), "{listed}");
}

#[test]
fn shipped_plugins_pass_the_conformance_tests() {
    let sandbox = Sandbox::new();
    for name in
        ["cca", "procrustes", "ridge", "mean", "concat", "mean_vector", "image", "text", "vector", "audio"]
    {
        let path = shipped(name);
        let output = sandbox.call(&["-q", "plugin", "validate", path.to_str().unwrap()]);
        assert_eq!(output.code, Some(0), "{name}: {}{}", output.stdout, output.stderr);
    }
}

/// Each template is created, built with cargo, and passes the conformance tests. The crates that they share
/// are built once, in a folder that later runs of this test use again.
#[test]
fn a_new_plugin_builds_and_passes_the_conformance_tests() {
    let sandbox = Sandbox::new();
    let sdk = project().join("core/plugin");
    for kind in ["adapter", "aligner", "fusion"] {
        let name = format!("new-{kind}");
        sandbox.good(&["plugin", "new", kind, &name, "--sdk", sdk.to_str().unwrap()]);
        let source = std::fs::read_to_string(sandbox.path(&name).join("src/lib.rs")).unwrap();
        assert!(source.lines().count() < 60, "{kind}: {} lines", source.lines().count());
        // The lock file of the workspace: no version is looked up.
        std::fs::copy(project().join("Cargo.lock"), sandbox.path(&name).join("Cargo.lock")).unwrap();
        let target = binary().with_file_name("plugin-templates");
        let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--offline", "--manifest-path"])
            .arg(sandbox.path(&name).join("Cargo.toml"))
            .env("CARGO_TARGET_DIR", &target)
            .env_remove("RUSTFLAGS")
            .output()
            .unwrap();
        assert!(built.status.success(), "{kind}: {}", String::from_utf8_lossy(&built.stderr));
        let library = target.join(format!("debug/libnew_{kind}.so"));
        let output = sandbox.call(&["-q", "plugin", "validate", library.to_str().unwrap()]);
        assert_eq!(output.code, Some(0), "{kind}: {}{}", output.stdout, output.stderr);
        let why = sandbox.good(&["--plugin", library.to_str().unwrap(), "plugin", "why", &name]);
        assert!(why.contains("is taken from this plugin"), "{why}");
    }
    sandbox.refused(&["plugin", "new", "aligner", "Bad Name"], &["lower-case letters"]);
    sandbox.refused(&["plugin", "new", "aligner", "new-aligner"], &["exists already"]);
}
