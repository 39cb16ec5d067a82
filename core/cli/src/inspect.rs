//! `chiasm inspect`: what is in an ONNX file, a run folder, a model card or a plugin.

use crate::{
    args::{GlobalOptions, InspectArgs},
    command_result::{CommandResult, check_unused_options, json},
    plugins, print,
};
use chiasm_graph::Graph;
use chiasm_pipeline::{
    CardInspection, Error, ModelInspection, RunInspection, SizedFile, inspect_card, inspect_onnx, inspect_run,
};
use std::path::Path;

/// The most characters of a metadata value that a table shows.
const LONGEST: usize = 120;

/// What was inspected.
enum Inspected {
    Model(Box<ModelInspection>),
    Run(Box<RunInspection>),
    Card(Box<CardInspection>),
}

/// Runs `chiasm inspect`.
pub fn inspect(args: &InspectArgs, global: &GlobalOptions) -> CommandResult {
    check_unused_options("inspect", global)?;
    let path = &args.path;
    let extension = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    if !path.is_dir() && ["so", "dylib", "dll"].contains(&extension) {
        if args.graph || args.svg.is_some() {
            return Err(without(path, "graph", "leave out --graph and --svg"));
        }
        return plugins::inspect(path, global);
    }
    let (inspected, graph) = read(path, extension)?;
    if args.graph {
        let graph = graph.ok_or_else(|| without(path, "model beside it", "give the .onnx file"))?;
        print::line(graph.to_text().trim_end());
        return Ok(());
    }
    if let Some(target) = &args.svg {
        let Inspected::Run(run) = &inspected else {
            return Err(without(path, "merged model to draw", "give a run folder"));
        };
        std::fs::write(target, &run.svg).map_err(|e| Error::io("write", target, e))?;
        print::note(&format!("wrote {}", target.display()));
    }
    show(&inspected, global);
    Ok(())
}

fn read(path: &Path, extension: &str) -> CommandResult<(Inspected, Option<Graph>)> {
    if path.is_dir() {
        let (run, graph) = inspect_run(path)?;
        return Ok((Inspected::Run(Box::new(run)), Some(graph)));
    }
    if extension == "toml" {
        let (card, graph) = inspect_card(path)?;
        return Ok((Inspected::Card(Box::new(card)), graph));
    }
    let (model, graph) = inspect_onnx(path)?;
    Ok((Inspected::Model(Box::new(model)), Some(graph)))
}

fn without(path: &Path, what: &str, help: &str) -> Error {
    Error::input("chiasm::inspect::none", format!("{} has no {what}", path.display()), help)
}

fn show(inspected: &Inspected, global: &GlobalOptions) {
    match (inspected, json(global)) {
        (Inspected::Model(model), true) => print::json(model),
        (Inspected::Run(run), true) => print::json(run),
        (Inspected::Card(card), true) => print::json(card),
        (Inspected::Model(model), false) => show_model(model),
        (Inspected::Run(run), false) => show_run(run),
        (Inspected::Card(card), false) => show_card(card),
    }
}

fn field(name: &str, value: &str) {
    print::line(&format!("{name:>14}  {value}"));
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

fn file(name: &str, file: &SizedFile) {
    field(name, &format!("{}, {}, sha256 {}", file.file, size(file.bytes), file.sha256));
}

fn show_model(model: &ModelInspection) {
    file("model", &model.model);
    model.external.iter().for_each(|external| file("weights in", external));
    if !model.producer.is_empty() {
        field("produced by", &model.producer);
    }
    field("versions", &format!("operator set {}, ONNX IR {}", model.opset, model.ir_version));
    model.inputs.iter().for_each(|port| field("input", port));
    model.outputs.iter().for_each(|port| field("output", port));
    let count: usize = model.operators.values().sum();
    let mut operators: Vec<(&String, &usize)> = model.operators.iter().collect();
    operators.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let named: Vec<String> = operators.iter().map(|(name, count)| format!("{count} {name}")).collect();
    field("operators", &format!("{count}: {}", named.join(", ")));
    let kinds: Vec<String> = model.parameters.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    field("parameters", &format!("{} in {}", kinds.join(", "), size(model.weight_bytes)));
    for (key, value) in &model.metadata {
        let mut value: String = value.clone();
        if let Some((end, _)) = value.char_indices().nth(LONGEST) {
            value.truncate(end);
            value.push_str("... (--format json prints the whole)");
        }
        field("metadata", &format!("{key} = {value}"));
    }
}

fn show_run(run: &RunInspection) {
    field("made by", &format!("chiasm {} with {}, seed {}", run.chiasm, run.engine, run.seed));
    field("aligner", &run.aligner);
    for encoder in &run.encoders {
        let licence = encoder.licence.as_deref().unwrap_or("a file of vectors");
        let licence = if licence.is_empty() { "not stated" } else { licence };
        field(
            "encoder",
            &format!(
                "{}: {} ({}), {} numbers, licence: {licence}",
                encoder.modality, encoder.name, encoder.adapter, encoder.pooled
            ),
        );
        field("", &encoder.preparation);
    }
    field("licence", &format!("{}. {}", run.licence, run.licence_consequence));
    field("rsum", &format!("{:.1} of {:.0} on the test rows", run.rsum[0], run.rsum[1]));
    show_model(&run.model);
    print::line("");
    let rows = run.files.iter().map(|one| vec![one.file.clone(), size(one.bytes), one.sha256.clone()]);
    print::table(&["file", "size", "sha256"], rows.collect(), 2);
}

fn show_card(found: &CardInspection) {
    let card = &found.card;
    field("name", &card.name);
    field("adapter", &card.adapter);
    field("licence", if card.licence.is_empty() { "not stated" } else { &card.licence });
    field("source", if card.source.is_empty() { "not stated" } else { &card.source });
    field("sha256", &card.sha256);
    for (table, values) in [("ports", &card.ports), ("preprocessing", &card.preprocessing)] {
        for (key, value) in values {
            field(table, &format!("{key} = {value}"));
        }
    }
    match (&found.model, found.matches) {
        (Some(model), matches) => {
            let same = if matches == Some(true) {
                "has the digest of the card"
            } else {
                "does not have the digest of the card"
            };
            field("model", &format!("{} {same}", card.model));
            show_model(model);
        }
        (None, _) => field("model", &format!("{} is not beside the card", card.model)),
    }
}
