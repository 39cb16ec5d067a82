//! The three things that a plugin may be.

use std::path::Path;

use chiasm_graph::{Graph, Tensor};
use chiasm_parameters::{Parameters, read};
use serde_json::Value;

use crate::{
    AlignSpec, Draft, EncoderSpec, Error, Fused, FusionNeeds, FusionSpec, Inputs, Item, Learned,
    ModalityCount, ModelInput, Result, Services, Signature, Takes, TrainingItems,
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
    /// What the recipe may set in `[align]`; [`NoParameters`](crate::NoParameters) where there is nothing.
    type Parameters: Parameters;

    /// How many modalities it takes with these parameters. The default is two or more.
    fn takes(parameters: &Self::Parameters) -> ModalityCount {
        let _ = parameters;
        ModalityCount::default()
    }

    /// Fits on the training items of every modality. The parameters have been checked.
    ///
    /// # Errors
    /// When the items cannot be fitted, a parameter does not suit them, or the host asked to stop.
    fn fit(
        items: &TrainingItems<'_>,
        parameters: Self::Parameters,
        services: &Services<'_>,
    ) -> Result<Learned>;

    /// Reads the items and the parameters, then fits. The host calls it; a plugin's tests may.
    ///
    /// # Errors
    /// When the items or the parameters are not as they must be, or the fit fails.
    fn fit_json(
        spec: &AlignSpec,
        data: &Inputs<'_>,
        parameters: &Value,
        services: &Services<'_>,
    ) -> Result<Learned> {
        let parameters = read_parameters(parameters)?;
        Self::fit(&data.training_items(spec)?, parameters, services)
    }
}

/// Learns or builds a map from several modalities into one vector, and perhaps the answer to a task.
pub trait Fusion: Send + Sync + 'static {
    /// What a recipe's `plugin = "..."` says: lower-case letters, digits, `-`.
    const ID: &'static str;
    /// One sentence.
    const DOC: &'static str;

    /// What the recipe may set in `[fuse]`; [`NoParameters`](crate::NoParameters) where there is nothing.
    type Parameters: Parameters;

    /// What it reads beside pooled vectors with these parameters, and the tasks that it can be trained for. The
    /// default is none of them.
    fn needs(parameters: &Self::Parameters) -> FusionNeeds {
        let _ = parameters;
        FusionNeeds::default()
    }

    /// Fits on training rows only. [`FusionSpec`] lists what `data` holds. The parameters have been checked.
    ///
    /// # Errors
    /// When the data cannot be fitted, a parameter does not suit them, or the host asked to stop.
    fn fit(
        spec: &FusionSpec,
        data: &Inputs<'_>,
        parameters: Self::Parameters,
        services: &Services<'_>,
    ) -> Result<Fused>;

    /// Reads the parameters, then fits. The host calls it; a plugin's tests may.
    ///
    /// # Errors
    /// When the parameters are not as they must be, or the fit fails.
    fn fit_json(
        spec: &FusionSpec,
        data: &Inputs<'_>,
        parameters: &Value,
        services: &Services<'_>,
    ) -> Result<Fused> {
        Self::fit(spec, data, read_parameters(parameters)?, services)
    }
}

/// Reads and checks parameters from a JSON object; `null` reads as an object without keys.
///
/// # Errors
/// [`Error::invalid`] with the parameter, what was expected and what was given.
pub fn read_parameters<P: Parameters>(parameters: &Value) -> Result<P> {
    read(parameters).map_err(|e| Error::invalid(e.to_string()))
}
