//! Parsing a recipe. All errors in it are reported together. Models, plugins and data are not looked up yet.

pub mod checks;
pub mod encoders;
pub mod keys;
mod plugin;
pub mod reader;
pub mod robustness;
pub mod task;
pub mod tree;
pub mod write;

use crate::base::{
    error::Error,
    problem::{Problem, Problems, SourceSpan},
};
use checks::{ChecksRecipe, read_checks};
use encoders::{EncoderRecipe, read_encoders};
pub use plugin::PluginRecipe;
use plugin::read_plugin;
use reader::{Located, TableReader};
use robustness::{RobustnessRecipe, TrainingCorruptionRecipe, read_robustness, read_training_corruption};
use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};
use task::{TaskRecipe, read_task};
use tree::{TomlTable, TomlValue};

/// A recipe as written, with the location of every value.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The text of the file, which is copied to the run folder.
    pub text: String,
    /// The `--set` assignments, in order.
    pub overrides: Vec<String>,
    /// The folder that relative paths start from.
    pub folder: PathBuf,
    /// The encoders by modality, in the order of the file.
    pub encoders: Vec<EncoderRecipe>,
    /// The data.
    pub data: DataRecipe,
    /// The aligner.
    pub align: AlignRecipe,
    /// The fusion, if any.
    pub fuse: Option<PluginRecipe>,
    /// The task that the fusion is trained for, if any.
    pub task: Option<TaskRecipe>,
    /// How scores are computed from embeddings.
    pub score: ScoreRecipe,
    /// How retrieval is evaluated.
    pub eval: EvalRecipe,
    /// How the maps are checked.
    pub checks: ChecksRecipe,
    /// The sweeps over corrupted and missing test items, if any.
    pub robustness: Option<RobustnessRecipe>,
    /// The random seed.
    pub seed: u64,
}

/// The table `[data]`.
#[derive(Debug, Clone, Default)]
pub struct DataRecipe {
    /// A JSONL, CSV or Parquet file; `None` if every encoder is a file of vectors, paired by position.
    pub pairs: Option<Located<String>>,
    /// The column that names each row's split.
    pub split: Option<Located<String>>,
    /// A Parquet file, or a folder of them, with more training rows, which are summed and not kept.
    pub shards: Option<Located<String>>,
    /// Corruption of training items, by modality.
    pub corruption: Vec<TrainingCorruptionRecipe>,
}

/// The keys of `[align]` that are not parameters of the aligner.
pub const ALIGN_KEYS: [&str; 3] = ["plugin", "anchor", "labels"];

/// The table `[align]`.
#[derive(Debug, Clone)]
pub struct AlignRecipe {
    /// The plugin and its parameters.
    pub plugin: PluginRecipe,
    /// The anchor: the modality that all others are aligned to, if one is named.
    pub anchor: Option<Located<String>>,
    /// The column of labels that aligners with a task term learn, if one is named.
    pub labels: Option<Located<String>>,
}

/// The table `[score]`.
#[derive(Debug, Clone, Default)]
pub struct ScoreRecipe {
    /// The hubness bank, if one is used.
    pub bank: Option<BankSettings>,
}

/// Settings of the hubness bank. The corrected score is the score minus `weight` times the mean of the `top`
/// largest similarities of each item to the training items of the other modality.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct BankSettings {
    /// The number of nearest training items that are averaged.
    pub top: usize,
    /// The weight of the correction.
    pub weight: f32,
}

impl Default for BankSettings {
    fn default() -> Self {
        Self { top: 30, weight: 0.75 }
    }
}

/// The table `[eval]`: which test items are relevant for a query.
#[derive(Debug, Clone, Default)]
pub struct EvalRecipe {
    /// Items are relevant if their rows have the same value in this column. For `None`, the items of the same
    /// row are relevant.
    pub label: Option<Located<String>>,
}

/// The largest recipe, in bytes.
const MAX_RECIPE: u64 = 16 << 20;

impl Recipe {
    /// Reads the recipe at `path` and applies the `--set` assignments.
    ///
    /// # Errors
    /// If the file cannot be read; otherwise every problem in it.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, Error> {
        let bytes = chiasm_host::read_file(path, MAX_RECIPE);
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other));
        let text = text.map_err(|e| {
            Problem::new(
                "chiasm::recipe::unreadable",
                format!("cannot read the recipe {}: {e}", path.display()),
            )
            .help("give the path of a recipe.toml; examples/ contains some")
        })?;
        let whole = std::path::absolute(path).map_err(|e| Error::io("find", path, e))?;
        let folder = whole.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self::parse(&path.display().to_string(), text, folder, overrides)?)
    }

    /// Parses the text of a recipe. `name` is its name in messages, and relative paths start at `folder`.
    ///
    /// ```
    /// use chiasm_pipeline::Recipe;
    ///
    /// let text = r#"
    ///     [encoders.image]
    ///     vectors = "image.npy"
    ///     [encoders.text]
    ///     vectors = "text.npy"
    ///     [align]
    ///     plugin = "cca"
    /// "#;
    /// let recipe = Recipe::parse("recipe.toml", text.to_owned(), "data".into(), &["seed=3".to_owned()])?;
    /// assert_eq!(recipe.inputs(), ["image", "text"]);
    /// assert_eq!(recipe.seed, 3);
    /// # Ok::<(), chiasm_pipeline::Problems>(())
    /// ```
    ///
    /// # Errors
    /// Every problem in the recipe.
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
            eval: parts.eval,
            checks: parts.checks,
            robustness: parts.robustness,
            seed: parts.seed,
        }))
    }

    /// Returns the columns of raw items, in the order of the encoders.
    pub fn inputs(&self) -> Vec<&str> {
        self.encoders.iter().map(|encoder| encoder.column.value.as_str()).collect()
    }

    /// Returns the columns of other values: labels and targets.
    pub fn values(&self) -> impl Iterator<Item = &Located<String>> {
        let task = self.task.as_ref().and_then(TaskRecipe::column);
        self.checks.labels.iter().chain(&self.eval.label).chain(&self.align.labels).chain(task)
    }

    /// Returns a path of the recipe. Relative paths start at the folder of the recipe.
    pub fn path(&self, written: &str) -> PathBuf {
        self.folder.join(written)
    }

    /// Returns the encoders of a modality.
    pub fn encoder(&self, modality: &str) -> Option<&EncoderRecipe> {
        self.encoders.iter().find(|encoder| encoder.modality.value == modality)
    }
}

/// The tables of a recipe.
struct RecipeTables {
    encoders: Vec<EncoderRecipe>,
    data: DataRecipe,
    align: AlignRecipe,
    fuse: Option<PluginRecipe>,
    task: Option<TaskRecipe>,
    score: ScoreRecipe,
    eval: EvalRecipe,
    checks: ChecksRecipe,
    robustness: Option<RobustnessRecipe>,
    seed: u64,
}

fn read(table: &TomlTable, whole: &SourceSpan, problems: &RefCell<Problems>) -> Option<RecipeTables> {
    let root = TableReader::new("", table, whole, problems);
    let seed = root.count("seed").map_or(0, |s| s.value);
    let encoders = read_encoders(&root, problems);
    let names: Vec<&str> = encoders.iter().map(|encoder| encoder.modality.value.as_str()).collect();
    let data = root.table("data").map(|data| {
        let corruption = read_training_corruption(&data, &names, problems);
        let read = DataRecipe {
            pairs: data.string("pairs"),
            split: data.string("split"),
            shards: data.string("shards"),
            corruption,
        };
        data.finish();
        read
    });
    if data.is_none() && encoders.iter().any(|e| e.vectors.is_none()) {
        root.problem(
            Problem::new("chiasm::recipe::missing_key", "the recipe has no `[data]` table")
                .help("add [data] with pairs = \"pairs.jsonl\""),
        );
    }
    let align = read_align(&root, &names);
    let fuse = root.table("fuse").and_then(|fuse| read_plugin(&fuse, "plugin = \"concat\""));
    let task = read_task(&root);
    let score = root.table("score").map_or_else(ScoreRecipe::default, read_score);
    let eval = root.table("eval").map_or_else(EvalRecipe::default, read_eval);
    let checks = read_checks(&root);
    let system = align.as_ref().map(|align| align.plugin.id.value.as_str()).unwrap_or_default();
    let robustness = read_robustness(&root, &names, system, problems);
    root.finish();
    let data = data.unwrap_or_default();
    Some(RecipeTables { encoders, data, align: align?, fuse, task, score, eval, checks, robustness, seed })
}

fn read_align(root: &TableReader<'_>, names: &[&str]) -> Option<AlignRecipe> {
    let Some(align) = root.table("align") else {
        root.problem(
            Problem::new("chiasm::recipe::missing_key", "the recipe has no `[align]` table")
                .help("add [align] with plugin = \"cca\" (`chiasm plugin list` shows the aligners)"),
        );
        return None;
    };
    let (anchor, labels) = (align.string("anchor"), align.string("labels"));
    if let Some(unknown) = anchor.as_ref().filter(|anchor| !names.contains(&anchor.value.as_str())) {
        let message = format!("`align.anchor` expects one of {}, got {:?}", names.join(", "), unknown.value);
        let problem = Problem::new("chiasm::recipe::anchor", message);
        align
            .problem(problem.at(&unknown.at, "this modality").suggest(&unknown.value, names.iter().copied()));
    }
    Some(AlignRecipe { plugin: read_plugin(&align, "plugin = \"cca\"")?, anchor, labels })
}

fn read_score(score: TableReader<'_>) -> ScoreRecipe {
    let bank = match score.node("bank").map(|n| &n.value) {
        None | Some(TomlValue::Boolean(false)) => None,
        Some(TomlValue::Boolean(true)) => Some(BankSettings::default()),
        Some(_) => score.table("bank").map(|table| {
            let bank = BankSettings {
                top: table.count("top").map_or(BankSettings::default().top, |t| t.value as usize),
                weight: table.number("weight").map_or(BankSettings::default().weight, |w| w.value as f32),
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

/// Reads `relevant = "row"`, or `relevant = "label"` with `label = "COLUMN"`.
fn read_eval(eval: TableReader<'_>) -> EvalRecipe {
    let code = "chiasm::recipe::eval";
    let relevant = eval.string("relevant");
    let label = eval.string("label");
    match (relevant.as_ref().map(|relevant| relevant.value.as_str()), &label) {
        (None | Some("row"), None) | (Some("label"), Some(_)) => {}
        (Some("label"), None) => eval.problem(
            Problem::new(code, "`eval.relevant` is \"label\", and `eval.label` names no column")
                .at(eval.origin(), "this table")
                .help("add label = \"COLUMN\": items whose rows have the same value there are relevant"),
        ),
        (None | Some("row"), Some(label)) => eval.problem(
            Problem::new(code, "`eval.label` is only used with relevant = \"label\"")
                .at(&label.at, "this column")
                .help("add relevant = \"label\""),
        ),
        (Some(other), _) => {
            let message = format!("`eval.relevant` expects \"row\" or \"label\", got {other:?}");
            let at = relevant.as_ref().map_or(eval.origin(), |relevant| &relevant.at);
            eval.problem(Problem::new(code, message).at(at, "this value"));
        }
    }
    eval.finish();
    EvalRecipe { label }
}
