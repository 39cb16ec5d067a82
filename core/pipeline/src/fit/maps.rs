//! Fitting the maps with the aligner, adding the hubness bank, and shuffling the pairs for the control.

use super::summed;
use crate::{
    base::{environment::Environment, error::Error},
    catalog::shards::Shards,
    embed::{EmbeddedItems, rows_with},
    plan::Plan,
    recipe::BankSettings,
    run::{graphs::Head, model::LearnedModel, relevance::classes},
};
use chiasm_closed_form::bank::bank_tail;
use chiasm_geometry::random::Random;
use chiasm_graph::Graph;
use chiasm_host::{AlignModality, AlignSpec, BorrowedArray, Learned};
use ndarray::Array2;
use serde_json::Value;
use std::{collections::BTreeSet, sync::Arc};

/// The items that maps are fitted on.
pub struct TrainingSet {
    /// The items of every modality, in training and validation rows.
    pub items: Vec<EmbeddedItems>,
    /// The validation rows, sorted in ascending order.
    pub validation: Vec<usize>,
    /// More training rows, which are summed and not kept.
    pub shards: Option<Arc<Shards>>,
}

impl TrainingSet {
    /// Fits the aligner of the plan with these parameters.
    ///
    /// # Errors
    /// If the aligner fails. The error names the plugin.
    pub fn align(&self, plan: &Plan, parameters: &Value, env: &Environment) -> Result<Learned, Error> {
        self.align_with(&plan.recipe.align.plugin.id.value, plan, parameters, env)
    }

    /// Fits the aligner called `id` with these parameters.
    ///
    /// # Errors
    /// As [`TrainingSet::align`].
    pub fn align_with(
        &self,
        id: &str,
        plan: &Plan,
        parameters: &Value,
        env: &Environment,
    ) -> Result<Learned, Error> {
        if let Some(shards) = &self.shards {
            return summed::align(id, &self.items, shards, plan, parameters, env);
        }
        let spec = AlignSpec {
            modalities: self.items.iter().map(modality).collect(),
            anchor: plan.anchor().map(str::to_owned),
        };
        let signed = |rows: &[usize]| rows.iter().map(|row| *row as i64).collect::<Vec<i64>>();
        let rows: Vec<Vec<i64>> = self.items.iter().map(|items| signed(&items.rows)).collect();
        let names: Vec<[String; 2]> = (self.items.iter())
            .map(|items| [format!("{}.pooled", items.name), format!("{}.row", items.name)])
            .collect();
        let validation = signed(&self.validation);
        let mut data: Vec<(&str, BorrowedArray<'_>)> = Vec::new();
        for ((items, rows), [pooled, row]) in self.items.iter().zip(&rows).zip(&names) {
            data.push((pooled, items.pooled.borrowed()));
            data.push((row, BorrowedArray::i64(&[rows.len()], rows)));
        }
        if !validation.is_empty() {
            data.push(("validation", BorrowedArray::i64(&[validation.len()], &validation)));
        }
        let labels = self.labels(plan);
        if let Some([rows, classes]) = &labels {
            data.push(("label.row", BorrowedArray::i64(&[rows.len()], rows)));
            data.push(("label", BorrowedArray::i64(&[classes.len()], classes)));
        }
        let services = env.services(&format!("align ({id})"), plan.seed());
        let learned = env.host.aligner(id)?.fit(&spec, &data, parameters, &services)?;
        if let Some(warning) = learned.notes["warning"].as_str() {
            env.reporter.note(&format!("warning: {id}: {warning}"));
        }
        Ok(learned)
    }

    /// Returns the rows of this set and the class of each; `None` if the recipe names no column of labels.
    /// Other rows are not read.
    fn labels(&self, plan: &Plan) -> Option<[Vec<i64>; 2]> {
        let column = plan.recipe.align.labels.as_ref()?;
        let values = plan.data.dataset.values(&column.value);
        let rows: BTreeSet<usize> = self.items.iter().flat_map(|items| items.rows.iter().copied()).collect();
        let classes = classes(rows.iter().map(|row| &values[*row]));
        let signed = |numbers: Vec<usize>| numbers.into_iter().map(|number| number as i64).collect();
        Some([rows.into_iter().collect(), classes].map(signed))
    }

    /// Returns the items of the training rows, without those of the validation rows.
    pub fn training_items(&self) -> Vec<EmbeddedItems> {
        if self.validation.is_empty() {
            return self.items.clone();
        }
        let of = |items: &EmbeddedItems| {
            let fitted = |at: &usize| self.validation.binary_search(&items.rows[*at]).is_err();
            items.at(&(0..items.rows.len()).filter(fitted).collect::<Vec<_>>())
        };
        self.items.iter().map(of).collect()
    }

    /// Returns the items without those of all but `count` training rows with two or more modalities. The rows
    /// are drawn by the seed; a smaller number draws from the same ones. Shards are left out.
    ///
    /// # Errors
    /// If there are fewer such rows, or `count` is zero.
    pub fn with_pairs(&self, count: usize, seed: u64) -> Result<Self, Error> {
        let paired = rows_with(&self.training_items(), 2);
        if count == 0 || count > paired.len() {
            return Err(Error::input(
                "chiasm::study::pairs",
                format!(
                    "--pairs expects 1 to {} (the training rows with two modalities), got {count}",
                    paired.len()
                ),
                "choose smaller numbers",
            ));
        }
        let order = Random::new(seed).permutation(paired.len());
        let left_out: BTreeSet<usize> = order[count..].iter().map(|at| paired[*at]).collect();
        let items = self.items.iter().map(|items| {
            let kept = |at: &usize| !left_out.contains(&items.rows[*at]);
            items.at(&(0..items.rows.len()).filter(kept).collect::<Vec<_>>())
        });
        Ok(Self { items: items.collect(), validation: self.validation.clone(), shards: None })
    }

    /// Returns the items with shuffled pairs: the rows of every modality except the first are permuted among
    /// the rows that have it. Shards are left out.
    #[must_use]
    pub fn shuffled(&self, seed: u64) -> Self {
        let items = self.items.iter().enumerate().map(|(at, items)| match at {
            0 => items.clone(),
            _ => shuffled(items, seed.wrapping_add(at as u64 - 1)),
        });
        Self { items: items.collect(), validation: self.validation.clone(), shards: None }
    }
}

/// Returns the heads of the maps without a hubness bank.
///
/// # Errors
/// If a graph cannot be joined.
pub fn plain_heads(learned: &Learned, items: &[EmbeddedItems]) -> Result<Vec<Head>, Error> {
    items.iter().zip(&learned.maps).map(|(items, map)| Head::new(&items.name, map, None)).collect()
}

/// Returns the heads of the maps with a hubness bank, which holds the aligned training items of the other
/// modalities.
///
/// # Errors
/// If the training items cannot be mapped.
pub fn banked_heads(
    learned: &Learned,
    model: &LearnedModel,
    items: &[EmbeddedItems],
    bank: BankSettings,
    env: &Environment,
) -> Result<Vec<Head>, Error> {
    let z: Vec<Array2<f32>> = model.align_all(items, env)?.into_iter().map(|aligned| aligned.z).collect();
    let clouds: Vec<_> = z.iter().map(Array2::view).collect();
    let head = |(at, (items, map)): (usize, (&EmbeddedItems, &Graph))| {
        let tail = bank_tail(at, &clouds, bank.top, bank.weight)
            .map_err(|e| Error::Internal(format!("the hubness bank: {e}")))?;
        Head::new(&items.name, map, Some(&tail))
    };
    items.iter().zip(&learned.maps).enumerate().map(head).collect()
}

fn modality(items: &EmbeddedItems) -> AlignModality {
    AlignModality { name: items.name.clone(), dim: items.pooled.ncols(), blocks: items.blocks.clone() }
}

/// Permutes the rows of items: the items of the row `old[order[i]]` move to the row `old[i]`.
fn shuffled(items: &EmbeddedItems, seed: u64) -> EmbeddedItems {
    let old: Vec<usize> = items.rows.chunk_by(|a, b| a == b).map(|chunk| chunk[0]).collect();
    let order = Random::new(seed).permutation(old.len());
    let mut new = vec![0; old.len()];
    order.iter().zip(&old).for_each(|(from, to)| new[*from] = *to);
    let mut moved = items.clone();
    for row in &mut moved.rows {
        *row = old.binary_search(row).map_or(*row, |at| new[at]);
    }
    let mut places: Vec<usize> = (0..moved.rows.len()).collect();
    places.sort_by_key(|at| moved.rows[*at]);
    moved.at(&places)
}

/// Returns a view of a matrix for plugins. The matrix must be in row-major order, as all matrices here are.
pub fn view(matrix: &Array2<f32>) -> BorrowedArray<'_> {
    BorrowedArray::f32(&[matrix.nrows(), matrix.ncols()], matrix.as_slice().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// The items of a row stay together, and the set of rows that have items stays the same.
    #[test]
    fn shuffling_permutes_whole_rows() {
        let items = EmbeddedItems {
            name: "text".into(),
            blocks: vec![1],
            pooled: array![[1.0], [1.5], [3.0], [7.0], [7.5]].into(),
            rows: vec![1, 1, 3, 7, 7],
            items: vec![0, 1, 2, 3, 4],
            tokens: None,
        };
        let moved = shuffled(&items, 5);
        let mut rows = moved.rows.clone();
        rows.dedup();
        assert_eq!(rows, [1, 3, 7]);
        for chunk in [&[1.0, 1.5][..], &[3.0], &[7.0, 7.5]] {
            let at = moved.pooled.view().column(0).iter().position(|x| *x == chunk[0]).unwrap();
            let own = moved.pooled.view().column(0).to_vec()[at..at + chunk.len()].to_vec();
            assert_eq!(own, chunk);
            assert!(moved.rows[at..at + chunk.len()].iter().all(|row| *row == moved.rows[at]));
        }
        assert!((0..20).any(|seed| shuffled(&items, seed).pooled != items.pooled));
    }
}
