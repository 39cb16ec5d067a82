//! What a `tokenizer.json` of the kind of BERT says: how texts are normalised, and the pieces of words.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The parts of a `tokenizer.json` that can be written as operators.
#[derive(Debug)]
pub struct WordPieces {
    /// The pieces in the order of their numbers.
    pub pieces: Vec<String>,
    /// What precedes a piece that does not start a word.
    pub prefix: String,
    /// The piece of a word that has no pieces.
    pub unknown: String,
    /// The special tokens, which are found in a text before it is normalised.
    pub special: Vec<String>,
    /// The tokens before and after a text.
    pub first: String,
    pub last: String,
    pub normaliser: Normaliser,
    /// The most tokens, if the file states them.
    pub most: Option<usize>,
}

/// How characters are normalised, before they are split into words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normaliser {
    pub chinese_chars: bool,
    pub strip_accents: bool,
    pub lowercase: bool,
}

#[derive(Deserialize)]
struct File {
    model: Value,
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    truncation: Option<Value>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: usize,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
}

/// The longest word in characters: a longer one is unknown. `BertTokenizer` has no attribute for it.
const LONGEST_WORD: u64 = 100;

impl WordPieces {
    /// Reads the content of a `tokenizer.json`, or returns which setting cannot be written as operators.
    pub fn read(content: &[u8]) -> Result<Self, String> {
        let file: File =
            serde_json::from_slice(content).map_err(|error| format!("tokenizer.json: {error}"))?;
        let only = |at: &str, value: &Value, wanted: Value| match *value == wanted {
            true => Ok(()),
            false => Err(format!("tokenizer.json has `{at} = {value}`, for which there is no operator")),
        };
        only("model.type", &file.model["type"], "WordPiece".into())?;
        let longest = &file.model["max_input_chars_per_word"];
        only("model.max_input_chars_per_word", longest, LONGEST_WORD.into())?;
        only("normalizer.type", &file.normalizer["type"], "BertNormalizer".into())?;
        only("normalizer.clean_text", &file.normalizer["clean_text"], true.into())?;
        only("pre_tokenizer.type", &file.pre_tokenizer["type"], "BertPreTokenizer".into())?;
        for token in &file.added_tokens {
            let AddedToken { single_word, lstrip, rstrip, normalized, .. } = *token;
            let set = [
                ("single_word", single_word),
                ("lstrip", lstrip),
                ("rstrip", rstrip),
                ("normalized", normalized),
            ];
            if let Some((key, _)) = set.into_iter().find(|(_, set)| *set) {
                let token = &token.content;
                return Err(format!("tokenizer.json has `{key} = true` for the added token {token:?}"));
            }
        }
        let truncation = file.truncation.unwrap_or_default();
        if !truncation.is_null() {
            only(
                "truncation.direction",
                truncation.get("direction").unwrap_or(&"Right".into()),
                "Right".into(),
            )?;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let [first, last] = around(&file.post_processor)?;
        Ok(Self {
            pieces: pieces(&file.model["vocab"], &file.added_tokens)?,
            prefix: text(&file.model["continuing_subword_prefix"]),
            unknown: text(&file.model["unk_token"]),
            special: file.added_tokens.into_iter().map(|token| token.content).collect(),
            first,
            last,
            normaliser: normaliser(&file.normalizer),
            most: truncation["max_length"].as_u64().and_then(|most| usize::try_from(most).ok()),
        })
    }
}

fn normaliser(table: &Value) -> Normaliser {
    let lowercase = table["lowercase"].as_bool().unwrap_or(true);
    Normaliser {
        chinese_chars: table["handle_chinese_chars"].as_bool().unwrap_or(true),
        strip_accents: table["strip_accents"].as_bool().unwrap_or(lowercase),
        lowercase,
    }
}

/// Returns the pieces in the order of their numbers, which must be all from zero on.
fn pieces(vocabulary: &Value, added: &[AddedToken]) -> Result<Vec<String>, String> {
    let vocabulary: BTreeMap<String, usize> = serde_json::from_value(vocabulary.clone())
        .map_err(|error| format!("tokenizer.json: model.vocab: {error}"))?;
    let mut by_number: BTreeMap<usize, String> =
        vocabulary.into_iter().map(|(piece, at)| (at, piece)).collect();
    for token in added {
        let own = by_number.entry(token.id).or_insert_with(|| token.content.clone());
        if *own != token.content {
            return Err(format!("tokenizer.json gives the number {} to two tokens", token.id));
        }
    }
    if by_number.keys().enumerate().any(|(at, number)| at != *number) {
        return Err("tokenizer.json leaves numbers of `model.vocab` out".to_owned());
    }
    Ok(by_number.into_values().collect())
}

/// Returns the tokens before and after one text.
fn around(processor: &Value) -> Result<[String; 2], String> {
    let refused = || {
        format!(
            "tokenizer.json has `post_processor.type = {}` with other tokens than one before and one after a \
             text",
            processor["type"]
        )
    };
    let name = |token: &Value| token.as_str().map(str::to_owned);
    let found = match processor["type"].as_str() {
        Some("BertProcessing") => [name(&processor["cls"][0]), name(&processor["sep"][0])],
        Some("TemplateProcessing") => match processor["single"].as_array().map(Vec::as_slice) {
            Some([first, text, last]) if text["Sequence"]["type_id"] == 0 => {
                let special = |part: &Value| {
                    let own = name(&part["SpecialToken"]["id"])?;
                    let plain = part["SpecialToken"]["type_id"] == 0;
                    let same = processor["special_tokens"][&own]["tokens"] == Value::from([own.as_str()]);
                    (plain && same).then_some(own)
                };
                [special(first), special(last)]
            }
            _ => [None, None],
        },
        _ => [None, None],
    };
    match found {
        [Some(first), Some(last)] => Ok([first, last]),
        _ => Err(refused()),
    }
}
