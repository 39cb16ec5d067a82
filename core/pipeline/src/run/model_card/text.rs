//! Text from cards, recipes and manifests, made safe for YAML, Python, JSON and Markdown. It may come from
//! others.

use crate::base::visible::visible;

/// Returns a string literal that YAML and Python read as `text`. It is ASCII and has no line break.
pub fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for c in text.chars() {
        match (c, u32::from(c)) {
            ('"' | '\\', _) => literal.extend(['\\', c]),
            (' '..='~', _) => literal.push(c),
            (_, code @ ..=0xffff) => literal.push_str(&format!("\\u{code:04x}")),
            (_, code) => literal.push_str(&format!("\\U{code:08x}")),
        }
    }
    literal.push('"');
    literal
}

/// Returns `json` with every character outside ASCII escaped.
pub fn ascii_json(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            ascii.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    ascii
}

/// Returns text as one line of Markdown without markup.
pub fn plain(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '\n' | '\t' => line.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '&' | '#' | '~' | '$' => {
                line.extend(['\\', c]);
            }
            _ => line.push(c),
        }
    }
    line
}

/// Returns text as code within a line of Markdown, also in a table.
pub fn code(text: &str) -> String {
    let inner: String = (visible(text).chars())
        .map(|c| match c {
            '\n' | '\t' => ' ',
            '`' => '\'',
            other => other,
        })
        .collect();
    format!("`{}`", inner.replace('|', "\\|"))
}

/// Returns a size in bytes as text, such as `1.2 MB`.
pub fn size(bytes: u64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let found = units.into_iter().find(|(unit, _)| bytes as f64 >= *unit);
    found.map_or_else(|| format!("{bytes} B"), |(unit, name)| format!("{:.1} {name}", bytes as f64 / unit))
}

/// Returns `names` with commas, and `and` before the last.
pub fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_stays_in_its_place() {
        let text = "a\"\\\n---\u{e9}\u{1f600}\u{202e}";
        assert_eq!(quoted(text), "\"a\\\"\\\\\\u000a---\\u00e9\\U0001f600\\u202e\"");
        assert_eq!(plain("a|b\n# <script> `x`"), "a\\|b \\# \\<script\\> \\`x\\`");
        assert_eq!(code("a`b|c\n"), "`a'b\\|c `");
        let json = serde_json::to_string("\u{e9}\u{1f600}\n").unwrap_or_default();
        assert_eq!(ascii_json(&json), "\"\\u00e9\\ud83d\\ude00\\n\"");
        assert_eq!([size(999), size(1_200_000)], ["999 B", "1.2 MB"]);
    }
}
