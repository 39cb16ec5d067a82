//! Paths that stay beneath a folder, and names that are one part of a path.

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    io::{Error, ErrorKind},
    path::{Component, Path, PathBuf},
};

/// A path that names something beneath a folder: it is relative and has no `..`.
///
/// Cards and manifests may come from others, so what they name is read and written through this type only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(String);

impl RelativePath {
    /// Returns the path written as `text`, without parts such as `./`.
    ///
    /// # Errors
    /// If it is empty or absolute, or has `..`, a backslash or a control character. The message says so.
    pub fn new(text: &str) -> Result<Self, String> {
        let bad = |what: &str| Err(format!("{text:?} {what}; expected a path beneath the folder"));
        if text.contains('\\') || text.chars().any(char::is_control) {
            return bad("has a backslash or a control character");
        }
        let mut parts = Vec::new();
        for component in Path::new(text).components() {
            match component {
                Component::Normal(part) => parts.push(part.to_string_lossy()),
                Component::CurDir => {}
                Component::ParentDir => return bad("has `..`"),
                Component::RootDir | Component::Prefix(_) => return bad("is absolute"),
            }
        }
        if parts.is_empty() { bad("names no file") } else { Ok(Self(parts.join("/"))) }
    }

    /// Returns the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path of an existing file or folder in `root`.
    ///
    /// # Errors
    /// If it does not exist, or a link in it leaves `root`.
    pub fn beneath(&self, root: &Path) -> std::io::Result<PathBuf> {
        let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
        let path = root.join(&self.0);
        if path.canonicalize()?.starts_with(root.canonicalize()?) {
            return Ok(path);
        }
        let message =
            format!("it is a link that leaves {}; replace the link by a copy of the file", root.display());
        Err(Error::new(ErrorKind::InvalidInput, message))
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RelativePath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text)
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> Self {
        path.0
    }
}

/// Checks a name that becomes one part of a path: letters, digits and `-_.`, not starting with `.`.
///
/// # Errors
/// If the name has another form. The message says what was expected.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && name.chars().all(plain) {
        return Ok(());
    }
    Err(format!("expected a name of letters, digits and -_. that does not start with a dot, got {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_beneath_a_folder_are_taken() {
        for (written, kept) in [("a", "a"), ("./a//b.c", "a/b.c"), ("a/./b", "a/b"), ("..a/b..", "..a/b..")] {
            assert_eq!(RelativePath::new(written).unwrap().as_str(), kept);
        }
        for written in ["", ".", "./", "/", "/a", "..", "a/..", "../a", "a/../b", "a\\b", "a\0b", "a\x1b[2J"]
        {
            assert!(RelativePath::new(written).is_err(), "{written:?}");
            assert!(serde_json::from_value::<RelativePath>(written.into()).is_err(), "{written:?}");
        }
    }

    #[test]
    fn links_may_not_leave_the_folder() {
        let here = tempfile::tempdir().unwrap();
        let root = here.path().join("root");
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::write(here.path().join("secret"), "key").unwrap();
        std::fs::write(root.join("a/file"), "").unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, root.join(name)).unwrap();
        link("a/file", "inner");
        link("../secret", "outer");
        link("..", "up");
        link("nowhere", "dangling");
        let beneath = |name: &str| RelativePath::new(name).unwrap().beneath(&root);
        assert_eq!(beneath("a/file").unwrap(), root.join("a/file"));
        assert!(beneath("inner").is_ok());
        assert_eq!(beneath("dangling").unwrap_err().kind(), ErrorKind::NotFound);
        for name in ["outer", "up/secret", "up"] {
            let message = beneath(name).unwrap_err().to_string();
            assert!(message.contains("replace the link"), "{message}");
        }
    }

    #[test]
    fn names_are_one_part_of_a_path() {
        for name in ["image", "all-MiniLM-L6_v2.w8", "Bild7", "größe"] {
            check_name(name).unwrap();
        }
        for name in ["", ".", "..", ".a", "a/b", "a b", "a\n", "/", "a\u{9b}", &"a".repeat(201)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
