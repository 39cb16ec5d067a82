//! Recipe to plan to run: the whole way from two encoders to one merged graph.
//!
//! ```text
//! Recipe  what was said: every error at once, each with its place     recipe, tree, problem
//! Plan    what is meant: cards, models, pairs and plugins looked up   plan, card, data
//! Run     a folder of artifacts, made in one step                     fit, embed, cache, compose, folder
//! ```
//! Only a checked plan can run; nothing is embedded before the whole recipe has been checked.

mod cache;
mod card;
mod catalog;
mod checks;
mod compare;
mod compose;
mod data;
mod draft_card;
mod embed;
mod encoder;
mod error;
mod evaluate;
mod export;
mod fit;
mod folder;
mod fuse;
mod hub;
mod maps;
mod measure;
mod npy;
mod opened;
mod plan;
mod problem;
mod prove;
mod recipe;
mod reporter;
mod score;
mod tables;
mod task;
mod training;
mod tree;
mod workbench;
mod write;

pub use cache::{Cache, write_npy};
pub use card::{Card, ModelStore};
pub use checks::{Checked, ChecksRecipe, GraphCheck, check_graph};
pub use compare::{CompareOptions, CrossValidation, Gain, TaskFolds, TaskVariant, Variant, compare};
pub use draft_card::{AddOptions, Added, add as add_model, inspect as inspect_model};
pub use encoder::Raw;
pub use error::Error;
pub use evaluate::{Control, Metrics, Scored};
pub use export::{Exported, Layout, Narrow, export};
pub use fit::{FitOptions, Fitted, Timings, fit};
pub use folder::{Manifest, read_manifest};
pub use measure::measure_files;
pub use npy::{read_matrix, read_npy};
pub use opened::{Opened, Outputs};
pub use plan::{Plan, PlanReport};
pub use problem::{Origin, Problem, Problems};
pub use recipe::{RESERVED_NAMES, Recipe};
pub use reporter::{Quiet, Reporter};
pub use score::TaskMetrics;
pub use tables::{stored_control, write_npz};
pub use task::TaskRecipe;
pub use training::{Training, Trainings};
pub use workbench::Workbench;
