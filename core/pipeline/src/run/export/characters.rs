//! What the normalisation of BERT makes of single characters.
//!
//! It cleans a text, puts spaces around Chinese characters, decomposes (NFD), drops nonspacing marks, and
//! converts to lower case, each character for itself; then words are split at white space and around
//! punctuation. The result is a text with spaces between words.

use super::wordpiece::Normaliser;
use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::char::decompose_canonical;

/// What is done with all characters of the classes, and with each of `others`.
#[derive(Debug, Default)]
pub struct CharacterClasses {
    /// Dropped.
    pub dropped: Vec<char>,
    /// Replaced by a space.
    pub spaces: Vec<char>,
    /// Kept, as a word of their own.
    pub isolated: Vec<char>,
    /// Replaced by this text.
    pub others: Vec<(char, String)>,
}

impl CharacterClasses {
    /// Classifies every character.
    pub fn of(normaliser: Normaliser) -> Self {
        let mut classes = Self::default();
        for character in '\u{0}'..=char::MAX {
            let made = made_of(character, normaliser);
            match made.trim() {
                "" if made.is_empty() => classes.dropped.push(character),
                "" => classes.spaces.push(character),
                own if own.chars().eq([character]) => {
                    if own.len() < made.len() {
                        classes.isolated.push(character);
                    }
                }
                _ => classes.others.push((character, made)),
            }
        }
        classes
    }
}

/// Returns what a character becomes.
pub fn made_of(character: char, normaliser: Normaliser) -> String {
    if character == '\0' || character == '\u{fffd}' || is_control(character) {
        return String::new();
    }
    if character.is_whitespace() {
        return " ".to_owned();
    }
    let mut decomposed = String::new();
    if normaliser.strip_accents {
        decompose_canonical(character, |part| {
            if !part.is_mark_nonspacing() {
                decomposed.push(part);
            }
        });
    } else {
        decomposed.push(character);
    }
    let lower: String = match normaliser.lowercase {
        true => decomposed.chars().flat_map(char::to_lowercase).collect(),
        false => decomposed,
    };
    let mut words = String::new();
    for part in lower.chars() {
        if part.is_whitespace() {
            words.push(' ');
        } else if part.is_ascii_punctuation() || part.is_punctuation() {
            words.extend([' ', part, ' ']);
        } else {
            words.push(part);
        }
    }
    if normaliser.chinese_chars && is_chinese(character) { format!(" {words} ") } else { words }
}

fn is_control(character: char) -> bool {
    !matches!(character, '\t' | '\n' | '\r') && character.is_other()
}

/// The blocks that BERT calls Chinese characters.
fn is_chinese(character: char) -> bool {
    matches!(
        u32::from(character),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}
