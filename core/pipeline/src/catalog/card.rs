//! Encoder cards: `models/<name>/card.toml`, the facts about one frozen encoder, and the folders they are
//! found in.
//!
//! A card is data: which adapter reads its raw input, which file and hash, which ports mean what. The model
//! file itself may lie elsewhere (weights are not kept in repositories).

use crate::base::problem::{Problem, did_you_mean};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The facts about one encoder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The name recipes use.
    pub name: String,
    /// The id of the adapter that prepares its raw input.
    pub adapter: String,
    /// The ONNX file: beside the card, an absolute path, or `<name>/<file>` in a models folder.
    pub model: String,
    /// The file's sha256 in hex; checked at every use.
    pub sha256: String,
    /// The model's licence, passed on to what is made from it.
    #[serde(default)]
    pub licence: String,
    /// Where the model is from, in words.
    #[serde(default)]
    pub source: String,
    /// How the model's ports become tokens, mask and pooled: the adapter's own table.
    #[serde(default)]
    pub ports: toml::Table,
    /// How raw input becomes the model's inputs: the adapter's own table.
    #[serde(default)]
    pub preprocessing: toml::Table,
}

/// A card that was found, and its file.
#[derive(Debug, Clone)]
pub struct FoundCard {
    /// The card.
    pub card: Card,
    /// The card's file.
    pub card_path: PathBuf,
    /// The model's file.
    pub model_path: PathBuf,
}

/// The folders that hold `<name>/card.toml` and `<name>/<model file>`.
#[derive(Debug, Clone)]
pub struct ModelStore {
    folders: Vec<PathBuf>,
}

impl ModelStore {
    /// The store seen from `start` (a recipe's folder): `extra` folders, `models/` in `start` and in each
    /// folder above it, the folders of `$CHIASM_MODELS`, then the user's own.
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

    /// The folders, in the order they are searched.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Every card, the first of each name; a card that cannot be read is a problem in its place.
    pub fn list(&self) -> Vec<Result<(Card, PathBuf), Problem>> {
        let mut found: Vec<Result<(Card, PathBuf), Problem>> = Vec::new();
        let entries = self.folders.iter().filter_map(|f| std::fs::read_dir(f).ok()).flat_map(|entries| {
            let mut paths: Vec<_> = entries.flatten().map(|e| e.path().join("card.toml")).collect();
            paths.sort();
            paths
        });
        for path in entries.filter(|p| p.is_file()) {
            let card = read_card(&path);
            let known =
                |name: &str| found.iter().any(|f| f.as_ref().is_ok_and(|(card, _)| card.name == name));
            if !card.as_ref().is_ok_and(|card| known(&card.name)) {
                found.push(card.map(|card| (card, path)));
            }
        }
        found
    }

    /// The encoder called `name`: its card, and its model file where it was found.
    ///
    /// # Errors
    /// When no folder has the card, the card is not valid, or the model file is nowhere.
    pub fn find(&self, name: &str) -> Result<FoundCard, Problem> {
        let card_path =
            self.folders.iter().map(|f| f.join(name).join("card.toml")).find(|p| p.is_file()).ok_or_else(
                || {
                    let known: Vec<String> = self.list().into_iter().flatten().map(|(c, _)| c.name).collect();
                    let help = did_you_mean(name, known.iter().map(String::as_str)).unwrap_or_else(|| {
                        format!("`chiasm model add FILE.onnx --name {name}` makes a card; searched: {}", self)
                    });
                    Problem::new("chiasm::model::unknown", format!("there is no model card called {name:?}"))
                        .help(help)
                },
            )?;
        let card = read_card(&card_path)?;
        let model_path = self.model_file(&card, &card_path)?;
        Ok(FoundCard { card, card_path, model_path })
    }

    fn model_file(&self, card: &Card, card_path: &Path) -> Result<PathBuf, Problem> {
        let beside = card_path.parent().unwrap_or(Path::new("")).join(&card.model);
        let elsewhere = self.folders.iter().map(|f| f.join(&card.name).join(&card.model));
        std::iter::once(beside).chain(elsewhere).find(|p| p.is_file()).ok_or_else(|| {
            let message = format!("the file {} of model {:?} was not found", card.model, card.name);
            Problem::new("chiasm::model::missing_file", message).help(format!(
                "put it beside {} or at <folder>/{}/{}, with the folder named in CHIASM_MODELS; searched: {}",
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

/// The user's own models folder, where `chiasm model add` writes cards: `$XDG_DATA_HOME/chiasm/models`.
pub fn user_models() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").filter(|d| !d.is_empty()).map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    data.or(home).map(|folder| folder.join("chiasm/models"))
}

/// Reads one card.
///
/// # Errors
/// When the file cannot be read or is not a card: what was expected, with the line.
pub fn read_card(path: &Path) -> Result<Card, Problem> {
    let code = "chiasm::model::card";
    let text = std::fs::read_to_string(path)
        .map_err(|e| Problem::new(code, format!("cannot read the card {}: {e}", path.display())))?;
    toml::from_str(&text).map_err(|e| Problem::new(code, format!("{} is not a card: {e}", path.display())))
}
