//! Specifications of encoders, items and fits. They are passed as JSON, so fields may be added.

use std::path::{Path, PathBuf};

use chiasm_graph::{DType, Dim, Graph, Port};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The kind of item that an adapter takes: the meaning of a value in the data file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Takes {
    /// The path of a file.
    Path,
    /// A text.
    Text,
    /// A row number in a table that the adapter opened.
    Row,
}

/// A raw item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// A file.
    Path(&'a Path),
    /// A text.
    Text(&'a str),
    /// A row number.
    Row(usize),
}

/// The length of one axis of a port: in JSON a number, a name, or `null`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DimSpec {
    /// A fixed length.
    Fixed(usize),
    /// A free length with a name.
    Named(String),
    /// A free length without a name.
    Unknown,
}

/// An input or output of a model.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortSpec {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    #[serde(with = "dtype_text")]
    pub dtype: DType,
    /// The axes; `None` if the rank is unknown.
    pub dims: Option<Vec<DimSpec>>,
}

impl From<&Port> for PortSpec {
    fn from(port: &Port) -> Self {
        let dim = |dim: &Dim| match dim {
            Dim::Fixed(length) => DimSpec::Fixed(*length),
            Dim::Named(name) => DimSpec::Named(name.clone()),
            Dim::Unknown => DimSpec::Unknown,
        };
        let dims = port.dims.as_ref().map(|dims| dims.iter().map(dim).collect());
        Self { name: port.name.clone(), dtype: port.dtype, dims }
    }
}

/// The ports and metadata of a model.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Signature {
    /// The inputs.
    pub inputs: Vec<PortSpec>,
    /// The outputs.
    pub outputs: Vec<PortSpec>,
    /// The metadata of the model.
    pub metadata: BTreeMap<String, String>,
    /// For each output that the model's last learned layer computes, the tensor that this layer reads: of a
    /// classifier, the vector from which the class scores are computed.
    pub before_last: BTreeMap<String, PortSpec>,
}

impl Signature {
    /// Returns the signature of a graph.
    pub fn of(graph: &Graph) -> Self {
        let ports = |ports: Vec<Port>| ports.iter().map(PortSpec::from).collect();
        let before = |port: &Port| Some((port.name.clone(), PortSpec::from(&graph.before_last(&port.name)?)));
        Self {
            inputs: ports(graph.inputs()),
            outputs: ports(graph.outputs()),
            metadata: graph.metadata(),
            before_last: graph.outputs().iter().filter_map(before).collect(),
        }
    }
}

/// A proposed card for an encoder, which the user reviews.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Draft {
    /// The card's `[ports]`.
    pub ports: Value,
    /// The card's `[preprocessing]`.
    pub preprocessing: Value,
    /// Why the adapter recognised the model, and the origin of every key: one line each.
    pub reason: String,
    /// Keys that the adapter could not determine. No card is written until the user sets them.
    pub undecided: Vec<Undecided>,
}

/// A key of a card that the user has to set, because what the model's files say cannot be expressed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Undecided {
    /// The key, such as `preprocessing.resize`.
    pub key: String,
    /// What the files say, why it cannot be expressed, and the values that can be set.
    pub reason: String,
}

/// The description of an encoder, from its card and its graph.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EncoderSpec {
    /// The name of the encoder, for messages.
    pub name: String,
    /// The folder of the card. Relative paths in the card start there.
    pub directory: PathBuf,
    /// The model's inputs.
    pub inputs: Vec<PortSpec>,
    /// The model's outputs.
    pub outputs: Vec<PortSpec>,
    /// The inner tensors of the model that the card's `[ports]` names.
    pub inner: Vec<PortSpec>,
    /// The card's `[ports]` as a JSON object.
    pub ports: Value,
    /// The card's `[preprocessing]` as a JSON object. With the key `corruption`, items are to be corrupted;
    /// an adapter that cannot do so refuses it (`chiasm_kit::corruption`).
    pub preprocessing: Value,
}

/// A tensor that an adapter makes for each item.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ModelInput {
    /// The input of the model, of the adapter's head or of its tail that it is passed to.
    pub name: String,
    /// The type of its elements.
    #[serde(with = "dtype_text")]
    pub dtype: DType,
    /// The lengths of the axes of one item, without the batch axis. `None` is a variable length.
    pub dims: Vec<Option<usize>>,
    /// The value with which the host pads an axis of variable length to the longest in the batch. `None` if
    /// no mask tells the model what is padding: the items of a batch then have equal lengths.
    pub pad: Option<f64>,
}

/// The name of a tensor i64 `[]` that an adapter may make besides the inputs: how much of the item did
/// not fit and was left out, such as the tokens beyond the largest length of a text. The host counts and
/// tells it.
pub const LEFT_OUT: &str = "left_out";

/// The specification of a fusion.
///
/// The data of a fit are, for each modality, `<name>.pooled` f32 `[n, pooled_dim]`, `<name>.tokens` f32
/// `[n, T, token_dim]` for a fusion that reads tokens, and `<name>.mask` f32 `[n, T]`: 1 for a token and 0
/// for padding. A row without the modality has a mask of zeros. T is 1 for a fusion that reads no tokens. For
/// a task there is also `target` f32 `[n, c]`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FusionSpec {
    /// The modalities, in the recipe's order.
    pub modalities: Vec<Modality>,
    /// The task to train for, if any.
    pub task: Option<Task>,
}

/// The specification of an aligner.
///
/// The data of a fit hold for each modality `<name>.pooled` f32 `[items, dim]` and `<name>.row` i64
/// `[items]`, the row of each item, sorted in ascending order. Items of different modalities that share a row
/// are pairs. A row may have several items of a modality, or none. The optional `validation` i64 `[n]` lists
/// the rows that select settings; the other rows are for fitting. If the recipe names a column of labels,
/// `label` i64 `[m]` holds the class of each row in `label.row` i64 `[m]`.
/// [`crate::Inputs::training_items`] reads these arrays.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AlignSpec {
    /// The modalities, in the order of the recipe.
    pub modalities: Vec<AlignModality>,
    /// The modality that the others are mapped onto, if the recipe names one.
    #[serde(default)]
    pub anchor: Option<String>,
}

/// A modality of an aligner.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AlignModality {
    /// Its name.
    pub name: String,
    /// Length of a pooled vector.
    pub dim: usize,
    /// The lengths of the encoders' vectors that are concatenated to a pooled vector; their sum is `dim`.
    pub blocks: Vec<usize>,
}

/// The number of modalities that an aligner takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ModalityCount {
    /// The minimum.
    pub least: usize,
    /// The maximum; `None` without a limit.
    pub most: Option<usize>,
}

impl Default for ModalityCount {
    /// Two or more.
    fn default() -> Self {
        Self { least: 2, most: None }
    }
}

impl ModalityCount {
    /// Exactly two.
    pub const TWO: Self = Self { least: 2, most: Some(2) };

    /// Returns whether the aligner takes this many modalities.
    pub fn contains(self, count: usize) -> bool {
        count >= self.least && self.most.is_none_or(|most| count <= most)
    }
}

impl std::fmt::Display for ModalityCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.most {
            Some(most) if most == self.least => write!(f, "exactly {most} modalities"),
            Some(most) => write!(f, "{} to {most} modalities", self.least),
            None => write!(f, "{} or more modalities", self.least),
        }
    }
}

/// What a fusion reads besides pooled vectors, and the tasks it supports.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FusionNeeds {
    /// Whether it reads tokens and masks.
    pub tokens: bool,
    /// The kinds of task that it supports; empty if it learns without a task.
    pub tasks: Vec<TaskKind>,
}

/// The task of a fusion.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Its kind.
    pub kind: TaskKind,
    /// The names of the target's columns: classes, labels or numbers. It is empty for retrieval.
    pub labels: Vec<String>,
}

/// The kind of a task, which determines the columns of `target`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// One column per class, 1 for the correct class. It includes choosing an answer from a list.
    Classification,
    /// One column per label, 1 if the label applies.
    MultiLabel,
    /// One column per number.
    Regression,
    /// The unit vector that the fused vector should retrieve.
    Retrieval,
}

impl TaskKind {
    /// Returns the name in recipes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::MultiLabel => "multi-label",
            Self::Regression => "regression",
            Self::Retrieval => "retrieval",
        }
    }
}

impl Task {
    /// Returns whether the fused graph has the output `logits`. Retrieval uses the fused vector itself.
    pub fn has_logits(&self) -> bool {
        self.kind != TaskKind::Retrieval
    }
}

/// A modality of a fusion.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Modality {
    /// Its name, the prefix of the graph's inputs, as in `<name>.pooled`.
    pub name: String,
    /// Length of a pooled vector.
    pub pooled_dim: usize,
    /// Length of a token's vector; `None` without tokens.
    #[serde(default)]
    pub token_dim: Option<usize>,
}

/// Serializes element types by name.
mod dtype_text {
    use super::DType;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(dtype: &DType, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(dtype.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DType, D::Error> {
        let name = String::deserialize(from)?;
        DType::parse(&name).ok_or_else(|| D::Error::custom(format!("unknown element type `{name}`")))
    }
}
