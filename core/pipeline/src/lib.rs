//! Recipe to plan to run: the whole way from separate encoders to one merged graph.
//!
//! ```text
//! base      errors with places, digests, the cache, progress, the workbench
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
    error::Error,
    measure::measure_files,
    npy::{read_matrix, read_npy},
    problem::{Origin, Problem, Problems},
    reporter::{Quiet, Reporter},
    training::{Training, Trainings},
    workbench::Workbench,
};
pub use catalog::{
    card::{Card, ModelStore},
    dataset::{Cell, Columns, Dataset, Split},
    draft_card::{AddOptions, Added, add as add_model, inspect as inspect_model},
    raw::Raw,
};
pub use compare::{
    CompareOptions, TaskVariant, Variant, compare,
    folds::{CrossValidation, Gain, TaskFolds},
};
pub use fit::{FitOptions, Fitted, Timings, fit};
pub use plan::{
    Plan,
    report::{EncoderReport, ModalityReport, PlanReport},
};
pub use recipe::{Recipe, encoders::RESERVED_NAMES};
pub use run::{
    check::{Checked, GraphCheck, check_graph},
    evaluate::{Control, Metrics, Scored},
    export::{Exported, Layout, Narrow, export},
    files::{Manifest, read_manifest},
    infer::Inputs,
    open::{Outputs, Run},
    search::Found,
    tables::{stored_control, write_npz},
    task_score::TaskMetrics,
};
