//! Initial rotations between two clouds of unit rows without known pairs.
//!
//! There are two methods, because it is not known beforehand which one succeeds. *Centroids*: k-means on
//! both clouds, and the quadratic assignment of the centroids that maximises the CKA of their inner
//! products, the best of some runs (the start of mini-vec2vec and of Schnaus et al. 2025). *Distances*: the
//! entropic Gromov-Wasserstein plan of a sample. Both use inner products alone, which a rotation does not
//! change.

use chiasm_geometry::clusters::spherical_k_means;
use chiasm_geometry::linalg::product;
use chiasm_geometry::random::Random;
use chiasm_transport::{GromovWasserstein, Space, barycentric, quadratic_assignment, uniform};
use ndarray::{Array2, ArrayView2, Axis};

use crate::Result;
use crate::procrustes::polar;
use crate::sample::subset;

/// Centroids of each cloud; fewer where there are few rows.
const CENTROIDS: usize = 20;
/// Runs of k-means on both clouds, and starts of the assignment in each.
const RUNS: u64 = 12;
const STARTS: usize = 200;
/// Iterations of k-means.
const STEPS: usize = 25;
/// The largest sample of each cloud for Gromov-Wasserstein, whose work grows with its square.
const SEEN: usize = 600;

/// Rotations `[k, k]` from the rows `a [n, k]` to the rows `b [m, k]`, one by each method.
pub(crate) fn rotations(a: &Array2<f64>, b: &Array2<f64>, seed: u64) -> Result<Vec<Array2<f64>>> {
    Ok(vec![by_centroids(a, b, seed)?, by_distances(a, b, seed)?])
}

fn by_centroids(a: &Array2<f64>, b: &Array2<f64>, seed: u64) -> Result<Array2<f64>> {
    let count = CENTROIDS.min(a.nrows()).min(b.nrows());
    let mut best = (f64::NEG_INFINITY, Array2::zeros((0, 0)));
    for run in 0..RUNS {
        let mut random = Random::new(seed.wrapping_add(run));
        let (x, y) = (
            spherical_k_means(a, count, STEPS, &mut random)?,
            spherical_k_means(b, count, STEPS, &mut random)?,
        );
        let gram = |z: &Array2<f64>| product(z, &z.t());
        let (places, cka) =
            quadratic_assignment(gram(&x)?.view(), gram(&y)?.view(), STARTS, random.next_u64())?;
        if cka > best.0 {
            best = (cka, product(&x.t(), &y.select(Axis(0), &places))?);
        }
    }
    polar(best.1.view())
}

fn by_distances(a: &Array2<f64>, b: &Array2<f64>, seed: u64) -> Result<Array2<f64>> {
    let pick =
        |rows: &Array2<f64>| rows.select(Axis(0), &subset(rows.nrows(), SEEN, seed)).mapv(|v| v as f32);
    let (x, y) = (pick(a), pick(b));
    let space = |rows: ArrayView2<'_, f32>| Space::squared_euclidean(rows).map(Space::normalised);
    let solver = GromovWasserstein::entropic(1e-3).annealing(0.02).iterations(30).tolerance(1e-3);
    let found =
        solver.solve(&space(x.view())?, &space(y.view())?, &uniform(x.nrows()), &uniform(y.nrows()))?;
    let targets = barycentric(found.plan.view(), y.view())?.mapv(f64::from);
    polar(product(&x.mapv(f64::from).t(), &targets)?.view())
}
