//! Searching the test items of a run with a raw item of another modality.

use super::{infer::RawInputs, open::Run};
use crate::{
    base::error::Error,
    catalog::{dataset::Split, raw::RawItem},
    embed::embed_items,
};
use serde::Serialize;

/// One result of a search.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SearchHit {
    /// The item.
    #[serde(skip)]
    pub item: RawItem,
    /// Its modality.
    pub modality: String,
    /// The id of its row.
    pub row: String,
    /// The dot product of its embedding and that of the query.
    pub score: f32,
}

impl Run<'_> {
    /// Returns the `top` test items of the modality `among` with the highest scores for a raw item of
    /// `modality`, best first.
    ///
    /// # Errors
    /// If the run has no such modality, or the data or an item cannot be read.
    pub fn search(
        &self,
        modality: &str,
        query: &RawItem,
        among: &str,
        top: usize,
    ) -> Result<Vec<SearchHit>, Error> {
        let (own, other) = (self.place(modality)?, self.place(among)?);
        if own == other {
            let others: Vec<&str> = self.names().into_iter().filter(|name| *name != modality).collect();
            return Err(Error::input(
                "chiasm::search::modality",
                format!("a search needs two different modalities, got {modality:?} for both"),
                format!("search among {}", others.join(" or ")),
            ));
        }
        let inputs = RawInputs::from([(modality.to_owned(), vec![query.clone()])]);
        let output = &self.manifest.modalities[own].output;
        let query = self.run(&inputs, false)?.remove(output).unwrap_or_default();
        let data = self.data()?;
        let items = data.items[other].of_rows(&data.dataset.rows_of(Split::Test));
        let modality = &self.modalities[other];
        let (gallery, _) = embed_items(modality, &items, modality.rule, false, false, self.env)?;
        let aligned = self.model.align(other, &gallery, self.env)?;
        let scores = aligned.embeds.dot(&query.row(0));
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        // If the items of a row were averaged, return the first of them.
        let item = |at: usize| items.rows.partition_point(|row| *row < aligned.rows[at]);
        let each = items.raw.len() == aligned.rows.len();
        let found = |at: usize| SearchHit {
            item: items.raw[if each { at } else { item(at) }].clone(),
            modality: among.to_owned(),
            row: data.dataset.ids[aligned.rows[at]].clone(),
            score: scores[at],
        };
        Ok(order.into_iter().take(top).map(found).collect())
    }
}
