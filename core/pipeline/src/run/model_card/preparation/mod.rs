//! How the raw items of each encoder become the inputs of the model: in words, and as Python.

mod audio;
mod audio_table;
mod described;
mod image;
mod text;
mod vector;

pub use described::{Preparation, PythonPreparation};
pub use image::{Channels, Filter, ImageTable, Layout, Resize};
pub use text::{TextTable, usual_name};

use super::facts::EncoderFacts;
use chiasm_graph::Port;

/// Describes how the items of `encoder` are prepared for a model with the inputs `ports`.
pub fn prepared(encoder: &EncoderFacts<'_>, ports: &[Port]) -> Preparation {
    match encoder.adapter {
        "image" => image::preparation(encoder),
        "text" => text::preparation(encoder, ports),
        "vector" => vector::preparation(encoder),
        "audio" => audio::preparation(encoder, ports),
        adapter => Preparation {
            words: format!("The adapter `{adapter}` prepares the items, as the table says."),
            python: Err("its adapter is not one of those that come with Chiasm".to_owned()),
        },
    }
}
