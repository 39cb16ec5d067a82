//! Drafts a model card from the graph and the files beside it.
//!
//! The graph gives the size and the channel axis. The channel order, scale, mean and deviation come from
//! Hugging Face's `preprocessor_config.json`. A value that neither gives is set to the most common one, and
//! the reasons say so.

use std::path::Path;

use chiasm_plugin::graph::DType;
use chiasm_plugin::{DimSpec, Draft, Json, PortSpec, Result, Signature, json};

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
    let mut reasons = vec![format!("layout {layout}: `{}` has 3 channels there", input.name)];
    let size = match (height, width) {
        (DimSpec::Fixed(height), DimSpec::Fixed(width)) => Some([*height as u64, *width as u64]),
        _ => None,
    };
    let config = ["", ".."].iter().find_map(|folder| {
        let text = std::fs::read_to_string(directory.join(folder).join("preprocessor_config.json")).ok()?;
        serde_json::from_str::<Json>(&text).ok()
    });
    let mut preprocessing =
        json!({ "size": size.unwrap_or([224, 224]), "layout": layout, "channels": "rgb" });
    let configured_size = config.map(|config| configured(&config, &mut preprocessing));
    reasons.push(match (size, configured_size) {
        (Some(_), _) => format!("size: `{}` has it fixed", input.name),
        (None, Some(Some(_))) => "size: preprocessor_config.json says so".into(),
        (None, _) => "size: free in the graph, 224 is the commonest; CHECK".into(),
    });
    if let (None, Some(Some(theirs))) = (size, configured_size) {
        preprocessing["size"] = json!(theirs);
    }
    if configured_size.is_some() {
        reasons.push("resize, filter, scale, mean, std: preprocessor_config.json says so".into());
    } else {
        let usual = json!({
            "resize": "stretch", "filter": "bicubic", "scale": 1.0 / 255.0,
            "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
        });
        merge(&mut preprocessing, usual);
        let unknown = "resize, filter, channels, scale, mean, std: a graph cannot tell them; \
                       these are ImageNet's usual ones";
        reasons.push(format!("{unknown}, CHECK on the model's page"));
    }
    let ports = ports(&signature.outputs, &mut reasons);
    Ok(Some(Draft { ports, preprocessing, reason: reasons.join("\n") }))
}

fn ports(outputs: &[PortSpec], reasons: &mut Vec<String>) -> Json {
    let rank = |port: &PortSpec| port.dims.as_ref().map(Vec::len);
    let named =
        |port: &&PortSpec, words: &[&str]| words.iter().any(|word| port.name.to_lowercase().contains(word));
    let tokens =
        outputs.iter().find(|port| rank(port) == Some(3) || (rank(port) == Some(4) && !pooled_shape(port)));
    let vectors: Vec<&PortSpec> =
        outputs.iter().filter(|port| rank(port) == Some(2) || pooled_shape(port)).collect();
    let pooled = vectors
        .iter()
        .find(|port| named(port, &["embed", "pool"]))
        .or_else(|| vectors.iter().find(|port| !named(port, &["logit", "prob", "class", "softmax"])))
        .or_else(|| vectors.first().filter(|_| tokens.is_none()));
    let mut ports = json!({});
    if let Some(tokens) = tokens {
        ports["tokens"] = json!(tokens.name);
        reasons.push(format!("tokens: `{}` has one vector per position", tokens.name));
    }
    match pooled {
        Some(pooled) => {
            ports["pooled"] = json!(pooled.name);
            reasons.push(format!("pooled: `{}` has one vector per picture", pooled.name));
        }
        None => {
            ports["pooled"] = json!("mean");
            reasons.push("pooled: no output is an embedding, so the mean of the tokens".into());
        }
    }
    ports
}

/// `[B, D, 1, 1]`: pooled, though of rank 4.
fn pooled_shape(port: &PortSpec) -> bool {
    matches!(port.dims.as_deref(), Some([_, _, DimSpec::Fixed(1), DimSpec::Fixed(1)]))
}

/// Translates the settings of Hugging Face's image processor; returns their size.
fn configured(config: &Json, preprocessing: &mut Json) -> Option<[u64; 2]> {
    let on = |key: &str| config[key].as_bool().unwrap_or(true);
    let [height, width] = ["height", "width"].map(|side| {
        let crop = &config["crop_size"];
        let size = &config["size"];
        let asked = if config["do_center_crop"] == true { crop } else { size };
        asked[side].as_u64().or_else(|| asked.as_u64())
    });
    let shortest = config["size"]["shortest_edge"].as_u64().or_else(|| config["size"].as_u64());
    match shortest.filter(|_| config["do_center_crop"] == true) {
        Some(shortest) => {
            merge(preprocessing, json!({ "resize": "shortest-side-crop", "shortest": shortest }))
        }
        None => merge(preprocessing, json!({ "resize": "stretch" })),
    }
    let filter = match config["resample"].as_u64() {
        Some(0) => "nearest",
        Some(1) => "lanczos",
        Some(2) => "bilinear",
        _ => "bicubic",
    };
    let scale = if on("do_rescale") { config["rescale_factor"].as_f64().unwrap_or(1.0 / 255.0) } else { 1.0 };
    merge(preprocessing, json!({ "filter": filter, "scale": scale }));
    for (key, theirs) in [("mean", "image_mean"), ("std", "image_std")] {
        if on("do_normalize") && config[theirs].is_array() {
            preprocessing[key] = config[theirs].clone();
        }
    }
    Some([height?, width?])
}

fn merge(into: &mut Json, more: Json) {
    if let (Some(into), Json::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}
