//! The run folder, and [`open::Run`], which measures, checks, searches, runs and exports it.

pub mod check;
pub mod draft;
pub mod evaluate;
pub mod export;
pub mod files;
pub mod fusion_inputs;
pub mod geometry;
pub mod graphs;
pub mod infer;
pub mod inspect;
pub mod joint;
pub mod model;
pub mod model_card;
pub mod open;
pub mod pipeline_svg;
pub mod prove;
pub mod relevance;
pub mod robustness;
pub mod robustness_svg;
pub mod search;
pub mod tables;
pub mod task_score;
pub mod test_items;
pub mod truth;
pub mod verify;
