//! The artifacts of a run, and its manifest.

use crate::{
    Error, Plan, Recipe, Workbench,
    card::{hex, sha256_of},
    checks::Checked,
    compose::{FUSED, embeds},
    evaluate::Metrics,
    fit::{Merged, input_names},
    folder::{Draft, EncoderManifest, Manifest, ModalityManifest, RowCounts},
    prove::Proof,
};
use chiasm_graph::Graph;
use chiasm_host::EncoderSpec;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

/// The merged model's file in a run.
pub const MODEL: &str = "model.onnx";
/// The way back's file in a run, where there is one.
pub const INVERSE: &str = "aligner/inverse.onnx";
/// The fusion's file in a run, where there is one.
pub const FUSION: &str = "fusion.onnx";
/// What the aligner chose and said, in a run.
pub const LEARNED: &str = "aligner/learned.json";
/// The checks' file in a run.
pub const CHECKS: &str = "checks.json";
/// The metrics' file in a run.
pub const METRICS: &str = "metrics.json";

/// What a recipe's text leaves open: where its relative paths start, and what was set on the command line.
pub const LOCK: &str = "recipe.lock";

/// The content of [`LOCK`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lock {
    /// The folder that relative paths of the recipe start from.
    pub folder: PathBuf,
    /// The `--set` assignments, in order.
    pub overrides: Vec<String>,
}

impl Lock {
    fn of(recipe: &Recipe) -> Result<Self, Error> {
        let folder = std::path::absolute(&recipe.folder).map_err(|e| Error::io("find", &recipe.folder, e))?;
        Ok(Self { folder, overrides: recipe.overrides.clone() })
    }
}

/// Writes everything but the manifest.
///
/// # Errors
/// When the disk refuses.
pub fn artifacts(
    draft: &Draft,
    plan: &Plan,
    merged: &Merged,
    metrics: &Metrics,
    proof: &Proof,
    checked: &Checked,
) -> Result<(), Error> {
    save(draft, MODEL, &merged.graph)?;
    for (modality, graph) in plan.modalities.iter().zip(&merged.encoders) {
        save(draft, &format!("encoders/{}.onnx", modality.name), graph)?;
    }
    for head in merged.maps.heads() {
        save(draft, &format!("aligner/{}.onnx", head.modality), &head.graph()?)?;
    }
    let learned = &merged.maps.learned;
    if let Some(inverse) = &learned.inverse {
        save(draft, INVERSE, &inverse.graph)?;
    }
    let mut aligner = json!({
        "plugin": plan.recipe.align.plugin.id.value,
        "source": plan.modalities[0].name,
        "target": plan.modalities[1].name,
        "parameters": learned.parameters,
        "notes": learned.notes,
        "inverse": learned.inverse.as_ref().map(|i| i.kind),
    });
    if let Some(fusion) = &merged.fusion {
        save(draft, FUSION, &fusion.graph)?;
        aligner["fusion"] = json!(fusion.notes);
    }
    draft.write_json(LEARNED, &aligner)?;
    for (folder, encoder) in folders(plan).iter().zip(plan.modalities.iter().flat_map(|m| &m.encoders)) {
        if let Some(found) = &encoder.card {
            let text = std::fs::read(&found.card_path).map_err(|e| Error::io("read", &found.card_path, e))?;
            draft.write(&format!("{folder}/card.toml"), text)?;
        }
        for (name, path) in &encoder.files {
            let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
            draft.write(&format!("{folder}/{name}"), bytes)?;
        }
    }
    draft.write("recipe.toml", &plan.recipe.text)?;
    draft.write_json(LOCK, &Lock::of(&plan.recipe)?)?;
    draft.write_json(METRICS, metrics)?;
    let checks = json!({ "verdict": checked.verdict, "merged": proof, "maps": checked.maps });
    draft.write_json(CHECKS, &checks)?;
    draft.write("README.md", readme(plan, metrics, proof))
}

fn save(draft: &Draft, name: &str, graph: &Graph) -> Result<(), Error> {
    let path = draft.folder().join(name);
    let parent = path.parent().unwrap_or(draft.folder());
    std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    graph.save(&path).map_err(Error::graph(format!("writing {name}")))?;
    Ok(())
}

/// The folder in the run of every encoder, source modality first.
fn folders(plan: &Plan) -> Vec<String> {
    (plan.modalities.iter())
        .flat_map(|m| m.encoders.iter().map(move |e| format!("preprocessing/{}/{}", m.name, e.name)))
        .collect()
}

/// The manifest, but for the hashes of what was written.
///
/// # Errors
/// When an input cannot be read again.
pub fn manifest(
    plan: &Plan,
    merged: &Merged,
    proof: &Proof,
    key: String,
    rows: RowCounts,
    bench: &Workbench,
) -> Result<Manifest, Error> {
    let mut names = input_names(plan).into_iter();
    let mut folders = folders(plan).into_iter();
    let modalities = (plan.modalities.iter())
        .map(|modality| ModalityManifest {
            name: modality.name.clone(),
            output: embeds(&modality.name),
            encoders: (modality.encoders.iter())
                .map(|encoder| EncoderManifest {
                    name: encoder.name.clone(),
                    folder: folders.next().unwrap_or_default(),
                    adapter: encoder.adapter_id.clone(),
                    inputs: names.next().unwrap_or_default().into_iter().collect(),
                    spec: portable(&encoder.spec, encoder.card.is_some()),
                })
                .collect(),
        })
        .collect();
    let mut inputs = BTreeMap::new();
    for encoder in plan.modalities.iter().flat_map(|m| &m.encoders) {
        if let Some(found) = &encoder.card {
            inputs.insert(format!("model {}", encoder.name), found.card.sha256.clone());
        }
    }
    if let Some(pairs) = &plan.recipe.data.pairs {
        let path = plan.recipe.path(&pairs.value);
        inputs.insert("pairs".to_owned(), sha256_of(&path).map_err(|e| Error::io("read", &path, e))?);
    }
    let aligner = bench.host.aligner(&plan.recipe.align.plugin.id.value)?;
    inputs.insert(format!("plugin {}", plan.recipe.align.plugin.id.value), hex(aligner.sha256()));
    Ok(Manifest {
        chiasm: env!("CARGO_PKG_VERSION").to_owned(),
        key,
        engine: bench.engine_identity()?,
        provider: proof.provider.clone(),
        seed: plan.recipe.seed,
        modalities,
        fused: merged.fusion.as_ref().map(|_| FUSED.to_owned()),
        task: plan.task.as_ref().map(|plan| plan.task.clone()),
        rows,
        inputs,
        frozen_weights: proof.frozen_weights.clone(),
        outputs: BTreeMap::new(),
    })
}

/// The adapter's specification without this machine's folder: the run has all its files, but not vectors.
fn portable(spec: &EncoderSpec, has_card: bool) -> EncoderSpec {
    let directory = if has_card { PathBuf::new() } else { spec.directory.clone() };
    EncoderSpec { directory, ..spec.clone() }
}

/// The model card of the merged model.
fn readme(plan: &Plan, metrics: &Metrics, proof: &Proof) -> String {
    let cards: Vec<_> = plan
        .modalities
        .iter()
        .flat_map(|m| &m.encoders)
        .filter_map(|e| Some(&e.card.as_ref()?.card))
        .collect();
    let mut text = String::from("---\nbase_model:\n");
    for card in &cards {
        let _ = writeln!(text, "- {}", card.name);
    }
    text.push_str("base_model_relation: merge\nlibrary_name: onnx\n---\n");
    let [source, target] = &plan.modalities;
    let _ = write!(
        text,
        "# {} and {}, merged\n\n`model.onnx` maps both modalities into one space: the score of a pair is the dot product of `{}` and `{}`.\n\n",
        source.name,
        target.name,
        embeds(&source.name),
        embeds(&target.name)
    );
    text.push_str("| direction | recall@1 | recall@5 | recall@10 | mrr |\n|---|---|---|---|---|\n");
    for (direction, scored) in &metrics.retrieval {
        let f = scored.figures;
        let _ = writeln!(
            text,
            "| {direction} | {:.3} | {:.3} | {:.3} | {:.3} |",
            f.recall_at_1, f.recall_at_5, f.recall_at_10, f.mrr
        );
    }
    let shuffled = metrics.shuffled_pairs.as_ref().map_or(f64::NAN, |c| c.rsum);
    let _ = write!(
        text,
        "\nMeasured on {} held-out pairs; rsum {:.1} of 600; with shuffled training pairs {:.1}.\n",
        metrics.pairs, metrics.rsum, shuffled
    );
    let worst = proof.staged_against_merged.values().copied().fold(0.0, f32::max);
    let _ = write!(
        text,
        "The merged model reproduces its parts to {worst:.1e} on {} rows; the encoders' weights are as they were.\n\n## Parts\n\n",
        proof.rows
    );
    for card in &cards {
        let _ = writeln!(text, "- {}: {} (licence: {})", card.name, card.source, card.licence);
    }
    text
}
