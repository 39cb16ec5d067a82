//! Trying an encoder on a few items of the data, so that what is wrong with its graph, its card or its
//! tokenizer is known before anything is embedded.
//!
//! An encoder is run on two items at once, the first and the largest of those that were examined, and a text
//! encoder also on a text that fills its largest length.

use super::{encoder::Encoder, engine_words::explained, raw::RawItem};
use crate::base::{environment::Environment, error::Error, problem::Problem};
use chiasm_graph::{Graph, Tensor};
use chiasm_host::Takes;
use chiasm_runtime::{BadItemPolicy, BatchLimits, EmbedOptions, EmbedRequest, ItemInput, Session, embed_all};
use rayon::prelude::*;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// The most items that are examined, and the most bytes of texts.
const EXAMINED: usize = 10_000;
const EXAMINED_BYTES: usize = 8 << 20;
/// The size of the text that fills a largest length.
const LONG_TEXT: usize = 8 << 10;

/// What was learned about an encoder.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Trial {
    /// The number of items that were prepared.
    pub examined: usize,
    /// The number of them that did not fit, such as texts beyond the largest length.
    pub truncated: usize,
    /// How much of them did not fit, such as the number of tokens.
    pub left_out: u64,
}

impl Trial {
    /// Describes the items that did not fit; `None` if all did.
    pub fn told(&self, encoder: &str) -> Option<String> {
        let (examined, truncated) = (self.examined, self.truncated);
        (truncated > 0).then(|| {
            format!(
                "{truncated} of {examined} texts are longer than the max_length of {encoder:?}: {} tokens at \
                 their ends are not read",
                self.left_out
            )
        })
    }
}

/// Runs an encoder on a few of these items. `tokens` says whether its tokens will be read.
///
/// # Errors
/// If the engine refuses the graph or fails on it, or a vector is not finite.
pub fn trial(
    encoder: &Encoder,
    items: &[RawItem],
    tokens: bool,
    env: &Environment,
) -> Result<Trial, Problem> {
    // A study checks the same encoders again and again.
    static DONE: Mutex<BTreeMap<String, Trial>> = Mutex::new(BTreeMap::new());
    let mut key = encoder.key();
    key.add(format!("{} {tokens} {}", env.device.as_str(), items.len()));
    [items.first(), items.last()].into_iter().flatten().for_each(|item| {
        key.add(item.describe());
    });
    let key = key.finish();
    let done = || DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(trial) = done().get(&key) {
        return Ok(trial.clone());
    }
    let trial = first_trial(encoder, items, tokens, env)?;
    done().insert(key, trial.clone());
    Ok(trial)
}

fn first_trial(
    encoder: &Encoder,
    items: &[RawItem],
    tokens: bool,
    env: &Environment,
) -> Result<Trial, Problem> {
    let (trial, largest) = examined(encoder, items);
    // Unreadable items are reported, or skipped, when all are embedded.
    let Some(largest) = largest else { return Ok(trial) };
    let outputs: &[&str] = if tokens { &["pooled", "tokens", "mask"] } else { &["pooled"] };
    let graph = encoder.graph.extract(outputs).map_err(|error| failed(encoder, &error.to_string()))?;
    let session = session(encoder, &graph, env)?;
    let first = items.iter().find(|item| encoder.prepare(item).is_ok());
    let first = first.unwrap_or(largest);
    // Two different texts would not share a batch of a model without a mask, and have other lengths.
    let twice = run(encoder, &session, &[largest, largest], outputs);
    if let Err(reason) = twice.and_then(|()| run(encoder, &session, &[first, largest], &["pooled"])) {
        let alone = [first, largest].iter().all(|item| run(encoder, &session, &[*item], outputs).is_ok());
        return Err(match alone {
            true => failed(
                encoder,
                "it runs with one item, but not with two, although its batch axis is free",
            )
            .help("export the model again with a free batch axis, or set batch = 1 in [ports] of its card"),
            false => failed(encoder, &reason),
        });
    }
    if let (Takes::Text, RawItem::Text(text)) = (encoder.takes, largest) {
        let words = format!("{text} ");
        let long = RawItem::Text(words.repeat(LONG_TEXT.div_ceil(words.len())));
        if let Err(reason) = run(encoder, &session, &[&long], outputs) {
            let length = encoder.prepare(&long).ok().and_then(|made| made.first().map(Tensor::len));
            let what = format!("a text of {} tokens fails: {reason}", length.unwrap_or_default());
            return Err(failed(encoder, &what).help(
                "set max_length in [preprocessing] of its card to the longest text that the model takes",
            ));
        }
    }
    Ok(trial)
}

/// Prepares items, evenly chosen; returns what was learned and the largest of them.
fn examined<'a>(encoder: &Encoder, items: &'a [RawItem]) -> (Trial, Option<&'a RawItem>) {
    let bytes = |item: &RawItem| if let RawItem::Text(text) = item { text.len() } else { 0 };
    let all: usize = items.iter().map(bytes).sum();
    // Files take long to read: a few of them show what the model makes of them.
    let most = if encoder.takes == Takes::Text { EXAMINED } else { 2 };
    let every = items.len().div_ceil(most).max(all.div_ceil(EXAMINED_BYTES)).max(1);
    let chosen: Vec<&RawItem> = items.iter().step_by(every).collect();
    let prepared: Vec<Option<(usize, u64)>> = (chosen.par_iter())
        .map(|item| {
            let (tensors, left_out) = encoder.prepare_counted(item).ok()?;
            Some((tensors.iter().map(Tensor::len).max().unwrap_or(0), left_out))
        })
        .collect();
    let mut trial = Trial::default();
    let mut largest: Option<(usize, &RawItem)> = None;
    for (item, (size, left_out)) in
        chosen.into_iter().zip(prepared).filter_map(|(item, made)| Some((item, made?)))
    {
        trial.examined += 1;
        trial.truncated += usize::from(left_out > 0);
        trial.left_out += left_out;
        if largest.is_none_or(|(most, _)| size > most) {
            largest = Some((size, item));
        }
    }
    (trial, largest.map(|(_, item)| item))
}

fn session(encoder: &Encoder, graph: &Graph, env: &Environment) -> Result<Session, Problem> {
    env.session(graph).map_err(|error| {
        let reason = match &error {
            Error::Runtime(chiasm_runtime::Error::Model { reason, .. }) => explained(reason),
            other => other.to_string(),
        };
        failed(encoder, &reason)
    })
}

/// Embeds items in one batch, and checks that the vectors are finite.
fn run(encoder: &Encoder, session: &Session, items: &[&RawItem], outputs: &[&str]) -> Result<(), String> {
    let is_input = |name: &String| session.inputs().iter().any(|port| port.name == *name);
    let inputs: Vec<ItemInput> = (encoder.inputs.iter())
        .filter(|input| is_input(&input.name))
        .map(|i| ItemInput { name: i.name.clone(), dtype: i.dtype, dims: i.dims.clone(), pad: i.pad })
        .collect();
    let prepare = |at: usize| {
        let made = encoder.prepare(items[at]).map_err(|error| error.to_string())?;
        let kept = made.into_iter().zip(&encoder.inputs).filter(|(_, input)| is_input(&input.name));
        Ok::<_, String>(kept.map(|(tensor, _)| tensor).collect::<Vec<_>>())
    };
    let limits = BatchLimits { rows: items.len(), steps: usize::MAX, bytes: usize::MAX };
    let options = EmbedOptions { threads: 1, limits: Some(limits) };
    let request = EmbedRequest { items: items.len(), inputs: &inputs, outputs, options };
    let made = embed_all(session, &request, prepare, &mut |_, _| BadItemPolicy::Abort, &mut |_, _| true);
    let made = made.map_err(|error| match error {
        chiasm_runtime::Error::Run { reason, .. } => explained(&reason),
        other => other.to_string(),
    })?;
    let finite = |(name, tensor): &(String, Tensor)| {
        name != "pooled" || tensor.as_f32().is_some_and(|values| values.iter().all(|v| v.is_finite()))
    };
    match made.outputs.iter().all(finite) {
        true => Ok(()),
        false => Err(format!("it gives NaN or infinity for {}", items[0].describe())),
    }
}

fn failed(encoder: &Encoder, reason: &str) -> Problem {
    let card = encoder.card.as_ref().map(|found| found.card_path.display().to_string());
    Problem::new("chiasm::plan::trial", format!("the encoder {:?} cannot be used: {reason}", encoder.name))
        .help(format!(
            "check its card{} and how its model was exported",
            card.map_or_else(String::new, |at| format!(" {at}"))
        ))
}
