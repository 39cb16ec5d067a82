//! The largest number of tokens of a text.

use chiasm_kit::draft::{CardDraft, ConfigFile, ModelFolder};
use chiasm_plugin::{DimSpec, Json, PortSpec, Result};

/// Sets `max_length`, from the most specific file that states it. `ids` is the input of token numbers, whose
/// fixed length no text may exceed.
pub(super) fn set(card: &mut CardDraft, folder: &ModelFolder<'_>, ids: &PortSpec) -> Result<()> {
    let sentence = folder.json("sentence_bert_config.json")?;
    let stated = sentence.as_ref().and_then(|config| length(config, "max_seq_length"));
    let stated = match (stated, folder.json("tokenizer.json")?) {
        (Some(stated), _) => Some(stated),
        (None, Some(tokenizer)) => length(&tokenizer, "truncation.max_length"),
        (None, None) => None,
    };
    let stated = match stated {
        Some(stated) => Some(stated),
        None => {
            // Of the tokenizer's limit and the number of positions, the smaller one holds.
            let tokenizer = folder.json("tokenizer_config.json")?;
            let model = folder.json("config.json")?;
            let limits = [
                tokenizer.as_ref().and_then(|config| length(config, "model_max_length")),
                model.as_ref().and_then(|config| length(config, "max_position_embeddings")),
            ];
            limits.into_iter().flatten().min_by_key(|(length, _)| *length)
        }
    };
    let fixed = match ids.dims.as_deref() {
        Some([_, DimSpec::Fixed(length)]) => Some(*length as u64),
        _ => None,
    };
    match (stated, fixed) {
        (stated, Some(fixed)) if stated.as_ref().is_none_or(|(length, _)| fixed < *length) => {
            card.set("max_length", fixed, format!("`{}` of the graph has it fixed", ids.name));
        }
        (Some((length, origin)), _) => card.set("max_length", length, origin),
        (None, _) => card.guess("max_length", 512, "no file beside the model says how long a text may be"),
    }
    Ok(())
}

/// Returns a length and its origin. Some tokenizers store 10^30 for "no limit".
fn length(config: &ConfigFile, key: &str) -> Option<(u64, String)> {
    let value = key.split('.').fold(&config.content, |value, key| &value[key]);
    let length = Json::as_u64(value).filter(|length| (1..1_000_000).contains(length))?;
    Some((length, config.origin(key)))
}
