//! Which units of a graph can be permuted.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use chiasm_graph::{Builder, DType, Dim, Graph, HiddenUnits, Tensor, Value};

fn weight(b: &mut Builder, name: &str, shape: &[usize]) -> Value {
    b.constant(name, Tensor::zeros(DType::F32, shape).unwrap())
}

fn named(places: &[(&str, usize)]) -> Vec<(String, usize)> {
    places.iter().map(|(name, axis)| ((*name).to_owned(), *axis)).collect()
}

/// `x [batch, 4] -> y [batch, 4]`.
fn graph(build: impl Fn(&mut Builder, &Value) -> Value) -> Graph {
    let mut b = Builder::new("units");
    let rows = [Dim::named("batch"), Dim::Fixed(4)];
    let x = b.input("x", DType::F32, &rows).unwrap();
    let y = build(&mut b, &x);
    b.output("y", &y, DType::F32, &rows);
    b.finish().unwrap()
}

fn units(build: impl Fn(&mut Builder, &Value) -> Value) -> Vec<HiddenUnits> {
    graph(build).hidden_units()
}

/// A gated layer: both branches hold the same units, and GELU reads its input twice.
#[test]
fn element_wise_operators_keep_units_apart() {
    let found = units(|b, x| {
        let (w1, w2) = (weight(b, "w1", &[4, 6]), weight(b, "w2", &[6, 4]));
        let scale = weight(b, "scale", &[6]);
        let hidden = b.matmul(x, &w1);
        let hidden = b.gelu(&hidden);
        let hidden = b.mul(&hidden, &scale);
        b.matmul(&hidden, &w2)
    });
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].incoming, named(&[("w1", 1), ("scale", 0)]));
    assert_eq!(found[0].outgoing, named(&[("w2", 0)]));
}

/// The order matters where units are added to the input, normalised along the units, returned, made or read
/// by a weight with two uses, or multiplied with another layer's.
#[test]
fn units_that_something_keeps_in_place_are_left_out() {
    let residual = units(|b, x| {
        let (w1, w2) = (weight(b, "w1", &[4, 4]), weight(b, "w2", &[4, 4]));
        let hidden = b.matmul(x, &w1);
        let hidden = b.add(&hidden, x);
        b.matmul(&hidden, &w2)
    });
    let softmax = units(|b, x| {
        let (w1, w2) = (weight(b, "w1", &[4, 6]), weight(b, "w2", &[6, 4]));
        let hidden = b.matmul(x, &w1);
        let hidden = b.softmax(&hidden, -1);
        b.matmul(&hidden, &w2)
    });
    let tied = units(|b, x| {
        let w = weight(b, "w", &[4, 4]);
        let hidden = b.matmul(x, &w);
        let hidden = b.relu(&hidden);
        b.matmul(&hidden, &w)
    });
    let product = units(|b, x| {
        let [w1, w2] = ["w1", "w2"].map(|name| weight(b, name, &[4, 6]));
        let w3 = weight(b, "w3", &[6, 4]);
        let (first, second) = (b.matmul(x, &w1), b.matmul(x, &w2));
        let hidden = b.mul(&first, &second);
        b.matmul(&hidden, &w3)
    });
    for (what, found) in [("residual", residual), ("softmax", softmax), ("tied", tied), ("product", product)]
    {
        assert_eq!(found, [], "{what}");
    }
}

/// Channels of a convolution, through batch normalisation.
#[test]
fn channels_of_convolutions_are_units() {
    let mut b = Builder::new("convolutions");
    let image = [Dim::named("batch"), Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(8)];
    let x = b.input("x", DType::F32, &image).unwrap();
    let (w1, w2) = (weight(&mut b, "w1", &[5, 3, 3, 3]), weight(&mut b, "w2", &[3, 5, 1, 1]));
    let bias = weight(&mut b, "bias", &[5]);
    let [scale, shift, mean, variance] =
        ["scale", "shift", "mean", "variance"].map(|name| weight(&mut b, name, &[5]));
    let hidden = b.op("Conv", &[&x, &w1, &bias], &[]);
    let hidden = b.op("BatchNormalization", &[&hidden, &scale, &shift, &mean, &variance], &[]);
    let hidden = b.relu(&hidden);
    let y = b.op("Conv", &[&hidden, &w2], &[]);
    let out = [Dim::named("batch"), Dim::Fixed(3), Dim::Fixed(6), Dim::Fixed(6)];
    b.output("y", &y, DType::F32, &out);
    let found = b.finish().unwrap().hidden_units();
    assert_eq!(found.len(), 1);
    let incoming = [("w1", 0), ("bias", 0), ("scale", 0), ("shift", 0), ("mean", 0), ("variance", 0)];
    assert_eq!(found[0].incoming, named(&incoming));
    assert_eq!((found[0].count, &found[0].outgoing), (5, &named(&[("w2", 1)])));
}

#[test]
fn the_first_difference_of_two_graphs_is_named() {
    let one = |name: &'static str, width: usize| {
        graph(move |b, x| {
            let (w1, w2) = (weight(b, "w1", &[4, width]), weight(b, "w2", &[width, 4]));
            let hidden = b.matmul(x, &w1);
            let hidden = b.op(name, &[&hidden], &[]);
            b.matmul(&hidden, &w2)
        })
    };
    assert_eq!(one("Relu", 6).architecture_difference(&one("Relu", 6)), None);
    let wider = one("Relu", 6).architecture_difference(&one("Relu", 7)).unwrap();
    assert_eq!(wider, "the weight `w1` has the shape [4, 6], and [4, 7] in the other");
    let other = one("Relu", 6).architecture_difference(&one("Tanh", 6)).unwrap();
    assert!(other.contains("(Relu) is") && other.contains("(Tanh)"), "{other}");
    let error = one("Relu", 6).with_weights(&[("w1", Tensor::zeros(DType::F32, &[4]).unwrap())]).unwrap_err();
    assert!(error.to_string().contains("`w1`: expected f32 [4, 6], got f32 [4]"), "{error}");
}
