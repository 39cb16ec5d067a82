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
///
/// ```
/// use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Tensor};
/// use chiasm_plugin::{
///     Adapter, Draft, EncoderSpec, Error, Item, ModelInput, Result, Services, Signature, Takes,
/// };
/// use std::path::Path;
///
/// /// Texts as their number of characters.
/// pub struct Lengths;
///
/// impl Adapter for Lengths {
///     const ID: &'static str = "lengths";
///     const DOC: &'static str = "Texts as their number of characters.";
///
///     fn takes() -> Takes {
///         Takes::Text
///     }
///
///     fn draft(_: &Signature, _: &Path) -> Result<Option<Draft>> {
///         Ok(None)
///     }
///
///     fn open(_: &EncoderSpec, _: &Services<'_>) -> Result<Self> {
///         Ok(Self)
///     }
///
///     fn inputs(&self) -> Vec<ModelInput> {
///         vec![ModelInput { name: "x".into(), dtype: DType::F32, dims: vec![Some(1)], pad: 0.0 }]
///     }
///
///     fn prepare(&self, item: Item<'_>) -> Result<Vec<Tensor>> {
///         let Item::Text(text) = item else { return Err(Error::invalid("expected a text")) };
///         Ok(vec![Tensor::f32(&[1], vec![text.chars().count() as f32])?])
///     }
///
///     // The model has an output `features` [batch, 1]: it is the pooled vector and the only token.
///     fn tail(&self) -> Result<Graph> {
///         let (batch, one) = (Dim::named("batch"), Dim::Fixed(1));
///         let mut b = Builder::new("tail");
///         let pooled = b.input("features", DType::F32, &[batch.clone(), one.clone()])?;
///         let tokens = b.unsqueeze(&pooled, &[1]);
///         let zero = b.mul_scalar(&pooled, 0.0);
///         let mask = b.add_scalar(&zero, 1.0);
///         let pooled = b.mul_scalar(&pooled, 1.0);
///         b.output("tokens", &tokens, DType::F32, &[batch.clone(), one.clone(), one.clone()]);
///         b.output("mask", &mask, DType::F32, &[batch.clone(), one.clone()]);
///         b.output("pooled", &pooled, DType::F32, &[batch, one]);
///         Ok(b.finish()?)
///     }
/// }
///
/// chiasm_plugin::export_plugin! { adapters: [Lengths] }
/// # assert_eq!(Lengths.prepare(Item::Text("four")).unwrap()[0].as_f32().unwrap(), [4.0]);
/// # assert_eq!(Lengths.tail().unwrap().outputs().len(), 3);
/// ```
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
///
/// ```
/// use chiasm_plugin::graph::{Builder, DType, Dim};
/// use chiasm_plugin::{Error, Fused, Fusion, FusionSpec, Inputs, NoParameters, Result, Services, json};
///
/// /// The sum of the pooled vectors.
/// pub struct Sum;
///
/// impl Fusion for Sum {
///     const ID: &'static str = "sum";
///     const DOC: &'static str = "The sum of the pooled vectors.";
///     type Parameters = NoParameters;
///
///     fn fit(spec: &FusionSpec, _: &Inputs<'_>, _: NoParameters, _: &Services<'_>) -> Result<Fused> {
///         let mut b = Builder::new("sum");
///         let (mut sum, mut width) = (None, 0);
///         for one in &spec.modalities {
///             width = one.pooled_dim;
///             let port = format!("{}.pooled", one.name);
///             let pooled = b.input(&port, DType::F32, &[Dim::named("batch"), width.into()])?;
///             sum = Some(sum.map_or(pooled.clone(), |sum| b.add(&sum, &pooled)));
///         }
///         let sum = sum.ok_or_else(|| Error::invalid("expected at least one modality, got none"))?;
///         let sum = b.mul_scalar(&sum, 1.0);
///         b.output("fused", &sum, DType::F32, &[Dim::named("batch"), width.into()]);
///         Ok(Fused { graph: b.finish()?, notes: json!({}) })
///     }
/// }
///
/// chiasm_plugin::export_plugin! { fusions: [Sum] }
/// # let one = |name: &str| chiasm_plugin::Modality { name: name.into(), pooled_dim: 2, token_dim: None };
/// # let spec = FusionSpec { modalities: vec![one("a"), one("b")], task: None };
/// # let services = Services::detached(0, 1);
/// # let fused = Sum::fit(&spec, &Inputs::of(&[]), NoParameters {}, &services).unwrap();
/// # assert_eq!(fused.graph.outputs()[0].to_string(), "fused f32[batch,2]");
/// ```
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
