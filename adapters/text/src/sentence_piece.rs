//! Tokenizers from a SentencePiece model: of the kind unigram, as T5, ALBERT and XLM-RoBERTa have, or of byte
//! pairs, as Llama has.
//!
//! The file is a protocol buffer (`sentencepiece_model.proto` of SentencePiece). Its pieces, scores and
//! rules of normalisation are described in the form of `tokenizer.json`, as transformers converts them.

use chiasm_plugin::{Json, json};

use crate::special_tokens::{TokenizerKind, added, around};

/// The numbers of fields and values in the protocol buffer.
const PIECES: u64 = 1;
const TRAINER: u64 = 2;
const NORMALIZER: u64 = 3;
const UNIGRAM: u64 = 1;
const BYTE_PAIRS: u64 = 2;
const UNKNOWN: u64 = 2;
const BYTE: u64 = 6;
/// What stands for a space.
const SPACE: &str = "\u{2581}";

/// A field of a protocol buffer.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// What a SentencePiece model holds.
struct PieceModel<'a> {
    /// Whether pieces are joined pair by pair, the best score first.
    byte_pairs: bool,
    /// The pieces with their scores.
    pieces: Vec<(String, f64)>,
    /// The number of the piece for what is unknown.
    unknown: Option<usize>,
    /// Whether there are pieces for single bytes.
    byte_fallback: bool,
    /// The compiled rules of normalisation.
    charsmap: &'a [u8],
    /// Whether a text begins with a space.
    prefix: bool,
}

/// Describes the tokenizer of a SentencePiece model. `uncased` is for ALBERT: whether texts are made
/// lower case and lose their accents.
///
/// # Errors
/// If the file is damaged, is of another kind than unigram and byte pairs, or lacks the special tokens of
/// `kind`.
pub(crate) fn describe(bytes: &[u8], kind: TokenizerKind, uncased: bool) -> Result<Json, String> {
    let mut model = read(bytes)?;
    if kind == TokenizerKind::XlmRoberta {
        // The first three pieces are <unk>, <s> and </s> there, and four special tokens precede the
        // others here.
        let special = ["<s>", "<pad>", "</s>", "<unk>"].map(|token| (token.to_owned(), 0.0));
        model.pieces = special.into_iter().chain(model.pieces.into_iter().skip(3)).collect();
        model.pieces.push(("<mask>".to_owned(), 0.0));
        model.unknown = Some(3);
    }
    let PieceModel { byte_pairs, pieces, unknown, byte_fallback, charsmap, prefix } = model;
    let vocab: serde_json::Map<String, Json> =
        pieces.iter().enumerate().map(|(number, (piece, _))| (piece.clone(), json!(number))).collect();
    let special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "[CLS]", "[SEP]", "[MASK]"];
    let (normalizer, splits) = match kind {
        // The text is one word, whose spaces are kept.
        TokenizerKind::Llama => {
            let mut steps =
                vec![json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE })];
            if prefix {
                steps.insert(0, json!({ "type": "Prepend", "prepend": SPACE }));
            }
            (steps, Json::Null)
        }
        _ => {
            let scheme = if prefix { "always" } else { "never" };
            let splits =
                json!({ "type": "Metaspace", "replacement": SPACE, "split": true, "prepend_scheme": scheme });
            (normalizers(charsmap, kind, uncased), splits)
        }
    };
    let added = added(&special, &vocab);
    let post_processor = post_processor(kind, &vocab)?;
    let model = if byte_pairs {
        let unknown = unknown.and_then(|at| pieces.get(at)).map(|(piece, _)| piece);
        let merges = merges(&pieces, &vocab);
        json!({ "type": "BPE", "vocab": vocab, "merges": merges, "unk_token": unknown, "fuse_unk": true,
                "byte_fallback": byte_fallback })
    } else {
        json!({ "type": "Unigram", "unk_id": unknown, "vocab": pieces, "byte_fallback": byte_fallback })
    };
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": { "type": "Sequence", "normalizers": normalizer },
        "pre_tokenizer": splits,
        "post_processor": post_processor,
        "model": model
    }))
}

/// Returns the pairs of pieces that are joined, in the order of the scores of what they become; of equal
/// scores the pair with the longer first piece comes first, as transformers converts such a model.
fn merges(pieces: &[(String, f64)], vocab: &serde_json::Map<String, Json>) -> Vec<[String; 2]> {
    let number = |piece: &str| vocab.get(piece).and_then(Json::as_u64);
    let mut found = Vec::new();
    for (piece, score) in pieces {
        let inner = piece.char_indices().skip(1).map(|(at, _)| piece.split_at(at));
        let mut pairs: Vec<_> =
            inner.filter_map(|(left, right)| Some((number(left)?, number(right)?, left, right))).collect();
        pairs.sort_unstable();
        found.extend(pairs.into_iter().map(|(_, _, left, right)| (*score, left, right)));
    }
    let length = |text: &str| text.chars().count();
    found.sort_by(|a, b| {
        b.0.total_cmp(&a.0)
            .then_with(|| length(b.1).cmp(&length(a.1)))
            .then_with(|| length(b.2).cmp(&length(a.2)))
    });
    found.into_iter().map(|(_, left, right)| [left.to_owned(), right.to_owned()]).collect()
}

/// Reads a SentencePiece model.
fn read(bytes: &[u8]) -> Result<PieceModel<'_>, String> {
    let mut model = PieceModel {
        byte_pairs: false,
        pieces: Vec::new(),
        unknown: None,
        byte_fallback: false,
        charsmap: &[],
        prefix: true,
    };
    for (number, field) in fields(bytes)? {
        match (number, field) {
            (PIECES, Field::Bytes(bytes)) => {
                let (piece, score, class) = piece(bytes)?;
                if class == UNKNOWN {
                    model.unknown = Some(model.pieces.len());
                }
                model.byte_fallback |= class == BYTE;
                model.pieces.push((piece, score));
            }
            (TRAINER, Field::Bytes(bytes)) => {
                let kind = fields(bytes)?.into_iter().find(|(number, _)| *number == 3);
                model.byte_pairs = matches!(kind, Some((_, Field::Number(BYTE_PAIRS))));
                if !matches!(kind, None | Some((_, Field::Number(UNIGRAM | BYTE_PAIRS)))) {
                    return Err("it is a SentencePiece model of words or letters, and those of the kinds \
                                unigram and BPE are read; transformers' \
                                `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)` writes a \
                                tokenizer.json, which is read"
                        .to_owned());
                }
            }
            (NORMALIZER, Field::Bytes(bytes)) => {
                for (number, field) in fields(bytes)? {
                    match (number, field) {
                        (2, Field::Bytes(map)) => model.charsmap = map,
                        (3, Field::Number(value)) => model.prefix = value != 0,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if model.pieces.is_empty() {
        return Err("it holds no pieces; is this a SentencePiece model?".to_owned());
    }
    Ok(model)
}

/// Returns the special tokens around a text.
fn post_processor(kind: TokenizerKind, vocab: &serde_json::Map<String, Json>) -> Result<Json, String> {
    let has = |token: &str| match vocab.contains_key(token) {
        true => Ok(()),
        false => Err(format!("it has no piece {token}, which its tokenizer_kind needs")),
    };
    match kind {
        TokenizerKind::T5 => {
            has("</s>")?;
            Ok(json!({
                "type": "TemplateProcessing",
                "single": [{ "Sequence": { "id": "A", "type_id": 0 } },
                           { "SpecialToken": { "id": "</s>", "type_id": 0 } }],
                "pair": [{ "Sequence": { "id": "A", "type_id": 0 } },
                         { "Sequence": { "id": "B", "type_id": 1 } }],
                "special_tokens": { "</s>": { "id": "</s>", "ids": [vocab["</s>"]], "tokens": ["</s>"] } }
            }))
        }
        TokenizerKind::Llama => {
            has("<s>")?;
            Ok(json!({
                "type": "TemplateProcessing",
                "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } },
                           { "Sequence": { "id": "A", "type_id": 0 } }],
                "pair": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } },
                         { "Sequence": { "id": "A", "type_id": 0 } },
                         { "Sequence": { "id": "B", "type_id": 1 } }],
                "special_tokens": { "<s>": { "id": "<s>", "ids": [vocab["<s>"]], "tokens": ["<s>"] } }
            }))
        }
        TokenizerKind::Albert => {
            ["[CLS]", "[SEP]"].into_iter().try_for_each(has)?;
            Ok(around("[CLS]", "[SEP]", vocab))
        }
        _ => {
            ["<s>", "</s>"].into_iter().try_for_each(has)?;
            Ok(around("<s>", "</s>", vocab))
        }
    }
}

/// Returns what is done to a text before it is split.
fn normalizers(charsmap: &[u8], kind: TokenizerKind, uncased: bool) -> Vec<Json> {
    let mut all = Vec::new();
    if kind == TokenizerKind::Albert {
        let quote = |from: &str| json!({ "type": "Replace", "pattern": { "String": from }, "content": "\"" });
        all.extend([quote("``"), quote("''")]);
        if uncased {
            all.extend(["NFKD", "StripAccents", "Lowercase"].map(|step| json!({ "type": step })));
        }
    }
    if !charsmap.is_empty() {
        all.push(json!({ "type": "Precompiled", "precompiled_charsmap": base64(charsmap) }));
    }
    all.push(json!({ "type": "Strip", "strip_left": true, "strip_right": true }));
    all.push(json!({ "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": " " }));
    all
}

/// Reads a piece with its score and its class.
fn piece(bytes: &[u8]) -> Result<(String, f64, u64), String> {
    let (mut text, mut score, mut class) = (String::new(), 0.0, 1);
    for (number, field) in fields(bytes)? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => text = String::from_utf8_lossy(bytes).into_owned(),
            (2, Field::Number(bits)) => score = f64::from(f32::from_bits(bits as u32)),
            (3, Field::Number(value)) => class = value,
            _ => {}
        }
    }
    Ok((text, score, class))
}

/// Reads the fields of a protocol buffer with their numbers.
fn fields(bytes: &[u8]) -> Result<Vec<(u64, Field<'_>)>, String> {
    let damaged = || "it ends within a field; it is damaged, or no SentencePiece model".to_owned();
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let tag = number(&mut rest).ok_or_else(damaged)?;
        let fixed = |rest: &mut &[u8], length: usize| {
            let (value, after) = rest.split_at_checked(length).ok_or_else(damaged)?;
            *rest = after;
            let bytes = value.iter().rev();
            Ok::<_, String>(bytes.fold(0, |whole, byte| whole << 8 | u64::from(*byte)))
        };
        let field = match tag & 7 {
            0 => Field::Number(number(&mut rest).ok_or_else(damaged)?),
            1 => Field::Number(fixed(&mut rest, 8)?),
            5 => Field::Number(fixed(&mut rest, 4)?),
            2 => {
                let length = number(&mut rest).and_then(|length| usize::try_from(length).ok());
                let length = length.ok_or_else(damaged)?;
                let (value, after) = rest.split_at_checked(length).ok_or_else(damaged)?;
                rest = after;
                Field::Bytes(value)
            }
            _ => return Err(damaged()),
        };
        found.push((tag >> 3, field));
    }
    Ok(found)
}

/// Reads a number of seven bits in each byte, the lowest first.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 127) << (7 * place);
        if *byte < 128 {
            return Some(value);
        }
    }
    None
}

/// Encodes bytes in base 64 (RFC 4648), as tokenizer.json holds them.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let known = digit <= three.len();
            let place = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if known { char::from(DIGITS[place]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 4648, section 10.
    #[test]
    fn bytes_are_encoded_in_base_64() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        cases.iter().for_each(|(bytes, text)| assert_eq!(base64(bytes.as_bytes()), *text));
    }

    #[test]
    fn damaged_files_are_refused() {
        for bytes in [&b"\n\x7f"[..], b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x07", b""] {
            assert!(describe(bytes, TokenizerKind::T5, true).is_err(), "{bytes:?}");
        }
        let words = b"\x0a\x03\x0a\x01a\x12\x02\x18\x03";
        assert!(describe(words, TokenizerKind::T5, true).unwrap_err().contains("model of words or letters"));
    }
}
