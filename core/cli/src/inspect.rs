//! `chiasm inspect`: what is in an ONNX file, a run folder, an export, a model card or a plugin.

use crate::{
    args::{GlobalOptions, InspectArgs},
    command_result::{CommandResult, check_unused_options, json},
    plugins, print,
};
use chiasm_graph::Graph;
use chiasm_pipeline::{
    CardInspection, EncoderInspection, Error, ExportInspection, ModelInspection, RunInspection, SizedFile,
    inspect_card, inspect_export, inspect_onnx, inspect_run, is_export,
};
use std::{collections::BTreeMap, path::Path};

/// The most characters of a metadata value that a table shows.
const LONGEST: usize = 120;

/// What was inspected.
enum Inspected {
    Model(Box<ModelInspection>),
    Run(Box<RunInspection>),
    Export(Box<ExportInspection>),
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
    let (inspected, graphs) = read(path, extension)?;
    if args.graph {
        if graphs.is_empty() {
            return Err(without(path, "model beside it", "give the .onnx file"));
        }
        for (file, graph) in &graphs {
            if graphs.len() > 1 {
                print::line(&format!("file {file}"));
            }
            print::line(graph.to_text().trim_end());
        }
        return Ok(());
    }
    if let Some(target) = &args.svg {
        let svg = match &inspected {
            Inspected::Run(run) => &run.svg,
            Inspected::Export(export) => &export.svg,
            Inspected::Model(_) | Inspected::Card(_) => {
                return Err(without(path, "merged model to draw", "give a run folder or an export"));
            }
        };
        std::fs::write(target, svg).map_err(|e| Error::io("write", target, e))?;
        print::note(&format!("wrote {}", target.display()));
    }
    show(&inspected, global);
    Ok(())
}

/// Reads what a path leads to, and the graphs of its models by their files.
fn read(path: &Path, extension: &str) -> CommandResult<(Inspected, BTreeMap<String, Graph>)> {
    let one = |graph: Graph| BTreeMap::from([(String::new(), graph)]);
    if is_export(path) {
        let (export, graphs) = inspect_export(path)?;
        return Ok((Inspected::Export(Box::new(export)), graphs));
    }
    if path.is_dir() && !path.join("manifest.json").exists() {
        let message = format!("{} is neither a run nor an export", path.display());
        let help =
            "a run has a file manifest.json, and an export has export.json; give such a folder or a file";
        return Err(Error::input("chiasm::inspect::none", message, help));
    }
    if path.is_dir() {
        let (run, graph) = inspect_run(path)?;
        return Ok((Inspected::Run(Box::new(run)), one(graph)));
    }
    if extension == "toml" {
        let (card, graph) = inspect_card(path)?;
        return Ok((Inspected::Card(Box::new(card)), graph.map(one).unwrap_or_default()));
    }
    let (model, graph) = inspect_onnx(path)?;
    Ok((Inspected::Model(Box::new(model)), one(graph)))
}

fn without(path: &Path, what: &str, help: &str) -> Error {
    Error::input("chiasm::inspect::none", format!("{} has no {what}", path.display()), help)
}

fn show(inspected: &Inspected, global: &GlobalOptions) {
    match (inspected, json(global)) {
        (Inspected::Model(model), true) => print::json(model),
        (Inspected::Run(run), true) => print::json(run),
        (Inspected::Export(export), true) => print::json(export),
        (Inspected::Card(card), true) => print::json(card),
        (Inspected::Model(model), false) => show_model(model),
        (Inspected::Run(run), false) => show_run(run),
        (Inspected::Export(export), false) => show_export(export),
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
    run.encoders.iter().for_each(show_encoder);
    field("licence", &format!("{}. {}", run.licence, run.licence_consequence));
    field("rsum", &format!("{:.1} of {:.0} on the test rows", run.rsum[0], run.rsum[1]));
    show_model(&run.model);
    show_files(&run.files);
}

fn show_export(export: &ExportInspection) {
    field("export", &export.what);
    let made = format!("chiasm {} with {}, seed {}", export.chiasm, export.engine, export.seed);
    field("run made by", &made);
    field("aligner", &export.aligner);
    export.encoders.iter().for_each(show_encoder);
    for (modality, reason) in &export.left_out {
        field("left out", &format!("{modality}: {reason}"));
    }
    field("licence", &format!("{}. {}", export.licence, export.licence_consequence));
    field("rsum", &format!("{:.1} of {:.0} on the test rows", export.rsum[0], export.rsum[1]));
    for model in export.models.values() {
        print::line("");
        show_model(model);
    }
    show_files(&export.files);
}

fn show_encoder(encoder: &EncoderInspection) {
    let licence = encoder.licence.as_deref().unwrap_or("a file of vectors");
    let licence = if licence.is_empty() { "not stated" } else { licence };
    let what = format!(
        "{}: {} ({}), {} numbers, licence: {licence}",
        encoder.modality, encoder.name, encoder.adapter, encoder.pooled
    );
    field("encoder", &what);
    field("", &encoder.preparation);
}

fn show_files(files: &[SizedFile]) {
    print::line("");
    let rows = files.iter().map(|one| vec![one.file.clone(), size(one.bytes), one.sha256.clone()]);
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
