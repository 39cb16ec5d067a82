//! Changing model cards.

use super::{
    card::{MAX_CARD, ModelCard, ModelStore, read_card},
    card_keys::parsed,
    encoder::Encoder,
};
use crate::base::{
    digest::model_digest, environment::Environment, error::Error, problem::Problem, whole_file::write_file,
};
use chiasm_graph::Graph;
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    time::SystemTime,
};
use toml_edit::{DocumentMut, Item, Value};

const CODE: &str = "chiasm::model::card";

/// A card that was changed.
#[derive(Debug)]
pub struct ChangedModel {
    /// The card.
    pub card: ModelCard,
    /// The path of the card.
    pub path: PathBuf,
    /// Why the card cannot be used, as it could not before either.
    pub problem: Option<Problem>,
}

/// Sets keys of the card called `name`; `assignments` are `key=value`. The comments of the card are kept. If
/// the model changes and no digest is given, the digest is computed.
///
/// # Errors
/// If there is no such card, a key is unknown, a value is invalid, or the card could be used before and
/// cannot any more. The card is then left as it was.
pub fn set_in_card(
    name: &str,
    assignments: &[String],
    store: &ModelStore,
    env: &Environment,
) -> Result<ChangedModel, Error> {
    let path = store.card_path(name)?;
    let text = read(&path)?;
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let message = format!("{} is not valid TOML: {}", path.display(), error.message());
        Problem::new(CODE, message).help(format!("`chiasm model edit {name}` opens it in an editor"))
    })?;
    let mut keys = Vec::new();
    for assignment in assignments {
        let (key, value) = assignment.split_once('=').ok_or_else(|| {
            Problem::new(CODE, format!("expected KEY=VALUE, got {assignment:?}"))
                .help(format!("for example chiasm model set {name} licence=MIT"))
        })?;
        set(&mut document, key.trim(), value)?;
        keys.push(key.trim());
    }
    if keys.contains(&"model") && !keys.contains(&"sha256") {
        set_digest(&mut document, &path)?;
    }
    accept(name, path, &document.to_string(), store, env)
}

/// Sets one key. The value is read as TOML if it is valid TOML, else as a string.
fn set(document: &mut DocumentMut, key: &str, value: &str) -> Result<(), Problem> {
    let mut value = value.trim().parse().unwrap_or_else(|_| Value::from(value));
    let mut steps: Vec<&str> = key.split('.').map(str::trim).collect();
    let last = steps.pop().unwrap_or_default();
    let mut here = document.as_item_mut();
    for step in steps {
        let inner = here.as_table_like_mut().map(|table| table.entry(step).or_insert(toml_edit::table()));
        here = inner.filter(|item| item.is_table_like()).ok_or_else(|| {
            Problem::new(CODE, format!("`{step}` of `{key}` is not a table"))
                .help("`chiasm explain card` lists the keys of a card")
        })?;
    }
    let Some(table) = here.as_table_like_mut() else { return Ok(()) };
    let old = table.get(last).and_then(Item::as_value).map(|old| old.decor().clone());
    if let Some(decor) = old {
        *value.decor_mut() = decor;
    }
    table.insert(last, Item::Value(value));
    Ok(())
}

/// Writes the digest of the model that the card names. A path that exists in the working folder and not
/// beside the card is made absolute.
fn set_digest(document: &mut DocumentMut, card_path: &Path) -> Result<(), Error> {
    let Some(model) = document.get("model").and_then(Item::as_str).map(PathBuf::from) else { return Ok(()) };
    let beside = card_path.with_file_name("").join(&model);
    let path = if beside.is_file() {
        beside
    } else {
        let path = std::path::absolute(&model).map_err(|e| Error::io("find", &model, e))?;
        set(document, "model", &Value::from(path.display().to_string()).to_string())?;
        path
    };
    let (_, weights) = Graph::load_with_files(&path).map_err(|error| {
        Problem::new("chiasm::model::graph", error.to_string()).help("give the path of an .onnx file")
    })?;
    let sha256 = model_digest(&path, &weights).map_err(|e| Error::io("read", &path, e))?;
    Ok(set(document, "sha256", &format!("\"{sha256}\""))?)
}

/// The name of the copy of a card that a user edits.
pub(super) const DRAFT: &str = "card.edited.toml";

/// A card whose text a user edits in a copy.
#[derive(Debug)]
pub struct EditedCard {
    /// The copy to edit.
    pub draft: PathBuf,
    /// Whether the copy is the text that an earlier edit left.
    pub reopened: bool,
    name: String,
    path: PathBuf,
}

impl EditedCard {
    /// Copies the card called `name`. A copy that an earlier edit left is kept.
    ///
    /// # Errors
    /// If there is no such card, it cannot be copied, or it was changed after the copy of an earlier edit.
    pub fn begin(name: &str, store: &ModelStore) -> Result<Self, Error> {
        let path = store.card_path(name)?;
        let draft = path.with_file_name(DRAFT);
        let reopened = draft.exists();
        if !reopened {
            write_file(&draft, read(&path)?.as_bytes())?;
        } else if written(&draft)? < written(&path)? {
            let message = format!(
                "{} holds the text of an earlier edit, but the card was changed after it",
                draft.display()
            );
            let help =
                format!("remove that file; `chiasm model edit {name}` then opens the card as it is now");
            return Err(Error::input(CODE, message, help));
        }
        Ok(Self { draft, reopened, name: name.to_owned(), path })
    }

    /// Removes the copy if it has the text of the card. Call it when the editor failed.
    ///
    /// # Errors
    /// If a file cannot be read or removed.
    pub fn give_up(&self) -> Result<(), Error> {
        if self.draft.exists() && read(&self.draft)? == read(&self.path)? {
            std::fs::remove_file(&self.draft).map_err(|e| Error::io("remove", &self.draft, e))?;
        }
        Ok(())
    }

    /// Checks the copy, and replaces the card by it. Returns `None` if it is the same.
    ///
    /// # Errors
    /// As [`set_in_card`]. The copy is then kept.
    pub fn finish(&self, store: &ModelStore, env: &Environment) -> Result<Option<ChangedModel>, Error> {
        let text = read(&self.draft)?;
        let same = text == read(&self.path)?;
        let changed = match same {
            true => None,
            false => Some(accept(&self.name, self.path.clone(), &text, store, env)?),
        };
        std::fs::remove_file(&self.draft).map_err(|e| Error::io("remove", &self.draft, e))?;
        Ok(changed)
    }
}

/// Checks the new text of a card and writes it.
fn accept(
    name: &str,
    path: PathBuf,
    text: &str,
    store: &ModelStore,
    env: &Environment,
) -> Result<ChangedModel, Error> {
    let card = parsed(&path, text, &env.host)?;
    if card.name != name {
        let message = format!("the card in the folder {name:?} cannot be called {:?}", card.name);
        let help = "add the model once more under the other name with `chiasm model add`";
        return Err(Error::input("chiasm::model::name", message, help));
    }
    let opens = |card: ModelCard| {
        store.resolve(card, path.clone()).and_then(|found| Encoder::of_found(found, env)).map(drop)
    };
    let problem = opens(card.clone()).err();
    if let Some(problem) = problem.clone()
        && read_card(&path).is_ok_and(|before| opens(before).is_ok())
    {
        return Err(problem.into());
    }
    write_file(&path, text.as_bytes())?;
    Ok(ChangedModel { card, path, problem })
}

fn written(path: &Path) -> Result<SystemTime, Error> {
    let time = std::fs::metadata(path).and_then(|data| data.modified());
    time.map_err(|e| Error::io("read the time of", path, e))
}

fn read(path: &Path) -> Result<String, Error> {
    let bytes = chiasm_host::read_file(path, MAX_CARD).map_err(|e| Error::io("read", path, e))?;
    String::from_utf8(bytes).map_err(|_| Error::io("read", path, ErrorKind::InvalidData.into()))
}
