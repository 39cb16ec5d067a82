//! Text of files, made safe to print on a terminal.

use std::borrow::Cow;

/// Returns a text in which every control character but the line break and the tab is escaped, as `\u{1b}`.
///
/// Cards, manifests and data files may come from others, and a terminal obeys control characters. Characters
/// that change the direction of text are escaped as well.
///
/// ```
/// assert_eq!(chiasm_pipeline::visible("a\u{1b}[31m\tb\n"), "a\\u{1b}[31m\tb\n");
/// ```
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

/// Returns a text of the same length in bytes, with `?` for what [`visible`] escapes. The text of a recipe is
/// shown with marks below some of its bytes.
pub fn visible_same_length(text: &str) -> String {
    let safe = |c: char| if is_unsafe(c) { "?".repeat(c.len_utf8()) } else { c.to_string() };
    text.chars().map(safe).collect()
}

/// Whether a character controls the terminal or the direction of text.
pub fn is_unsafe(c: char) -> bool {
    let direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    direction || (c.is_control() && c != '\n' && c != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_other_text_is_kept() {
        for kept in ["", "a b\tc\n", "größe 日本語 ✓"] {
            assert_eq!(visible(kept), kept);
            assert_eq!(visible_same_length(kept), kept);
        }
        let cases = [("\u{1b}[2J", "\\u{1b}[2J"), ("\r", "\\r"), ("\0\u{7f}", "\\u{0}\\u{7f}")];
        for (text, safe) in cases.into_iter().chain([("\u{9b}31m", "\\u{9b}31m"), ("\u{202e}", "\\u{202e}")])
        {
            assert_eq!(visible(text), safe);
            assert_eq!(visible_same_length(text).len(), text.len());
            assert!(!visible_same_length(text).contains(is_unsafe));
        }
    }
}
