//! What a training is: an [`Objective`], the [`Options`] it is optimised with, and the [`Trained`] weights that come back.
//!
//! Pure data, so that a plugin author, the host between and the trainer speak of one thing, and the author's crate needs no
//! engine. Nothing is checked here: `chiasm-train` does, before the first step.

mod options;
mod trained;

use chiasm_graph::{Graph, TensorRef};
use serde::{Deserialize, Serialize};

pub use options::{Length, Optimizer, Options};
pub use trained::{Point, Progress, Report, Stopped, Trained};

/// The output that is made small.
pub const LOSS: &str = "loss";
/// The optional output that the validation rows are judged by; lower is better. Without it they are judged by [`LOSS`].
pub const VALIDATION: &str = "validation";

/// A loss as a graph, and which of its weights may move.
///
/// Inputs of the graph are batch ports (first axis free: the rows of a mini-batch) and the ports of `random`. Outputs are
/// scalars `f32`: [`LOSS`], perhaps [`VALIDATION`], and any other terms worth watching.
#[derive(Clone, Debug)]
pub struct Objective {
    /// The graph; its weights are the starting point.
    pub graph: Graph,
    /// The weights that are trained, all `f32`.
    pub trainable: Vec<Trainable>,
    /// Inputs filled with noise.
    pub random: Vec<Random>,
    /// What is done to the weights after every update, such as a clamp or a spectral normalisation.
    ///
    /// Its inputs are named as weights of the graph, its outputs `next/<weight>`. A weight that it rewrites and that is not trained is
    /// carried along from step to step (the vector of a power iteration).
    pub after: Option<Graph>,
}

/// A weight that is trained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trainable {
    /// Its name in the graph.
    pub name: String,
    /// Whether weight decay pulls at it: matrices yes; biases, norms and temperatures no.
    pub decay: bool,
}

/// An input filled anew at every step, from the seed and the step alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Random {
    /// The port, `f32`; its free axes are the batch.
    pub port: String,
    /// What it is filled with.
    pub draw: Draw,
}

/// A distribution. When validating, every check sees the same draw, and nothing is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Draw {
    /// Normal, mean 0 and variance 1.
    Normal,
    /// Uniform in `[0, 1)`.
    Uniform,
    /// -1 or 1 (Rademacher): the direction of least variance for a squared directional derivative.
    Sign,
    /// Dropout's mask: `1 / keep` with probability `keep`, else 0; all ones when validating.
    Mask {
        /// The probability to keep.
        keep: f64,
    },
}

/// The rows of a training, one tensor for each batch port, by name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rows<'a> {
    /// The rows to train on.
    pub training: &'a [(&'a str, TensorRef<'a>)],
    /// Rows to validate on; when there are none, [`Options::validation`] takes a part of the others.
    pub validation: &'a [(&'a str, TensorRef<'a>)],
}

impl Objective {
    /// An objective that trains these weights: matrices with decay, vectors and scalars without.
    ///
    /// # Errors
    /// When the graph has no weight of a name.
    pub fn new(graph: Graph, trainable: &[&str]) -> chiasm_graph::Result<Self> {
        let trainable = trainable
            .iter()
            .map(|name| {
                Ok(Trainable { name: (*name).to_owned(), decay: graph.weight(name)?.shape().len() > 1 })
            })
            .collect::<chiasm_graph::Result<_>>()?;
        Ok(Self { graph, trainable, random: Vec::new(), after: None })
    }

    /// The objective with one input filled with noise.
    #[must_use]
    pub fn with_random(mut self, port: &str, draw: Draw) -> Self {
        self.random.push(Random { port: port.to_owned(), draw });
        self
    }
}
