//! Every method of the graph builder, run by the engine, against NumPy's values (`reference/make.py`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use std::collections::BTreeMap;

use chiasm_graph::{Builder, DType, Dim, Tensor, Value};
use chiasm_runtime::SessionOptions;
use common::engine;

/// Values are of order 1 and computed in f32 from sums of at most 20 terms.
const TOLERANCE: f64 = 2e-6;

#[derive(Clone)]
struct Array {
    shape: Vec<usize>,
    values: Vec<f64>,
}

fn reference(part: &str) -> BTreeMap<String, Array> {
    let all: serde_json::Value = serde_json::from_str(include_str!("reference/operators.json")).unwrap();
    let array = |v: &serde_json::Value| Array {
        shape: v["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect(),
        values: v["values"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect(),
    };
    all[part].as_object().unwrap().iter().map(|(name, v)| (name.clone(), array(v))).collect()
}

fn tensor(name: &str, array: &Array) -> Tensor {
    if name == "rows" {
        Tensor::i64(&array.shape, array.values.iter().map(|v| *v as i64).collect()).unwrap()
    } else {
        Tensor::f32(&array.shape, array.values.iter().map(|v| *v as f32).collect()).unwrap()
    }
}

/// One graph with every method in it, and the names of its outputs.
fn everything(b: &mut Builder, given: &BTreeMap<String, Value>) -> Vec<(&'static str, Value)> {
    let v = |name: &str| &given[name];
    let (x, y, tokens, mask) = (v("x"), v("y"), v("tokens"), v("mask"));
    let (size_x, size_y) = (b.abs(x), b.abs(y));
    let (top, places) = b.top_k(y, 2, -1);
    let greater = b.op("Greater", &[x, y], &[]);
    let wide = b.unsqueeze(x, &[1]);
    let shape_x = b.shape(x);
    vec![
        ("add", b.add(x, y)),
        ("sub", b.sub(x, y)),
        ("mul", b.mul(x, y)),
        ("div", b.div(x, &size_y)),
        ("neg", b.neg(x)),
        ("sqrt", b.sqrt(&size_x)),
        ("exp", b.exp(x)),
        ("log", b.log(&size_y)),
        ("abs", size_x.clone()),
        ("sign", b.sign(x)),
        ("relu", b.relu(x)),
        ("tanh", b.tanh(x)),
        ("erf", b.erf(x)),
        ("identity", b.identity(x)),
        ("matmul", b.matmul(x, v("w1"))),
        ("add_scalar", b.add_scalar(x, 0.25)),
        ("mul_scalar", b.mul_scalar(x, -1.5)),
        ("max_scalar", b.max_scalar(x, 0.1)),
        ("pow", b.pow(&size_x, 1.5)),
        ("gelu", b.gelu(x)),
        ("softmax", b.softmax(x, -1)),
        ("layer_norm", b.layer_norm(x, v("scale"), v("bias"), 1e-5)),
        ("l2_normalise", b.l2_normalise(x, -1, 1e-12)),
        ("linear", b.linear(x, v("w1"), Some(v("b1")))),
        ("mlp", b.mlp(x, &[(v("w1").clone(), v("b1").clone()), (v("w2").clone(), v("b2").clone())])),
        ("reduce_sum", b.reduce_sum(tokens, &[1, 2], true)),
        ("transpose", b.transpose(tokens, &[2, 0, 1])),
        ("reshape", b.reshape(tokens, &[0, -1])),
        ("unsqueeze", wide.clone()),
        ("squeeze", b.squeeze(&wide, &[1])),
        ("concat", b.concat(&[x, y], 1)),
        ("top_k", top),
        ("top_k_places", places),
        ("where", b.where_(&greater, x, y)),
        ("cast", b.cast(x, DType::I64)),
        ("gather", b.gather(x, v("rows"), 0)),
        ("expand", b.expand(v("scale"), &shape_x)),
        ("shape", b.shape(tokens)),
        ("mean_pool", b.mean_pool(tokens, mask)),
        ("cls_pool", b.cls_pool(tokens)),
    ]
}

#[test]
fn every_builder_method_computes_what_numpy_does() {
    let (inputs, expected) = (reference("inputs"), reference("outputs"));
    let tensors: BTreeMap<String, Tensor> = inputs.iter().map(|(n, a)| (n.clone(), tensor(n, a))).collect();
    let mut b = Builder::new("operators");
    let mut given = BTreeMap::new();
    for (name, tensor) in &tensors {
        let dims: Vec<Dim> = tensor.shape().iter().map(|d| Dim::Fixed(*d)).collect();
        given.insert(name.clone(), b.input(name, tensor.dtype(), &dims).unwrap());
    }
    let outputs = everything(&mut b, &given);
    let names: Vec<&str> = outputs.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), expected.len(), "the script and this test know the same methods");
    for (name, value) in &outputs {
        let whole = ["top_k_places", "cast", "shape"].contains(name);
        let dims: Vec<Dim> = expected[*name].shape.iter().map(|d| Dim::Fixed(*d)).collect();
        // Some values have another name already; an identity lets each be an output.
        let value = b.identity(value);
        b.output(&format!("out.{name}"), &value, if whole { DType::I64 } else { DType::F32 }, &dims);
    }
    let session = engine().session(&b.finish().unwrap(), &SessionOptions::default()).unwrap();
    let fed: Vec<(&str, &Tensor)> = tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
    for (name, got) in session.run(&fed).unwrap() {
        let want = &expected[name.strip_prefix("out.").unwrap()];
        assert_eq!(got.shape(), want.shape, "{name}");
        let got: Vec<f64> = match got.as_i64() {
            Some(values) => values.iter().map(|v| *v as f64).collect(),
            None => got.as_f32().unwrap().iter().map(|v| f64::from(*v)).collect(),
        };
        for (g, w) in got.iter().zip(&want.values) {
            assert!((g - w).abs() <= TOLERANCE * (1.0 + w.abs()), "{name}: got {g}, NumPy has {w}");
        }
    }
}
