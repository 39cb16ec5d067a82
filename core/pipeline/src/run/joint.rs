//! Queries of several modalities at once: what a row shows in all modalities but one retrieves the items of
//! that one.
//!
//! The vector of a query is the mean of the embeddings of its items, first over the items of a modality, then
//! over the modalities. Its dot product with an item is the mean of the scores of the single queries (the sum
//! rule of Kittler et al. 1998), with or without a hubness bank.

use super::model::AlignedItems;
use ndarray::{Array2, ArrayView1, Axis};
use std::collections::BTreeSet;

/// Returns the queries for the items of the modality `target`: one for each row that shows all other
/// modalities. `None` if there are fewer than three modalities or no such row.
pub fn joint_queries(aligned: &[AlignedItems], target: usize) -> Option<AlignedItems> {
    let others: Vec<&AlignedItems> =
        aligned.iter().enumerate().filter(|(at, _)| *at != target).map(|(_, own)| own).collect();
    let (first, rest) = others.split_first().filter(|(_, rest)| !rest.is_empty())?;
    let rows: BTreeSet<usize> = first.rows.iter().copied().collect();
    let shown = |row: &usize| rest.iter().all(|own| own.rows.binary_search(row).is_ok());
    let rows: Vec<usize> = rows.into_iter().filter(shown).collect();
    let singles: Vec<AlignedItems> = others.iter().map(|own| row_means(own, &rows)).collect();
    let name = singles.iter().map(|own| own.name.as_str()).collect::<Vec<_>>().join("+");
    let mean = |vectors: fn(&AlignedItems) -> &Array2<f32>| {
        let mut singles = singles.iter();
        let first = vectors(singles.next()?).clone();
        Some(singles.fold(first, |sum, own| sum + vectors(own)) / others.len() as f32)
    };
    let (z, embeds) = (mean(|own| &own.z)?, mean(|own| &own.embeds)?);
    let items = (0..rows.len()).collect();
    (!rows.is_empty()).then_some(AlignedItems { name, z, embeds, rows, items })
}

/// Returns the mean vector of the items of each row, in the order of the rows; zero for a row without items.
pub fn row_means(own: &AlignedItems, rows: &[usize]) -> AlignedItems {
    let mean = |vectors: &Array2<f32>| {
        let mut means = Array2::zeros((rows.len(), vectors.ncols()));
        for (row, mut mean) in rows.iter().zip(means.rows_mut()) {
            let first = own.rows.partition_point(|held| held < row);
            let count = own.rows[first..].iter().take_while(|held| *held == row).count();
            let items = (first..first + count).map(|at| vectors.index_axis(Axis(0), at));
            items.for_each(|item: ArrayView1<'_, f32>| mean += &item);
            mean /= count.max(1) as f32;
        }
        means
    };
    let (rows, items) = (rows.to_vec(), (0..rows.len()).collect());
    AlignedItems { name: own.name.clone(), z: mean(&own.z), embeds: mean(&own.embeds), rows, items }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn items(name: &str, vectors: Array2<f32>, rows: &[usize]) -> AlignedItems {
        let (rows, items) = (rows.to_vec(), (0..rows.len()).collect());
        AlignedItems { name: name.to_owned(), z: vectors.clone(), embeds: vectors, rows, items }
    }

    /// Row 0 lacks a sound, so it has no joint query. Row 2 shows two pictures, which count as their mean.
    #[test]
    fn a_joint_query_is_the_mean_of_the_modalities_of_its_row() {
        let pictures = array![[9.0, 9.0], [1.0, 0.0], [0.0, 4.0], [2.0, 2.0]];
        let all = [
            items("image", pictures, &[0, 1, 2, 2]),
            items("sound", array![[0.0, 1.0], [3.0, 1.0]], &[1, 2]),
            items("text", array![[1.0, 1.0]], &[1]),
        ];
        let queries = joint_queries(&all, 2).unwrap();
        assert_eq!((queries.name.as_str(), queries.rows.as_slice()), ("image+sound", [1, 2].as_slice()));
        assert_eq!(queries.embeds, array![[0.5, 0.5], [2.0, 2.0]]);
        assert!(joint_queries(&all[..2], 0).is_none(), "a query of one modality is not joint");
    }
}
