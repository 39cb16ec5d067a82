//! What one source file says about modules: those it declares, the items it defines, the paths it names.
//!
//! Attributes and whatever `#[cfg(test)]` stands on are left out. Paths are kept as written, with the inline
//! modules that they stand in; `imports` finds out what they mean.

use super::tokens::{Token, tokens};
use std::collections::BTreeSet;

/// What one file says about modules.
#[derive(Debug, Default)]
pub struct Scan {
    /// Modules in files of their own: `mod x;`.
    pub files: Vec<ModuleFile>,
    /// Names of inline modules, as paths from the file's own module: `mod x { .. }`.
    pub inline: Vec<Vec<String>>,
    /// Items defined at the level of a module.
    pub items: Vec<Item>,
    /// `use` declarations, one for each name that they bring.
    pub uses: Vec<Use>,
    /// Paths of two or more words outside `use` declarations.
    pub paths: Vec<Mention>,
    /// Types and functions named outside `use` declarations by one word, or by that and what follows it.
    pub names: BTreeSet<String>,
}

/// A module in a file of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// The inline modules around it.
    pub inside: Vec<String>,
    /// Its name.
    pub name: String,
    /// What `#[path = ".."]` says.
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
    /// Its words; the first is empty where the path starts with `::`.
    pub words: Vec<String>,
    /// The line, from one.
    pub line: usize,
}

/// One name of a `use` declaration.
#[derive(Debug, PartialEq, Eq)]
pub struct Use {
    /// What is named; for `a::*` the path of `a`.
    pub path: Mention,
    /// The name that it has here; none for `*`.
    pub name: Option<String>,
    /// Whether it says `pub`, with or without limits.
    pub public: bool,
    /// Whether it stands at the level of a module, not inside a function.
    pub of_module: bool,
}

/// Reads one file.
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

/// The attributes before an item, as far as they matter here.
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
                "::" => drop(self.path()), // `::std::mem` or `<T as A>::b`: of another crate, or of a type
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

    /// Moves behind the bracket that closes the one at which it stands.
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

    /// Moves behind an item, statement, field or match arm: what an attribute stands on.
    fn skip_item(&mut self) {
        let mut ends_with_brace = true; // `use a::{b};` and `static A: B = C { .. };` go on behind it
        let mut is_item = false; // commas of an item's generics do not end it, those behind a field do
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

    /// A path outside `use` declarations; one word alone is none. What `$crate` names is imported where the
    /// macro is used, and behind a dot stand fields and methods.
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

    /// Words joined by `::`; the first is empty where the path starts with `::`.
    fn path(&mut self) -> Vec<String> {
        let mut words = vec![self.word(0).unwrap_or_default().to_owned()];
        self.at += usize::from(self.word(0).is_some());
        while let (Some("::"), Some(word)) = (self.text(0), self.word(1)) {
            words.push(word.to_owned());
            self.at += 2;
        }
        self.at += usize::from(self.text(0) == Some("::")); // before `<`, `{` or `*`
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
mod tests {
    use super::*;

    /// Each used path as `line: words as name`.
    fn uses(source: &str) -> Vec<String> {
        let shown = |one: &Use| {
            let name = one.name.as_deref().unwrap_or("*");
            format!("{}: {} as {name}", one.path.line, one.path.words.join("::"))
        };
        scan(source).uses.iter().map(shown).collect()
    }

    fn paths(source: &str) -> Vec<String> {
        scan(source).paths.iter().map(|path| path.words.join("::")).collect()
    }

    #[test]
    fn nested_braces_self_globs_and_new_names_are_told_apart() {
        let source = "use crate::{\n  a::{self, b::C as D},\n  e::*,\n};\nuse super::f as _;\nuse ::g::h;";
        let expected = [
            "2: crate::a as a",
            "2: crate::a::b::C as D",
            "3: crate::e as *",
            "5: super::f as _",
            "6: ::g::h as h",
        ];
        assert_eq!(uses(source), expected);
    }

    #[test]
    fn what_stands_under_cfg_test_is_left_out() {
        let source = "
            #[cfg(test)] use crate::{a, b};
            #[cfg(test)] mod tests { use crate::c; fn f() { crate::d::e(); } }
            #[cfg(test)] pub(crate) fn g<A, B>(x: [u8; 3]) -> crate::h::I { crate::i::j() }
            #[cfg(test)] #[derive(Debug)] struct K { l: crate::m::N }
            #[cfg(all(test, unix))] const O: P = crate::q::R { s: 1 };
            #[cfg(test)] mod in_a_file;
            struct T { #[cfg(test)] u: crate::v::W, x: crate::y::Z }
            use crate::kept;";
        assert_eq!(uses(source), ["9: crate::kept as kept"]);
        assert_eq!(paths(source), ["crate::y::Z"]);
        assert!(scan(source).files.is_empty());
    }

    #[test]
    fn text_in_comments_strings_and_attributes_is_no_import() {
        let source = "// use crate::a;\nconst B: &str = \"use crate::b; { \";\n#[doc = \"}\"]\n\
                      /// use crate::c;\nfn d() {}";
        assert!(uses(source).is_empty() && paths(source).is_empty());
        assert_eq!(scan(source).items.len(), 2);
    }

    #[test]
    fn paths_end_at_generics_and_visibility_is_none() {
        let source = "pub(in crate::a) fn f<'a, T: crate::b::C<'a>>() -> impl Iterator + use<'a, T> {
            <T as super::d::E>::g::<u8>(); ::std::mem::drop(x); Vec::<self::h::I>::new(); y.z::<u8>() }";
        assert_eq!(paths(source), ["crate::b::C", "super::d::E", "self::h::I"]);
        assert!(uses(source).is_empty());
    }

    #[test]
    fn modules_items_and_macros_keep_their_place() {
        let source = "mod a; #[path = \"../b.rs\"] mod b; pub mod c { mod d; pub fn e() { fn f() {} } }
            #[macro_export] macro_rules! g { () => { use $crate::h::i; $crate::j::k() } }
            impl L { fn m() {} }";
        let scan = scan(source);
        let files: Vec<_> =
            scan.files.iter().map(|f| (f.inside.join("::"), &*f.name, f.path.as_deref())).collect();
        assert_eq!(
            files,
            [("".to_owned(), "a", None), ("".to_owned(), "b", Some("../b.rs")), ("c".to_owned(), "d", None)]
        );
        let items: Vec<_> = scan.items.iter().map(|i| (i.inside.join("::"), &*i.name, i.at_root)).collect();
        assert_eq!(items, [("c".to_owned(), "e", false), ("".to_owned(), "g", true)]);
        assert_eq!(scan.inline, [["c".to_owned()]]);
        assert!(scan.uses.is_empty() && scan.paths.is_empty());
    }

    #[test]
    fn names_are_types_and_functions_and_no_fields_or_variables() {
        let names = scan("use a::B; fn c(d: E) { let f = g(d).h(I::J); k.l = m; N { o: 1 } }").names;
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["E", "I", "N", "c", "g"]);
    }

    #[test]
    fn a_use_inside_a_function_brings_its_name_to_that_function_alone() {
        let scan = scan("pub use a::B; fn f() { use crate::c::D; }");
        assert!(scan.uses[0].public && scan.uses[0].of_module);
        assert!(!scan.uses[1].public && !scan.uses[1].of_module);
    }
}
