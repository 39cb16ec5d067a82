//! Tuning and ablation: many fits of one recipe, each recorded when it is done.
//!
//! Both write into a folder, and continue there after an interruption with the same result.

pub mod ablate;
mod best_recipe;
mod fits;
mod folder;
mod optimizer;
pub mod result;
mod space;
pub mod trial;
pub mod tune;
mod tuned_keys;
