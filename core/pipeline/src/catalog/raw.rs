//! Raw items, as adapters take them: files, texts, and rows of files of vectors.

use crate::base::digest::sha256_of;
use chiasm_host::{Item, Takes};
use std::path::{Path, PathBuf};

/// One raw item of a modality.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RawItem {
    /// A file.
    Path(PathBuf),
    /// A text.
    Text(String),
    /// A row of a file of vectors.
    Row(usize),
}

impl RawItem {
    /// Parses a cell of a table for an adapter that takes `takes`. Relative paths start at `folder`.
    ///
    /// # Errors
    /// If a row number is expected and `written` is not one.
    pub fn parse(written: &str, takes: Takes, folder: &Path) -> Result<Self, String> {
        let no_row = |_| format!("expected a row number of its file of vectors, got {written:?}");
        Ok(match takes {
            Takes::Path => Self::Path(folder.join(written)),
            Takes::Text => Self::Text(written.to_owned()),
            Takes::Row => Self::Row(written.parse().map_err(no_row)?),
        })
    }

    /// Returns the item in the type that adapters take.
    pub fn item(&self) -> Item<'_> {
        match self {
            Self::Path(path) => Item::Path(path),
            Self::Text(text) => Item::Text(text),
            Self::Row(row) => Item::Row(*row),
        }
    }

    /// Returns the path, if the item is a file.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Text(_) | Self::Row(_) => None,
        }
    }

    /// Describes the item in messages. A path below the working folder is shown relative to it.
    pub fn describe(&self) -> String {
        match self {
            Self::Path(path) => {
                let here = std::env::current_dir().unwrap_or_default();
                path.strip_prefix(here).unwrap_or(path).display().to_string()
            }
            Self::Text(text) => format!("{text:?}"),
            Self::Row(row) => format!("row {row}"),
        }
    }

    /// Returns the content of the item for digests: the digest of a file, a text, or a row number.
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
