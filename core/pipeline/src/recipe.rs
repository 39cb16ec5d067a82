//! The recipe: what the user said, read with every error at once, nothing looked up yet.
//!
//! `Recipe` (what was said) becomes [`crate::Plan`] (what is meant, checked); only a plan can run.

use crate::{
    Error,
    checks::{ChecksRecipe, read_checks},
    data::{Columns, Pairs},
    problem::{Origin, Problem, Problems},
    task::{TaskRecipe, read_task},
    tree::{self, At, Node, Reader, Table, Value},
};
use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

/// A whole recipe as written, with places.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The file's text, kept verbatim for the run folder.
    pub text: String,
    /// The `--set` assignments, in order.
    pub overrides: Vec<String>,
    /// The folder that relative paths start from.
    pub folder: PathBuf,
    /// The encoders in the order of the file, by modality.
    pub encoders: Vec<EncoderRecipe>,
    /// Where the pairs are.
    pub data: DataRecipe,
    /// The aligner.
    pub align: AlignRecipe,
    /// The fusion, if any.
    pub fuse: Option<PluginRecipe>,
    /// What the fusion is trained for, if anything.
    pub task: Option<TaskRecipe>,
    /// How scores are made from embeddings.
    pub score: ScoreRecipe,
    /// How the maps are checked.
    pub checks: ChecksRecipe,
    /// Seed of everything random.
    pub seed: u64,
}

/// One modality's encoder, or several encoders whose pooled vectors are concatenated.
#[derive(Debug, Clone)]
pub struct EncoderRecipe {
    /// The table's name: `image` in `[encoders.image]`.
    pub modality: At<String>,
    /// Names of model cards; empty when `vectors` is given.
    pub models: Vec<At<String>>,
    /// A file of precomputed embeddings in place of a model.
    pub vectors: Option<At<String>>,
    /// The column of the pairs that holds this modality's raw input.
    pub column: At<String>,
    /// Which items of a list column make the row.
    pub select: Select,
}

/// Which items of a list column stand for the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// The first item.
    First,
    /// The mean of all items' pooled vectors.
    Mean,
}

/// Where the pairs are and how they are split.
#[derive(Debug, Clone)]
pub struct DataRecipe {
    /// A JSONL file; `None` when every encoder is a file of vectors, paired row by row.
    pub pairs: Option<At<String>>,
    /// The column that names each row's split; rows are split by position where it is absent.
    pub split: Option<At<String>>,
}

/// The aligner and which modality it maps onto which.
#[derive(Debug, Clone)]
pub struct AlignRecipe {
    /// The plugin and its parameters.
    pub plugin: PluginRecipe,
    /// The modality whose space is mapped; the first encoder unless said.
    pub source: Option<At<String>>,
    /// The modality it is mapped onto; the other encoder unless said.
    pub target: Option<At<String>>,
}

/// A plugin's id and the parameters to hand it.
#[derive(Debug, Clone)]
pub struct PluginRecipe {
    /// The id, e.g. `cca`.
    pub id: At<String>,
    /// Its parameters, as written.
    pub parameters: Vec<(String, Node)>,
}

impl PluginRecipe {
    /// The parameters as a JSON object, as a plugin receives them.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Object(
            self.parameters.iter().map(|(k, n)| (k.clone(), n.value.to_json())).collect(),
        )
    }
}

/// How scores are made.
#[derive(Debug, Clone, Default)]
pub struct ScoreRecipe {
    /// The hubness bank, when wanted.
    pub bank: Option<Bank>,
}

/// The hubness bank: score - w (mean of the top-k similarities of each side to the other's training items).
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Bank {
    /// How many nearest training items are averaged.
    pub top: usize,
    /// The weight of the correction.
    pub weight: f32,
}

impl Default for Bank {
    fn default() -> Self {
        Self { top: 30, weight: 0.75 }
    }
}

impl Recipe {
    /// Reads the recipe at `path` and applies the `--set` assignments.
    ///
    /// # Errors
    /// When the file cannot be read, or with every problem found in it.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Problem::new(
                "chiasm::recipe::unreadable",
                format!("cannot read the recipe {}: {e}", path.display()),
            )
            .help("give the path of a recipe.toml; examples/ has some to start from")
        })?;
        let whole = std::path::absolute(path).map_err(|e| Error::io("find", path, e))?;
        let folder = whole.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self::parse(&path.display().to_string(), text, folder, overrides)?)
    }

    /// Reads a recipe's text; `name` is its name in messages and `folder` where relative paths start.
    ///
    /// # Errors
    /// Every problem found, together.
    pub fn parse(name: &str, text: String, folder: PathBuf, overrides: &[String]) -> Result<Self, Problems> {
        let (mut table, whole) = tree::parse(name, &text)?;
        for assignment in overrides {
            tree::set(&mut table, assignment)?;
        }
        let problems = RefCell::new(Problems::default());
        let parts = read(&table, &whole, &problems);
        problems.into_inner().or(parts.map(|parts| Self {
            text,
            overrides: overrides.to_vec(),
            folder,
            encoders: parts.encoders,
            data: parts.data,
            align: parts.align,
            fuse: parts.fuse,
            task: parts.task,
            score: parts.score,
            checks: parts.checks,
            seed: parts.seed,
        }))
    }

    /// The pairs that `[data]` names, with every column that the recipe speaks of; `None` where rows are paired by position.
    pub(crate) fn read_pairs(&self) -> Option<Result<Pairs, Problems>> {
        let file = self.data.pairs.as_ref()?;
        let values: Vec<&str> = self.values().map(|at| at.value.as_str()).collect();
        let split = self.data.split.as_ref().map_or("split", |s| s.value.as_str());
        let columns = Columns { inputs: &self.inputs(), values: &values, split };
        Some(Pairs::read(&self.path(&file.value), columns))
    }

    /// The columns of raw inputs.
    pub(crate) fn inputs(&self) -> Vec<&str> {
        self.encoders.iter().map(|encoder| encoder.column.value.as_str()).collect()
    }

    /// The columns of anything else.
    fn values(&self) -> impl Iterator<Item = &At<String>> {
        let task = self.task.as_ref().and_then(TaskRecipe::column);
        self.checks.labels.iter().chain(task)
    }

    /// Refuses columns of labels or answers where there is no pairs file that could hold them.
    pub(crate) fn without_values(&self) -> Result<(), Problems> {
        match self.values().next() {
            None => Ok(()),
            Some(column) => Err(Problem::new(
                "chiasm::recipe::no_pairs",
                format!("{:?} is a column, and there is no `data.pairs`", column.value),
            )
            .at(&column.at, "this column")
            .help("give the rows as a pairs file with that column")
            .into()),
        }
    }

    /// A path as the recipe means it: relative ones start at the recipe's folder.
    pub fn path(&self, written: &str) -> PathBuf {
        self.folder.join(written)
    }
}

/// The tables of a recipe.
struct Parts {
    encoders: Vec<EncoderRecipe>,
    data: DataRecipe,
    align: AlignRecipe,
    fuse: Option<PluginRecipe>,
    task: Option<TaskRecipe>,
    score: ScoreRecipe,
    checks: ChecksRecipe,
    seed: u64,
}

fn read(table: &Table, whole: &Origin, problems: &RefCell<Problems>) -> Option<Parts> {
    let root = Reader::new("", table, whole, problems);
    let seed = root.count("seed").map_or(0, |s| s.value);
    let encoders = read_encoders(&root, problems);
    let data = root.table("data").map(|data| {
        let read = DataRecipe { pairs: data.string("pairs"), split: data.string("split") };
        data.finish();
        read
    });
    if data.is_none() && encoders.iter().any(|e| e.vectors.is_none()) {
        root.problem(
            Problem::new("chiasm::recipe::missing_key", "the recipe has no `[data]` table")
                .help("add [data] with pairs = \"pairs.jsonl\""),
        );
    }
    let align = read_align(&root);
    let fuse = root.table("fuse").and_then(|fuse| read_plugin(&fuse, "plugin = \"concat\""));
    let task = read_task(&root);
    let score = root.table("score").map_or_else(ScoreRecipe::default, read_score);
    let checks = read_checks(&root);
    root.finish();
    let data = data.unwrap_or(DataRecipe { pairs: None, split: None });
    Some(Parts { encoders, data, align: align?, fuse, task, score, checks, seed })
}

fn read_encoders(root: &Reader<'_>, problems: &RefCell<Problems>) -> Vec<EncoderRecipe> {
    let code = "chiasm::recipe::encoders";
    let Some(tables) = root.table("encoders") else {
        root.problem(
            Problem::new(code, "the recipe has no encoders").help("add [encoders.image] and [encoders.text]"),
        );
        return Vec::new();
    };
    let all: Vec<_> =
        tables.rest().into_iter().filter_map(|(name, node)| read_encoder(name, node, problems)).collect();
    if tables.rest().len() != 2 {
        let message = format!("a merge takes two modalities, got {}", tables.rest().len());
        root.problem(Problem::new(code, message).at(tables.origin(), "these encoders").help(
            "name two tables such as [encoders.image] and [encoders.text]; several encoders of ONE modality are a list: model = [\"a\", \"b\"]",
        ));
    }
    all
}

fn read_encoder(name: &str, node: &Node, problems: &RefCell<Problems>) -> Option<EncoderRecipe> {
    let Value::Table(table) = &node.value else {
        let problem =
            Problem::new("chiasm::recipe::wrong_type", format!("`encoders.{name}` expects a table"));
        problems.borrow_mut().push(problem.at(&node.at, "this value"));
        return None;
    };
    let reader = Reader::new(&format!("encoders.{name}"), table, &node.key_at, problems);
    let modality = At { value: name.to_owned(), at: node.key_at.clone() };
    let models = reader.strings("model");
    let vectors = reader.string("vectors");
    if models.is_empty() == vectors.is_none() {
        let message = format!("[encoders.{name}] needs either `model` or `vectors`");
        reader.problem(Problem::new("chiasm::recipe::encoder_source", message).at(&node.key_at, "this encoder").help(
            "model = \"NAME\" names a card of models/ (`chiasm model list`); vectors = \"a.npy\" takes embeddings you already have",
        ));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let message = format!(
            "a modality's name becomes part of ONNX port names: letters, digits and `_`, got {name:?}"
        );
        reader.problem(Problem::new("chiasm::recipe::modality_name", message).at(&node.key_at, "this name"));
    }
    if name.is_empty() || RESERVED_NAMES.contains(&name) {
        let message = format!(
            "a modality becomes a flag of `chiasm run` and the output NAME_embeds; {name:?} is taken"
        );
        reader.problem(
            Problem::new("chiasm::recipe::modality_name", message)
                .at(&node.key_at, "this name")
                .help("choose another, such as image, text or audio"),
        );
    }
    let column = reader.string("column").unwrap_or_else(|| modality.clone());
    let select = read_select(&reader);
    reader.finish();
    Some(EncoderRecipe { modality, models, vectors, column, select })
}

/// Names that no modality may have: the fused vector's, and the flags of the verbs that take raw inputs.
pub const RESERVED_NAMES: [&str; 15] = [
    "attention",
    "device",
    "engine",
    "format",
    "fused",
    "help",
    "input",
    "models",
    "output",
    "plugin",
    "quiet",
    "strip",
    "threads",
    "top",
    "version",
];

fn read_select(reader: &Reader<'_>) -> Select {
    match reader.string("select") {
        None => Select::First,
        Some(said) => match said.value.as_str() {
            "first" => Select::First,
            "mean" => Select::Mean,
            other => {
                let message = format!("`select` expects \"first\" or \"mean\", got {other:?}");
                let problem = Problem::new("chiasm::recipe::select", message);
                reader.problem(problem.at(&said.at, "which items of a list make the row"));
                Select::First
            }
        },
    }
}

fn read_align(root: &Reader<'_>) -> Option<AlignRecipe> {
    let Some(align) = root.table("align") else {
        root.problem(
            Problem::new("chiasm::recipe::missing_key", "the recipe has no `[align]` table")
                .help("add [align] with plugin = \"cca\" (`chiasm plugin list` shows the aligners)"),
        );
        return None;
    };
    let source = align.string("source");
    let target = align.string("target");
    Some(AlignRecipe { plugin: read_plugin(&align, "plugin = \"cca\"")?, source, target })
}

/// Everything but the keys already asked for is the plugin's; the plan checks it against the plugin.
fn read_plugin(table: &Reader<'_>, example: &str) -> Option<PluginRecipe> {
    let id = table.required_string("plugin", example)?;
    let parameters = table.rest().into_iter().map(|(k, n)| (k.to_owned(), n.clone())).collect();
    Some(PluginRecipe { id, parameters })
}

fn read_score(score: Reader<'_>) -> ScoreRecipe {
    let bank = match score.node("bank").map(|n| &n.value) {
        None | Some(Value::Boolean(false)) => None,
        Some(Value::Boolean(true)) => Some(Bank::default()),
        Some(_) => score.table("bank").map(|table| {
            let bank = Bank {
                top: table.count("top").map_or(Bank::default().top, |t| t.value as usize),
                weight: table.number("weight").map_or(Bank::default().weight, |w| w.value as f32),
            };
            if bank.top == 0 || !bank.weight.is_finite() || bank.weight < 0.0 {
                let message = format!("`score.bank` expects top >= 1 and weight >= 0, got {bank:?}");
                table.problem(Problem::new("chiasm::recipe::bank", message).at(table.origin(), "here"));
            }
            table.finish();
            bank
        }),
    };
    score.finish();
    ScoreRecipe { bank }
}
