//! The model card of a run or an export: `README.md` with front matter for the Hugging Face hub, and
//! `eval_results.yaml` beside it. Both depend on the files of the run only, so that two fits of one recipe
//! write the same.

mod contract;
mod facts;
mod front_matter;
mod licence;
mod preparation;
mod python;
mod results;
mod text;

use super::{evaluate::Metrics, files::DRAWING};
pub use facts::{CardFacts, CardModel, EncoderFacts, Plots, TransformersPreparation, encoders, licences};
pub use licence::LicenceSummary;
pub use preparation::{Channels, Filter, ImageTable, Layout, Resize, TextTable, prepared, usual_name};
use python::PythonProgram;
pub use python::{PreparedModality, prepared_modalities};
use std::fmt::Write as _;
use text::{code, listed, size};
pub use text::{plain, quoted};

/// What the card of an export says besides the card of the run.
pub struct ExportFacts<'a> {
    /// What the export is, in whole sentences.
    pub what: &'a str,
    /// How it is opened, as Markdown; `None` for the program that runs the models with ONNX Runtime.
    pub program: Option<&'a str>,
    /// What was reduced, as the start of a sentence, and the metrics with it, if anything was.
    pub reduced: Option<(String, &'a Metrics)>,
    /// The largest difference of an output from the model of the run, on synthetic inputs.
    pub difference: f32,
    /// The version of the `ai.onnx` operator set.
    pub opset: i64,
}

/// Writes the card of a run or, with `export`, of an export of it. `models` are those in the folder of the
/// card.
pub fn model_card(facts: &CardFacts<'_>, models: &[CardModel], export: Option<&ExportFacts<'_>>) -> String {
    let names = facts.modalities();
    let title = format!("{}, merged", listed(&names));
    let licence = LicenceSummary::of(&licences(facts.encoders.iter().map(EncoderFacts::licensed)));
    let measured = measured(facts, export);
    let mut card = front_matter::front_matter(facts, models, measured, &licence, &title);
    let _ = writeln!(card, "\n# {}\n", plain(&title));
    opening(&mut card, facts, models);
    if let Some(export) = export {
        exported(&mut card, export);
    }
    match export.and_then(|export| export.program) {
        Some(program) => card.push_str(program),
        None => program(&mut card, facts, models),
    }
    contract::encoders(&mut card, facts, &licence);
    contract::ports(&mut card, facts, models);
    contract::preparation(&mut card, facts, models);
    results::metrics(&mut card, facts, measured);
    card.push_str("\n## Limits\n\n");
    results::limits(&mut card, facts);
    results::checks(&mut card, facts);
    origin(&mut card, facts, models);
    card
}

/// Returns the file of results beside the card, for the hub.
pub fn eval_results(facts: &CardFacts<'_>, export: Option<&ExportFacts<'_>>) -> String {
    front_matter::eval_results(facts, measured(facts, export))
}

/// Returns the metrics of the model that is described: those of an export that reduces
/// something.
fn measured<'a>(facts: &'a CardFacts<'_>, export: Option<&ExportFacts<'a>>) -> &'a Metrics {
    export.and_then(|export| export.reduced.as_ref()).map_or(&facts.metrics, |(_, metrics)| *metrics)
}

/// Writes what the model is.
fn opening(card: &mut String, facts: &CardFacts<'_>, models: &[CardModel]) {
    let files: Vec<String> = models.iter().map(|model| code(&model.file)).collect();
    let count = facts.manifest.modalities.len();
    let maps = if files.len() == 1 { "maps" } else { "map" };
    let encoders: Vec<String> = facts.encoders.iter().map(|encoder| plain(encoder.name)).collect();
    let _ = writeln!(
        card,
        "{} {maps} items of {count} modalities ({}) into one space, where matching items lie close together. \
         Frozen encoders ({}) were joined by maps that the aligner `{}` learned from pairs; the encoders \
         were not trained.",
        listed(&files),
        listed(&facts.modalities().iter().map(|name| plain(name)).collect::<Vec<_>>()),
        listed(&encoders),
        facts.learned.plugin.replace('`', "'"),
    );
    let fused = models
        .iter()
        .flat_map(|model| &model.outputs)
        .any(|port| Some(&port.name) == facts.manifest.fused.as_ref());
    if let (true, Some(fuse)) = (fused, &facts.recipe.fuse) {
        let _ = writeln!(
            card,
            "The fusion {} makes one vector of all modalities of a row.",
            code(&fuse.id.value)
        );
    }
    if facts.plots.drawing {
        let _ = writeln!(card, "\n![The merged model]({DRAWING})");
    }
}

/// Writes what the export is.
fn exported(card: &mut String, export: &ExportFacts<'_>) {
    let _ = write!(card, "\n## Export\n\n{}", export.what);
    match &export.reduced {
        Some((what, _)) => {
            let _ = write!(
                card,
                " {what}, and the results below were measured with them; the checks are those of the run."
            );
        }
        None => card.push_str(" Its weights have the precision of the run."),
    }
    let _ = writeln!(
        card,
        " It is written in version {} of the ONNX operator set. The outputs differ from those of the run's \
         model by at most {:.1e} on synthetic inputs.",
        export.opset, export.difference
    );
}

/// Writes how the model is run in Python.
fn program(card: &mut String, facts: &CardFacts<'_>, models: &[CardModel]) {
    let program = PythonProgram::of(facts, models);
    card.push_str("\n## How to run it\n");
    if let Some(code) = &program.code {
        let _ = writeln!(
            card,
            "\nThis program needs Python with {}. Start it in the folder of this file.\n\n\
             ```python\n{code}```",
            program.packages.join(", ")
        );
    }
    for (modality, reason) in &program.left_out {
        let _ = writeln!(
            card,
            "\nThe items of {} cannot be prepared with that program: {}. Chiasm can do it: `chiasm run RUN \
             --{} ITEM -o outputs.npz`.",
            plain(modality),
            plain(reason),
            modality.replace('`', "'")
        );
    }
    if facts.encoders.iter().all(|encoder| encoder.adapter != "image") {
        return;
    }
    card.push_str(
        "\nThe outputs agree with those of `chiasm run` within 1e-4. Decoders of JPEG differ, so for a JPEG \
         file an embedding may differ by some hundredths of its length.\n",
    );
}

/// Writes how the model was made, and the digests of its files.
fn origin(card: &mut String, facts: &CardFacts<'_>, models: &[CardModel]) {
    let manifest = facts.manifest;
    let _ = writeln!(
        card,
        "\n## Origin and digests\n\nMade by Chiasm {} with {}, seed {}. The key of the run, a digest of \
         everything that it depends on, is {}.\n",
        plain(&manifest.chiasm),
        plain(&manifest.engine),
        manifest.seed,
        code(&manifest.key)
    );
    card.push_str("| file or input | sha256 |\n|---|---|\n");
    let files = models.iter().flat_map(|model| &model.digests).map(|(name, digest)| (name, digest));
    for (name, digest) in files.chain(&manifest.inputs) {
        let _ = writeln!(card, "| {} | {} |", plain(name), code(digest));
    }
    card.push_str("\nSize of the weights: ");
    let sizes: Vec<String> =
        models.iter().map(|model| format!("{} {}", plain(&model.file), size(model.weight_bytes))).collect();
    let _ = writeln!(card, "{}.", sizes.join(", "));
}
