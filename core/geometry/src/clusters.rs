//! Whether labels are clusters: the silhouette of given labels, and how well k-means finds them (NMI).

use ndarray::{Array2, ArrayView2, Axis};

use crate::cloud::centred;
use crate::pairwise::{Points, distances, distances_within};
use crate::random::Random;
use crate::real::Real;
use crate::{Error, Result, same};

/// Seeded restarts of k-means; the tightest counts.
const RESTARTS: u64 = 5;
/// The most rounds of one start.
const ROUNDS: usize = 100;

/// Mean silhouette of the rows of `x [n, d]` under `labels` (Rousseeuw 1987), Euclidean, in [-1, 1], no unit.
///
/// `(b - a) / max(a, b)`, `a` the mean distance to the row's own label, `b` to the nearest other; 0 for a
/// lone row.
///
/// # Errors
/// When counts differ, there are not 2 to n - 1 labels, or a value is not finite.
pub fn silhouette<T: Real>(x: ArrayView2<'_, T>, labels: &[usize]) -> Result<f64> {
    same("labels", x.nrows(), labels.len())?;
    let (labels, classes) = dense(labels);
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

/// Normalised mutual information of two labellings, over the mean of their entropies, in [0, 1]
/// (scikit-learn's default).
///
/// # Errors
/// When counts differ.
pub fn nmi(a: &[usize], b: &[usize]) -> Result<f64> {
    same("labels of the second labelling", a.len(), b.len())?;
    let ((a, ka), (b, kb)) = (dense(a), dense(b));
    let n = a.len() as f64;
    let mut table = Array2::<f64>::zeros((ka, kb));
    a.iter().zip(&b).for_each(|(&i, &j)| table[[i, j]] += 1.0 / n);
    let (pa, pb) = (table.sum_axis(Axis(1)), table.sum_axis(Axis(0)));
    let entropy = |p: &ndarray::Array1<f64>| -p.iter().map(|p| p * p.ln()).sum::<f64>();
    let both = table.indexed_iter().filter(|(_, p)| **p > 0.0);
    let information: f64 = both.map(|((i, j), p)| p * (p / (pa[i] * pb[j])).ln()).sum();
    let mean = (entropy(&pa) + entropy(&pb)) / 2.0;
    // Two labellings with one label each agree, as scikit-learn has it.
    Ok(if mean > 0.0 { (information / mean).clamp(0.0, 1.0) } else { 1.0 })
}

/// Labels `0..k` of the rows of `x [n, d]` by k-means (Lloyd 1982), k-means++ starts (Arthur and
/// Vassilvitskii 2007).
///
/// # Errors
/// When `k` is not inside `1..=n`, or a value is not finite.
pub fn k_means<T: Real>(x: ArrayView2<'_, T>, k: usize, seed: u64) -> Result<Vec<usize>> {
    let n = x.nrows();
    if k == 0 || k > n {
        let expected = format!("1 to {n} (the number of rows)");
        return Err(Error::Setting { what: "clusters", expected, got: k.to_string() });
    }
    let x = centred(0, x, 1)?.mapv(Into::<f64>::into);
    let mut best = (f64::INFINITY, Vec::new());
    for start in 0..RESTARTS {
        let mut centres = spread(&x, k, &mut Random::new(seed ^ (start << 32)));
        let mut nearest = assign(&x, &centres);
        for _ in 0..ROUNDS {
            for (c, mut centre) in centres.outer_iter_mut().enumerate() {
                let own: Vec<usize> = (0..n).filter(|&i| nearest.1[i] == c).collect();
                if let Some(mean) = x.select(Axis(0), &own).mean_axis(Axis(0)) {
                    centre.assign(&mean);
                }
            }
            let next = assign(&x, &centres);
            let settled = next.1 == nearest.1;
            nearest = next;
            if settled {
                break;
            }
        }
        if nearest.0 < best.0 {
            best = nearest;
        }
    }
    Ok(best.1)
}

/// First centres: each drawn with the squared distance to those before it as its weight.
fn spread(x: &Array2<f64>, k: usize, random: &mut Random) -> Array2<f64> {
    let mut chosen = vec![random.below(x.nrows())];
    let square = |i: usize, c: usize| (&x.row(i) - &x.row(c)).mapv(|v| v * v).sum();
    let mut least: Vec<f64> = (0..x.nrows()).map(|i| square(i, chosen[0])).collect();
    while chosen.len() < k {
        let mut left = random.uniform() * least.iter().sum::<f64>();
        let next = least.iter().position(|w| {
            left -= w;
            left < 0.0
        });
        let next = next.unwrap_or_else(|| random.below(x.nrows()));
        chosen.push(next);
        (0..x.nrows()).for_each(|i| least[i] = least[i].min(square(i, next)));
    }
    x.select(Axis(0), &chosen)
}

/// The sum of squared distances to the nearest centres, and which these are.
fn assign(x: &Array2<f64>, centres: &Array2<f64>) -> (f64, Vec<usize>) {
    let all = distances(&Points::new(x), &Points::new(centres));
    let nearest = |row: ndarray::ArrayView1<'_, f64>| {
        (0..row.len()).min_by(|&a, &b| row[a].total_cmp(&row[b])).map_or((0.0, 0), |c| (row[c] * row[c], c))
    };
    let found: Vec<(f64, usize)> = all.outer_iter().map(nearest).collect();
    (found.iter().map(|f| f.0).sum(), found.into_iter().map(|f| f.1).collect())
}

/// Labels renamed to `0..count`.
pub(crate) fn dense(labels: &[usize]) -> (Vec<usize>, usize) {
    let mut names = labels.to_vec();
    names.sort_unstable();
    names.dedup();
    (labels.iter().map(|label| names.partition_point(|name| name < label)).collect(), names.len())
}
