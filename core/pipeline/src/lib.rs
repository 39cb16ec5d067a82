//! Recipe to plan to run: the whole way from separate encoders to one merged graph.
//!
//! ```text
//! base      errors with places, digests, the cache, progress, the environment
//! recipe    what the user wrote: TOML with the place of every value
//! catalog   model cards, encoders opened from them, data files
//! plan      a recipe with everything looked up and checked
//! embed     raw items to vectors, cached
//! run       the run folder; a run opened from it measures, checks, searches and exports
//! fit       maps, fusion, merged graph, written as a draft run that then proves and measures itself
//! compare   many fits side by side
//! ```
//! A stage uses itself and those above it in this list, never one below; `cargo xtask layering` holds that.

mod base;
mod catalog;
mod compare;
mod embed;
mod fit;
mod plan;
mod recipe;
mod run;

pub use base::{
    cache::{Cache, write_npy},
    environment::Environment,
    error::Error,
    measure::measure_files,
    npy::{read_matrix, read_npy},
    problem::{Problem, Problems, SourceSpan},
    reporter::{Reporter, SilentReporter},
    training::{TrainingLog, TrainingRecord},
};
pub use catalog::{
    card::{ModelCard, ModelStore},
    dataset::{Dataset, DatasetColumns, ItemRef, Split},
    new_card::{AddModelOptions, AddedModel, add_model, inspect_model},
    raw::RawItem,
};
pub use compare::{
    CompareOptions, VariantReport, VariantTaskReport, compare,
    folds::{CrossValidation, MeanWithInterval, TaskCrossValidation},
};
pub use fit::{FitOptions, FitReport, StageTimings, fit};
pub use plan::{
    Plan,
    report::{EncoderReport, ModalityReport, PlanReport},
};
pub use recipe::{Recipe, encoders::RESERVED_NAMES};
pub use run::{
    check::{GraphCheckInput, RunChecks, check_graph},
    evaluate::{DirectionMetrics, Metrics, RetrievalSummary},
    export::{ExportLayout, ExportReport, ReducedPrecision, export},
    files::{RunManifest, read_manifest},
    infer::RawInputs,
    open::{Run, RunOutputs},
    search::SearchHit,
    tables::{stored_shuffled_pairs, write_npz},
    task_score::TaskMetrics,
};
