//! Model cards, `models/<name>/card.toml`, and the folders that are searched for them.
//!
//! A card describes one frozen encoder: its file and digest, the adapter that prepares its raw input, and the
//! meaning of its ports. The model file may be in another folder than its card; all other files that the card
//! names are beneath one of these two folders.

use crate::base::{
    problem::{Problem, did_you_mean},
    relative_path::check_name,
};
use chiasm_host::CardKey;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The largest card, in bytes.
pub(super) const MAX_CARD: u64 = 1 << 20;

/// The content of a model card.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// The name by which recipes refer to the model.
    pub name: String,
    /// The id of the adapter that prepares its raw input.
    pub adapter: String,
    /// The ONNX file: a path relative to the card's folder, an absolute path, or `<name>/<file>` in a models
    /// folder.
    pub model: String,
    /// The SHA-256 of the file, in hex. Checked whenever the model is opened.
    pub sha256: String,
    /// The model's licence. The model card of a run repeats it.
    #[serde(default)]
    pub licence: String,
    /// The origin of the model, as text.
    #[serde(default)]
    pub source: String,
    /// How the model's ports become tokens, mask and pooled vectors. The adapter defines the keys.
    #[serde(default)]
    pub ports: toml::Table,
    /// How raw input becomes the model's inputs. The adapter defines the keys.
    #[serde(default)]
    pub preprocessing: toml::Table,
}

/// A card and its files on disk.
#[derive(Debug, Clone)]
pub struct ResolvedCard {
    /// The card.
    pub card: ModelCard,
    /// The path of the card.
    pub card_path: PathBuf,
    /// The path of the model.
    pub model_path: PathBuf,
}

/// The folders that hold `<name>/card.toml` and `<name>/<model file>`.
#[derive(Debug, Clone)]
pub struct ModelStore {
    folders: Vec<PathBuf>,
}

impl ModelStore {
    /// Returns the store for a recipe in the folder `start`. It searches the `extra` folders, `models/` in
    /// `start` and in each folder above it, the folders of `$CHIASM_MODELS`, then the user's models folder.
    pub fn new(start: &Path, extra: &[PathBuf]) -> Self {
        let mut folders = extra.to_vec();
        let start = std::path::absolute(start).unwrap_or_else(|_| start.to_path_buf());
        folders.extend(start.ancestors().map(|folder| folder.join("models")).filter(|f| f.is_dir()));
        if let Some(list) = std::env::var_os("CHIASM_MODELS") {
            folders.extend(std::env::split_paths(&list));
        }
        folders.extend(user_models());
        Self { folders }
    }

    /// Returns the folders, in search order.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Returns every card with its path, and a problem for each card that cannot be read. Of several cards
    /// with one name, the first is returned.
    pub fn list(&self) -> Vec<Result<(ModelCard, PathBuf), Problem>> {
        let mut found: Vec<Result<(ModelCard, PathBuf), Problem>> = Vec::new();
        for path in self.card_paths() {
            let card = read_card(&path);
            let known =
                |name: &str| found.iter().any(|f| f.as_ref().is_ok_and(|(card, _)| card.name == name));
            if !card.as_ref().is_ok_and(|card| known(&card.name)) {
                found.push(card.map(|card| (card, path)));
            }
        }
        found
    }

    /// Returns the path of every card, also of those that are hidden by one of the same name.
    pub(super) fn card_paths(&self) -> impl Iterator<Item = PathBuf> {
        let entries = self.folders.iter().filter_map(|f| std::fs::read_dir(f).ok()).flat_map(|entries| {
            let mut paths: Vec<_> = entries.flatten().map(|e| e.path().join("card.toml")).collect();
            paths.sort();
            paths
        });
        entries.filter(|path| path.is_file())
    }

    /// Finds the card called `name` and its model file.
    ///
    /// # Errors
    /// If no folder has the card, the card is invalid, or the model file is missing.
    pub fn find(&self, name: &str) -> Result<ResolvedCard, Problem> {
        let card_path = self.card_path(name)?;
        self.resolve(read_card(&card_path)?, card_path)
    }

    /// Finds the file of the card called `name`.
    ///
    /// # Errors
    /// If no folder has it.
    pub(super) fn card_path(&self, name: &str) -> Result<PathBuf, Problem> {
        check_name(name).map_err(|what| Problem::new("chiasm::model::name", format!("a model: {what}")))?;
        let paths = self.folders.iter().map(|folder| folder.join(name).join("card.toml"));
        paths.into_iter().find(|path| path.is_file()).ok_or_else(|| {
            let known: Vec<String> = self.list().into_iter().flatten().map(|(card, _)| card.name).collect();
            let help = did_you_mean(name, known.iter().map(String::as_str)).unwrap_or_else(|| {
                format!("`chiasm model add FILE.onnx --name {name}` creates a card; searched: {self}")
            });
            Problem::new("chiasm::model::unknown", format!("there is no model card called {name:?}"))
                .help(help)
        })
    }

    /// Finds the model of a card.
    ///
    /// # Errors
    /// If it is missing.
    pub(super) fn resolve(&self, card: ModelCard, card_path: PathBuf) -> Result<ResolvedCard, Problem> {
        let model_path = self.model_file(&card, &card_path)?;
        Ok(ResolvedCard { card, card_path, model_path })
    }

    /// Returns the paths where the model of a card is looked for.
    pub(super) fn model_candidates(
        &self,
        card: &ModelCard,
        card_path: &Path,
    ) -> impl Iterator<Item = PathBuf> {
        let beside = card_path.parent().unwrap_or(Path::new("")).join(&card.model);
        let elsewhere = self.folders.iter().map(|f| f.join(&card.name).join(&card.model));
        std::iter::once(beside).chain(elsewhere)
    }

    fn model_file(&self, card: &ModelCard, card_path: &Path) -> Result<PathBuf, Problem> {
        self.model_candidates(card, card_path).find(|p| p.is_file()).ok_or_else(|| {
            let message = format!("the file {} of model {:?} was not found", card.model, card.name);
            Problem::new("chiasm::model::missing_file", message).help(format!(
                "put it beside {} or at <folder>/{}/{}, and add <folder> to CHIASM_MODELS; searched: {}",
                card_path.display(),
                card.name,
                card.model,
                self
            ))
        })
    }
}

impl std::fmt::Display for ModelStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let folders: Vec<String> = self.folders.iter().map(|p| p.display().to_string()).collect();
        f.write_str(&folders.join(", "))
    }
}

/// Returns the user's models folder, where `chiasm model add` writes cards: `chiasm/models` in
/// `$XDG_DATA_HOME` or in `~/.local/share`.
pub fn user_models() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").filter(|d| !d.is_empty()).map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    data.or(home).map(|folder| folder.join("chiasm/models"))
}

/// Reads a model card.
///
/// # Errors
/// If the file cannot be read or is not a valid card. The message names the line.
pub fn read_card(path: &Path) -> Result<ModelCard, Problem> {
    let code = "chiasm::model::card";
    let bytes = chiasm_host::read_file(path, MAX_CARD)
        .map_err(|e| Problem::new(code, format!("cannot read the card {}: {e}", path.display())))?;
    let bad = |what: String| Problem::new(code, format!("{} is not a valid card: {what}", path.display()));
    let card: ModelCard = toml::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    check_name(&card.name).map_err(|what| bad(format!("`name`: {what}")))?;
    Ok(card)
}

/// The keys of a model card. The adapter has those of `[ports]` and `[preprocessing]`.
pub const CARD_KEYS: &[CardKey] = &[
    CardKey::new("name", "a name", "required", "The name by which recipes refer to the model."),
    CardKey::new("adapter", "the id of an adapter", "required", "The adapter that prepares the raw items."),
    CardKey::new(
        "model",
        "a path",
        "required",
        "The ONNX file: relative to the card's folder, absolute, or NAME/FILE in a models folder.",
    ),
    CardKey::new(
        "sha256",
        "a digest in hexadecimal",
        "required",
        "The SHA-256 of the model or, with weights in other files, one digest of all. Always checked.",
    ),
    CardKey::new("licence", "text", "empty", "The licence of the model. The model card of a run repeats it."),
    CardKey::new("source", "text", "empty", "Where the model is from."),
    CardKey::new(
        "ports",
        "a table",
        "empty",
        "How the outputs of the model become tokens, mask and pooled vectors.",
    ),
    CardKey::new(
        "ports.batch",
        "an integer >= 1",
        "what the inputs of the model say",
        "The batch of a model whose nodes fix it although its inputs do not say so. It runs once for each so \
         many items, the last of which is repeated to fill up the last batch.",
    ),
    CardKey::new("preprocessing", "a table", "empty", "How raw items become the inputs of the model."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_exactly_the_keys_that_are_read() {
        // Keys of a table that every adapter has follow their table.
        let own = CARD_KEYS.iter().map(|key| key.name).filter(|name| !name.contains('.'));
        let mut names: Vec<&str> = own.collect();
        names.sort_unstable();
        assert_eq!(names, chiasm_host::fields_of::<ModelCard>(""));
    }
}
