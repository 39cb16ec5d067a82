//! Searching the held-out items of a run with a raw item of another modality.

use super::{infer::RawInputs, open::Run};
use crate::{
    base::error::Error,
    catalog::{dataset::Split, raw::RawItem},
    embed::embed_items,
};
use serde::Serialize;

/// An item that was found.
#[derive(Debug, Clone, Serialize)]
pub struct SearchHit {
    /// The item.
    #[serde(skip)]
    pub item: RawItem,
    /// Its modality.
    pub modality: String,
    /// The id of its row.
    pub row: String,
    /// The dot product of both embeddings.
    pub score: f32,
}

impl Run<'_> {
    /// The held-out items of the modality `among` nearest to one raw item of `modality`, best first.
    ///
    /// # Errors
    /// When the run has no such modality, the data is not there any more, or an item cannot be read.
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
                format!("a search goes from one modality to another, got {modality:?} for both"),
                format!("search among {}", others.join(" or ")),
            ));
        }
        let inputs = RawInputs::from([(modality.to_owned(), vec![query.clone()])]);
        let output = &self.manifest.modalities[own].output;
        let question = self.run(&inputs, false)?.remove(output).unwrap_or_default();
        let data = self.data()?;
        let items = data.items[other].of_rows(&data.dataset.rows_of(Split::Test));
        let modality = &self.modalities[other];
        let (gallery, _) = embed_items(modality, &items, modality.rule, false, false, self.env)?;
        let aligned = self.model.align(other, &gallery, self.env)?;
        let scores = aligned.embeds.dot(&question.row(0));
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        // where the mean of a row's items is one vector, its first item stands for it
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
