//! The rules about lines: their width, and words that must not occur in them.

use crate::tokens::tokens;
use std::collections::BTreeSet;

/// Returns the numbers of the lines that have more than `limit` characters, counted from one.
///
/// Tables, lines with a link or an address, and raw strings do not count: they cannot be wrapped.
pub fn wide(text: &str, limit: usize, rust: bool) -> Vec<usize> {
    let wide = text.lines().enumerate().filter(|(_, line)| line.chars().count() > limit);
    let wide: Vec<usize> = wide.filter(|(_, line)| can_wrap(line, rust)).map(|(at, _)| at + 1).collect();
    if wide.is_empty() || !rust {
        return wide;
    }
    let raw = raw_string_lines(text);
    wide.into_iter().filter(|line| !raw.contains(line)).collect()
}

fn can_wrap(line: &str, rust: bool) -> bool {
    let comment = line.trim_start().starts_with("//");
    let content = line.trim_start_matches(['/', '!', ' ']);
    let table = content.starts_with('|') && (comment || !rust);
    let link = content.contains("](") && (comment || !rust);
    !table && !link && !content.contains("://")
}

/// The lines on which a raw string has a part.
fn raw_string_lines(source: &str) -> BTreeSet<usize> {
    let raw = |text: &str| ["r\"", "r#", "br\"", "br#", "cr\"", "cr#"].iter().any(|p| text.starts_with(p));
    let tokens = tokens(source);
    let strings = tokens.iter().filter(|token| raw(token.text));
    strings.flat_map(|token| token.line..=token.line + token.text.matches('\n').count()).collect()
}

/// Returns each occurrence of one of `words` in `text` as a whole word, with the number of its line.
///
/// A phrase is also found where it continues on the next line of a comment or a paragraph.
pub fn occurrences<'a>(text: &str, words: &[&'a str]) -> Vec<(usize, &'a str)> {
    let mut joined = String::new();
    let mut starts = Vec::new();
    for line in text.lines() {
        starts.push(joined.len());
        joined.push_str(line.trim_start().trim_start_matches(['/', '!']).trim());
        joined.push(' ');
    }
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let whole = |at: usize, word: &str| {
        !joined[..at].ends_with(part_of_word) && !joined[at + word.len()..].starts_with(part_of_word)
    };
    let mut found = Vec::new();
    for word in words {
        let at = joined.match_indices(word).map(|(at, _)| at).filter(|at| whole(*at, word));
        found.extend(at.map(|at| (starts.partition_point(|start| *start <= at), *word)));
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_line_is_found_and_a_table_a_link_and_a_raw_string_are_not() {
        let long = "x".repeat(20);
        let text = format!("{long}\n{long}x\n| {long} |\n[{long}](place)\nsee https://{long}\n");
        assert_eq!(wide(&text, 20, false), [2]);
        let text = format!("f(\"{long}\");\nf(r#\"a\n{long}x\n\"#);\n/// | {long} |\n// [{long}](x)\n");
        assert_eq!(wide(&text, 20, true), [1]);
        assert_eq!(wide(&format!("a[{long}](b);\n| {long} |"), 20, true), [1, 2]);
    }

    #[test]
    fn the_width_of_a_line_is_counted_in_characters() {
        assert!(wide("ééé", 3, false).is_empty());
        assert_eq!(wide("éééé", 3, false), [1]);
    }

    #[test]
    fn words_are_found_whole_with_their_case_and_across_lines() {
        let text = "Old\nOlder old_Old Olds\n/// an Old, a bad\n/// phrase\n";
        assert_eq!(occurrences(text, &["Old", "bad phrase"]), [(1, "Old"), (3, "Old"), (3, "bad phrase")]);
        assert!(occurrences("old bad phrases", &["Old", "bad phrase"]).is_empty());
    }
}
