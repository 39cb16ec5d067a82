//! Searching the test items of a run with raw items of other modalities.

use super::{
    gallery::{Gallery, GalleryHit},
    infer::RawInputs,
    model::AlignedItems,
    open::Run,
    test_items::{TestItems, shown_items},
};
use crate::{
    base::error::Error,
    catalog::{dataset::Split, raw::RawItem},
    embed::embed_items,
};
use ndarray::Array1;
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
    /// Returns the test items of every modality with their embeddings.
    ///
    /// # Errors
    /// If the data or an item cannot be read.
    pub fn galleries(&self) -> Result<Vec<Gallery>, Error> {
        let items = self.test_items()?;
        let aligned = &self.held_out()?.aligned;
        let of = |(own, aligned): (TestItems, &AlignedItems)| {
            Gallery::new(own.modality, own.ids, own.raw, aligned.embeds.clone())
        };
        Ok(items.into_iter().zip(aligned).map(of).collect())
    }

    /// Returns the `top` test items of the modality `among` with the highest scores for a query, best first.
    ///
    /// `query` holds one raw item of each of its modalities. The score of a query of several modalities is
    /// the mean of the scores of its items.
    ///
    /// # Errors
    /// If the run has no such modality, the query holds `among`, another number of items or none, or the data
    /// or an item cannot be read.
    pub fn search(&self, query: &RawInputs, among: &str, top: usize) -> Result<Vec<SearchHit>, Error> {
        let other = self.place(among)?;
        self.check_query(query, among)?;
        let outputs = self.run(query, false)?;
        let vectors: Vec<_> = (query.keys())
            .map(|name| Ok(outputs.get(&self.manifest.modalities[self.place(name)?].output)))
            .collect::<Result<Vec<_>, Error>>()?;
        let width = vectors.iter().flatten().map(|own| own.ncols()).next().unwrap_or_default();
        let sum = vectors.iter().flatten().fold(Array1::zeros(width), |sum, own| sum + own.row(0));
        let query = sum / query.len() as f32;
        let data = self.data()?;
        let items = data.items[other].of_rows(&data.dataset.rows_of(Split::Test));
        let modality = &self.modalities[other];
        let (gallery, _) = embed_items(modality, &items, modality.rule, false, false, self.env)?;
        let aligned = self.model.align(other, &gallery, self.env)?;
        let shown = shown_items(&items, &aligned.rows);
        let ids = aligned.rows.iter().map(|row| data.dataset.ids[*row].clone()).collect();
        let raw = shown.into_iter().map(|at| items.raw[at].clone()).collect();
        let gallery = Gallery::new(among.to_owned(), ids, raw, aligned.embeds);
        let found = |GalleryHit { item, score }: GalleryHit| SearchHit {
            item: gallery.raw[item].clone(),
            modality: among.to_owned(),
            row: gallery.ids[item].clone(),
            score,
        };
        Ok(gallery.search(query.view(), top)?.into_iter().map(found).collect())
    }

    /// Checks that a query has one item of each of its modalities, and none of the modality that is searched.
    fn check_query(&self, query: &RawInputs, among: &str) -> Result<(), Error> {
        if query.contains_key(among) {
            let others: Vec<&str> = self.names().into_iter().filter(|name| *name != among).collect();
            return Err(Error::input(
                "chiasm::search::modality",
                format!("a search needs two different modalities, got {among:?} for both"),
                format!("search among {}", others.join(" or ")),
            ));
        }
        let count = |raws: &Vec<RawItem>| raws.len() == 1;
        if query.is_empty() || !query.values().all(count) {
            let got: Vec<String> =
                query.iter().map(|(name, raws)| format!("{} of {name}", raws.len())).collect();
            let got = if got.is_empty() { "none".to_owned() } else { got.join(", ") };
            return Err(Error::input(
                "chiasm::search::one_query",
                format!("a search needs one raw item of one or more modalities, got {got}"),
                "give one raw item of one modality, or one of each of several",
            ));
        }
        Ok(())
    }
}
