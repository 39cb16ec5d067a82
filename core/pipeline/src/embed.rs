//! Embedding a modality: every raw item through its encoders once, shard by shard, each shard kept in the cache.

use crate::{
    Error, Workbench,
    cache::Key,
    encoder::{EncoderPlan, Raw},
    plan::ModalityPlan,
    recipe::Select,
    reporter::Steps,
};
use chiasm_runtime::{EmbedOptions, ItemInput, OnBad, Session, embed_all};
use ndarray::{Array2, Axis, Slice, concatenate};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Items of one shard: what a killed run loses at most.
const SHARD: usize = 2048;

/// The pooled vectors of a modality, one row a pair.
#[derive(Debug, Clone)]
pub struct Embeddings {
    /// `[rows, width]`; the rows of bad items are zero and must not be used.
    pub pooled: Array2<f32>,
    /// Rows with an item that could not be read, and why.
    pub bad: BTreeMap<usize, String>,
}

/// Pooled vectors of every row of a modality, encoders side by side.
///
/// # Errors
/// When an item cannot be read and is not to be skipped, the engine refuses, or an embedding is not finite.
pub fn modality(plan: &ModalityPlan, bench: &Workbench, skip_bad: bool) -> Result<Embeddings, Error> {
    let flat: Vec<&Raw> = plan.items.iter().flatten().collect();
    let mut parts = Vec::new();
    let mut bad_items: BTreeMap<usize, String> = BTreeMap::new();
    for encoder in &plan.encoders {
        let (part, bad) = encode(encoder, &plan.name, &flat, bench, skip_bad)?;
        parts.push(part);
        bad_items.extend(bad);
    }
    let views: Vec<_> = parts.iter().map(Array2::view).collect();
    let all = concatenate(Axis(1), &views)
        .map_err(|e| Error::Internal(format!("encoders of {:?} disagree in rows: {e}", plan.name)))?;
    Ok(rows_of(plan, all, &bad_items))
}

/// Items to rows: the first item, or the mean of all.
fn rows_of(plan: &ModalityPlan, items: Array2<f32>, bad_items: &BTreeMap<usize, String>) -> Embeddings {
    let single = plan.select == Select::First || plan.items.iter().all(|row| row.len() == 1);
    let mut bad = BTreeMap::new();
    let mut start = 0;
    let mut pooled = Array2::zeros((if single { 0 } else { plan.items.len() }, items.ncols()));
    for (row, raw) in plan.items.iter().enumerate() {
        let range = start..start + raw.len();
        start = range.end;
        if let Some((_, reason)) = bad_items.range(range.clone()).next() {
            bad.insert(row, reason.clone());
        }
        if !single {
            let mean = items.slice_axis(Axis(0), Slice::from(range)).mean_axis(Axis(0));
            mean.into_iter().for_each(|mean| pooled.row_mut(row).assign(&mean));
        }
    }
    Embeddings { pooled: if single { items } else { pooled }, bad }
}

type Bad = BTreeMap<usize, String>;

fn encode(
    encoder: &EncoderPlan,
    modality: &str,
    items: &[&Raw],
    bench: &Workbench,
    skip_bad: bool,
) -> Result<(Array2<f32>, Bad), Error> {
    let engine = bench.engine_identity()?;
    let mut key = encoder.key.clone();
    key.add(engine).add(bench.device.as_str());
    let shards: Vec<&[&Raw]> = items.chunks(SHARD).collect();
    let keys: Vec<String> = shards.iter().map(|shard| shard_key(&key, shard)).collect();
    let steps = Steps::begin(&*bench.reporter, &format!("embed {modality} ({})", encoder.name), items.len());
    let mut session = None;
    let mut all = Array2::zeros((items.len(), encoder.pooled_dim));
    let mut bad = Bad::new();
    for (index, (shard, key)) in shards.iter().zip(&keys).enumerate() {
        let start = index * SHARD;
        let mut target = all.slice_axis_mut(Axis(0), Slice::from(start..start + shard.len()));
        if let Some(kept) = bench.cache.load(key, shard.len()).filter(|k| k.ncols() == encoder.pooled_dim) {
            target.assign(&kept);
            steps.add(shard.len());
            continue;
        }
        let session = match &mut session {
            Some(session) => session,
            none => none.insert(open(encoder, bench)?),
        };
        let (values, shard_bad) = run(encoder, session, shard, bench, skip_bad, &steps)?;
        check_finite(encoder, shard, &values)?;
        if shard_bad.is_empty() {
            bench.cache.store(key, &values)?; // a shard with a bad item is tried again next time
        }
        target.assign(&values);
        bad.extend(shard_bad.into_iter().map(|(item, reason)| (start + item, reason)));
    }
    Ok((all, bad))
}

fn open(encoder: &EncoderPlan, bench: &Workbench) -> Result<Session, Error> {
    let pooled = encoder
        .graph
        .extract(&["pooled"])
        .map_err(Error::graph(format!("the pooled output of {:?}", encoder.name)))?;
    bench.session_for_batches(&pooled)
}

fn run(
    encoder: &EncoderPlan,
    session: &Session,
    shard: &[&Raw],
    bench: &Workbench,
    skip_bad: bool,
    steps: &Steps<'_>,
) -> Result<(Array2<f32>, Bad), Error> {
    let inputs: Vec<ItemInput> = (encoder.inputs.iter())
        .filter(|i| session.inputs().iter().any(|port| port.name == i.name))
        .map(|i| ItemInput { name: i.name.clone(), dtype: i.dtype, dims: i.dims.clone(), pad: i.pad })
        .collect();
    let wanted: Vec<bool> =
        encoder.inputs.iter().map(|i| inputs.iter().any(|kept| kept.name == i.name)).collect();
    let prepare = |item: usize| {
        encoder.prepare(shard[item]).map(|tensors| {
            tensors.into_iter().zip(&wanted).filter_map(|(t, &keep)| keep.then_some(t)).collect::<Vec<_>>()
        })
    };
    let mut bad = Bad::new();
    let mut before = 0;
    let options = EmbedOptions { threads: bench.threads, limits: None };
    let mut on_bad = |item: usize, reason: &str| {
        bad.insert(item, format!("{}: {reason}", shard[item].shown()));
        if skip_bad { OnBad::Skip } else { OnBad::Abort }
    };
    let mut on_progress = |done: usize, _: usize| {
        steps.add(done - before);
        before = done;
        true
    };
    let embedded = embed_all(
        session,
        shard.len(),
        &inputs,
        &["pooled"],
        &options,
        prepare,
        &mut on_bad,
        &mut on_progress,
    );
    let embedded = match embedded {
        Err(chiasm_runtime::Error::Item { index, reason }) => return Err(unreadable(shard[index], &reason)),
        other => other?,
    };
    let mut values = Array2::zeros((shard.len(), encoder.pooled_dim));
    let pooled = embedded.outputs.first().and_then(|(_, t)| t.as_f32()).unwrap_or_default();
    for (row, values_of) in embedded.items.iter().zip(pooled.chunks(encoder.pooled_dim.max(1))) {
        values.row_mut(*row).iter_mut().zip(values_of).for_each(|(to, from)| *to = *from);
    }
    Ok((values, bad))
}

fn unreadable(item: &Raw, reason: &str) -> Error {
    Error::input(
        "chiasm::data::unreadable_item",
        format!("cannot read {}: {reason}", item.shown()),
        "mend or remove it, or leave such rows out with --skip-bad",
    )
}

fn check_finite(encoder: &EncoderPlan, shard: &[&Raw], values: &Array2<f32>) -> Result<(), Error> {
    let broken = values.outer_iter().position(|row| row.iter().any(|v| !v.is_finite()));
    match broken {
        None => Ok(()),
        Some(row) => Err(Error::input(
            "chiasm::data::not_finite",
            format!("{:?} gives NaN or infinity for {}", encoder.name, shard[row].shown()),
            "look at that input, and at the model's preprocessing; nothing was kept",
        )),
    }
}

/// The key of a shard: the encoder's, and the content of every item.
fn shard_key(encoder: &Key, shard: &[&Raw]) -> String {
    let contents: Vec<String> = shard.par_iter().map(|raw| content(raw)).collect();
    let mut key = encoder.clone();
    contents.iter().for_each(|content| {
        key.add(content);
    });
    key.finish()
}

/// What an item is, by content: a file's hash, a text, a row's number.
pub fn content(raw: &Raw) -> String {
    match raw {
        Raw::Path(path) => {
            crate::card::sha256_of(path).unwrap_or_else(|e| format!("unreadable {}: {e}", path.display()))
        }
        Raw::Text(text) => format!("text {text}"),
        Raw::Row(row) => format!("row {row}"),
    }
}
