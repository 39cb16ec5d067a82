//! What is compared: run folders, and the variants of recipes.

use super::{
    fits::row_identities,
    options::CompareOptions,
    report::{ComparisonRow, VariantTaskReport},
};
use crate::{
    base::{environment::Environment, error::Error, problem::Problem},
    catalog::dataset::Split,
    plan::Plan,
    recipe::{Recipe, tree},
    run::{
        evaluate::{Metrics, TaskRows},
        files::{self, METRICS, read_json},
        open::Run,
        query_scores::QueryScores,
    },
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Something that is compared.
pub enum Subject {
    Run(RunSubject),
    Variant(Variant),
}

/// A run folder.
pub struct RunSubject(PathBuf);

/// A variant of a recipe: its plan with each seed.
pub struct Variant {
    pub name: String,
    pub recipe: PathBuf,
    set: Vec<String>,
    pub swapped: BTreeMap<String, String>,
    pub plans: Vec<Plan>,
}

/// The results of a run.
pub struct MeasuredRun {
    pub row: ComparisonRow,
    pub queries: QueryScores,
    pub task_rows: TaskRows,
    pub rows: BTreeMap<usize, String>,
}

impl Variant {
    /// Returns whether the recipe asks for scores with the hubness bank.
    pub fn asks_for_bank(&self) -> bool {
        self.plans.first().is_some_and(|plan| plan.recipe.score.bank.is_some())
    }

    /// Returns the name of the row without the hubness bank (0), or with it (1).
    pub fn row_name(&self, which: usize) -> String {
        match (which, self.asks_for_bank()) {
            (0, true) => format!("{} (no bank)", self.name),
            (1, false) => format!("{} (bank)", self.name),
            _ => self.name.clone(),
        }
    }

    /// Returns the assignments with which a fit makes a run of this row.
    pub fn assignments(&self, which: usize) -> Vec<String> {
        let other = usize::from(self.asks_for_bank()) != which;
        let bank = other.then(|| format!("score.bank={}", which == 1));
        self.set.iter().cloned().chain(bank).collect()
    }

    /// Returns the pairs of modalities that no training row has together.
    pub fn emergent(&self) -> Vec<[String; 2]> {
        let of = |plan: &Plan| {
            let names: Vec<&str> = plan.modalities.iter().map(|modality| modality.name.as_str()).collect();
            plan.data.emergent(&names)
        };
        self.plans.first().map(of).unwrap_or_default()
    }
}

impl RunSubject {
    fn name(&self) -> String {
        self.0.display().to_string()
    }

    /// Measures the run on its test rows.
    ///
    /// # Errors
    /// If the run or its data cannot be read, or no test row has two modalities.
    pub fn measured(&self, env: &Environment) -> Result<MeasuredRun, Error> {
        let run = Run::open(&self.0, env)?;
        let (queries, test) = run.query_scores()?;
        if queries.is_empty() {
            let message = format!("{}: no test row has two modalities", self.0.display());
            return Err(Error::input("chiasm::compare::rows", message, "add test rows with two modalities"));
        }
        let data = run.data()?;
        let rows = row_identities(data, &run.names(), &data.dataset.rows_of(Split::Test));
        let stored: Metrics = read_json(&self.0, METRICS)?;
        let task = stored.task.map(|test| VariantTaskReport::of(test, None));
        let task_rows = run.task_rows()?.unwrap_or_default();
        let row = ComparisonRow {
            run: Some(self.0.clone()),
            test,
            emergent: run.manifest.emergent.clone(),
            task,
            ..ComparisonRow::named(self.name(), if run.has_bank() { "bank" } else { "plain" })
        };
        Ok(MeasuredRun { row, queries, task_rows, rows })
    }
}

/// Finds and checks everything that is compared, before anything is fitted. The baseline, if it is a run that
/// is not among the subjects, is the first.
///
/// # Errors
/// Every problem of a recipe, a swap or an option.
pub fn subjects(options: &CompareOptions, env: &Environment) -> Result<Vec<Subject>, Error> {
    let mut paths: Vec<PathBuf> = options.subjects.clone();
    if let Some(baseline) = options.baseline.as_ref().map(PathBuf::from)
        && is_run(&baseline)
        && !paths.iter().any(|path| same_folder(path, &baseline))
    {
        paths.insert(0, baseline);
    }
    let recipes = paths.iter().filter(|path| !path.is_dir()).count();
    if recipes == 0 {
        check_recipe_options(options)?;
    }
    let mut all = Vec::new();
    for path in &paths {
        if path.is_dir() {
            files::read_manifest(path)?;
            all.push(Subject::Run(RunSubject(path.clone())));
        } else {
            all.extend(variants(path, recipes > 1, options, env)?.into_iter().map(Subject::Variant));
        }
    }
    Ok(all)
}

/// Fails if there are fewer than two rows, or two with the same name.
///
/// # Errors
/// In these cases.
pub fn check_names(subjects: &[Subject]) -> Result<(), Error> {
    let mut names: Vec<String> = subjects.iter().flat_map(row_names).collect();
    if names.len() < 2 {
        let message = format!("there is nothing to compare {} with", names.join(""));
        let help = "name further runs or a recipe, or give --baseline RUN";
        return Err(Error::input("chiasm::compare::single", message, help));
    }
    names.sort();
    if let Some(twice) = names.windows(2).find(|two| two[0] == two[1]) {
        let message = format!("{} is named twice", twice[0]);
        return Err(Error::input("chiasm::compare::twice", message, "name each run, recipe and value once"));
    }
    Ok(())
}

/// Returns the index of the row of the baseline.
///
/// # Errors
/// If there is no such row.
pub fn baseline(options: &CompareOptions, subjects: &[Subject]) -> Result<usize, Error> {
    let Some(wanted) = &options.baseline else { return Ok(0) };
    let names: Vec<String> = subjects.iter().flat_map(row_names).collect();
    let matches = |name: &String| name == wanted || same_folder(Path::new(name), Path::new(wanted));
    names.iter().position(matches).ok_or_else(|| {
        let message = format!("--baseline {wanted:?} is neither a run folder nor the name of a row");
        Error::input("chiasm::compare::baseline", message, format!("the rows are {}", names.join(", ")))
    })
}

fn row_names(subject: &Subject) -> Vec<String> {
    match subject {
        Subject::Run(run) => vec![run.name()],
        Subject::Variant(variant) => vec![variant.row_name(0), variant.row_name(1)],
    }
}

fn is_run(path: &Path) -> bool {
    path.join(files::MANIFEST).is_file()
}

fn same_folder(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().ok();
    one.is_dir() && whole(one) == whole(other)
}

/// Fails if an option is given that concerns fits, and nothing is fitted.
fn check_recipe_options(options: &CompareOptions) -> Result<(), Error> {
    let given = [
        ("--set", !options.overrides.is_empty()),
        ("--swap", !options.swaps.is_empty()),
        ("--pairs", !options.pairs.is_empty()),
        ("--seeds", options.seeds > 1),
    ];
    let Some((flag, _)) = given.iter().find(|(_, given)| *given) else { return Ok(()) };
    let message = format!("{flag} fits variants of a recipe, and only runs were named");
    let help = format!("name the recipe as well, e.g. RUN/recipe.toml, or leave out {flag}");
    Err(Error::input("chiasm::compare::no_recipe", message, help))
}

/// Returns the variants of a recipe, checked.
fn variants(
    path: &Path,
    several: bool,
    options: &CompareOptions,
    env: &Environment,
) -> Result<Vec<Variant>, Error> {
    let mut all = Vec::new();
    for swapped in combinations(&options.swaps)? {
        let assignments = swapped.iter().map(|(key, value)| format!("{key}={value}"));
        let mut overrides: Vec<String> = options.overrides.iter().cloned().chain(assignments).collect();
        let first = Plan::check(Recipe::load(path, &overrides)?, env)?;
        check_folds(&first, options)?;
        let base = first.seed();
        let mut plans = vec![first];
        for next in 1..options.seeds as u64 {
            overrides.push(format!("seed={}", base + next));
            plans.push(Plan::check(Recipe::load(path, &overrides)?, env)?);
            overrides.pop();
        }
        let name = variant_name(path, several, &swapped);
        let swapped = swapped.into_iter().collect();
        all.push(Variant { name, recipe: path.to_path_buf(), set: overrides, swapped, plans });
    }
    Ok(all)
}

/// Names a variant by the values that were swapped, or by its recipe.
fn variant_name(path: &Path, several: bool, swapped: &[(String, String)]) -> String {
    let recipe = path.display().to_string();
    let value = |(key, value): &(String, String)| {
        let value = value.replace('"', "");
        match key.as_str() {
            "align.plugin" | "fuse.plugin" => value,
            key => format!("{}={value}", key.rsplit('.').next().unwrap_or(key)),
        }
    };
    let values = swapped.iter().map(value).collect::<Vec<_>>().join(", ");
    match (values.is_empty(), several) {
        (true, _) => recipe,
        (false, true) => format!("{recipe}: {values}"),
        (false, false) => values,
    }
}

fn check_folds(plan: &Plan, options: &CompareOptions) -> Result<(), Error> {
    if options.folds == 0 {
        return Ok(());
    }
    if let Some(modality) = plan.modalities.iter().find(|m| m.rule != m.train_rule) {
        return Err(Error::input(
            "chiasm::compare::train_items",
            format!(
                "cross-validation trains on test rows, but `items` and `train_items` of {:?} differ",
                modality.name
            ),
            "use --folds 0 for no cross-validation, or set `items` and `train_items` to the same value",
        ));
    }
    let help = "use --folds 0 for no cross-validation, or remove [data.corruption]";
    plan.corruption.check_held_out(help)
}

/// Returns every combination of the values of the swaps, in the given order.
fn combinations(swaps: &[String]) -> Result<Vec<Vec<(String, String)>>, Problem> {
    let mut all = vec![Vec::new()];
    for swap in swaps {
        let (key, values) = tree::parse_swap(swap)?;
        all = (all.iter())
            .flat_map(|before: &Vec<(String, String)>| {
                values.iter().map(|value| {
                    let mut next = before.clone();
                    next.push((key.clone(), value.clone()));
                    next
                })
            })
            .collect();
    }
    Ok(all)
}
