//! The imports between the files of one crate: each path is resolved to the file that defines the item.
//!
//! `mod x;` and a parent's `pub use x::Y` are no imports unless the parent also uses `Y` elsewhere. A file
//! that imports `Y` from the parent counts as importing it from the file that defines it.

use super::scan::{Mention, Scan, Use, scan};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// The modules of one crate, by their paths from its root.
pub struct Modules {
    files: Vec<File>,
    modules: BTreeMap<Vec<String>, Module>,
}

/// A source file.
struct File {
    path: PathBuf,
    module: Vec<String>,
    text: String,
    scan: Scan,
}

/// A module, in a file of its own or inline.
#[derive(Default)]
struct Module {
    file: usize,
    items: BTreeSet<String>,
    /// Names declared by `use`, and the paths that they stand for.
    names: BTreeMap<String, Mention>,
    globs: Vec<Mention>,
}

/// An import of one file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The file that imports.
    pub from: PathBuf,
    /// The file that defines what is imported.
    pub to: PathBuf,
    /// The line of the import, from one.
    pub line: usize,
    /// The text of that line.
    pub text: String,
}

/// The most aliases that are followed from a name to its definition.
const DEPTH: usize = 16;

impl Modules {
    /// Reads a crate from its root file, following every `mod x;` that is not for tests.
    ///
    /// # Errors
    /// Fails if a file is missing or cannot be read.
    pub fn read(root: &Path) -> Result<Self, String> {
        let mut read = Self { files: Vec::new(), modules: BTreeMap::new() };
        let folder = root.parent().unwrap_or(Path::new("."));
        read.read_file(root, folder, Vec::new())?;
        for index in 0..read.files.len() {
            read.note_names(index);
        }
        Ok(read)
    }

    /// Reads a file and its child modules, whose files are in `folder`.
    fn read_file(&mut self, path: &Path, folder: &Path, module: Vec<String>) -> Result<(), String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let scan = scan(&text);
        let file = self.files.len();
        let inline = scan.inline.iter().map(|inside| [&*module, inside].concat());
        for path in std::iter::once(module.clone()).chain(inline) {
            self.modules.insert(path, Module { file, ..Module::default() });
        }
        let children: Vec<_> = (scan.files.iter())
            .map(|child| {
                let folder = child.inside.iter().fold(folder.to_owned(), |at, name| at.join(name));
                let own = folder.join(&child.name);
                let found = match &child.path {
                    Some(named) => path.parent().unwrap_or(Path::new(".")).join(named),
                    None if own.with_extension("rs").is_file() => own.with_extension("rs"),
                    None => own.join("mod.rs"),
                };
                (found, own, [&*module, &*child.inside, std::slice::from_ref(&child.name)].concat())
            })
            .collect();
        self.files.push(File { path: path.to_owned(), module, text, scan });
        children.into_iter().try_for_each(|(path, folder, module)| self.read_file(&path, &folder, module))
    }

    fn note_names(&mut self, index: usize) {
        let File { module, scan, .. } = &self.files[index];
        for item in &scan.items {
            let home = [&**module, &*item.inside].concat();
            if let Some(module) = self.modules.get_mut(&home) {
                module.items.insert(item.name.clone());
            }
            if item.at_root && !home.is_empty() {
                let words = [&["crate".to_owned()][..], &home, std::slice::from_ref(&item.name)].concat();
                let moved = Mention { inside: Vec::new(), words, line: 0 };
                if let Some(root) = self.modules.get_mut(&Vec::new()) {
                    root.names.insert(item.name.clone(), moved);
                }
            }
        }
        for one in scan.uses.iter().filter(|one| one.of_module) {
            let Some(home) = self.modules.get_mut(&[&**module, &*one.path.inside].concat()) else { continue };
            match &one.name {
                Some(name) => drop(home.names.insert(name.clone(), one.path.clone())),
                None => home.globs.push(one.path.clone()),
            }
        }
    }

    /// Returns the source files of the crate.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// Returns every import of one file from another, in the order of files and lines.
    pub fn imports(&self) -> Vec<Import> {
        let mut imports: Vec<Import> = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            let used = file.scan.uses.iter().filter(|one| !self.declares(file, one)).map(|one| &one.path);
            // A path that starts with an imported name needs no second entry: its `use` is one already.
            let named = file.scan.paths.iter().filter(|path| self.starts_inside(file, path));
            let mut found: Vec<(usize, usize)> = used
                .chain(named)
                .filter_map(|path| Some((path.line, self.file_of(&file.module, path, DEPTH)?)))
                .filter(|(_, to)| *to != index)
                .collect();
            found.sort_unstable();
            found.dedup();
            imports.extend(found.into_iter().map(|(line, to)| Import {
                from: file.path.clone(),
                to: self.files[to].path.clone(),
                line,
                text: file.text.lines().nth(line - 1).unwrap_or_default().trim().to_owned(),
            }));
        }
        imports
    }

    /// Whether a `use` only re-exports what a module below it defines.
    fn declares(&self, file: &File, one: &Use) -> bool {
        let home = [&*file.module, &*one.path.inside].concat();
        let below = |path: Vec<String>| path.len() > home.len() && path.starts_with(&home);
        let named = one.name.as_ref().is_some_and(|name| file.scan.names.contains(name));
        one.public
            && one.of_module
            && !named
            && self.absolute(&file.module, &one.path, DEPTH).is_some_and(below)
    }

    /// Whether a path starts with `crate`, `self`, `super` or a child module of the module that it is in.
    fn starts_inside(&self, file: &File, path: &Mention) -> bool {
        let Some(first) = path.words.first() else { return false };
        let home = [&*file.module, &*path.inside].concat();
        matches!(&**first, "crate" | "self" | "super") || self.child(&home, first).is_some()
    }

    fn child(&self, module: &[String], name: &String) -> Option<Vec<String>> {
        let path = [module, std::slice::from_ref(name)].concat();
        self.modules.contains_key(&path).then_some(path)
    }

    /// Returns a path from the root of the crate. None for an item of another crate.
    fn absolute(&self, module: &[String], path: &Mention, depth: usize) -> Option<Vec<String>> {
        let mut home = [module, &*path.inside].concat();
        let (first, rest) = path.words.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" | "super" => {
                let steps = path.words.iter().take_while(|word| *word == "self" || *word == "super");
                let ups = steps.clone().filter(|word| *word == "super").count();
                home.truncate(home.len().checked_sub(ups)?);
                Some([&*home, &path.words[steps.count()..]].concat())
            }
            _ => {
                let here = self.modules.get(&home)?;
                if self.child(&home, first).is_some() || here.items.contains(first) {
                    return Some([&*home, &*path.words].concat());
                }
                let named = here.names.get(first).filter(|named| *named != path)?;
                let named = self.absolute(&self.files[here.file].module, named, depth.checked_sub(1)?)?;
                Some([&*named, rest].concat())
            }
        }
    }

    /// Returns the file that defines the item of a path. None for an item of another crate.
    fn file_of(&self, module: &[String], path: &Mention, depth: usize) -> Option<usize> {
        let words = self.absolute(module, path, depth)?;
        let mut at = Vec::new();
        for (index, word) in words.iter().enumerate() {
            if let Some(child) = self.child(&at, word) {
                at = child;
                continue;
            }
            let here = self.modules.get(&at)?;
            if here.items.contains(word) {
                return Some(here.file);
            }
            let own = &self.files[here.file].module;
            let depth = depth.checked_sub(1)?;
            if let Some(named) = here.names.get(word) {
                return self.file_of(own, &followed_by(named, &words[index + 1..]), depth);
            }
            let through = here.globs.iter().map(|glob| followed_by(glob, &words[index..]));
            return through.filter_map(|path| self.defining(own, &path, depth)).next().or(Some(here.file));
        }
        self.modules.get(&at).map(|module| module.file)
    }

    /// As [`Self::file_of`], but none unless the module of the glob has the first name after it.
    fn defining(&self, module: &[String], path: &Mention, depth: usize) -> Option<usize> {
        let words = self.absolute(module, path, depth)?;
        let has = |length: usize| {
            let here = self.modules.get(&words[..length])?;
            let name = words.get(length)?;
            let known = here.items.contains(name)
                || here.names.contains_key(name)
                || self.child(&words[..length], name).is_some();
            known.then_some(())
        };
        (0..words.len()).rev().find_map(has)?;
        self.file_of(module, path, depth)
    }
}

fn followed_by(path: &Mention, rest: &[String]) -> Mention {
    Mention { words: [&*path.words, rest].concat(), ..path.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The imports of a crate given as files, as `from:line to`.
    fn imports(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let shown = |path: &Path| path.strip_prefix(folder.path()).unwrap().display().to_string();
        let found = Modules::read(&folder.path().join(files[0].0)).unwrap().imports();
        found.iter().map(|a| format!("{}:{} {}", shown(&a.from), a.line, shown(&a.to))).collect()
    }

    #[test]
    fn an_item_that_the_root_re_exports_is_imported_from_its_own_file() {
        let found = imports(&[
            ("lib.rs", "mod error;\nmod a;\npub use error::{Error, Result as R};\npub use a::A;\n"),
            ("error.rs", "pub struct Error;"),
            ("a.rs", "use crate::Error;\npub struct A;\nfn f() -> crate::R { crate::error::g() }"),
        ]);
        assert_eq!(found, ["a.rs:1 error.rs", "a.rs:3 error.rs"]);
    }

    #[test]
    fn a_parent_that_uses_its_child_and_a_child_that_uses_its_parent_are_imports() {
        let found = imports(&[
            ("lib.rs", "mod a;\n"),
            ("a.rs", "mod b;\nmod c;\nuse b::B;\npub(crate) use c::C;\npub struct A;\nfn f() { c::g() }\n"),
            ("a/b.rs", "use super::A;\nuse super::C;\npub struct B;\n"),
            ("a/c.rs", "use super::super::a::b::B;\npub struct C;\n"),
        ]);
        assert_eq!(
            found,
            ["a.rs:3 a/b.rs", "a.rs:6 a/c.rs", "a/b.rs:1 a.rs", "a/b.rs:2 a/c.rs", "a/c.rs:1 a/b.rs"]
        );
    }

    #[test]
    fn a_re_export_that_its_own_file_also_uses_is_an_import() {
        let found = imports(&[
            ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;\nfn f(b: B) {}\n"),
            ("a.rs", "pub struct A;\n"),
            ("b.rs", "pub struct B;\n"),
        ]);
        assert_eq!(found, ["lib.rs:4 b.rs"]);
    }

    #[test]
    fn inline_modules_belong_to_their_file_and_super_counts_them() {
        let found = imports(&[
            ("lib.rs", "mod a;\nmod b;\n"),
            ("a.rs", "mod inner {\n  use super::own;\n  use super::super::b::B;\n}\nfn own() {}\n"),
            ("b.rs", "pub struct B;"),
        ]);
        assert_eq!(found, ["a.rs:3 b.rs"]);
    }

    #[test]
    fn names_from_globs_and_from_other_imports_are_followed() {
        let found = imports(&[
            ("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::*;\nuse b as d;\n"),
            ("a.rs", "pub struct A;\n"),
            ("b.rs", "use crate::A;\npub struct B;\n"),
            ("c.rs", "use crate::d::B;\nuse std::fmt;\nuse fmt::Debug;\nfn f() { serde_json::json() }\n"),
        ]);
        assert_eq!(found, ["lib.rs:5 b.rs", "b.rs:1 a.rs", "c.rs:1 b.rs"]);
    }

    #[test]
    fn a_macro_of_the_root_is_imported_from_the_file_that_defines_it() {
        let found = imports(&[
            ("lib.rs", "mod a;\nmod b;\n"),
            ("a.rs", "#[macro_export]\nmacro_rules! check { () => {} }\n"),
            ("b.rs", "fn f() { crate::check!() }\n"),
        ]);
        assert_eq!(found, ["b.rs:1 a.rs"]);
    }

    #[test]
    fn module_files_are_found_by_every_rule_of_the_language() {
        let found = imports(&[
            (
                "main.rs",
                "mod a;\n#[path = \"elsewhere/b.rs\"] mod b;\nmod c { pub mod d; }\n#[cfg(test)] mod none;\n",
            ),
            ("a/mod.rs", "mod e;\nuse crate::b::B;\n"),
            ("a/e.rs", "use crate::c::d::D;\n"),
            ("elsewhere/b.rs", "pub struct B;\n"),
            ("c/d.rs", "pub struct D;\n"),
        ]);
        assert_eq!(found, ["a/mod.rs:2 elsewhere/b.rs", "a/e.rs:1 c/d.rs"]);
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lib.rs"), "mod missing;").unwrap();
        let error = Modules::read(&folder.path().join("lib.rs")).err().unwrap();
        assert!(error.contains("missing"), "{error}");
    }
}
