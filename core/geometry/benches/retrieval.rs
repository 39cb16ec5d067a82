//! Times retrieval with five captions per picture:
//! `cargo bench -p chiasm-geometry --profile dev --bench retrieval`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and stops where it cannot go on"
)]

use chiasm_geometry::hubness::csls_penalties;
use chiasm_geometry::random::Random;
use chiasm_geometry::retrieval::{Retrieval, RetrievalItems};
use ndarray::Array2;
use std::time::Instant;

/// Number of pictures, captions per picture, width.
const SIZE: (usize, usize, usize) = (1000, 5, 512);

fn timed<T>(name: &str, work: impl Fn() -> T) -> T {
    let mut seconds: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    println!("{name}: {:.3} s (median of 5)", seconds[2]);
    work()
}

fn main() {
    let (pictures, each, width) = SIZE;
    let mut random = Random::new(1);
    let mut cloud = |n: usize| Array2::from_shape_simple_fn((n, width), || random.normal() as f32);
    let (y, noise) = (cloud(pictures), cloud(pictures * each));
    let x = Array2::from_shape_fn(noise.dim(), |(i, j)| y[[i / each, j]] + 6.0 * noise[[i, j]]);
    let captions: Vec<usize> = (0..x.nrows()).map(|i| i / each).collect();
    let rows: Vec<usize> = (0..pictures).collect();
    let category = |of: &[usize]| of.iter().map(|row| row % 10).collect::<Vec<usize>>();
    let (of_x, of_y) = (category(&captions), category(&rows));
    let new = |x, of_x, y, of_y| {
        Retrieval::new(
            RetrievalItems { vectors: x, groups: of_x },
            RetrievalItems { vectors: y, groups: of_y },
            None,
        )
        .unwrap()
    };
    let (x, y) = (x.view(), y.view());
    let found = timed("5000 captions ask 1000 pictures", || new(x, &captions, y, &rows).outcomes());
    timed("1000 pictures ask 5000 captions", || new(y, &rows, x, &captions).outcomes());
    timed("5000 captions ask 1000 pictures of 10 categories", || new(x, &of_x, y, &of_y).outcomes());
    let first = |outcome: &chiasm_geometry::retrieval::QueryOutcome| outcome.first.recall(1);
    timed("bootstrap interval, 1000 draws", || found.interval(&captions, first, 1000, 0.95, 1).unwrap());
    let (to, back) = (new(x, &captions, y, &rows), new(y, &rows, x, &captions));
    timed("null of 1000 permutations, captions ask", || {
        to.permutation_null(&captions, |rank| rank.recall(10), 1000, 1).unwrap()
    });
    timed("null of 1000 permutations, pictures ask", || {
        back.permutation_null(&rows, |rank| rank.recall(10), 1000, 1).unwrap()
    });
    timed("CSLS penalties of both sides", || csls_penalties(x, y, 10).unwrap());
    println!("{:?}\nchance {:?}", found.scores(), found.chance());
}
