//! What the tests share: the engine, and a small network with a squared error.
#![allow(dead_code, clippy::allow_attributes, reason = "each test program uses its own part of this")]

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};
use chiasm_train::{
    Objective, Result, TrainedWeights, Trainer, TrainingOptions, TrainingProgress, TrainingRows,
};

/// The engine of this machine; without one the tests fail with the command that brings it.
pub fn engine() -> &'static Engine {
    Engine::open(&EngineSearch::from_environment(None)).unwrap_or_else(|error| panic!("{error}"))
}

/// Two threads on the processor, no checkpoints.
pub fn trainer() -> Trainer<'static> {
    let session = SessionOptions { threads: 2, ..SessionOptions::default() };
    Trainer { engine: engine(), session, checkpoints: None }
}

/// Trains on two tensors named `x` and `y`.
pub fn train(
    trainer: &Trainer<'_>,
    objective: &Objective,
    x: &Tensor,
    y: &Tensor,
    options: &TrainingOptions,
    observe: &mut dyn FnMut(&TrainingProgress<'_>) -> bool,
) -> Result<TrainedWeights> {
    let training = [("x", x.into()), ("y", y.into())];
    trainer.train(objective, &TrainingRows { training: &training, validation: &[] }, options, observe)
}

/// Numbers in [-1, 1) that look random and are the same everywhere.
pub fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

/// A tensor of [`numbers`].
pub fn tensor(shape: &[usize], seed: u32) -> Tensor {
    Tensor::f32(shape, numbers(shape.iter().product(), seed)).unwrap()
}

/// A batch port.
pub fn rows(b: &mut Builder, name: &str, width: usize) -> Value {
    b.input(name, DType::F32, &[Dim::named("batch"), Dim::Fixed(width)]).unwrap()
}

/// The mean of all elements of a matrix.
pub fn mean(b: &mut Builder, x: &Value) -> Value {
    b.op("ReduceMean", &[x], &[("keepdims", 0.into())])
}

/// `mean((x - y)^2)`.
pub fn squared_error(b: &mut Builder, x: &Value, y: &Value) -> Value {
    let difference = b.sub(x, y);
    let square = b.mul(&difference, &difference);
    mean(b, &square)
}

/// A scalar output.
pub fn scalar(b: &mut Builder, name: &str, value: &Value) {
    b.output(name, value, DType::F32, &[]);
}

/// `loss = mean((gelu(x w1 + b1) w2 + b2 - y)^2)` with the weights given as `(name, tensor)`: w1, b1, w2, b2.
pub fn network(weights: &[(&str, Tensor)]) -> Graph {
    let mut b = Builder::new("network");
    let (wide, narrow) = (weights[0].1.shape()[0], weights[3].1.shape()[0]);
    let (x, y) = (rows(&mut b, "x", wide), rows(&mut b, "y", narrow));
    let held: Vec<Value> = weights.iter().map(|(name, tensor)| b.constant(name, tensor.clone())).collect();
    let out = b.mlp(&x, &[(held[0].clone(), held[1].clone()), (held[2].clone(), held[3].clone())]);
    let loss = squared_error(&mut b, &out, &y);
    scalar(&mut b, "loss", &loss);
    b.finish().unwrap()
}

/// A network of 4 inputs, 6 hidden units and 3 outputs, all of its weights to be trained.
pub fn small() -> Objective {
    let scaled = |shape: &[usize], seed| {
        Tensor::f32(shape, tensor(shape, seed).as_f32().unwrap().iter().map(|v| v * 0.5).collect()).unwrap()
    };
    let weights = [
        ("w1", scaled(&[4, 6], 1)),
        ("b1", scaled(&[6], 2)),
        ("w2", scaled(&[6, 3], 3)),
        ("b2", scaled(&[3], 4)),
    ];
    Objective::new(network(&weights), &["w1", "b1", "w2", "b2"]).unwrap()
}

/// Everything about a result that must be the same, as bytes.
pub fn bytes(trained: &TrainedWeights) -> Vec<u8> {
    let mut all = serde_json::to_vec(&trained.report).unwrap();
    for (name, tensor) in &trained.weights {
        all.extend(name.as_bytes());
        all.extend(tensor.bytes());
    }
    all
}
