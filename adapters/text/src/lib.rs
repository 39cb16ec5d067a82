//! The text adapter: a text in, token numbers and their mask out; the encoder's token vectors shown as they are.
//!
//! The tokenizer is the model's own `tokenizer.json`, run by the library that wrote it, so lower-casing, accents and word
//! splitting are never described twice. Padding and truncation stored in that file are replaced: the host pads a batch to its
//! longest text, and the card says how long a text may be. Truncation keeps the special tokens.
//!
//! Refused when the adapter opens: a model input that a tokenizer cannot fill, and a `max_length` without room for a word.

mod draft;

use std::path::Path;

use chiasm_kit::encoder_tail;
use chiasm_plugin::graph::{DType, Graph, Tensor};
use chiasm_plugin::{
    Adapter, DimSpec, Draft, EncoderSpec, Error, Item, ModelInput, PortSpec, Result, Services, Signature,
    Takes,
};
use serde::Deserialize;
use tokenizers::{PostProcessor, Tokenizer, TruncationParams};

/// A text encoder's way in.
pub struct Text {
    tokenizer: Tokenizer,
    inputs: Vec<(Row, ModelInput)>,
    tail: Graph,
}

/// A card's `[preprocessing]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// The tokenizer's file, from the card's folder.
    #[serde(default = "tokenizer_json")]
    tokenizer: String,
    /// The most tokens of a text, special ones included. Default: what the tokenizer's file says.
    max_length: Option<usize>,
}

/// What one of the model's inputs holds.
#[derive(Clone, Copy)]
enum Row {
    Ids,
    Mask,
    Types,
}

impl Adapter for Text {
    const ID: &'static str = "text";
    const DOC: &'static str = "Texts as token numbers, by the model's own tokenizer.json.";

    fn takes() -> Takes {
        Takes::Text
    }

    fn draft(signature: &Signature, directory: &Path) -> Result<Option<Draft>> {
        draft::draft(signature, directory)
    }

    fn open(spec: &EncoderSpec, _: &Services<'_>) -> Result<Self> {
        let about = |reason: String| Error::invalid(format!("[preprocessing] of `{}`: {reason}", spec.name));
        let parameters: Parameters =
            serde_json::from_value(spec.preprocessing.clone()).map_err(|error| about(error.to_string()))?;
        let path = spec.directory.join(&parameters.tokenizer);
        let mut tokenizer = Tokenizer::from_file(&path).map_err(|error| {
            about(format!("{}: {error}; put the model's own tokenizer.json beside the card", path.display()))
        })?;
        let pad = pad_id(&tokenizer);
        tokenizer.with_padding(None);
        limit(&mut tokenizer, parameters.max_length).map_err(about)?;
        let inputs =
            spec.inputs.iter().map(|port| model_input(spec, port, pad)).collect::<Result<Vec<_>>>()?;
        if !inputs.iter().any(|(row, _)| matches!(row, Row::Ids)) {
            return Err(Error::invalid(format!(
                "the model of `{}` has no input `input_ids`; is this a text model?",
                spec.name
            )));
        }
        let mask =
            inputs.iter().find(|(row, _)| matches!(row, Row::Mask)).map(|(_, input)| input.name.as_str());
        let tail = encoder_tail(spec, mask, false)?;
        Ok(Self { tokenizer, inputs, tail })
    }

    fn inputs(&self) -> Vec<ModelInput> {
        self.inputs.iter().map(|(_, input)| input.clone()).collect()
    }

    fn prepare(&self, item: Item<'_>) -> Result<Vec<Tensor>> {
        let Item::Text(text) = item else {
            return Err(Error::invalid(format!("the text adapter takes a text, got {item:?}")));
        };
        let encoding =
            self.tokenizer.encode_fast(text, true).map_err(|error| Error::invalid(error.to_string()))?;
        if encoding.is_empty() {
            return Err(Error::invalid(format!(
                "the tokenizer makes no token of {text:?}; leave this row out"
            )));
        }
        self.inputs
            .iter()
            .map(|(row, input)| {
                let values = match row {
                    Row::Ids => encoding.get_ids(),
                    Row::Mask => encoding.get_attention_mask(),
                    Row::Types => encoding.get_type_ids(),
                };
                tensor(values, input)
            })
            .collect()
    }

    fn tail(&self) -> Result<Graph> {
        Ok(self.tail.clone())
    }
}

fn tokenizer_json() -> String {
    "tokenizer.json".into()
}

/// Sets truncation, on the side that the tokenizer's file says.
fn limit(tokenizer: &mut Tokenizer, max_length: Option<usize>) -> Result<(), String> {
    let own = tokenizer.get_truncation().cloned();
    let Some(max_length) = max_length.or(own.as_ref().map(|own| own.max_length)) else {
        return Err(
            "the tokenizer's file sets no max_length; set it to the model's longest text, in tokens".into()
        );
    };
    let special = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
    if max_length <= special {
        return Err(format!("max_length must exceed the {special} special tokens, got {max_length}"));
    }
    let truncation = TruncationParams { max_length, stride: 0, ..own.unwrap_or_default() };
    tokenizer
        .with_truncation(Some(truncation))
        .map_err(|error| format!("max_length {max_length}: {error}"))?;
    Ok(())
}

/// The padding token: as the file says, else the one so named. What it is hardly matters, as the mask hides it.
fn pad_id(tokenizer: &Tokenizer) -> u32 {
    let stored = tokenizer.get_padding().map(|padding| padding.pad_id);
    stored.or_else(|| ["[PAD]", "<pad>"].iter().find_map(|token| tokenizer.token_to_id(token))).unwrap_or(0)
}

fn model_input(spec: &EncoderSpec, port: &PortSpec, pad: u32) -> Result<(Row, ModelInput)> {
    let row = match port.name.as_str() {
        "input_ids" => Row::Ids,
        "attention_mask" => Row::Mask,
        "token_type_ids" => Row::Types,
        other => {
            return Err(Error::unsupported(format!(
                "the model of `{}` has an input `{other}`; a text model may have input_ids, attention_mask and token_type_ids",
                spec.name
            )));
        }
    };
    let length = match port.dims.as_deref() {
        None | Some([_, DimSpec::Named(_) | DimSpec::Unknown]) => None,
        Some([_, DimSpec::Fixed(length)]) => Some(*length),
        Some(dims) => {
            return Err(Error::invalid(format!(
                "input `{}` of `{}`: expected [batch, tokens], got rank {}",
                port.name,
                spec.name,
                dims.len()
            )));
        }
    };
    if !matches!(port.dtype, DType::I64 | DType::I32) {
        return Err(Error::invalid(format!(
            "input `{}` of `{}`: expected i64 or i32, got {}",
            port.name, spec.name, port.dtype
        )));
    }
    let pad = if matches!(row, Row::Ids) { f64::from(pad) } else { 0.0 };
    Ok((row, ModelInput { name: port.name.clone(), dtype: port.dtype, dims: vec![length], pad }))
}

/// One row; padded here where the model's length is fixed, by the host where it is free.
fn tensor(values: &[u32], input: &ModelInput) -> Result<Tensor> {
    let length = input.dims.first().copied().flatten().unwrap_or(values.len());
    if values.len() > length {
        return Err(Error::invalid(format!(
            "a text has {} tokens, the model's `{}` takes {length}; set max_length = {length}",
            values.len(),
            input.name
        )));
    }
    let padding = std::iter::repeat_n(input.pad as u32, length - values.len());
    let values = values.iter().copied().chain(padding);
    Ok(match input.dtype {
        DType::I32 => Tensor::i32(&[length], values.map(|value| value as i32).collect())?,
        _ => Tensor::i64(&[length], values.map(i64::from).collect())?,
    })
}

chiasm_plugin::export_plugin! { adapters: [Text] }
