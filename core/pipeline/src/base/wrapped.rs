//! Breaking text into lines.

/// Breaks a text between words into lines of at most `columns` characters. A longer word has a line of
/// its own.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_are_as_long_as_they_may_be() {
        assert_eq!(wrapped(" one  two three\nabcdefghijk l", 7), ["one two", "three", "abcdefghijk", "l"]);
        assert!(wrapped(" \n", 7).is_empty());
    }
}
