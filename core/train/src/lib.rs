//! Objectives become trained weights, on ONNX Runtime, on the processor or a GPU.
//!
//! Everything that a step does is ONE graph: rows are gathered from the bound data by index, the loss and its gradient are
//! computed, the gradient is clipped, the optimizer moves the weights. Data, weights and optimizer state stay on the device; a
//! step is given row numbers, noise and a few scalars, and gives the losses back.
//!
//! Same objective, rows, options, engine and threads: same bytes, also after a kill in between ([`Trainer::checkpoints`]). The
//! weights returned are never worse on the validation rows than the starting weights, which are judged first.
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

mod checkpoint;
mod error;
mod noise;
mod optimizer;
mod rows;
mod step;
mod task;
mod trainer;
mod validation;

pub use chiasm_objective::{
    CurvePoint, LOSS, NoiseDistribution, Objective, Optimizer, RandomInput, StopReason, TrainableWeight,
    TrainedWeights, TrainingLength, TrainingOptions, TrainingProgress, TrainingReport, TrainingRows,
    VALIDATION,
};
pub use error::{Error, Result};
pub use trainer::Trainer;
