//! What the tests share: an engine, clouds, and a graph run on an array.
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "each test file uses its own part"
)]

use chiasm_geometry::random::Random;
use chiasm_graph::{Graph, Tensor};
use chiasm_runtime::{Engine, Search, SessionOptions};
use ndarray::Array2;

/// The engine, or a line that says why the test is skipped.
pub fn engine() -> Option<&'static Engine> {
    match Engine::open(&Search::from_environment(None)) {
        Ok(engine) => Some(engine),
        Err(error) => {
            println!("skipped: no ONNX Runtime here ({error})");
            None
        }
    }
}

/// A graph with one input and one output, run on rows.
pub fn run(engine: &Engine, graph: &Graph, rows: &Array2<f32>) -> Array2<f32> {
    graph.verify_learned().unwrap();
    let input = Tensor::f32(&[rows.nrows(), rows.ncols()], rows.iter().copied().collect()).unwrap();
    let session = engine.session(graph, &SessionOptions::default()).unwrap();
    let (_, output) = session.run(&[(&graph.inputs()[0].name, &input)]).unwrap().remove(0);
    let shape = (output.shape()[0], output.shape()[1]);
    Array2::from_shape_vec(shape, output.into_f32().unwrap()).unwrap()
}

/// Paired rows that share `latent` dimensions, with noise.
pub fn pairs(n: usize, da: usize, db: usize, latent: usize, seed: u64) -> (Array2<f32>, Array2<f32>) {
    let mut random = Random::new(seed);
    let mut noise = |rows, columns| Array2::from_shape_simple_fn((rows, columns), || random.normal() as f32);
    let z = noise(n, latent);
    let a = z.dot(&noise(latent, da)) + noise(n, da) * 0.3 + 0.5;
    let b = z.dot(&noise(latent, db)).mapv(f32::tanh) + noise(n, db) * 0.3;
    (a, b)
}

/// The largest difference of two arrays.
pub fn gap(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    assert_eq!(a.dim(), b.dim());
    a.iter().zip(b).fold(0.0, |most, (x, y)| most.max((x - y).abs()))
}

/// Rows of length one.
pub fn unit(rows: &Array2<f32>) -> Array2<f32> {
    let mut rows = rows.clone();
    rows.outer_iter_mut().for_each(|mut row| row /= row.dot(&row).sqrt());
    rows
}
