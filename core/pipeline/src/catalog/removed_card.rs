//! Removing model cards with the files that are theirs alone.

use super::{
    card::{ModelStore, ResolvedCard, read_card},
    changed_card::DRAFT,
    companions::{companions, texts},
};
use crate::base::error::Error;
use chiasm_graph::Graph;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

/// A card with the files that are removed with it.
#[derive(Debug)]
pub struct RemovableModel {
    /// The card, and the files in its folder that it names.
    pub files: Vec<PathBuf>,
    /// The files that it names and that stay: those elsewhere, and those that another card names.
    pub stays: Vec<PathBuf>,
    folder: PathBuf,
}

/// Returns what would be removed with the card called `name`.
///
/// # Errors
/// If there is no such card, its folder is a link, or the files that another card names are not known.
pub fn removable_model(name: &str, store: &ModelStore) -> Result<RemovableModel, Error> {
    let path = store.card_path(name)?;
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let found = |path: &Path| path.canonicalize().map_err(|e| Error::io("find", path, e));
    let own = found(&folder)?;
    let models = found(folder.parent().unwrap_or(Path::new(".")))?;
    if own != models.join(name) {
        let message =
            format!("{} is a link to {}, outside the models folder", folder.display(), own.display());
        return Err(Error::input(
            "chiasm::model::link",
            message,
            "remove the link, or the files there, by hand",
        ));
    }
    let others = named_by_others(&path, &own, store)?;
    // A card that is not valid is removed alone.
    let named = read_card(&path).and_then(|card| store.resolve(card, path.clone()));
    let draft = path.with_file_name(DRAFT);
    let mut removable = RemovableModel { files: vec![path], stays: Vec::new(), folder };
    removable.files.extend(draft.exists().then_some(draft));
    for file in named.map(|named| named_files(&named)).unwrap_or_default() {
        let place = found(&file)?;
        let list = match place.starts_with(&own) && !others.contains(&place) {
            true => &mut removable.files,
            false => &mut removable.stays,
        };
        if !list.contains(&file) {
            list.push(file);
        }
    }
    Ok(removable)
}

/// Returns the files that cards other than that at `path` name, as far as they can be in the folder `own`.
///
/// The model of such a card may be missing or damaged; its companions are its files nevertheless.
fn named_by_others(path: &Path, own: &Path, store: &ModelStore) -> Result<HashSet<PathBuf>, Error> {
    let mut named = HashSet::new();
    for other in store.card_paths().filter(|other| other != path) {
        let unknown = |what: String| {
            let message = format!("{} may name files of this model, but {what}", other.display());
            Error::input("chiasm::model::remove", message, "mend or remove that card first")
        };
        let card = match read_card(&other) {
            Ok(card) => card,
            // A damaged card in another models folder must not keep this one from being removed.
            Err(_) if !is_beside(&other, own) => continue,
            Err(problem) => return Err(unknown(problem.to_string())),
        };
        let mut folders = vec![other.with_file_name("")];
        for model in store.model_candidates(&card, &other) {
            let folder = model.with_file_name("");
            if let (Ok(place), Ok(inside)) = (model.canonicalize(), folder.canonicalize()) {
                // External weights are beneath the folder of their model.
                if own.starts_with(&inside) || inside.starts_with(own) {
                    let (_, weights) = Graph::load_with_files(&model)
                        .map_err(|error| unknown(format!("its model cannot be read: {error}")))?;
                    named.extend(weights.iter().filter_map(|file| file.canonicalize().ok()));
                }
                named.insert(place);
            }
            folders.push(folder);
        }
        let (preprocessing, ports) = (serde_json::json!(card.preprocessing), serde_json::json!(card.ports));
        for text in texts(&preprocessing, &ports) {
            named.extend(folders.iter().filter_map(|folder| folder.join(text).canonicalize().ok()));
        }
    }
    Ok(named)
}

/// Returns whether a card is in the models folder that holds the folder `own`.
fn is_beside(card: &Path, own: &Path) -> bool {
    let models = card.ancestors().nth(2).and_then(|folder| folder.canonicalize().ok());
    models.as_deref() == own.parent()
}

/// Returns the model with its files of weights, and the companions of a card.
fn named_files(found: &ResolvedCard) -> Vec<PathBuf> {
    let mut files = vec![found.model_path.clone()];
    if let Ok((_, weights)) = Graph::load_with_files(&found.model_path) {
        files.extend(weights);
    }
    if let Ok((_, companions)) = companions(found) {
        files.extend(companions.into_iter().map(|companion| companion.path));
    }
    files
}

impl RemovableModel {
    /// Removes the files, and the folders that are then empty. The card is removed last.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn remove(&self) -> Result<(), Error> {
        for file in self.files.iter().rev() {
            std::fs::remove_file(file).map_err(|e| Error::io("remove", file, e))?;
            let folders = file.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.folder));
            for folder in folders {
                // Folders with other files stay.
                if std::fs::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }
}
