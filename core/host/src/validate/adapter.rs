//! The rules for adapters. An adapter that opens without a card is tested with items too.

use std::path::Path;

use serde_json::json;

use super::rule::{Rule, Subject, garbage, plain, refused_or_fine};
use crate::{AdapterInstance, EncoderSpec, Item, Result, Signature, Takes};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "describes itself", sentence: "it says which kind of item it takes", run: describes },
    Rule {
        name: "drafts or declines",
        sentence: "a model without ports and a missing folder give no draft or an error, without a panic",
        run: drafts,
    },
    Rule {
        name: "survives garbage cards",
        sentence: "preprocessing of any form is accepted or refused, without a panic",
        run: garbage_cards,
    },
    Rule {
        name: "survives unusual items",
        sentence: "an empty, a long, a missing and a foreign item are prepared or refused, without a panic",
        run: unusual_items,
    },
    Rule {
        name: "repeats",
        sentence: "an item gives the same tensors again, in four threads, and after others",
        run: repeats,
    },
];

fn describes(subject: &Subject<'_>) -> Result<(), String> {
    plain(plain(subject.host().adapter(subject.id))?.takes()).map(drop)
}

fn drafts(subject: &Subject<'_>) -> Result<(), String> {
    let adapter = plain(subject.host().adapter(subject.id))?;
    for folder in ["/", "/no/such/folder"] {
        refused_or_fine(
            &format!("the folder {folder}"),
            adapter.draft(&Signature::default(), Path::new(folder)),
        )?;
    }
    Ok(())
}

fn open(subject: &Subject<'_>, preprocessing: serde_json::Value) -> Result<AdapterInstance> {
    let spec = EncoderSpec { name: "validation".into(), preprocessing, ..EncoderSpec::default() };
    subject.host().adapter(subject.id)?.open(&spec, &subject.services())
}

fn garbage_cards(subject: &Subject<'_>) -> Result<(), String> {
    let mut cases = vec![json!({}), json!({ "no-such-key": 1 })];
    cases.extend(garbage());
    cases.into_iter().try_for_each(|set| refused_or_fine(&format!("preprocessing {set}"), open(subject, set)))
}

fn unusual_items(subject: &Subject<'_>) -> Result<(), String> {
    let Ok(adapter) = open(subject, json!({})) else { return Ok(()) };
    let long = "long ".repeat(20_000);
    for item in [
        Item::Text(""),
        Item::Text(&long),
        Item::Text("\u{0}\u{202e}\u{fffd}"),
        Item::Path(Path::new("/no/such/file")),
        Item::Path(Path::new("/")),
        Item::Row(0),
        Item::Row(usize::MAX),
    ] {
        refused_or_fine("an item", adapter.prepare(item))?;
    }
    Ok(())
}

fn repeats(subject: &Subject<'_>) -> Result<(), String> {
    let Ok(adapter) = open(subject, json!({})) else { return Ok(()) };
    let item = match plain(plain(subject.host().adapter(subject.id))?.takes())? {
        Takes::Text => Item::Text("an ordinary text"),
        Takes::Row => Item::Row(0),
        _ => return Ok(()), // no file that it could read is known
    };
    let Ok(first) = adapter.prepare(item) else { return Ok(()) };
    std::thread::scope(|scope| {
        let again = || (0..8).map(|_| plain(adapter.prepare(item))).collect::<Result<Vec<_>, String>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(again)).collect();
        for thread in threads {
            let all = thread.join().map_err(|_| "a thread of the test panicked".to_owned())??;
            if all.iter().any(|tensors| *tensors != first) {
                return Err("the same item gives other tensors".to_owned());
            }
        }
        Ok(())
    })
}
