//! Circles among files: the sets of files each of which imports every other, directly or through others.

use super::imports::Arrow;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Each circle as the arrows inside it, in their order.
pub fn circles(arrows: &[Arrow]) -> Vec<Vec<&Arrow>> {
    let mut below: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for arrow in arrows {
        below.entry(&arrow.from).or_default().insert(&arrow.to);
    }
    let reached: BTreeMap<&Path, BTreeSet<&Path>> =
        below.keys().map(|file| (*file, reach(file, &below))).collect();
    let together = |a: &Path, b: &Path| {
        reached.get(a).is_some_and(|r| r.contains(b)) && reached.get(b).is_some_and(|r| r.contains(a))
    };
    let mut found: Vec<Vec<&Arrow>> = Vec::new();
    for arrow in arrows.iter().filter(|arrow| together(&arrow.from, &arrow.to)) {
        match found.iter_mut().find(|circle| together(&circle[0].from, &arrow.from)) {
            Some(circle) => circle.push(arrow),
            None => found.push(vec![arrow]),
        }
    }
    found
}

/// Every file that `file` imports, directly or through others.
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

/// A circle in words: its files, then the lines that make it. Paths are shown from `source`.
pub fn describe(name: &str, source: &Path, circle: &[&Arrow]) -> String {
    let shown = |path: &PathBuf| path.strip_prefix(source).unwrap_or(path).display().to_string();
    let files: BTreeSet<String> = circle.iter().map(|arrow| shown(&arrow.from)).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut text = format!("{name}: these files import each other in a circle: {}", files.join(", "));
    for arrow in circle {
        text += &format!(
            "\n      {}:{} imports from {}:  {}",
            shown(&arrow.from),
            arrow.line,
            shown(&arrow.to),
            arrow.text
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(from: &str, to: &str) -> Arrow {
        Arrow { from: from.into(), to: to.into(), line: 1, text: format!("use crate::{to};") }
    }

    #[test]
    fn a_circle_holds_the_arrows_inside_it_and_no_other() {
        let arrows = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "d"), ("e", "f"), ("f", "e"), ("d", "e")];
        let arrows = arrows.map(|(from, to)| arrow(from, to));
        let found = circles(&arrows);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], [&arrows[0], &arrows[1], &arrows[2]]);
        assert_eq!(found[1], [&arrows[4], &arrows[5]]);
        let text = describe("x", Path::new(""), &found[1]);
        assert!(text.contains("e, f") && text.contains("e:1 imports from f:  use crate::f;"), "{text}");
    }

    #[test]
    fn imports_that_only_point_down_make_no_circle() {
        let arrows = [arrow("a", "b"), arrow("a", "c"), arrow("b", "c")];
        assert!(circles(&arrows).is_empty());
    }
}
