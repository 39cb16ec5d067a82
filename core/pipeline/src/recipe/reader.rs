//! Reading a table of the recipe key by key.
//!
//! serde stops at its first error and does not keep locations. A [`TableReader`] reports all errors at once,
//! each with its location, and suggests the most similar known key for an unknown one.

use super::tree::{TomlNode, TomlTable, TomlValue, unknown_key};
use crate::base::problem::{Problem, Problems, SourceSpan};
use std::{cell::RefCell, collections::BTreeSet};

/// A value of a known type, with its location in the recipe.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its location.
    pub at: SourceSpan,
}

/// Reads one table key by key and records which keys were read. [`TableReader::finish`] reports all other
/// keys.
pub struct TableReader<'a> {
    path: String,
    table: &'a TomlTable,
    at: SourceSpan,
    known: RefCell<BTreeSet<&'static str>>,
    problems: &'a RefCell<Problems>,
}

impl<'a> TableReader<'a> {
    /// Returns a reader of `table`. `path` is its name in messages ("" for the whole recipe).
    pub fn new(path: &str, table: &'a TomlTable, at: &SourceSpan, problems: &'a RefCell<Problems>) -> Self {
        Self { path: path.into(), table, at: at.clone(), known: RefCell::default(), problems }
    }

    /// Adds a problem.
    pub fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Returns the location of this table.
    pub fn origin(&self) -> &SourceSpan {
        &self.at
    }

    /// Returns the name of this table in messages.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the node under `key`, of any type.
    pub fn node(&self, key: &'static str) -> Option<&'a TomlNode> {
        self.known.borrow_mut().insert(key);
        #[cfg(test)]
        READ.with(|read| read.borrow_mut().insert(self.name(key)));
        self.table.iter().find(|(k, _)| k == key).map(|(_, node)| node)
    }

    /// Returns the string under `key`, if the key is present.
    pub fn string(&self, key: &'static str) -> Option<Located<String>> {
        self.typed(key, "a string", |v| match v {
            TomlValue::String(s) => Some(s.clone()),
            _ => None,
        })
    }

    /// Returns the string under a required `key`. Reports a problem if the key is missing.
    pub fn required_string(&self, key: &'static str, example: &str) -> Option<Located<String>> {
        if self.table.iter().all(|(k, _)| k != key) {
            self.known.borrow_mut().insert(key);
            let problem =
                Problem::new("chiasm::recipe::missing_key", format!("`{}` has no `{key}`", self.path));
            self.problem(problem.at(&self.at, "this table").help(format!("add, for example, {example}")));
        }
        self.string(key)
    }

    /// Returns the non-negative integer under `key`, if the key is present.
    pub fn count(&self, key: &'static str) -> Option<Located<u64>> {
        self.typed(key, "a non-negative integer", |v| match v {
            TomlValue::Integer(i) => u64::try_from(*i).ok(),
            _ => None,
        })
    }

    /// Returns the number under `key`, if the key is present.
    pub fn number(&self, key: &'static str) -> Option<Located<f64>> {
        self.typed(key, "a number", |v| match v {
            TomlValue::Integer(i) => Some(*i as f64),
            TomlValue::Float(f) => Some(*f),
            _ => None,
        })
    }

    /// Returns whether `key` is true, if the key is present.
    pub fn boolean(&self, key: &'static str) -> Option<Located<bool>> {
        self.typed(key, "true or false", |v| match v {
            TomlValue::Boolean(b) => Some(*b),
            _ => None,
        })
    }

    /// Returns a list of numbers; empty if the key is absent.
    pub fn numbers(&self, key: &'static str) -> Vec<Located<f64>> {
        let number = |node: &TomlNode| {
            let value = match node.value {
                TomlValue::Integer(i) => Some(i as f64),
                TomlValue::Float(f) => Some(f),
                _ => None,
            };
            Some(Located { value: value?, at: node.at.clone() })
        };
        let list = |value: &TomlValue| match value {
            TomlValue::Array(items) => items.iter().map(number).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        self.typed(key, "a list of numbers", list).map(|list| list.value).unwrap_or_default()
    }

    /// Returns one string or a list of strings; empty if the key is absent.
    pub fn strings(&self, key: &'static str) -> Vec<Located<String>> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let nodes = match &node.value {
            TomlValue::Array(items) => items.iter().collect(),
            _ => vec![node],
        };
        nodes
            .into_iter()
            .filter_map(|n| match &n.value {
                TomlValue::String(s) => Some(Located { value: s.clone(), at: n.at.clone() }),
                _ => {
                    self.wrong_type(key, "a string, or a list of strings", n);
                    None
                }
            })
            .collect()
    }

    /// Returns the table under `key`, or `None` if it is missing. Reports a problem if it is not a table.
    pub fn table(&self, key: &'static str) -> Option<TableReader<'a>> {
        let node = self.node(key)?;
        let path = self.name(key);
        match &node.value {
            TomlValue::Table(table) => Some(Self::new(&path, table, &node.key_at, self.problems)),
            _ => {
                self.wrong_type(key, "a table", node);
                None
            }
        }
    }

    /// Returns every entry whose key was not read.
    pub fn rest(&self) -> Vec<(&'a str, &'a TomlNode)> {
        let known = self.known.borrow();
        self.table.iter().filter(|(k, _)| !known.contains(k.as_str())).map(|(k, n)| (k.as_str(), n)).collect()
    }

    /// Reports a problem for every key that was not read.
    pub fn finish(self) {
        for (key, node) in self.rest() {
            self.problem(unknown_key(&self.path, key, node, self.known.borrow().iter().copied()));
        }
    }

    /// Returns the name of a key in messages.
    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn typed<T>(
        &self,
        key: &'static str,
        expected: &str,
        get: impl Fn(&TomlValue) -> Option<T>,
    ) -> Option<Located<T>> {
        let node = self.node(key)?;
        let value = get(&node.value);
        if value.is_none() {
            self.wrong_type(key, expected, node);
        }
        value.map(|value| Located { value, at: node.at.clone() })
    }

    fn wrong_type(&self, key: &str, expected: &str, node: &TomlNode) {
        let path = self.name(key);
        let message = format!("`{path}` expects {expected}, got {}", node.value.kind());
        self.problem(Problem::new("chiasm::recipe::wrong_type", message).at(&node.at, "this value"));
    }
}

#[cfg(test)]
thread_local! {
    /// The names of the keys that were read.
    static READ: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Calls `work`, and adds the names of the keys that it reads to `names`.
#[cfg(test)]
pub fn keys_read<T>(work: impl FnOnce() -> T, names: &mut BTreeSet<String>) -> T {
    READ.with(|read| read.borrow_mut().clear());
    let result = work();
    READ.with(|read| names.append(&mut read.borrow_mut()));
    result
}
