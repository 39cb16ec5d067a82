//! Reads the module structure of one source file: its modules, items, `use` declarations and paths.
//!
//! Attributes and items under `#[cfg(test)]` are skipped. Paths are kept as written, with the inline modules
//! around them; the module `imports` resolves them.

use crate::tokens::{Token, tokens};
use std::collections::BTreeSet;

/// The module structure of one file.
#[derive(Debug, Default)]
pub struct Scan {
    /// Modules in files of their own: `mod x;`.
    pub files: Vec<ModuleFile>,
    /// Names of inline modules, as paths from the file's own module: `mod x { .. }`.
    pub inline: Vec<Vec<String>>,
    /// Items defined at the level of a module.
    pub items: Vec<Item>,
    /// `use` declarations, one for each name that they declare.
    pub uses: Vec<Use>,
    /// Paths of two or more words outside `use` declarations.
    pub paths: Vec<Mention>,
    /// Types and functions used outside `use` declarations: the first word of each path.
    pub names: BTreeSet<String>,
}

/// A module in a file of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// The inline modules around it.
    pub inside: Vec<String>,
    /// Its name.
    pub name: String,
    /// The value of `#[path = ".."]`.
    pub path: Option<String>,
}

/// An item, e.g. a function or a type.
#[derive(Debug, PartialEq, Eq)]
pub struct Item {
    /// The inline modules around it.
    pub inside: Vec<String>,
    /// Its name.
    pub name: String,
    /// Whether it is a macro that `#[macro_export]` moves to the root of the crate.
    pub at_root: bool,
}

/// A path as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The inline modules around it.
    pub inside: Vec<String>,
    /// Its words. The first is empty if the path starts with `::`.
    pub words: Vec<String>,
    /// The line, from one.
    pub line: usize,
}

/// One name of a `use` declaration.
#[derive(Debug, PartialEq, Eq)]
pub struct Use {
    /// The path of the item; for `a::*` the path of `a`.
    pub path: Mention,
    /// The name that it gets in this module; none for `*`.
    pub name: Option<String>,
    /// Whether it is `pub`, `pub(crate)` or the like.
    pub public: bool,
    /// Whether it is an item of a module, not inside a function.
    pub of_module: bool,
}

/// Reads the module structure of one file.
pub fn scan(source: &str) -> Scan {
    let mut scanner = Scanner { tokens: &tokens(source), at: 0, scopes: Vec::new(), found: Scan::default() };
    scanner.run();
    scanner.found
}

/// What an opening brace begins.
enum Scope {
    Module(String),
    Other,
}

/// The attributes before an item that matter here.
#[derive(Default)]
struct Attributes {
    path: Option<String>,
    test: bool,
    macro_export: bool,
}

struct Scanner<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    scopes: Vec<Scope>,
    found: Scan,
}

impl<'a> Scanner<'a> {
    fn run(&mut self) {
        let mut attributes = Attributes::default();
        let mut public = false;
        while let Some(text) = self.text(0) {
            match text {
                "#" if matches!(self.text(1), Some("[" | "!")) => {
                    self.attribute(&mut attributes);
                    continue;
                }
                _ if attributes.test => self.skip_item(),
                "pub" => {
                    self.visibility();
                    public = true;
                    continue;
                }
                "use" if self.text(1) != Some("<") => self.use_declaration(public),
                "mod" => self.module(attributes.path.take()),
                "macro_rules" if self.text(1) == Some("!") => self.item(2, attributes.macro_export),
                "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" => self.item(1, false),
                "{" => self.open(Scope::Other),
                "}" => {
                    self.scopes.pop();
                    self.at += 1;
                }
                // `::std::mem` or `<T as A>::b`: an item of another crate or of a type.
                "::" => drop(self.path()),
                _ if self.tokens[self.at].is_word() => self.mention(),
                _ => self.at += 1,
            }
            attributes = Attributes::default();
            public = false;
        }
    }

    fn text(&self, ahead: usize) -> Option<&'a str> {
        self.tokens.get(self.at + ahead).map(|token| token.text)
    }

    fn word(&self, ahead: usize) -> Option<&'a str> {
        self.tokens.get(self.at + ahead).filter(|token| token.is_word()).map(|token| token.text)
    }

    fn inside(&self) -> Vec<String> {
        let name = |scope: &Scope| match scope {
            Scope::Module(name) => Some(name.clone()),
            Scope::Other => None,
        };
        self.scopes.iter().filter_map(name).collect()
    }

    fn of_module(&self) -> bool {
        self.scopes.iter().all(|scope| matches!(scope, Scope::Module(_)))
    }

    fn open(&mut self, scope: Scope) {
        self.scopes.push(scope);
        self.at += 1;
    }

    /// `#[..]` or `#![..]`.
    fn attribute(&mut self, attributes: &mut Attributes) {
        let start = self.at;
        self.at += if self.text(1) == Some("!") { 2 } else { 1 };
        self.skip_group();
        let texts: Vec<&str> = self.tokens[start..self.at].iter().map(|token| token.text).collect();
        match texts.get(2..) {
            Some(["cfg", "(", "test", ")", ..] | ["cfg", "(", "all", "(", "test", ",", ..]) => {
                attributes.test = true;
            }
            Some(["path", "=", path, ..]) => attributes.path = Some(path.trim_matches('"').to_owned()),
            Some(["macro_export", ..]) => attributes.macro_export = true,
            _ => {}
        }
    }

    /// `pub`, `pub(crate)`, `pub(in a::b)`.
    fn visibility(&mut self) {
        self.at += 1;
        if self.text(0) == Some("(") && matches!(self.text(1), Some("crate" | "super" | "self" | "in")) {
            self.skip_group();
        }
    }

    /// Skips from an opening bracket to after the one that closes it.
    fn skip_group(&mut self) {
        let mut depth = 0_usize;
        while let Some(text) = self.text(0) {
            self.at += 1;
            match text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Skips the item, statement, field or match arm that follows an attribute.
    fn skip_item(&mut self) {
        let mut ends_with_brace = true; // `use a::{b};` and `static A: B = C { .. };` do not.
        let mut is_item = false; // A comma ends a field, but not an item with generics.
        while let Some(text) = self.text(0) {
            match text {
                "pub" => {
                    self.visibility();
                    continue;
                }
                "fn" | "mod" | "impl" | "struct" | "enum" | "trait" | "macro_rules" => {
                    (ends_with_brace, is_item) = (true, true);
                }
                "use" | "static" | "const" | "type" | "let" if !is_item => {
                    (ends_with_brace, is_item) = (false, true);
                }
                "(" | "[" | "{" => {
                    self.skip_group();
                    if text == "{" && ends_with_brace {
                        return;
                    }
                    continue;
                }
                "," if is_item => {}
                "," | ";" => {
                    self.at += 1;
                    return;
                }
                ")" | "]" | "}" => return,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn module(&mut self, path: Option<String>) {
        let inside = self.inside();
        match (self.word(1), self.text(2)) {
            (Some(name), Some(";")) => {
                self.found.files.push(ModuleFile { inside, name: name.to_owned(), path });
                self.at += 3;
            }
            (Some(name), Some("{")) => {
                self.at += 2;
                self.open(Scope::Module(name.to_owned()));
                self.found.inline.push(self.inside());
            }
            _ => self.at += 1,
        }
    }

    fn item(&mut self, name_ahead: usize, at_root: bool) {
        if let Some(name) = self.word(name_ahead)
            && self.of_module()
        {
            self.found.items.push(Item { inside: self.inside(), name: name.to_owned(), at_root });
        }
        self.at += 1;
    }

    /// Reads a path outside `use` declarations, of two or more words. Paths after `$crate` are resolved where
    /// the macro is used, and words after a dot are fields and methods; both are skipped.
    fn mention(&mut self) {
        let before = self.at.checked_sub(1).map(|at| self.tokens[at].text);
        let (inside, line) = (self.inside(), self.tokens[self.at].line);
        let words = self.path();
        if matches!(before, Some("$" | ".")) {
            return;
        }
        if words.len() > 1 || self.text(0) == Some("(") || words[0].starts_with(char::is_uppercase) {
            self.found.names.insert(words[0].clone());
        }
        if words.len() > 1 {
            self.found.paths.push(Mention { inside, words, line });
        }
    }

    /// Reads words joined by `::`. The first is empty if the path starts with `::`.
    fn path(&mut self) -> Vec<String> {
        let mut words = vec![self.word(0).unwrap_or_default().to_owned()];
        self.at += usize::from(self.word(0).is_some());
        while let (Some("::"), Some(word)) = (self.text(0), self.word(1)) {
            words.push(word.to_owned());
            self.at += 2;
        }
        self.at += usize::from(self.text(0) == Some("::")); // Before `<`, `{` or `*`.
        words
    }

    fn use_declaration(&mut self, public: bool) {
        self.at += 1;
        if self.text(0) != Some("$") {
            self.use_tree(&[], public);
        }
        while self.text(0).is_some_and(|text| text != ";") {
            self.at += 1; // `$crate::a` in a macro
        }
    }

    fn use_tree(&mut self, before: &[String], public: bool) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        let mut words = before.to_vec();
        if self.word(0).is_some() || self.text(0) == Some("::") {
            words.extend(self.path());
        }
        match self.text(0) {
            Some("{") => {
                self.at += 1;
                while self.text(0).is_some_and(|text| text != "}" && text != ";") {
                    let start = self.at;
                    self.use_tree(&words, public);
                    self.at += usize::from(self.text(0) == Some(",") || self.at == start);
                }
                self.at += usize::from(self.text(0) == Some("}"));
            }
            Some("*") => {
                self.at += 1;
                self.push_use(words, None, line, public);
            }
            _ => {
                if words.len() > 1 && words.last().is_some_and(|word| word == "self") {
                    words.pop(); // `a::{self}` is `a`
                }
                let mut name = words.last().cloned();
                if self.text(0) == Some("as") {
                    name = self.word(1).map(str::to_owned);
                    self.at += 2;
                }
                self.push_use(words, name, line, public);
            }
        }
    }

    fn push_use(&mut self, words: Vec<String>, name: Option<String>, line: usize, public: bool) {
        let path = Mention { inside: self.inside(), words, line };
        self.found.uses.push(Use { path, name, public, of_module: self.of_module() });
    }
}

#[cfg(test)]
mod tests;
