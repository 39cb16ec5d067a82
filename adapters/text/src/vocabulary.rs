//! Tokenizers from the files that models had before `tokenizer.json`: a `vocab.txt` of BERT, a
//! `vocab.json` with the merges of GPT-2, RoBERTa or CLIP, or a SentencePiece model.
//!
//! The tokenizer is described in the form of `tokenizer.json`, as transformers converts these files, and read
//! by the tokenizers library.

use std::path::Path;

use chiasm_plugin::{Json, json, read_file};
use serde::Deserialize;
use tokenizers::Tokenizer;

use crate::sentence_piece;
use crate::special_tokens::{TokenizerKind, added, around};

/// The largest size of a tokenizer's file; those of large vocabularies have some 30 MiB.
const MAX_BYTES: u64 = 256 << 20;

/// The keys of `[preprocessing]` for files other than `tokenizer.json`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct VocabularyOptions {
    /// How a vocabulary is used: `bert` (the default for vocab.txt), `gpt2` (the default for vocab.json),
    /// `roberta` or `clip`; `t5`, `albert`, `xlm-roberta` or `llama` for a SentencePiece model.
    pub(crate) tokenizer_kind: Option<TokenizerKind>,
    /// The file of merges beside a vocab.json. Default: merges.txt.
    pub(crate) merges: Option<String>,
    /// Whether a tokenizer of the kind `bert` or `albert` makes texts lower case and removes accents.
    /// Default: true.
    pub(crate) uncased: Option<bool>,
}

/// Reads a tokenizer from a `tokenizer.json` or from a vocabulary.
///
/// # Errors
/// If a file cannot be read, is not of the kind that its name says, or a key does not apply to it.
pub(crate) fn read(directory: &Path, file: &str, options: &VocabularyOptions) -> Result<Tokenizer, String> {
    let name = file.rsplit('/').next().unwrap_or(file);
    let text = |file: &str| {
        let path = directory.join(file);
        let bytes = read_file(&path, MAX_BYTES).map_err(|error| format!("{}: {error}", path.display()))?;
        String::from_utf8(bytes).map_err(|_| format!("{}: it is not UTF-8 text", path.display()))
    };
    let about = |reason: String| format!("{}: {reason}", directory.join(file).display());
    let described = if name.ends_with(".txt") {
        word_piece(&text(file)?, options).map_err(about)?
    } else if name.ends_with("vocab.json") {
        byte_pairs(&text(file)?, &text(options.merges.as_deref().unwrap_or("merges.txt"))?, options)
            .map_err(about)?
    } else if name.ends_with(".model") {
        let kind = options.tokenizer_kind.filter(|kind| kind.is_sentence_piece()).ok_or_else(|| {
            about(
                "set tokenizer_kind = \"t5\", \"albert\", \"xlm-roberta\" or \"llama\" for a SentencePiece \
                 model"
                    .into(),
            )
        })?;
        let bytes = read_file(&directory.join(file), MAX_BYTES).map_err(|error| about(error.to_string()))?;
        sentence_piece::describe(&bytes, kind, options.uncased.unwrap_or(true)).map_err(about)?
    } else {
        let whole = options.tokenizer_kind.is_some() || options.merges.is_some() || options.uncased.is_some();
        if whole {
            return Err(
                "tokenizer_kind, merges and uncased are for vocab.txt and vocab.json; a tokenizer.json \
                        states all itself: remove them"
                    .to_owned(),
            );
        }
        return Tokenizer::from_bytes(text(file)?).map_err(|error| about(error.to_string()));
    };
    Tokenizer::from_bytes(described.to_string()).map_err(|error| about(error.to_string()))
}

/// A tokenizer of BERT from its vocabulary, one token in each line.
fn word_piece(vocabulary: &str, options: &VocabularyOptions) -> Result<Json, String> {
    if options.tokenizer_kind.is_some_and(|kind| kind != TokenizerKind::Bert) || options.merges.is_some() {
        return Err("a vocab.txt is read as tokenizer_kind = \"bert\", without merges".to_owned());
    }
    // The numbers of tokens are the numbers of their lines; a repeated token has its last one.
    let mut vocab = serde_json::Map::new();
    for (number, token) in vocabulary.lines().enumerate() {
        vocab.insert(token.trim_end().to_owned(), json!(number));
    }
    let marks = [("[CLS]", "[SEP]", "[UNK]"), ("<s>", "</s>", "<unk>")];
    let Some((first, last, unknown)) =
        marks.into_iter().find(|(first, last, _)| vocab.contains_key(*first) && vocab.contains_key(*last))
    else {
        return Err("it has neither [CLS] and [SEP] nor <s> and </s>, one token per line".to_owned());
    };
    let unknown = [unknown, "[UNK]"].into_iter().find(|token| vocab.contains_key(*token));
    let unknown = unknown.ok_or("it has no token [UNK]")?;
    let uncased = options.uncased.unwrap_or(true);
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "<pad>", "</s>", "<unk>", "<mask>"];
    Ok(json!({
        "version": "1.0",
        "added_tokens": added(&special, &vocab),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": true,
            "strip_accents": null,
            "lowercase": uncased
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": around(first, last, &vocab),
        "model": {
            "type": "WordPiece",
            "unk_token": unknown,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab
        }
    }))
}

/// A tokenizer of byte pairs from its vocabulary and its merges.
fn byte_pairs(vocabulary: &str, merges: &str, options: &VocabularyOptions) -> Result<Json, String> {
    let kind = options.tokenizer_kind.unwrap_or(TokenizerKind::Gpt2);
    if kind == TokenizerKind::Bert || kind.is_sentence_piece() || options.uncased.is_some() {
        return Err("a vocab.json is read as tokenizer_kind = \"gpt2\", \"roberta\" or \"clip\", without \
                    uncased"
            .to_owned());
    }
    let vocab: serde_json::Map<String, Json> =
        serde_json::from_str(vocabulary).map_err(|error| format!("it is not a table of tokens: {error}"))?;
    let merges: Vec<&str> =
        merges.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty()).collect();
    let clip = kind == TokenizerKind::Clip;
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                        "use_regex": !clip });
    let words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    let (normalizer, pre_tokenizer) = match clip {
        true => (
            json!({ "type": "Sequence", "normalizers": [
                { "type": "NFC" },
                { "type": "Replace", "pattern": { "Regex": r"\s+" }, "content": " " },
                { "type": "Lowercase" }
            ] }),
            json!({ "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": words }, "behavior": "Removed", "invert": true },
                bytes
            ] }),
        ),
        false => (Json::Null, bytes),
    };
    let (first, last) = match kind {
        TokenizerKind::Roberta => ("<s>", "</s>"),
        TokenizerKind::Clip => ("<|startoftext|>", "<|endoftext|>"),
        _ => ("", ""),
    };
    if let Some(missing) =
        [first, last].iter().find(|token| !token.is_empty() && !vocab.contains_key(**token))
    {
        return Err(format!("it has no token {missing}, which tokenizer_kind needs"));
    }
    let special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|startoftext|>", "<|endoftext|>"];
    let post_processor = if first.is_empty() { Json::Null } else { around(first, last, &vocab) };
    Ok(json!({
        "version": "1.0",
        "added_tokens": added(&special, &vocab),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "model": {
            "type": "BPE",
            "unk_token": if clip { json!("<|endoftext|>") } else { Json::Null },
            "continuing_subword_prefix": "",
            "end_of_word_suffix": if clip { "</w>" } else { "" },
            "vocab": vocab,
            "merges": merges
        }
    }))
}
