//! Drafts a model card from the graph and the files beside it.
//!
//! The graph gives the size and the channel axis. Hugging Face's `preprocessor_config.json` gives the rest,
//! or the defaults of the processor that it names. Without the file, the values are usual ones and marked as
//! guesses.

mod config;
mod ports;
mod processors;
mod resizing;
mod values;

use std::path::Path;

use chiasm_kit::draft::{CardDraft, ModelFolder};
use chiasm_plugin::graph::DType;
use chiasm_plugin::{DimSpec, Draft, Result, Signature, json};

use config::ProcessorConfig;
use resizing::InputShape;
use values::SCALE;

/// Drafts a card for a model with one 4-D floating-point input of three channels; `None` for other models.
pub(crate) fn draft(signature: &Signature, directory: &Path) -> Result<Option<Draft>> {
    let [input] = signature.inputs.as_slice() else { return Ok(None) };
    let three = |dim: &DimSpec| *dim == DimSpec::Fixed(3);
    let (layout, height, width) = match input.dims.as_deref() {
        _ if !matches!(input.dtype, DType::F32 | DType::F16) => return Ok(None),
        Some([_, channels, height, width]) if three(channels) => ("nchw", height, width),
        Some([_, height, width, channels]) if three(channels) => ("nhwc", height, width),
        _ => return Ok(None),
    };
    let size = match (height, width) {
        (DimSpec::Fixed(height), DimSpec::Fixed(width)) => Some([*height as u64, *width as u64]),
        _ => None,
    };
    let shape = InputShape { size };
    let mut card = CardDraft::default();
    card.set("layout", layout, format!("`{}` of the graph has 3 channels there", input.name));
    if let Some(size) = size {
        card.set("size", json!(size), format!("`{}` of the graph has it fixed", input.name));
    }
    match ModelFolder(directory).json("preprocessor_config.json")? {
        Some(file) => {
            let config = ProcessorConfig::of(&file);
            resizing::set(&mut card, &config, shape);
            values::set(&mut card, &config);
        }
        None => usual(&mut card, shape),
    }
    ports::set(&mut card, signature);
    Ok(Some(card.finish()))
}

/// Sets the values that are usual for models trained on ImageNet.
fn usual(card: &mut CardDraft, shape: InputShape) {
    let why = "there is no preprocessor_config.json and a graph cannot tell: look at the model's page";
    if shape.size.is_none() {
        card.guess("size", json!([224, 224]), "it is free in the graph");
    }
    card.guess("channels", "rgb", why);
    card.guess("resize", "stretch", why);
    card.guess("filter", "bicubic", why);
    card.guess("scale", SCALE, why);
    card.guess("mean", json!([0.485, 0.456, 0.406]), why);
    card.guess("std", json!([0.229, 0.224, 0.225]), why);
}
