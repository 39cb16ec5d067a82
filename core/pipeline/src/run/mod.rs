//! The run folder, and a run opened from it: one type that proves, measures, checks, searches, runs and
//! exports.

pub mod check;
pub mod draft;
pub mod evaluate;
pub mod export;
pub mod files;
pub mod fusion_inputs;
pub mod graphs;
pub mod infer;
pub mod model;
pub mod open;
pub mod prove;
pub mod search;
pub mod tables;
pub mod task_score;
