//! Recordings: samples or log-mel spectrograms, and windows over them. The Python equals the adapter `audio`
//! for WAV files of 16 bits at the card's rate.

use super::{
    audio_table::AudioTable,
    described::{Preparation, PythonPreparation, not_known},
};
use crate::run::model_card::{facts::EncoderFacts, text::quoted};
use chiasm_graph::Port;

/// The input of the model with the mask of the tokens.
const MASK: &str = "audio_mask";

/// Describes how recordings are prepared for a model with the inputs `ports`.
pub fn preparation(encoder: &EncoderFacts<'_>, ports: &[Port]) -> Preparation {
    let table: AudioTable = match serde_json::from_value(encoder.spec.preprocessing.clone()) {
        Ok(table) => table,
        Err(error) => return not_known(encoder, &error),
    };
    let name = |own: &str| encoder.inputs.get(own).map(String::as_str);
    let is_read = |name: &&str| ports.iter().any(|port| port.name == *name);
    let own = encoder.inputs.keys().find(|own| *own != MASK);
    let Some(input) = own.and_then(|own| name(own)) else {
        return Preparation { words: table.words(), python: Err("it has no input".to_owned()) };
    };
    let mut body = table.body();
    let mask = name(MASK).filter(is_read).map(|mask| format!(", {}: mask[None]", quoted(mask)));
    body.push(format!(
        "return {{{}: np.ascontiguousarray(values[None], np.float32){}}}",
        quoted(input),
        mask.unwrap_or_default()
    ));
    let python = PythonPreparation {
        imports: vec!["import wave"],
        body,
        item: "the path of a WAV file of 16 bits",
        example: "\"recording.wav\"".to_owned(),
    };
    Preparation { words: table.words(), python: Ok(python) }
}
