//! Embedding: every raw item through its encoders once, shard by shard, each shard kept in the cache.
//!
//! Rows of one split are embedded together, so that a run that is opened later finds the shards of its test
//! rows. An item that several rows share (a picture and its many questions) is embedded once.

mod shard;
pub mod tokens;

use crate::{
    base::{environment::Environment, error::Error},
    catalog::{dataset::RawItems, raw::RawItem},
    plan::ModalityEncoders,
    recipe::encoders::ItemRule,
};
use ndarray::{Array2, Axis, Slice, concatenate};
use shard::{EncodedItems, encode};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use tokens::TokenSequences;

/// The vectors of one modality's items.
#[derive(Debug, Clone)]
pub struct EmbeddedItems {
    /// The modality.
    pub name: String,
    /// Widths of its encoders' vectors, which stand side by side.
    pub blocks: Vec<usize>,
    /// Pooled vectors, `[items, width]`.
    pub pooled: Array2<f32>,
    /// The row of each item, never falling.
    pub rows: Vec<usize>,
    /// The tokens of its first encoder, where they were asked for.
    pub tokens: Option<ItemTokens>,
}

/// The tokens of different items, and which of them each item has.
#[derive(Debug, Clone)]
pub struct ItemTokens {
    sequences: Arc<TokenSequences>,
    places: Vec<usize>,
}

/// An item that could not be read and was left out.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SkippedItem {
    /// The id of its row.
    pub row: String,
    /// Its modality.
    pub modality: String,
    /// Its place among the row's items, from 0.
    pub item: usize,
    /// Why it could not be read.
    pub reason: String,
}

/// What to embed.
pub struct EmbedRequest<'a> {
    /// The modalities.
    pub modalities: &'a [ModalityEncoders],
    /// The items of each.
    pub items: &'a [RawItems],
    /// The names of the rows.
    pub ids: &'a [String],
    /// Modalities whose tokens are wanted.
    pub tokens: &'a dyn Fn(&str) -> bool,
    /// Leave out items that cannot be read.
    pub skip_bad: bool,
    /// Whether maps are fitted on the rows.
    pub training: bool,
}

impl EmbedRequest<'_> {
    /// Embeds the items of these rows, which must rise.
    ///
    /// # Errors
    /// When an item cannot be read and is not to be skipped, the engine refuses, or a vector is not finite.
    pub fn embed(
        &self,
        rows: &[usize],
        env: &Environment,
    ) -> Result<(Vec<EmbeddedItems>, Vec<SkippedItem>), Error> {
        let (mut all, mut skipped) = (Vec::new(), Vec::new());
        for (modality, items) in self.modalities.iter().zip(self.items) {
            let items = items.of_rows(rows);
            let tokens = (self.tokens)(&modality.name);
            let rule = if self.training { modality.train_rule } else { modality.rule };
            let (embedded, bad) = embed_items(modality, &items, rule, tokens, self.skip_bad, env)?;
            skipped.extend(bad.into_iter().map(|(at, reason)| SkippedItem {
                row: self.ids[items.rows[at]].clone(),
                modality: modality.name.clone(),
                item: items.position[at],
                reason,
            }));
            all.push(embedded);
        }
        Ok((all, skipped))
    }
}

impl EmbeddedItems {
    /// The items of these rows, which must rise.
    pub fn select(&self, rows: &[usize]) -> Self {
        let wanted: BTreeSet<&usize> = rows.iter().collect();
        let kept: Vec<usize> = (0..self.rows.len()).filter(|at| wanted.contains(&self.rows[*at])).collect();
        self.at(&kept)
    }

    /// The first item of every row.
    pub fn first_of_rows(&self) -> Self {
        let kept: Vec<usize> =
            (0..self.rows.len()).filter(|at| *at == 0 || self.rows[at - 1] != self.rows[*at]).collect();
        self.at(&kept)
    }

    /// The items at these places.
    pub fn at(&self, places: &[usize]) -> Self {
        let tokens = self.tokens.as_ref().map(|tokens| ItemTokens {
            sequences: Arc::clone(&tokens.sequences),
            places: places.iter().map(|at| tokens.places[*at]).collect(),
        });
        Self {
            name: self.name.clone(),
            blocks: self.blocks.clone(),
            pooled: self.pooled.select(Axis(0), places),
            rows: places.iter().map(|at| self.rows[*at]).collect(),
            tokens,
        }
    }

    /// The tokens of every item, in order.
    pub fn sequences(&self) -> Option<TokenSequences> {
        self.tokens.as_ref().map(|tokens| tokens.sequences.select(&tokens.places))
    }

    /// Width of a token's vector.
    pub fn token_dim(&self) -> Option<usize> {
        self.tokens.as_ref().map(|tokens| tokens.sequences.values.len_of(Axis(2)))
    }

    /// The items of several sets of rows of one modality as one, by rising row.
    ///
    /// # Errors
    /// When the sets are not of one modality.
    pub fn joined(parts: &[Self]) -> Result<Self, Error> {
        let Some(first) = parts.first() else {
            return Err(Error::Internal("no items to join".to_owned()));
        };
        let internal = |e: ndarray::ShapeError| Error::Internal(format!("joining {:?}: {e}", first.name));
        let views: Vec<_> = parts.iter().map(|part| part.pooled.view()).collect();
        let pooled = concatenate(Axis(0), &views).map_err(internal)?;
        let rows: Vec<usize> = parts.iter().flat_map(|part| part.rows.iter().copied()).collect();
        let with_tokens: Vec<&ItemTokens> = parts.iter().filter_map(|part| part.tokens.as_ref()).collect();
        let tokens = (with_tokens.len() == parts.len()).then(|| {
            let sequences: Vec<TokenSequences> =
                with_tokens.iter().map(|part| TokenSequences::clone(&part.sequences)).collect();
            let width = first.token_dim().unwrap_or_default();
            let mut places = Vec::with_capacity(rows.len());
            let mut start = 0;
            for part in &with_tokens {
                places.extend(part.places.iter().map(|place| start + place));
                start += part.sequences.mask.nrows();
            }
            ItemTokens { sequences: Arc::new(TokenSequences::joined(&sequences, width)), places }
        });
        let whole = Self { name: first.name.clone(), blocks: first.blocks.clone(), pooled, rows, tokens };
        let mut order: Vec<usize> = (0..whole.rows.len()).collect();
        order.sort_by_key(|at| whole.rows[*at]);
        Ok(whole.at(&order))
    }
}

/// Every row that holds items of at least `least` of these modalities, rising.
pub fn rows_with(modalities: &[EmbeddedItems], least: usize) -> Vec<usize> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for modality in modalities {
        modality.rows.chunk_by(|a, b| a == b).for_each(|chunk| *counts.entry(chunk[0]).or_default() += 1);
    }
    counts.into_iter().filter(|(_, count)| *count >= least).map(|(row, _)| row).collect()
}

/// The vectors of some items of a modality; and the items that could not be read, by place, with the reason.
///
/// # Errors
/// As [`EmbedRequest::embed`].
pub fn embed_items(
    modality: &ModalityEncoders,
    items: &RawItems,
    rule: ItemRule,
    tokens: bool,
    skip_bad: bool,
    env: &Environment,
) -> Result<(EmbeddedItems, BTreeMap<usize, String>), Error> {
    let (unique, places) = unique(&items.raw);
    let (mut parts, mut sequences, mut bad) = (Vec::new(), None, BTreeMap::new());
    for (index, encoder) in modality.encoders.iter().enumerate() {
        let wanted = (tokens && index == 0).then_some(items.raw.len());
        let EncodedItems { pooled, tokens, bad: found } =
            encode(encoder, &modality.name, &unique, wanted, env, skip_bad)?;
        parts.push(pooled);
        sequences = sequences.or(tokens);
        bad.extend(found);
    }
    let views: Vec<_> = parts.iter().map(Array2::view).collect();
    let pooled = concatenate(Axis(1), &views)
        .map_err(|e| Error::Internal(format!("encoders of {:?} disagree in rows: {e}", modality.name)))?;
    let bad: BTreeMap<usize, String> =
        (0..places.len()).filter_map(|at| Some((at, bad.get(&places[at])?.clone()))).collect();
    let kept: Vec<usize> = (0..places.len()).filter(|at| !bad.contains_key(at)).collect();
    let kept_places: Vec<usize> = kept.iter().map(|at| places[*at]).collect();
    let all = EmbeddedItems {
        name: modality.name.clone(),
        blocks: modality.blocks(),
        pooled: pooled.select(Axis(0), &kept_places),
        rows: kept.iter().map(|at| items.rows[*at]).collect(),
        tokens: sequences.map(|sequences| ItemTokens { sequences: Arc::new(sequences), places: kept_places }),
    };
    Ok((if rule == ItemRule::Mean { mean_of_rows(&all) } else { all }, bad))
}

/// The items of each row as one, their mean.
fn mean_of_rows(all: &EmbeddedItems) -> EmbeddedItems {
    let counts: Vec<usize> = all.rows.chunk_by(|a, b| a == b).map(<[usize]>::len).collect();
    EmbeddedItems {
        name: all.name.clone(),
        blocks: all.blocks.clone(),
        pooled: means(&all.pooled, &counts),
        rows: all.rows.chunk_by(|a, b| a == b).map(|chunk| chunk[0]).collect(),
        tokens: None,
    }
}

/// Different items in the order in which they come, and the place of each item among them.
fn unique(items: &[RawItem]) -> (Vec<&RawItem>, Vec<usize>) {
    let mut places: HashMap<&RawItem, usize> = HashMap::new();
    let mut unique = Vec::new();
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        all.push(*places.entry(item).or_insert_with(|| {
            unique.push(item);
            unique.len() - 1
        }));
    }
    (unique, all)
}

/// The mean of each group of vectors, groups of these sizes one after the other; a group without vectors is
/// zero.
pub fn means(vectors: &Array2<f32>, counts: &[usize]) -> Array2<f32> {
    let mut means = Array2::zeros((counts.len(), vectors.ncols()));
    let mut start = 0;
    for (group, &count) in counts.iter().enumerate() {
        let part = vectors.slice_axis(Axis(0), Slice::from(start..start + count));
        start += count;
        part.mean_axis(Axis(0)).into_iter().for_each(|mean| means.row_mut(group).assign(&mean));
    }
    means
}
