//! TOML values with their locations, and `--set` assignments.

use crate::base::{
    problem::{Problem, Problems, SourceSpan, did_you_mean},
    visible::{visible, visible_same_length},
};
use miette::NamedSource;
use std::{ops::Range, sync::Arc};
use toml::de::{DeTable, DeValue};

/// A value and its location.
#[derive(Debug, Clone)]
pub struct TomlNode {
    /// The value.
    pub value: TomlValue,
    /// The location of the value.
    pub at: SourceSpan,
    /// The location of its key.
    pub key_at: SourceSpan,
}

/// A TOML value. Dates are read as strings, since no key of a recipe takes a date.
#[derive(Debug, Clone)]
pub enum TomlValue {
    /// "text"
    String(String),
    /// 42
    Integer(i64),
    /// 4.2
    Float(f64),
    /// true
    Boolean(bool),
    /// [1, 2]
    Array(Vec<TomlNode>),
    /// [table]
    Table(TomlTable),
}

/// Keys and values in the order of the file. The order of encoders is significant.
pub type TomlTable = Vec<(String, TomlNode)>;

impl TomlValue {
    /// Returns the name of its type, for messages.
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

    /// Converts the value to JSON. JSON has no NaN and no infinity: they become text, which no number
    /// parameter accepts, and not `null`, which would be a parameter that is not set.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::String(s) => s.clone().into(),
            Self::Integer(i) => (*i).into(),
            Self::Float(f) if !f.is_finite() => f.to_string().into(),
            Self::Float(f) => (*f).into(),
            Self::Boolean(b) => (*b).into(),
            Self::Array(a) => a.iter().map(|n| n.value.to_json()).collect::<Vec<_>>().into(),
            Self::Table(t) => {
                serde_json::Value::Object(t.iter().map(|(k, n)| (k.clone(), n.value.to_json())).collect())
            }
        }
    }
}

/// Parses `text`. `name` is its name in messages.
///
/// # Errors
/// All syntax errors, each with its location.
pub fn parse(name: &str, text: &str) -> Result<(TomlTable, SourceSpan), Problems> {
    let source = Arc::new(NamedSource::new(visible(name), visible_same_length(text)).with_language("toml"));
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems = Problems::default();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        problems.push(
            Problem::new("chiasm::recipe::syntax", format!("{name} is not valid TOML: {}", error.message()))
                .at(&SourceSpan::new(&source, span), "here"),
        );
    }
    let whole = SourceSpan::new(&source, 0..0);
    problems.or(Some((convert_table(table.get_ref(), &source, 0), whole)))
}

/// Applies one `--set a.b=value`. The value is read as TOML if it is valid TOML, else as a string.
///
/// # Errors
/// If there is no `=`, or a part of the path is not a table.
pub fn set(table: &mut TomlTable, assignment: &str) -> Result<(), Problem> {
    let code = "chiasm::recipe::set";
    let (path, value) = assignment.split_once('=').ok_or_else(|| {
        Problem::new(code, format!("--set expects key.path=value, got {assignment:?}"))
            .help("for example --set encoders.image.model=squeezenet11")
    })?;
    let source = Arc::new(NamedSource::new("--set", visible_same_length(assignment)));
    let start = path.len() + 1;
    let at = SourceSpan::new(&source, start..assignment.len());
    let key_at = SourceSpan::new(&source, 0..path.len());
    let value = match DeValue::parse(value) {
        Ok(parsed) => convert(parsed.get_ref(), &source, start),
        Err(_) => TomlValue::String(value.to_owned()),
    };
    let mut steps: Vec<&str> = path.split('.').map(str::trim).collect();
    let last = steps.pop().unwrap_or_default();
    let mut here = table;
    for step in steps {
        let index = here.iter().position(|(k, _)| k == step).unwrap_or_else(|| {
            let node =
                TomlNode { value: TomlValue::Table(Vec::new()), at: key_at.clone(), key_at: key_at.clone() };
            here.push((step.to_owned(), node));
            here.len() - 1
        });
        match &mut here[index].1.value {
            TomlValue::Table(inner) => here = inner,
            other => {
                return Err(Problem::new(code, format!("`{step}` is {}, not a table", other.kind()))
                    .at(&key_at, "this path"));
            }
        }
    }
    let node = TomlNode { value, at, key_at };
    match here.iter_mut().find(|(k, _)| k == last) {
        Some((_, old)) => *old = node,
        None => here.push((last.to_owned(), node)),
    }
    Ok(())
}

fn convert_table(table: &DeTable<'_>, source: &Arc<NamedSource<String>>, shift: usize) -> TomlTable {
    let origin = |span: Range<usize>| SourceSpan::new(source, span.start + shift..span.end + shift);
    let mut nodes: Vec<(usize, String, TomlNode)> = table
        .iter()
        .map(|(key, value)| {
            let (key_at, at) = (origin(key.span()), origin(value.span()));
            let node = TomlNode { value: convert(value.get_ref(), source, shift), at, key_at };
            (key.span().start, key.get_ref().to_string(), node)
        })
        .collect();
    nodes.sort_by_key(|(start, ..)| *start);
    nodes.into_iter().map(|(_, key, node)| (key, node)).collect()
}

/// Converts a value. `shift` is added to its spans: the offset of the parsed text in the whole text.
fn convert(value: &DeValue<'_>, source: &Arc<NamedSource<String>>, shift: usize) -> TomlValue {
    match value {
        DeValue::String(s) => TomlValue::String(s.to_string()),
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix())
            .map_or_else(|_| TomlValue::String(i.to_string()), TomlValue::Integer),
        DeValue::Float(f) => {
            f.as_str().parse().map_or_else(|_| TomlValue::String(f.to_string()), TomlValue::Float)
        }
        DeValue::Boolean(b) => TomlValue::Boolean(*b),
        DeValue::Datetime(d) => TomlValue::String(d.to_string()),
        DeValue::Array(items) => TomlValue::Array(
            items
                .iter()
                .map(|item| {
                    let span = item.span();
                    let at = SourceSpan::new(source, span.start + shift..span.end + shift);
                    TomlNode { value: convert(item.get_ref(), source, shift), key_at: at.clone(), at }
                })
                .collect(),
        ),
        DeValue::Table(table) => TomlValue::Table(convert_table(table, source, shift)),
    }
}

/// Returns the problem for an unknown key. It suggests the most similar known key.
pub fn unknown_key<'k>(
    path: &str,
    key: &str,
    node: &TomlNode,
    known: impl IntoIterator<Item = &'k str> + Clone,
) -> Problem {
    let place = if path.is_empty() { "the recipe".to_owned() } else { format!("[{path}]") };
    let list = known.clone().into_iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
    let help = did_you_mean(key, known).unwrap_or_else(|| {
        if list.is_empty() { "it takes no keys".into() } else { format!("known keys: {list}") }
    });
    Problem::new("chiasm::recipe::unknown_key", format!("unknown key `{key}` in {place}"))
        .at(&node.key_at, "unknown key")
        .help(help)
}

/// Parses `--swap key=a,b` or `--swap 'key=["a", ["b", "c"]]'`. Returns the key and each value, as text for
/// `--set`.
///
/// # Errors
/// If there is no `=`, or no value.
pub fn parse_swap(assignment: &str) -> Result<(String, Vec<String>), Problem> {
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

    /// Returns the text at a location.
    fn text(origin: &SourceSpan, source: &str) -> String {
        let problem = Problem::new("code", "message").at(origin, "here");
        let span = problem.labels().unwrap().next().unwrap();
        source[span.offset()..span.offset() + span.len()].to_owned()
    }

    /// Collects the text at the location of every key and value in a table and below it.
    fn texts(table: &TomlTable, source: &str, found: &mut Vec<String>) {
        for (_, node) in table {
            found.extend([&node.key_at, &node.at].map(|origin| text(origin, source)));
            nested(&node.value, source, found);
        }
    }

    fn nested(value: &TomlValue, source: &str, found: &mut Vec<String>) {
        match value {
            TomlValue::Table(table) => texts(table, source, found),
            TomlValue::Array(items) => items.iter().for_each(|item| nested(&item.value, source, found)),
            _ => {}
        }
    }

    #[test]
    fn keys_and_values_of_an_assignment_have_the_right_locations() {
        let assignment = "align.long_name={x=1, y={z=[{w=2}]}}";
        let mut table = TomlTable::new();
        set(&mut table, assignment).unwrap();
        let TomlValue::Table(align) = &table[0].1.value else { panic!("{table:?}") };
        let TomlValue::Table(inner) = &align[0].1.value else { panic!("{align:?}") };
        let mut found = Vec::new();
        texts(inner, assignment, &mut found);
        assert_eq!(found, ["x", "1", "y", "{z=[{w=2}]}", "z", "[{w=2}]", "w", "2"]);
    }
}
