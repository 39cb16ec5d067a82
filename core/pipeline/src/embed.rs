//! Embedding a modality: every raw item through its encoders once, shard by shard, each shard kept in the cache.
//!
//! An item that several rows share (a picture and its many questions) is embedded once.

mod shard;

use crate::{Error, Workbench, encoder::Raw, plan::ModalityPlan, recipe::Select};
use ndarray::{Array2, Array3, Axis, Slice, concatenate};
use shard::{Encoded, encode};
use std::collections::{BTreeMap, HashMap};

pub use shard::content;

/// The vectors of a modality, one row a pair.
#[derive(Debug, Clone)]
pub struct Embeddings {
    /// `[rows, width]`; the rows of bad items are zero and must not be used.
    pub pooled: Array2<f32>,
    /// The tokens, where they were asked for.
    pub tokens: Option<ItemTokens>,
    /// Rows with an item that could not be read, and why.
    pub bad: BTreeMap<usize, String>,
}

/// The tokens of a modality's items, and the item of every row.
#[derive(Debug, Clone)]
pub struct ItemTokens {
    items: Tokens,
    rows: Vec<usize>,
}

/// Sequences padded to the longest.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// `[n, T, width]`, zero where the mask is.
    pub values: Array3<f32>,
    /// `[n, T]` of 0 and 1.
    pub mask: Array2<f32>,
}

impl ItemTokens {
    /// Those of some rows.
    pub fn select(&self, rows: &[usize]) -> Tokens {
        let items: Vec<usize> = rows.iter().map(|row| self.rows[*row]).collect();
        Tokens {
            values: self.items.values.select(Axis(0), &items),
            mask: self.items.mask.select(Axis(0), &items),
        }
    }
}

impl Tokens {
    /// Shards one after the other, each as long as the longest.
    fn joined(shards: &[Tokens], width: usize) -> Self {
        let length = shards.iter().map(|shard| shard.mask.ncols()).max().unwrap_or_default();
        let count = shards.iter().map(|shard| shard.mask.nrows()).sum();
        let mut all =
            Self { values: Array3::zeros((count, length, width)), mask: Array2::zeros((count, length)) };
        let mut start = 0;
        for shard in shards {
            let (rows, steps) = shard.mask.dim();
            let place = Slice::from(start..start + rows);
            let (mut values, mut mask) =
                (all.values.slice_axis_mut(Axis(0), place), all.mask.slice_axis_mut(Axis(0), place));
            values.slice_axis_mut(Axis(1), Slice::from(..steps)).assign(&shard.values);
            mask.slice_axis_mut(Axis(1), Slice::from(..steps)).assign(&shard.mask);
            start += rows;
        }
        all
    }
}

/// The vectors of every row of a modality: pooled ones of its encoders side by side, and the tokens of its first encoder when `tokens` is set.
///
/// # Errors
/// When an item cannot be read and is not to be skipped, the engine refuses, or an embedding is not finite.
pub fn modality(
    plan: &ModalityPlan,
    tokens: bool,
    bench: &Workbench,
    skip_bad: bool,
) -> Result<Embeddings, Error> {
    let flat: Vec<&Raw> = plan.items.iter().flatten().collect();
    let (places, Encoded { pooled: all, tokens: found, bad: bad_items }) =
        encode_all(plan, &flat, tokens.then_some(plan.items.len()), bench, skip_bad)?;
    let (pooled, bad) = rows_of(plan, all, &places, &bad_items);
    let firsts = plan.items.iter().scan(0, |start, items| {
        let first = *start;
        *start += items.len();
        Some(first)
    });
    let rows = firsts.map(|first| places[first]).collect();
    let tokens = found.map(|items| ItemTokens { items, rows });
    Ok(Embeddings { pooled, tokens, bad })
}

/// The pooled vectors of some other items of a modality, row after row, and the rows with an item that could not be read.
///
/// # Errors
/// As [`modality`].
pub fn items(
    plan: &ModalityPlan,
    items: &[Vec<Raw>],
    bench: &Workbench,
    skip_bad: bool,
) -> Result<(Array2<f32>, BTreeMap<usize, String>), Error> {
    let flat: Vec<&Raw> = items.iter().flatten().collect();
    let (places, encoded) = encode_all(plan, &flat, None, bench, skip_bad)?;
    let owners = items.iter().enumerate().flat_map(|(row, items)| items.iter().map(move |_| row));
    let bad = owners.zip(&places).filter_map(|(row, place)| Some((row, encoded.bad.get(place)?.clone())));
    Ok((encoded.pooled.select(Axis(0), &places), bad.collect()))
}

/// Different items through every encoder of a modality, pooled vectors side by side; and the place of each item among them.
fn encode_all(
    plan: &ModalityPlan,
    items: &[&Raw],
    tokens: Option<usize>,
    bench: &Workbench,
    skip_bad: bool,
) -> Result<(Vec<usize>, Encoded), Error> {
    let (unique, places) = unique(items);
    let (mut parts, mut found, mut bad) = (Vec::new(), None, BTreeMap::new());
    for (index, encoder) in plan.encoders.iter().enumerate() {
        let encoded = encode(encoder, &plan.name, &unique, tokens.filter(|_| index == 0), bench, skip_bad)?;
        parts.push(encoded.pooled);
        found = found.or(encoded.tokens);
        bad.extend(encoded.bad);
    }
    let views: Vec<_> = parts.iter().map(Array2::view).collect();
    let pooled = concatenate(Axis(1), &views)
        .map_err(|e| Error::Internal(format!("encoders of {:?} disagree in rows: {e}", plan.name)))?;
    Ok((places, Encoded { pooled, tokens: found, bad }))
}

/// Different items in the order in which they come, and the place of each item among them.
fn unique<'a>(items: &[&'a Raw]) -> (Vec<&'a Raw>, Vec<usize>) {
    let mut places: HashMap<&Raw, usize> = HashMap::new();
    let mut unique = Vec::new();
    let of = |item: &&'a Raw| {
        *places.entry(*item).or_insert_with(|| {
            unique.push(*item);
            unique.len() - 1
        })
    };
    let all = items.iter().map(of).collect();
    (unique, all)
}

/// Items to rows: the first item, or the mean of all.
fn rows_of(
    plan: &ModalityPlan,
    items: Array2<f32>,
    places: &[usize],
    bad_items: &BTreeMap<usize, String>,
) -> (Array2<f32>, BTreeMap<usize, String>) {
    let mut bad = BTreeMap::new();
    let mut start = 0;
    let mut pooled = Array2::zeros((plan.items.len(), items.ncols()));
    for (row, raw) in plan.items.iter().enumerate() {
        let own = &places[start..start + raw.len()];
        start += raw.len();
        if let Some(reason) = own.iter().find_map(|place| bad_items.get(place)) {
            bad.insert(row, reason.clone());
        }
        match (plan.select, own) {
            (Select::First, [first, ..]) | (Select::Mean, [first]) => {
                pooled.row_mut(row).assign(&items.row(*first))
            }
            _ => {
                let mean = items.select(Axis(0), own).mean_axis(Axis(0));
                mean.into_iter().for_each(|mean| pooled.row_mut(row).assign(&mean));
            }
        }
    }
    (pooled, bad)
}

/// The mean of each group of rows, groups one after the other; a group without rows is zero.
pub(crate) fn means(rows: &Array2<f32>, groups: impl ExactSizeIterator<Item = usize>) -> Array2<f32> {
    let mut means = Array2::zeros((groups.len(), rows.ncols()));
    let mut start = 0;
    for (group, count) in groups.enumerate() {
        let part = rows.slice_axis(Axis(0), Slice::from(start..start + count));
        start += count;
        part.mean_axis(Axis(0)).into_iter().for_each(|mean| means.row_mut(group).assign(&mean));
    }
    means
}
