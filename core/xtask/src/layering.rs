//! The layering: an arrow only points down, and some dependencies are named in one crate alone.

use crate::{Outcome, cargo};
use serde_json::Value;
use std::collections::BTreeMap;

/// A room and the rooms of this project it may depend on (dev-dependencies are free).
const ROOMS: &[(&str, &[&str])] = &[
    ("chiasm-graph", &[]),
    ("chiasm-transport", &[]),
    ("chiasm-geometry", &["chiasm-transport"]),
    ("chiasm-abi", &[]),
    ("chiasm-check", &["chiasm-graph", "chiasm-geometry", "chiasm-runtime"]),
    ("chiasm-closed-form", &["chiasm-graph", "chiasm-geometry", "chiasm-transport"]),
    ("chiasm-objective", &["chiasm-graph"]),
    ("chiasm-plugin", &["chiasm-abi", "chiasm-graph", "chiasm-objective"]),
    ("chiasm-learned", &["chiasm-plugin", "chiasm-closed-form", "chiasm-geometry"]),
    ("chiasm-runtime", &["chiasm-graph"]),
    ("chiasm-train", &["chiasm-graph", "chiasm-objective", "chiasm-runtime"]),
    ("chiasm-host", &["chiasm-abi", "chiasm-graph", "chiasm-objective", "chiasm-plugin"]),
    (
        "chiasm-pipeline",
        &[
            "chiasm-graph",
            "chiasm-geometry",
            "chiasm-closed-form",
            "chiasm-runtime",
            "chiasm-train",
            "chiasm-host",
            "chiasm-check",
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
        ],
    ),
    ("xtask", &[]),
    ("world", &[]),
];

/// What every crate of a folder may depend on.
const FOLDERS: &[(&str, &[&str])] = &[
    (
        "plugins",
        &["chiasm-plugin", "chiasm-geometry", "chiasm-closed-form", "chiasm-learned", "chiasm-transport"],
    ),
    ("adapters", &["chiasm-plugin"]),
    ("core/host/fixtures", &["chiasm-plugin", "chiasm-abi"]),
];

/// A crate from outside and the only rooms that may name it.
const OWNED: &[(&str, &[&str])] = &[
    ("onnx-protobuf", &["chiasm-graph"]),
    ("protobuf", &["chiasm-graph"]),
    ("abi_stable", &["chiasm-abi"]),
    ("libloading", &["chiasm-host"]),
    ("ort", &["chiasm-runtime"]),
    ("clap", &["chiasm", "world"]),
    ("comfy-table", &["chiasm"]),
    ("indicatif", &["chiasm"]),
];

/// Fails with every arrow that points up.
pub fn check() -> Outcome {
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
    }
    if broken.is_empty() { Ok(()) } else { Err(format!("layering:\n  {}", broken.join("\n  "))) }
}

fn check_package(package: &Value, ours: &[&str], broken: &mut Vec<String>) {
    let name = package["name"].as_str().unwrap_or_default();
    let manifest = package["manifest_path"].as_str().unwrap_or_default();
    let rooms: BTreeMap<_, _> = ROOMS.iter().copied().collect();
    let folder = FOLDERS.iter().find(|(folder, _)| manifest.contains(&format!("/{folder}/")));
    let Some(allowed) = folder.map(|(_, allowed)| *allowed).or(rooms.get(name).copied()) else {
        broken.push(format!(
            "{name} is not on the map: add it to core/xtask/src/layering.rs and core/README.md"
        ));
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
            broken.push(format!("{name} names {needed}; only {} may", owners.join(", ")));
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
    fn this_workspace_is_layered() {
        check().unwrap();
    }

    #[test]
    fn an_upward_arrow_a_stray_owner_and_an_unknown_room_are_caught() {
        assert_eq!(complaints("chiasm-graph", "/x/core/graph/Cargo.toml", &["chiasm-runtime"]).len(), 1);
        assert_eq!(complaints("chiasm-cca", "/x/plugins/cca/Cargo.toml", &["ort"]).len(), 1);
        assert_eq!(complaints("chiasm-new", "/x/core/new/Cargo.toml", &[]).len(), 1);
        assert!(complaints("chiasm-cca", "/x/plugins/cca/Cargo.toml", &["chiasm-plugin"]).is_empty());
    }
}
