//! The task of a fusion and the ground truth of every row.

use crate::{
    base::problem::{Problem, Problems},
    catalog::{
        dataset::{Dataset, RawItems, Split, raw_items},
        raw::RawItem,
    },
    recipe::{PluginRecipe, Recipe, encoders::ItemRule, task::TaskRecipe},
};
use chiasm_host::{FusionNeeds, Takes, Task, TaskKind};
use ndarray::{Array2, Axis};
use serde_json::Value;
use std::collections::BTreeSet;

/// A task with its ground truth.
#[derive(Debug, Clone)]
pub struct TaskPlan {
    /// The kind of task and its labels.
    pub task: Task,
    /// The ground truth.
    pub truth: GroundTruth,
}

/// The ground truth of every row of the dataset.
#[derive(Debug, Clone)]
pub enum GroundTruth {
    /// The class of each row; `None` for a class that no training row has, which cannot be predicted.
    Class(Vec<Option<usize>>),
    /// The labels of each row, without those that no training row has.
    Labels(Vec<Vec<usize>>),
    /// Numbers, `[rows, c]`.
    Numbers(Array2<f32>),
    /// For retrieval: the items of a modality except the first of each row. The fused vector should retrieve
    /// them.
    Others {
        /// The modality.
        modality: String,
        /// Its items.
        items: RawItems,
    },
}

impl TaskPlan {
    /// Reads the ground truth of the recipe's task; `None` if it has no task. The labels are those of
    /// `known`, the task of a finished run; for `None`, those of the training rows.
    pub(crate) fn check(
        recipe: &Recipe,
        dataset: &Dataset,
        takes: &dyn Fn(&str) -> Option<Takes>,
        known: Option<&Task>,
    ) -> Result<Option<Self>, Problem> {
        let Some(task) = &recipe.task else { return Ok(None) };
        let kind = task.kind.value;
        let column = Answers { task, dataset, values: dataset.values(&task.of.value), known };
        let (labels, truth) = match kind {
            TaskKind::Classification => column.classes(),
            TaskKind::MultiLabel => column.labels()?,
            TaskKind::Regression => column.numbers()?,
            TaskKind::Retrieval => (Vec::new(), others(recipe, task, dataset, takes)?),
        };
        if matches!(kind, TaskKind::Classification | TaskKind::MultiLabel) && labels.len() < 2 {
            let message = format!(
                "column `{}`: expected at least 2 different labels in the training rows, got {}",
                task.of.value,
                labels.len()
            );
            return Err(Problem::new("chiasm::data::task", message).at(&task.of.at, "this column"));
        }
        Ok(Some(Self { task: Task { kind, labels }, truth }))
    }

    /// Returns the training targets of some rows, `[n, c]`. `None` for retrieval, whose targets are aligned
    /// vectors.
    pub(crate) fn target(&self, rows: &[usize]) -> Option<Array2<f32>> {
        let width = self.task.labels.len();
        let of = |row: usize, column: usize| match &self.truth {
            GroundTruth::Class(classes) => f32::from(u8::from(classes[row] == Some(column))),
            GroundTruth::Labels(labels) => f32::from(u8::from(labels[row].contains(&column))),
            GroundTruth::Numbers(numbers) => numbers[[row, column]],
            GroundTruth::Others { .. } => 0.0,
        };
        let given = !matches!(self.truth, GroundTruth::Others { .. });
        given.then(|| Array2::from_shape_fn((rows.len(), width), |(row, column)| of(rows[row], column)))
    }

    /// Returns the class of a row, or its labels joined by `, `; `None` for numbers and retrieval, and for a
    /// row without a known label.
    pub(crate) fn label(&self, row: usize) -> Option<String> {
        let names = &self.task.labels;
        match &self.truth {
            GroundTruth::Class(classes) => classes[row].map(|class| names[class].clone()),
            GroundTruth::Labels(labels) if !labels[row].is_empty() => {
                let own: Vec<&str> = labels[row].iter().map(|label| names[*label].as_str()).collect();
                Some(own.join(", "))
            }
            GroundTruth::Labels(_) | GroundTruth::Numbers(_) | GroundTruth::Others { .. } => None,
        }
    }

    /// Returns the ground truth as text, for digests.
    pub(crate) fn content(&self) -> String {
        match &self.truth {
            GroundTruth::Others { items, .. } => {
                items.raw.iter().map(RawItem::content).collect::<Vec<_>>().join("\n")
            }
            truth => format!("{:?} {truth:?}", self.task),
        }
    }
}

/// The column of a task's targets.
struct Answers<'a> {
    task: &'a TaskRecipe,
    dataset: &'a Dataset,
    values: &'a [Value],
    /// The task of a finished run.
    known: Option<&'a Task>,
}

impl Answers<'_> {
    /// Returns the labels: those of the finished run, else those of the training rows.
    fn names(&self, names: &[Vec<String>]) -> Vec<String> {
        self.known.map_or_else(|| trained(names, self.dataset), |known| known.labels.clone())
    }

    fn wrong(&self, row: usize, expected: &str) -> Problem {
        let message = format!(
            "column `{}` of row {:?}: expected {expected}, got {}",
            self.task.of.value, self.dataset.ids[row], self.values[row]
        );
        Problem::new("chiasm::data::task", message).at(&self.task.of.at, "this column")
    }

    fn classes(&self) -> (Vec<String>, GroundTruth) {
        let names: Vec<Vec<String>> = self.values.iter().map(|value| vec![named(value)]).collect();
        let labels = self.names(&names);
        let place = |names: &Vec<String>| labels.binary_search(&names[0]).ok();
        let truth = GroundTruth::Class(names.iter().map(place).collect());
        (labels, truth)
    }

    fn labels(&self) -> Result<(Vec<String>, GroundTruth), Problem> {
        let list = |(row, value): (usize, &Value)| match value {
            Value::Array(names) if !names.contains(&Value::Null) => Ok(names.iter().map(named).collect()),
            _ => Err(self.wrong(row, "a list of labels")),
        };
        let names: Vec<Vec<String>> = self.values.iter().enumerate().map(list).collect::<Result<_, _>>()?;
        let labels = self.names(&names);
        let places = |names: &Vec<String>| {
            let held: BTreeSet<usize> =
                names.iter().filter_map(|name| labels.binary_search(name).ok()).collect();
            held.into_iter().collect() // repeated labels count once
        };
        let truth = GroundTruth::Labels(names.iter().map(places).collect());
        Ok((labels, truth))
    }

    fn numbers(&self) -> Result<(Vec<String>, GroundTruth), Problem> {
        let expected = "a number or a list of numbers with absolute values up to 3.4e38";
        let read = |(row, value): (usize, &Value)| numbers(value).ok_or_else(|| self.wrong(row, expected));
        let rows: Vec<Vec<f32>> = self.values.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        let first = || rows.first().map_or(0, Vec::len);
        let width = self.known.map_or_else(first, |known| known.labels.len());
        if let Some(row) = rows.iter().position(|row| row.len() != width) {
            return Err(self.wrong(row, &format!("{width} number(s), as in the rows before")));
        }
        let all = Array2::from_shape_vec((rows.len(), width), rows.concat());
        let all = all.map_err(|e| Problem::new("chiasm::data::task", e.to_string()))?;
        let name = &self.task.of.value;
        let test = all.select(Axis(0), &self.dataset.rows_of(Split::Test));
        if test.columns().into_iter().all(|column| column.iter().all(|x| *x == column[0])) {
            let message = format!(
                "column `{name}` is constant in the {} test row(s), so R2 is not defined",
                test.nrows()
            );
            return Err(Problem::new("chiasm::data::task", message).at(&self.task.of.at, "this column"));
        }
        Ok((columns(name, width), GroundTruth::Numbers(all)))
    }
}

/// Reports a task without a fusion that can learn it, and a fusion without the task that it needs.
pub(crate) fn check_needs(
    task: Option<&TaskRecipe>,
    fuse: Option<&PluginRecipe>,
    needs: &FusionNeeds,
    problems: &mut Problems,
) {
    let code = "chiasm::plan::task";
    let known = || needs.tasks.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
    match (task, fuse) {
        (Some(task), None) => problems.push(
            Problem::new(code, "the recipe has a `[task]`, but no `[fuse]` to learn it")
                .at(&task.kind.at, "this task")
                .help("add [fuse] with plugin = \"cross-attention\""),
        ),
        (Some(task), Some(fuse)) if !needs.tasks.contains(&task.kind.value) => {
            let takes = if needs.tasks.is_empty() { "none".to_owned() } else { known() };
            let message =
                format!("{:?} does not learn {}; it takes {takes}", fuse.id.value, task.kind.value.as_str());
            problems.push(Problem::new(code, message).at(&task.kind.at, "this task"));
        }
        (None, Some(fuse)) if !needs.tasks.is_empty() => problems.push(
            Problem::new(code, format!("{:?} learns a task, and the recipe has no `[task]`", fuse.id.value))
                .at(&fuse.id.at, "this fusion")
                .help(format!("add [task] with kind = one of {} and column = \"...\"", known())),
        ),
        _ => {}
    }
}

/// Returns the name of a label.
fn named(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns the labels of the training rows, sorted.
fn trained(names: &[Vec<String>], dataset: &Dataset) -> Vec<String> {
    let training = dataset.rows_of(Split::Train);
    let distinct: BTreeSet<&String> = training.iter().flat_map(|row| &names[*row]).collect();
    distinct.into_iter().cloned().collect()
}

/// Converts a number to f32; `None` if it is not finite there.
#[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
fn number(value: &Value) -> Option<f32> {
    value.as_f64().map(|number| number as f32).filter(|number| number.is_finite())
}

fn numbers(value: &Value) -> Option<Vec<f32>> {
    match value {
        Value::Array(list) if !list.is_empty() => list.iter().map(number).collect(),
        one => Some(vec![number(one)?]),
    }
}

fn columns(name: &str, width: usize) -> Vec<String> {
    if width == 1 {
        vec![name.to_owned()]
    } else {
        (0..width).map(|column| format!("{name}[{column}]")).collect()
    }
}

/// Returns the items of the task's modality except the first of each row. Every row needs at least one.
fn others(
    recipe: &Recipe,
    task: &TaskRecipe,
    dataset: &Dataset,
    takes: &dyn Fn(&str) -> Option<Takes>,
) -> Result<GroundTruth, Problem> {
    let modality = &task.of.value;
    let code = "chiasm::plan::task";
    let Some((encoder, takes)) = recipe.encoder(modality).zip(takes(modality)) else {
        let names: Vec<&str> = recipe.encoders.iter().map(|e| e.modality.value.as_str()).collect();
        let message = format!("`task.modality` expects one of {}, got {modality:?}", names.join(", "));
        let problem = Problem::new(code, message).at(&task.of.at, "this modality");
        return Err(problem.suggest(modality, names));
    };
    let column = &encoder.column.value;
    let cells = dataset.column(column);
    if let Some(row) = cells.iter().position(|cells| cells.len() < 2) {
        let count = cells[row].len();
        let message = format!(
            "retrieval needs two or more items per row; column `{column}` of row {:?} holds {count}",
            dataset.ids[row]
        );
        return Err(Problem::new("chiasm::data::task", message)
            .at(&task.of.at, "this modality")
            .help("give a list of two or more items, such as captions"));
    }
    let all = raw_items(cells, takes, ItemRule::Each, &dataset.folder).map_err(|_| {
        let message = format!("column `{column}` holds items that the adapter of {modality:?} does not take");
        Problem::new("chiasm::data::task", message).at(&task.of.at, "this modality")
    })?;
    let kept: Vec<usize> = (0..all.raw.len()).filter(|at| all.position[*at] > 0).collect();
    Ok(GroundTruth::Others { modality: modality.clone(), items: all.select(&kept) })
}
