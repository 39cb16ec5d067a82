//! Checks the layering of crates, of the pipeline's stages and of modules.
//!
//! There are three rules. A crate depends only on the crates that [`CRATES`] and [`FOLDERS`] allow, and some
//! external crates may be used by one crate only. The modules of a crate do not import each other in a cycle.
//! A stage of the pipeline imports only from itself and from lower stages.

mod cycles;
mod imports;
mod scan;

use crate::shell::{CommandResult, cargo, print_stdout};
use imports::{Import, Modules};
use serde_json::Value;
use std::path::Path;

/// Every crate outside of [`FOLDERS`], lowest first, and the crates of this project that it may depend on.
/// Dev-dependencies are not checked.
const CRATES: &[(&str, &[&str])] = &[
    ("chiasm-testing", &[]),
    ("chiasm-graph", &[]),
    ("chiasm-transport", &[]),
    ("chiasm-parameters-derive", &[]),
    ("chiasm-parameters", &["chiasm-parameters-derive"]),
    ("chiasm-parquet-pages", &[]),
    ("chiasm-abi", &[]),
    ("chiasm-geometry", &["chiasm-transport"]),
    ("chiasm-closed-form", &["chiasm-graph", "chiasm-geometry", "chiasm-parameters", "chiasm-transport"]),
    ("chiasm-objective", &["chiasm-graph"]),
    ("chiasm-plugin", &["chiasm-abi", "chiasm-graph", "chiasm-objective", "chiasm-parameters"]),
    ("chiasm-host", &["chiasm-abi", "chiasm-graph", "chiasm-objective", "chiasm-plugin"]),
    ("chiasm-kit", &["chiasm-plugin", "chiasm-closed-form", "chiasm-geometry"]),
    ("chiasm-runtime", &["chiasm-graph"]),
    ("chiasm-train", &["chiasm-graph", "chiasm-objective", "chiasm-runtime"]),
    ("chiasm-check", &["chiasm-graph", "chiasm-geometry", "chiasm-runtime"]),
    ("chiasm-weights", &["chiasm-graph", "chiasm-geometry", "chiasm-transport"]),
    (
        "chiasm-pipeline",
        &[
            "chiasm-graph",
            "chiasm-geometry",
            "chiasm-closed-form",
            "chiasm-runtime",
            "chiasm-train",
            "chiasm-host",
            "chiasm-parquet-pages",
            "chiasm-check",
        ],
    ),
    ("chiasm-report", &["chiasm-check", "chiasm-geometry", "chiasm-pipeline"]),
    ("chiasm-serve", &["chiasm-graph", "chiasm-host", "chiasm-runtime", "chiasm-pipeline"]),
    (
        "chiasm-methods",
        &[
            "chiasm-plugin",
            "chiasm-cca",
            "chiasm-concat",
            "chiasm-cross-attention",
            "chiasm-cycle",
            "chiasm-kcca",
            "chiasm-mean",
            "chiasm-mean-vector",
            "chiasm-mlp",
            "chiasm-ot-map",
            "chiasm-procrustes",
            "chiasm-ridge",
            "chiasm-systems",
        ],
    ),
    (
        "chiasm-python",
        &[
            "chiasm-check",
            "chiasm-closed-form",
            "chiasm-graph",
            "chiasm-geometry",
            "chiasm-runtime",
            "chiasm-transport",
            "chiasm-host",
            "chiasm-pipeline",
        ],
    ),
    (
        "chiasm",
        &[
            "chiasm-graph",
            "chiasm-geometry",
            "chiasm-runtime",
            "chiasm-transport",
            "chiasm-host",
            "chiasm-check",
            "chiasm-pipeline",
            "chiasm-report",
            "chiasm-serve",
            "chiasm-weights",
        ],
    ),
    (
        "chiasm-fuzz",
        &[
            "chiasm-abi",
            "chiasm-graph",
            "chiasm-plugin",
            "chiasm-host",
            "chiasm-runtime",
            "chiasm-pipeline",
            "chiasm-image",
            "chiasm-vector",
        ],
    ),
    ("xtask", &["chiasm-testing"]),
    ("world", &[]),
];

/// Folders of crates, and the crates of this project that each crate there may depend on.
const FOLDERS: &[(&str, &[&str])] = &[
    (
        "plugins",
        &["chiasm-plugin", "chiasm-geometry", "chiasm-closed-form", "chiasm-kit", "chiasm-transport"],
    ),
    ("adapters", &["chiasm-parquet-pages", "chiasm-plugin", "chiasm-kit"]),
    ("core/host/fixtures", &["chiasm-plugin", "chiasm-abi"]),
];

/// The crate that is divided into stages, and its stages, lowest first: folders of its `src`. A stage imports
/// only from itself and from lower stages. `lib.rs` declares the stages and re-exports from them.
const STAGED: &str = "chiasm-pipeline";
const STAGES: &[&str] = &["base", "recipe", "catalog", "plan", "embed", "run", "fit", "compare", "study"];

/// External crates, and the only crates of this project that may depend on each.
const OWNED: &[(&str, &[&str])] = &[
    ("onnx-protobuf", &["chiasm-graph"]),
    ("protobuf", &["chiasm-graph"]),
    ("abi_stable", &["chiasm-abi"]),
    ("libloading", &["chiasm-host"]),
    ("ort", &["chiasm-runtime"]),
    ("clap", &["chiasm", "world"]),
    ("comfy-table", &["chiasm"]),
    ("minijinja", &["chiasm-report"]),
    ("bhtsne", &["chiasm-report"]),
    ("indicatif", &["chiasm"]),
    ("axum", &["chiasm-serve"]),
    ("tokio", &["chiasm-serve"]),
    ("tokio-rustls", &["chiasm-serve"]),
];

/// Prints the allowed dependencies, then checks the workspace.
pub fn show() -> CommandResult {
    print_stdout(&map());
    check()?;
    print_stdout("every dependency is allowed, and no modules import each other in a cycle");
    Ok(())
}

/// The crates and stages, and what each may depend on, as text.
fn map() -> String {
    let line = |(name, allowed): &(&str, &[&str])| {
        let allowed = if allowed.is_empty() { "-".to_owned() } else { allowed.join(", ") };
        format!("  {name:<20} {allowed}\n")
    };
    let mut text =
        "crates, lowest first, and the crates of this project that each may depend on\n".to_owned();
    text.extend(CRATES.iter().map(line));
    text += "crates of a folder, and what each may depend on\n";
    text.extend(FOLDERS.iter().map(line));
    text += "external crates, and the only crates that may depend on each\n";
    text.extend(OWNED.iter().map(line));
    text += &format!("stages of {STAGED}, lowest first, and the other stages that each may import from\n");
    text.extend(STAGES.iter().enumerate().map(|(index, stage)| line(&(stage, &STAGES[..index]))));
    text
}

/// Fails with a list of everything that breaks a rule.
pub fn check() -> CommandResult {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .map_err(|e| format!("cannot run cargo metadata: {e}"))?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata is not JSON: {e}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let names: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut broken = Vec::new();
    for package in packages {
        check_package(package, &names, &mut broken);
        for root in roots(package) {
            check_modules(package["name"].as_str().unwrap_or_default(), root, &mut broken)?;
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(format!("layering:\n  {}", broken.join("\n  "))) }
}

/// The root files of a package's libraries and binaries.
fn roots(package: &Value) -> impl Iterator<Item = &Path> {
    let targets = package["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let built = |target: &&Value| {
        let kinds = target["kind"].as_array().map(Vec::as_slice).unwrap_or_default();
        !kinds
            .iter()
            .filter_map(Value::as_str)
            .any(|k| ["test", "bench", "example", "custom-build"].contains(&k))
    };
    targets.iter().filter(built).filter_map(|target| target["src_path"].as_str().map(Path::new))
}

/// Checks the modules of the crate with this root file.
fn check_modules(name: &str, root: &Path, broken: &mut Vec<String>) -> CommandResult {
    let source = root.parent().unwrap_or(Path::new("."));
    let modules = Modules::read(root)?;
    let imports = modules.imports();
    broken.extend(cycles::cycles(&imports).iter().map(|cycle| cycles::describe(name, source, cycle)));
    if name == STAGED {
        check_stages(source, &modules, &imports, broken);
    }
    Ok(())
}

/// Checks that every file is in a stage, and that no import is from a higher stage.
fn check_stages(source: &Path, modules: &Modules, imports: &[Import], broken: &mut Vec<String>) {
    let relative = |path: &Path| path.strip_prefix(source).unwrap_or(path).to_owned();
    for file in modules.files().map(relative).filter(|file| file != Path::new("lib.rs")) {
        if level(&file).is_none() {
            broken.push(format!("{STAGED}: {} is in no stage; move it into one", file.display()));
        }
    }
    for Import { from, to, line, text } in imports {
        let (from, to) = (relative(from), relative(to));
        let up = match (level(&from), level(&to)) {
            (Some(from), Some(to)) => from < to,
            // Only `lib.rs` may be in no stage. It imports nothing and defines nothing.
            (from, to) => from.is_some() != to.is_some(),
        };
        if up {
            let (from, to) = (from.display(), to.display());
            broken.push(format!("{STAGED}: {from}:{line} imports from {to}, which is not below it:  {text}"));
        }
    }
}

/// The index of the stage of a file, given relative to the crate's `src`. None if it is in no stage.
fn level(file: &Path) -> Option<usize> {
    let first = file.components().next()?;
    let name = Path::new(first.as_os_str()).with_extension("");
    STAGES.iter().position(|stage| Path::new(stage) == name)
}

fn check_package(package: &Value, ours: &[&str], broken: &mut Vec<String>) {
    let name = package["name"].as_str().unwrap_or_default();
    let manifest = package["manifest_path"].as_str().unwrap_or_default();
    let own = CRATES.iter().find(|(known, _)| *known == name);
    let folder = FOLDERS.iter().find(|(folder, _)| manifest.contains(&format!("/{folder}/")));
    let Some((_, allowed)) = folder.or(own) else {
        broken.push(format!("{name} is unknown: add it to core/xtask/src/layering.rs and core/README.md"));
        return;
    };
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    for dependency in dependencies.iter().filter(|d| d["kind"].is_null()) {
        let needed = dependency["name"].as_str().unwrap_or_default();
        if ours.contains(&needed) && !allowed.contains(&needed) {
            broken.push(format!("{name} depends on {needed}, which is not below it"));
        }
        if let Some((_, owners)) = OWNED.iter().find(|(owned, _)| *owned == needed)
            && !owners.contains(&name)
        {
            broken.push(format!("{name} depends on {needed}, which only {} may", owners.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn complaints(name: &str, path: &str, needs: &[&str]) -> Vec<String> {
        let dependencies: Vec<Value> = needs.iter().map(|n| json!({"name": n, "kind": null})).collect();
        let package = json!({"name": name, "manifest_path": path, "dependencies": dependencies});
        let mut broken = Vec::new();
        check_package(&package, &["chiasm-graph", "chiasm-runtime", "chiasm-plugin"], &mut broken);
        broken
    }

    #[test]
    fn crates_are_listed_after_their_dependencies() {
        for (index, (name, allowed)) in CRATES.iter().enumerate() {
            // Adapters have a rule of their own: they stand on `chiasm-kit`, and are not in the list.
            let listed = |needed: &&str| CRATES.iter().any(|(name, _)| name == needed);
            let lower = |needed: &&str| CRATES[..index].iter().any(|(lower, _)| lower == needed);
            let lower = |needed: &&str| lower(needed) || !listed(needed);
            assert!(allowed.iter().all(lower), "{name} is listed before one of {allowed:?}");
        }
    }

    #[test]
    fn an_import_from_a_higher_stage_and_a_file_in_no_stage_are_caught() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("lib.rs", "mod base;\nmod plan;\nmod recipe;\nmod stray;\npub use plan::Plan;\n"),
            ("base.rs", "use crate::recipe::tree::Tree;\npub struct Error;\n"),
            ("plan.rs", "use crate::{base::Error, recipe::tree::Tree};\npub struct Plan;\n"),
            ("recipe/mod.rs", "pub mod tree;\nuse crate::Plan;\n"),
            ("recipe/tree.rs", "pub struct Tree;\n"),
            ("stray.rs", ""),
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut broken = Vec::new();
        check_modules(STAGED, &folder.path().join("lib.rs"), &mut broken).unwrap();
        let expected = [
            "stray.rs is in no stage",
            "base.rs:1 imports from recipe/tree.rs, which is not below it:  use crate::recipe::tree::Tree;",
            "recipe/mod.rs:2 imports from plan.rs, which is not below it:  use crate::Plan;",
        ];
        assert_eq!(broken.len(), expected.len(), "{broken:#?}");
        for (complaint, expected) in broken.iter().zip(expected) {
            assert!(complaint.contains(expected), "{complaint}");
        }
    }

    #[test]
    fn this_workspace_is_layered() {
        check().unwrap();
    }

    #[test]
    fn an_upward_dependency_a_second_owner_and_an_unknown_crate_are_caught() {
        assert_eq!(complaints("chiasm-graph", "/x/core/graph/Cargo.toml", &["chiasm-runtime"]).len(), 1);
        assert_eq!(complaints("chiasm-cca", "/x/plugins/cca/Cargo.toml", &["ort"]).len(), 1);
        assert_eq!(complaints("chiasm-new", "/x/core/new/Cargo.toml", &[]).len(), 1);
        assert!(complaints("chiasm-cca", "/x/plugins/cca/Cargo.toml", &["chiasm-plugin"]).is_empty());
    }
}
