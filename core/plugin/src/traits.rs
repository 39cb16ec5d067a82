//! The three things that a plugin may be.

use std::path::Path;

use chiasm_graph::{Graph, Tensor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    AlignSpec, Draft, EncoderSpec, Error, Fused, FusionNeeds, FusionSpec, Inputs, Item, Learned,
    ModalityCount, ModelInput, Result, Services, Signature, Takes,
};

/// Turns raw items of one modality into an encoder's inputs.
pub trait Adapter: Send + Sync + Sized + 'static {
    /// What a card's `adapter = "..."` says: lower-case letters, digits, `-`.
    const ID: &'static str;
    /// One sentence.
    const DOC: &'static str;

    /// What the pairs table's value means.
    fn takes() -> Takes;

    /// Proposes a card for a model that looks like one of its own; `None` when it does not.
    fn draft(signature: &Signature, directory: &Path) -> Result<Option<Draft>>;

    /// Opens the adapter for one encoder. Everything wrong with the card is found here, not at the first item.
    fn open(spec: &EncoderSpec, services: &Services<'_>) -> Result<Self>;

    /// The tensors that `prepare` makes, in its order.
    fn inputs(&self) -> Vec<ModelInput>;

    /// One raw item as one tensor per input, without a batch axis. Called from several threads at once.
    fn prepare(&self, item: Item<'_>) -> Result<Vec<Tensor>>;

    /// How many rows there are, for an adapter that takes [`Takes::Row`]; `None` for the others.
    fn rows(&self) -> Option<usize> {
        None
    }

    /// The graph behind the encoder. Inputs: ports of the model, by name. Outputs: `tokens` f32 `[batch, T, D]`, `mask` f32
    /// `[batch, T]` (0 or 1), `pooled` f32 `[batch, D]`.
    fn tail(&self) -> Result<Graph>;
}

/// Learns a map of every modality into one shared space.
pub trait Aligner: Send + Sync + 'static {
    /// What a recipe's `plugin = "..."` says: lower-case letters, digits, `-`.
    const ID: &'static str;
    /// One sentence.
    const DOC: &'static str;

    /// What the user may set.
    fn parameters() -> Vec<Parameter>;

    /// How many modalities it takes: two or more, unless said.
    fn takes() -> ModalityCount {
        ModalityCount::default()
    }

    /// Fits on the training items of every modality. `data` is read with [`Inputs::views`]; `parameters` is a JSON object,
    /// read with [`read_parameters`].
    fn fit(
        spec: &AlignSpec,
        data: &Inputs<'_>,
        parameters: &Value,
        services: &Services<'_>,
    ) -> Result<Learned>;
}

/// Learns or builds a map from several modalities into one vector, and perhaps the answer to a task.
pub trait Fusion: Send + Sync + 'static {
    /// What a recipe's `plugin = "..."` says: lower-case letters, digits, `-`.
    const ID: &'static str;
    /// One sentence.
    const DOC: &'static str;

    /// What the user may set.
    fn parameters() -> Vec<Parameter>;

    /// What it reads beside pooled vectors, and what it can be trained for: nothing, unless said.
    fn needs() -> FusionNeeds {
        FusionNeeds::default()
    }

    /// Fits on training rows only: what `data` holds, [`FusionSpec`] says.
    fn fit(
        spec: &FusionSpec,
        data: &Inputs<'_>,
        parameters: &Value,
        services: &Services<'_>,
    ) -> Result<Fused>;
}

/// One thing that the user may set, for `plugin inspect`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Parameter {
    /// Its key.
    pub name: String,
    /// What it holds, one of [`Parameter::KINDS`].
    #[serde(rename = "type")]
    pub kind: String,
    /// Its value when not set; `null` when it is then chosen from the data.
    pub default: Value,
    /// One sentence.
    pub doc: String,
}

impl Parameter {
    /// The kinds of value. Those that end in `or table` are one value for all modalities, or a table of them by name.
    pub const KINDS: [&str; 13] = [
        "integer",
        "number",
        "text",
        "true or false",
        "table",
        "list of integers",
        "list of numbers",
        "list of settings",
        "integer or table",
        "number or table",
        "text or table",
        "true or false or table",
        "list of numbers or table",
    ];

    /// A parameter.
    pub fn new(name: &str, kind: &str, default: impl Into<Value>, doc: &str) -> Self {
        Self { name: name.into(), kind: kind.into(), default: default.into(), doc: doc.into() }
    }
}

/// Refuses a parameter outside `low..=high`, by name.
///
/// # Errors
/// [`Error::invalid`] with what was expected and got.
pub fn within(name: &str, value: f64, low: f64, high: f64) -> Result<()> {
    match (low..=high).contains(&value) {
        true => Ok(()),
        false => Err(Error::invalid(format!("parameter `{name}`: expected {low} to {high}, got {value}"))),
    }
}

/// Reads parameters into a struct; `null` reads as `{}`. With `#[serde(default, deny_unknown_fields)]` on the struct, a misspelt key is an
/// error that names the known ones.
pub fn read_parameters<P: DeserializeOwned>(parameters: &Value) -> Result<P> {
    let object = if parameters.is_null() { Value::Object(Default::default()) } else { parameters.clone() };
    serde_json::from_value(object).map_err(|e| Error::invalid(format!("parameters: {e}")))
}
