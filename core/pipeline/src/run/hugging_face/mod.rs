//! The preparation of items as the files that Hugging Face's `transformers` opens: `tokenizer.json`,
//! `tokenizer_config.json` and `preprocessor_config.json`, or which key of a card they cannot say.
//!
//! A run has them beside the cards of its encoders, and an export for those libraries in its own folders.

mod audio;
mod beside;
mod image;
mod prepared;
mod text;

pub use beside::write_beside_cards;
pub use image::RESIZED;
pub use prepared::{Prepared, pretty};

use super::model_card::EncoderFacts;
use chiasm_graph::Port;
use std::path::Path;

/// Returns how the items of an encoder are prepared for its `inputs`, given by their own names, or why that
/// cannot be said. `folder` is that of the run.
pub fn prepared(
    encoder: &EncoderFacts<'_>,
    inputs: &[(String, Port)],
    folder: &Path,
) -> Result<Prepared, String> {
    match encoder.adapter {
        "text" => text::prepared(encoder, inputs, folder),
        "image" => image::prepared(encoder, inputs),
        "audio" => audio::prepared(encoder, inputs),
        "vector" => Err("its items are vectors, which have no preparation".to_owned()),
        adapter => Err(format!("its adapter `{adapter}` is not one of those that come with Chiasm")),
    }
}
