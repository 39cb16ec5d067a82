//! Maps built by hand, seeded points, and the engine.

#![allow(clippy::allow_attributes, reason = "an expectation may go unmet in one of the test files")]
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use chiasm_check::{CHECKS, CheckInput, CheckSettings, MapReport, Verdict, check};
use chiasm_geometry::{linalg::thin_svd, random::Random};
use chiasm_graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};
use ndarray::Array2;

/// The engine of this machine; without one the tests fail with the command that brings it.
pub fn engine() -> &'static Engine {
    Engine::open(&EngineSearch::from_environment(None)).unwrap_or_else(|error| panic!("{error}"))
}

/// A map `x [n, d]` to `z [n, o]`.
pub fn map(d: usize, o: usize, body: impl FnOnce(&mut Builder, &Value) -> Value) -> Graph {
    let mut b = Builder::new("map");
    let x = b.input("x", DType::F32, &[Dim::named("batch"), d.into()]).unwrap();
    let z = body(&mut b, &x);
    b.output("z", &z, DType::F32, &[Dim::named("batch"), o.into()]);
    b.finish().unwrap()
}

/// `x W`.
pub fn linear(w: &Array2<f64>) -> Graph {
    map(w.nrows(), w.ncols(), |b, x| times(b, x, w))
}

pub fn times(b: &mut Builder, x: &Value, w: &Array2<f64>) -> Value {
    let weights = w.iter().map(|v| *v as f32).collect();
    let w = b.constant("w", Tensor::f32(&[w.nrows(), w.ncols()], weights).unwrap());
    b.matmul(x, &w)
}

/// Standard normal numbers.
pub fn noise(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    let mut random = Random::new(seed);
    Array2::from_shape_simple_fn((rows, columns), || random.normal())
}

pub fn points(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
    noise(rows, columns, seed).mapv(|v| v as f32)
}

/// A matrix with orthonormal columns.
pub fn orthogonal(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    thin_svd(noise(rows, columns, seed).view()).unwrap().u
}

/// A map and its points, without an inverse, targets or labels.
pub fn input<'a>(map: &'a Graph, points: &'a Array2<f32>) -> CheckInput<'a> {
    let points = points.view();
    CheckInput {
        name: "map",
        map,
        points,
        inverse: None,
        targets: None,
        labels: None,
        spanned: None,
        reached: None,
    }
}

/// The report of a map alone.
pub fn report(graph: &Graph, points: &Array2<f32>) -> MapReport {
    check_map(&input(graph, points))
}

pub fn check_map(subject: &CheckInput<'_>) -> MapReport {
    check(subject, &CheckSettings::default(), engine(), &SessionOptions::default(), &|_, _| ()).unwrap()
}

/// Every check of the table was recorded or skipped, once.
pub fn assert_every_check_has_an_entry(report: &MapReport) {
    let recorded = report.checks.iter().map(|check| check.name);
    let mut entries: Vec<&str> = recorded.chain(report.skipped.iter().map(|skipped| skipped.name)).collect();
    let mut known: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
    entries.sort_unstable();
    known.sort_unstable();
    assert_eq!(entries, known);
}

/// The verdict of one check; panics with the whole report when it was not made.
pub fn verdict(report: &MapReport, name: &str) -> Verdict {
    report.check(name).unwrap_or_else(|| panic!("no {name} in {report:#?}")).verdict
}
