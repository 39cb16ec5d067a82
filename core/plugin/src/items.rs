//! The training items of an aligner: the items of every modality, their rows, and pairs of items.

use ndarray::{Array2, ArrayView2, Axis};
use std::collections::BTreeMap;

use crate::{AlignSpec, Error, Inputs, Result};

/// The training items of every modality, in the order of the specification.
#[derive(Clone, Debug)]
pub struct TrainingItems<'a> {
    /// The items of each modality.
    pub modalities: Vec<ModalityItems<'a>>,
    /// The index of the anchor modality, if the recipe names one.
    pub anchor: Option<usize>,
    /// The validation rows, sorted in ascending order: they select settings and are not fitted on. If it is
    /// empty, the method has to hold out rows itself.
    pub validation: Vec<usize>,
    /// The class of each row that has a label, if the recipe names a column of labels; classes are numbered
    /// from 0.
    pub labels: BTreeMap<usize, usize>,
}

/// The training items of one modality.
#[derive(Clone, Debug)]
pub struct ModalityItems<'a> {
    /// The modality's name.
    pub name: String,
    /// The lengths of the encoders' vectors that are concatenated.
    pub blocks: Vec<usize>,
    /// The pooled vectors, `[items, dim]`.
    pub pooled: ArrayView2<'a, f32>,
    /// The row of each item, sorted in ascending order. A row with several items is repeated.
    pub rows: Vec<usize>,
}

/// Pairs of items of two modalities that share a row. Pair i is row i of both matrices.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// Vectors of the first modality, `[pairs, dim]`.
    pub first: Array2<f32>,
    /// Vectors of the second modality, `[pairs, dim]`.
    pub second: Array2<f32>,
    /// The row of each pair, sorted in ascending order.
    pub rows: Vec<usize>,
    /// The weight of each pair. The weights of one row sum to one.
    pub weights: Vec<f64>,
}

impl<'a> Inputs<'a> {
    /// Returns the items of every modality in the specification.
    ///
    /// # Errors
    /// If an array is missing or has the wrong shape, an item is not finite, the rows of a modality are not
    /// sorted, or the anchor is not a modality.
    pub fn training_items(&self, spec: &AlignSpec) -> Result<TrainingItems<'a>> {
        let modalities = spec.modalities.iter().map(|modality| {
            let name = &modality.name;
            let pooled = self.matrix(&format!("{name}.pooled"))?;
            let rows = self.rows(&format!("{name}.row"))?;
            if rows.len() != pooled.nrows() || pooled.ncols() != modality.dim {
                return Err(Error::invalid(format!(
                    "modality `{name}`: expected {} vectors of {} numbers, got shape {:?}",
                    rows.len(),
                    modality.dim,
                    pooled.shape()
                )));
            }
            if let Some(at) = pooled.outer_iter().position(|item| item.iter().any(|x| !x.is_finite())) {
                return Err(Error::invalid(format!(
                    "modality `{name}`: expected finite numbers, got NaN or infinity in item {at}"
                )));
            }
            if rows.windows(2).any(|two| two[0] > two[1]) {
                return Err(Error::invalid(format!(
                    "input `{name}.row`: expected rows sorted in ascending order"
                )));
            }
            Ok(ModalityItems { name: name.clone(), blocks: modality.blocks.clone(), pooled, rows })
        });
        let modalities = modalities.collect::<Result<Vec<_>>>()?;
        let anchor = match &spec.anchor {
            None => None,
            Some(anchor) => Some(modalities.iter().position(|one| one.name == *anchor).ok_or_else(|| {
                Error::invalid(format!("the anchor `{anchor}` is not one of the modalities"))
            })?),
        };
        let has_validation = self.names().any(|name| name == "validation");
        let mut validation = if has_validation { self.rows("validation")? } else { Vec::new() };
        validation.sort_unstable();
        validation.dedup();
        let labels = self.labels()?;
        Ok(TrainingItems { modalities, anchor, validation, labels })
    }

    /// The class of each row with a label; empty without the arrays of labels.
    fn labels(&self) -> Result<BTreeMap<usize, usize>> {
        if !self.names().any(|name| name == "label") {
            return Ok(BTreeMap::new());
        }
        let (rows, classes) = (self.rows("label.row")?, self.rows("label")?);
        if rows.len() != classes.len() {
            let got = format!("{} rows and {} labels", rows.len(), classes.len());
            return Err(Error::invalid(format!("input `label`: expected one label for each row, got {got}")));
        }
        Ok(rows.into_iter().zip(classes).collect())
    }

    fn rows(&self, name: &str) -> Result<Vec<usize>> {
        let rows = self.integers(name)?;
        let read = |row: &i64| {
            usize::try_from(*row).map_err(|_| {
                Error::invalid(format!("input `{name}`: expected rows of at least 0, got {row}"))
            })
        };
        rows.iter().map(read).collect()
    }
}

impl TrainingItems<'_> {
    /// Returns the index of the modality that the others are mapped onto: the anchor, or the last one if
    /// there is no anchor.
    pub fn reference(&self) -> usize {
        self.anchor.unwrap_or_else(|| self.modalities.len().saturating_sub(1))
    }

    /// Returns the pairs of two modalities, from the rows that have items of both.
    ///
    /// A row with p items of one and q of the other gives max(p, q) pairs: the shorter list is repeated.
    pub fn pairs(&self, first: usize, second: usize) -> Pairs {
        let (a, b) = (&self.modalities[first], &self.modalities[second]);
        let mut places: [Vec<usize>; 2] = [Vec::new(), Vec::new()];
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for (row, own) in groups(&a.rows) {
            let start = b.rows.partition_point(|other| *other < row);
            let count = b.rows[start..].iter().take_while(|other| **other == row).count();
            if count == 0 {
                continue;
            }
            let all = own.len().max(count);
            for pair in 0..all {
                places[0].push(own.start + pair % own.len());
                places[1].push(start + pair % count);
                rows.push(row);
                weights.push(1.0 / all as f64);
            }
        }
        Pairs {
            first: a.pooled.select(Axis(0), &places[0]),
            second: b.pooled.select(Axis(0), &places[1]),
            rows,
            weights,
        }
    }
}

/// Returns every row with the indices of its items.
fn groups(rows: &[usize]) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> + '_ {
    let mut start = 0;
    rows.chunk_by(|a, b| a == b).map(move |chunk| {
        let range = start..start + chunk.len();
        start = range.end;
        (chunk[0], range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AlignModality;
    use ndarray::{Array1, array};

    fn spec(anchor: Option<&str>) -> AlignSpec {
        let modality = |name: &str, dim| AlignModality { name: name.into(), dim, blocks: vec![dim] };
        let modalities = vec![modality("image", 1), modality("text", 2)];
        AlignSpec { modalities, anchor: anchor.map(str::to_owned) }
    }

    #[test]
    fn items_that_share_a_row_are_pairs_and_the_weights_of_a_row_sum_to_one() {
        let image = array![[1.0_f32], [2.0], [3.0]];
        let text = array![[10.0_f32, 0.0], [20.0, 0.0], [30.0, 0.0], [40.0, 0.0]];
        let (rows_i, rows_t) = (Array1::from(vec![0_i64, 1, 4]), Array1::from(vec![1_i64, 1, 3, 4]));
        let inputs = Inputs::of(&[("image.pooled", image.view()), ("text.pooled", text.view())])
            .and_integers(&[("image.row", rows_i.view().into_dyn()), ("text.row", rows_t.view().into_dyn())]);
        let items = inputs.training_items(&spec(None)).unwrap();
        assert_eq!((items.reference(), items.modalities[1].rows.as_slice()), (1, &[1, 1, 3, 4][..]));
        let pairs = items.pairs(0, 1);
        assert_eq!(pairs.rows, [1, 1, 4]);
        assert_eq!(pairs.first.column(0).to_vec(), [2.0, 2.0, 3.0]);
        assert_eq!(pairs.second.column(0).to_vec(), [10.0, 20.0, 40.0]);
        assert_eq!(pairs.weights, [0.5, 0.5, 1.0]);
    }

    #[test]
    fn an_item_that_is_not_finite_is_refused_with_its_place() {
        let (image, text) = (array![[1.0_f32], [2.0]], array![[1.0_f32, 0.0], [0.0, f32::INFINITY]]);
        let rows = Array1::from(vec![0_i64, 1]);
        let rows = [("image.row", rows.view().into_dyn()), ("text.row", rows.view().into_dyn())];
        let inputs = Inputs::of(&[("image.pooled", image.view()), ("text.pooled", text.view())]);
        let refusal = inputs.and_integers(&rows).training_items(&spec(None)).unwrap_err();
        assert!(refusal.message().contains("`text`") && refusal.message().contains("item 1"), "{refusal}");
    }

    #[test]
    fn an_unknown_anchor_and_unsorted_rows_are_refused() {
        let (image, text) = (array![[1.0_f32], [2.0]], array![[1.0_f32, 0.0], [0.0, 1.0]]);
        let (sorted, unsorted) = (Array1::from(vec![0_i64, 1]), Array1::from(vec![1_i64, 0]));
        let views = |spec: &AlignSpec, rows: &Array1<i64>| {
            let rows = [("image.row", sorted.view().into_dyn()), ("text.row", rows.view().into_dyn())];
            let inputs = Inputs::of(&[("image.pooled", image.view()), ("text.pooled", text.view())]);
            inputs.and_integers(&rows).training_items(spec).map(|items| items.reference())
        };
        assert_eq!(views(&spec(Some("image")), &sorted).unwrap(), 0);
        assert!(views(&spec(Some("sound")), &sorted).unwrap_err().message().contains("`sound`"));
        assert!(views(&spec(None), &unsorted).unwrap_err().message().contains("`text.row`"));
    }
}
