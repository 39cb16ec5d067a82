//! Ablation: what each part of a recipe contributes to its score on the test rows.

use super::{
    fits::{RecipeChanges, StudyFits, declared, reason},
    folder::{ABLATION, StudyFolder},
};
use crate::{
    base::{environment::Environment, error::Error, problem::did_you_mean, training::TrainingRecord},
    catalog::dataset::Split,
    compare::significance::{PairedDifference, paired_difference},
    embed::rows_with,
    plan::Plan,
    recipe::{Recipe, tree::parse_swap},
    run::query_scores::{QueryValues, StudyMetric, by_direction, overall},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Instant,
};

/// The file with a line for each fit.
const FITS: &str = "fits.jsonl";

/// Options of [`ablate`].
#[derive(Debug, Clone)]
pub struct AblateOptions {
    /// Ids of aligners to compare with. They keep those keys of `[align]` that they have, except `terms`.
    pub baselines: Vec<String>,
    /// Numbers of training rows with two or more modalities.
    pub pairs: Vec<usize>,
    /// Keys and values, each set alone: `align.d_z=16,32`.
    pub set_each: Vec<String>,
    /// Modalities and other models for them, or files of vectors: `image=squeezenet11,other.npy`.
    pub swap_encoders: Vec<String>,
    /// The metric.
    pub metric: StudyMetric,
    /// The folder of the study.
    pub output: PathBuf,
    /// Skip items that cannot be read.
    pub skip_bad: bool,
}

/// One fit of an ablation. A line of `fits.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AblationRow {
    /// What kind of change it is: `recipe`, `term`, `baseline`, `pairs`, `set` or `encoder`.
    pub kind: String,
    /// The change, as text.
    pub change: String,
    /// The score on the test rows; `None` if the fit failed.
    pub score: Option<f64>,
    /// The difference to the score of the recipe; `None` also if the test items differ.
    pub difference: Option<PairedDifference>,
    /// The score of each direction.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub directions: BTreeMap<String, f64>,
    /// The reason of a failed fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The duration of the fit in seconds.
    pub seconds: f64,
}

/// The result of [`ablate`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AblationReport {
    /// The metric.
    pub metric: StudyMetric,
    /// The number of test rows with two or more modalities.
    pub rows: usize,
    /// The recipe, then every change.
    pub fits: Vec<AblationRow>,
}

/// One change of the recipe.
struct Change {
    kind: &'static str,
    name: String,
    changes: RecipeChanges,
    pairs: Option<usize>,
}

impl Change {
    fn new(kind: &'static str, name: String, assignment: String) -> Self {
        let changes = RecipeChanges { assignments: vec![assignment], ..RecipeChanges::default() };
        Self { kind, name, changes, pairs: None }
    }
}

/// Fits a recipe, and with one change after another: each term of its aligner off, baselines in its place,
/// fewer pairs, other values, other encoders. Each is fitted on the training rows and scored on the test
/// rows. An ablation that was interrupted continues where it was, and new changes are added to a finished
/// one. `ready` is called for each fit when it is done.
///
/// ```no_run
/// use chiasm_pipeline::{AblateOptions, Environment, SilentReporter, StudyMetric, ablate};
/// use std::{path::Path, sync::Arc};
///
/// # fn main() -> Result<(), chiasm_pipeline::Error> {
/// let env = Environment::discover(Arc::new(SilentReporter));
/// let options = AblateOptions {
///     baselines: vec!["cca".into(), "mlp".into()],
///     pairs: vec![50, 100],
///     set_each: vec!["align.d_z=16,32".into()],
///     swap_encoders: Vec::new(),
///     metric: StudyMetric::Map,
///     output: "ablation".into(),
///     skip_bad: false,
/// };
/// let report = ablate(Path::new("recipe.toml"), &[], &options, &env, &mut |_| {})?;
/// println!("{} fits, scored on {} rows", report.fits.len(), report.rows);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the recipe or a change is not valid, the folder holds another study, or the fit of the recipe fails. A
/// change that the aligner refuses is recorded with its reason.
pub fn ablate(
    path: &Path,
    overrides: &[String],
    options: &AblateOptions,
    env: &Environment,
    ready: &mut dyn FnMut(&AblationRow),
) -> Result<AblationReport, Error> {
    let fits = StudyFits::new(path, overrides, options.metric, options.skip_bad, env);
    let plan = fits.plan(&RecipeChanges::default())?;
    let others = other_changes(&plan.recipe, options)?;
    for change in &others {
        fits.plan(&change.changes)?;
    }
    let training = fits.embed(&plan)?.training()?;
    for count in &options.pairs {
        training.with_pairs(*count, plan.seed())?;
    }
    let aligners: BTreeSet<String> = options.baselines.iter().cloned().collect();
    let mut identity = fits.identity(&plan, &aligners)?;
    identity.insert("--baselines", json!(aligners));
    let (mut folder, known) = StudyFolder::open::<AblationRow>(&options.output, FITS, &identity)?;
    env.trainings.take();
    let clock = Instant::now();
    // The recipe itself is fitted again when an ablation continues: all differences are to its queries.
    let full = score(&fits, &plan, None)?;
    let seconds = clock.elapsed().as_secs_f64();
    let terms = term_changes(&plan, &env.trainings.take(), env)?;
    let mut found = |kind: &str, name: &str, fit: &mut dyn FnMut() -> Result<AblationRow, Error>| {
        if let Some(row) = known.iter().find(|row| row.kind == kind && row.change == name) {
            return Ok(row.clone());
        }
        let row = folder.append(&fit()?)?;
        ready(&row);
        Ok::<_, Error>(row)
    };
    let own = row("recipe", &plan.recipe.align.plugin.id.value, Ok(full.clone()), None, seconds);
    let mut rows = vec![found("recipe", &own.change, &mut || Ok(own.clone()))?];
    for change in terms.iter().chain(&others) {
        rows.push(found(change.kind, &change.name, &mut || changed(&fits, change, &full, plan.seed()))?);
    }
    let held_out = fits.embed(&plan)?;
    let rows_scored = rows_with(held_out.of(Split::Test), 2).len();
    let report = AblationReport { metric: options.metric, rows: rows_scored, fits: rows };
    folder.write(ABLATION, &serde_json::to_string_pretty(&report).unwrap_or_default())?;
    folder.write("ablation.csv", &table(&report)?)?;
    Ok(report)
}

/// Fits the recipe with one change, and compares it with the recipe.
fn changed(
    fits: &StudyFits<'_>,
    change: &Change,
    full: &QueryValues,
    seed: u64,
) -> Result<AblationRow, Error> {
    let clock = Instant::now();
    let scored = fits.plan(&change.changes).and_then(|plan| score(fits, &plan, change.pairs));
    let scored = match scored {
        Ok(values) => Ok(values),
        Err(error) => Err(reason(error)?),
    };
    let difference = match &scored {
        Ok(values) => paired_difference(values, full, seed)?,
        Err(_) => None,
    };
    Ok(row(change.kind, &change.name, scored, difference, clock.elapsed().as_secs_f64()))
}

fn row(
    kind: &str,
    change: &str,
    scored: Result<QueryValues, String>,
    difference: Option<PairedDifference>,
    seconds: f64,
) -> AblationRow {
    let (kind, change) = (kind.to_owned(), change.to_owned());
    match scored {
        Ok(values) => AblationRow {
            kind,
            change,
            score: Some(overall(&values)),
            difference,
            directions: by_direction(&values),
            error: None,
            seconds,
        },
        Err(error) => AblationRow {
            kind,
            change,
            score: None,
            difference: None,
            directions: BTreeMap::new(),
            error: Some(error),
            seconds,
        },
    }
}

/// Fits a plan on its training rows, or on some of its pairs, and scores it on its test rows.
fn score(fits: &StudyFits<'_>, plan: &Plan, pairs: Option<usize>) -> Result<QueryValues, Error> {
    let data = fits.embed(plan)?;
    let mut training = data.training()?;
    if let Some(count) = pairs {
        training = training.with_pairs(count, plan.seed())?;
    }
    fits.fit(plan, &data.data, &training, data.of(Split::Test))
}

/// Returns a change for each term that the aligner trained with: its weight becomes 0. A single term cannot
/// be left out.
fn term_changes(plan: &Plan, trainings: &[TrainingRecord], env: &Environment) -> Result<Vec<Change>, Error> {
    let parameters = env.host.aligner(&plan.recipe.align.plugin.id.value)?.parameters()?;
    let curves = trainings.iter().flat_map(|training| &training.report.curve);
    let outputs: BTreeSet<&String> = curves.flat_map(|point| point.training.keys()).collect();
    let terms: Vec<&String> = outputs
        .into_iter()
        .filter(|name| declared(&format!("terms.{name}"), &parameters).is_some())
        .collect();
    if terms.len() < 2 {
        return Ok(Vec::new());
    }
    let off =
        |name: &&String| Change::new("term", format!("without {name}"), format!("align.terms.{name}=0"));
    Ok(terms.iter().map(off).collect())
}

/// Returns all other changes, in the order of the options.
fn other_changes(recipe: &Recipe, options: &AblateOptions) -> Result<Vec<Change>, Error> {
    let own = &recipe.align.plugin;
    let same = |id: &String| *id == own.id.value && !own.parameters.iter().any(|(key, _)| key == "terms");
    let mut all = Vec::new();
    for id in options.baselines.iter().filter(|id| !same(id)) {
        let mut change = Change::new("baseline", id.clone(), format!("align.plugin={id}"));
        (change.changes.only_known, change.changes.without_terms) = (true, true);
        all.push(change);
    }
    for pairs in &options.pairs {
        let (name, changes) = (pairs.to_string(), RecipeChanges::default());
        all.push(Change { kind: "pairs", name, changes, pairs: Some(*pairs) });
    }
    for argument in &options.set_each {
        let (key, values) = parse_swap(argument)?;
        all.extend(values.iter().map(|value| {
            let assignment = format!("{key}={value}");
            Change::new("set", assignment.clone(), assignment)
        }));
    }
    for argument in &options.swap_encoders {
        let (modality, values) = parse_swap(argument)?;
        for value in values {
            let assignment = encoder_assignment(recipe, &modality, &value)?;
            all.push(Change::new("encoder", format!("{modality}={value}"), assignment));
        }
    }
    Ok(all)
}

/// Returns the assignment that gives a modality another model or another file of vectors for the same items.
fn encoder_assignment(recipe: &Recipe, modality: &str, value: &str) -> Result<String, Error> {
    let Some(own) = recipe.encoder(modality) else {
        let names: Vec<&str> = recipe.encoders.iter().map(|own| own.modality.value.as_str()).collect();
        let message = format!("--swap-encoder: the recipe has no modality {modality:?}");
        let help = did_you_mean(modality, names.iter().copied());
        let help = help.unwrap_or_else(|| format!("it has {}", names.join(", ")));
        return Err(Error::input("chiasm::study::encoder", message, help));
    };
    let source = if value.ends_with(".npy") { "vectors" } else { "model" };
    // A card may be named by its folder.
    let value = match source {
        "model" => Path::new(value).file_name().map_or(value.into(), |name| name.to_string_lossy()),
        _ => value.into(),
    };
    let quoted = |text: &str| Value::from(text).to_string();
    Ok(format!(
        "encoders.{modality}={{ {source} = {}, column = {}, items = {}, train_items = {} }}",
        quoted(&value),
        quoted(&own.column.value),
        quoted(own.items.value.as_str()),
        quoted(own.train_items.value.as_str()),
    ))
}

/// Formats the fits as CSV.
fn table(report: &AblationReport) -> Result<String, Error> {
    let internal = |e: String| Error::Internal(format!("a table of fits: {e}"));
    let mut csv = csv::Writer::from_writer(Vec::new());
    let header = ["kind", "change", report.metric.name(), "difference", "low", "high", "seconds", "error"];
    csv.write_record(header).map_err(|e| internal(e.to_string()))?;
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for fit in &report.fits {
        let of = |get: fn(&PairedDifference) -> f64| number(fit.difference.as_ref().map(get));
        let record = [
            fit.kind.clone(),
            fit.change.clone(),
            number(fit.score),
            of(|d| d.mean),
            of(|d| d.interval[0]),
            of(|d| d.interval[1]),
            fit.seconds.to_string(),
            fit.error.clone().unwrap_or_default(),
        ];
        csv.write_record(record).map_err(|e| internal(e.to_string()))?;
    }
    let bytes = csv.into_inner().map_err(|e| internal(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| internal(e.to_string()))
}
