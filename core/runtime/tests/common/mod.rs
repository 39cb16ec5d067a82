//! What the tests share.

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor};
use chiasm_runtime::{Engine, EngineSearch, ItemInput};

/// The engine of this machine; without one the tests fail with the command that brings it.
pub fn engine() -> &'static Engine {
    Engine::open(&EngineSearch::from_environment(None)).unwrap_or_else(|error| panic!("{error}"))
}

/// A little text encoder: `ids[N,T]`, `mask[N,T]` to `pooled[N,3]` (the mean of looked-up rows) and
/// `tokens[N,T,3]`.
#[allow(dead_code, clippy::allow_attributes, reason = "not every test file uses it")]
pub fn text_encoder() -> Graph {
    let mut b = Builder::new("text");
    let (n, t) = (Dim::named("N"), Dim::named("T"));
    let ids = b.input("ids", DType::I64, &[n.clone(), t.clone()]).unwrap();
    let mask = b.input("mask", DType::F32, &[n.clone(), t.clone()]).unwrap();
    let rows = (0..60).map(|i| (i as f32 * 0.37).sin()).collect();
    let table = b.constant("table", Tensor::f32(&[20, 3], rows).unwrap());
    let tokens = b.gather(&table, &ids, 0);
    let tokens = b.gelu(&tokens);
    let pooled = b.mean_pool(&tokens, &mask);
    b.output("pooled", &pooled, DType::F32, &[n.clone(), Dim::Fixed(3)]);
    b.output("tokens", &tokens, DType::F32, &[n, t, Dim::Fixed(3)]);
    b.finish().unwrap()
}

/// The encoder's inputs, item by item.
#[allow(dead_code, clippy::allow_attributes, reason = "not every test file uses it")]
pub fn text_inputs() -> [ItemInput; 2] {
    let input = |name: &str, dtype| ItemInput { name: name.into(), dtype, dims: vec![None], pad: Some(0.0) };
    [input("ids", DType::I64), input("mask", DType::F32)]
}

/// Item `i`: 1 to 13 tokens.
#[allow(dead_code, clippy::allow_attributes, reason = "not every test file uses it")]
pub fn text_item(i: usize) -> Vec<Tensor> {
    let length = 1 + (i * 7) % 13;
    let ids = (0..length).map(|t| ((i * 3 + t * 5) % 20) as i64).collect();
    vec![Tensor::i64(&[length], ids).unwrap(), Tensor::f32(&[length], vec![1.0; length]).unwrap()]
}
