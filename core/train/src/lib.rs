//! Trains objectives on ONNX Runtime, on the CPU or a GPU.
//!
//! A training step is one graph: it gathers a mini-batch from the bound data, computes the loss and its
//! gradient, clips the gradient and applies the optimizer. Data, weights and optimizer state stay on the
//! device; a step receives row numbers, noise and a few scalars, and returns the losses.
//!
//! The same objective, rows, options, engine and threads give the same bytes, also when the training was
//! killed and resumed ([`Trainer::checkpoints`]). The returned weights are never worse on the validation rows
//! than the starting weights, which are scored first.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (graph, rows): (chiasm_graph::Graph, chiasm_train::TrainingRows<'_>) = todo!();
//! use chiasm_runtime::{Engine, EngineSearch, SessionOptions};
//! use chiasm_train::{Objective, TrainingOptions, Trainer};
//! let engine = Engine::open(&EngineSearch::from_environment(None))?;
//! let trainer = Trainer { engine, session: SessionOptions::default(), checkpoints: None };
//! let objective = Objective::new(graph, &["w", "b"])?;
//! let trained = trainer.train(&objective, &rows, &TrainingOptions::default(), &mut |progress| {
//!     println!("{} of {}: {:?}", progress.step, progress.steps, progress.losses);
//!     true
//! })?;
//! println!("{}", trained.report.sentence());
//! # Ok(()) }
//! ```

mod checked_objective;
mod checkpoint;
mod error;
mod noise;
mod optimizer;
mod rows;
mod step;
mod trainer;
mod training_loop;
mod validation;

pub use chiasm_objective::{
    CurvePoint, LOSS, NoiseDistribution, Objective, Optimizer, RandomInput, StopReason, TrainableWeight,
    TrainedWeights, TrainingLength, TrainingOptions, TrainingProgress, TrainingReport, TrainingRows,
    VALIDATION,
};
pub use error::{Error, Result};
pub use trainer::Trainer;
