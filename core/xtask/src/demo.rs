//! The examples as commands: the demo, questions and flickr1k.

use crate::{
    provision,
    shell::{CommandResult, print_stderr, root, run_command},
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

const SCENES: &str = "5000";
const SEED: &str = "2026"; // No encoder was trained on this world.
const TEST_ROW: usize = 4; // Of the test split: neither the maps nor the encoders were fitted to it.

/// Builds the workspace, generates the world, merges the two demo encoders, and searches with the merged
/// model.
pub fn run() -> CommandResult {
    let chiasm = provision::build()?;
    let clock = Instant::now();
    let folder = provision::target().join("demo");
    let world = folder.join("world");
    let run = folder.join("run");
    run_command(built("world").args(["--count", SCENES, "--seed", SEED, "--out"]).arg(&world))?;
    let recipe = "examples/demo/recipe.toml";
    let pairs = format!("data.pairs={}", root().join(&world).join("pairs.jsonl").display());
    run_command(command(&chiasm).arg("fit").arg(recipe).args(["--set", &pairs, "-o"]).arg(&run))?;
    run_command(command(&chiasm).arg("eval").arg(&run))?;
    let (question, picture) = caption(&world, TEST_ROW)?;
    print_stderr(&format!(
        "\nWhich pictures does the merged model find for a caption it never saw?\n  {question:?} (of \
         {picture})"
    ));
    let strip = folder.join("strip.png");
    run_command(
        command(&chiasm)
            .arg("search")
            .arg(&run)
            .args(["--text", &question, "--top", "5", "--strip"])
            .arg(&strip),
    )?;
    print_stderr(&format!(
        "\n{:.0} s after the build. The merged model: {}",
        clock.elapsed().as_secs_f64(),
        run.join("model.onnx").display()
    ));
    Ok(())
}

/// The first caption of a row of the world, and the picture that it describes.
fn caption(world: &Path, row: usize) -> CommandResult<(String, String)> {
    let path = root().join(world).join("pairs.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let line = text.lines().nth(row).ok_or_else(|| format!("{} has no row {row}", path.display()))?;
    let value: serde_json::Value =
        serde_json::from_str(line).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let both = text(&value["captions"][0]).zip(text(&value["image"]));
    both.ok_or_else(|| format!("row {row} of {} has no caption or no picture", path.display()))
}

/// A program of the workspace build. `cargo run --package` would resolve other features and compile again.
fn built(name: &str) -> Command {
    command(&root().join(provision::target()).join("debug").join(name))
}

/// Returns a program to be started in the root folder.
pub fn command(chiasm: &Path) -> Command {
    let mut command = Command::new(chiasm);
    command.current_dir(root());
    command
}

/// The number of test rows whose attention is compared with the objects asked about.
const ATTENTION_ROWS: usize = 1000;

/// Fits and evaluates the questions example, then draws and scores the attention of some test rows.
pub fn questions(extra: &[String]) -> CommandResult {
    let chiasm = provision::build()?;
    let folder = provision::target().join("questions");
    let (quiz, run) = (folder.join("quiz"), folder.join("run"));
    run_command(built("questions").arg("--out").arg(&quiz))?;
    let pairs = format!("data.pairs={}", root().join(&quiz).join("pairs.jsonl").display());
    let recipe = "examples/questions/recipe.toml";
    run_command(
        command(&chiasm).arg("fit").arg(recipe).args(["--set", &pairs]).args(extra).arg("-o").arg(&run),
    )?;
    run_command(command(&chiasm).arg("eval").arg(&run))?;
    let rows = held_out(&quiz, ATTENTION_ROWS)?;
    let (svg, outputs) = (folder.join("attention.svg"), folder.join("outputs.json"));
    let output = command(&chiasm)
        .args(["run", "--format", "json", "--input"])
        .arg(&rows)
        .arg("--attention")
        .arg(&svg)
        .arg(&run)
        .output()
        .map_err(|e| format!("cannot start {}: {e}", chiasm.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let write = |path: &Path, bytes: &[u8]| {
        std::fs::write(root().join(path), bytes).map_err(|e| format!("{}: {e}", path.display()))
    };
    write(&outputs, &output.stdout)?;
    run_command(built("attention_overlap").arg("--rows").arg(&rows).arg("--outputs").arg(&outputs))?;
    print_stderr(&format!("attention maps: {}", svg.display()));
    Ok(())
}

/// Writes the first test rows of a quiz to a file in its folder, and returns the file.
fn held_out(quiz: &Path, count: usize) -> CommandResult<PathBuf> {
    let quiz = root().join(quiz);
    let text =
        std::fs::read_to_string(quiz.join("pairs.jsonl")).map_err(|e| format!("{}: {e}", quiz.display()))?;
    let rows: Vec<&str> =
        text.lines().filter(|line| line.contains("\"split\":\"test\"")).take(count).collect();
    let path = quiz.join("held_out.jsonl");
    std::fs::write(&path, rows.join("\n") + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

/// Returns the folder of the real encoders and pairs, which are not in the repository: `CHIASM_REAL`, or
/// `../shared/real`.
pub fn real() -> Option<PathBuf> {
    let folder = chiasm_testing::real_folder();
    folder.join("flickr1k/pairs.jsonl").is_file().then_some(folder)
}

/// Makes the whole flickr1k table: closed-form methods x protocols, with one and two image encoders; then the
/// trained methods, with one.
pub fn flickr1k(extra: &[String]) -> CommandResult {
    let real = real().ok_or(
        "flickr1k needs its encoders and pairs: examples/flickr1k/README.md says how to get them; name their \
         folder in CHIASM_REAL",
    )?;
    let chiasm = provision::build()?;
    let pairs = format!("data.pairs={}", real.join("flickr1k/pairs.jsonl").display());
    let compare = |swaps: &[&str]| {
        let mut table = command(&chiasm);
        table.env("CHIASM_MODELS", real.join("models")).args(["compare", "examples/flickr1k/recipe.toml"]);
        table.args(["--set", &pairs, "--swap", "encoders.text.items=first,mean"]);
        swaps.iter().for_each(|swap| {
            table.args(["--swap", swap]);
        });
        run_command(table.args(extra))
    };
    compare(&[
        r#"encoders.image.model=["mobilenetv2", ["mobilenetv2", "squeezenet11"]]"#,
        "align.plugin=mean-vector,procrustes,ot-map,ridge,cca,kcca",
    ])?;
    compare(&["align.plugin=mlp,cycle"])
}
