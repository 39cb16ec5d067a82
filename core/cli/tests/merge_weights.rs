//! `chiasm merge-weights` on networks with one hidden layer.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor};
use common::{RandomNumbers, Sandbox, npy};

const WIDTHS: [usize; 3] = [3, 4, 2];

/// `y = relu(x w1) w2`, written to a file.
fn network(sandbox: &Sandbox, name: &str, w1: &[f32], w2: &[f32]) {
    let mut b = Builder::new("network");
    let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(WIDTHS[0])]).unwrap();
    let w1 = b.constant("w1", Tensor::f32(&[WIDTHS[0], WIDTHS[1]], w1.to_vec()).unwrap());
    let w2 = b.constant("w2", Tensor::f32(&[WIDTHS[1], WIDTHS[2]], w2.to_vec()).unwrap());
    let hidden = b.matmul(&x, &w1);
    let hidden = b.relu(&hidden);
    let y = b.matmul(&hidden, &w2);
    b.output("y", &y, DType::F32, &[Dim::named("batch"), Dim::Fixed(WIDTHS[2])]);
    b.finish().unwrap().save(sandbox.path(name)).unwrap();
}

fn weight(sandbox: &Sandbox, model: &str, name: &str) -> Vec<f32> {
    Graph::load(sandbox.path(model)).unwrap().weight(name).unwrap().into_f32().unwrap()
}

/// `b` is `a` with its units in the order 2, 0, 3, 1.
fn shuffled() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut numbers = RandomNumbers(1);
    let w1: Vec<f32> = (0..12).map(|_| numbers.next()).collect();
    let w2: Vec<f32> = (0..8).map(|_| numbers.next()).collect();
    network(&sandbox, "a.onnx", &w1, &w2);
    let order = [2, 0, 3, 1];
    let columns: Vec<f32> = (0..12).map(|at| w1[at / 4 * 4 + order[at % 4]]).collect();
    let rows: Vec<f32> = (0..8).map(|at| w2[order[at / 2] * 2 + at % 2]).collect();
    network(&sandbox, "b.onnx", &columns, &rows);
    sandbox
}

#[test]
fn aligned_units_make_the_average_of_a_shuffled_model_the_model() {
    let sandbox = shuffled();
    let merge = ["merge-weights", "a.onnx", "b.onnx", "-o", "merged.onnx"];
    let said = sandbox.good(&[&merge[..], &["--align-units"]].concat());
    assert_eq!(said.trim(), "merged.onnx: 2 weights of 2 models, 4 hidden units aligned");
    assert_eq!(weight(&sandbox, "merged.onnx", "w1"), weight(&sandbox, "a.onnx", "w1"));
    sandbox.good(&merge);
    assert_ne!(weight(&sandbox, "merged.onnx", "w1"), weight(&sandbox, "a.onnx", "w1"));
}

/// `d y_k / d w2[j, k] = h_j`, so the information of `w2[j, k]` is the mean of `h_j²` over the items, where h
/// are the hidden units. Model a has units 1 and 2 active on its items, model b only unit 1, so unit 2 of the
/// merged model is that of a; unit 1 is the mean weighted by 1 and 4. Units that are never active are
/// averaged.
#[test]
fn fisher_uses_the_units_that_are_active_on_the_items() {
    let sandbox = Sandbox::new();
    let w1 = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    network(&sandbox, "a.onnx", &w1, &[1.0; 8]);
    network(&sandbox, "b.onnx", &w1, &[6.0; 8]);
    sandbox.write("a.npy", npy(2, 3, &[1.0, 1.0, 0.0, 1.0, 1.0, 0.0]));
    sandbox.write("b.npy", npy(1, 3, &[2.0, -1.0, 0.0]));
    let merge = ["merge-weights", "a.onnx", "b.onnx", "-o", "merged.onnx", "--method", "fisher"];
    sandbox.good(&[&merge[..], &["--items", "a.npy,b.npy"]].concat());
    let merged = weight(&sandbox, "merged.onnx", "w2");
    assert_eq!(merged, [5.0, 5.0, 1.0, 1.0, 3.5, 3.5, 3.5, 3.5]);
    sandbox.call(&merge).refused("no items", &["fisher needs one file of items, or 2, got 0"]);
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let sandbox = shuffled();
    sandbox
        .call(&["merge-weights", "a.onnx", "a.onnx", "-o", "a.onnx"])
        .refused("its own input", &["a.onnx is one of the models"]);
    sandbox
        .call(&["merge-weights", "a.onnx", "b.onnx", "-o", "c.onnx", "--method", "ties"])
        .refused("no base", &["ties needs --base"]);
    sandbox
        .call(&["merge-weights", "a.onnx", "b.onnx", "-o", "c.onnx", "--shares", "1,2,3"])
        .refused("three shares", &["shares: expected 2 numbers"]);
    sandbox
        .call(&["merge-weights", "a.onnx", "b.onnx", "-o", "./a.onnx"])
        .refused("its own input by another path", &["a.onnx is one of the models"]);
    sandbox
        .call(&["merge-weights", "a.onnx", "b.onnx", "-o", "c.onnx", "--t", "0.3"])
        .refused("an option of another method", &["--t is not an option of --method average"]);
    let mut b = Builder::new("other");
    let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(3)]).unwrap();
    let y = b.relu(&x);
    b.output("y", &y, DType::F32, &[Dim::named("batch"), Dim::Fixed(3)]);
    b.finish().unwrap().save(sandbox.path("other.onnx")).unwrap();
    sandbox.call(&["merge-weights", "a.onnx", "other.onnx", "-o", "c.onnx"]).refused(
        "another architecture",
        &["model 2 does not have the architecture of the first", "the port"],
    );
}
