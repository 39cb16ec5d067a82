//! The traits that a plugin implements.

use std::path::Path;

use chiasm_graph::{Graph, Tensor};
use chiasm_parameters::{Parameters, read};
use serde_json::Value;

use crate::{
    AlignSpec, CardKey, Draft, EncoderSpec, Error, Fused, FusionNeeds, FusionSpec, Inputs, Item, Learned,
    ModalityCount, ModelInput, Result, Services, Signature, Takes, TrainingItems,
};

/// Prepares raw items of one modality as inputs of an encoder.
///
/// ```
/// use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Tensor};
/// use chiasm_plugin::{
///     Adapter, Draft, EncoderSpec, Error, Item, ModelInput, Result, Services, Signature, Takes,
/// };
/// use std::path::Path;
///
/// /// Represents a text by its number of characters.
/// pub struct Lengths;
///
/// impl Adapter for Lengths {
///     const ID: &'static str = "lengths";
///     const DOC: &'static str = "Represents a text by its number of characters.";
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
///         vec![ModelInput { name: "x".into(), dtype: DType::F32, dims: vec![Some(1)], pad: None }]
///     }
///
///     fn prepare(&self, item: Item<'_>) -> Result<Vec<Tensor>> {
///         let Item::Text(text) = item else { return Err(Error::invalid("expected a text")) };
///         Ok(vec![Tensor::f32(&[1], vec![text.chars().count() as f32])?])
///     }
///
///     // The output `features` [batch, 1] of the model is the pooled vector and the only token.
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
    /// The value of `adapter` in a card: lower-case letters, digits and `-`.
    const ID: &'static str;
    /// A description in one sentence.
    const DOC: &'static str;
    /// The keys of cards that it reads. `chiasm explain` shows them.
    const KEYS: &'static [&'static [CardKey]] = &[];

    /// Returns the kind of item that the adapter takes.
    fn takes() -> Takes;

    /// Proposes a card for a model, or returns `None` if the adapter does not recognise it.
    fn draft(signature: &Signature, directory: &Path) -> Result<Option<Draft>>;

    /// Opens the adapter for one encoder.
    ///
    /// # Errors
    /// If the card has any mistake: it must not be reported only at the first item.
    fn open(spec: &EncoderSpec, services: &Services<'_>) -> Result<Self>;

    /// Returns the tensors that `prepare` makes, in the same order. One of them may be
    /// [`LEFT_OUT`](crate::LEFT_OUT).
    fn inputs(&self) -> Vec<ModelInput>;

    /// Prepares one raw item: one tensor per input, without a batch axis. It is called from several threads
    /// at once.
    fn prepare(&self, item: Item<'_>) -> Result<Vec<Tensor>>;

    /// Returns the number of rows for an adapter that takes [`Takes::Row`], and `None` for others.
    fn rows(&self) -> Option<usize> {
        None
    }

    /// Returns the graph that precedes the encoder: its inputs are tensors of `prepare`, its outputs are
    /// inputs of the model, by name. Inputs of the model that it lacks are tensors of `prepare`. The
    /// default is `None`: the tensors of `prepare` are the model's inputs.
    ///
    /// A head can run another graph first, compute inputs of the model from others, or give the encoder each
    /// item as a batch of windows.
    fn head(&self) -> Result<Option<Graph>> {
        Ok(None)
    }

    /// Returns the graph that follows the encoder. Its inputs are ports of the model, inner tensors that the
    /// card names ([`EncoderSpec::inner`]) or tensors of `prepare`, by name. Its outputs are `tokens` f32
    /// `[batch, T, D]`, `mask` f32 `[batch, T]` (0 or 1) and `pooled` f32 `[batch, D]`.
    fn tail(&self) -> Result<Graph>;
}

/// Fits a map of every modality into one shared space.
pub trait Aligner: Send + Sync + 'static {
    /// The value of `plugin` in a recipe: lower-case letters, digits and `-`.
    const ID: &'static str;
    /// A description in one sentence.
    const DOC: &'static str;
    /// The parameters in the recipe's `[align]`; [`NoParameters`](crate::NoParameters) if there are none.
    type Parameters: Parameters;

    /// Returns the number of modalities that it takes with these parameters. The default is two or more.
    fn takes(parameters: &Self::Parameters) -> ModalityCount {
        let _ = parameters;
        ModalityCount::default()
    }

    /// Fits on the training items of every modality. The parameters have been checked, the items are finite,
    /// and there are as many modalities as [`Aligner::takes`] says.
    ///
    /// # Errors
    /// If the items cannot be fitted, a parameter does not suit them, or the host asked to stop.
    fn fit(
        items: &TrainingItems<'_>,
        parameters: Self::Parameters,
        services: &Services<'_>,
    ) -> Result<Learned>;

    /// Reads and checks the items and the parameters, then fits. The host calls it; tests of a plugin may
    /// call it.
    ///
    /// # Errors
    /// If the items or the parameters are invalid, the aligner does not take this number of modalities, or
    /// the fit fails.
    fn fit_json(
        spec: &AlignSpec,
        data: &Inputs<'_>,
        parameters: &Value,
        services: &Services<'_>,
    ) -> Result<Learned> {
        let parameters = read_parameters(parameters)?;
        let items = data.training_items(spec)?;
        let takes = Self::takes(&parameters);
        if !takes.contains(items.modalities.len()) {
            let names: Vec<&str> = items.modalities.iter().map(|one| one.name.as_str()).collect();
            let message = format!("expected {takes}, got {}: {}", names.len(), names.join(", "));
            return Err(Error::invalid(message));
        }
        Self::fit(&items, parameters, services)
    }
}

/// Fits or builds a graph from several modalities to one vector, and to the logits of a task if there is one.
///
/// ```
/// use chiasm_plugin::graph::{Builder, DType, Dim};
/// use chiasm_plugin::{Error, Fused, Fusion, FusionSpec, Inputs, NoParameters, Result, Services, json};
///
/// /// Sums the pooled vectors.
/// pub struct SumOfVectors;
///
/// impl Fusion for SumOfVectors {
///     const ID: &'static str = "sum";
///     const DOC: &'static str = "Sums the pooled vectors.";
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
/// chiasm_plugin::export_plugin! { fusions: [SumOfVectors] }
/// # let one = |name: &str| chiasm_plugin::Modality { name: name.into(), pooled_dim: 2, token_dim: None };
/// # let spec = FusionSpec { modalities: vec![one("a"), one("b")], task: None };
/// # let services = Services::detached(0, 1);
/// # let fused = SumOfVectors::fit(&spec, &Inputs::of(&[]), NoParameters {}, &services).unwrap();
/// # assert_eq!(fused.graph.outputs()[0].to_string(), "fused f32[batch,2]");
/// ```
pub trait Fusion: Send + Sync + 'static {
    /// The value of `plugin` in a recipe: lower-case letters, digits and `-`.
    const ID: &'static str;
    /// A description in one sentence.
    const DOC: &'static str;

    /// The parameters in the recipe's `[fuse]`; [`NoParameters`](crate::NoParameters) if there are none.
    type Parameters: Parameters;

    /// Returns whether it reads tokens with these parameters, and the tasks it supports. By default it reads
    /// no tokens and supports no task.
    fn needs(parameters: &Self::Parameters) -> FusionNeeds {
        let _ = parameters;
        FusionNeeds::default()
    }

    /// Fits on training rows only. [`FusionSpec`] lists what `data` holds. The parameters have been checked.
    ///
    /// # Errors
    /// If the data cannot be fitted, a parameter does not suit them, or the host asked to stop.
    fn fit(
        spec: &FusionSpec,
        data: &Inputs<'_>,
        parameters: Self::Parameters,
        services: &Services<'_>,
    ) -> Result<Fused>;

    /// Reads the parameters, then fits. The host calls it; tests of a plugin may call it.
    ///
    /// # Errors
    /// If the parameters are invalid, or the fit fails.
    fn fit_json(
        spec: &FusionSpec,
        data: &Inputs<'_>,
        parameters: &Value,
        services: &Services<'_>,
    ) -> Result<Fused> {
        Self::fit(spec, data, read_parameters(parameters)?, services)
    }
}

/// Reads and checks parameters from a JSON object. `null` is read as an empty object.
///
/// # Errors
/// [`Error::invalid`] with the parameter, the expected value and the given one.
pub fn read_parameters<P: Parameters>(parameters: &Value) -> Result<P> {
    read(parameters).map_err(|e| Error::invalid(e.to_string()))
}
