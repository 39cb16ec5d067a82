//! The text adapter: tokenizes a text to token ids and their mask.
//!
//! The tokenizer is the model's own `tokenizer.json`, run by the `tokenizers` library. The padding and
//! truncation in that file are replaced: the host pads a batch to its longest text, and the card sets the
//! largest number of tokens of a text. Truncation keeps the special tokens. If the model has no input
//! `attention_mask`, nothing hides padding from it, so the host batches texts of equal length only.
//!
//! The adapter refuses to open if the model has an input that a tokenizer cannot fill, or if `max_length`
//! leaves no room beside the special tokens.

mod corruption;
mod draft;

use std::borrow::Cow;
use std::path::Path;

use chiasm_kit::encoder_tail;
use chiasm_plugin::graph::{DType, Graph, Tensor};
use chiasm_plugin::{
    Adapter, DimSpec, Draft, EncoderSpec, Error, Item, ModelInput, PortSpec, Result, Services, Signature,
    Takes, read_file,
};
use serde::Deserialize;
use tokenizers::{PostProcessor, Tokenizer, TruncationParams};

use crate::corruption::{TextCorruption, check, corrupted};

/// The largest size of a tokenizer's file; those of large vocabularies have some 30 MiB.
const MAX_TOKENIZER_BYTES: u64 = 256 << 20;
/// The largest length that a model may fix; every text is filled up to it.
const MAX_FIXED_LENGTH: usize = 1 << 20;

/// The adapter of a text encoder.
pub struct TextAdapter {
    tokenizer: Tokenizer,
    inputs: Vec<(TextInput, ModelInput)>,
    corruption: Option<TextCorruption>,
    prefix: String,
    lowercase: bool,
    tail: Graph,
}

/// A card's `[preprocessing]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextParameters {
    /// The tokenizer's file, relative to the card's folder. It has no default: the files that a card needs
    /// are those that it names, which are copied with it.
    tokenizer: String,
    /// The largest number of tokens of a text, with the special ones. Default: that of the tokenizer's file.
    max_length: Option<usize>,
    /// Precedes every text, such as "query: ".
    #[serde(default)]
    prefix: String,
    /// Whether texts are converted to lower case before the tokenizer reads them.
    #[serde(default)]
    lowercase: bool,
    /// How texts are corrupted, for a test of robustness.
    corruption: Option<TextCorruption>,
}

/// The contents of one of the model's inputs.
#[derive(Clone, Copy)]
enum TextInput {
    Ids,
    Mask,
    Types,
}

impl Adapter for TextAdapter {
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
        let parameters: TextParameters =
            serde_json::from_value(spec.preprocessing.clone()).map_err(|error| match error.to_string() {
                missing if missing.contains("missing field `tokenizer`") => about(
                    "the key `tokenizer` is missing; name the model's own file, such as \"tokenizer.json\""
                        .into(),
                ),
                other => about(other),
            })?;
        let path = spec.directory.join(&parameters.tokenizer);
        let bytes = read_file(&path, MAX_TOKENIZER_BYTES).map_err(|error| error.to_string());
        let read = bytes.and_then(|bytes| Tokenizer::from_bytes(bytes).map_err(|error| error.to_string()));
        let mut tokenizer = read.map_err(|error| {
            about(format!("{}: {error}; put the model's own tokenizer.json beside the card", path.display()))
        })?;
        let pad = pad_id(&tokenizer);
        tokenizer.with_padding(None);
        limit(&mut tokenizer, parameters.max_length).map_err(about)?;
        parameters.corruption.as_ref().map_or(Ok(()), check).map_err(about)?;
        let mut inputs =
            spec.inputs.iter().map(|port| model_input(spec, port, pad)).collect::<Result<Vec<_>>>()?;
        if !inputs.iter().any(|(row, _)| matches!(row, TextInput::Ids)) {
            return Err(Error::invalid(format!(
                "the model of `{}` has no input `input_ids`; is this a text model?",
                spec.name
            )));
        }
        let mask = inputs
            .iter()
            .find(|(row, _)| matches!(row, TextInput::Mask))
            .map(|(_, input)| input.name.as_str());
        let tail = encoder_tail(spec, mask, false)?;
        if mask.is_none() {
            let free = inputs.iter_mut().filter(|(_, input)| input.dims.contains(&None));
            free.for_each(|(_, input)| input.pad = None);
        }
        let TextParameters { corruption, prefix, lowercase, .. } = parameters;
        Ok(Self { tokenizer, inputs, corruption, prefix, lowercase, tail })
    }

    fn inputs(&self) -> Vec<ModelInput> {
        self.inputs.iter().map(|(_, input)| input.clone()).collect()
    }

    fn prepare(&self, item: Item<'_>) -> Result<Vec<Tensor>> {
        let Item::Text(text) = item else {
            return Err(Error::invalid(format!("the text adapter takes a text, got {item:?}")));
        };
        let text = match &self.corruption {
            Some(corruption) => Cow::Owned(corrupted(text, corruption)),
            None => Cow::Borrowed(text),
        };
        let text = if self.prefix.is_empty() { text } else { Cow::Owned(format!("{}{text}", self.prefix)) };
        let text = if self.lowercase { Cow::Owned(text.to_lowercase()) } else { text };
        let encoding =
            self.tokenizer.encode_fast(&*text, true).map_err(|error| Error::invalid(error.to_string()))?;
        if encoding.is_empty() {
            return Err(Error::invalid(format!(
                "the tokenizer makes no token of {text:?}; leave this row out"
            )));
        }
        self.inputs
            .iter()
            .map(|(row, input)| {
                let values = match row {
                    TextInput::Ids => encoding.get_ids(),
                    TextInput::Mask => encoding.get_attention_mask(),
                    TextInput::Types => encoding.get_type_ids(),
                };
                tensor(values, input)
            })
            .collect()
    }

    fn tail(&self) -> Result<Graph> {
        Ok(self.tail.clone())
    }
}

/// Sets truncation, on the side given in the tokenizer's file.
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

/// Returns the id of the padding token: the one in the file, else one with a usual name, else 0. The mask
/// hides it.
fn pad_id(tokenizer: &Tokenizer) -> u32 {
    let stored = tokenizer.get_padding().map(|padding| padding.pad_id);
    stored.or_else(|| ["[PAD]", "<pad>"].iter().find_map(|token| tokenizer.token_to_id(token))).unwrap_or(0)
}

fn model_input(spec: &EncoderSpec, port: &PortSpec, pad: u32) -> Result<(TextInput, ModelInput)> {
    let row = match port.name.as_str() {
        "input_ids" => TextInput::Ids,
        "attention_mask" => TextInput::Mask,
        "token_type_ids" => TextInput::Types,
        other => {
            return Err(Error::unsupported(format!(
                "the model of `{}` has an input `{other}`; a text model may have input_ids, \
                 attention_mask and token_type_ids",
                spec.name
            )));
        }
    };
    let length = match port.dims.as_deref() {
        None | Some([_, DimSpec::Named(_) | DimSpec::Unknown]) => None,
        Some([_, DimSpec::Fixed(length)]) if *length <= MAX_FIXED_LENGTH => Some(*length),
        Some([_, DimSpec::Fixed(length)]) => {
            return Err(Error::unsupported(format!(
                "input `{}` of `{}` takes texts of {length} tokens, at most {MAX_FIXED_LENGTH} are made",
                port.name, spec.name
            )));
        }
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
    let pad = if matches!(row, TextInput::Ids) { f64::from(pad) } else { 0.0 };
    let dims = vec![length];
    Ok((row, ModelInput { name: port.name.clone(), dtype: port.dtype, dims, pad: Some(pad) }))
}

/// Returns one text as a tensor. It is padded here if the model's length is fixed, else by the host.
fn tensor(values: &[u32], input: &ModelInput) -> Result<Tensor> {
    let length = input.dims.first().copied().flatten().unwrap_or(values.len());
    if values.len() > length {
        return Err(Error::invalid(format!(
            "a text has {} tokens, the model's `{}` takes {length}; set max_length = {length}",
            values.len(),
            input.name
        )));
    }
    let padding = std::iter::repeat_n(input.pad.unwrap_or(0.0) as u32, length - values.len());
    let values = values.iter().copied().chain(padding);
    Ok(match input.dtype {
        DType::I32 => Tensor::i32(&[length], values.map(|value| value as i32).collect())?,
        _ => Tensor::i64(&[length], values.map(i64::from).collect())?,
    })
}

chiasm_plugin::export_plugin! { adapters: [TextAdapter] }
