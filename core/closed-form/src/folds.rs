//! Splits the rows of a search into training and test rows.

use chiasm_geometry::folds::shuffled_folds;
use chiasm_geometry::random::Random;

use crate::sample::{matches, subset};
use crate::views::groups;
use crate::{Result, View, Views};

/// Folds of the inner cross-validation.
const FOLDS: usize = 5;
/// Below this many rows nothing is searched, because a fold would hold a single row.
const FEWEST: usize = 2 * FOLDS;
/// The largest number of rows that a search fits on, or tests; more rows did not change a choice.
pub(crate) const MOST: usize = 2000;

/// The splits of a search.
pub(crate) struct Folds {
    pub(crate) splits: Vec<RowFold>,
    /// Number of rows used.
    pub(crate) rows: usize,
    /// Whether the test rows are the validation rows.
    pub(crate) validation: bool,
}

/// One split, by modality.
pub(crate) struct RowFold {
    /// Places of the items to fit on.
    pub(crate) train: Vec<Vec<usize>>,
    /// Places of the test items: one for each test row that holds the modality.
    pub(crate) test: Vec<Vec<usize>>,
    pub(crate) matches: Vec<Match>,
}

/// The test items of two modalities that share a row.
pub(crate) struct Match {
    pub(crate) modalities: (usize, usize),
    /// Places among the test items of each.
    pub(crate) places: (Vec<usize>, Vec<usize>),
}

impl Folds {
    /// Splits the rows that hold two or more modalities; `None` if there are too few of them.
    pub(crate) fn of(views: &Views<'_>, seed: u64) -> Result<Option<Self>> {
        let is_validation = |row: &usize| views.validation().binary_search(row).is_ok();
        let (validation, training): (Vec<usize>, Vec<usize>) =
            views.shared_rows().into_iter().partition(is_validation);
        let enough = |rows: &[usize]| views.all().iter().all(|view| count(view, rows) >= FEWEST);
        if !enough(&training) {
            return Ok(None);
        }
        let pick = |rows: &[usize], places: Vec<usize>| -> Vec<usize> {
            places.into_iter().map(|place| rows[place]).collect()
        };
        let training = pick(&training, subset(training.len(), MOST, seed));
        let by_validation = enough(&validation);
        let splits: Vec<(Vec<usize>, Vec<usize>)> = if by_validation {
            vec![(training.clone(), pick(&validation, subset(validation.len(), MOST, seed)))]
        } else {
            let folds = shuffled_folds(training.len(), FOLDS, seed)?.into_iter();
            folds.map(|fold| (pick(&training, fold.train), pick(&training, fold.test))).collect()
        };
        let rows = training.len() + if by_validation { splits[0].1.len() } else { 0 };
        let splits = splits.iter().map(|(train, test)| RowFold::of(views, train, test, seed)).collect();
        Ok(Some(Self { splits, rows, validation: by_validation }))
    }

    /// Returns the mean of `figure(number of test rows)` over folds and pairs of modalities.
    pub(crate) fn mean_over_matches(&self, figure: impl Fn(usize) -> f64) -> f64 {
        let all: Vec<f64> = self
            .splits
            .iter()
            .flat_map(|split| split.matches.iter().map(|found| figure(found.places.0.len())))
            .collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    }
}

impl RowFold {
    fn of(views: &Views<'_>, train: &[usize], test: &[usize], seed: u64) -> Self {
        let training = |view: &View<'_>| {
            let places = groups(&view.rows).filter(|(row, _)| train.binary_search(row).is_ok());
            places.flat_map(|(_, places)| places).collect()
        };
        let tested: Vec<Vec<usize>> =
            views.all().iter().map(|view| one_item_a_row(view, test, seed)).collect();
        let rows = |at: usize| -> Vec<usize> {
            tested[at].iter().map(|&place| views.all()[at].rows[place]).collect()
        };
        let found = |(a, b): (usize, usize)| {
            let places = matches(&rows(a), &rows(b));
            (!places.0.is_empty()).then_some(Match { modalities: (a, b), places })
        };
        let matches = views.scored_pairs().into_iter().filter_map(found).collect();
        Self { train: views.all().iter().map(training).collect(), test: tested, matches }
    }
}

/// Counts the `rows` that hold an item of the view.
fn count(view: &View<'_>, rows: &[usize]) -> usize {
    groups(&view.rows).filter(|(row, _)| rows.binary_search(row).is_ok()).count()
}

/// Returns the place of one item of each of these rows, drawn at random if a row holds several.
fn one_item_a_row(view: &View<'_>, rows: &[usize], seed: u64) -> Vec<usize> {
    let mut random = Random::new(seed);
    groups(&view.rows)
        .filter(|(row, _)| rows.binary_search(row).is_ok())
        .map(|(_, places)| places.start + if places.len() > 1 { random.below(places.len()) } else { 0 })
        .collect()
}
