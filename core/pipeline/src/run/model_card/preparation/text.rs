//! Texts: tokenized by the model's own `tokenizer.json`. The Python equals the adapter `text`.

use super::described::{Preparation, PythonPreparation, not_known};
use crate::run::model_card::{facts::EncoderFacts, text::quoted};
use chiasm_graph::{DType, Port};
use serde::Deserialize;
use serde_json::Value;

/// The table of a text card.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTable {
    #[serde(default = "tokenizer_json")]
    pub tokenizer: String,
    pub max_length: Option<usize>,
    #[serde(default)]
    prefix: Value,
    prompt: Option<String>,
    #[serde(default)]
    pub lowercase: bool,
    /// The graph counts positions.
    #[serde(default, rename = "first_position")]
    _first_position: u32,
}

fn tokenizer_json() -> String {
    "tokenizer.json".to_owned()
}

/// Describes how texts are prepared for a model with the inputs `ports`.
pub fn preparation(encoder: &EncoderFacts<'_>, ports: &[Port]) -> Preparation {
    let table: TextTable = match serde_json::from_value(encoder.spec.preprocessing.clone()) {
        Ok(table) => table,
        Err(error) => return not_known(encoder, &error),
    };
    if encoder.raw {
        return tokenized_inside(encoder, &table);
    }
    let folder = encoder.folder.as_deref().unwrap_or_default();
    let python = PythonPreparation {
        imports: vec!["from tokenizers import Tokenizer"],
        body: table.body(encoder, &quoted(&format!("{folder}/{}", table.tokenizer)), ports),
        item: "a text",
        example: "\"a small red circle\"".to_owned(),
    };
    Preparation { words: table.words(), python: Ok(python) }
}

/// Describes texts that the model tokenizes.
fn tokenized_inside(encoder: &EncoderFacts<'_>, table: &TextTable) -> Preparation {
    let name = encoder.inputs.values().next().map(String::as_str).unwrap_or_default();
    let python = PythonPreparation {
        imports: vec!["from onnxruntime_extensions import get_library_path"],
        body: vec![format!("return {{{}: np.array([item], dtype=object)}}", quoted(name))],
        item: "a text",
        example: "\"a small red circle\"".to_owned(),
    };
    let words = format!(
        "The model takes one text, as a tensor of strings with one element, and does what follows with \
         operators of onnxruntime-extensions. {}",
        table.words()
    );
    Preparation { words, python: Ok(python) }
}

impl TextTable {
    /// Returns the text that precedes every item.
    pub fn prefix(&self) -> &str {
        let chosen = self.prompt.as_ref().map_or(&self.prefix, |name| &self.prefix[name]);
        chosen.as_str().unwrap_or_default()
    }

    fn words(&self) -> String {
        let mut words = String::new();
        if !self.prefix().is_empty() {
            words.push_str(&format!("{} is put before every text. ", quoted(self.prefix())));
        }
        if self.lowercase {
            words.push_str("The text is converted to lower case. ");
        }
        let most = self.max_length.map_or("the length in that file".to_owned(), |most| {
            format!("{most} tokens, with the special ones, so that the end of a longer text is not read")
        });
        words.push_str(&format!(
            "A text is tokenized by `{}` with its special tokens, and cut to {most}. A batch is padded to \
             its longest text; the mask is 0 there.",
            self.tokenizer.replace('`', "'")
        ));
        words
    }

    fn body(&self, encoder: &EncoderFacts<'_>, file: &str, ports: &[Port]) -> Vec<String> {
        let mut lines = vec![
            format!("tokenizer = Tokenizer.from_file({file})"),
            "own = tokenizer.truncation or {}".to_owned(),
        ];
        let mut line = |text: String| lines.push(text);
        let most = self.max_length.map_or("own[\"max_length\"]".to_owned(), |most| most.to_string());
        line("tokenizer.enable_truncation(".to_owned());
        line(format!("    {most},"));
        line("    strategy=own.get(\"strategy\", \"longest_first\"),".to_owned());
        line("    direction=own.get(\"direction\", \"right\"),".to_owned());
        line(")".to_owned());
        // The inputs that the model reads: their own names and their ports in the model.
        let read: Vec<(&str, &Port)> = (encoder.spec.inputs.iter())
            .filter_map(|own| {
                let merged = encoder.inputs.get(&own.name).unwrap_or(&own.name);
                Some((own.name.as_str(), ports.iter().find(|port| port.name == *merged)?))
            })
            .collect();
        if read.iter().any(|(_, port)| port.fixed(1).is_some()) {
            line("pad = (tokenizer.padding or {}).get(\"pad_id\")".to_owned());
            line("for token in (\"[PAD]\", \"<pad>\"):".to_owned());
            line("    pad = tokenizer.token_to_id(token) if pad is None else pad".to_owned());
        }
        line("tokenizer.no_padding()".to_owned());
        let mut text = "item".to_owned();
        if !self.prefix().is_empty() {
            text = format!("{} + {text}", quoted(self.prefix()));
        }
        if self.lowercase {
            text = format!("({text}).lower()");
        }
        line(format!("encoding = tokenizer.encode({text})"));
        line("return {".to_owned());
        read.iter().for_each(|(own, port)| line(array(own, port)));
        line("}".to_owned());
        lines
    }
}

/// Returns the name that Hugging Face's tokenizers give to what the input `own` of an encoder takes.
pub fn usual_name(own: &str) -> &'static str {
    match own.strip_prefix("model_").unwrap_or(own) {
        "attention_mask" | "mask" | "input_mask" => "attention_mask",
        "token_type_ids" | "segment_ids" | "type_ids" => "token_type_ids",
        _ => "input_ids",
    }
}

/// Returns the line with the value of the input `port`, whose own name is `own`.
fn array(own: &str, port: &Port) -> String {
    let dtype = match port.dtype {
        DType::I32 => "np.int32",
        DType::F32 => "np.float32",
        DType::F16 => "np.float16",
        DType::Bool => "bool",
        _ => "np.int64",
    };
    let (values, pad) = match usual_name(own) {
        "attention_mask" => ("encoding.attention_mask", "0"),
        "token_type_ids" => ("encoding.type_ids", "0"),
        _ => ("encoding.ids", "pad or 0"),
    };
    let padding = port.fixed(1).map(|length| format!(" + [{pad}] * ({length} - len(encoding.ids))"));
    format!("    {}: np.array([{values}{}], {dtype}),", quoted(&port.name), padding.unwrap_or_default())
}
