//! The input of a fit: the items of every modality and the row of each item.

use std::collections::BTreeSet;
use std::ops::Range;

use linfa::DatasetBase;
use ndarray::{ArrayBase, ArrayView2, Data, Ix2};

use crate::transform::unfit_item;
use crate::{Error, Result};

/// The items of one modality.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The modality's name, which messages and parameters use.
    pub name: String,
    /// Lengths of the encoders' vectors that are concatenated in an item; their sum is the number of columns.
    pub blocks: Vec<usize>,
    /// One vector for each item, `[items, d]`.
    pub items: ArrayView2<'a, f32>,
    /// The row of each item, in ascending order. Items of different modalities with the same row are pairs;
    /// a row may hold several items of a modality, or none.
    pub rows: Vec<usize>,
}

/// The checked items of two or more modalities.
#[derive(Debug, Clone)]
pub struct Views<'a> {
    views: Vec<View<'a>>,
    anchor: Option<usize>,
    validation: Vec<usize>,
}

impl<'a> Views<'a> {
    /// Views of two or more modalities. `anchor` is the place of the modality that the others are bound to,
    /// if one is named. `validation` lists the rows that choose between settings and are not fitted on; when
    /// it is empty, settings are chosen by cross-validation.
    ///
    /// # Errors
    /// When there are fewer than two modalities, two have one name, the anchor is none of them, an array has
    /// no columns or holds a value that is not finite, blocks or rows do not fit an array, rows are not in
    /// ascending order, or a modality is left with fewer than two items to fit on.
    pub fn new(views: Vec<View<'a>>, anchor: Option<usize>, mut validation: Vec<usize>) -> Result<Self> {
        let count = views.len();
        if count < 2 {
            return Err(Error::data("modalities", "2 or more", count.to_string()));
        }
        if let Some(place) = anchor.filter(|place| *place >= count) {
            return Err(Error::data("anchor", format!("a place below {count}"), place.to_string()));
        }
        validation.sort_unstable();
        validation.dedup();
        let mut names = BTreeSet::new();
        for view in &views {
            if !names.insert(view.name.as_str()) {
                let got = format!("`{}` twice", view.name);
                return Err(Error::data("modalities", "names that differ", got));
            }
            view.check(&validation)?;
        }
        Ok(Self { views, anchor, validation })
    }

    /// Two modalities, `first` and `second`, with one item each in every row: row i of one array belongs to
    /// row i of the other.
    ///
    /// # Errors
    /// When the row counts differ, and as [`Views::new`].
    pub fn paired(first: ArrayView2<'a, f32>, second: ArrayView2<'a, f32>) -> Result<Self> {
        let (n, m) = (first.nrows(), second.nrows());
        if n != m {
            let got = format!("{n} rows of the first array and {m} of the second");
            return Err(Error::data("paired arrays", "as many rows in both", got));
        }
        let view = |name: &str, items: ArrayView2<'a, f32>| View {
            name: name.to_owned(),
            blocks: vec![items.ncols()],
            items,
            rows: (0..n).collect(),
        };
        Self::new(vec![view("first", first), view("second", second)], None, Vec::new())
    }

    /// Pairs from a linfa data set: records are the first modality, targets the second.
    ///
    /// # Errors
    /// As [`Views::paired`].
    pub fn of<S: Data<Elem = f32>>(
        dataset: &'a DatasetBase<ArrayBase<S, Ix2>, ArrayBase<S, Ix2>>,
    ) -> Result<Self> {
        Self::paired(dataset.records.view(), dataset.targets.view())
    }

    /// The modalities, in the order given.
    pub fn all(&self) -> &[View<'a>] {
        &self.views
    }

    /// Number of modalities, at least two.
    pub fn count(&self) -> usize {
        self.views.len()
    }

    /// The names of the modalities.
    pub fn names(&self) -> Vec<&str> {
        self.views.iter().map(|view| view.name.as_str()).collect()
    }

    /// The place of the anchor, when one was named.
    pub fn anchor(&self) -> Option<usize> {
        self.anchor
    }

    /// The place of the modality that the others are mapped onto: the anchor, or the last one where none is
    /// named.
    pub fn reference(&self) -> usize {
        self.anchor.unwrap_or(self.views.len() - 1)
    }

    /// The rows that choose between settings, in ascending order.
    pub fn validation(&self) -> &[usize] {
        &self.validation
    }

    /// The pairs of modalities whose retrieval counts: those with the anchor when one is named, else all of
    /// them.
    pub fn scored_pairs(&self) -> Vec<(usize, usize)> {
        let with_anchor =
            |&(a, b): &(usize, usize)| self.anchor.is_none_or(|anchor| a == anchor || b == anchor);
        pairs(self.count()).filter(with_anchor).collect()
    }

    /// The items that are fitted on, by place: those in no validation row.
    pub(crate) fn training(&self) -> Vec<Vec<usize>> {
        let training = |view: &View<'_>| {
            let row_of = |place: &usize| self.validation.binary_search(&view.rows[*place]).is_err();
            (0..view.rows.len()).filter(row_of).collect()
        };
        self.views.iter().map(training).collect()
    }

    /// The rows that hold items of two or more modalities, in ascending order.
    pub(crate) fn shared_rows(&self) -> Vec<usize> {
        let mut rows: Vec<usize> =
            self.views.iter().flat_map(|view| groups(&view.rows).map(|(row, _)| row)).collect();
        rows.sort_unstable();
        rows.chunk_by(|a, b| a == b).filter(|chunk| chunk.len() > 1).map(|chunk| chunk[0]).collect()
    }

    /// Fails unless a chain of shared training rows leads from each modality to every other.
    pub(crate) fn check_linked(&self) -> Result<()> {
        let count = self.count();
        let training = self.training();
        let rows: Vec<Vec<usize>> = (0..count)
            .map(|at| training[at].iter().map(|&place| self.views[at].rows[place]).collect())
            .collect();
        let mut reached = vec![0];
        for step in 0..count {
            let Some(&from) = reached.get(step) else { break };
            for to in 0..count {
                if !reached.contains(&to) && shares_a_row(&rows[from], &rows[to]) {
                    reached.push(to);
                }
            }
        }
        match (0..count).find(|at| !reached.contains(at)) {
            None => Ok(()),
            Some(alone) => Err(Error::data(
                format!("rows of modality `{}`", self.views[alone].name),
                format!(
                    "some that also hold `{}`, or a modality that shares rows with it",
                    self.views[0].name
                ),
                "none: nothing says which items belong together",
            )),
        }
    }
}

impl View<'_> {
    fn check(&self, validation: &[usize]) -> Result<()> {
        let what = format!("modality `{}`", self.name);
        let (n, d) = self.items.dim();
        if d == 0 {
            return Err(Error::data(what, "at least 1 column", "0"));
        }
        if self.blocks.iter().sum::<usize>() != d || self.blocks.contains(&0) {
            let got = format!("{:?}", self.blocks);
            return Err(Error::data(what, format!("blocks above 0 that add up to {d}"), got));
        }
        if self.rows.len() != n {
            let got = format!("{} row numbers for {n} items", self.rows.len());
            return Err(Error::data(what, "one row number for each item", got));
        }
        if let Some(at) = self.rows.windows(2).position(|two| two[0] > two[1]) {
            let got = format!("row {} after row {}", self.rows[at + 1], self.rows[at]);
            return Err(Error::data(what, "rows in ascending order", got));
        }
        if let Some((at, expected, got)) = unfit_item(self.items.view()) {
            return Err(Error::data(what, expected, format!("{got} in item {at}")));
        }
        let fitted = self.rows.iter().filter(|row| validation.binary_search(row).is_err()).count();
        if fitted < 2 {
            return Err(Error::data(what, "at least 2 items to fit on", fitted.to_string()));
        }
        Ok(())
    }
}

/// All pairs `(a, b)` with `a < b < count`, in order.
pub(crate) fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |a| (a + 1..count).map(move |b| (a, b)))
}

/// Every row with the places of its items, in order.
pub(crate) fn groups(rows: &[usize]) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
    let mut start = 0;
    rows.chunk_by(|a, b| a == b).map(move |chunk| {
        let range = start..start + chunk.len();
        start = range.end;
        (chunk[0], range)
    })
}

/// Returns whether two ascending lists have an entry in common.
fn shares_a_row(a: &[usize], b: &[usize]) -> bool {
    a.iter().any(|row| b.binary_search(row).is_ok())
}
