//! Drafts of cards: the values of an adapter with the origin of every key, and the files beside a model.
//!
//! Every key has one line that names the file and the key it is from, the default that applies, or says that
//! it is a guess. A guess ends in `CHECK`. What a file says and a card cannot express is
//! [undecided](CardDraft::undecided): no card is written until the user decides.
//!
//! ```
//! use chiasm_kit::draft::CardDraft;
//!
//! let mut card = CardDraft::default();
//! card.set("max_length", 256, "`max_seq_length` of sentence_bert_config.json");
//! card.guess("orient", false, "no file says whether pictures are rotated");
//! let draft = card.finish();
//! assert_eq!(draft.preprocessing["max_length"], 256);
//! let lines: Vec<&str> = draft.reason.lines().collect();
//! assert_eq!(lines[0], "max_length 256: `max_seq_length` of sentence_bert_config.json");
//! assert_eq!(lines[1], "orient false: a guess, no file says whether pictures are rotated; CHECK");
//! ```

use std::path::{Path, PathBuf};

use chiasm_plugin::{DimSpec, Draft, Error, Json, PortSpec, Result, Signature, Undecided, json, read_file};

/// The largest configuration file.
const MAX_BYTES: u64 = 1 << 28;

/// A draft of a card, key by key.
#[derive(Debug, Clone)]
pub struct CardDraft {
    ports: Json,
    preprocessing: Json,
    lines: Vec<String>,
    undecided: Vec<Undecided>,
}

impl Default for CardDraft {
    fn default() -> Self {
        let (ports, preprocessing) = (json!({}), json!({}));
        Self { ports, preprocessing, lines: Vec::new(), undecided: Vec::new() }
    }
}

impl CardDraft {
    /// Sets a key of `[preprocessing]`, whose earlier value and line are dropped. `origin` is the file
    /// and key that it is from, or the default.
    pub fn set(&mut self, key: &str, value: impl Into<Json>, origin: impl AsRef<str>) {
        let value = value.into();
        self.lines.retain(|line| !line.starts_with(&format!("{key} ")));
        self.lines.push(format!("{key} {}: {}", shown(&value), origin.as_ref()));
        self.preprocessing[key] = value;
    }

    /// Returns the value of a key of `[preprocessing]`; null if it is not set.
    pub fn value(&self, key: &str) -> &Json {
        &self.preprocessing[key]
    }

    /// Sets a key of `[preprocessing]` to a usual value, which no file states.
    pub fn guess(&mut self, key: &str, value: impl Into<Json>, reason: impl AsRef<str>) {
        self.set(key, value, format!("a guess, {}; CHECK", reason.as_ref()));
    }

    /// Sets a key of `[ports]`.
    pub fn port(&mut self, key: &str, value: impl Into<Json>, origin: impl AsRef<str>) {
        let value = value.into();
        self.lines.push(format!("{key} {}: {}", shown(&value), origin.as_ref()));
        self.ports[key] = value;
    }

    /// Adds a line that is not about one key.
    pub fn note(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// Records that the user has to set a key, such as `preprocessing.resize`: what the files say, why a card
    /// cannot express it, and the values that can be set.
    pub fn undecided(&mut self, key: &str, reason: impl Into<String>) {
        self.undecided.push(Undecided { key: key.to_owned(), reason: reason.into() });
    }

    /// Returns whether a key is recorded as undecided.
    pub fn is_undecided(&self, key: &str) -> bool {
        self.undecided.iter().any(|undecided| undecided.key == key)
    }

    /// Returns the draft.
    pub fn finish(self) -> Draft {
        let Self { ports, preprocessing, lines, undecided } = self;
        Draft { ports, preprocessing, reason: lines.join("\n"), undecided }
    }
}

fn shown(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| format!("`{text}`"))
}

/// The folder of a model, where its configuration files lie: beside the model, or one folder up if the model
/// is in a folder such as `onnx`.
#[derive(Debug, Clone, Copy)]
pub struct ModelFolder<'a>(pub &'a Path);

/// A configuration file.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    /// Its path from the model's folder, such as `../config.json`.
    pub name: String,
    /// Its content.
    pub content: Json,
}

impl ModelFolder<'_> {
    /// Returns the path of a file from the model's folder, such as `../tokenizer.json`, if it exists.
    pub fn find(&self, name: &str) -> Option<String> {
        let places = [name.to_owned(), format!("../{name}")];
        places.into_iter().find(|place| self.path(place).is_file())
    }

    /// Returns the whole path of a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Reads a JSON file; `None` if there is none of that name.
    ///
    /// # Errors
    /// If the file cannot be read or is not JSON.
    pub fn json(&self, name: &str) -> Result<Option<ConfigFile>> {
        let Some(name) = self.find(name) else { return Ok(None) };
        let about = |reason: String| {
            let path = self.path(&name);
            Error::invalid(format!("{}: {reason}; repair the file, or remove it", path.display()))
        };
        let bytes = read_file(&self.path(&name), MAX_BYTES);
        let bytes = bytes.map_err(|error| about(format!("cannot be read ({error})")))?;
        let content =
            serde_json::from_slice(&bytes).map_err(|error| about(format!("is not JSON: {error}")))?;
        Ok(Some(ConfigFile { name, content }))
    }
}

impl ConfigFile {
    /// Returns the value of a key; `None` if it is missing or null.
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.content.get(key).filter(|value| !value.is_null())
    }

    /// Returns the origin of a value: "`key` of file.json".
    pub fn origin(&self, key: &str) -> String {
        format!("`{key}` of {}", self.name)
    }
}

/// Returns whether the name of an output says that it holds class scores.
pub fn are_scores(name: &str) -> bool {
    let name = name.to_lowercase();
    ["logit", "prob", "class", "softmax", "score"].iter().any(|word| name.contains(word))
}

/// Describes the tensor before the last layer of an output of a model that may be a classifier: the output
/// would be a poor embedding then. `None` if there is no such tensor.
pub fn better_than_scores(signature: &Signature, output: &PortSpec) -> Option<String> {
    let inner = signature.before_last.get(&output.name)?;
    let key = if is_vector(inner) { "pooled" } else { "tokens" };
    Some(format!(
        "if `{}` holds class scores, the tensor before its last layer is a better embedding: --set \
         'ports.{key}=\"{}\"' ({}); CHECK",
        output.name,
        inner.name,
        lengths(inner)
    ))
}

/// Returns whether a port holds one vector per item: `[B,D]`, or `[B,D,1,1]`.
pub fn is_vector(port: &PortSpec) -> bool {
    match port.dims.as_deref() {
        Some([_, _, rest @ ..]) if is_float(port) => {
            matches!(rest.len(), 0 | 2) && rest.iter().all(|dim| *dim == DimSpec::Fixed(1))
        }
        _ => false,
    }
}

/// Returns whether a port holds floating-point numbers: exports may return their integer inputs, too.
pub fn is_float(port: &PortSpec) -> bool {
    port.dtype.is_float()
}

/// Formats the axes of a port, as in `[N, 1280]`.
pub fn lengths(port: &PortSpec) -> String {
    let length = |dim: &DimSpec| match dim {
        DimSpec::Fixed(length) => length.to_string(),
        DimSpec::Named(name) => name.clone(),
        DimSpec::Unknown => "?".to_owned(),
    };
    let lengths: Vec<String> = port.dims.iter().flatten().map(length).collect();
    format!("[{}]", lengths.join(", "))
}

/// Chooses the embedding of a classifier, a model whose output `scores` holds class scores: the tensor before
/// its last layer, as `pooled` if it is a vector and else as `tokens`. Returns whether there is one.
pub fn use_before_scores(card: &mut CardDraft, signature: &Signature, scores: &PortSpec) -> bool {
    let usable = |inner: &&PortSpec| match inner.dims.as_deref() {
        Some([_, dim, ..]) if is_vector(inner) => matches!(dim, DimSpec::Fixed(_)),
        Some([_, _, dim]) => matches!(dim, DimSpec::Fixed(_)),
        Some([_, channels, _, _]) => matches!(channels, DimSpec::Fixed(_)),
        _ => false,
    };
    let Some(inner) = signature.before_last.get(&scores.name).filter(usable) else { return false };
    let keep = match is_vector(scores) {
        true => format!("; to take the scores: --set ports.pooled={}", scores.name),
        false => String::new(),
    };
    let why = format!(
        "`{}` looks like class scores, and this tensor {} is what its last layer reads{keep}",
        scores.name,
        lengths(inner)
    );
    match is_vector(inner) {
        true => card.port("pooled", inner.name.as_str(), why),
        false => card.port("tokens", inner.name.as_str(), why),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_beside_the_model_and_one_folder_up_and_broken_ones_are_named() {
        let root = std::env::temp_dir().join(format!("chiasm-draft-{}", std::process::id()));
        std::fs::create_dir_all(root.join("onnx")).unwrap();
        std::fs::write(root.join("config.json"), r#"{"a": 1, "b": null}"#).unwrap();
        std::fs::write(root.join("broken.json"), r#"{"a":"#).unwrap();
        let beside = root.join("onnx");
        let folder = ModelFolder(&beside);
        let config = folder.json("config.json").unwrap().unwrap();
        assert_eq!(
            (config.name.as_str(), config.get("a"), config.get("b")),
            ("../config.json", Some(&json!(1)), None)
        );
        assert_eq!(config.origin("a"), "`a` of ../config.json");
        assert!(folder.json("none.json").unwrap().is_none());
        let message = folder.json("broken.json").unwrap_err().message().to_owned();
        assert!(message.contains("broken.json: is not JSON") && message.contains("repair"), "{message}");
        std::fs::remove_dir_all(&root).unwrap();
    }
}
