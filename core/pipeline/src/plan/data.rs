//! The rows and raw items of a recipe.

use super::{
    modality::ModalityEncoders,
    task::{GroundTruth, TaskPlan},
};
use crate::{
    base::problem::{Problem, Problems},
    catalog::dataset::{Dataset, DatasetColumns, RawItems, Split, raw_items},
    recipe::{
        Recipe,
        encoders::{EncoderRecipe, ItemRule},
    },
};
use chiasm_host::{Takes, Task};
use std::sync::Arc;

/// The data of a recipe.
#[derive(Debug, Clone)]
pub struct RecipeData {
    /// The rows: ids, splits, labels and targets.
    pub dataset: Arc<Dataset>,
    /// The items of every modality, in the order of the recipe.
    pub items: Vec<RawItems>,
    /// The task of the fusion.
    pub task: Option<TaskPlan>,
}

/// The properties of a modality that determine how its column is read.
#[derive(Debug, Clone)]
pub struct ModalityColumn<'a> {
    /// The modality.
    pub modality: &'a str,
    /// The kind of raw item that its adapters take.
    pub takes: Takes,
    /// The number of rows, for a file of vectors.
    pub rows: Option<u64>,
}

impl<'a> ModalityColumn<'a> {
    /// Returns the column of a modality.
    pub fn of(modality: &'a ModalityEncoders) -> Self {
        let first = modality.encoders.first();
        Self {
            modality: &modality.name,
            takes: first.map_or(Takes::Row, |encoder| encoder.takes),
            rows: first.and_then(|encoder| encoder.rows),
        }
    }
}

impl RecipeData {
    /// Reads the data of a recipe. The labels of the task are those of `known`, the task of a finished run;
    /// for `None`, those of the training rows.
    ///
    /// # Errors
    /// Every problem in the data.
    pub fn read(
        recipe: &Recipe,
        columns: &[ModalityColumn<'_>],
        known: Option<&Task>,
    ) -> Result<Self, Problems> {
        let dataset = match &recipe.data.pairs {
            Some(file) => {
                let values: Vec<&str> = recipe.values().map(|at| at.value.as_str()).collect();
                let split = recipe.data.split.as_ref().map(|split| split.value.as_str());
                let columns = DatasetColumns { inputs: &recipe.inputs(), values: &values, split };
                Dataset::read(&recipe.path(&file.value), columns)?
            }
            None => by_position(recipe, columns)?,
        };
        let mut problems = Problems::default();
        let mut all = Vec::new();
        for (encoder, column) in recipe.encoders.iter().zip(columns) {
            let cells = dataset.column(&encoder.column.value);
            let [held_out, fitted] = [encoder.items.value, encoder.train_items.value]
                .map(|rule| raw_items(cells, column.takes, rule, &dataset.folder));
            match held_out.and_then(|held_out| Ok((held_out, fitted?))) {
                Ok((held_out, fitted)) => {
                    let test = dataset.rows_of(Split::Test);
                    all.push(held_out.of_rows(&test).with(&fitted.without_rows(&test)));
                }
                Err(rows) => problems.push(wrong_cells(encoder, column.takes, &dataset, &rows)),
            }
        }
        let takes = |name: &str| columns.iter().find(|column| column.modality == name).map(|c| c.takes);
        let task = problems.keep(TaskPlan::check(recipe, &dataset, &takes, known));
        let (items, task) = problems.or((all.len() == columns.len()).then_some(all).zip(task))?;
        Ok(Self { dataset: Arc::new(dataset), items, task })
    }

    /// Returns the data without some items. `left_out` takes the id of a row, a modality and the index of an
    /// item within its row.
    #[must_use]
    pub fn without(&self, names: &[&str], left_out: &dyn Fn(&str, &str, usize) -> bool) -> Self {
        let ids = &self.dataset.ids;
        let keep = |name: &str, items: &RawItems| {
            let stays = |at: &usize| !left_out(&ids[items.rows[*at]], name, items.position[*at]);
            items.select(&(0..items.raw.len()).filter(stays).collect::<Vec<_>>())
        };
        let items = names.iter().zip(&self.items).map(|(name, items)| keep(name, items)).collect();
        let mut task = self.task.clone();
        let items: Vec<RawItems> = items;
        if let Some(GroundTruth::Others { modality, items: others }) =
            task.as_mut().map(|task| &mut task.truth)
        {
            *others = keep(modality, others);
            if let Some(own) = names.iter().position(|name| name == modality) {
                *others = others.without_first_of(&items[own]);
            }
        }
        Self { dataset: Arc::clone(&self.dataset), items, task }
    }

    /// Reports splits that are too small, and modalities that no training row joins to the others.
    pub(super) fn check_splits(&self, recipe: &Recipe, problems: &mut Problems) {
        for (split, name, least) in [(Split::Train, "train", 2), (Split::Test, "test", 1)] {
            let rows = self.dataset.rows_of(split);
            let joint = rows.iter().filter(|row| self.modalities_of(**row) >= 2).count();
            if joint < least {
                let message = format!(
                    "the {name} split has {} rows, {joint} of them with two or more modalities; at least \
                     {least} are needed",
                    rows.len()
                );
                let problem = Problem::new("chiasm::data::split", message);
                problems.push(problem.help("add rows to that split, or modalities to its rows"));
            }
        }
        let joined = self.joined();
        for (encoder, _) in recipe.encoders.iter().zip(&joined).filter(|(_, joined)| !**joined) {
            let name = &encoder.modality.value;
            let message = format!(
                "no training row joins {name:?} to the other modalities, directly or through another modality"
            );
            problems.push(
                Problem::new("chiasm::data::not_joined", message)
                    .at(&encoder.modality.at, "this modality")
                    .help("add training rows that have this modality and another one"),
            );
        }
    }

    /// Returns the number of modalities that a row has.
    fn modalities_of(&self, row: usize) -> usize {
        self.items.iter().filter(|items| items.rows.binary_search(&row).is_ok()).count()
    }

    /// Returns whether each modality is joined to the first one by training rows, directly or through others.
    fn joined(&self) -> Vec<bool> {
        let count = self.items.len();
        let mut joined: Vec<bool> = (0..count).map(|at| at == 0).collect();
        for _ in 1..count {
            for other in 0..count {
                joined[other] |= (0..count).any(|at| joined[at] && self.seen_together(at, other));
            }
        }
        joined
    }

    /// Returns the pairs of modalities that no training row has together. `names` are the names of all
    /// modalities.
    pub fn emergent(&self, names: &[&str]) -> Vec<[String; 2]> {
        let pairs = (0..names.len()).flat_map(|b| (0..b).map(move |a| [a, b]));
        let apart = pairs.filter(|[a, b]| !self.seen_together(*a, *b));
        apart.map(|pair| pair.map(|at| names[at].to_owned())).collect()
    }

    /// Returns whether any training row has both modalities.
    pub fn seen_together(&self, first: usize, second: usize) -> bool {
        let own = &self.items[second].rows;
        let train = |row: &usize| self.dataset.splits[*row] == Split::Train;
        self.items[first].rows.iter().filter(|row| train(row)).any(|row| own.binary_search(row).is_ok())
    }
}

/// Pairs files of vectors by position: row i of every file is row i of the data.
fn by_position(recipe: &Recipe, columns: &[ModalityColumn<'_>]) -> Result<Dataset, Problems> {
    if let Some(column) = recipe.values().chain(&recipe.data.split).next() {
        let message = format!("the recipe names the column {:?}, but has no `data.pairs` file", column.value);
        let problem = Problem::new("chiasm::recipe::no_pairs", message).at(&column.at, "this column");
        return Err(problem.help("add data.pairs = \"FILE\", a file with that column").into());
    }
    let mut counts = Vec::new();
    for column in columns {
        let Some(rows) = column.rows else {
            let problem = Problem::new("chiasm::data::pairs", "`data.pairs` is missing");
            return Err(problem.help("add it; only files of vectors can be paired without it").into());
        };
        counts.push((column.modality, rows));
    }
    let Some(&(first, rows)) = counts.first() else {
        return Err(Problem::new("chiasm::data::pairs", "`data.pairs` is missing").into());
    };
    if let Some((other, others)) = counts.iter().find(|(_, count)| *count != rows) {
        let message =
            format!("{first} has {rows} rows and {other} has {others}, but rows are paired by position");
        let problem = Problem::new("chiasm::data::rows", message);
        return Err(problem
            .help("give files of equal length, or a `data.pairs` file with row numbers")
            .into());
    }
    Ok(Dataset::by_position(rows, &recipe.inputs()))
}

fn wrong_cells(encoder: &EncoderRecipe, takes: Takes, dataset: &Dataset, rows: &[usize]) -> Problem {
    let expected = match (takes, encoder.items.value) {
        (Takes::Path, ItemRule::First) => "a file path",
        (Takes::Path, _) => "file paths",
        (Takes::Text, ItemRule::First) => "a text",
        (Takes::Text, _) => "texts",
        (Takes::Row, _) => "row numbers of its file of vectors",
    };
    let example = rows.first().map(|row| dataset.ids[*row].as_str()).unwrap_or_default();
    let message = format!(
        "column `{}` must hold {expected} for {:?}; {} rows do not, e.g. row {example:?}",
        encoder.column.value,
        encoder.modality.value,
        rows.len(),
    );
    Problem::new("chiasm::data::column", message).at(&encoder.column.at, "this column")
}
