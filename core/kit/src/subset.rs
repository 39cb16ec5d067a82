//! The items of all modalities that belong to some of the rows.

use chiasm_closed_form::{View, Views};
use chiasm_plugin::ndarray::{Axis, CowArray, Ix2};
use chiasm_plugin::{Result, TrainingItems};

use crate::plugin_error;

/// The training items of an aligner as the views that closed forms read.
///
/// # Errors
/// When the items cannot be fitted: too few, or not finite.
pub fn views<'a>(items: &TrainingItems<'a>) -> Result<Views<'a>> {
    let all = items.modalities.iter().map(|modality| View {
        name: modality.name.clone(),
        blocks: modality.blocks.clone(),
        items: modality.pooled,
        rows: modality.rows.clone(),
    });
    Views::new(all.collect(), items.anchor, items.validation.clone()).map_err(plugin_error)
}

/// The items of all modalities that belong to some of the rows. A modality that keeps all items borrows them.
#[derive(Debug, Clone)]
pub struct ItemSubset<'a> {
    /// Vectors of each modality, `[items, dim]`.
    pub items: Vec<CowArray<'a, f32, Ix2>>,
    /// The row of each item, in ascending order.
    pub rows: Vec<Vec<usize>>,
}

impl<'a> ItemSubset<'a> {
    /// The items on the rows that `keep` accepts.
    pub fn new(views: &Views<'a>, keep: impl Fn(usize) -> bool) -> Self {
        let (mut items, mut rows) = (Vec::new(), Vec::new());
        for view in views.all() {
            let places: Vec<usize> = (0..view.rows.len()).filter(|&place| keep(view.rows[place])).collect();
            rows.push(places.iter().map(|&place| view.rows[place]).collect());
            items.push(match places.len() == view.rows.len() {
                true => view.items.into(),
                false => view.items.select(Axis(0), &places).into(),
            });
        }
        Self { items, rows }
    }

    /// The items of the rows that are fitted on: all but the validation rows.
    pub fn training(views: &Views<'a>) -> Self {
        Self::new(views, |row| views.validation().binary_search(&row).is_err())
    }

    /// The rows of each modality's items.
    pub fn row_lists(&self) -> Vec<&[usize]> {
        self.rows.iter().map(Vec::as_slice).collect()
    }

    /// These items as views, with the names, blocks and anchor of those that they were chosen from.
    ///
    /// # Errors
    /// When a modality is left with fewer than two items.
    pub fn views<'b>(&'b self, from: &Views<'_>) -> Result<Views<'b>> {
        let views = from.all().iter().zip(&self.items).zip(&self.rows);
        let views = views.map(|((view, items), rows)| View {
            name: view.name.clone(),
            blocks: view.blocks.clone(),
            items: items.view(),
            rows: rows.clone(),
        });
        Views::new(views.collect(), from.anchor(), Vec::new()).map_err(plugin_error)
    }
}

/// Returns the same views with a shorter lifetime.
pub(crate) fn reborrowed<'b>(views: &'b Views<'_>) -> Result<Views<'b>> {
    let all = views.all().iter().map(|view| View {
        name: view.name.clone(),
        blocks: view.blocks.clone(),
        items: view.items.view(),
        rows: view.rows.clone(),
    });
    Views::new(all.collect(), views.anchor(), views.validation().to_vec()).map_err(plugin_error)
}
