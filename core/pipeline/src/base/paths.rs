//! The path from one folder to another.

use std::path::{Component, Path, PathBuf};

/// Returns the path from one absolute folder to another path.
pub fn relative_path(from: &Path, to: &Path) -> PathBuf {
    let (from, to): (Vec<Component<'_>>, Vec<Component<'_>>) = (parts(from), parts(to));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[shared..].iter().map(|_| Component::ParentDir);
    up.chain(to[shared..].iter().copied()).collect()
}

/// Returns the components of a path, with `..` resolved by name.
fn parts(path: &Path) -> Vec<Component<'_>> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir if matches!(parts.last(), Some(Component::Normal(_))) => {
                parts.pop();
            }
            Component::CurDir => {}
            other => parts.push(other),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_one_folder_to_another() {
        let path = |from: &str, to: &str| relative_path(Path::new(from), Path::new(to)).display().to_string();
        assert_eq!(path("/a/b/tune", "/a/b/pairs.jsonl"), "../pairs.jsonl");
        assert_eq!(path("/a/tune", "/a/recipes/../data/x.npy"), "../data/x.npy");
        assert_eq!(path("/a", "/a/x.npy"), "x.npy");
    }
}
