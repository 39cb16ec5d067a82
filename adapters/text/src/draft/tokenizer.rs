//! The tokenizer's file, and the numbers of positions.

use chiasm_kit::draft::{CardDraft, ModelFolder};
use chiasm_plugin::{Json, Result};

/// Models that count positions from the number of their padding token plus one.
const AFTER_PADDING: [&str; 7] =
    ["roberta", "xlm-roberta", "camembert", "longformer", "mpnet", "xlm-roberta-xl", "roberta-prelayernorm"];

/// Sets `tokenizer` and the keys that say how its file is read.
pub(super) fn set(card: &mut CardDraft, folder: &ModelFolder<'_>) -> Result<()> {
    if let Some(place) = folder.find("tokenizer.json") {
        card.set("tokenizer", place, "the file is there");
        return Ok(());
    }
    let config = folder.json("tokenizer_config.json")?;
    if let Some(place) = folder.find("vocab.txt") {
        card.set("tokenizer", place, "there is no tokenizer.json, and this vocabulary of BERT is there");
        match config.as_ref().and_then(|config| Some((config, config.get("do_lower_case")?.as_bool()?))) {
            Some((config, uncased)) => card.set("uncased", uncased, config.origin("do_lower_case")),
            None => card.set("uncased", true, "the default `do_lower_case` of BERT's tokenizer"),
        }
        return Ok(());
    }
    if let (Some(vocabulary), Some(merges)) = (folder.find("vocab.json"), folder.find("merges.txt")) {
        card.set("tokenizer", vocabulary, "there is no tokenizer.json, and this vocabulary is there");
        card.set("merges", merges, "the file is there");
        let class = config.as_ref().and_then(|config| config.get("tokenizer_class")?.as_str());
        let known = [("CLIP", "clip"), ("Roberta", "roberta"), ("Longformer", "roberta"), ("GPT2", "gpt2")];
        let kind = known.iter().find(|(prefix, _)| class.is_some_and(|class| class.starts_with(prefix)));
        match (kind, config.as_ref()) {
            (Some((_, kind)), Some(config)) => {
                card.set("tokenizer_kind", *kind, config.origin("tokenizer_class"));
            }
            _ => card.guess("tokenizer_kind", "gpt2", "no file names a class of tokenizers that is known"),
        }
        return Ok(());
    }
    let sentence_piece = ["spiece.model", "sentencepiece.bpe.model", "tokenizer.model"];
    let Some(place) = sentence_piece.iter().find_map(|name| folder.find(name)) else {
        let advice = "none was found beside the model; put its own tokenizer.json there";
        card.set("tokenizer", "tokenizer.json", advice);
        return Ok(());
    };
    let by_file = match place.rsplit('/').next() {
        Some("sentencepiece.bpe.model") => "xlm-roberta",
        Some("tokenizer.model") => "llama",
        _ => "t5",
    };
    card.set("tokenizer", place, "there is no tokenizer.json, and this SentencePiece model is there");
    let class = config.as_ref().and_then(|config| config.get("tokenizer_class")?.as_str());
    let known = [("T5", "t5"), ("Albert", "albert"), ("XLMRoberta", "xlm-roberta"), ("Llama", "llama")];
    let kind = known.iter().find(|(prefix, _)| class.is_some_and(|class| class.starts_with(prefix)));
    match (kind, config.as_ref()) {
        (Some((_, kind)), Some(config)) => {
            card.set("tokenizer_kind", *kind, config.origin("tokenizer_class"))
        }
        _ => card.guess("tokenizer_kind", by_file, "no file names a class of tokenizers that is known"),
    }
    if let Some((config, uncased)) =
        config.as_ref().and_then(|config| Some((config, config.get("do_lower_case")?.as_bool()?)))
    {
        card.set("uncased", uncased, config.origin("do_lower_case"));
    }
    Ok(())
}

/// Sets `first_position` for a model that has its positions as an input.
pub(super) fn first_position(card: &mut CardDraft, folder: &ModelFolder<'_>) -> Result<()> {
    let Some(config) = folder.json("config.json")? else { return Ok(()) };
    let kind = config.get("model_type").and_then(Json::as_str).unwrap_or_default();
    if AFTER_PADDING.contains(&kind) {
        let pad = config.get("pad_token_id").and_then(Json::as_u64).unwrap_or(1);
        let origin = format!("{} is {kind}: after `pad_token_id` {pad}", config.origin("model_type"));
        card.set("first_position", pad + 1, origin);
    }
    Ok(())
}
