//! Embedding raw items with their encoders, in shards that are cached.
//!
//! Each split is embedded separately, so that a run that is opened later finds the shards of its test rows in
//! the cache. An item that several rows share (a picture with many questions) is embedded once.

pub mod batch_effect;
pub mod corrupted;
mod shard;
pub mod tokens;
pub mod vectors;

use crate::{
    base::{environment::Environment, error::Error},
    catalog::{dataset::RawItems, raw::RawItem},
    plan::ModalityEncoders,
    recipe::encoders::ItemRule,
};
use ndarray::{Array2, ArrayView2, Axis, Slice};
use shard::{EncodedItems, encode};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use tokens::TokenSequences;
use vectors::ItemVectors;

/// The embedded items of one modality.
#[derive(Debug, Clone)]
pub struct EmbeddedItems {
    /// The modality.
    pub name: String,
    /// Width of each encoder's pooled vectors, which are concatenated.
    pub blocks: Vec<usize>,
    /// Pooled vectors, `[items, width]`.
    pub pooled: ItemVectors,
    /// The row of each item, sorted in ascending order.
    pub rows: Vec<usize>,
    /// The number of each item among the distinct ones; an item that several rows show has one number.
    pub items: Vec<usize>,
    /// The tokens of the first encoder, if requested.
    pub tokens: Option<ItemTokens>,
}

/// The tokens of the distinct items, and the index of each item's sequence among them.
#[derive(Debug, Clone)]
pub struct ItemTokens {
    sequences: Arc<TokenSequences>,
    indices: Vec<usize>,
}

/// An item that was skipped because it could not be read.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SkippedItem {
    /// The id of its row.
    pub row: String,
    /// Its modality.
    pub modality: String,
    /// Its index among the items of the row.
    pub item: usize,
    /// The reason.
    pub reason: String,
}

/// The items to embed, and how.
pub struct EmbedRequest<'a> {
    /// The modalities.
    pub modalities: &'a [ModalityEncoders],
    /// The items of each modality.
    pub items: &'a [RawItems],
    /// The ids of the rows.
    pub ids: &'a [String],
    /// Whether to return the tokens of a modality.
    pub tokens: &'a dyn Fn(&str) -> bool,
    /// Skip items that cannot be read.
    pub skip_bad: bool,
    /// Whether the rows are training or validation rows.
    pub training: bool,
}

impl EmbedRequest<'_> {
    /// Embeds the items of these rows, which must be sorted in ascending order.
    ///
    /// # Errors
    /// If an item cannot be read and `skip_bad` is not set, the engine fails, or a vector is not finite.
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
            let how = EmbedOptions { rule, tokens, skip_bad: self.skip_bad, ids: Some(self.ids) };
            let (embedded, bad) = embed_with(modality, &items, &how, env)?;
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
    /// Returns the items of these rows.
    pub fn select(&self, rows: &[usize]) -> Self {
        let wanted: BTreeSet<&usize> = rows.iter().collect();
        let kept: Vec<usize> = (0..self.rows.len()).filter(|at| wanted.contains(&self.rows[*at])).collect();
        self.at(&kept)
    }

    /// Returns the first item of every row.
    pub fn first_of_rows(&self) -> Self {
        let kept: Vec<usize> =
            (0..self.rows.len()).filter(|at| *at == 0 || self.rows[at - 1] != self.rows[*at]).collect();
        self.at(&kept)
    }

    /// Returns the items at these indices.
    pub fn at(&self, indices: &[usize]) -> Self {
        let tokens = self.tokens.as_ref().map(|tokens| ItemTokens {
            sequences: Arc::clone(&tokens.sequences),
            indices: indices.iter().map(|at| tokens.indices[*at]).collect(),
        });
        Self {
            name: self.name.clone(),
            blocks: self.blocks.clone(),
            pooled: self.pooled.select(indices),
            rows: indices.iter().map(|at| self.rows[*at]).collect(),
            items: indices.iter().map(|at| self.items[*at]).collect(),
            tokens,
        }
    }

    /// Returns the tokens of every item, in order.
    pub fn sequences(&self) -> Option<TokenSequences> {
        self.tokens.as_ref().map(|tokens| tokens.sequences.select(&tokens.indices))
    }

    /// Returns the width of the token vectors.
    pub fn token_dim(&self) -> Option<usize> {
        self.tokens.as_ref().map(|tokens| tokens.sequences.values.len_of(Axis(2)))
    }

    /// Returns these items with those of `others` in their place where `replaced` is true. Both hold the same
    /// items, in the same order.
    ///
    /// # Errors
    /// If the rows or the widths differ.
    pub fn replaced(&self, others: &Self, replaced: &[bool]) -> Result<Self, Error> {
        if self.rows != others.rows || self.rows.len() != replaced.len() {
            return Err(Error::Internal(format!("the items of {:?} differ", self.name)));
        }
        let count = replaced.len();
        let places: Vec<usize> =
            replaced.iter().enumerate().map(|(at, other)| at + if *other { count } else { 0 }).collect();
        Ok(Self::concatenated(&[self.clone(), others.clone()])?.at(&places))
    }

    /// Joins the items of several sets of rows of one modality, sorted by row.
    ///
    /// # Errors
    /// As [`EmbeddedItems::concatenated`].
    pub fn joined(parts: &[Self]) -> Result<Self, Error> {
        let whole = Self::concatenated(parts)?;
        let mut order: Vec<usize> = (0..whole.rows.len()).collect();
        order.sort_by_key(|at| whole.rows[*at]);
        Ok(whole.at(&order))
    }

    /// Joins the items of several sets of rows of one modality, one set after the other.
    ///
    /// # Errors
    /// If there are no sets, or their widths differ.
    fn concatenated(parts: &[Self]) -> Result<Self, Error> {
        let Some(first) = parts.first() else {
            return Err(Error::Internal("no items to join".to_owned()));
        };
        let pooled: Vec<&ItemVectors> = parts.iter().map(|part| &part.pooled).collect();
        let pooled = ItemVectors::joined(&pooled)
            .map_err(|e| Error::Internal(format!("joining {:?}: {e}", first.name)))?;
        let rows: Vec<usize> = parts.iter().flat_map(|part| part.rows.iter().copied()).collect();
        // items of different parts are different, since they may have been corrupted
        let mut items: Vec<usize> = Vec::with_capacity(rows.len());
        for part in parts {
            let start = items.iter().max().map_or(0, |&last: &usize| last + 1);
            items.extend(part.items.iter().map(|item| start + item));
        }
        let with_tokens: Vec<&ItemTokens> = parts.iter().filter_map(|part| part.tokens.as_ref()).collect();
        let tokens = (with_tokens.len() == parts.len()).then(|| {
            let sequences: Vec<TokenSequences> =
                with_tokens.iter().map(|part| TokenSequences::clone(&part.sequences)).collect();
            let width = first.token_dim().unwrap_or_default();
            let mut indices = Vec::with_capacity(rows.len());
            let mut start = 0;
            for part in &with_tokens {
                indices.extend(part.indices.iter().map(|index| start + index));
                start += part.sequences.mask.nrows();
            }
            ItemTokens { sequences: Arc::new(TokenSequences::joined(&sequences, width)), indices }
        });
        Ok(Self { name: first.name.clone(), blocks: first.blocks.clone(), pooled, rows, items, tokens })
    }
}

/// Returns every row that has items of at least `least` of these modalities, sorted in ascending order.
pub fn rows_with(modalities: &[EmbeddedItems], least: usize) -> Vec<usize> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for modality in modalities {
        modality.rows.chunk_by(|a, b| a == b).for_each(|chunk| *counts.entry(chunk[0]).or_default() += 1);
    }
    counts.into_iter().filter(|(_, count)| *count >= least).map(|(row, _)| row).collect()
}

/// How [`embed_with`] embeds items.
struct EmbedOptions<'a> {
    rule: ItemRule,
    tokens: bool,
    skip_bad: bool,
    /// The ids of the rows, for messages.
    ids: Option<&'a [String]>,
}

/// Embeds items of one modality. Also returns the indices of the items that could not be read, with the
/// reasons.
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
    embed_with(modality, items, &EmbedOptions { rule, tokens, skip_bad, ids: None }, env)
}

fn embed_with(
    modality: &ModalityEncoders,
    items: &RawItems,
    options: &EmbedOptions<'_>,
    env: &Environment,
) -> Result<(EmbeddedItems, BTreeMap<usize, String>), Error> {
    let &EmbedOptions { rule, tokens, skip_bad, ids } = options;
    let (unique, indices) = unique(&items.raw);
    let unreadable = |(index, reason): (usize, String)| {
        // Of the rows that share the item, the first is named.
        let row = indices.iter().position(|own| *own == index).and_then(|at| ids?.get(items.rows[at]));
        let row = row.map_or_else(String::new, |id| format!("row {id:?}: "));
        Error::input(
            "chiasm::data::unreadable_item",
            format!("{row}cannot read {}: {reason}", unique[index].describe()),
            "repair or remove it, or skip unreadable items with --skip-bad",
        )
    };
    let (mut parts, mut sequences, mut bad) = (Vec::new(), None, BTreeMap::new());
    for (index, encoder) in modality.encoders.iter().enumerate() {
        let wanted = (tokens && index == 0).then_some(items.raw.len());
        let EncodedItems { pooled, tokens, bad: found } =
            encode(encoder, &modality.name, &unique, wanted, env, skip_bad)?.map_err(unreadable)?;
        parts.push(pooled);
        sequences = sequences.or(tokens);
        bad.extend(found);
    }
    let pooled = ItemVectors::beside(&parts)
        .map_err(|e| Error::Internal(format!("joining the encoders of {:?}: {e}", modality.name)))?;
    let bad: BTreeMap<usize, String> =
        (0..indices.len()).filter_map(|at| Some((at, bad.get(&indices[at])?.clone()))).collect();
    let kept: Vec<usize> = (0..indices.len()).filter(|at| !bad.contains_key(at)).collect();
    let kept_indices: Vec<usize> = kept.iter().map(|at| indices[*at]).collect();
    let all = EmbeddedItems {
        name: modality.name.clone(),
        blocks: modality.blocks(),
        pooled: pooled.select(&kept_indices),
        rows: kept.iter().map(|at| items.rows[*at]).collect(),
        items: kept_indices.clone(),
        tokens: sequences
            .map(|sequences| ItemTokens { sequences: Arc::new(sequences), indices: kept_indices }),
    };
    Ok((if rule == ItemRule::Mean { mean_of_rows(&all) } else { all }, bad))
}

/// Replaces the items of each row by one item: their mean.
fn mean_of_rows(all: &EmbeddedItems) -> EmbeddedItems {
    let counts: Vec<usize> = all.rows.chunk_by(|a, b| a == b).map(<[usize]>::len).collect();
    EmbeddedItems {
        name: all.name.clone(),
        blocks: all.blocks.clone(),
        pooled: means(all.pooled.view(), &counts).into(),
        rows: all.rows.chunk_by(|a, b| a == b).map(|chunk| chunk[0]).collect(),
        items: (0..counts.len()).collect(),
        tokens: None,
    }
}

/// Returns the distinct items, in order of first occurrence, and the index of each item among them.
fn unique(items: &[RawItem]) -> (Vec<&RawItem>, Vec<usize>) {
    let mut indices: HashMap<&RawItem, usize> = HashMap::new();
    let mut unique = Vec::new();
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        all.push(*indices.entry(item).or_insert_with(|| {
            unique.push(item);
            unique.len() - 1
        }));
    }
    (unique, all)
}

/// Returns the mean of each group of consecutive vectors; `counts` are the sizes of the groups. The mean of
/// an empty group is zero.
pub fn means(vectors: ArrayView2<'_, f32>, counts: &[usize]) -> Array2<f32> {
    let mut means = Array2::zeros((counts.len(), vectors.ncols()));
    let mut start = 0;
    for (group, &count) in counts.iter().enumerate() {
        let part = vectors.slice_axis(Axis(0), Slice::from(start..start + count));
        start += count;
        part.mean_axis(Axis(0)).into_iter().for_each(|mean| means.row_mut(group).assign(&mean));
    }
    means
}
