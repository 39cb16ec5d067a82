//! Compares trained maps with the closed forms, on rows that neither was fitted on.
//!
//! ```no_run
//! use chiasm_closed_form::Views;
//! use chiasm_closed_form::cca::CcaParams;
//! use chiasm_kit::comparison::{Holdout, MapComparison, fit_start};
//! use chiasm_plugin::graph::Graph;
//! use chiasm_plugin::{Result, Services};
//!
//! /// Says whether trained maps beat the closed forms; they must not be fitted on the rows held out.
//! fn verdict(views: &Views<'_>, trained: &[Graph], services: &Services<'_>) -> Result<String> {
//!     let Some(holdout) = Holdout::new(views, services.seed())? else { return Ok("too few rows".into()) };
//!     let views = holdout.closed_form_views(views)?;
//!     let cca = fit_start(&views, &CcaParams::default(), services)?;
//!     let mut comparison = MapComparison::new(&views, &holdout.held_out, &cca, services)?;
//!     comparison.add_graphs("mine", trained, &holdout.held_out, services)?;
//!     Ok(comparison.verdict("mine", "my method"))
//! }
//! ```

use chiasm_closed_form::cca::{Cca, CcaParams};
use chiasm_closed_form::{FitContext, Method, Views, baselines};
use chiasm_geometry::folds::shuffled_folds;
use chiasm_geometry::retrieval::{Ranks, recall};
use chiasm_plugin::graph::Graph;
use chiasm_plugin::ndarray::{Array2, Axis};
use chiasm_plugin::{Error, Json, Result, Services, json};
use serde::Serialize;

use crate::examples::paired_rows;
use crate::subset::{ItemSubset, reborrowed};
use crate::{apply, plugin_error};

/// The rows are split into this many parts, of which one is held out.
const PARTS: usize = 5;
/// The largest number of rows held out; more rows did not change a choice.
const MOST: usize = 2000;
/// Below this many paired rows none are held out, because too few would be left to compare on.
pub const FEWEST: usize = 50;
/// The largest rank of the mean recall, as in the search of the closed forms.
const DEPTH: usize = 20;

/// Items to fit on and items to compare on, all items of a row on one side.
#[derive(Debug)]
pub struct Holdout<'a> {
    /// Items to fit on.
    pub training: ItemSubset<'a>,
    /// Items to compare on.
    pub held_out: ItemSubset<'a>,
    /// Whether the caller named the rows held out.
    given: bool,
}

/// The recall of one method's maps on the rows held out.
#[derive(Debug, Clone, Serialize)]
pub struct ComparisonEntry {
    /// The method's name.
    pub map: String,
    /// Recall@1 + @5 + @10 of both directions, in percent, averaged over the pairs of modalities. Maps are
    /// chosen by it.
    pub rsum: f64,
    /// Mean of recall@1 to recall@20 of both directions, averaged over the pairs of modalities. It varies
    /// less with the sample.
    pub early_recall: f64,
    /// The recall of every pair of modalities.
    pub pairs: Vec<ComparisonPair>,
}

/// The recall of two maps on the held-out rows that hold both modalities, with the first item of each.
#[derive(Debug, Clone, Serialize)]
pub struct ComparisonPair {
    /// Names of the modalities.
    pub modalities: [String; 2],
    /// Number of rows.
    pub rows: usize,
    /// Recall@1 + @5 + @10 of both directions, in percent.
    pub rsum: f64,
    /// Recall@1, from the first modality to the second and back.
    #[serde(rename = "recall@1")]
    pub recall_at_1: [f64; 2],
}

/// Two modalities on the rows that hold both.
#[derive(Debug)]
struct HeldOutPair {
    names: [String; 2],
    modalities: [usize; 2],
    /// Places of the first items of every row.
    places: [Vec<usize>; 2],
}

/// The methods compared, in the order in which they were added.
#[derive(Debug)]
pub struct MapComparison {
    pairs: Vec<HeldOutPair>,
    entries: Vec<ComparisonEntry>,
}

impl<'a> Holdout<'a> {
    /// The validation rows held out where there are any, else a seeded fifth, at most 2000, of the rows that
    /// hold a pair of modalities whose retrieval counts; `None` when there are fewer than [`FEWEST`] of them.
    ///
    /// # Errors
    /// When the validation rows do not hold two pairs.
    pub fn new(views: &Views<'a>, seed: u64) -> Result<Option<Self>> {
        let rows: Vec<&[usize]> = views.all().iter().map(|view| view.rows.as_slice()).collect();
        let paired = paired_rows(&rows, &views.scored_pairs());
        let given = !views.validation().is_empty();
        let held_out: Vec<usize> = if given {
            let named = views.validation().to_vec();
            let count = named.iter().filter(|row| paired.binary_search(row).is_ok()).count();
            if count < 2 {
                let expected = "at least 2 that hold two modalities whose retrieval counts";
                return Err(Error::invalid(format!("validation rows: expected {expected}, got {count}")));
            }
            named
        } else if paired.len() < FEWEST {
            return Ok(None);
        } else {
            let parts = PARTS.max(paired.len().div_ceil(MOST));
            let fold = shuffled_folds(paired.len(), parts, seed)?.swap_remove(0);
            fold.test.into_iter().map(|place| paired[place]).collect()
        };
        let is_held_out = |row: usize| held_out.binary_search(&row).is_ok();
        Ok(Some(Self {
            training: ItemSubset::new(views, |row| !is_held_out(row)),
            held_out: ItemSubset::new(views, is_held_out),
            given,
        }))
    }

    /// What the closed forms are fitted on: with validation rows all of `views`, of which those rows choose
    /// the settings, else the training items.
    ///
    /// # Errors
    /// When a modality is left with fewer than two training items.
    pub fn closed_form_views<'b>(&'b self, views: &'b Views<'_>) -> Result<Views<'b>> {
        if self.given { reborrowed(views) } else { self.training.views(views) }
    }
}

/// Canonical correlation analysis, from which trained maps start. `given` are its parameters, chosen where
/// they are not set.
///
/// # Errors
/// When the parameters or the items are refused, or the caller asked to stop.
pub fn fit_start(views: &Views<'_>, given: &CcaParams, services: &Services<'_>) -> Result<Cca> {
    with_context(services, |context| given.clone().fit_views(views, context))
}

/// A closed form's fit, with the seed and the progress of these services.
///
/// # Errors
/// Those of the fit.
pub fn with_context<T>(
    services: &Services<'_>,
    fit: impl FnOnce(FitContext<'_>) -> chiasm_closed_form::Result<T>,
) -> Result<T> {
    let progress = |done, total| services.progress(done, total).is_ok();
    fit(FitContext { seed: services.seed(), progress: &progress }).map_err(plugin_error)
}

impl MapComparison {
    /// A comparison with the entries of the mean vector, Procrustes, ridge and `start`, all fitted on
    /// `views`.
    ///
    /// # Errors
    /// When no two rows held out hold a pair of modalities, a closed form refuses the items, or the engine
    /// fails.
    pub fn new(
        views: &Views<'_>,
        held_out: &ItemSubset<'_>,
        start: &Cca,
        services: &Services<'_>,
    ) -> Result<Self> {
        let names = views.names();
        let pairs = views.scored_pairs().into_iter().map(|(first, second)| HeldOutPair {
            names: [names[first].to_owned(), names[second].to_owned()],
            modalities: [first, second],
            places: first_items([&held_out.rows[first], &held_out.rows[second]]),
        });
        let pairs: Vec<HeldOutPair> = pairs.filter(|pair| pair.places[0].len() > 1).collect();
        if pairs.is_empty() {
            return Err(Error::invalid("rows held out: expected at least 2 that hold two modalities"));
        }
        let mut comparison = Self { pairs, entries: Vec::new() };
        for baseline in with_context(services, |context| baselines(views, context))? {
            comparison.add_graphs(baseline.name, &baseline.maps, held_out, services)?;
        }
        let maps = start.maps.iter().map(|map| map.graph().map_err(plugin_error));
        comparison.add_graphs("cca", &maps.collect::<Result<Vec<_>>>()?, held_out, services)?;
        Ok(comparison)
    }

    /// Adds maps given as graphs; returns their entry.
    ///
    /// # Errors
    /// When the engine fails or a mapped item holds NaN.
    pub fn add_graphs(
        &mut self,
        name: &str,
        maps: &[Graph],
        held_out: &ItemSubset<'_>,
        services: &Services<'_>,
    ) -> Result<ComparisonEntry> {
        let mapped = maps.iter().zip(&held_out.items).map(|(map, items)| apply(services, map, items.view()));
        self.add(name, &mapped.collect::<Result<Vec<_>>>()?)
    }

    /// Adds maps given by the unit rows of every item held out; returns their entry.
    ///
    /// # Errors
    /// When a mapped item holds NaN.
    pub fn add(&mut self, name: &str, mapped: &[Array2<f32>]) -> Result<ComparisonEntry> {
        let (mut rsum, mut early_recall, mut pairs) = (0.0, 0.0, Vec::new());
        for HeldOutPair { names, modalities, places } in &self.pairs {
            let [a, b] = [0, 1].map(|side| mapped[modalities[side]].select(Axis(0), &places[side]));
            let ranks = Ranks::of_embeddings(a.view(), b.view())?;
            rsum += ranks.rsum();
            early_recall += ranks.early_recall(DEPTH);
            pairs.push(ComparisonPair {
                modalities: names.clone(),
                rows: places[0].len(),
                rsum: ranks.rsum(),
                recall_at_1: [recall(&ranks.forward, 1), recall(&ranks.backward, 1)],
            });
        }
        let count = self.pairs.len() as f64;
        let entry = ComparisonEntry {
            map: name.to_owned(),
            rsum: rsum / count,
            early_recall: early_recall / count,
            pairs,
        };
        self.entries.push(entry.clone());
        Ok(entry)
    }

    /// The entry of this name.
    pub fn entry(&self, name: &str) -> Option<&ComparisonEntry> {
        self.entries.iter().find(|entry| entry.map == name)
    }

    /// Returns the number of rows compared, averaged over the pairs of modalities.
    pub fn rows(&self) -> f64 {
        let rows: usize = self.pairs.iter().map(|pair| pair.places[0].len()).sum();
        rows as f64 / self.pairs.len() as f64
    }

    /// Returns a sentence that says whether the trained maps have a larger rsum than every closed form. The
    /// names of their entries start with `trained`; the sentence calls them `title`.
    pub fn verdict(&self, trained: &str, title: &str) -> String {
        let best = |of: &mut dyn Iterator<Item = &ComparisonEntry>| {
            of.max_by(|a, b| a.rsum.total_cmp(&b.rsum)).cloned()
        };
        let own = best(&mut self.entries.iter().filter(|entry| entry.map.starts_with(trained)));
        let other = best(&mut self.entries.iter().filter(|entry| !entry.map.starts_with(trained)));
        let (Some(own), Some(other)) = (own, other) else { return String::new() };
        let figures = format!(
            "rsum {:.1} against {:.1}, mean recall@1..{DEPTH} {:.4} against {:.4}, on {:.0} rows held out",
            own.rsum,
            other.rsum,
            own.early_recall,
            other.early_recall,
            self.rows()
        );
        if own.rsum > other.rsum {
            format!("{title} beats every closed form here; the best of those is {}: {figures}", other.map)
        } else {
            format!("{title} does not beat {} here: {figures}", other.map)
        }
    }

    /// The entries for the notes.
    pub fn table(&self) -> Json {
        json!({ "rows": self.rows(), "maps": self.entries })
    }
}

/// Returns the places of the first item of every row that both lists hold.
fn first_items([first, second]: [&[usize]; 2]) -> [Vec<usize>; 2] {
    let starts = (0..first.len()).filter(|&place| place == 0 || first[place - 1] != first[place]);
    starts
        .filter_map(|place| {
            let other = second.partition_point(|&row| row < first[place]);
            (second.get(other) == Some(&first[place])).then_some((place, other))
        })
        .unzip()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_items_of_shared_rows_are_compared() {
        assert_eq!(first_items([&[0, 0, 2, 5], &[0, 1, 2, 2, 6]]), [[0, 2], [0, 2]]);
        assert_eq!(first_items([&[], &[1]]), [Vec::<usize>::new(), Vec::new()]);
    }
}
