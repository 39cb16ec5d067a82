//! Splits Rust source into tokens, as far as the checks need it: comments are skipped, a string is one token.

/// A token and its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// A word, `::`, one punctuation mark, or a whole string literal with its quotes.
    pub text: &'a str,
    /// The line it starts on, counted from one.
    pub line: usize,
}

impl Token<'_> {
    /// Whether this is a word: an identifier, a keyword or a number.
    pub fn is_word(&self) -> bool {
        self.text.starts_with(is_word_char)
    }
}

/// Returns the tokens of `source`. Comments, lifetimes and character literals give none; `r#name` gives
/// `name`.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut reader = Reader { source, at: 0, line: 1 };
    let mut found = Vec::new();
    while let Some(next) = reader.peek() {
        let (start, line) = (reader.at, reader.line);
        let text = match next {
            '/' if reader.rest().starts_with("//") => reader.skip_line(),
            '/' if reader.rest().starts_with("/*") => reader.skip_block_comment(),
            '"' => reader.string(start),
            '\'' => reader.skip_quoted_or_lifetime(),
            c if is_word_char(c) => reader.word(start),
            ':' if reader.rest().starts_with("::") => reader.take(2, start),
            c if c.is_whitespace() => reader.skip_one(),
            _ => {
                reader.step();
                Some(&source[start..reader.at])
            }
        };
        found.extend(text.map(|text| Token { text, line }));
    }
    found
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn step(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        self.line += usize::from(next == '\n');
        Some(next)
    }

    fn skip_one(&mut self) -> Option<&'a str> {
        self.step();
        None
    }

    fn take(&mut self, chars: usize, start: usize) -> Option<&'a str> {
        for _ in 0..chars {
            self.step();
        }
        Some(&self.source[start..self.at])
    }

    fn skip_line(&mut self) -> Option<&'a str> {
        while self.peek().is_some_and(|c| c != '\n') {
            self.step();
        }
        None
    }

    /// Skips a block comment with those nested in it.
    fn skip_block_comment(&mut self) -> Option<&'a str> {
        let mut depth = 0_usize;
        loop {
            if self.rest().starts_with("/*") {
                depth += 1;
                self.step();
            } else if self.rest().starts_with("*/") {
                depth -= 1;
                self.step();
            }
            self.step()?;
            if depth == 0 {
                return None;
            }
        }
    }

    /// Reads a word, or the literal that it is the prefix of: `b"..."`, `r#"..."#`.
    fn word(&mut self, start: usize) -> Option<&'a str> {
        while self.peek().is_some_and(is_word_char) {
            self.step();
        }
        let word = &self.source[start..self.at];
        let hashes = self.rest().bytes().take_while(|b| *b == b'#').count();
        let quote = self.rest()[hashes..].starts_with('"');
        match word {
            "r" | "br" | "cr" if quote => self.raw_string(start, hashes),
            "b" | "c" if hashes == 0 && quote => self.string(start),
            "r" if hashes == 1 && self.rest()[1..].starts_with(is_word_char) => {
                self.step();
                self.word(start + 2)
            }
            _ => Some(word),
        }
    }

    /// Reads a literal with escapes, from its opening quote.
    fn string(&mut self, start: usize) -> Option<&'a str> {
        self.step();
        loop {
            match self.step() {
                Some('\\') => {
                    self.step();
                }
                Some('"') | None => return Some(&self.source[start..self.at]),
                Some(_) => {}
            }
        }
    }

    fn raw_string(&mut self, start: usize, hashes: usize) -> Option<&'a str> {
        let end = format!("\"{}", "#".repeat(hashes));
        let opening = hashes + 1;
        let length = self.rest()[opening..].find(&end).map_or(self.rest().len(), |n| opening + n + end.len());
        let stop = self.at + length;
        while self.at < stop {
            self.step();
        }
        Some(&self.source[start..self.at])
    }

    /// Skips a character such as `'x'`, `'\n'` or `'\u{1f}'`, or a lifetime such as `'a`.
    fn skip_quoted_or_lifetime(&mut self) -> Option<&'a str> {
        self.step();
        let first = self.step()?;
        if first == '\\' {
            self.step();
            while self.step().is_some_and(|c| c != '\'') {}
        } else if self.peek() == Some('\'') {
            self.step();
        } else {
            while self.peek().is_some_and(is_word_char) {
                self.step();
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        tokens(source).iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_characters_give_no_tokens() {
        let source = "a // crate::x\n/* crate::y /* nested */ crate::z */ b '\"' '\\'' '\\u{7f}' c<'life>";
        assert_eq!(texts(source), ["a", "b", "c", "<", ">"]);
    }

    #[test]
    fn a_string_is_one_token() {
        let source = r####"f("use crate::x; \" //", r#"raw " crate::y"#, b"\\", r"\") g"####;
        let expected =
            ["f", "(", r#""use crate::x; \" //""#, ",", r##"r#"raw " crate::y"#"##, ",", r#"b"\\""#, ","];
        assert_eq!(texts(source)[..8], expected);
        assert_eq!(texts(source)[8..], [r#"r"\""#, ")", "g"]);
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let found = tokens("a\n\"two\nlines\" /* one\nmore */ b\nr#type::c");
        let lines: Vec<(&str, usize)> = found.iter().map(|token| (token.text, token.line)).collect();
        assert_eq!(lines, [("a", 1), ("\"two\nlines\"", 2), ("b", 4), ("type", 5), ("::", 5), ("c", 5)]);
    }
}
