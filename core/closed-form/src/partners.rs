//! The items of two modalities with and without a partner, for [`crate::ot_map`].

use chiasm_geometry::linalg::unit_rows;
use chiasm_geometry::random::Random;
use ndarray::{Array1, Array2, Axis, Slice};

use crate::Views;
use crate::basis::columns;
use crate::prepared::Prepared;
use crate::sample::{RowMeans, selected, weights};

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

    /// All items, the known ones first.
    pub(crate) fn places(&self) -> Vec<usize> {
        self.known.iter().chain(&self.rest).copied().collect()
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
