//! Shared by the tests: an engine, synthetic modalities, and running a graph on an array.
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "each test file uses its own part"
)]

use chiasm_closed_form::{Error, FitContext, Fitted, Method, View, Views};
use chiasm_geometry::random::Random;
use chiasm_graph::{Graph, Tensor};
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};
use chiasm_testing::{Requirement, skip};
use ndarray::{Array2, Axis};
use serde_json::Value;

/// Returns the engine; if there is none, the test is skipped.
pub fn engine() -> Option<&'static Engine> {
    match Engine::open(&EngineSearch::from_environment(None)) {
        Ok(engine) => Some(engine),
        Err(error) => {
            skip(Requirement::Engine, &error.to_string());
            None
        }
    }
}

/// Runs a graph with one input and one output on rows.
pub fn run(engine: &Engine, graph: &Graph, rows: &Array2<f32>) -> Array2<f32> {
    graph.verify_learned().unwrap();
    let input = Tensor::f32(&[rows.nrows(), rows.ncols()], rows.iter().copied().collect()).unwrap();
    let session = engine.session(graph, &SessionOptions::default()).unwrap();
    let (_, output) = session.run(&[(&graph.inputs()[0].name, &input)]).unwrap().remove(0);
    let shape = (output.shape()[0], output.shape()[1]);
    Array2::from_shape_vec(shape, output.into_f32().unwrap()).unwrap()
}

/// The inputs and expected values of SciPy and scikit-learn (see reference/make.py).
pub fn cases() -> Value {
    serde_json::from_str(include_str!("../reference/cases.json")).unwrap()
}

/// An array of the cases.
pub fn array(value: &Value) -> Array2<f32> {
    let rows: Vec<Vec<f32>> = serde_json::from_value(value.clone()).unwrap();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
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

/// A fit of two modalities, `first` and `second`, with one item each in every row.
pub fn fit<P: Method>(x: &Array2<f32>, y: &Array2<f32>, parameters: Value) -> Result<Fitted<P>, Error> {
    fit_views(&Views::paired(x.view(), y.view())?, parameters)
}

pub fn fit_views<P: Method>(views: &Views<'_>, parameters: Value) -> Result<Fitted<P>, Error> {
    let parameters: P = serde_json::from_value(parameters).unwrap();
    parameters.fit_views(views, FitContext::default())
}

/// A modality: its name, its items and their rows.
pub type TestModality = (&'static str, Array2<f32>, Vec<usize>);

/// One view of each cloud, an encoder each.
pub fn views<'a>(clouds: &'a [TestModality], anchor: Option<&str>) -> Views<'a> {
    let view = |(name, items, rows): &'a TestModality| View {
        name: (*name).to_owned(),
        blocks: vec![items.ncols()],
        items: items.view(),
        rows: rows.clone(),
    };
    let anchor = anchor.map(|anchor| clouds.iter().position(|(name, ..)| *name == anchor).unwrap());
    Views::new(clouds.iter().map(view).collect(), anchor, Vec::new()).unwrap()
}

/// The items of a cloud that lie in these rows.
pub fn part(cloud: &TestModality, holds: impl Fn(usize) -> bool) -> TestModality {
    let places: Vec<usize> = (0..cloud.2.len()).filter(|&at| holds(cloud.2[at])).collect();
    let rows = places.iter().map(|&at| cloud.2[at]).collect();
    (cloud.0, cloud.1.select(Axis(0), &places), rows)
}

/// The graphs of a fit as bytes.
pub fn bytes<P>(fitted: &Fitted<P>) -> Vec<Vec<u8>> {
    fitted.maps.iter().map(|map| map.graph().unwrap().to_bytes().unwrap()).collect()
}

/// Modalities that are noisy linear functions of one latent vector for each of `n` rows.
pub fn shared_latents(
    n: usize,
    widths: &[(&'static str, usize)],
    latent: usize,
    seed: u64,
) -> Vec<TestModality> {
    let mut random = Random::new(seed);
    let mut noise = |rows, columns| Array2::from_shape_simple_fn((rows, columns), || random.normal() as f32);
    let z = noise(n, latent);
    let cloud = |&(name, d): &(&'static str, usize)| {
        (name, z.dot(&noise(latent, d)) + noise(n, d) * 0.3 + 0.5, (0..n).collect())
    };
    widths.iter().map(cloud).collect()
}
