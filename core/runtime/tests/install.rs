//! Installing the engine. The downloads are run by name: `cargo test -p chiasm-runtime --test install --
//! --ignored`.

#![expect(clippy::unwrap_used, reason = "a test")]

use chiasm_runtime::{EngineSearch, InstallOptions, PackageTool, PlaceStatus, install};

/// Installs the engine with one tool into a new folder, finds it there, and checks that installing again does
/// nothing.
fn installs(tool: PackageTool, version: &str) {
    let cache = tempfile::tempdir().unwrap();
    let options = InstallOptions { cuda: false, tool: Some(tool), cache: Some(cache.path().to_owned()) };
    let mut steps = Vec::new();
    let first = install(&options, &mut |step| steps.push(step.to_owned())).unwrap();
    assert_eq!((first.version, first.tool), (version, Some(tool)), "{steps:?}");
    let names: Vec<_> = std::fs::read_dir(cache.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, [version], "only the finished folder is there");

    let search = EngineSearch { cache: Some(cache.path().to_owned()), ..EngineSearch::default() };
    assert_eq!(search.find().unwrap().path, first.path);

    let again = install(&options, &mut |_| ()).unwrap();
    assert_eq!((again.path, again.tool), (first.path.clone(), None));

    // A damaged engine is replaced.
    std::fs::write(&first.path, "damaged").unwrap();
    assert!(matches!(search.attempts()[2].outcome, PlaceStatus::Absent(_) | PlaceStatus::Refused(_)));
    assert_eq!(install(&options, &mut |_| ()).unwrap().tool, Some(tool));
    assert!(search.find().is_ok());
}

#[test]
#[ignore = "downloads the wheel"]
fn pip_installs_the_engine() {
    installs(PackageTool::Pip, "1.31.1");
}

#[test]
#[ignore = "downloads the wheel"]
fn uv_installs_the_engine() {
    installs(PackageTool::Uv, "1.31.1");
}

#[test]
#[ignore = "downloads 110 MB"]
fn npm_installs_the_engine() {
    installs(PackageTool::Npm, "1.30.0");
}
