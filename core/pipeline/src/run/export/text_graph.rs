//! The preparation of texts as a graph, by operators of onnxruntime-extensions (domain `ai.onnx.contrib`).
//!
//! ```text
//! text str[1] -> special tokens marked -> cleaned -> normalised -> unknown words marked -> pieces numbered
//! ```
//!
//! `BertTokenizer` only cuts words into pieces here. Its own normalisation differs from that of Hugging
//! Face's tokenizers outside of Latin letters, and of a word that is unknown in part it keeps the other part.
//! So a table of single characters normalises, and a word with a character that is no piece of its own is
//! replaced by the unknown token before. Special tokens, and pieces that no text can have, are written as
//! private characters, which the cleaning drops from texts.

use super::{characters::CharacterClasses, wordpiece::WordPieces};
use chiasm_graph::{Attr, Builder, DType, Dim, Graph, Value};
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
};

/// The domain of the operators, and its version.
const DOMAIN: (&str, i64) = ("ai.onnx.contrib", 1);
/// The input.
pub const TEXT: &str = "given/text";
/// The outputs: `i64[1, tokens]` each.
pub const IDS: &str = "made/ids";
pub const TYPES: &str = "made/types";
pub const MASK: &str = "made/mask";

/// The private characters that stand for tokens, and the one that marks an unknown word.
const MARKS: [u32; 2] = [0xe000, 0xf8fe];
const UNKNOWN: char = '\u{f8ff}';

/// How texts are prepared besides the file.
pub struct TextSettings<'a> {
    /// The text before every text.
    pub prefix: &'a str,
    /// The most tokens of a text, with the special ones.
    pub most: Option<usize>,
}

/// Returns the graph that prepares a text, or why there is none.
pub fn text_graph(words: &WordPieces, settings: &TextSettings<'_>) -> Result<Graph, String> {
    let classes = CharacterClasses::of(words.normaliser);
    let vocabulary = Vocabulary::of(words, &classes)?;
    let text = |error: chiasm_graph::Error| error.to_string();
    let mut b = Builder::new("text");
    let given = b.input(TEXT, DType::Str, &[1.into()]).map_err(text)?;
    let mut made = given;
    if !settings.prefix.is_empty() {
        let prefix = constant(&mut b, settings.prefix);
        let prefix = b.reshape(&prefix, &[1]);
        made = contrib(&mut b, "StringConcat", &[&prefix, &made], &[]);
    }
    made = replaced(&mut b, &made, &format!("[{}]", ranges(MARKS[0]..=u32::from(UNKNOWN))), "");
    for (token, mark) in &vocabulary.special {
        made = replaced(&mut b, &made, &escaped(token), &format!(" {mark} "));
    }
    let dropped = classes.dropped.iter().filter(|one| !(MARKS[0]..=MARKS[1]).contains(&u32::from(**one)));
    made = replaced(&mut b, &made, &class("", dropped.copied()), "");
    made = replaced(&mut b, &made, &class("", classes.spaces.iter().copied()), " ");
    made = replaced(&mut b, &made, &format!("({})", class("", classes.isolated.iter().copied())), " \\1 ");
    made = mapped(&mut b, &made, &classes.others);
    made = replaced(&mut b, &made, &class("^ ", vocabulary.known.iter().copied()), &UNKNOWN.to_string());
    let unknown = format!("[^ ]*{UNKNOWN}[^ ]*");
    made = replaced(&mut b, &made, &unknown, &vocabulary.written(&words.unknown)?.to_string());
    made = replaced(&mut b, &made, " +", " ");
    made = replaced(&mut b, &made, "^ | $", "");
    let attributes = vocabulary.attributes(words, settings.most)?;
    let attributes: Vec<(&str, Attr)> =
        attributes.iter().map(|(name, value)| (*name, value.clone())).collect();
    let [ids, types, mask, _] = b.op_many_of(DOMAIN, "BertTokenizer", &[&made], &attributes);
    for (name, value) in [(IDS, ids), (TYPES, types), (MASK, mask)] {
        let value = b.unsqueeze(&value, &[0]);
        b.output(name, &value, DType::I64, &[1.into(), Dim::named("tokens")]);
    }
    b.finish().map_err(text)
}

/// The vocabulary as `BertTokenizer` takes it.
struct Vocabulary {
    /// One piece in each line, or the private character that stands for it.
    lines: Vec<String>,
    /// The special tokens, longest first, and the characters that stand for them.
    special: Vec<(String, char)>,
    /// The characters of which words are made, and the marks of special tokens.
    known: BTreeSet<char>,
}

impl Vocabulary {
    fn of(words: &WordPieces, classes: &CharacterClasses) -> Result<Self, String> {
        let isolated: BTreeSet<char> = classes.isolated.iter().copied().collect();
        let never: BTreeSet<char> = (classes.dropped.iter().chain(&classes.spaces).copied())
            .chain(classes.others.iter().map(|(one, _)| *one))
            .collect();
        // A piece can be in a text if normalising it changes nothing.
        let can_be = |own: &str| {
            let mut characters = own.chars();
            let alone = own.chars().count() == 1;
            characters.all(|one| !never.contains(&one) && (alone || !isolated.contains(&one)))
        };
        let (mut lines, mut marks, mut taken) = (Vec::new(), HashMap::new(), MARKS[0]..=MARKS[1]);
        let (mut starts, mut inner, mut first, mut later) = Default::default();
        for piece in &words.pieces {
            let (own, continues) = match piece.strip_prefix(&words.prefix).filter(|own| !own.is_empty()) {
                Some(own) if !words.prefix.is_empty() => (own, true),
                _ => (piece.as_str(), false),
            };
            if words.special.contains(piece) || !can_be(own) || own.is_empty() {
                let mark = taken.next().and_then(char::from_u32).ok_or_else(|| {
                    "tokenizer.json has more than 6,000 tokens that no text is cut into".to_owned()
                })?;
                lines.push(mark.to_string());
                marks.insert(piece.clone(), mark);
                continue;
            }
            sort(own, continues, [&mut starts, &mut inner, &mut first, &mut later]);
            lines.push(piece.clone());
        }
        let known = known([starts, inner, first, later], &isolated)?;
        let mut special: Vec<(String, char)> =
            words.special.iter().filter_map(|token| Some((token.clone(), *marks.get(token)?))).collect();
        special.sort_by_key(|(token, _)| std::cmp::Reverse(token.len()));
        let known = known.into_iter().chain(special.iter().map(|(_, mark)| *mark)).collect();
        Ok(Self { lines, special, known })
    }

    /// Returns the character that stands for a special token.
    fn written(&self, token: &str) -> Result<char, String> {
        let found = self.special.iter().find(|(own, _)| own == token).map(|(_, mark)| *mark);
        found.ok_or_else(|| format!("tokenizer.json does not have {token:?} among its `added_tokens`"))
    }

    fn attributes(
        &self,
        words: &WordPieces,
        most: Option<usize>,
    ) -> Result<Vec<(&'static str, Attr)>, String> {
        let mark = |token: &str| self.written(token).map(|mark| Attr::Text(mark.to_string()));
        let mut attributes = vec![
            ("vocab_file", Attr::Text(self.lines.join("\n") + "\n")),
            ("do_basic_tokenize", Attr::Int(0)),
            ("do_lower_case", Attr::Int(0)),
            ("strip_accents", Attr::Int(0)),
            ("tokenize_chinese_chars", Attr::Int(0)),
            ("suffix_indicator", Attr::Text(words.prefix.clone())),
            ("unk_token", mark(&words.unknown)?),
            ("cls_token", mark(&words.first)?),
            ("sep_token", mark(&words.last)?),
            // One text is neither padded nor masked, but the operator looks these tokens up.
            ("pad_token", mark(&words.unknown)?),
            ("mask_token", mark(&words.unknown)?),
            ("truncation_strategy_name", "longest_first".into()),
        ];
        let most = most.map(|most| i64::try_from(most).unwrap_or(i64::MAX));
        attributes.extend(most.map(|most| ("max_length", Attr::Int(most))));
        Ok(attributes)
    }
}

/// Sorts the characters of a piece: those that are a whole piece at the start of a word or later, and those
/// that occur in a piece at either place.
fn sort(own: &str, continues: bool, [starts, inner, first, later]: [&mut BTreeSet<char>; 4]) {
    let mut characters = own.chars();
    let Some(head) = characters.next() else { return };
    if own.chars().count() == 1 {
        if continues {
            later.insert(head)
        } else {
            first.insert(head)
        };
    }
    if continues {
        inner.insert(head)
    } else {
        starts.insert(head)
    };
    inner.extend(characters);
}

/// Returns the characters that are pieces of their own. A word of them has pieces wherever it is cut, and a
/// word with another has none, if every piece is made of them.
fn known(
    [starts, inner, first, later]: [BTreeSet<char>; 4],
    isolated: &BTreeSet<char>,
) -> Result<BTreeSet<char>, String> {
    let missing = starts.difference(&first).chain(inner.difference(&later)).next();
    let one_place = first.symmetric_difference(&later).find(|one| !isolated.contains(one));
    match missing.or(one_place) {
        Some(one) => Err(format!(
            "`model.vocab` of tokenizer.json does not have {one:?} as a piece of its own, both at the start \
             of a word and later; the operator BertTokenizer needs it to find unknown words"
        )),
        None => Ok(first),
    }
}

fn constant(b: &mut Builder, text: &str) -> Value {
    b.op("Constant", &[], &[("value_string", text.into())])
}

fn contrib(b: &mut Builder, operator: &str, inputs: &[&Value], attributes: &[(&str, Attr)]) -> Value {
    let [made] = b.op_many_of(DOMAIN, operator, inputs, attributes);
    made
}

/// Replaces what a regular expression of RE2 finds.
fn replaced(b: &mut Builder, text: &Value, pattern: &str, with: &str) -> Value {
    let (pattern, with) = (constant(b, pattern), constant(b, with));
    contrib(b, "StringRegexReplace", &[text, &pattern, &with], &[])
}

/// Replaces single characters by texts.
fn mapped(b: &mut Builder, text: &Value, table: &[(char, String)]) -> Value {
    let (each, none) = (constant(b, "((?s:.))"), constant(b, ""));
    let [characters, _, _, _] =
        b.op_many_of(DOMAIN, "StringRegexSplitWithOffsets", &[text, &each, &each], &[]);
    let lines = table.iter().map(|(from, to)| format!("{from}\t{to}\n")).collect::<String>();
    let characters = contrib(b, "StringMapping", &[&characters], &[("map", Attr::Text(lines))]);
    let axis = b.ints("axis", &[0]);
    let joined = contrib(b, "StringJoin", &[&characters, &none, &axis], &[]);
    b.reshape(&joined, &[1])
}

/// Returns a class of a regular expression; `start` stands before the characters.
fn class(start: &str, characters: impl Iterator<Item = char>) -> String {
    let mut text = format!("[{start}");
    let mut range: Option<[u32; 2]> = None;
    for one in characters.map(u32::from) {
        match &mut range {
            Some([_, last]) if *last + 1 == one => *last = one,
            _ => {
                range.iter().for_each(|[first, last]| text.push_str(&ranges(*first..=*last)));
                range = Some([one, one]);
            }
        }
    }
    range.iter().for_each(|[first, last]| text.push_str(&ranges(*first..=*last)));
    text.push(']');
    text
}

fn ranges(range: std::ops::RangeInclusive<u32>) -> String {
    format!("\\x{{{:x}}}-\\x{{{:x}}}", range.start(), range.end())
}

/// Returns a regular expression that finds a text.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut pattern, one| {
        let _ = write!(pattern, "\\x{{{:x}}}", u32::from(one));
        pattern
    })
}
