//! Corruption of texts: lost words, exchanged neighbours and synonyms. Words are separated by white space.

use chiasm_kit::corruption::Corruption;
use serde::Deserialize;

/// The kinds of corruption of a text. The strength is the probability for each word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TextCorruptionKind {
    /// A word is left out. If none would remain, one does.
    Dropout,
    /// A word changes places with the next one, from the start of the text. No word moves twice.
    Swap,
    /// A word is replaced by one of its synonyms, each with the same probability. The table is looked up in
    /// lower case and without punctuation; words that it does not list remain.
    Synonyms,
}

/// How texts are corrupted.
pub(crate) type TextCorruption = Corruption<TextCorruptionKind>;

/// Checks strength and table.
pub(crate) fn check(corruption: &TextCorruption) -> Result<(), String> {
    corruption.check(1.0)?;
    let replaces = corruption.kind == TextCorruptionKind::Synonyms;
    if let Some((word, _)) = corruption.synonyms.iter().find(|(_, others)| others.is_empty()) {
        return Err(format!("corruption: expected one synonym or more of {word:?}, got none"));
    }
    match corruption.synonyms.is_empty() {
        true if replaces => Err("corruption: kind \"synonyms\" needs a table of synonyms, got none".into()),
        false if !replaces => Err("corruption: only kind \"synonyms\" has a table of synonyms".into()),
        _ => Ok(()),
    }
}

/// Returns the corrupted text.
pub(crate) fn corrupted(text: &str, corruption: &TextCorruption) -> String {
    if corruption.strength == 0.0 {
        return text.to_owned();
    }
    let mut random = corruption.random(text.as_bytes());
    let words: Vec<&str> = text.split_whitespace().collect();
    let words: Vec<String> = match corruption.kind {
        TextCorruptionKind::Dropout => {
            let kept: Vec<&str> =
                words.iter().copied().filter(|_| !corruption.happens(&mut random)).collect();
            let last = words.get(random.below(words.len())).into_iter().copied();
            let kept = if kept.is_empty() { last.collect() } else { kept };
            kept.into_iter().map(str::to_owned).collect()
        }
        TextCorruptionKind::Swap => {
            let mut words = words;
            let mut at = 0;
            while at + 1 < words.len() {
                if corruption.happens(&mut random) {
                    words.swap(at, at + 1);
                    at += 1;
                }
                at += 1;
            }
            words.into_iter().map(str::to_owned).collect()
        }
        TextCorruptionKind::Synonyms => {
            let replaced = |word: &str| {
                let core = word.trim_matches(|c: char| !c.is_alphanumeric());
                let synonyms = corruption.synonyms.get(&core.to_lowercase());
                let Some(synonyms) = synonyms.filter(|_| corruption.happens(&mut random)) else {
                    return word.to_owned();
                };
                word.replacen(core, &synonyms[random.below(synonyms.len())], 1)
            };
            words.into_iter().map(replaced).collect()
        }
    };
    words.join(" ")
}

#[cfg(test)]
mod tests {

    use super::*;
    use chiasm_plugin::{Json, json};

    fn corruption(table: Json) -> TextCorruption {
        let corruption = serde_json::from_value(table).unwrap();
        check(&corruption).unwrap();
        corruption
    }

    fn long() -> String {
        (0..10_000).map(|word| format!("w{word}")).collect::<Vec<_>>().join(" ")
    }

    /// Tolerance: five standard errors, 5 sqrt(0.3 * 0.7 / 10,000) = 0.023.
    #[test]
    fn dropout_leaves_out_its_share_and_keeps_the_order() {
        let dropout = corruption(json!({ "kind": "dropout", "strength": 0.3, "seed": 5 }));
        let text = corrupted(&long(), &dropout);
        let kept: Vec<usize> = text.split(' ').map(|word| word[1..].parse().unwrap()).collect();
        assert!(kept.is_sorted(), "the order changed");
        assert!((kept.len() as f64 / 10_000.0 - 0.7).abs() < 0.023, "{}", kept.len());
        assert_eq!(text, corrupted(&long(), &dropout));
        let all = corruption(json!({ "kind": "dropout", "strength": 1.0 }));
        assert_eq!(corrupted("one two three", &all).split(' ').count(), 1);
        assert_eq!(corrupted(" ", &all), "");
    }

    /// A pair is tried after p moved words or 1 - p others, so a share 2 p / (1 + p) of the words moves: 2/3
    /// for p = 1/2. Tolerance: five standard errors of 6,667 pairs, 5 * 2 sqrt(0.25 / 6,667) * 2/3 = 0.04.
    #[test]
    fn swap_exchanges_neighbours_only() {
        let swap = corruption(json!({ "kind": "swap", "strength": 0.5, "seed": 5 }));
        let text = corrupted(&long(), &swap);
        let places: Vec<usize> = text.split(' ').map(|word| word[1..].parse().unwrap()).collect();
        assert!(places.iter().enumerate().all(|(at, word)| at.abs_diff(*word) <= 1));
        let moved = places.iter().enumerate().filter(|(at, word)| at != *word).count();
        assert!((moved as f64 / 10_000.0 - 2.0 / 3.0).abs() < 0.04, "{moved}");
        let always = corruption(json!({ "kind": "swap", "strength": 1 }));
        assert_eq!(corrupted("a b c d e", &always), "b a d c e");
    }

    #[test]
    fn synonyms_replace_listed_words_and_keep_punctuation() {
        let table = json!({ "circle": ["disc"], "red": ["crimson", "scarlet"] });
        let synonyms = corruption(json!({ "kind": "synonyms", "strength": 1, "synonyms": table }));
        let text = corrupted("A Red circle, red!", &synonyms);
        let expected = ["A crimson disc,", "A scarlet disc,"];
        assert!(expected.iter().any(|start| text.starts_with(start)) && text.ends_with('!'), "{text}");
        assert_eq!(corrupted("nothing listed", &synonyms), "nothing listed");
    }

    #[test]
    fn tables_and_kinds_that_do_not_fit_are_refused() {
        let refused = |table: Json| check(&serde_json::from_value(table).unwrap()).unwrap_err();
        assert!(refused(json!({ "kind": "synonyms", "strength": 0.5 })).contains("needs a table"));
        assert!(refused(json!({ "kind": "dropout", "strength": 1.5 })).contains("0 to 1"));
        let table = json!({ "kind": "swap", "strength": 0.5, "synonyms": { "a": ["b"] } });
        assert!(refused(table).contains("only kind"));
        let empty = json!({ "kind": "synonyms", "strength": 0.5, "synonyms": { "a": [] } });
        assert!(refused(empty).contains("\"a\""));
    }
}
