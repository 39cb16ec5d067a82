//! From a recipe to a run folder with one merged ONNX model, and from a run folder to its results.
//!
//! A recipe names frozen encoders, a data file, an aligner and optionally a fusion. [`Plan::check`] finds and
//! checks everything that a [`Recipe`] names, [`fit()`] writes the run folder, and [`Run`] measures, checks,
//! searches and runs it. [`compare()`] compares runs and variants of recipes, [`tune()`] searches for better
//! settings, [`ablate()`] takes a recipe apart, and [`export()`] writes the model in another layout.
//!
//! ```no_run
//! use chiasm_pipeline::{Environment, FitOptions, Plan, RawInputs, RawItem, Recipe, Run};
//! use chiasm_pipeline::{SilentReporter, fit};
//! use std::{path::Path, sync::Arc};
//!
//! # fn main() -> Result<(), chiasm_pipeline::Error> {
//! let env = Environment::discover(Arc::new(SilentReporter));
//! let recipe = Recipe::load(Path::new("recipe.toml"), &["seed=1".to_owned()])?;
//! let plan = Plan::check(recipe, &env)?;
//! let options = FitOptions { output: "run".into(), skip_bad: false, force: false };
//! let report = fit(&plan, &env, &options)?;
//!
//! let run = Run::open(&report.run, &env)?;
//! println!("rsum {:.1}", run.measure()?.rsum);
//! let query = RawInputs::from([("text".to_owned(), vec![RawItem::Text("a red circle".to_owned())])]);
//! for hit in run.search(&query, "image", 5)? {
//!     println!("{:.3} {}", hit.score, hit.item.describe());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Stages
//!
//! ```text
//! base      errors, digests, the cache, .npy files, progress, the environment
//! recipe    parsing a recipe, with the location of every value
//! catalog   model cards, the encoders opened from them, data files
//! plan      a recipe whose models, plugins and data were found and checked
//! embed     embedding raw items, cached
//! run       the run folder; an opened run measures, checks, searches and exports
//! fit       fitting maps and fusion, and writing the run folder
//! compare   fitting variants of recipes, and testing their differences
//! study     tuning and ablation: many fits that are recorded and resumed
//! ```
//! A stage uses only itself and the stages above it in this list. `cargo xtask layering` checks that.

mod base;
mod catalog;
mod compare;
mod embed;
mod fit;
mod plan;
mod recipe;
mod run;
mod study;

pub use base::{
    cache::{Cache, write_npy},
    environment::Environment,
    error::Error,
    error_report::{ErrorReport, ProblemPlace, ProblemReport},
    measure::{NullPrice, measure_files},
    memory::available_memory,
    npy::{read_matrix, read_npy},
    plugins::{crash_records, plugin_lock},
    problem::{Problem, Problems, SourceSpan, did_you_mean},
    reporter::{Reporter, SilentReporter},
    training::{TrainingLog, TrainingRecord},
    visible::{is_unsafe, visible},
    whole_file::write_file,
    wrapped::wrapped,
};
pub use catalog::{
    card::{CARD_KEYS, ModelCard, ModelStore},
    changed_card::{ChangedModel, EditedCard, set_in_card},
    dataset::{Dataset, DatasetColumns, ItemRef, Split},
    new_card::{AddModelOptions, AddedModel, add_model, inspect_model},
    raw::RawItem,
    removed_card::{RemovableModel, removable_model},
};
pub use compare::{
    best::fit_best,
    compare,
    condition::FailCondition,
    folder::{check_comparison_folder, is_comparison, read_comparison, write_comparison},
    folds::{CrossValidation, MeanWithInterval, TaskCrossValidation},
    measured::FitProgress,
    options::CompareOptions,
    report::{
        ComparisonReport, ComparisonRow, CorrectedDifference, CurvePoint, SIGNIFICANT, VariantTaskReport,
        p_text,
    },
    significance::PairedDifference,
};
pub use embed::{
    batch_effect::{self, BatchEffect},
    vectors::ItemVectors,
};
pub use fit::{FitOptions, FitReport, StageTimings, fit};
pub use plan::{
    Plan,
    new_recipe::{NewRecipeOptions, new_recipe},
    report::{EncoderReport, ModalityReport, PlanReport},
};
pub use recipe::{
    Recipe,
    encoders::RESERVED_NAMES,
    keys::{RECIPE_KEYS, RecipeKey},
};
pub use run::{
    breakdown::{Breakdown, GroupMetrics, WorstQuery},
    check::{GraphCheckInput, RunChecks, check_graph},
    dataset::{DatasetOptions, DatasetReport, Shard},
    evaluate::{DirectionMetrics, Metrics, RetrievalSummary},
    export::{
        ExportLayout, ExportOptions, ExportReport, PreparedItems, ReducedPrecision, ShortenedVectors, export,
    },
    files::{RunManifest, read_manifest},
    gallery::{Gallery, GalleryHit},
    geometry::PairGeometry,
    infer::RawInputs,
    inspect::{
        CardInspection, EncoderInspection, ModelInspection, RunInspection, SizedFile, inspect_card,
        inspect_onnx, inspect_run,
    },
    inspect_export::{ExportInspection, inspect_export, is_export},
    open::{Run, RunOutputs},
    query_scores::StudyMetric,
    robustness::{Robustness, RobustnessCurve, RobustnessPoint, RobustnessScore, Sweep, stored_robustness},
    search::SearchHit,
    session::{RunSession, SessionOutputs, SessionThreads},
    tables::{stored_batch_effects, stored_shuffled_pairs, write_npz},
    task_score::TaskMetrics,
    test_items::{RankedQuery, RetrievalExamples, RetrievedItem, TestItems},
    truth::{FactorScores, Identifiability},
    vectors_file::{StoredVectors, read_vectors},
    verify::{VerifiedPart, verify_run},
};
pub use study::{
    ablate::{AblateOptions, AblationReport, AblationRow, ablate},
    result::{StudyResult, is_study, read_study},
    trial::{TestComparison, Trial, TuneProgress, TuneReport},
    tune::{TuneOptions, tune},
};
