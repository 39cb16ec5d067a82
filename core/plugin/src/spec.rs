//! What host and plugin tell each other about encoders and items. All of it travels as JSON, so fields may be added.

use std::path::{Path, PathBuf};

use chiasm_graph::{DType, Dim, Graph, Port};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a value in the pairs table means to an adapter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Takes {
    /// A file's path.
    Path,
    /// The text itself.
    Text,
    /// A row's number in a table that the adapter opened.
    Row,
}

/// One raw item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// A file.
    Path(&'a Path),
    /// A text.
    Text(&'a str),
    /// A row's number.
    Row(usize),
}

/// Length of one axis of a port: a number, a name, or `null`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DimSpec {
    /// Always this long.
    Fixed(usize),
    /// Free, with a name.
    Named(String),
    /// Free.
    Unknown,
}

/// A port of a model.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortSpec {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    #[serde(with = "dtype_text")]
    pub dtype: DType,
    /// Its axes; `None` when even the rank is not known.
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

/// What can be said about a model from its graph alone.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Signature {
    /// What it takes.
    pub inputs: Vec<PortSpec>,
    /// What it gives.
    pub outputs: Vec<PortSpec>,
    /// What its maker wrote into it.
    pub metadata: BTreeMap<String, String>,
}

impl Signature {
    /// The signature of a graph.
    pub fn of(graph: &Graph) -> Self {
        let ports = |ports: Vec<Port>| ports.iter().map(PortSpec::from).collect();
        Self { inputs: ports(graph.inputs()), outputs: ports(graph.outputs()), metadata: graph.metadata() }
    }
}

/// A proposal for an encoder's card, for the user to read and keep.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Draft {
    /// The card's `[ports]`.
    pub ports: Value,
    /// The card's `[preprocessing]`.
    pub preprocessing: Value,
    /// Why this adapter thinks so.
    pub reason: String,
}

/// An encoder as its card and its graph describe it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EncoderSpec {
    /// The encoder's name, for messages.
    pub name: String,
    /// The card's folder: relative paths in the card start here.
    pub directory: PathBuf,
    /// The model's inputs.
    pub inputs: Vec<PortSpec>,
    /// The model's outputs.
    pub outputs: Vec<PortSpec>,
    /// The card's `[ports]` as a JSON object.
    pub ports: Value,
    /// The card's `[preprocessing]` as a JSON object.
    pub preprocessing: Value,
}

/// One tensor that an adapter makes for each item.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ModelInput {
    /// The model's input that it goes to.
    pub name: String,
    /// The type of its elements.
    #[serde(with = "dtype_text")]
    pub dtype: DType,
    /// Lengths of one item's axes, without the batch; `None` is ragged: the host pads to the batch's longest.
    pub dims: Vec<Option<usize>>,
    /// What a ragged axis is padded with.
    pub pad: f64,
}

/// What a fusion is asked for.
///
/// The data of a fit are, for each modality, `<name>.pooled` f32 `[n, pooled_dim]`, `<name>.tokens` f32
/// `[n, T, token_dim]` for a fusion that reads tokens, and `<name>.mask` f32 `[n, T]`: 1 for a token and 0 for
/// padding. A row without the modality has a mask of zeros. T is 1 for a fusion that reads no tokens. For a task
/// there is also `target` f32 `[n, c]`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FusionSpec {
    /// What is merged.
    pub modalities: Vec<Modality>,
    /// What it is trained for.
    pub task: Option<Task>,
}

/// What an aligner aligns.
///
/// The data of a fit are, for every modality, `<name>.pooled` f32 `[items, dim]` and `<name>.row` i64 `[items]`, the row that
/// each item belongs to, in ascending order. Items of different modalities that share a row are pairs. A row may hold several
/// items of a modality, or none. `validation` i64 `[n]`, when it is there, lists the rows that choose between settings;
/// the other rows are for fitting. [`crate::Inputs::training_items`] reads all of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AlignSpec {
    /// The modalities, in the recipe's order.
    pub modalities: Vec<AlignModality>,
    /// The modality that the others are bound to, when the recipe names one.
    #[serde(default)]
    pub anchor: Option<String>,
}

/// A modality that an aligner maps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AlignModality {
    /// Its name.
    pub name: String,
    /// Length of a pooled vector.
    pub dim: usize,
    /// Lengths of the encoders' vectors that stand side by side in a pooled vector; their sum is `dim`.
    pub blocks: Vec<usize>,
}

/// How many modalities an aligner takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ModalityCount {
    /// At least so many.
    pub least: usize,
    /// At most so many; `None` without a limit.
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

    /// Whether so many are taken.
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

/// What a fusion reads beside pooled vectors, and what it can be trained for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FusionNeeds {
    /// Whether it reads tokens and masks.
    pub tokens: bool,
    /// The kinds of task that it takes; none: it learns without one.
    pub tasks: Vec<TaskKind>,
}

/// What a fusion is trained for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Its kind.
    pub kind: TaskKind,
    /// Names of the target's columns: the classes, the labels or the numbers; empty for retrieval.
    pub labels: Vec<String>,
}

/// Kinds of task, by what the columns of `target` are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// One column a class, 1 for the right one: also the choice of an answer from a list.
    Classification,
    /// One column a label, 1 where it holds.
    MultiLabel,
    /// Numbers.
    Regression,
    /// The vector, of unit length, that the fused one shall find.
    Retrieval,
}

impl TaskKind {
    /// Its name in recipes.
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
    /// Whether the fused graph answers it with `logits`; retrieval's answer is the fused vector itself.
    pub fn has_logits(&self) -> bool {
        self.kind != TaskKind::Retrieval
    }
}

/// A modality that a fusion merges.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Modality {
    /// Its name: the fused graph's inputs are `<name>.pooled` and so on.
    pub name: String,
    /// Length of a pooled vector.
    pub pooled_dim: usize,
    /// Length of a token's vector; `None` when there are no tokens.
    #[serde(default)]
    pub token_dim: Option<usize>,
}

/// Element types travel by their names.
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
