//! TOML with places: a tree in which every key and value remembers where the user wrote it.
//!
//! serde stops at its first error and forgets spans; a recipe wants all of its errors at once, each with a
//! place, and unknown keys answered with the nearest known one. [`Reader`] does that.

use crate::base::problem::{Origin, Problem, Problems, did_you_mean};
use miette::NamedSource;
use std::{cell::RefCell, collections::BTreeSet, ops::Range, sync::Arc};
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where the value stands.
    pub at: Origin,
    /// Where its key stands.
    pub key_at: Origin,
}

/// A TOML value; dates are read as strings, for no recipe key takes one.
#[derive(Debug, Clone)]
pub enum Value {
    /// "text"
    String(String),
    /// 42
    Integer(i64),
    /// 4.2
    Float(f64),
    /// true
    Boolean(bool),
    /// [1, 2]
    Array(Vec<Node>),
    /// [table]
    Table(Table),
}

/// Keys in the order of the file (the order of encoders has a meaning).
pub type Table = Vec<(String, Node)>;

impl Value {
    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// The value as JSON: how parameters travel to plugins.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::String(s) => s.clone().into(),
            Self::Integer(i) => (*i).into(),
            Self::Float(f) => (*f).into(),
            Self::Boolean(b) => (*b).into(),
            Self::Array(a) => a.iter().map(|n| n.value.to_json()).collect::<Vec<_>>().into(),
            Self::Table(t) => {
                serde_json::Value::Object(t.iter().map(|(k, n)| (k.clone(), n.value.to_json())).collect())
            }
        }
    }
}

/// Parses `text`, called `name` in messages; every syntax error found is in the result.
///
/// # Errors
/// The syntax errors, each with its place.
pub fn parse(name: &str, text: &str) -> Result<(Table, Origin), Problems> {
    let source = Arc::new(NamedSource::new(name, text.to_owned()).with_language("toml"));
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems = Problems::default();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        problems.push(
            Problem::new("chiasm::recipe::syntax", format!("{name} is not valid TOML: {}", error.message()))
                .at(&Origin::new(&source, span), "here"),
        );
    }
    let whole = Origin::new(&source, 0..0);
    problems.or(Some((convert_table(table.get_ref(), &source, 0), whole)))
}

/// Applies one `--set a.b=value`: the value is TOML when it parses as TOML, else a plain string.
///
/// # Errors
/// When there is no `=`, or the path runs through something that is not a table.
pub fn set(table: &mut Table, assignment: &str) -> Result<(), Problem> {
    let code = "chiasm::recipe::set";
    let (path, value) = assignment.split_once('=').ok_or_else(|| {
        Problem::new(code, format!("--set expects key.path=value, got {assignment:?}"))
            .help("for example --set encoders.image.model=squeezenet11")
    })?;
    let source = Arc::new(NamedSource::new("--set", assignment.to_owned()));
    let start = path.len() + 1;
    let at = Origin::new(&source, start..assignment.len());
    let key_at = Origin::new(&source, 0..path.len());
    let value = match DeValue::parse(value) {
        Ok(parsed) => convert(parsed.get_ref(), &source, start),
        Err(_) => Value::String(value.to_owned()),
    };
    let mut steps: Vec<&str> = path.split('.').map(str::trim).collect();
    let last = steps.pop().unwrap_or_default();
    let mut here = table;
    for step in steps {
        let index = here.iter().position(|(k, _)| k == step).unwrap_or_else(|| {
            let node = Node { value: Value::Table(Vec::new()), at: key_at.clone(), key_at: key_at.clone() };
            here.push((step.to_owned(), node));
            here.len() - 1
        });
        match &mut here[index].1.value {
            Value::Table(inner) => here = inner,
            other => {
                return Err(Problem::new(code, format!("`{step}` is {}, not a table", other.kind()))
                    .at(&key_at, "this path runs through it"));
            }
        }
    }
    let node = Node { value, at, key_at };
    match here.iter_mut().find(|(k, _)| k == last) {
        Some((_, old)) => *old = node,
        None => here.push((last.to_owned(), node)),
    }
    Ok(())
}

fn convert_table(table: &DeTable<'_>, source: &Arc<NamedSource<String>>, shift: usize) -> Table {
    let origin = |span: Range<usize>| Origin::new(source, span.start + shift..span.end + shift);
    let mut nodes: Vec<(usize, String, Node)> = table
        .iter()
        .map(|(key, value)| {
            let (key_at, at) = (origin(key.span()), origin(value.span()));
            let node = Node { value: convert(value.get_ref(), source, shift), at, key_at };
            (key.span().start, key.get_ref().to_string(), node)
        })
        .collect();
    nodes.sort_by_key(|(start, ..)| *start);
    nodes.into_iter().map(|(_, key, node)| (key, node)).collect()
}

/// `shift` moves spans of a value that was cut out of a longer text.
fn convert(value: &DeValue<'_>, source: &Arc<NamedSource<String>>, shift: usize) -> Value {
    match value {
        DeValue::String(s) => Value::String(s.to_string()),
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix())
            .map_or_else(|_| Value::String(i.to_string()), Value::Integer),
        DeValue::Float(f) => f.as_str().parse().map_or_else(|_| Value::String(f.to_string()), Value::Float),
        DeValue::Boolean(b) => Value::Boolean(*b),
        DeValue::Datetime(d) => Value::String(d.to_string()),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| {
                    let span = item.span();
                    let at = Origin::new(source, span.start + shift..span.end + shift);
                    Node { value: convert(item.get_ref(), source, shift), key_at: at.clone(), at }
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(convert_table(table, source, shift)),
    }
}

/// A value of a known type, with its place.
#[derive(Debug, Clone)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where the user wrote it.
    pub at: Origin,
}

/// Reads one table key by key, notes what was asked for, and at the end complains about the rest.
pub struct Reader<'a> {
    path: String,
    table: &'a Table,
    at: Origin,
    known: RefCell<BTreeSet<&'static str>>,
    problems: &'a RefCell<Problems>,
}

impl<'a> Reader<'a> {
    /// A reader of `table`, called `path` in messages ("" for the whole recipe).
    pub fn new(path: &str, table: &'a Table, at: &Origin, problems: &'a RefCell<Problems>) -> Self {
        Self { path: path.into(), table, at: at.clone(), known: RefCell::default(), problems }
    }

    /// Adds a problem.
    pub fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Where this table starts.
    pub fn origin(&self) -> &Origin {
        &self.at
    }

    /// The node under `key`, of any type.
    pub fn node(&self, key: &'static str) -> Option<&'a Node> {
        self.known.borrow_mut().insert(key);
        self.table.iter().find(|(k, _)| k == key).map(|(_, node)| node)
    }

    /// A string, when the key is there.
    pub fn string(&self, key: &'static str) -> Option<At<String>> {
        self.typed(key, "a string", |v| match v {
            Value::String(s) => Some(s.clone()),
            _ => None,
        })
    }

    /// A string that must be there.
    pub fn required_string(&self, key: &'static str, example: &str) -> Option<At<String>> {
        if self.table.iter().all(|(k, _)| k != key) {
            self.known.borrow_mut().insert(key);
            let problem =
                Problem::new("chiasm::recipe::missing_key", format!("`{}` has no `{key}`", self.path));
            self.problem(problem.at(&self.at, "this table").help(format!("add, for example, {example}")));
        }
        self.string(key)
    }

    /// A non-negative integer, when the key is there.
    pub fn count(&self, key: &'static str) -> Option<At<u64>> {
        self.typed(key, "a non-negative integer", |v| match v {
            Value::Integer(i) => u64::try_from(*i).ok(),
            _ => None,
        })
    }

    /// A number, when the key is there.
    pub fn number(&self, key: &'static str) -> Option<At<f64>> {
        self.typed(key, "a number", |v| match v {
            Value::Integer(i) => Some(*i as f64),
            Value::Float(f) => Some(*f),
            _ => None,
        })
    }

    /// One string, or a list of them; empty when the key is absent.
    pub fn strings(&self, key: &'static str) -> Vec<At<String>> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let nodes = match &node.value {
            Value::Array(items) => items.iter().collect(),
            _ => vec![node],
        };
        nodes
            .into_iter()
            .filter_map(|n| match &n.value {
                Value::String(s) => Some(At { value: s.clone(), at: n.at.clone() }),
                _ => {
                    self.wrong_type(key, "a string, or a list of strings", n);
                    None
                }
            })
            .collect()
    }

    /// The table under `key`; a missing table is `None`, something else there is a problem.
    pub fn table(&self, key: &'static str) -> Option<Reader<'a>> {
        let node = self.node(key)?;
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        match &node.value {
            Value::Table(table) => Some(Self::new(&path, table, &node.key_at, self.problems)),
            _ => {
                self.wrong_type(key, "a table", node);
                None
            }
        }
    }

    /// Every entry whose key was not asked for.
    pub fn rest(&self) -> Vec<(&'a str, &'a Node)> {
        let known = self.known.borrow();
        self.table.iter().filter(|(k, _)| !known.contains(k.as_str())).map(|(k, n)| (k.as_str(), n)).collect()
    }

    /// Complains about every key that was not asked for.
    pub fn finish(self) {
        for (key, node) in self.rest() {
            self.problem(unknown_key(&self.path, key, node, self.known.borrow().iter().copied()));
        }
    }

    fn typed<T>(
        &self,
        key: &'static str,
        expected: &str,
        get: impl Fn(&Value) -> Option<T>,
    ) -> Option<At<T>> {
        let node = self.node(key)?;
        let value = get(&node.value);
        if value.is_none() {
            self.wrong_type(key, expected, node);
        }
        value.map(|value| At { value, at: node.at.clone() })
    }

    fn wrong_type(&self, key: &str, expected: &str, node: &Node) {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        let message = format!("`{path}` expects {expected}, got {}", node.value.kind());
        self.problem(Problem::new("chiasm::recipe::wrong_type", message).at(&node.at, "this value"));
    }
}

/// The problem of a key nobody knows, with the nearest known one.
pub fn unknown_key<'k>(
    path: &str,
    key: &str,
    node: &Node,
    known: impl IntoIterator<Item = &'k str> + Clone,
) -> Problem {
    let place = if path.is_empty() { "the recipe".to_owned() } else { format!("[{path}]") };
    let list = known.clone().into_iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
    let help = did_you_mean(key, known).unwrap_or_else(|| {
        if list.is_empty() { "it takes none".into() } else { format!("known keys: {list}") }
    });
    Problem::new("chiasm::recipe::unknown_key", format!("unknown key `{key}` in {place}"))
        .at(&node.key_at, "not a key of this table")
        .help(help)
}

/// Reads one `--swap key=a,b` or `--swap 'key=["a", ["b", "c"]]'`: the key, and each value as `--set` takes
/// it.
///
/// # Errors
/// When there is no `=`, or no value.
pub fn swap(assignment: &str) -> Result<(String, Vec<String>), Problem> {
    let bad = || {
        Problem::new("chiasm::recipe::swap", format!("--swap expects key.path=a,b, got {assignment:?}")).help(
            "for example --swap align.plugin=procrustes,cca; values that are lists: --swap \
                 'key=[\"a\", [\"b\", \"c\"]]'",
        )
    };
    let (key, list) = assignment.split_once('=').ok_or_else(bad)?;
    let values: Vec<String> = match DeValue::parse(list) {
        Ok(parsed) if parsed.get_ref().is_array() => {
            let items = parsed.get_ref().as_array().into_iter().flat_map(|a| a.iter());
            items.map(|item| list[item.span()].to_owned()).collect()
        }
        _ => list.split(',').map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned).collect(),
    };
    if values.is_empty() { Err(bad()) } else { Ok((key.to_owned(), values)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miette::Diagnostic;

    /// The text that a message about this place would show.
    fn text(origin: &Origin, source: &str) -> String {
        let problem = Problem::new("code", "message").at(origin, "here");
        let span = problem.labels().unwrap().next().unwrap();
        source[span.offset()..span.offset() + span.len()].to_owned()
    }

    /// Every key and value in a table and below it, as the text at the place that it remembers.
    fn texts(table: &Table, source: &str, found: &mut Vec<String>) {
        for (_, node) in table {
            found.extend([&node.key_at, &node.at].map(|origin| text(origin, source)));
            nested(&node.value, source, found);
        }
    }

    fn nested(value: &Value, source: &str, found: &mut Vec<String>) {
        match value {
            Value::Table(table) => texts(table, source, found),
            Value::Array(items) => items.iter().for_each(|item| nested(&item.value, source, found)),
            _ => {}
        }
    }

    #[test]
    fn keys_and_values_inside_a_set_remember_where_they_were_written() {
        let assignment = "align.long_name={x=1, y={z=[{w=2}]}}";
        let mut table = Table::new();
        set(&mut table, assignment).unwrap();
        let Value::Table(align) = &table[0].1.value else { panic!("{table:?}") };
        let Value::Table(inner) = &align[0].1.value else { panic!("{align:?}") };
        let mut found = Vec::new();
        texts(inner, assignment, &mut found);
        assert_eq!(found, ["x", "1", "y", "{z=[{w=2}]}", "z", "[{w=2}]", "w", "2"]);
    }
}
