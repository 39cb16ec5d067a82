//! The kinds of older tokenizers, and the special tokens around a text.

use chiasm_plugin::{Json, json};
use serde::Deserialize;

/// How a vocabulary is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TokenizerKind {
    Bert,
    Gpt2,
    Roberta,
    Clip,
    T5,
    Albert,
    XlmRoberta,
    Llama,
}

impl TokenizerKind {
    /// Returns whether it is the kind of a SentencePiece model.
    pub(crate) fn is_sentence_piece(self) -> bool {
        matches!(self, Self::T5 | Self::Albert | Self::XlmRoberta | Self::Llama)
    }
}

/// The special tokens that the vocabulary has, which are not split.
pub(crate) fn added(special: &[&str], vocab: &serde_json::Map<String, Json>) -> Json {
    let mut found: Vec<(u64, &str)> =
        special.iter().filter_map(|token| Some((vocab.get(*token)?.as_u64()?, *token))).collect();
    found.sort_unstable();
    found
        .into_iter()
        .map(|(id, content)| {
            json!({ "id": id, "content": content, "single_word": false, "lstrip": content == "<mask>",
                    "rstrip": false, "normalized": false, "special": true })
        })
        .collect()
}

/// A text between two special tokens.
pub(crate) fn around(first: &str, last: &str, vocab: &serde_json::Map<String, Json>) -> Json {
    let special = |token: &str| json!({ "id": token, "ids": [vocab[token]], "tokens": [token] });
    json!({
        "type": "TemplateProcessing",
        "single": [
            { "SpecialToken": { "id": first, "type_id": 0 } },
            { "Sequence": { "id": "A", "type_id": 0 } },
            { "SpecialToken": { "id": last, "type_id": 0 } }
        ],
        "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
        "special_tokens": { first: special(first), last: special(last) }
    })
}
