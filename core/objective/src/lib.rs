//! Data types of a training: the [`Objective`], the [`TrainingOptions`], and the [`TrainedWeights`] it
//! returns.
//!
//! Plugins, the host and the trainer share them, so that a plugin needs no engine. Nothing is validated here;
//! `chiasm-train` validates everything before the first step.
//!
//! ```
//! use chiasm_graph::{Builder, DType, Dim, Tensor};
//! use chiasm_objective::{LOSS, Objective, TrainingLength, TrainingOptions};
//!
//! // loss = mean(x w)
//! let mut b = Builder::new("mean");
//! let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(2)])?;
//! let w = b.constant("w", Tensor::f32(&[2, 1], vec![1.0, 2.0])?);
//! let product = b.matmul(&x, &w);
//! let loss = b.op("ReduceMean", &[&product], &[("keepdims", 0.into())]);
//! b.output(LOSS, &loss, DType::F32, &[]);
//!
//! let objective = Objective::new(b.finish()?, &["w"])?;
//! assert!(objective.trainable[0].decay, "a matrix decays");
//! let options = TrainingOptions { length: TrainingLength::Epochs(3), batch: 32, ..Default::default() };
//! assert_eq!(options.steps(100), 9);
//! # Ok::<(), chiasm_graph::Error>(())
//! ```

mod options;
mod trained;

use chiasm_graph::{Graph, TensorRef};
use serde::{Deserialize, Serialize};

pub use options::{Optimizer, TrainingLength, TrainingOptions};
pub use trained::{CurvePoint, StopReason, TrainedWeights, TrainingProgress, TrainingReport};

/// The name of the output that training minimises.
pub const LOSS: &str = "loss";
/// The name of the optional output that scores the validation rows; lower is better. Without it [`LOSS`]
/// does.
pub const VALIDATION: &str = "validation";

/// A loss as a graph, and the weights that are trained.
///
/// The graph's inputs are batch ports (the first axis is free: the rows of a mini-batch) and the ports of
/// `random`. Its outputs are `f32` scalars: [`LOSS`], optionally [`VALIDATION`], and any other terms to
/// record.
#[derive(Clone, Debug)]
pub struct Objective {
    /// The graph, with the starting weights.
    pub graph: Graph,
    /// The weights that are trained, all `f32`.
    pub trainable: Vec<TrainableWeight>,
    /// The inputs that are filled with noise.
    pub random: Vec<RandomInput>,
    /// A graph applied to the weights after every update, such as a clamp or a spectral normalisation.
    ///
    /// Its inputs have the names of weights, its outputs are `next/<weight>`. A weight that it rewrites and
    /// that is not trained is kept from step to step (the vector of a power iteration).
    pub after: Option<Graph>,
}

/// A weight that is trained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainableWeight {
    /// The weight's name in the graph.
    pub name: String,
    /// Whether weight decay applies: usually to matrices, not to biases, norms and temperatures.
    pub decay: bool,
}

/// An input filled with new noise at every step, determined by the seed and the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RandomInput {
    /// The port, `f32`; its free axes have the length of the batch.
    pub port: String,
    /// The distribution of the noise.
    pub draw: NoiseDistribution,
}

/// A distribution of noise. Validation uses the same draws at every check, and masks of ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseDistribution {
    /// Normal, mean 0 and variance 1.
    Normal,
    /// Uniform in `[0, 1)`.
    Uniform,
    /// -1 or 1 (Rademacher), which has the least variance for a squared directional derivative.
    Sign,
    /// A dropout mask: `1 / keep` with probability `keep`, otherwise 0; all ones in validation.
    Mask {
        /// The probability of keeping an element.
        keep: f64,
    },
}

/// The rows of a training: named tensors, one for each batch port.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrainingRows<'a> {
    /// Training rows.
    pub training: &'a [(&'a str, TensorRef<'a>)],
    /// Validation rows; without any, [`TrainingOptions::validation`] holds out a part of the training rows.
    pub validation: &'a [(&'a str, TensorRef<'a>)],
}

impl Objective {
    /// Creates an objective that trains these weights: matrices with decay, vectors and scalars without.
    ///
    /// # Errors
    /// When the graph has no weight of such a name.
    pub fn new(graph: Graph, trainable: &[&str]) -> chiasm_graph::Result<Self> {
        let trainable = trainable
            .iter()
            .map(|name| {
                Ok(TrainableWeight { name: (*name).to_owned(), decay: graph.weight(name)?.shape().len() > 1 })
            })
            .collect::<chiasm_graph::Result<_>>()?;
        Ok(Self { graph, trainable, random: Vec::new(), after: None })
    }

    /// Fills an input with noise.
    #[must_use]
    pub fn with_random(mut self, port: &str, draw: NoiseDistribution) -> Self {
        self.random.push(RandomInput { port: port.to_owned(), draw });
        self
    }
}
