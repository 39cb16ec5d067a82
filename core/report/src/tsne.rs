//! t-distributed stochastic neighbour embedding (t-SNE) of vectors in two dimensions.
//!
//! The crate bhtsne computes it, with the Barnes-Hut approximation of the repulsion (van der Maaten 2014) and
//! its usual settings. It is given exact neighbours and starts from the principal components (Kobak and
//! Berens 2019). It sums in an order that depends on its threads, so it runs on one.

use bhtsne::{Neighbor, tSNE};
use chiasm_geometry::{neighbours::Neighbours, random::Random};
use ndarray::{Array2, ArrayView2};
use rayon::ThreadPoolBuilder;

/// The neighbours of a point that the method uses, at most: three for each unit of [`PERPLEXITY`].
pub const NEIGHBOURS: usize = 90;
/// The effective number of neighbours.
const PERPLEXITY: f64 = 30.0;
/// The accuracy of the approximation: the largest ratio of a cell's width and its distance.
const THETA: f64 = 0.5;
/// The standard deviation of the start on the first axis, and that of the noise that parts equal points.
const SPREAD: f64 = 1e-4;
const NOISE: f64 = 1e-6;

/// Lays out points in two dimensions, `[n, 2]`, given their neighbours and their principal components
/// `[n, 2]`. At least 3 neighbours of each point are needed.
///
/// # Errors
/// If there are fewer, or the thread cannot be started, in words.
pub fn tsne(near: &Neighbours, principal: ArrayView2<'_, f64>, seed: u64) -> Result<Array2<f64>, String> {
    let (count, k) = near.index.dim();
    let perplexity = PERPLEXITY.min(k as f64 / 3.0);
    if perplexity < 1.0 {
        return Err(format!("t-SNE needs at least 3 neighbours of each item, got {k}"));
    }
    let rows: Vec<Vec<Neighbor<f64>>> = (near.index.rows().into_iter().zip(near.distance.rows()))
        .map(|(index, distance)| {
            let pairs = index.into_iter().zip(distance);
            pairs.map(|(index, distance)| Neighbor { index: *index as usize, distance: *distance }).collect()
        })
        .collect();
    let spread = principal.column(0).std(0.0);
    let scale = if spread > 0.0 { SPREAD / spread } else { 0.0 };
    let mut random = Random::new(seed);
    let start: Vec<f64> = principal.iter().map(|v| scale * v + NOISE * random.normal()).collect();
    let thread = ThreadPoolBuilder::new().num_threads(1).build().map_err(|e| e.to_string())?;
    let found = thread.install(|| {
        // The method uses the neighbours alone, so the points themselves are empty.
        let points = vec![(); count];
        let mut method: tSNE<'_, f64, ()> = tSNE::new(&points);
        method.perplexity(perplexity).initial_embedding(start);
        method.barnes_hut_with_neighbors(THETA, &rows);
        method.embedding()
    });
    Array2::from_shape_vec((count, 2), found).map_err(|e| e.to_string())
}
