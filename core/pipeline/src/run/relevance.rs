//! Which items are relevant for which, and the retrieval of one modality by another.
//!
//! An item that several rows show, such as a picture with one row for each caption, is one query and one item
//! of the gallery, and the items of all its rows are relevant for it.

use super::model::AlignedItems;
use crate::{base::error::Error, plan::data::RecipeData, recipe::Recipe};
use chiasm_geometry::retrieval::{Retrieval, RetrievalOutcomes, SharedItems};
use ndarray::Array2;
use serde_json::Value;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
};

/// The group of every row. Items whose rows are in the same group are relevant for each other.
pub struct Relevance(Vec<usize>);

impl Relevance {
    /// Groups rows by their value in the column that the recipe names as `eval.label`; if it names none, each
    /// row is a group.
    pub fn of(data: &RecipeData, recipe: &Recipe) -> Self {
        match &recipe.eval.label {
            None => Self((0..data.dataset.len()).collect()),
            Some(column) => Self(classes(data.dataset.values(&column.value))),
        }
    }

    /// Returns the distinct items, in the order of their first rows, and the groups of each.
    fn distinct<'a>(&self, own: &'a AlignedItems) -> (Cow<'a, AlignedItems>, Vec<Vec<usize>>) {
        let mut places: HashMap<usize, usize> = HashMap::new();
        let (mut first, mut groups): (Vec<usize>, Vec<Vec<usize>>) = (Vec::new(), Vec::new());
        for (at, (item, row)) in own.items.iter().zip(&own.rows).enumerate() {
            let place = *places.entry(*item).or_insert_with(|| {
                first.push(at);
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[place].push(self.0[*row]);
        }
        for own in &mut groups {
            own.sort_unstable();
            own.dedup();
        }
        let all = first.len() == own.rows.len();
        (if all { Cow::Borrowed(own) } else { Cow::Owned(own.at(&first)) }, groups)
    }
}

/// Numbers the distinct values in the order in which they appear.
pub fn classes<'a>(values: impl IntoIterator<Item = &'a Value>) -> Vec<usize> {
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let of = |value: &Value| {
        let next = numbers.len();
        *numbers.entry(value.to_string()).or_insert(next)
    };
    values.into_iter().map(of).collect()
}

/// An ordered pair of modalities: distinct queries and a gallery of distinct items.
pub(super) struct RetrievalDirection<'a> {
    pub first: Cow<'a, AlignedItems>,
    pub second: Cow<'a, AlignedItems>,
    pub groups: [Vec<Vec<usize>>; 2],
}

impl<'a> RetrievalDirection<'a> {
    /// Returns every ordered pair of modalities that have a common group, with its name.
    pub fn all(aligned: &'a [AlignedItems], relevance: &Relevance) -> Vec<(String, Self)> {
        let pairs = aligned.iter().flat_map(|first| aligned.iter().map(move |second| (first, second)));
        let different = pairs.filter(|(first, second)| first.name != second.name);
        different.filter_map(|(first, second)| Self::new(first, second, relevance)).collect()
    }

    /// Returns a direction with its name; `None` if no group is common.
    pub fn new(
        first: &'a AlignedItems,
        second: &'a AlignedItems,
        relevance: &Relevance,
    ) -> Option<(String, Self)> {
        let name = format!("{}->{}", first.name, second.name);
        let [(first, of_first), (second, of_second)] = [first, second].map(|own| relevance.distinct(own));
        let others: HashSet<&usize> = of_second.iter().flatten().collect();
        let shared = of_first.iter().flatten().any(|group| others.contains(group));
        shared.then(|| (name, Self { first, second, groups: [of_first, of_second] }))
    }

    /// Returns the direction with at most this many of its queries, evenly spaced, and the whole gallery.
    pub fn sampled(self, most: usize) -> Self {
        let all = self.first.items.len();
        if all <= most {
            return self;
        }
        let kept: Vec<usize> = (0..most).map(|at| at * all / most).collect();
        let [of_first, of_second] = self.groups;
        let groups = kept.iter().map(|at| of_first[*at].clone()).collect();
        Self { first: Cow::Owned(self.first.at(&kept)), second: self.second, groups: [groups, of_second] }
    }

    /// Ranks the gallery for every query by the dot products of the embeddings.
    pub fn outcomes(&self) -> Result<RetrievalOutcomes, Error> {
        Ok(self.retrieval(|own| &own.embeds, None)?.outcomes())
    }

    pub fn retrieval<'b>(
        &'b self,
        vectors: impl Fn(&'b AlignedItems) -> &'b Array2<f32>,
        penalty: Option<&[f64]>,
    ) -> Result<Retrieval<'b>, Error> {
        let queries = SharedItems { vectors: vectors(&self.first).view(), groups: &self.groups[0] };
        let gallery = SharedItems { vectors: vectors(&self.second).view(), groups: &self.groups[1] };
        Retrieval::shared(queries, gallery, penalty).map_err(measure_error)
    }
}

/// An error of the measures, which the checks of a plan should have prevented.
pub(super) fn measure_error(error: chiasm_geometry::Error) -> Error {
    Error::Internal(format!("measuring retrieval: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_the_queries_has_their_ranks_among_the_whole_gallery() {
        let items = |name: &str, shift: f32| AlignedItems {
            name: name.to_owned(),
            z: Array2::zeros((10, 2)),
            embeds: Array2::from_shape_fn((10, 2), |(at, axis)| {
                let angle = at as f32 * 0.7 + shift * (at % 3) as f32;
                if axis == 0 { angle.cos() } else { angle.sin() }
            }),
            rows: (0..10).collect(),
            items: (0..10).collect(),
        };
        let (first, second) = (items("a", 0.0), items("b", 0.9));
        let relevance = Relevance((0..10).collect());
        let direction = || RetrievalDirection::new(&first, &second, &relevance).unwrap().1;
        let ranks = |direction: RetrievalDirection<'_>| -> Vec<f64> {
            direction.outcomes().unwrap().outcomes.iter().map(|one| one.first.expected()).collect()
        };
        let whole = ranks(direction());
        assert!(whole.iter().any(|rank| *rank > 1.0), "{whole:?}");
        assert_eq!(ranks(direction().sampled(4)), [0, 2, 5, 7].map(|at| whole[at]));
        assert_eq!(ranks(direction().sampled(10)), whole);
    }
}
