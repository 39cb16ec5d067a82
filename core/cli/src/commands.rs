//! The commands on recipes and runs. Each calls the pipeline and prints the result.

use crate::{
    CommandResult,
    args::{self, FitFlags, GlobalOptions, RecipeArgs, RunArgs},
    attention_svg, check, image_strip, json,
    modality_flags::ModalityValues,
    print, robustness,
};
use chiasm_graph::Storage;
use chiasm_pipeline::{
    Environment, Error, ExportLayout, ExportOptions, FitOptions, Plan, PreparedItems, RawInputs, RawItem,
    Recipe, Run, RunOutputs,
};
use serde_json::{Value, json as object};
use std::{collections::BTreeMap, path::Path};

fn checked(args: &RecipeArgs, env: &Environment) -> CommandResult<Plan> {
    Plan::check(Recipe::load(&args.recipe, &args.overrides)?, env)
}

/// Runs `chiasm plan`.
pub fn plan(args: &RecipeArgs, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let report = checked(args, env)?.report();
    if json(global) {
        print::json(&report)
    } else {
        print::plan(&report)
    }
    Ok(())
}

/// The hint for a fit whose checks failed.
const FAILED: &str = "; the run folder was written: `chiasm check RUN` shows the reasons, and `[checks]` in \
                      the recipe sets other limits";

/// Runs `chiasm fit`.
pub fn fit(
    args: &RecipeArgs,
    output: &Path,
    flags: &FitFlags,
    global: &GlobalOptions,
    env: &Environment,
) -> CommandResult {
    env.engine()?; // fails early if the engine is missing
    let overrides = check::overrides(&args.overrides, flags.allow_unknown);
    let plan = Plan::check(Recipe::load(&args.recipe, &overrides)?, env)?;
    let (skip_bad, force) = (flags.skip_bad, flags.force);
    let options = FitOptions { output: output.to_path_buf(), skip_bad, force };
    let fitted = chiasm_pipeline::fit(&plan, env, &options)?;
    let swept = chiasm_pipeline::stored_robustness(&fitted.run)?;
    if json(global) {
        print::json(&object!({
            "run": fitted.run,
            "fresh": fitted.fresh,
            "seconds": fitted.timings,
            "failed_checks": fitted.failed,
            "unknown_checks": fitted.unknown,
            "robustness": swept,
        }));
        return check::gate(&fitted.failed, &fitted.unknown, output, FAILED);
    }
    let outcome = if fitted.fresh { "wrote" } else { "up to date (use --force to fit again):" };
    print::line(&format!("{outcome} {}", output.display()));
    for (stage, seconds) in fitted.timings.iter() {
        print::line(&format!("{stage:>10}  {seconds:6.2} s"));
    }
    swept.iter().for_each(robustness::print);
    check::gate(&fitted.failed, &fitted.unknown, output, FAILED)
}

/// Runs `chiasm run`.
pub fn run(
    args: &RunArgs,
    given: &ModalityValues,
    attention: Option<&Path>,
    global: &GlobalOptions,
    env: &Environment,
) -> CommandResult {
    let opened = Run::open(&args.run, env)?;
    let inputs = inputs(&opened, args, given, env)?;
    let outputs = opened.run(&inputs, attention.is_some())?;
    let predictions = predictions(&opened, &outputs);
    if let Some(path) = attention {
        attention_svg::write(&inputs, &outputs, &predictions, path)?;
        env.reporter.note(&format!("wrote {}", path.display()));
    }
    if let Some(path) = &args.output {
        chiasm_pipeline::write_npz(path, &outputs)?;
        print::line(&path.display().to_string());
        return Ok(());
    }
    if json(global) {
        let scores = scores(&opened, &outputs);
        print::json(&object!({ "outputs": nested(&outputs), "scores": scores, "answers": predictions }));
        return Ok(());
    }
    let rows = (outputs.iter())
        .map(|(name, matrix)| {
            let head: Vec<String> = matrix.iter().take(4).map(|v| format!("{v:.4}")).collect();
            vec![
                name.clone(),
                format!("{} x {}", matrix.nrows(), matrix.ncols()),
                format!("{} ...", head.join(" ")),
            ]
        })
        .collect();
    print::table(&["output", "shape", "begins"], rows, 3);
    for (row, prediction) in predictions.iter().enumerate() {
        print::line(&format!("answer {}: {prediction}", row + 1));
    }
    for (pair, scores) in scores(&opened, &outputs) {
        print::line(&format!("scores of {pair} (rows: the first, columns: the second):"));
        for row in scores {
            print::line(&row.iter().map(|s| format!("{s:8.4}")).collect::<Vec<_>>().join(" "));
        }
    }
    Ok(())
}

/// Returns the fusion's prediction for each row as text; empty if the run has no task with labels.
fn predictions(opened: &Run<'_>, outputs: &RunOutputs) -> Vec<String> {
    let task = opened.manifest.task.as_ref();
    let Some((task, logits)) = task.zip(outputs.get("logits")) else { return Vec::new() };
    logits.outer_iter().map(|row| print::prediction(task, &row.to_vec())).collect()
}

/// Returns the scores of every item of one modality with every item of another, for each pair of given
/// modalities.
fn scores(opened: &Run<'_>, outputs: &RunOutputs) -> BTreeMap<String, Vec<Vec<f32>>> {
    let given: Vec<_> =
        opened.manifest.modalities.iter().filter_map(|m| Some((&m.name, outputs.get(&m.output)?))).collect();
    let mut scores = BTreeMap::new();
    for (at, (first, own)) in given.iter().enumerate() {
        for (second, other) in &given[at + 1..] {
            let table = own.dot(&other.t()).outer_iter().map(|row| row.to_vec()).collect();
            scores.insert(format!("{first}->{second}"), table);
        }
    }
    scores
}

fn nested(outputs: &RunOutputs) -> BTreeMap<&str, Vec<Vec<f32>>> {
    outputs
        .iter()
        .map(|(name, m)| (name.as_str(), m.outer_iter().map(|row| row.to_vec()).collect()))
        .collect()
}

/// Reads the raw items from the flags, or from a table with a column per modality.
fn inputs(
    opened: &Run<'_>,
    args: &RunArgs,
    given: &ModalityValues,
    env: &Environment,
) -> CommandResult<RawInputs> {
    let names = opened.names();
    if let Some(path) = &args.input {
        if let Some(flag) = given.keys().find(|name| !given[*name].is_empty()) {
            let help = "put all raw items into the table, or give all as flags";
            let message = format!("--{flag} cannot be used together with --input {}", path.display());
            return Err(Error::input("chiasm::run::two_sources", message, help));
        }
        let table = opened.read_table(path)?;
        let missing: Vec<&str> = names.into_iter().filter(|name| !table.contains_key(*name)).collect();
        if !missing.is_empty() {
            let note =
                format!("{} has no column {}: absent from every row", path.display(), missing.join(", "));
            env.reporter.note(&note);
        }
        return Ok(table);
    }
    if given.values().all(Vec::is_empty) {
        let flags: Vec<String> = names.iter().map(|n| format!("--{n} ...")).collect();
        return Err(Error::input(
            "chiasm::run::no_input",
            "no raw item was given",
            format!("give {}", flags.join(" or ")),
        ));
    }
    (given.iter())
        .map(|(name, values)| {
            let takes = opened.takes(name)?;
            let read = |value: &String| {
                RawItem::parse(value, takes, Path::new("")).map_err(|what| {
                    let help = "for a file of vectors, give a row number, counted from 0";
                    Error::input("chiasm::run::row", format!("--{name}: {what}"), help)
                })
            };
            Ok((name.clone(), values.iter().map(read).collect::<CommandResult<_>>()?))
        })
        .collect()
}

/// What to search for.
pub struct SearchRequest<'a> {
    /// The modality to search.
    pub among: Option<&'a str>,
    /// The number of results.
    pub top: usize,
    /// The PNG file for the images found.
    pub strip: Option<&'a Path>,
}

/// Runs `chiasm search`.
pub fn search(
    args: &RunArgs,
    given: &ModalityValues,
    request: &SearchRequest<'_>,
    global: &GlobalOptions,
    env: &Environment,
) -> CommandResult {
    let opened = Run::open(&args.run, env)?;
    let inputs = inputs(&opened, args, given, env)?;
    let others: Vec<&str> = opened.names().into_iter().filter(|name| !inputs.contains_key(*name)).collect();
    let among = match (request.among, others.as_slice()) {
        (Some(among), _) => among,
        (None, [only]) => only,
        (None, []) => {
            let help = "leave out the modality that is searched";
            return Err(Error::input("chiasm::search::modality", "the query holds every modality", help));
        }
        (None, several) => {
            let message = format!("the run has {} other modalities, and --in is missing", several.len());
            let help = format!("name the one to search: --in {}", several.join(" or --in "));
            return Err(Error::input("chiasm::search::modality", message, help));
        }
    };
    let found = opened.search(&inputs, among, request.top)?;
    if json(global) {
        let rows: Vec<Value> = (found.iter())
            .map(|one| object!({ "item": one.item.describe(), "row": one.row, "score": one.score }))
            .collect();
        print::json(&rows);
    } else {
        let rows = (found.iter().enumerate())
            .map(|(rank, one)| vec![(rank + 1).to_string(), format!("{:.4}", one.score), one.item.describe()])
            .collect();
        print::table(&["rank", "score", "item"], rows, 0);
    }
    if let Some(target) = request.strip {
        let paths: Vec<_> = found.iter().filter_map(|one| one.item.path().map(Path::to_path_buf)).collect();
        image_strip::write(&paths, target)?;
        env.reporter.note(&format!("wrote {}", target.display()));
    }
    Ok(())
}

/// Runs `chiasm export`.
pub fn export(
    run: &Path,
    args: &args::ExportArgs,
    output: &Path,
    global: &GlobalOptions,
    env: &Environment,
) -> CommandResult {
    let layout = match args.layout {
        args::LayoutArg::Onnx => ExportLayout::Merged,
        args::LayoutArg::Towers => ExportLayout::Towers,
        args::LayoutArg::Triton => ExportLayout::Triton,
        args::LayoutArg::Hf => ExportLayout::HuggingFace,
        args::LayoutArg::SentenceTransformers => ExportLayout::SentenceTransformers,
        args::LayoutArg::TransformersJs => ExportLayout::TransformersJs,
    };
    let weights = args.weights.map(|weights| match weights {
        args::WeightsArg::Fp16 => Storage::Fp16,
        args::WeightsArg::Int8 => Storage::Int8,
    });
    let preprocessing = args.with_preprocessing.map(|items| match items {
        args::PreparedArg::All => PreparedItems::All,
        args::PreparedArg::Image => PreparedItems::Pictures,
        args::PreparedArg::Text => PreparedItems::Texts,
    });
    let (dimensions, opset) = (args.dimensions, args.opset);
    let options = ExportOptions { layout, weights, dimensions, opset, preprocessing };
    let exported = chiasm_pipeline::export(run, options, output, env)?;
    if json(global) {
        print::json(&exported)
    } else {
        print::exported(&exported, output)
    }
    Ok(())
}
