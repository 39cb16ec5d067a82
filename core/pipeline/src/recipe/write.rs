//! Writing a recipe as TOML.

use super::tree::{TomlTable, TomlValue};

/// Formats a table as TOML: values first, then tables, each in its order.
pub fn format_table(table: &TomlTable) -> String {
    let mut text = String::new();
    write_table("", table, &mut text);
    text
}

fn write_table(path: &str, table: &TomlTable, text: &mut String) {
    let is_table = |value: &TomlValue| matches!(value, TomlValue::Table(_));
    let values: Vec<_> = table.iter().filter(|(_, node)| !is_table(&node.value)).collect();
    if !path.is_empty() && (!values.is_empty() || table.is_empty()) {
        let gap = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{gap}[{path}]\n"));
    }
    for (name, node) in values {
        text.push_str(&format!("{} = {}\n", key(name), format_value(&node.value)));
    }
    for (name, node) in table {
        if let TomlValue::Table(inner) = &node.value {
            let path = if path.is_empty() { key(name) } else { format!("{path}.{}", key(name)) };
            write_table(&path, inner, text);
        }
    }
}

/// Formats a value on one line.
fn format_value(value: &TomlValue) -> String {
    match value {
        TomlValue::String(text) => toml::Value::String(text.clone()).to_string(),
        TomlValue::Integer(number) => number.to_string(),
        TomlValue::Float(number) => toml::Value::Float(*number).to_string(),
        TomlValue::Boolean(value) => value.to_string(),
        TomlValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|node| format_value(&node.value)).collect();
            format!("[{}]", items.join(", "))
        }
        TomlValue::Table(table) => {
            let entries: Vec<String> = (table.iter())
                .map(|(name, node)| format!("{} = {}", key(name), format_value(&node.value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// Quotes a key if it is not a bare one.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        toml::Value::String(name.to_owned()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tree::parse, *};

    /// Nested tables, lists with tables, quoted keys and special text are read back as they were.
    #[test]
    fn a_written_recipe_is_read_back_with_the_same_values_in_the_same_order() {
        let text = "seed = 3\n[encoders.z]\nmodel = [\"a\", \"b\"]\n[encoders.a]\nvectors = 'C:\\x \"y\"'\n\
                    [align]\nplugin = \"mlp\"\ntau = 1e-5\nempty = {}\nterms.ot = 0.5\n\
                    list = [{ w = 1.0 }, 2]\n\
                    \"odd key\" = true\n";
        let (table, _) = parse("recipe", text).unwrap();
        let written = format_table(&table);
        let (again, _) = parse("written", &written).unwrap();
        let json = |table: &TomlTable| TomlValue::Table(table.clone()).to_json();
        assert_eq!(json(&table), json(&again), "{written}");
        let TomlValue::Table(encoders) = &again[1].1.value else { panic!("{written}") };
        assert_eq!([&encoders[0].0, &encoders[1].0], ["z", "a"], "{written}");
        assert_eq!(format_table(&again), written);
    }
}
