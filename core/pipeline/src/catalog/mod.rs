//! What a recipe refers to: model cards, encoders opened from them, and the rows of data files.

pub mod card;
pub mod dataset;
pub mod draft_card;
pub mod encoder;
pub mod hub;
pub mod raw;
mod tail;
