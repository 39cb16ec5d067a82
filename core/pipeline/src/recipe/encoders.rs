//! `[encoders.<modality>]`: which model or vectors stand for a modality, and which column holds its items.

use super::tree::{At, Node, Reader, Value};
use crate::base::problem::{Problem, Problems};
use std::cell::RefCell;

/// One modality's encoder, or several encoders whose pooled vectors are concatenated.
#[derive(Debug, Clone)]
pub struct EncoderRecipe {
    /// The table's name: `image` in `[encoders.image]`.
    pub modality: At<String>,
    /// Names of model cards; empty when `vectors` is given.
    pub models: Vec<At<String>>,
    /// A file of precomputed embeddings in place of a model.
    pub vectors: Option<At<String>>,
    /// The column of the data that holds this modality's raw items.
    pub column: At<String>,
    /// Which items of a list are used.
    pub items: At<ItemRule>,
    /// The same for training and validation rows; as `items` unless given.
    pub train_items: At<ItemRule>,
}

/// Which items of a row's list are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ItemRule {
    /// Every item, each with a vector of its own.
    #[default]
    Each,
    /// The first item.
    First,
    /// The mean of all items' pooled vectors, as one item.
    Mean,
}

/// Names that no modality may have: the fused vector's, and the flags of the verbs that take raw inputs.
pub const RESERVED_NAMES: [&str; 17] = [
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
    "quiet",
    "strip",
    "threads",
    "top",
    "version",
];

/// Reads every table of `[encoders]`.
pub(super) fn read_encoders(root: &Reader<'_>, problems: &RefCell<Problems>) -> Vec<EncoderRecipe> {
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
        let message = format!("a merge takes two or more modalities, got {}", tables.rest().len());
        root.problem(Problem::new(code, message).at(tables.origin(), "these encoders").help(
            "name tables such as [encoders.image] and [encoders.text]; several encoders of ONE modality are \
             a list: model = [\"a\", \"b\"]",
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
        let problem = Problem::new("chiasm::recipe::encoder_source", message);
        reader.problem(problem.at(&node.key_at, "this encoder").help(
            "model = \"NAME\" names a card of models/ (`chiasm model list`); vectors = \"a.npy\" takes \
             embeddings you already have",
        ));
    }
    check_name(&reader, &modality);
    let column = reader.string("column").unwrap_or_else(|| modality.clone());
    let default = At { value: ItemRule::default(), at: modality.at.clone() };
    let items = read_items(&reader, "items", default);
    let train_items = read_items(&reader, "train_items", items.clone());
    reader.finish();
    Some(EncoderRecipe { modality, models, vectors, column, items, train_items })
}

fn check_name(reader: &Reader<'_>, modality: &At<String>) {
    let name = modality.value.as_str();
    let code = "chiasm::recipe::modality_name";
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let message = format!(
            "a modality's name becomes part of ONNX port names: letters, digits and `_`, got {name:?}"
        );
        reader.problem(Problem::new(code, message).at(&modality.at, "this name"));
    }
    if name.is_empty() || RESERVED_NAMES.contains(&name) {
        let message = format!(
            "a modality becomes a flag of `chiasm run` and the output NAME_embeds; {name:?} is taken"
        );
        let problem = Problem::new(code, message).at(&modality.at, "this name");
        reader.problem(problem.help("choose another, such as image, text or audio"));
    }
}

fn read_items(reader: &Reader<'_>, key: &'static str, default: At<ItemRule>) -> At<ItemRule> {
    let Some(written) = reader.string(key) else { return default };
    let value = match written.value.as_str() {
        "each" => ItemRule::Each,
        "first" => ItemRule::First,
        "mean" => ItemRule::Mean,
        other => {
            let message = format!("`{key}` expects \"each\", \"first\" or \"mean\", got {other:?}");
            let problem = Problem::new("chiasm::recipe::items", message);
            reader.problem(problem.at(&written.at, "which items of a list are used"));
            ItemRule::default()
        }
    };
    At { value, at: written.at }
}
