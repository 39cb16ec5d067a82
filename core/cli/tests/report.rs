//! `chiasm report`: every section, the texts of others, determinism, size, the table of items, and runs whose
//! data is missing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, peers, project, views};
use serde_json::Value;
use std::process::Command;

/// The sections of a page, in order.
const SECTIONS: [&str; 12] = [
    "merged",
    "metrics",
    "spaces",
    "examples",
    "spectra",
    "checks",
    "geometry",
    "training",
    "robustness",
    "attention",
    "time",
    "reproduce",
];
const HOSTILE: &str = "<script>alert(1)</script> & \"quoted\" 'text' <img src=http://127.0.0.1/x> \u{202e}";

fn fitted() -> Sandbox {
    let sandbox = Sandbox::new();
    let pairs = sandbox.world(150);
    // Every caption comes from a stranger.
    let rows = std::fs::read_to_string(&pairs).unwrap();
    let hostile = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        let caption = row["captions"][0].as_str().unwrap().to_owned();
        row["captions"][0] = format!("{caption} {HOSTILE}").into();
        format!("{row}\n")
    };
    std::fs::write(&pairs, rows.lines().map(hostile).collect::<String>()).unwrap();
    sandbox.recipe();
    let output = sandbox.call(&["fit", "recipe.toml", "-o", "run"]);
    assert!(matches!(output.code, Some(0 | 1)), "{}", output.stderr);
    sandbox
}

fn page(sandbox: &Sandbox, name: &str) -> String {
    sandbox.good(&["report", "run", "-o", name]);
    std::fs::read_to_string(sandbox.path(name)).unwrap()
}

/// Asserts that a page has every section in order, each with a heading and content.
fn assert_sections(html: &str) {
    let mut at = 0;
    for name in SECTIONS {
        let start = format!("<section id=\"{name}\"><h2>");
        let found = html[at..].find(&start);
        assert!(found.is_some(), "no section {name} after byte {at}");
        let found = found.unwrap();
        at += found + start.len();
        let section = &html[at..at + html[at..].find("</section>").unwrap()];
        let content = ["<p", "<table", "<article"].iter().any(|tag| section.contains(tag));
        assert!(content, "{name} is empty: {section}");
        assert!(html.contains(&format!("<a href=\"#{name}\">")), "no link to {name}");
    }
}

/// Asserts that a page names nothing that a browser would load, and runs no script but its own. A quote in a
/// text is escaped, so a quote after the name of an attribute begins its value.
fn assert_loads_nothing(html: &str) {
    for attribute in [" src=\"", " href=\"", " srcset=\"", " data=\"", " action=\""] {
        for (at, _) in html.match_indices(attribute) {
            let value = &html[at + attribute.len()..];
            let inside = value.starts_with('#') || value.starts_with("data:image/jpeg;base64,");
            assert!(inside, "{attribute}{}", value.chars().take(60).collect::<String>());
        }
    }
    assert!(!html.contains("url(") && !html.contains("@import"));
    assert_eq!(html.matches("<script").count(), 2, "the data of the items, and the page's own script");
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn a_page_has_every_section_loads_nothing_and_escapes_the_texts_of_others() {
    let sandbox = fitted();
    let html = page(&sandbox, "out/report.html");
    assert_sections(&html);
    assert_loads_nothing(&html);
    assert!(!html.contains("<script>alert"), "a caption is not part of the page's structure");
    assert!(!html.contains('\u{202e}'), "no caption changes the direction of the text around it");
    assert!(html.contains("&lt;script&gt;alert(1)"), "a caption is shown as it was written");
    assert!(html.contains("data:image/jpeg;base64,"), "test pictures are shown");
    assert!(html.len() < 5_000_000, "{} bytes", html.len());
    assert!(html.contains("30 of 30 test rows are drawn"));
    // The facts of the run: licences, recipe, digests, metrics, and each check with its sentence.
    let metrics: Value = read(&sandbox, "run/metrics.json");
    let recall = metrics["retrieval"]["image->text"]["recall@1"].as_f64().unwrap();
    assert!(html.contains(&format!("<b>{:.1}</b>", 100.0 * recall)), "recall@1 {recall}");
    let right = (30.0 * recall).round(); // a query without ties is right or wrong
    assert!(html.contains(&format!("of the {right} queries whose first result is relevant")), "{right}");
    assert!(html.contains("Apache-2.0") && html.contains("plugin = &quot;ridge&quot;"));
    let manifest: Value = read(&sandbox, "run/manifest.json");
    for digest in manifest["frozen_weights"].as_object().unwrap().values() {
        assert!(html.contains(digest.as_str().unwrap()));
    }
    let checks: Value = read(&sandbox, "run/checks.json");
    let mut count = 0;
    for map in checks["maps"].as_array().unwrap() {
        for check in map["checks"].as_array().unwrap() {
            let meaning = check["meaning"].as_str().unwrap();
            let plain = !meaning.contains(['<', '>', '&', '"', '\'', '/']);
            assert!(!plain || html.contains(meaning), "{meaning}");
            count += 1;
        }
    }
    assert!(count > 10);
    assert!(!html.contains(sandbox.path("").to_str().unwrap()), "the page names no folder of this machine");
    assert_eq!(html, page(&sandbox, "again.html"), "the same run gives the same bytes");
    let table = |name: &str| std::fs::read(sandbox.path(name)).unwrap();
    assert_eq!(table("out/report.parquet"), table("again.parquet"), "and the same table");
    let mut names: Vec<_> =
        std::fs::read_dir(sandbox.path("out")).unwrap().map(|f| f.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["report.html", "report.parquet"], "no temporary file is left");
}

fn read(sandbox: &Sandbox, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(sandbox.path(name)).unwrap()).unwrap()
}

/// A run can be sent without its data: what was stored is shown, and the rest says why it is not.
#[test]
fn a_run_without_its_data_still_has_a_page() {
    let sandbox = fitted();
    std::fs::rename(sandbox.path("world"), sandbox.path("elsewhere")).unwrap();
    let output = sandbox.good(&["report", "run", "-o", "report.html"]);
    assert!(output.contains("wrote no table of the test items: "), "{output}");
    assert!(!sandbox.path("report.parquet").exists());
    let html = page(&sandbox, "report.html");
    assert_sections(&html);
    assert!(html.contains("The test items could not be embedded: "));
    assert!(html.contains("recall@1") && html.contains("<th>verdict</th>"));
}

/// Three files of vectors have six directions, no pictures and no texts.
#[test]
fn a_page_shows_every_pair_of_vectors_and_its_verdict() {
    let sandbox = views::views("plugin = \"cca\"\n");
    views::rows(&sandbox, |_, _| true);
    views::fit(&sandbox, &[]);
    let output = sandbox.good(&["report", "run", "-o", "report.html", "--format", "json"]);
    let output: Value = serde_json::from_str(&output).unwrap();
    let html = std::fs::read_to_string(sandbox.path("report.html")).unwrap();
    assert_sections(&html);
    assert_loads_nothing(&html);
    for pair in ["a-&gt;b", "a-&gt;c", "b-&gt;a", "b-&gt;c", "c-&gt;a", "c-&gt;b"] {
        assert!(html.contains(&format!("<h3>{pair}</h3>")), "{pair}");
    }
    assert_eq!(
        html.matches("data-points").count() - html.matches("[data-points]").count(),
        12,
        "three and one, each as principal components, t-SNE and UMAP"
    );
    assert_table(&sandbox);
    assert!(html.contains("a and b") && html.contains("mutual_knn@10"));
    assert_eq!(html.matches("no weights: a file of vectors").count(), 3);
    assert_eq!(output["bytes"], html.len());
    let verdict = output["verdict"].as_str().unwrap();
    let failed = read(&sandbox, "run/checks.json")["failed"].as_array().unwrap().len();
    assert_eq!(output["trust"] == "no", failed > 0, "{verdict}");
    assert!(html.contains(&verdict.replace('>', "&gt;")), "{verdict}");
}

/// Compares the table of three files of vectors, beside the page, with NumPy.
fn assert_table(sandbox: &Sandbox) {
    let script = project().join("core/cli/tests/peer/report_table.py");
    let mut command = Command::new(peers());
    command.current_dir(sandbox.path("")).arg(script).args(["report.parquet", "run", "."]);
    let peer = command.output().unwrap();
    assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
    let read: Value = serde_json::from_slice(&peer.stdout).unwrap();
    let columns = serde_json::json!({
        "id": "int64", "modality": "string", "row": "string", "item": "string", "label": "string",
        "projection_x": "double", "projection_y": "double", "pca_x": "double", "pca_y": "double",
        "neighbors": "struct<ids: list<element: int64 not null> not null, \
                      distances: list<element: double not null> not null>",
    });
    assert_eq!(read["columns"], columns);
    assert_eq!(read["rows"], 180, "60 test rows of three views");
    assert!(read["ids"] == true && read["distinct"] == true && read["finite"] == true, "{read}");
    assert!(read["item"] == "vector 0" && read["unlabelled"] == true, "{read}");
    // The embeddings of two builds of ONNX Runtime, in single precision.
    for name in ["stated", "of_ids", "principal"] {
        assert!(read[name].as_f64().unwrap() < 1e-5, "{name}: {read}");
    }
}

/// A section that has no data says so; one that has draws it.
#[test]
fn trainings_and_sweeps_are_drawn() {
    let sandbox = views::views(
        "plugin = \"mlp\"\nsteps = 30\nmembers = 1\nblend = 1.0\n[robustness]\ncorruption = [0.5, 1.0]\n\
         missing = [0.5]\n[robustness.corrupt.a]\nkind = \"noise\"\nstrength = 2.0\n",
    );
    views::rows(&sandbox, |_, _| true);
    views::fit(&sandbox, &[]);
    let html = page(&sandbox, "report.html");
    assert_sections(&html);
    assert_loads_nothing(&html);
    let section = |name: &str| {
        let start = html.find(&format!("<section id=\"{name}\">")).unwrap();
        &html[start..start + html[start..].find("</section>").unwrap()]
    };
    let trained = read(&sandbox, "run/training.json").as_array().unwrap().len();
    assert_eq!(section("training").matches("<figure>").count(), trained, "a figure for each training");
    assert!(section("training").contains("align (mlp)"));
    assert_eq!(
        section("robustness").matches("<figure>").count(),
        2,
        "corrupted items and missing modalities"
    );
    assert!(!section("training").contains("NaN") && !section("robustness").contains("NaN"));
    assert!(section("attention").contains("no fusion with attention"));
}

#[test]
fn what_is_no_run_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.refused(
        &["report", "nothing", "-o", "report.html"],
        &["there is no run folder nothing", "chiasm fit"],
    );
    assert!(!sandbox.path("report.html").exists());
}

#[test]
fn the_page_cannot_have_the_name_of_the_table() {
    let sandbox = fitted();
    let output = sandbox.call(&["report", "run", "-o", "report.parquet"]);
    output.refused("a page named .parquet", &["is the name of the table", "-o report.html"]);
    assert!(!sandbox.path("report.parquet").exists());
}

#[test]
fn items_without_a_partner_are_not_said_to_be_left_out_as_queries() {
    let sandbox = Sandbox::new();
    sandbox.vectors([60, 60]);
    let partner = |at: usize| if at.is_multiple_of(10) { String::new() } else { format!(", \"b\": {at}") };
    let row = |at: usize| format!("{{\"a\": {at}{}}}\n", partner(at));
    sandbox.write("pairs.jsonl", (0..60).map(row).collect::<String>());
    let recipe = std::fs::read_to_string(sandbox.path("recipe.toml")).unwrap();
    sandbox.write("recipe.toml", format!("[data]\npairs = \"pairs.jsonl\"\n{recipe}"));
    sandbox.good(&["fit", "recipe.toml", "-o", "run"]);
    // Of twelve test rows, six have no `b`.
    let html = page(&sandbox, "report.html");
    assert!(html.contains("id=\"examples\"") && !html.contains("were tried as queries"));
}
