//! The layout of a model repository of NVIDIA Triton: `NAME/config.pbtxt` and `NAME/1/model.onnx`.
//!
//! Triton takes every folder of a repository for a model, so the preprocessing of a modality lies in the
//! folder of its model, where Triton ignores folders whose names are no numbers.

use super::layout::{Consumer, ExportedModel, Layout, towers};
use crate::{
    base::error::Error,
    run::{draft::DraftFolder, files::PREPROCESSING, model_card::CardFacts},
};
use chiasm_graph::{Dim, Graph, Port};
use std::fmt::Write as _;

/// The most rows of a batch.
const ROWS: usize = 64;
/// How long a request waits for others, in microseconds.
const DELAY: usize = 1000;

/// The layout.
pub struct Triton;

impl Layout for Triton {
    fn models(&self, facts: &CardFacts<'_>, model: &Graph) -> Result<Vec<ExportedModel>, Error> {
        let mut models = towers(facts, model, &|name| format!("{name}/1/model.onnx"))?;
        if model.outputs().len() > models.len() {
            let names = facts.modalities();
            let mut name = "merged".to_owned();
            while names.contains(&name) {
                name.push('_');
            }
            models.push(ExportedModel::new(format!("{name}/1/model.onnx"), None, model.clone()));
        }
        Ok(models)
    }

    /// `preprocessing/MODALITY/ENCODER/FILE` lies in `MODALITY/preprocessing/ENCODER/FILE`.
    fn place(&self, name: &str) -> Option<String> {
        let (modality, rest) = name.strip_prefix(PREPROCESSING)?.strip_prefix('/')?.split_once('/')?;
        Some(format!("{modality}/{PREPROCESSING}/{rest}"))
    }

    fn write(
        &self,
        facts: &mut CardFacts<'_>,
        models: &[ExportedModel],
        draft: &DraftFolder,
    ) -> Result<Consumer, Error> {
        let mut files = Vec::new();
        for made in models {
            let name = made.file.split('/').next().unwrap_or_default();
            let file = format!("{name}/config.pbtxt");
            draft.write(&file, config(name, &made.graph))?;
            files.push(file);
        }
        for encoder in &mut facts.encoders {
            encoder.folder = encoder.folder.as_deref().and_then(|folder| self.place(folder));
        }
        let what = format!(
            "This is an export of a Chiasm run: a model repository of NVIDIA Triton with one model for each \
             modality{}. Start it with `tritonserver --model-repository=FOLDER`. Requests are batched, up to \
             {ROWS} rows of equal shapes; `config.pbtxt` holds that number and the time that a request \
             waits. A request carries the arrays that the program below makes of an item, by their names.",
            if models.iter().any(|made| made.modality.is_none()) { ", and the whole model" } else { "" }
        );
        Ok(Consumer { what, files, ..Consumer::default() })
    }
}

/// Returns the configuration of a model as Protobuf's text.
fn config(name: &str, graph: &Graph) -> String {
    let (inputs, outputs) = (graph.inputs(), graph.outputs());
    // Triton adds the axis of the batch, which must then be the first of every port and of any length.
    let batched = inputs.iter().chain(&outputs).all(|port| {
        port.dims.as_deref().and_then(|dims| dims.first()).is_some_and(|dim| !matches!(dim, Dim::Fixed(_)))
    });
    let rows = if batched { ROWS } else { 0 };
    let mut text = format!("name: {}\nbackend: \"onnxruntime\"\nmax_batch_size: {rows}\n", quoted(name));
    if batched {
        let _ = writeln!(text, "dynamic_batching {{\n  max_queue_delay_microseconds: {DELAY}\n}}");
    }
    for (kind, ports) in [("input", &inputs), ("output", &outputs)] {
        for port in ports {
            text.push_str(&described(kind, port, usize::from(batched)));
        }
    }
    text
}

/// Returns the entry of a port, without its first `skipped` axes.
fn described(kind: &str, port: &Port, skipped: usize) -> String {
    // f32 is FP32, i64 INT64, u8 UINT8, bf16 BF16 and bool BOOL.
    let own = port.dtype.as_str();
    let name = match own.split_at(1) {
        ("f", bits) => format!("FP{bits}"),
        ("i", bits) => format!("INT{bits}"),
        ("u", bits) => format!("UINT{bits}"),
        _ => own.to_uppercase(),
    };
    let length = |dim: &Dim| if let Dim::Fixed(length) = dim { length.to_string() } else { "-1".to_owned() };
    let dims: Vec<String> = port.dims.iter().flatten().skip(skipped).map(length).collect();
    format!(
        "{kind} {{\n  name: {}\n  data_type: TYPE_{name}\n  dims: [{}]\n}}\n",
        quoted(&port.name),
        dims.join(", ")
    )
}

/// Returns a string literal of Protobuf's text: bytes outside ASCII are octal numbers.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => literal.extend(['\\', char::from(byte)]),
            b' '..=b'~' => literal.push(char::from(byte)),
            _ => literal.push_str(&format!("\\{byte:03o}")),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_literals() {
        assert_eq!(quoted("a\"\\\u{e9}\n"), "\"a\\\"\\\\\\303\\251\\012\"");
    }
}
