//! What a recipe names: datasets.

pub mod dataset;
