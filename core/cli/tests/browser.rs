//! The pages of `chiasm report` in headless Chromium: several widths, the console, figures and the keyboard.

mod common;

use chiasm_testing::{Requirement, skip};
use common::{Sandbox, json, peers, project};
use std::{path::PathBuf, process::Command};

/// Returns the first Chromium or Chrome of the search path.
fn chromium() -> Option<PathBuf> {
    let folders: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = found.into_iter().find(|path| path.is_file());
    if found.is_none() {
        skip(Requirement::Package, "none of chromium, chromium-browser and google-chrome is in PATH");
    }
    found
}

/// Nothing is asked for, no error is logged, every figure has a size, no text is wider than the window, and
/// the Tab key reaches every control, at 380, 800 and 1600 pixels.
#[test]
fn pages_are_whole_in_a_browser_at_every_width() {
    let Some(chromium) = chromium() else { return };
    let sandbox = Sandbox::new();
    sandbox.world(80);
    sandbox.recipe();
    sandbox.good(&["fit", "recipe.toml", "-o", "pictures"]);
    let compare = ["compare", "recipe.toml", "--swap", "align.plugin=mean-vector,ridge", "--folds", "0"];
    sandbox.good(&[&compare[..], &["--pairs", "20,40", "-o", "compared"]].concat());
    sandbox.vectors([60, 60]);
    sandbox.good(&["fit", "recipe.toml", "-o", "vectors"]);
    // The figures that each page must have at least.
    let pages = [("pictures", 4), ("vectors", 4), ("compared", 3)];
    for (name, _) in pages {
        let result = sandbox.call(&["report", name, "-o", &format!("{name}.html")]);
        assert!(result.code == Some(0), "{name}: {}", result.stderr);
    }
    let mut command = Command::new(peers());
    command.current_dir(sandbox.path("")).arg(project().join("core/cli/tests/peer/browser.py"));
    command.arg(chromium).arg(".").args(pages.map(|(name, _)| format!("{name}.html")));
    let peer = command.output().unwrap();
    assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
    let found = json(&String::from_utf8_lossy(&peer.stdout));
    for (name, figures) in pages {
        for width in [380, 800, 1600] {
            let own = &found[format!("{name} {width}")];
            assert_eq!(own["errors"], serde_json::json!([]), "{name} {width}");
            for key in ["empty", "broken", "wide", "unreached"] {
                assert_eq!(own[key], 0, "{name} {width}: {key} in {own}");
            }
            assert!(own["figures"].as_u64() >= Some(figures), "{name} {width}: {own}");
            assert!(own["controls"].as_u64() >= Some(5), "{name} {width}: {own}");
            let picture = image::open(sandbox.path(&format!("{name}-{width}.png"))).unwrap().to_rgb8();
            assert_eq!(picture.width(), width);
            let colours: std::collections::BTreeSet<[u8; 3]> =
                picture.pixels().map(|pixel| pixel.0).collect();
            assert!(colours.len() > 20, "{name} {width}: the picture has {} colours", colours.len());
        }
    }
}
