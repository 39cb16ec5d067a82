//! k-means, and scores of clusters: the silhouette of labels and the mutual information of two labellings.
//!
//! ```
//! use chiasm_geometry::clusters::{k_means, nmi, silhouette};
//! let x = ndarray::array![[0.0, 0.0], [0.1, 0.0], [5.0, 5.0], [5.1, 5.0]];
//! let labels = k_means(x.view(), 2, 0)?;
//! assert_eq!(nmi(&labels, &[7, 7, 3, 3])?, 1.0);
//! assert!(silhouette(x.view(), &labels)? > 0.9);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

use crate::cloud::centred;
use crate::linalg::product;
use crate::pairwise::distances_within;
use crate::random::Random;
use crate::real::Real;
use crate::{Error, Result, same, squared_distances};

/// Number of k-means starts, of which the one with the smallest inertia is kept.
const STARTS: u64 = 5;
/// Maximum number of Lloyd iterations per start.
const ROUNDS: usize = 100;

/// Returns the mean silhouette of the rows of `x [n, d]` under `labels [n]`, in [-1, 1] (Rousseeuw 1987).
///
/// The silhouette of a row is `(b - a) / max(a, b)`, where `a` is its mean Euclidean distance to the rows of
/// its own label and `b` the smallest mean distance to the rows of another label. It is 0 for the only row of
/// a label.
///
/// # Errors
/// When the numbers of rows and labels differ, there are not 2 to n - 1 different labels, or a value is not
/// finite.
pub fn silhouette<T: Real>(x: ArrayView2<'_, T>, labels: &[usize]) -> Result<f64> {
    same("labels", x.nrows(), labels.len())?;
    let (labels, classes) = contiguous_labels(labels);
    let n = labels.len();
    if classes < 2 || classes >= n {
        let expected = format!("2 to {} different labels", n.saturating_sub(1));
        return Err(Error::Setting { what: "labels", expected, got: classes.to_string() });
    }
    let all = distances_within(&centred(0, x, 2)?);
    let mut sizes = vec![0.0; classes];
    labels.iter().for_each(|&label| sizes[label] += 1.0);
    let score = |i: usize| {
        let mut sums = vec![0.0; classes];
        all.row(i).iter().zip(&labels).for_each(|(d, &label)| sums[label] += d);
        let own = labels[i];
        if sizes[own] < 2.0 {
            return 0.0;
        }
        let a = sums[own] / (sizes[own] - 1.0);
        let others = (0..classes).filter(|&c| c != own).map(|c| sums[c] / sizes[c]);
        let b = others.fold(f64::INFINITY, f64::min);
        if a.max(b) > 0.0 { (b - a) / a.max(b) } else { 0.0 }
    };
    Ok((0..n).map(score).sum::<f64>() / n as f64)
}

/// Returns the normalised mutual information of two labellings, divided by the mean of their entropies, in
/// [0, 1] (the default of scikit-learn's `normalized_mutual_info_score`).
///
/// # Errors
/// When the numbers of labels differ.
pub fn nmi(a: &[usize], b: &[usize]) -> Result<f64> {
    same("labels of the second labelling", a.len(), b.len())?;
    let ((a, ka), (b, kb)) = (contiguous_labels(a), contiguous_labels(b));
    let n = a.len() as f64;
    let mut table = Array2::<f64>::zeros((ka, kb));
    a.iter().zip(&b).for_each(|(&i, &j)| table[[i, j]] += 1.0 / n);
    let (pa, pb) = (table.sum_axis(Axis(1)), table.sum_axis(Axis(0)));
    let entropy = |p: &ndarray::Array1<f64>| -p.iter().map(|p| p * p.ln()).sum::<f64>();
    let both = table.indexed_iter().filter(|(_, p)| **p > 0.0);
    let information: f64 = both.map(|((i, j), p)| p * (p / (pa[i] * pb[j])).ln()).sum();
    let mean = (entropy(&pa) + entropy(&pb)) / 2.0;
    // Two labellings with a single label each agree, as in scikit-learn.
    Ok(if mean > 0.0 { (information / mean).clamp(0.0, 1.0) } else { 1.0 })
}

/// Clusters the rows of `x [n, d]` by k-means and returns their labels `0..k` (Lloyd 1982, with k-means++
/// starts; Arthur and Vassilvitskii 2007).
///
/// # Errors
/// When `k` is not in `1..=n`, or a value is not finite.
pub fn k_means<T: Real>(x: ArrayView2<'_, T>, k: usize, seed: u64) -> Result<Vec<usize>> {
    check_clusters(k, x.nrows())?;
    let x = centred(0, x, 1)?.rows.mapv(Into::<f64>::into);
    let square = |i: usize, c: usize| (&x.row(i) - &x.row(c)).mapv(|v| v * v).sum();
    let update = |labels: &[usize], centres: &mut Array2<f64>| {
        for (c, mut centre) in centres.outer_iter_mut().enumerate() {
            let own: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == c).collect();
            if let Some(mean) = x.select(Axis(0), &own).mean_axis(Axis(0)) {
                centre.assign(&mean);
            }
        }
    };
    let mut best = (f64::INFINITY, Vec::new());
    for start in 0..STARTS {
        let chosen = k_means_plus_plus(x.nrows(), k, &mut Random::new(seed ^ (start << 32)), square);
        let mut centres = x.select(Axis(0), &chosen);
        let mut inertia = f64::INFINITY;
        let assign = |centres: &Array2<f64>| {
            let labels;
            (inertia, labels) = nearest_centres(&x, centres)?;
            Ok(labels)
        };
        let labels = lloyd(&mut centres, ROUNDS, assign, update)?;
        if inertia < best.0 {
            best = (inertia, labels);
        }
    }
    Ok(best.1)
}

/// Clusters the unit rows `x [n, d]` by cosine similarity and returns the unit centroids `[k, d]` (spherical
/// k-means; Dhillon and Modha 2001), from one k-means++ start and at most `rounds` iterations.
///
/// The centroid of an empty cluster is zero.
///
/// ```
/// use chiasm_geometry::{clusters::spherical_k_means, random::Random};
/// let x = ndarray::array![[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]];
/// let centroids = spherical_k_means(&x, 2, 10, &mut Random::new(1))?;
/// assert_eq!(centroids.sum(), 2.0);
/// # Ok::<(), chiasm_geometry::Error>(())
/// ```
///
/// # Errors
/// When `k` is not in `1..=n`.
pub fn spherical_k_means(
    x: &Array2<f64>,
    k: usize,
    rounds: usize,
    random: &mut Random,
) -> Result<Array2<f64>> {
    check_clusters(k, x.nrows())?;
    let square = |i: usize, c: usize| (2.0 - 2.0 * x.row(i).dot(&x.row(c))).max(0.0);
    let mut centres = x.select(Axis(0), &k_means_plus_plus(x.nrows(), k, random, square));
    let most_similar = |scores: ArrayView1<'_, f64>| {
        (0..k).fold(0, |best, c| if scores[c] > scores[best] { c } else { best })
    };
    let assign =
        |centres: &Array2<f64>| Ok(product(x, &centres.t())?.outer_iter().map(most_similar).collect());
    let update = |labels: &[usize], centres: &mut Array2<f64>| {
        let mut sums = Array2::zeros(centres.dim());
        for (row, &label) in x.rows().into_iter().zip(labels) {
            let mut sum = sums.row_mut(label);
            sum += &row;
        }
        for mut sum in sums.outer_iter_mut() {
            let length = sum.dot(&sum).sqrt().max(1e-12);
            sum /= length;
        }
        *centres = sums;
    };
    lloyd(&mut centres, rounds, assign, update)?;
    Ok(centres)
}

fn check_clusters(k: usize, n: usize) -> Result<()> {
    if k == 0 || k > n {
        let expected = format!("1 to {n} (the number of rows)");
        return Err(Error::Setting { what: "number of clusters", expected, got: k.to_string() });
    }
    Ok(())
}

/// Draws `k` of `n` rows, each with a probability proportional to its squared distance to the nearest row
/// drawn before (k-means++).
fn k_means_plus_plus(
    n: usize,
    k: usize,
    random: &mut Random,
    square: impl Fn(usize, usize) -> f64,
) -> Vec<usize> {
    let mut chosen = vec![random.below(n)];
    let mut nearest: Vec<f64> = (0..n).map(|i| square(i, chosen[0])).collect();
    while chosen.len() < k {
        let mut left = random.uniform() * nearest.iter().sum::<f64>();
        let next = nearest.iter().position(|w| {
            left -= w;
            left < 0.0
        });
        let next = next.unwrap_or_else(|| random.below(n));
        chosen.push(next);
        (0..n).for_each(|i| nearest[i] = nearest[i].min(square(i, next)));
    }
    chosen
}

/// Alternates `update` and `assign` until the labels do not change, at most `rounds` times. Returns the
/// labels.
fn lloyd(
    centres: &mut Array2<f64>,
    rounds: usize,
    mut assign: impl FnMut(&Array2<f64>) -> Result<Vec<usize>>,
    update: impl Fn(&[usize], &mut Array2<f64>),
) -> Result<Vec<usize>> {
    let mut labels = assign(centres)?;
    for _ in 0..rounds {
        update(&labels, centres);
        let next = assign(centres)?;
        if next == labels {
            break;
        }
        labels = next;
    }
    Ok(labels)
}

/// Returns the sum of squared distances to the nearest centres, and the label of the nearest centre of each
/// row.
fn nearest_centres(x: &Array2<f64>, centres: &Array2<f64>) -> Result<(f64, Vec<usize>)> {
    let all = squared_distances(x.view(), centres.view())?;
    let nearest = |row: ArrayView1<'_, f64>| {
        (0..row.len()).min_by(|&a, &b| row[a].total_cmp(&row[b])).map_or((0.0, 0), |c| (row[c], c))
    };
    let found: Vec<(f64, usize)> = all.outer_iter().map(nearest).collect();
    Ok((found.iter().map(|f| f.0).sum(), found.into_iter().map(|f| f.1).collect()))
}

/// Renames labels to `0..count`, and returns them with the count.
pub(crate) fn contiguous_labels(labels: &[usize]) -> (Vec<usize>, usize) {
    let mut names = labels.to_vec();
    names.sort_unstable();
    names.dedup();
    (labels.iter().map(|label| names.partition_point(|name| name < label)).collect(), names.len())
}
