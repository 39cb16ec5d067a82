//! The page of `chiasm serve` in headless Chromium: a text is typed and a picture is dropped.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, chromium::chromium, json, peers, project, server::Server};
use serde_json::Value;
use std::process::Command;

/// The page shows scores with four decimals.
const TOLERANCE: f64 = 1e-4;

/// The hits of both searches are those of `chiasm search`, pictures are drawn and captions are shown, nothing
/// is logged as an error, and nothing is asked of other addresses.
#[test]
fn the_page_finds_what_the_command_finds() {
    let Some(chromium) = chromium() else { return };
    let sandbox = Sandbox::new();
    sandbox.world(60);
    sandbox.recipe();
    sandbox.fit();
    let server = Server::start(&sandbox, &["run"]);
    let mut command = Command::new(peers());
    command.arg(project().join("core/cli/tests/peer/serve_page.py")).arg(chromium).arg(server.url("/"));
    let peer = command.arg(sandbox.path("world/images/5.png")).arg(sandbox.path("")).output().unwrap();
    assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
    let found = json(&String::from_utf8_lossy(&peer.stdout));
    assert_eq!(found["errors"], serde_json::json!([]));
    let search = |query: &[&str]| {
        json(&sandbox.good(&[&["search", "run", "--top", "12", "--format", "json"], query].concat()))
    };
    let by_text = hits(&found["text"], &search(&["--text", "a red circle"]));
    assert!(by_text.iter().all(|hit| hit["drawn"] == true), "{by_text:?}");
    let by_picture = hits(&found["picture"], &search(&["--image", "world/images/5.png", "--in", "text"]));
    assert!(by_picture.iter().all(|hit| hit["text"].as_str().is_some_and(|text| !text.is_empty())));
}

/// Returns the hits of a search on the page, which are those of the command, best first.
fn hits(shown: &Value, expected: &Value) -> Vec<Value> {
    let (hits, expected) = (shown["hits"].as_array().unwrap(), expected.as_array().unwrap());
    assert!(shown["status"].as_str().unwrap().starts_with("12 items in "), "{shown}");
    assert_eq!((hits.len(), expected.len()), (12, 12));
    for (hit, expected) in hits.iter().zip(expected) {
        let score = expected["score"].as_f64().unwrap();
        assert!((hit["score"].as_f64().unwrap() - score).abs() < TOLERANCE, "{hit} {expected}");
        assert_eq!(hit["id"], expected["row"]);
    }
    hits.clone()
}
