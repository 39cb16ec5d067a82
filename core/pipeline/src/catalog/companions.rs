//! The files that a card names besides its model, such as a tokenizer.
//!
//! They are the strings in `[preprocessing]`, and in the tables of lists in `[ports]` (the weights of a dense
//! layer), that name a file beneath the folder of the card, or else beneath the folder of the model. All are
//! in one of the two folders. They are part of the encoder and are copied into a run folder. A string that
//! names a file elsewhere is an error, since a card may come from someone else.

use super::card::ResolvedCard;
use crate::base::{problem::Problem, relative_path::RelativePath};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A file that a card names.
#[derive(Debug, Clone)]
pub struct Companion {
    /// Its name in the card.
    pub name: RelativePath,
    /// Its path.
    pub path: PathBuf,
}

/// Returns the files that a card names, and the folder that its adapter reads from: theirs, else the card's.
///
/// # Errors
/// If a string names a file outside both folders, or the files are not in one folder.
pub fn companions(found: &ResolvedCard) -> Result<(PathBuf, Vec<Companion>), Problem> {
    let parent = |path: &Path| path.parent().unwrap_or(Path::new("")).to_path_buf();
    let folders = [parent(&found.card_path), parent(&found.model_path)];
    let bad = |what: String| {
        let message = format!("{}: {what}", found.card_path.display());
        Problem::new("chiasm::model::file", message).help(format!(
            "a card names files beneath its own folder or that of its model; copy the file to {}, and write \
             its path from there",
            folders[0].display()
        ))
    };
    let (preprocessing, ports) =
        (serde_json::json!(found.card.preprocessing), serde_json::json!(found.card.ports));
    let mut chosen: Option<&PathBuf> = None;
    let mut files = Vec::new();
    for text in texts(&preprocessing, &ports) {
        for folder in &folders {
            let Some(file) = file_of(text, folder).map_err(bad)? else { continue };
            if let Some(other) = chosen.replace(folder).filter(|other| *other != folder) {
                return Err(bad(format!(
                    "{text:?} is in {}, but the files before it are in {}",
                    folder.display(),
                    other.display()
                )));
            }
            files.push(file);
            break;
        }
    }
    Ok((chosen.unwrap_or(&folders[0]).clone(), files))
}

/// Returns the file that a text of a card names in a folder; `None` if it names none.
///
/// # Errors
/// If it names a file outside the folder.
pub fn file_of(text: &str, folder: &Path) -> Result<Option<Companion>, String> {
    // A text such as `..` or `/` may name a folder, and mean something else.
    let there = std::fs::metadata(folder.join(text)).is_ok_and(|found| !found.is_dir());
    if text.is_empty() || text.contains('\0') || !there {
        return Ok(None);
    }
    let name = RelativePath::new(text)?;
    let path = name.beneath(folder).map_err(|e| format!("{text:?} cannot be used: {e}"))?;
    Ok(Some(Companion { name, path }))
}

/// Returns the texts of a card that may name files.
pub fn texts<'a>(preprocessing: &'a Value, ports: &'a Value) -> Vec<&'a str> {
    let mut found = Vec::new();
    collect(preprocessing, &mut found);
    let lists = ports.as_object().into_iter().flat_map(|ports| ports.values()).filter_map(Value::as_array);
    lists.flatten().filter(|entry| entry.is_object()).for_each(|entry| collect(entry, &mut found));
    found
}

fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Object(values) => values.values().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// Replaces every text of a card that may name a file by what `replace` returns.
pub fn replace_texts(preprocessing: &mut Value, ports: &mut Value, replace: &dyn Fn(&str) -> Option<String>) {
    change(preprocessing, replace);
    let lists = ports.as_object_mut().into_iter().flat_map(|ports| ports.values_mut());
    let entries = lists.filter_map(Value::as_array_mut).flatten().filter(|entry| entry.is_object());
    entries.for_each(|entry| change(entry, replace));
}

fn change(value: &mut Value, replace: &dyn Fn(&str) -> Option<String>) {
    match value {
        Value::String(text) => *text = replace(text).unwrap_or_else(|| std::mem::take(text)),
        Value::Array(values) => values.iter_mut().for_each(|value| change(value, replace)),
        Value::Object(values) => values.values_mut().for_each(|value| change(value, replace)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::card::ModelCard;

    /// A card in `card/`, a model in `model/`, and a file `secret` beside both folders.
    fn found(here: &Path, preprocessing: &str, ports: &str) -> ResolvedCard {
        for name in ["card/own.json", "card/deep/own.json", "model/other.json", "secret"] {
            std::fs::create_dir_all(here.join(name).parent().unwrap()).unwrap();
            std::fs::write(here.join(name), name).unwrap();
        }
        let link = here.join("card/link.json");
        let _ = std::os::unix::fs::symlink("../secret", link); // may exist already
        let card: ModelCard = toml::from_str(&format!(
            "name = \"x\"\nadapter = \"text\"\nmodel = \"m.onnx\"\nsha256 = \"\"\n\
             [preprocessing]\n{preprocessing}\n[ports]\n{ports}\n"
        ))
        .unwrap();
        let (card_path, model_path) = (here.join("card/card.toml"), here.join("model/m.onnx"));
        ResolvedCard { card, card_path, model_path }
    }

    #[test]
    fn files_of_the_cards_or_the_models_folder_are_found() {
        let here = tempfile::tempdir().unwrap();
        let of = |preprocessing: &str, ports: &str| {
            let (folder, files) = companions(&found(here.path(), preprocessing, ports)).unwrap();
            let names: Vec<String> = files.iter().map(|file| file.name.to_string()).collect();
            (folder.strip_prefix(here.path()).unwrap().to_path_buf(), names)
        };
        assert_eq!(of("a = \"own.json\"\nb = \"rgb\"", ""), ("card".into(), vec!["own.json".into()]));
        assert_eq!(of("a = \"other.json\"", ""), ("model".into(), vec!["other.json".into()]));
        let dense = "dense = [{ weights = \"deep/own.json\" }]\ntokens = \"/a/b\"";
        assert_eq!(of("a = \"/\"\nb = \"..\"", dense), ("card".into(), vec!["deep/own.json".into()]));
        assert_eq!(of("", ""), ("card".into(), vec![]));
    }

    #[test]
    fn files_outside_both_folders_are_refused() {
        let here = tempfile::tempdir().unwrap();
        let secret = here.path().join("secret");
        let absolute = format!("a = {secret:?}");
        for (preprocessing, ports) in [
            ("a = \"../secret\"", ""),
            ("a = \"deep/../own.json\"", ""),
            (absolute.as_str(), ""),
            ("a = \"link.json\"", ""),
            ("a = [{ b = [\"../secret\"] }]", ""),
            ("a = \"/dev/zero\"", ""),
            ("", "dense = [{ weights = \"../secret\" }]"),
            ("a = \"own.json\"\nb = \"other.json\"", ""), // two folders
        ] {
            let problem = companions(&found(here.path(), preprocessing, ports)).unwrap_err();
            assert!(problem.to_string().contains("card.toml"), "{preprocessing} {ports}: {problem}");
        }
    }
}
