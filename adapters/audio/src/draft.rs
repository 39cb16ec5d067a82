//! Drafts a model card from the graph and the files beside it.
//!
//! The graph gives the axes of the input and the number of mel bands. The sample rate, frames and bands of
//! Hugging Face models come from `preprocessor_config.json`. A value that neither gives is set to the most
//! common one, and the reasons say so.

use std::path::Path;

use chiasm_kit::draft::{ModelFolder, are_scores, lengths};
use chiasm_plugin::graph::DType;
use chiasm_plugin::{DimSpec, Draft, Json, PortSpec, Result, Signature, json};

/// The usual numbers of mel bands.
const BANDS: [usize; 7] = [64, 80, 128, 40, 32, 96, 229];
/// A fixed waveform is longer than any vector of features: a quarter of a second at 16 kHz.
const LEAST_SAMPLES: usize = 4000;

/// Drafts a card for a model whose only input is a waveform or a spectrogram; `None` for other models.
pub(crate) fn draft(signature: &Signature, directory: &Path) -> Result<Option<Draft>> {
    let [input] = signature.inputs.as_slice() else { return Ok(None) };
    let dims = match input.dims.as_deref() {
        Some([_, dims @ ..]) if input.dtype == DType::F32 => dims,
        _ => return Ok(None),
    };
    let name = input.name.to_lowercase();
    if ["pixel", "image", "img", "picture"].iter().any(|word| name.contains(word)) {
        return Ok(None);
    }
    let mut reasons = Vec::new();
    let drafted = match waveform(input, dims, &mut reasons) {
        Some(table) => Some(table),
        None => spectrogram(input, dims, directory, &mut reasons),
    };
    let Some(mut preprocessing) = drafted else { return Ok(None) };
    configured(&mut preprocessing, directory, &mut reasons)?;
    let windows = !preprocessing["window_frames"].is_null();
    let ports = ports(signature, windows, &mut reasons);
    Ok(Some(Draft { ports, preprocessing, reason: reasons.join("\n"), ..Draft::default() }))
}

/// A table for an input `[batch, samples]` or `[batch, 1, samples]`.
fn waveform(input: &PortSpec, dims: &[DimSpec], reasons: &mut Vec<String>) -> Option<Json> {
    let (layout, length) = match dims {
        [length] => ("t", length),
        [DimSpec::Fixed(1), length] => ("1t", length),
        _ => return None,
    };
    let name = input.name.to_lowercase();
    let named =
        ["wav", "audio", "sample", "input_values", "speech", "sound"].iter().any(|word| name.contains(word));
    let mut table = json!({ "rate": 16_000, "features": "waveform", "layout": layout });
    match length {
        DimSpec::Fixed(samples) if named || *samples >= LEAST_SAMPLES => {
            table["seconds"] = json!(*samples as f64 / 16_000.0);
            reasons.push(format!("seconds: `{}` has {samples} samples", input.name));
        }
        DimSpec::Fixed(_) => return None,
        _ if !named
            && layout == "t"
            && !matches!(length, DimSpec::Named(axis) if axis.contains("sample")) =>
        {
            return None;
        }
        _ => {
            table["frame"] = json!(400);
            table["hop"] = json!(320);
            reasons.push(
                "frame, hop: the samples of the first token and between two, here those of wav2vec2; \
                 CHECK, or set seconds instead"
                    .into(),
            );
        }
    }
    reasons.push(format!("audio: `{}` holds samples", input.name));
    reasons
        .push("rate, scale: a graph cannot tell them; 16 kHz and samples in -1..1 are usual, CHECK".into());
    Some(table)
}

/// A table for an input with a time axis and a mel axis, and perhaps one channel.
fn spectrogram(
    input: &PortSpec,
    dims: &[DimSpec],
    directory: &Path,
    reasons: &mut Vec<String>,
) -> Option<Json> {
    let (mels, time) = mels_and_time(dims)?;
    let DimSpec::Fixed(bands) = dims[mels] else { return None };
    let letter = |at: usize| match at {
        _ if at == mels => 'm',
        _ if at == time => 't',
        _ => '1',
    };
    let layout: String = (0..dims.len()).map(letter).collect();
    reasons.push(format!("layout {layout}: `{}` has {bands} mel bands there; CHECK", input.name));
    let mut table = json!({ "rate": 16_000, "layout": layout });
    match &dims[time] {
        DimSpec::Fixed(frames) if *frames < 1000 => {
            table["window_frames"] = json!(frames);
            table["window_hop"] = json!(frames.div_ceil(2));
            reasons
                .push(format!("window_frames: `{}` has {frames} frames; each window is a token", input.name));
        }
        DimSpec::Fixed(frames) => {
            table["seconds"] = json!(*frames as f64 / 100.0);
            reasons
                .push(format!("seconds: `{}` has {frames} frames, of 10 ms as is usual; CHECK", input.name));
        }
        _ => {
            table["seconds"] = json!(10.0);
            reasons.push("seconds: free in the graph; CHECK".into());
        }
    }
    features(&mut table, bands, directory, reasons);
    Some(table)
}

/// The places of the mel axis and of the time axis; `None` if the dimensions are not those of a spectrogram.
///
/// A sequence of vectors has two axes too, so that one of them must have a usual number of bands.
fn mels_and_time(dims: &[DimSpec]) -> Option<(usize, usize)> {
    let longer: Vec<usize> = (0..dims.len()).filter(|at| dims[*at] != DimSpec::Fixed(1)).collect();
    let [first, second] = *longer.as_slice() else { return None };
    let usual = |at: usize| match dims[at] {
        DimSpec::Fixed(length) => BANDS.iter().position(|bands| *bands == length),
        _ => None,
    };
    match (usual(first), usual(second)) {
        _ if dims.len() > 3 => None,
        (Some(a), Some(b)) if b < a => Some((second, first)),
        (Some(_), _) => Some((first, second)),
        (None, Some(_)) => Some((second, first)),
        (None, None) => None,
    }
}

/// The keys of the features: those of a front-end graph beside the model, or of a log-mel spectrogram.
fn features(table: &mut Json, bands: usize, directory: &Path, reasons: &mut Vec<String>) {
    if let Some(file) = front(directory) {
        merge(table, &json!({ "front": file, "front_layout": "1tm", "frame": 512, "hop": 160 }));
        reasons.push(format!(
            "front: {file} lies beside the model; CHECK front_layout, front_scale, front_offset, scale, and \
             frame and hop, the samples of its frames"
        ));
        return;
    }
    let usual = json!({
        "features": "log-mel", "frame": 400, "hop": 160, "mels": bands, "mel_scale": "htk",
        "mel_norm": "none", "spectrum": "power", "log": "natural", "log_floor": 1e-10,
    });
    merge(table, &usual);
    let unknown = "rate, frame, hop, mel_scale, mel_norm, spectrum, log: a graph cannot tell them; these are";
    reasons.push(format!("{unknown} usual, CHECK on the model's page"));
}

/// Finds a front-end graph beside the model.
fn front(directory: &Path) -> Option<String> {
    let entries = std::fs::read_dir(directory).ok()?;
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names.into_iter().find(|name| name.ends_with(".onnx") && name.to_lowercase().contains("melspec"))
}

/// Takes over what Hugging Face's feature extractor states.
///
/// # Errors
/// If the file is not JSON.
fn configured(table: &mut Json, directory: &Path, reasons: &mut Vec<String>) -> Result<()> {
    let Some(file) = ModelFolder(directory).json("preprocessor_config.json")? else { return Ok(()) };
    let config = &file.content;
    let mut taken = Vec::new();
    let spectrogram = table["features"] == "log-mel";
    let keys = [
        ("sampling_rate", "rate", true),
        ("n_fft", "frame", spectrogram),
        ("hop_length", "hop", spectrogram),
    ];
    for (theirs, ours, wanted) in keys {
        if wanted && config[theirs].is_u64() {
            table[ours] = config[theirs].clone();
            taken.push(format!("{ours}: {}", file.origin(theirs)));
        }
    }
    if config["do_normalize"] == true && table["features"] == "waveform" {
        table["standardise"] = json!("recording");
        taken.push(format!("standardise: {}", file.origin("do_normalize")));
    }
    if let (Some(rate), Some(samples)) = (config["sampling_rate"].as_f64(), config["n_samples"].as_f64())
        && rate > 0.0
    {
        table["seconds"] = json!(samples / rate);
        taken.push(format!("seconds: {}, over `sampling_rate`", file.origin("n_samples")));
    }
    reasons.append(&mut taken);
    Ok(())
}

fn merge(into: &mut Json, from: &Json) {
    for (key, value) in from.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

fn ports(signature: &Signature, windows: bool, reasons: &mut Vec<String>) -> Json {
    let outputs = &signature.outputs;
    let wide = |port: &PortSpec| {
        let dims = port.dims.as_deref().unwrap_or_default();
        dims.iter().skip(1).filter(|dim| **dim != DimSpec::Fixed(1)).count()
    };
    let classes = |port: &PortSpec| are_scores(&port.name) || port.name.to_lowercase().contains("head");
    let better = |name: &str| {
        signature.before_last.get(name).map_or_else(String::new, |inner| {
            format!(", such as `{}` {}, which its last layer reads", inner.name, lengths(inner))
        })
    };
    let vector = outputs.iter().find(|port| wide(port) == 1 && !classes(port));
    if windows {
        let port = vector.or(outputs.first()).map_or("", |port| &port.name);
        reasons.push(match vector {
            Some(_) => format!("tokens: `{port}` has one vector per window"),
            None => {
                let better = better(port);
                format!(
                    "tokens: `{port}` are classes; name an inner tensor with an embedding instead{better}: \
                     --set ports.tokens=NAME; CHECK"
                )
            }
        });
        return json!({ "tokens": port, "pooled": ["mean", "max"] });
    }
    let mut ports = json!({});
    if let Some(tokens) = outputs.iter().find(|port| wide(port) == 2) {
        ports["tokens"] = json!(tokens.name);
        reasons.push(format!("tokens: `{}` has one vector per position", tokens.name));
    }
    ports["pooled"] = match (vector, ports["tokens"].is_null()) {
        (Some(port), true) => json!(port.name),
        _ => json!("mean"),
    };
    reasons.push(format!("pooled: {}", ports["pooled"]));
    ports
}
