//! Raw items of requests. The content of a file is written into a folder of the server's own, because
//! adapters read files; a request never names a path.

use crate::api_error::ApiError;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chiasm_host::Takes;
use chiasm_pipeline::RawItem;
use serde_json::Value;
use std::io::Write;
use tempfile::{NamedTempFile, TempDir, TempPath};

/// The folder of the files of requests, which only this user may read.
pub struct ItemFolder(TempDir);

/// Items of one modality, and the files that they refer to, which are removed when this is dropped.
#[derive(Default)]
pub struct Items {
    pub raw: Vec<RawItem>,
    pub files: Vec<TempPath>,
}

impl ItemFolder {
    /// Creates the folder.
    ///
    /// # Errors
    /// That of the system.
    pub fn new() -> std::io::Result<Self> {
        tempfile::Builder::new().prefix("chiasm-serve-").tempdir().map(Self)
    }

    /// Adds an item that is given as bytes: a text in UTF-8, a file, or a row number in decimal digits.
    pub fn add(&self, items: &mut Items, takes: Takes, bytes: &[u8]) -> Result<(), ApiError> {
        let text = || {
            std::str::from_utf8(bytes).map_err(|e| ApiError::bad(format!("expected a text in UTF-8: {e}")))
        };
        items.raw.push(match takes {
            Takes::Text => RawItem::Text(text()?.to_owned()),
            Takes::Row => RawItem::Row(row(text()?)?),
            Takes::Path => {
                let failed = |e: std::io::Error| ApiError::internal(format!("cannot keep an item: {e}"));
                let mut file = NamedTempFile::new_in(self.0.path()).map_err(failed)?;
                file.write_all(bytes).map_err(failed)?;
                let path = file.into_temp_path();
                let raw = RawItem::Path(path.to_path_buf());
                items.files.push(path);
                raw
            }
        });
        Ok(())
    }

    /// Adds an item of JSON: a text; the base64 of a file, also as a `data:` URL; or a row number.
    pub fn add_json(&self, items: &mut Items, takes: Takes, item: &Value) -> Result<(), ApiError> {
        match (takes, item) {
            (Takes::Text, Value::String(text)) => self.add(items, takes, text.as_bytes()),
            (Takes::Path, Value::String(text)) => self.add(items, takes, &file_of(text)?),
            (Takes::Row, Value::Number(number)) => {
                items.raw.push(RawItem::Row(row(&number.to_string())?));
                Ok(())
            }
            (_, got) => {
                let shown: String = got.to_string().chars().take(60).collect();
                Err(ApiError::bad(format!("expected {}, got {shown}", expected(takes))))
            }
        }
    }
}

/// Describes an item of JSON.
fn expected(takes: Takes) -> &'static str {
    match takes {
        Takes::Text => "a text",
        Takes::Path => "the base64 of a file",
        Takes::Row => "a row number of the run's file of vectors",
    }
}

fn row(text: &str) -> Result<usize, ApiError> {
    let wrong = |_| ApiError::bad(format!("expected {}, got {text:?}", expected(Takes::Row)));
    text.parse().map_err(wrong)
}

/// Decodes base64, or a `data:` URL of base64.
fn file_of(text: &str) -> Result<Vec<u8>, ApiError> {
    let encoded = match text.strip_prefix("data:") {
        Some(url) => url.split_once(";base64,").map(|(_, encoded)| encoded),
        None => Some(text),
    };
    let wrong = || ApiError::bad("expected the base64 of a file, or `data:TYPE;base64,...`");
    STANDARD.decode(encoded.ok_or_else(wrong)?.trim()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn files_are_given_as_base64_and_removed_with_their_items() {
        let folder = ItemFolder::new().unwrap();
        let mut items = Items::default();
        folder.add_json(&mut items, Takes::Path, &json!("aGVsbG8=")).unwrap();
        folder.add_json(&mut items, Takes::Path, &json!("data:image/png;base64,aGVsbG8=")).unwrap();
        for raw in &items.raw {
            assert_eq!(std::fs::read(raw.path().unwrap()).unwrap(), b"hello");
        }
        let path = items.raw[0].path().unwrap().to_path_buf();
        drop(items);
        assert!(!path.exists());
    }

    #[test]
    fn items_of_another_kind_are_refused() {
        let folder = ItemFolder::new().unwrap();
        for (takes, item) in [
            (Takes::Text, json!(3)),
            (Takes::Path, json!("/etc/passwd")),
            (Takes::Path, json!("data:image/png,raw")),
            (Takes::Row, json!("3")),
            (Takes::Row, json!(-1)),
            (Takes::Row, json!(1.5)),
        ] {
            let refused = folder.add_json(&mut Items::default(), takes, &item);
            assert_eq!(refused.unwrap_err().status, 400, "{item}");
        }
    }
}
