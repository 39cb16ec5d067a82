//! The three projections of one space, and the nearest neighbours that two of them start from.

use crate::{
    projection::{Projection, principal_components},
    tsne, umap,
};
use chiasm_geometry::{Error, neighbours::Neighbours};
use ndarray::{Array2, ArrayView2, Axis, Slice};

/// The fewest items that t-SNE and UMAP are made of.
pub const FEWEST: usize = 10;

/// Projections of the same vectors in two dimensions.
pub struct Layouts {
    /// The principal components.
    pub principal: Projection,
    /// t-SNE, or why there is none.
    pub tsne: Result<Array2<f64>, String>,
    /// UMAP, or why there is none.
    pub umap: Result<Array2<f64>, String>,
}

impl Layouts {
    /// Projects vectors `[rows, width]` in every way.
    ///
    /// # Errors
    /// If a value is not finite or a decomposition does not converge.
    pub fn new(vectors: ArrayView2<'_, f32>, seed: u64) -> Result<Self, Error> {
        let principal = principal_components(vectors)?;
        let near = nearest(vectors.mapv(f64::from).view(), tsne::NEIGHBOURS, seed)?;
        let few = || Err(format!("{FEWEST} items are needed, there are {}", vectors.nrows()));
        let Some(near) = near.filter(|_| vectors.nrows() >= FEWEST) else {
            return Ok(Self { principal, tsne: few(), umap: few() });
        };
        let points = principal.points.view();
        let tsne = tsne::tsne(&near, points, seed);
        let umap = Ok(umap::umap(&first(near, umap::NEIGHBOURS), points, seed));
        Ok(Self { principal, tsne, umap })
    }
}

/// Returns the `k` nearest other rows of every row, or all of them if there are fewer; `None` if there is no
/// other row. Distances are Euclidean and ascending; of equally near rows the first ones come first, but
/// which of them are among the `k` depends on `seed`.
///
/// # Errors
/// If a value is not finite.
pub fn nearest(vectors: ArrayView2<'_, f64>, k: usize, seed: u64) -> Result<Option<Neighbours>, Error> {
    let k = k.min(vectors.nrows().saturating_sub(1));
    if k == 0 {
        return Ok(None);
    }
    let mut near = Neighbours::new(vectors, k, seed)?;
    // Those distances are differences of products. Direct ones are exact for equal and for close rows.
    for (at, row) in vectors.rows().into_iter().enumerate() {
        let of = |other: &u32| (&row - &vectors.row(*other as usize)).mapv(|v| v * v).sum().sqrt();
        let mut found: Vec<(f64, u32)> = near.index.row(at).iter().map(|other| (of(other), *other)).collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (place, (distance, other)) in found.into_iter().enumerate() {
            near.distance[[at, place]] = distance;
            near.index[[at, place]] = other;
        }
    }
    Ok(Some(near))
}

/// Returns the first `k` neighbours of every row, or all of them if there are fewer.
pub fn first(mut near: Neighbours, k: usize) -> Neighbours {
    let k = k.min(near.index.ncols());
    near.index = near.index.slice_axis(Axis(1), Slice::from(..k)).to_owned();
    near.distance = near.distance.slice_axis(Axis(1), Slice::from(..k)).to_owned();
    near
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiasm_geometry::trustworthiness::trustworthiness;
    use rayon::ThreadPoolBuilder;

    /// Five groups. In NumPy, with `i` a column and `j` a row of indices:
    /// `np.sin(0.7 * i * (j + 1) + 0.3 * j) + 2.5 * np.cos(1.9 * (i % 5) * (j + 1))`.
    fn cloud(rows: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, 6), |(i, j)| {
            let (group, i, j) = ((i % 5) as f64, i as f64, j as f64);
            (0.7 * i * (j + 1.0) + 0.3 * j).sin() + 2.5 * (1.9 * group * (j + 1.0)).cos()
        })
    }

    fn layouts(rows: usize) -> Layouts {
        Layouts::new(cloud(rows).mapv(|v| v as f32).view(), 1).unwrap()
    }

    /// NumPy: `d = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1)); i = np.argsort(d[7])[1:6]; d[7][i]`.
    #[test]
    fn neighbours_are_those_of_brute_force() {
        let x = cloud(60);
        let near = nearest(x.view(), 5, 0).unwrap().unwrap();
        assert_eq!(near.index.row(7).to_vec(), [52, 22, 27, 32, 47]);
        let expected = [
            0.6332132090717583,
            1.8899485699978684,
            2.132807521117554,
            2.225214319190331,
            2.5155250444903476,
        ];
        for (got, expected) in near.distance.row(7).iter().zip(expected) {
            assert!((got - expected).abs() < 1e-12, "{got} {expected} (double precision)");
        }
        for row in 0..60 {
            let far = |other: &usize| (&x.row(row) - &x.row(*other)).mapv(|v| v * v).sum();
            let mut order: Vec<usize> = (0..60).filter(|other| *other != row).collect();
            order.sort_by(|a, b| far(a).total_cmp(&far(b)));
            assert!(
                near.index.row(row).iter().map(|at| *at as usize).eq(order[..5].iter().copied()),
                "{row}"
            );
        }
        let equal = Array2::from_elem((4, 3), 0.1_f64);
        let near = nearest(equal.view(), 9, 0).unwrap().unwrap();
        assert_eq!(near.index.row(1).to_vec(), [0, 2, 3], "fewer rows; equal ones in order");
        assert!(near.distance.iter().all(|distance| *distance == 0.0));
        assert!(nearest(cloud(1).view(), 9, 0).unwrap().is_none());
    }

    /// umap-learn 0.5.12: `fuzzy_simplicial_set(x, 15, None, "euclidean", knn_indices=i, knn_dists=d)` with
    /// the neighbours and distances of all 60 points by brute force. It computes in single precision.
    #[test]
    fn the_fuzzy_graph_is_that_of_umap_learn() {
        let near = nearest(cloud(60).view(), umap::NEIGHBOURS, 0).unwrap().unwrap();
        let edges = umap::fuzzy_graph(&near);
        assert_eq!(edges.len(), 982);
        let sum: f64 = edges.iter().map(|edge| edge.weight).sum();
        assert!((sum - 364.8103).abs() < 1e-2, "{sum} (1e-5 for each weight)");
        for (from, to, expected) in [
            (0, 5, 0.475205),
            (0, 9, 0.018919),
            (0, 10, 0.388809),
            (0, 25, 0.881294),
            (17, 2, 0.436944),
            (17, 22, 1.0),
            (17, 24, 0.001082),
            (42, 7, 0.384788),
            (42, 24, 0.000082),
        ] {
            let found = edges.iter().find(|edge| edge.from == from && edge.to == to).map(|edge| edge.weight);
            assert!(found.is_some_and(|found| (found - expected).abs() < 2e-5), "{from} {to}: {found:?}");
        }
    }

    /// Trustworthiness (scikit-learn) of 12 neighbours: 0.9776 for umap-learn 0.5.12 with `init="pca"`,
    /// 0.9783 for scikit-learn's t-SNE, and 0.9425 for the principal components. Layouts of equal quality
    /// differ by some thousandths with the seed.
    #[test]
    fn layouts_keep_neighbours_as_well_as_umap_learn_and_scikit_learn() {
        let found = layouts(300);
        let trusted = |points: &Array2<f64>| {
            trustworthiness(cloud(300).view(), &nearest(points.view(), 12, 0).unwrap().unwrap()).unwrap()
        };
        let principal = trusted(&found.principal.points);
        assert!((principal - 0.9425).abs() < 1e-3, "{principal} (four digits are stored)");
        let (tsne, umap) = (trusted(&found.tsne.unwrap()), trusted(&found.umap.unwrap()));
        assert!(tsne > 0.9783 - 0.005, "t-SNE {tsne}");
        assert!(umap > 0.9776 - 0.005, "UMAP {umap}");
    }

    #[test]
    fn layouts_do_not_depend_on_the_number_of_threads() {
        let of = |threads: usize| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| layouts(300))
        };
        let (one, four) = (of(1), of(4));
        assert_eq!(one.tsne, four.tsne);
        assert_eq!(one.umap, four.umap);
        assert_eq!(one.principal, four.principal);
    }

    #[test]
    fn few_or_equal_items_have_layouts_or_a_reason() {
        let reason = layouts(9).umap.unwrap_err();
        assert_eq!(reason, "10 items are needed, there are 9");
        for rows in [cloud(10).mapv(|v| v as f32), Array2::from_elem((40, 3), 0.25)] {
            let found = Layouts::new(rows.view(), 0).unwrap();
            for points in [found.tsne.unwrap(), found.umap.unwrap()] {
                assert!(
                    points.dim() == (rows.nrows(), 2) && points.iter().all(|v| v.is_finite()),
                    "{points}"
                );
            }
        }
    }
}
