//! The pages of `chiasm report` in headless Chromium: several widths, the console, figures and the keyboard.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, chromium::chromium, json, peers, project};
use std::process::Command;

/// Fits runs and compares aligners, and returns the names of their pages with the figures that each must have
/// at least.
fn made(sandbox: &Sandbox) -> Vec<(&'static str, u64)> {
    sandbox.world(80);
    sandbox.recipe();
    sandbox.good(&["fit", "recipe.toml", "-o", "pictures"]);
    let compare = ["compare", "recipe.toml", "--swap", "align.plugin=mean-vector,ridge", "--folds", "0"];
    sandbox.good(&[&compare[..], &["--pairs", "20,40", "-o", "compared"]].concat());
    sandbox.vectors([60, 60]);
    sandbox.good(&["fit", "recipe.toml", "-o", "vectors"]);
    questions(sandbox);
    let mut pages = vec![("pictures", 4), ("vectors", 4), ("compared", 3), ("questions", 5)];
    if chiasm_testing::real_data("flickr1k/pairs.jsonl").is_some() {
        flickr(sandbox);
        pages.push(("flickr1k", 4));
    }
    pages
}

/// Fits a small fusion that answers questions about pictures.
fn questions(sandbox: &Sandbox) {
    world::write_quiz(&world::World::new(11), &sandbox.path("quiz"), 60, 4).unwrap();
    sandbox.write(
        "questions.toml",
        "[encoders.image]\nmodel = \"demo-image\"\n[encoders.question]\nmodel = \"demo-text\"\n\
         [data]\npairs = \"quiz/pairs.jsonl\"\n[align]\nplugin = \"procrustes\"\n\
         [checks]\nsurjectivity = { fail = 0 }\n[task]\nkind = \"classification\"\ncolumn = \"answer\"\n\
         [fuse]\nplugin = \"cross-attention\"\nwidth = 16\nheads = 2\nhidden = 16\ndepth = 1\nepochs = 2\n",
    );
    sandbox.good(&["fit", "questions.toml", "-o", "questions"]);
}

/// Fits the recipe of examples/flickr1k, on photographs and their captions.
fn flickr(sandbox: &Sandbox) {
    let real = chiasm_testing::real_folder();
    let models = std::env::join_paths([project().join("models"), real.join("models")]).unwrap();
    let pairs = format!("data.pairs={}", real.join("flickr1k/pairs.jsonl").display());
    let mut fit = sandbox.chiasm();
    fit.env("CHIASM_MODELS", models).arg("fit").arg(project().join("examples/flickr1k/recipe.toml"));
    fit.args(["--set", &pairs, "--set", "encoders.text.items=first", "--set", "align.plugin=procrustes"]);
    let output = fit.args(["-o", "flickr1k"]).output().unwrap();
    assert!(sandbox.path("flickr1k/manifest.json").is_file(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Nothing is asked for, no error is logged, every figure has a size, no text is wider than the window, and
/// the Tab key reaches every control, at 380, 800 and 1600 pixels.
#[test]
fn pages_are_whole_in_a_browser_at_every_width() {
    let Some(chromium) = chromium() else { return };
    let sandbox = Sandbox::new();
    let pages = made(&sandbox);
    for (name, _) in &pages {
        let result = sandbox.call(&["report", name, "-o", &format!("{name}.html")]);
        assert!(result.code == Some(0), "{name}: {}", result.stderr);
        let size = std::fs::metadata(sandbox.path(&format!("{name}.html"))).unwrap().len();
        assert!(size < 5_000_000, "{name}: {size} bytes");
    }
    let mut command = Command::new(peers());
    command.current_dir(sandbox.path("")).arg(project().join("core/cli/tests/peer/browser.py"));
    command.arg(chromium).arg(".").args(pages.iter().map(|(name, _)| format!("{name}.html")));
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
