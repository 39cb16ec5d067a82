//! Import cycles: the sets of files that all import each other, directly or through other files.

use super::imports::Import;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Returns each cycle as the imports between its files, in the given order.
pub fn cycles(imports: &[Import]) -> Vec<Vec<&Import>> {
    let mut below: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for import in imports {
        below.entry(&import.from).or_default().insert(&import.to);
    }
    let reached: BTreeMap<&Path, BTreeSet<&Path>> =
        below.keys().map(|file| (*file, reach(file, &below))).collect();
    let together = |a: &Path, b: &Path| {
        reached.get(a).is_some_and(|r| r.contains(b)) && reached.get(b).is_some_and(|r| r.contains(a))
    };
    let mut found: Vec<Vec<&Import>> = Vec::new();
    for import in imports.iter().filter(|import| together(&import.from, &import.to)) {
        match found.iter_mut().find(|cycle| together(&cycle[0].from, &import.from)) {
            Some(cycle) => cycle.push(import),
            None => found.push(vec![import]),
        }
    }
    found
}

/// Returns every file that `file` imports, directly or through other files.
fn reach<'a>(file: &Path, below: &BTreeMap<&'a Path, BTreeSet<&'a Path>>) -> BTreeSet<&'a Path> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&Path> = below.get(file).into_iter().flatten().copied().collect();
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(below.get(next).into_iter().flatten().copied());
        }
    }
    found
}

/// Describes a cycle: its files, then the imports. Paths are relative to `source`.
pub fn describe(name: &str, source: &Path, cycle: &[&Import]) -> String {
    let shown = |path: &PathBuf| path.strip_prefix(source).unwrap_or(path).display().to_string();
    let files: BTreeSet<String> = cycle.iter().map(|import| shown(&import.from)).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut text = format!("{name}: these files import each other in a cycle: {}", files.join(", "));
    for import in cycle {
        text += &format!(
            "\n      {}:{} imports from {}:  {}",
            shown(&import.from),
            import.line,
            shown(&import.to),
            import.text
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(from: &str, to: &str) -> Import {
        Import { from: from.into(), to: to.into(), line: 1, text: format!("use crate::{to};") }
    }

    #[test]
    fn a_cycle_has_only_the_imports_between_its_files() {
        let imports = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "d"), ("e", "f"), ("f", "e"), ("d", "e")];
        let imports = imports.map(|(from, to)| import(from, to));
        let found = cycles(&imports);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], [&imports[0], &imports[1], &imports[2]]);
        assert_eq!(found[1], [&imports[4], &imports[5]]);
        let text = describe("x", Path::new(""), &found[1]);
        assert!(text.contains("e, f") && text.contains("e:1 imports from f:  use crate::f;"), "{text}");
    }

    #[test]
    fn imports_without_a_cycle_give_none() {
        let imports = [import("a", "b"), import("a", "c"), import("b", "c")];
        assert!(cycles(&imports).is_empty());
    }
}
