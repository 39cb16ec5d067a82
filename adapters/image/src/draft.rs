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
use chiasm_plugin::{DimSpec, Draft, Json, Result, Signature, json};

use config::ProcessorConfig;
use resizing::InputShape;
use values::SCALE;

/// Drafts a card for a model with one 4-D input of three channels, or of one if its name or the files beside
/// it say that it holds pictures; `None` for other models.
pub(crate) fn draft(signature: &Signature, directory: &Path) -> Result<Option<Draft>> {
    let [input] = signature.inputs.as_slice() else { return Ok(None) };
    let config = ModelFolder(directory).json("preprocessor_config.json")?;
    let name = input.name.to_lowercase();
    let pictures = ["pixel", "image", "img", "picture"].iter().any(|word| name.contains(word))
        || config.as_ref().is_some_and(|file| file.get("image_processor_type").is_some());
    if name.starts_with("past") {
        return Ok(None); // keys and values of a text decoder, whose last axis may be three
    }
    let has = |dim: &DimSpec, count| *dim == DimSpec::Fixed(count);
    let (layout, height, width, count) = match input.dims.as_deref() {
        _ if !(input.dtype.is_float() || input.dtype == DType::U8) => {
            return Ok(None);
        }
        Some([_, channels, height, width]) if has(channels, 3) => ("nchw", height, width, 3),
        Some([_, height, width, channels]) if has(channels, 3) => ("nhwc", height, width, 3),
        Some([_, channels, height, width]) if has(channels, 1) && pictures => ("nchw", height, width, 1),
        Some([_, height, width, channels]) if has(channels, 1) && pictures => ("nhwc", height, width, 1),
        // The axes of a picture are usually channels, height and width.
        Some([_, DimSpec::Named(_) | DimSpec::Unknown, height, width]) if pictures => {
            ("nchw", height, width, 3)
        }
        _ => return Ok(None),
    };
    let size = match (height, width) {
        (DimSpec::Fixed(height), DimSpec::Fixed(width)) => Some([*height as u64, *width as u64]),
        _ => None,
    };
    let shape = InputShape { size };
    let mut card = CardDraft::default();
    let plural = if count == 1 { "channel" } else { "channels" };
    card.set("layout", layout, format!("`{}` of the graph has {count} {plural} there", input.name));
    if let Some(size) = size {
        card.set("size", json!(size), format!("`{}` of the graph has it fixed", input.name));
    }
    match config {
        Some(file) => {
            let config = ProcessorConfig::of(&file);
            resizing::set(&mut card, &config, shape);
            values::set(&mut card, &config, count);
        }
        None => usual(&mut card, shape),
    }
    if count == 1 {
        one_channel(&mut card, &input.name);
    }
    if input.dtype == DType::U8 {
        for (key, value) in [("scale", 1.0), ("mean", 0.0), ("std", 1.0)] {
            card.set(key, value, format!("`{}` of the graph takes the levels 0 to 255 as u8", input.name));
        }
    }
    ports::set(&mut card, signature);
    Ok(Some(card.finish()))
}

/// Sets the values of a model with one channel: those of three equal channels, if a file states them.
fn one_channel(card: &mut CardDraft, input: &str) {
    card.set("channels", "gray", format!("`{}` of the graph has one channel", input));
    for key in ["mean", "std"] {
        let equal = |values: &&Vec<Json>| values.windows(2).all(|two| two[0] == two[1]);
        let own = card.value(key).as_array().filter(equal).and_then(|values| values.first()).cloned();
        match own {
            Some(own) => card.set(key, own, "that of the one channel"),
            None => card.guess(key, 0.5, "no file states it for one channel"),
        }
    }
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
