//! The items of two modalities with and without a partner, for [`crate::ot_map`].

use chiasm_geometry::linalg::unit_rows;
use chiasm_geometry::random::Random;
use ndarray::{Array1, Array2, Axis, Slice};

use crate::basis::columns;
use crate::prepared::Prepared;
use crate::sample::{RowMeans, selected, weights};
use crate::{Result, View, Views};

/// The training items of one modality, by place.
pub(crate) struct PartnerSplit {
    /// The items of the known pairs.
    pub(crate) known: Vec<usize>,
    /// The row of each of these.
    pub(crate) known_rows: Vec<usize>,
    /// The items without a partner.
    pub(crate) rest: Vec<usize>,
    /// 1/n(row) of each of these.
    pub(crate) rest_weights: Array1<f64>,
}

impl PartnerSplit {
    /// Splits the items of both modalities; at most `limit` rows that hold both are known pairs. The other
    /// items of the reference are shuffled, so that their order cannot reveal their partners.
    pub(crate) fn of(views: &Views<'_>, limit: Option<usize>, seed: u64) -> [Self; 2] {
        let training = views.training();
        let rows = [0, 1].map(|at| selected(&views.all()[at].rows, &training[at]));
        let mut shared: Vec<usize> =
            rows[0].iter().copied().filter(|row| rows[1].binary_search(row).is_ok()).collect();
        shared.dedup();
        shared.truncate(limit.unwrap_or(usize::MAX));
        [0, 1].map(|at| {
            let row = |place: &usize| views.all()[at].rows[*place];
            let is_known = |place: &usize| shared.binary_search(&row(place)).is_ok();
            let (known, mut rest): (Vec<usize>, Vec<usize>) =
                training[at].iter().copied().partition(is_known);
            let counts = weights(&rows[at]);
            let weight_of = |place: &usize| -> f64 {
                let at = training[at].binary_search(place);
                counts.as_ref().zip(at.ok()).map_or(1.0, |(counts, at)| counts[at])
            };
            if at == views.reference() {
                rest = selected(&rest, &Random::new(seed).permutation(rest.len()));
            }
            Self {
                known_rows: known.iter().map(row).collect(),
                rest_weights: rest.iter().map(weight_of).collect(),
                known,
                rest,
            }
        })
    }

    /// The items of the known pairs at the places `train`, and one item of each pair at the places `test`,
    /// followed by the items without a partner. Places count the rows of the pairs in ascending order.
    pub(crate) fn fold(&self, train: &[usize], test: &[usize]) -> (Vec<usize>, Vec<usize>) {
        let mut rows = self.known_rows.clone();
        rows.dedup();
        let trained: Vec<usize> = selected(&rows, train);
        let in_training = |row: &usize| trained.contains(row);
        let known = || self.known.iter().zip(&self.known_rows);
        let fitted = known().filter(|(_, row)| in_training(row)).map(|(place, _)| *place).collect();
        let first = |at: &usize| known().find(|(_, row)| **row == rows[*at]).map(|(place, _)| *place);
        let tested = test.iter().filter_map(first).chain(self.rest.iter().copied()).collect();
        (fitted, tested)
    }

    /// All items, the known ones first.
    pub(crate) fn places(&self) -> Vec<usize> {
        self.known.iter().chain(&self.rest).copied().collect()
    }
}

/// The items of the known pairs, and of the validation rows, of both modalities.
pub(crate) struct KnownPairs {
    items: [Array2<f32>; 2],
    rows: [Vec<usize>; 2],
}

impl KnownPairs {
    pub(crate) fn of(views: &Views<'_>, parts: &[PartnerSplit; 2]) -> Self {
        let places = [0, 1].map(|at| -> Vec<usize> {
            let is_known = |row: &usize| {
                parts[at].known_rows.binary_search(row).is_ok()
                    || views.validation().binary_search(row).is_ok()
            };
            let rows = &views.all()[at].rows;
            (0..rows.len()).filter(|place| is_known(&rows[*place])).collect()
        });
        Self {
            items: [0, 1].map(|at| views.all()[at].items.select(Axis(0), &places[at])),
            rows: [0, 1].map(|at| selected(&views.all()[at].rows, &places[at])),
        }
    }

    /// These items as modalities like those of `views`.
    pub(crate) fn views<'a>(&'a self, views: &Views<'_>) -> Result<Views<'a>> {
        let view = |at: usize| View {
            name: views.all()[at].name.clone(),
            blocks: views.all()[at].blocks.clone(),
            items: self.items[at].view(),
            rows: self.rows[at].clone(),
        };
        Views::new(vec![view(0), view(1)], views.anchor(), views.validation().to_vec())
    }
}

/// Unit rows of one modality.
pub(crate) struct PartnerClouds {
    /// Of all items.
    pub(crate) all: Array2<f64>,
    /// Of the known pairs.
    pub(crate) known: RowMeans,
    /// Of the items without a partner.
    pub(crate) rest: Array2<f64>,
    /// 1/n(row) of these.
    pub(crate) weights: Array1<f64>,
}

impl PartnerClouds {
    /// The first k coordinates of items in the order of [`PartnerSplit::places`].
    pub(crate) fn of(view: &Prepared, parts: &PartnerSplit, k: usize) -> Self {
        let all = unit_rows(columns(&view.coordinates, k).to_owned());
        let part = |range: Slice| all.slice_axis(Axis(0), range).to_owned();
        let known = parts.known.len();
        Self {
            known: RowMeans::of(part(Slice::from(..known)), &parts.known_rows),
            rest: part(Slice::from(known..)),
            weights: parts.rest_weights.clone(),
            all,
        }
    }

    /// Some of the items without a partner, and no pairs.
    pub(crate) fn at(&self, places: &[usize]) -> Self {
        let rest = self.rest.select(Axis(0), places);
        Self {
            known: RowMeans::of(Array2::zeros((0, rest.ncols())), &[]),
            weights: self.weights.select(Axis(0), places),
            all: rest.clone(),
            rest,
        }
    }
}
