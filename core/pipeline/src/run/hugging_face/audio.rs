//! Recordings: `preprocessor_config.json` of `Wav2Vec2FeatureExtractor`, for encoders of waveforms.

use super::prepared::{Prepared, pretty};
use crate::run::{model_card::EncoderFacts, port_form::PortForm};
use chiasm_graph::{DType, Port};
use serde_json::{Value, json};

/// The keys that the file can say, with the only value that it can say of some.
const SAID: [(&str, Option<&str>); 10] = [
    ("seconds", None),
    ("features", Some("\"waveform\"")),
    ("rate", None),
    // These describe the model, and what is refused.
    ("frame", None),
    ("hop", None),
    ("max_seconds", None),
    ("scale", Some("1.0")),
    ("standardise", None),
    ("short", Some("\"zeros\"")),
    ("layout", Some("\"t\"")),
];

/// Returns how recordings are prepared, or which key cannot be said.
pub fn prepared(encoder: &EncoderFacts<'_>, inputs: &[(String, Port)]) -> Result<Prepared, String> {
    let table = &encoder.spec.preprocessing;
    for (key, value) in table.as_object().into_iter().flatten() {
        let said = SAID.iter().find(|(name, _)| name == key);
        if said.is_none_or(|(_, only)| only.is_some_and(|only| json_of(only) != *value)) {
            return Err(format!("`{key} = {value}` has no key in preprocessor_config.json"));
        }
    }
    let [(_, port)] = inputs else { return Err("its model reads more than the samples".to_owned()) };
    let rate = &table["rate"];
    let file = json!({
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": rate,
        "padding_value": 0.0,
        "do_normalize": table["standardise"] == "recording",
        // Samples that are filled up do not count when a recording is standardised.
        "return_attention_mask": true,
    });
    let python = [
        "with wave.open(item) as file:",
        "    data, channels = file.readframes(file.getnframes()), file.getnchannels()",
        "samples = np.frombuffer(data, \"<i2\").reshape(-1, channels).mean(1) / 32768",
    ];
    let mut python: Vec<String> = python.map(str::to_owned).to_vec();
    let clip = match (table["seconds"].as_f64(), rate.as_f64()) {
        (Some(seconds), Some(rate)) => {
            format!(", padding=\"max_length\", max_length={}, truncation=True", (seconds * rate).round())
        }
        _ => String::new(),
    };
    python.push("# A WAV file of 16 bits and the rate of the model.".to_owned());
    python.push(format!("features = prepare(samples, sampling_rate={rate}{clip})"));
    Ok(Prepared {
        ports: vec![PortForm::named(port, "input_values", DType::F32).map_err(|error| error.to_string())?],
        files: vec![("preprocessor_config.json", pretty(&file))],
        class: "AutoFeatureExtractor",
        python,
        javascript: Vec::new(),
        note: Some("`samples` are those of one channel, from -1 to 1, at the rate of the model."),
        example: "recording.wav",
    })
}

/// The value of a key.
fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}
