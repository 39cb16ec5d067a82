//! The text adapter: tokenizes a text to token ids and their mask.
//!
//! The tokenizer is the model's own `tokenizer.json`, or an older vocabulary, run by the `tokenizers`
//! library. The padding and truncation in that file are replaced: the host pads a batch to its longest
//! text, and the card sets the largest number of tokens of a text. Truncation keeps the special tokens;
//! the host counts the tokens that were left out. If the model has no input `attention_mask`, nothing
//! hides padding from it, so the host batches texts of equal length only.
//!
//! Inputs that follow from the tokens, such as `position_ids`, are computed by a graph before the model. The
//! adapter refuses to open if the model has an input that neither can fill, or if `max_length` leaves no room
//! beside the special tokens.

mod corruption;
mod draft;
mod head;
mod inputs;
mod sentence_piece;
mod special_tokens;
mod vocabulary;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use chiasm_kit::{PORT_KEYS, encoder_tail};
use chiasm_plugin::graph::{DType, Graph, Tensor};
use chiasm_plugin::{
    Adapter, CardKey, CardKeys, DimSpec, Draft, EncoderSpec, Error, Item, LEFT_OUT, ModelInput, PortSpec,
    Result, Services, Signature, Takes,
};
use serde::Deserialize;
use tokenizers::{Encoding, PaddingDirection, PostProcessor, Tokenizer, TruncationParams};

use crate::corruption::{TextCorruption, check, corrupted};
use crate::inputs::{MadeInput, TextInput};
use crate::vocabulary::VocabularyOptions;

/// The mask of a model that has none but fixes the length of its texts: only the poolings read it.
const OWN_MASK: &str = "attention_mask";

/// The adapter of a text encoder.
pub struct TextAdapter {
    tokenizer: Tokenizer,
    inputs: Vec<MadeInput>,
    corruption: Option<TextCorruption>,
    prefix: String,
    lowercase: bool,
    /// Whether a model of fixed length gets its padding on the left.
    pads_left: bool,
    head: Option<Graph>,
    tail: Graph,
}

/// A card's `[preprocessing]` table.
#[derive(Deserialize, CardKeys)]
#[serde(deny_unknown_fields)]
struct TextParameters {
    /// The tokenizer's file, relative to the card's folder: tokenizer.json, vocab.txt, vocab.json or a
    /// SentencePiece model. The files that a card needs are those that it names.
    tokenizer: String,
    /// The largest number of tokens of a text, with the special ones. Default: that of the tokenizer's file.
    max_length: Option<usize>,
    /// Precedes every text, such as "query: "; or a table of such texts by name, of which `prompt` chooses.
    /// Default: nothing.
    #[serde(default)]
    #[card(takes = "text, or a table of texts by name")]
    prefix: Prefix,
    /// The name of the text in the table `prefix`. Default: no text precedes.
    prompt: Option<String>,
    /// Whether texts are converted to lower case before the tokenizer reads them. Default: false.
    #[serde(default)]
    lowercase: bool,
    /// The `position_ids` of the first token. RoBERTa counts from the number of its padding token plus one.
    /// Default: 0.
    #[serde(default)]
    first_position: u32,
    /// Whether texts shorter than the fixed length of a model are filled on the left. Default: as the
    /// tokenizer's file says, else no.
    pad_left: Option<bool>,
    /// How a vocabulary is used. It is required for a SentencePiece model. Default: bert for vocab.txt, gpt2
    /// for vocab.json.
    #[card(
        takes = "bert, gpt2, roberta or clip; t5, albert, xlm-roberta or llama for a SentencePiece model"
    )]
    tokenizer_kind: Option<special_tokens::TokenizerKind>,
    /// The file of merges beside a vocab.json. Default: merges.txt.
    merges: Option<String>,
    /// Whether a tokenizer of the kind bert or albert makes texts lower case and removes accents.
    /// Default: true.
    uncased: Option<bool>,
    /// How texts are corrupted, for a test of robustness.
    #[card(takes = "a table with kind and strength")]
    corruption: Option<TextCorruption>,
}

/// The texts that can precede an item.
#[derive(Deserialize)]
#[serde(untagged, expecting = "prefix must be a text, or a table of texts by name")]
enum Prefix {
    One(String),
    Named(BTreeMap<String, String>),
}

impl Default for Prefix {
    fn default() -> Self {
        Self::One(String::new())
    }
}

impl Prefix {
    /// Returns the text that precedes every item.
    fn chosen(self, prompt: Option<&str>) -> Result<String, String> {
        match (self, prompt) {
            (Self::One(text), None) => Ok(text),
            (Self::One(_), Some(name)) => Err(format!(
                "prompt = \"{name}\" chooses from the table prefix, and there is none: write \
                 prefix.{name} = \"...\""
            )),
            (Self::Named(_), None) => Ok(String::new()),
            (Self::Named(mut texts), Some(name)) => texts.remove(name).ok_or_else(|| {
                let known: Vec<&str> = texts.keys().map(String::as_str).collect();
                format!("prompt is \"{name}\", expected one of the table prefix: {}", known.join(", "))
            }),
        }
    }
}

impl Adapter for TextAdapter {
    const ID: &'static str = "text";
    const DOC: &'static str = "Texts as token numbers, by the model's own tokenizer.";
    const KEYS: &'static [&'static [CardKey]] = &[PORT_KEYS, TextParameters::KEYS];

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
        let TextParameters { tokenizer: file, tokenizer_kind, merges, uncased, .. } = parameters;
        let options = VocabularyOptions { tokenizer_kind, merges, uncased };
        let read = vocabulary::read(&spec.directory, &file, &options);
        let mut tokenizer = read.map_err(|error| {
            about(format!(
                "{error}; put the model's own tokenizer.json beside the card, or name its vocabulary"
            ))
        })?;
        let pad = pad_id(&tokenizer);
        let left = tokenizer.get_padding().is_some_and(|own| matches!(own.direction, PaddingDirection::Left));
        tokenizer.with_padding(None);
        let of_model = inputs::of_model(spec)?;
        limit(&mut tokenizer, parameters.max_length, inputs::fixed_length(&of_model)).map_err(about)?;
        parameters.corruption.as_ref().map_or(Ok(()), check).map_err(about)?;
        let head = head::build(spec, &of_model, parameters.first_position)?;
        let made = of_model.iter().filter(|(contents, _)| !contents.is_computed());
        let mut inputs: Vec<MadeInput> =
            made.map(|(contents, port)| inputs::made(spec, *contents, port, pad)).collect::<Result<_>>()?;
        let tail = tail(spec, &mut inputs)?;
        let prefix = parameters.prefix.chosen(parameters.prompt.as_deref()).map_err(about)?;
        let pads_left = parameters.pad_left.unwrap_or(left);
        let TextParameters { corruption, lowercase, .. } = parameters;
        Ok(Self { tokenizer, inputs, corruption, prefix, lowercase, pads_left, head, tail })
    }

    fn inputs(&self) -> Vec<ModelInput> {
        let count = ModelInput { name: LEFT_OUT.to_owned(), dtype: DType::I64, dims: Vec::new(), pad: None };
        self.inputs.iter().map(|made| made.input.clone()).chain([count]).collect()
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
        let mut tensors = Vec::with_capacity(self.inputs.len() + 1);
        for made in &self.inputs {
            let values = match made.contents {
                TextInput::Mask => encoding.get_attention_mask(),
                TextInput::Types => encoding.get_type_ids(),
                _ => encoding.get_ids(),
            };
            tensors.push(made.tensor(values, self.pads_left)?);
        }
        tensors.push(Tensor::i64(&[], vec![left_out(&encoding)])?);
        Ok(tensors)
    }

    fn head(&self) -> Result<Option<Graph>> {
        Ok(self.head.clone())
    }

    fn tail(&self) -> Result<Graph> {
        Ok(self.tail.clone())
    }
}

/// Builds the tail. A model of fixed length without a mask gets one that only the tail reads; in batches of a
/// model of free length without a mask, all texts have one length.
fn tail(spec: &EncoderSpec, inputs: &mut Vec<MadeInput>) -> Result<Graph> {
    let find = |wanted| inputs.iter().find(|made: &&MadeInput| made.contents == wanted);
    if let Some(mask) = find(TextInput::Mask) {
        return encoder_tail(spec, Some(&mask.input.name), false);
    }
    let length = find(TextInput::Ids).and_then(|ids| ids.input.dims.first().copied().flatten());
    let Some(length) = length else {
        let free = inputs.iter_mut().filter(|made| made.input.dims.contains(&None));
        free.for_each(|made| made.input.pad = None);
        return encoder_tail(spec, None, false);
    };
    let dims = vec![DimSpec::Named("batch".to_owned()), DimSpec::Fixed(length)];
    let mask = PortSpec { name: OWN_MASK.to_owned(), dtype: DType::I64, dims: Some(dims) };
    let mut with_mask = spec.clone();
    with_mask.inputs.push(mask.clone());
    let tail = encoder_tail(&with_mask, Some(OWN_MASK), false)?;
    if tail.input(OWN_MASK).is_ok() {
        inputs.push(inputs::made(&with_mask, TextInput::Mask, &mask, 0)?);
    }
    Ok(tail)
}

/// Returns the number of tokens of a text beyond the largest length.
fn left_out(encoding: &Encoding) -> i64 {
    let own =
        |part: &Encoding| part.get_special_tokens_mask().iter().filter(|special| **special == 0).count();
    encoding.get_overflowing().iter().map(own).sum::<usize>() as i64
}

/// Sets truncation, on the side given in the tokenizer's file.
///
/// Without `max_length`, that of the tokenizer's file holds, and no more than the `fixed` length of the
/// model.
fn limit(tokenizer: &mut Tokenizer, max_length: Option<usize>, fixed: Option<usize>) -> Result<(), String> {
    if let Some((stated, fixed)) = max_length.zip(fixed).filter(|(stated, fixed)| stated > fixed) {
        return Err(format!(
            "max_length is {stated}, but the model takes texts of {fixed} tokens: set max_length = {fixed}"
        ));
    }
    let own = tokenizer.get_truncation().cloned();
    let of_files = own.as_ref().map(|own| own.max_length).into_iter().chain(fixed).min();
    let Some(max_length) = max_length.or(of_files) else {
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

chiasm_plugin::export_plugin! { adapters: [TextAdapter] }
