//! The functions of a Rust file: where each starts, how long it is and how many parameters it has.

use crate::tokens::{Token, tokens};

/// A function as written in the source.
#[derive(Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// Its name.
    pub name: &'a str,
    /// The line of the `fn` keyword, counted from one.
    pub line: usize,
    /// The number of lines from the `fn` keyword to the closing brace. Zero for a declaration without a body.
    pub lines: usize,
    /// Whether it is declared `pub`, or in a trait that is. `pub(crate)` and the like are not public.
    pub public: bool,
    /// The number of parameters, without `self`.
    pub parameters: usize,
}

/// Returns every function of `source` that has a name, nested ones and those in macros included.
pub fn functions(source: &str) -> Vec<Function<'_>> {
    let tokens = tokens(source);
    let mut traits = Vec::new();
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        match tokens[at].text {
            "trait" if is_public(&tokens[..at]) => {
                let end = body(&tokens, at).map_or(at, |(_, end)| end);
                traits.push(at..end);
            }
            "fn" => {
                let public = is_public(&tokens[..at]) || declared_in(&traits, &tokens, at);
                found.extend(function(&tokens, at, public));
            }
            _ => {}
        }
    }
    found
}

/// Whether the function at `at` is an item of one of these traits, and not nested in one of their functions.
fn declared_in(traits: &[std::ops::Range<usize>], tokens: &[Token<'_>], at: usize) -> bool {
    let depth = |range: &std::ops::Range<usize>| {
        tokens[range.start..at].iter().fold(0_isize, |depth, token| match token.text {
            "{" => depth + 1,
            "}" => depth - 1,
            _ => depth,
        })
    };
    traits.iter().any(|range| range.contains(&at) && depth(range) == 1)
}

/// Whether the tokens before an item's keyword end with an unrestricted `pub` and qualifiers.
fn is_public(before: &[Token<'_>]) -> bool {
    let qualifier = |text: &str| {
        matches!(text, "const" | "async" | "unsafe" | "extern" | "safe" | "auto") || text.starts_with('"')
    };
    before.iter().rev().find(|token| !qualifier(token.text)).is_some_and(|token| token.text == "pub")
}

/// Reads the function whose `fn` keyword is at `at`. Returns none for a type such as `fn(u8) -> u8`.
fn function<'a>(tokens: &[Token<'a>], at: usize, public: bool) -> Option<Function<'a>> {
    // In a macro the name can be `$name`.
    let name_at = at + 1 + usize::from(tokens.get(at + 1)?.text == "$");
    let name = tokens.get(name_at).filter(|token| token.is_word())?;
    let open = (name_at + 1..tokens.len())
        .scan(0_isize, |depth, index| {
            *depth += angle(tokens, index);
            Some((*depth, index))
        })
        .find(|(depth, index)| *depth == 0 && tokens[*index].text == "(")?
        .1;
    let line = tokens[at].line;
    let lines = body(tokens, open).map_or(0, |(_, end)| tokens[end].line + 1 - line);
    Some(Function { name: name.text, line, lines, public, parameters: parameters(&tokens[open..]) })
}

/// The braces of the item that starts at `at`: the indices of both. None if a semicolon ends it first.
fn body(tokens: &[Token<'_>], at: usize) -> Option<(usize, usize)> {
    let mut depth = 0_usize;
    let mut start = None;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.text {
            ";" if depth == 0 => return None,
            "{" if depth == 0 => {
                start = Some(index);
                depth = 1;
            }
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.checked_sub(1)?;
                if let (0, "}", Some(start)) = (depth, token.text, start) {
                    return Some((start, index));
                }
            }
            _ => {}
        }
    }
    None
}

/// Counts the parameters of the list whose `(` is the first token, without `self`.
fn parameters(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0_isize;
    let mut lists: Vec<Vec<&str>> = vec![Vec::new()];
    for (index, token) in tokens.iter().enumerate() {
        let change = match token.text {
            "(" | "[" | "{" => 1,
            ")" | "]" | "}" => -1,
            _ => angle(tokens, index),
        };
        depth += change;
        match token.text {
            _ if depth == 0 => break,
            "," if depth == 1 => lists.push(Vec::new()),
            text if index > 0 => lists.last_mut().into_iter().for_each(|list| list.push(text)),
            _ => {}
        }
    }
    let is_self = |list: &[&str]| list.iter().find(|text| !matches!(**text, "&" | "mut")) == Some(&"self");
    lists.iter().filter(|list| !list.is_empty() && !is_self(list)).count()
}

/// 1 for `<`, -1 for `>`, zero for other tokens and for the `>` of `->`.
fn angle(tokens: &[Token<'_>], index: usize) -> isize {
    match tokens[index].text {
        "<" => 1,
        ">" if index == 0 || tokens[index - 1].text != "-" => -1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(source: &str) -> Vec<(&str, usize)> {
        functions(source).iter().map(|function| (function.name, function.parameters)).collect()
    }

    fn public(source: &str) -> Vec<&str> {
        functions(source).iter().filter(|function| function.public).map(|function| function.name).collect()
    }

    #[test]
    fn parameters_are_counted_without_self_and_with_their_own_commas() {
        let source = "fn a() {} fn b(&mut self, x: u8,) {} fn c(self: Box<Self>) {}
            fn d<F: Fn(A, B) -> C, const N: usize>(f: F, (x, y): (u8, u8), z: HashMap<K, V>) -> D {}
            fn e<'a>(&'a self, f: &dyn Fn(u8, u8) -> Vec<u8>, #[cfg(a, b)] g: [u8; 3]) {}
            macro_rules! m { () => { fn $name(x: u8) {} } } type T = fn(u8, u8) -> u8;";
        assert_eq!(counts(source), [("a", 0), ("b", 1), ("c", 0), ("d", 3), ("e", 2), ("name", 1)]);
    }

    #[test]
    fn a_function_runs_from_its_keyword_to_its_closing_brace() {
        let source = "#[inline]\npub fn a(\n  x: [u8; 2],\n) -> [u8; 2]\nwhere\n  A: B,\n{\n  \"}\";\n  \
                      fn b() {}\n}\nfn c();\n";
        let found: Vec<_> = functions(source).iter().map(|f| (f.name, f.line, f.lines)).collect();
        assert_eq!(found, [("a", 2, 9), ("b", 9, 1), ("c", 11, 0)]);
    }

    #[test]
    fn public_means_an_unrestricted_pub_or_a_public_trait() {
        let source = "pub fn a() {} fn b() {} pub(crate) fn c() {} pub const unsafe extern \"C\" fn d() {}
            pub trait E { fn f(&self); fn g() { fn h() {} } } trait I { fn j(&self); } fn k() {}";
        assert_eq!(public(source), ["a", "d", "f", "g"]);
    }
}
