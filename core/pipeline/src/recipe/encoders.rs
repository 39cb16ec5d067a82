//! `[encoders.<modality>]`: the model or the file of vectors of a modality, and the column of its items.

use super::{
    reader::{Located, TableReader},
    tree::{TomlNode, TomlValue},
};
use crate::base::problem::{Problem, Problems};
use std::cell::RefCell;

/// The encoder of one modality, or several encoders whose pooled vectors are concatenated.
#[derive(Debug, Clone)]
pub struct EncoderRecipe {
    /// The modality, e.g. `image` for `[encoders.image]`.
    pub modality: Located<String>,
    /// Names of model cards; empty if `vectors` is given.
    pub models: Vec<Located<String>>,
    /// A file of precomputed embeddings, instead of a model.
    pub vectors: Option<Located<String>>,
    /// The array of an .npz file, or the column of a Parquet file, that holds the vectors.
    pub member: Option<Located<String>>,
    /// The column of the data that holds the raw items.
    pub column: Located<String>,
    /// Which items of a list are used.
    pub items: Located<ItemRule>,
    /// The same for training and validation rows. Default: as `items`.
    pub train_items: Located<ItemRule>,
}

/// Which items of a row's list are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ItemRule {
    /// All items, each with its own vector.
    #[default]
    Each,
    /// The first item.
    First,
    /// The mean of the pooled vectors of all items, as one item.
    Mean,
}

impl ItemRule {
    /// Returns its name in a recipe.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::First => "first",
            Self::Mean => "mean",
        }
    }
}

/// Names that a modality must not have: `fused`, and the flags of the commands that take raw items.
pub const RESERVED_NAMES: [&str; 23] = [
    "allow-changed",
    "attention",
    "device",
    "engine",
    "format",
    "fuse",
    "fused",
    "help",
    "in",
    "input",
    "models",
    "output",
    "plugin",
    "isolate",
    "plugin-memory",
    "plugin-policy",
    "plugin-timeout",
    "quiet",
    "shard",
    "strip",
    "threads",
    "top",
    "version",
];

/// Reads every table of `[encoders]`.
pub(super) fn read_encoders(root: &TableReader<'_>, problems: &RefCell<Problems>) -> Vec<EncoderRecipe> {
    let code = "chiasm::recipe::encoders";
    let Some(tables) = root.table("encoders") else {
        root.problem(
            Problem::new(code, "the recipe has no encoders").help("add [encoders.image] and [encoders.text]"),
        );
        return Vec::new();
    };
    let all: Vec<_> =
        tables.rest().into_iter().filter_map(|(name, node)| read_encoder(name, node, problems)).collect();
    if tables.rest().len() < 2 {
        let message = format!("expected two or more modalities, got {}", tables.rest().len());
        root.problem(Problem::new(code, message).at(tables.origin(), "these encoders").help(
            "add tables such as [encoders.image] and [encoders.text]; for several encoders of ONE modality, \
             give a list: model = [\"a\", \"b\"]",
        ));
    }
    all
}

fn read_encoder(name: &str, node: &TomlNode, problems: &RefCell<Problems>) -> Option<EncoderRecipe> {
    let TomlValue::Table(table) = &node.value else {
        let problem =
            Problem::new("chiasm::recipe::wrong_type", format!("`encoders.{name}` expects a table"));
        problems.borrow_mut().push(problem.at(&node.at, "this value"));
        return None;
    };
    let reader = TableReader::new(&format!("encoders.{name}"), table, &node.key_at, problems);
    let modality = Located { value: name.to_owned(), at: node.key_at.clone() };
    let models = reader.strings("model");
    let vectors = reader.string("vectors");
    if models.is_empty() == vectors.is_none() {
        let message = format!("[encoders.{name}] needs either `model` or `vectors`");
        let problem = Problem::new("chiasm::recipe::encoder_source", message);
        reader.problem(problem.at(&node.key_at, "this encoder").help(
            "model = \"NAME\" uses a model card (`chiasm model list`); vectors = \"a.npy\" uses precomputed \
             embeddings",
        ));
    }
    let member = reader.string("member");
    if let Some(member) = member.as_ref().filter(|_| vectors.is_none()) {
        let message = format!("`member` of [encoders.{name}] names a part of `vectors`, which is not given");
        let problem = Problem::new("chiasm::recipe::encoder_source", message);
        reader.problem(problem.at(&member.at, "this member").help("remove it, or add `vectors`"));
    }
    check_name(&reader, &modality);
    let column = reader.string("column").unwrap_or_else(|| modality.clone());
    let default = Located { value: ItemRule::default(), at: modality.at.clone() };
    let items = read_items(&reader, "items", default);
    let train_items = read_items(&reader, "train_items", items.clone());
    reader.finish();
    Some(EncoderRecipe { modality, models, vectors, member, column, items, train_items })
}

fn check_name(reader: &TableReader<'_>, modality: &Located<String>) {
    let name = modality.value.as_str();
    let code = "chiasm::recipe::modality_name";
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let message = format!(
            "expected a modality name of letters, digits and `_`, since it is part of ONNX port names; got \
             {name:?}"
        );
        reader.problem(Problem::new(code, message).at(&modality.at, "this name"));
    }
    if name.is_empty() || RESERVED_NAMES.contains(&name) {
        let message =
            format!("{name:?} cannot be the name of a modality: it is empty or a flag of `chiasm run`");
        let problem = Problem::new(code, message).at(&modality.at, "this name");
        reader.problem(problem.help("choose another name, such as image, text or audio"));
    }
}

fn read_items(reader: &TableReader<'_>, key: &'static str, default: Located<ItemRule>) -> Located<ItemRule> {
    let Some(written) = reader.string(key) else { return default };
    let value = match written.value.as_str() {
        "each" => ItemRule::Each,
        "first" => ItemRule::First,
        "mean" => ItemRule::Mean,
        other => {
            let message = format!("`{key}` expects \"each\", \"first\" or \"mean\", got {other:?}");
            let problem = Problem::new("chiasm::recipe::items", message);
            reader.problem(problem.at(&written.at, "this rule"));
            ItemRule::default()
        }
    };
    Located { value, at: written.at }
}
