//! Raw items as adapters take them: files, texts, and rows of files of vectors.

use crate::base::digest::sha256_of;
use chiasm_host::{Item, Takes};
use std::path::{Path, PathBuf};

/// One raw item of a modality.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Raw {
    /// A file.
    Path(PathBuf),
    /// A text.
    Text(String),
    /// A row of a file of vectors.
    Row(usize),
}

impl Raw {
    /// What `written` in a table means to an adapter; relative paths start at `folder`.
    ///
    /// # Errors
    /// What was expected, for something that should be a row number and is not.
    pub fn read(written: &str, takes: Takes, folder: &Path) -> Result<Self, String> {
        let no_row = |_| format!("expected a row number of its vectors, got {written:?}");
        Ok(match takes {
            Takes::Path => Self::Path(folder.join(written)),
            Takes::Text => Self::Text(written.to_owned()),
            Takes::Row => Self::Row(written.parse().map_err(no_row)?),
        })
    }

    /// The item as an adapter takes it.
    pub fn item(&self) -> Item<'_> {
        match self {
            Self::Path(path) => Item::Path(path),
            Self::Text(text) => Item::Text(text),
            Self::Row(row) => Item::Row(*row),
        }
    }

    /// The file, when it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Text(_) | Self::Row(_) => None,
        }
    }

    /// How the item is called in messages; a path in the working folder is shown from there.
    pub fn shown(&self) -> String {
        match self {
            Self::Path(path) => {
                let here = std::env::current_dir().unwrap_or_default();
                path.strip_prefix(here).unwrap_or(path).display().to_string()
            }
            Self::Text(text) => format!("{text:?}"),
            Self::Row(row) => format!("row {row}"),
        }
    }

    /// What the item is, for digests: a file's hash, a text, a row's number.
    pub fn content(&self) -> String {
        match self {
            Self::Path(path) => {
                sha256_of(path).unwrap_or_else(|e| format!("unreadable {}: {e}", path.display()))
            }
            Self::Text(text) => format!("text {text}"),
            Self::Row(row) => format!("row {row}"),
        }
    }
}
