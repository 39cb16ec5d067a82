//! The plan: a recipe whose models, plugins and data were found and checked.
//!
//! Only a plan can be fitted, so all problems in a recipe are reported together, before anything is embedded.

pub mod corruption;
pub mod data;
mod modality;
mod more_rows;
pub mod new_recipe;
pub mod report;
pub mod task;

use crate::{
    base::{
        environment::Environment,
        error::Error,
        problem::{Problem, Problems},
    },
    catalog::{
        card::ModelStore,
        encoder::Encoder,
        shards::Shards,
        trial::{Trial, trial},
    },
    recipe::{
        PluginRecipe, Recipe,
        encoders::{EncoderRecipe, ItemRule},
        tree,
    },
};
use chiasm_graph::OPSET;
use chiasm_host::{FusionNeeds, HostError, Parameter};
use corruption::CorruptionPlan;
use data::{ModalityColumn, RecipeData};
pub use modality::ModalityEncoders;
use report::PlanReport;
use std::{collections::BTreeSet, sync::Arc};
use task::check_needs;

/// A checked recipe.
pub struct Plan {
    /// The recipe.
    pub recipe: Recipe,
    /// The modalities, in the order of the recipe.
    pub modalities: Vec<ModalityEncoders>,
    /// The rows, and the items of every modality.
    pub data: RecipeData,
    /// The modalities whose training or test items are corrupted.
    pub corruption: CorruptionPlan,
    /// Whether the fusion reads tokens.
    pub reads_tokens: bool,
    /// More training rows, which are summed and not kept.
    pub shards: Option<Arc<Shards>>,
    /// What was learned about each encoder by running it, in the order of the modalities.
    trials: Vec<Trial>,
}

impl Plan {
    /// Finds and checks everything that the recipe names, and runs every encoder on a few items.
    ///
    /// # Errors
    /// Every problem in the recipe.
    pub fn check(recipe: Recipe, env: &Environment) -> Result<Self, Error> {
        let mut problems = Problems::default();
        let store = ModelStore::new(&recipe.folder, &env.models);
        let mut modalities = Vec::new();
        for encoder in &recipe.encoders {
            let encoders = open(encoder, &recipe, &store, env, &mut problems);
            modalities.extend(encoders.map(|encoders| ModalityEncoders {
                name: encoder.modality.value.clone(),
                rule: encoder.items.value,
                train_rule: encoder.train_items.value,
                encoders,
            }));
        }
        let corruption = CorruptionPlan::open(&recipe, &modalities, env, &mut problems);
        check_aligner(env, &recipe.align.plugin, ("align", recipe.encoders.len()), &mut problems);
        for (_, baseline) in recipe.robustness.iter().flat_map(|robustness| &robustness.baselines) {
            check_aligner(env, baseline, ("robustness.baselines", recipe.encoders.len()), &mut problems);
        }
        let needs = check_fusion(env, &recipe, &mut problems);
        check_opsets(modalities.iter().flat_map(|m| &m.encoders), &mut problems);
        let mut data = None;
        if modalities.len() == recipe.encoders.len() {
            let columns: Vec<ModalityColumn<'_>> = modalities.iter().map(ModalityColumn::of).collect();
            match RecipeData::read(&recipe, &columns, None) {
                Ok(read) => {
                    check_vectors(&recipe, &modalities, &read, &mut problems);
                    read.check_splits(&recipe, &mut problems);
                    data = Some(read);
                }
                Err(found) => found.iter().for_each(|problem| problems.push(problem.clone())),
            }
        }
        let shards = match &data {
            Some(data) => more_rows::open(&recipe, &modalities, data, &mut problems),
            None => None,
        };
        let mut trials = Vec::new();
        if let Some(data) = data.as_ref().filter(|_| problems.is_empty()) {
            trials = try_encoders(&recipe, &modalities, data, needs.tokens, env, &mut problems);
        }
        let data = problems.or(data)?;
        let reads_tokens = needs.tokens;
        Ok(Self { recipe, modalities, data, corruption, reads_tokens, shards, trials })
    }

    /// Returns the random seed.
    pub fn seed(&self) -> u64 {
        self.recipe.seed
    }

    /// Returns the name of the anchor, if the recipe names one.
    pub fn anchor(&self) -> Option<&str> {
        self.recipe.align.anchor.as_ref().map(|anchor| anchor.value.as_str())
    }

    /// Summarises the plan.
    pub fn report(&self) -> PlanReport {
        let opset = merged_opset(self.modalities.iter().flat_map(|m| &m.encoders));
        PlanReport {
            reads_tokens: self.reads_tokens,
            opset,
            ..PlanReport::of(&self.recipe, &self.modalities, &self.data, &self.trials)
        }
    }
}

fn open(
    encoder: &EncoderRecipe,
    recipe: &Recipe,
    store: &ModelStore,
    env: &Environment,
    problems: &mut Problems,
) -> Option<Vec<Encoder>> {
    let mut opened = Vec::new();
    if let Some(vectors) = &encoder.vectors {
        let member = encoder.member.as_ref().map(|member| member.value.as_str());
        let plan = Encoder::of_vectors(&recipe.path(&vectors.value), member, env);
        opened.push(problems.keep(plan.map_err(|p| p.at(&vectors.at, "these vectors"))));
    }
    for model in &encoder.models {
        let plan = Encoder::of_model(&model.value, store, env);
        opened.push(problems.keep(plan.map_err(|p| p.at(&model.at, "this model"))));
    }
    let names: BTreeSet<&str> = encoder.models.iter().map(|m| m.value.as_str()).collect();
    if let Some(model) = encoder.models.first().filter(|_| names.len() < encoder.models.len()) {
        let message = format!("[encoders.{}] names a model twice", encoder.modality.value);
        problems.push(Problem::new("chiasm::plan::model_twice", message).at(&model.at, "in this list"));
    }
    let opened: Option<Vec<Encoder>> = opened.into_iter().collect();
    let same = |all: &Vec<Encoder>| all.windows(2).all(|two| two[0].takes == two[1].takes);
    if !opened.as_ref().is_none_or(same) {
        let message =
            format!("the encoders of {:?} take different kinds of raw items", encoder.modality.value);
        problems
            .push(Problem::new("chiasm::plan::takes", message).at(&encoder.modality.at, "these encoders"));
        return None;
    }
    opened
}

/// Checks an aligner, its parameters, and whether it takes the number of modalities in the recipe. `path` is
/// its table.
fn check_aligner(
    env: &Environment,
    plugin: &PluginRecipe,
    (path, count): (&str, usize),
    problems: &mut Problems,
) {
    let aligner = env.host.aligner(&plugin.id.value);
    let list = aligner.as_ref().map_err(Clone::clone).and_then(|aligner| aligner.parameters());
    let ask = || aligner?.takes(&plugin.to_json());
    let takes = check_plugin(("aligner", path), plugin, list, problems, ask);
    if let Some(takes) = takes.filter(|takes| !takes.contains(count)) {
        let message = format!("{:?} takes {takes}, and the recipe has {count}", plugin.id.value);
        problems.push(
            Problem::new("chiasm::plan::modalities", message)
                .at(&plugin.id.at, "this aligner")
                .help("choose another aligner (`chiasm plugin list`), or remove encoders"),
        );
    }
}

/// Checks each parameter of a plugin of this kind and table against its declaration, and then all of them by
/// calling the plugin with `ask`. Returns the result of `ask`, or `None` if there is a problem.
fn check_plugin<T>(
    (kind, path): (&str, &str),
    plugin: &PluginRecipe,
    list: Result<Vec<Parameter>, HostError>,
    problems: &mut Problems,
    ask: impl FnOnce() -> Result<T, HostError>,
) -> Option<T> {
    let before = problems.count();
    match list {
        Err(error) => problems.push(
            Problem::new("chiasm::plan::plugin", error.to_string())
                .at(&plugin.id.at, format!("this {kind}"))
                .help("`chiasm plugin list` lists all plugins, `chiasm plugin why ID` the folders searched"),
        ),
        Ok(list) => {
            for (key, node) in &plugin.parameters {
                let Some(parameter) = list.iter().find(|parameter| parameter.name == *key) else {
                    let known = list.iter().map(|parameter| parameter.name.as_str());
                    problems.push(tree::unknown_key(path, key, node, known));
                    continue;
                };
                if let Err(error) = parameter.check(&node.value.to_json()) {
                    let message = format!(
                        "`{path}.{}`: expected {}, got {}",
                        error.parameter, error.expected, error.got
                    );
                    let problem = Problem::new("chiasm::plan::parameter", message).at(&node.at, "this value");
                    let help = format!("`{key}` of {:?}: {}", plugin.id.value, parameter.doc);
                    problems.push(problem.help(help));
                }
            }
        }
    }
    if problems.count() > before {
        return None;
    }
    match ask() {
        Ok(answer) => Some(answer),
        Err(error) => {
            let problem = Problem::new("chiasm::plan::parameter", error.to_string());
            problems.push(problem.at(&plugin.id.at, format!("the parameters of this {kind}")));
            None
        }
    }
}

/// Checks the fusion, its parameters, and whether the recipe has what it needs.
fn check_fusion(env: &Environment, recipe: &Recipe, problems: &mut Problems) -> FusionNeeds {
    let mut needs = FusionNeeds::default();
    if let Some(fuse) = &recipe.fuse {
        let fusion = env.host.fusion(&fuse.id.value);
        let list = fusion.as_ref().map_err(Clone::clone).and_then(|fusion| fusion.parameters());
        match check_plugin(("fusion", "fuse"), fuse, list, problems, || fusion?.needs(&fuse.to_json())) {
            Some(found) => needs = found,
            None => return needs,
        }
    }
    check_needs(recipe.task.as_ref(), recipe.fuse.as_ref(), &needs, problems);
    let retrieved = recipe.task.as_ref().filter(|task| task.column().is_none());
    for encoder in recipe.encoders.iter().filter(|e| takes_mean(e)) {
        if retrieved.is_some_and(|task| task.of.value == encoder.modality.value) {
            let message = format!(
                "the task retrieves the other items of a row, but [encoders.{}] takes the mean of all",
                encoder.modality.value
            );
            let problem = Problem::new("chiasm::plan::task", message).at(&encoder.items.at, "this rule");
            problems.push(problem.help("use items = \"first\" or \"each\""));
        }
    }
    for encoder in recipe.encoders.iter().filter(|e| needs.tokens && takes_mean(e)) {
        let message = format!(
            "the fusion reads the tokens of one item per row, but [encoders.{}] takes the mean of all",
            encoder.modality.value
        );
        let problem = Problem::new("chiasm::plan::tokens", message).at(&encoder.items.at, "this rule");
        problems.push(
            problem.help("use items = \"first\" or \"each\": the fusion reads the first item of a row"),
        );
    }
    needs
}

fn merged_opset<'a>(encoders: impl Iterator<Item = &'a Encoder>) -> i64 {
    encoders.map(|e| e.graph.opset()).fold(OPSET, i64::max)
}

fn check_opsets<'a>(encoders: impl Iterator<Item = &'a Encoder> + Clone, problems: &mut Problems) {
    let opset = merged_opset(encoders.clone());
    for encoder in encoders {
        if let Err(error) = encoder.graph.upgraded(opset) {
            let message = format!(
                "{:?} cannot be upgraded to operator set {opset} of the merged model: {error}",
                encoder.name
            );
            problems.push(
                Problem::new("chiasm::plan::opset", message)
                    .help("export the model again with a newer operator set"),
            );
        }
    }
}

/// Runs every encoder of a model on a few items, and tells which items did not fit. Without an engine,
/// which a fit needs, nothing is run.
fn try_encoders(
    recipe: &Recipe,
    modalities: &[ModalityEncoders],
    data: &RecipeData,
    reads_tokens: bool,
    env: &Environment,
    problems: &mut Problems,
) -> Vec<Trial> {
    if env.engine().is_err() {
        env.reporter
            .note("no encoder was run, because ONNX Runtime was not found: `chiasm doctor` says more");
        return Vec::new();
    }
    let mut trials = Vec::new();
    for ((encoder, modality), items) in recipe.encoders.iter().zip(modalities).zip(&data.items) {
        let named = encoder.vectors.iter().chain(&encoder.models);
        for (at, (opened, named)) in modality.encoders.iter().zip(named).enumerate() {
            if opened.card.is_none() {
                trials.push(Trial::default());
                continue;
            }
            let tried = trial(opened, &items.raw, reads_tokens && at == 0, env);
            let tried = problems.keep(tried.map_err(|p| p.at(&named.at, "this model"))).unwrap_or_default();
            if let Some(told) = tried.told(&opened.name) {
                env.reporter.note(&told);
            }
            trials.push(tried);
        }
    }
    trials
}

fn takes_mean(encoder: &EncoderRecipe) -> bool {
    [encoder.items.value, encoder.train_items.value].contains(&ItemRule::Mean)
}

/// Reports row numbers beyond the end of a file of vectors, and rows that are not finite.
fn check_vectors(
    recipe: &Recipe,
    modalities: &[ModalityEncoders],
    data: &RecipeData,
    problems: &mut Problems,
) {
    for ((encoder, modality), items) in recipe.encoders.iter().zip(modalities).zip(&data.items) {
        let Some(vectors) = &encoder.vectors else { continue };
        for opened in &modality.encoders {
            if let Some(error) = items.raw.iter().find_map(|item| opened.prepare(item).err()) {
                let problem = Problem::new("chiasm::data::vectors", error.to_string());
                problems.push(problem.at(&vectors.at, "these vectors"));
            }
        }
    }
}
