//! Fused graphs give the results of the engine's own operators, with fewer passes.
//!
//! Tolerance: both sides compute in single precision, with elementary functions accurate to 2 units in the
//! last place. Over the few dozen operations of these graphs 1e-5 of the largest element is far above
//! rounding and far below the error of a wrong rule.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use chiasm_graph::{Attr, Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_runtime::SessionOptions;
use common::engine;

fn noise(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    Tensor::f32(shape, (0..shape.iter().product()).map(|_| next()).collect()).unwrap()
}

/// Checks that a graph gives the same with and without fusion; returns the number of nodes after fusion. On
/// some processors the engine fuses all but products, so that a graph with fused products is run too.
fn same(graph: &Graph, inputs: &[(&str, &Tensor)]) -> usize {
    let with_products = graph.fused();
    same_as_plain(graph, graph, inputs);
    same_as_plain(graph, &with_products, inputs);
    with_products.node_count()
}

/// Checks that the plain graph and another, fused, give the same, the latter with any number of threads.
fn same_as_plain(graph: &Graph, other: &Graph, inputs: &[(&str, &Tensor)]) {
    let run = |graph: &Graph, fuse, threads| {
        let options = SessionOptions { fuse, threads, ..SessionOptions::default() };
        engine().session(graph, &options).unwrap().run(inputs).unwrap()
    };
    let (plain, fused) = (run(graph, false, 2), run(other, true, 2));
    for ((name, plain), (_, fused)) in plain.iter().zip(&fused) {
        assert_eq!(plain.shape(), fused.shape(), "{name}");
        if let (Some(plain), Some(fused)) = (plain.as_f32(), fused.as_f32()) {
            let scale = plain.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
            for (at, (plain, fused)) in plain.iter().zip(fused).enumerate() {
                assert!((plain - fused).abs() <= 1e-5 * scale, "{name}[{at}]: {fused}, expected {plain}");
            }
        } else {
            assert_eq!(plain, fused, "{name}");
        }
    }
    assert_eq!(fused, run(other, true, 1), "the number of threads changed the result");
}

/// Symmetric InfoNCE of `mlp(x)` and `y`, with the gradient by every weight.
fn info_nce(batch: Dim) -> Graph {
    let mut b = Builder::new("objective");
    let x = b.input("x", DType::F32, &[batch.clone(), 24.into()]).unwrap();
    let y = b.input("y", DType::F32, &[batch, 16.into()]).unwrap();
    let mut weight = |name: &str, shape: &[usize]| {
        let dims: Vec<Dim> = shape.iter().copied().map(Dim::Fixed).collect();
        b.input(name, DType::F32, &dims).unwrap()
    };
    let layers =
        [(weight("w1", &[24, 40]), weight("b1", &[40])), (weight("w2", &[40, 16]), weight("b2", &[16]))];
    let z = b.mlp(&x, &layers);
    let (u, v) = (b.l2_normalise(&z, -1, 1e-12), b.l2_normalise(&y, -1, 1e-12));
    let across = b.transpose(&v, &[1, 0]);
    let scores = b.matmul(&u, &across);
    let scores = b.mul_scalar(&scores, 10.0);
    let mean = |b: &mut Builder, x: &Value| b.op("ReduceMean", &[x], &[("keepdims", Attr::Int(0))]);
    let axes = |axis| [("axes", Attr::Ints(vec![axis])), ("keepdims", Attr::Int(0))];
    let rows = b.op("ReduceLogSumExp", &[&scores], &axes(1));
    let columns = b.op("ReduceLogSumExp", &[&scores], &axes(0));
    let own = b.mul(&u, &v);
    let own = b.reduce_sum(&own, &[-1], false);
    let own = b.mul_scalar(&own, 20.0);
    let total = b.add(&rows, &columns);
    let total = b.sub(&total, &own);
    let loss = mean(&mut b, &total);
    let loss = b.mul_scalar(&loss, 0.5);
    b.output("loss", &loss, DType::F32, &[]);
    b.finish().unwrap().gradient("loss", &["w1", "b1", "w2", "b2"]).unwrap()
}

#[test]
fn a_gradient_is_the_same_fused_and_plain() {
    for batch in [Dim::named("batch"), Dim::Fixed(300)] {
        let graph = info_nce(batch);
        let n = 300;
        let tensors = [
            ("x", noise(&[n, 24], 1)),
            ("y", noise(&[n, 16], 2)),
            ("w1", noise(&[24, 40], 3)),
            ("b1", noise(&[40], 4)),
            ("w2", noise(&[40, 16], 5)),
            ("b2", noise(&[16], 6)),
        ];
        let inputs: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let left = same(&graph, &inputs);
        assert!(left * 3 < graph.node_count() * 2, "{left} nodes are left of {}", graph.node_count());
    }
}

#[test]
fn every_operation_is_the_same_fused_and_plain() {
    let mut b = Builder::new("all");
    let dims = [Dim::named("n"), 70.into()];
    let x = b.input("x", DType::F32, &dims).unwrap();
    let row = b.input("row", DType::F32, &[70.into()]).unwrap();
    let column = b.input("column", DType::F32, &[Dim::named("n"), 1.into()]).unwrap();
    let one = b.input("one", DType::F32, &[1.into()]).unwrap();
    let mut results = Vec::new();
    let mut keep = |name: &str, value: Value| results.push((name.to_owned(), value));
    let positive = b.exp(&x);
    for (operator, x) in [
        ("Neg", &x),
        ("Sqrt", &positive),
        ("Exp", &x),
        ("Log", &positive),
        ("Abs", &x),
        ("Sign", &x),
        ("Erf", &x),
        ("Tanh", &x),
        ("Sigmoid", &x),
        ("Relu", &x),
        ("Reciprocal", &positive),
    ] {
        let y = b.op(operator, &[x], &[]);
        keep(operator, b.mul(&y, &row));
    }
    for operator in ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum"] {
        let y = b.op(operator, &[&x, &positive], &[]);
        let y = b.op(operator, &[&y, &row], &[]);
        let y = b.op(operator, &[&column, &y], &[]);
        keep(operator, b.op(operator, &[&y, &one], &[]));
    }
    for operator in ["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"] {
        let rounded = b.op("Relu", &[&x], &[]);
        let truth = b.op(operator, &[&rounded, &one], &[]);
        let other = b.op("Not", &[&truth], &[]);
        let both = b.op("Or", &[&truth, &other], &[]);
        let chosen = b.where_(&truth, &x, &row);
        keep(&format!("Where {operator}"), b.cast(&both, DType::F32));
        keep(operator, chosen);
    }
    let three = b.op("Max", &[&x, &row, &column], &[]);
    let rows = b.reduce_sum(&three, &[-1], true);
    let columns = b.reduce_sum(&three, &[0], false);
    for (name, value) in &results {
        b.output(name, value, DType::F32, &dims);
    }
    b.output("rows", &rows, DType::F32, &[Dim::named("n"), 1.into()]);
    b.output("columns", &columns, DType::F32, &[70.into()]);
    let graph = b.finish().unwrap();
    for n in [1, 3, 500] {
        let tensors = [
            ("x", noise(&[n, 70], 1)),
            ("row", noise(&[70], 2)),
            ("column", noise(&[n, 1], 3)),
            ("one", noise(&[1], 4)),
        ];
        let inputs: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
        assert!(same(&graph, &inputs) * 2 < graph.node_count());
    }
}

#[test]
fn values_that_depend_on_each_other_through_a_sum_are_not_fused() {
    // A softmax by hand: the second pass needs the sums of the first.
    let mut b = Builder::new("softmax");
    let dims = [Dim::named("n"), 33.into()];
    let x = b.input("x", DType::F32, &dims).unwrap();
    let power = b.exp(&x);
    let doubled = b.add(&power, &power);
    let sum = b.reduce_sum(&doubled, &[1], true);
    let share = b.div(&doubled, &sum);
    let share = b.mul(&share, &power);
    b.output("y", &share, DType::F32, &dims);
    let graph = b.finish().unwrap();
    assert_eq!(same(&graph, &[("x", &noise(&[200, 33], 1))]), 2);
}

#[test]
fn an_operand_is_broadcast_over_a_leading_axis() {
    // A tangent [k, n, d] times a derivative [n, d].
    let mut b = Builder::new("tangent");
    let t = b.input("t", DType::F32, &[7.into(), Dim::named("n"), 12.into()]).unwrap();
    let x = b.input("x", DType::F32, &[Dim::named("n"), 12.into()]).unwrap();
    let y = b.mul(&t, &x);
    let y = b.tanh(&y);
    b.output("y", &y, DType::F32, &[7.into(), Dim::named("n"), 12.into()]);
    let graph = b.finish().unwrap();
    assert_eq!(same(&graph, &[("t", &noise(&[7, 5, 12], 1)), ("x", &noise(&[5, 12], 2))]), 1);
}

#[test]
fn a_sum_over_an_axis_of_length_zero_is_zero() {
    // No columns are left of x; the memory of the result may hold anything before the kernel runs, so
    // several runs are compared, with other results in between.
    let mut b = Builder::new("empty");
    let x = b.input("x", DType::F32, &[Dim::named("n"), 6.into()]).unwrap();
    let [from, to, axis] = [("from", 3), ("to", 3), ("axis", 1)].map(|(name, value)| b.ints(name, &[value]));
    let none = b.op("Slice", &[&x, &from, &to, &axis], &[]);
    let scaled = b.mul_scalar(&none, 2.0);
    let power = b.exp(&scaled);
    let rows = b.reduce_sum(&power, &[1], true);
    let whole = b.mul_scalar(&x, 3.0);
    let whole = b.exp(&whole);
    let sums = b.reduce_sum(&whole, &[1], true);
    b.output("rows", &rows, DType::F32, &[Dim::named("n"), 1.into()]);
    b.output("sums", &sums, DType::F32, &[Dim::named("n"), 1.into()]);
    let graph = b.finish().unwrap();
    let options = SessionOptions { fuse: true, ..SessionOptions::default() };
    let session = engine().session(&graph, &options).unwrap();
    for seed in 0..20 {
        let outputs = session.run(&[("x", &noise(&[400, 6], seed))]).unwrap();
        assert_eq!(outputs[0].1.shape(), [400, 1]);
        assert!(outputs[0].1.as_f32().unwrap().iter().all(|sum| *sum == 0.0));
    }
    assert!(graph.fused().node_count() < graph.node_count(), "the sum was not fused");
}

#[test]
fn a_graph_is_fused_around_a_loop_that_uses_its_values() {
    // The body of the loop uses `scaled`, which is computed in the middle of a chain of element-wise nodes,
    // and which nothing else needs.
    let mut b = Builder::new("loop");
    let dims = [Dim::named("n"), 9.into()];
    let x = b.input("x", DType::F32, &dims).unwrap();
    let power = b.exp(&x);
    let scaled = b.mul_scalar(&power, 0.5);
    let start = b.tanh(&x);
    let looped = b.repeat(3, &[&start], |b, state| {
        let sum = b.add(&state[0], &scaled);
        vec![b.mul_scalar(&sum, 0.5)]
    });
    let y = b.mul(&looped[0], &x);
    let y = b.sub(&y, &start);
    b.output("y", &y, DType::F32, &dims);
    let graph = b.finish().unwrap();
    let x = noise(&[200, 9], 1);
    assert!(same(&graph, &[("x", &x)]) < graph.node_count(), "nothing was fused");
    let options = SessionOptions { fuse: true, ..SessionOptions::default() };
    let got = engine().session(&graph, &options).unwrap().run(&[("x", &x)]).unwrap();
    for (x, got) in x.as_f32().unwrap().iter().zip(got[0].1.as_f32().unwrap()) {
        let (x, mut state) = (f64::from(*x), f64::from(*x).tanh());
        (0..3).for_each(|_| state = 0.5 * (state + 0.5 * x.exp()));
        let want = state * x - x.tanh();
        assert!((f64::from(*got) - want).abs() < 1e-5, "{got}, expected {want}");
    }
}

/// Scalings of a kernel, as the transport terms of a training compute them; `other` is another step.
fn scalings(other: bool) -> Graph {
    let mut b = Builder::new("scalings");
    let dims = [Dim::named("n"), Dim::named("m")];
    let x = b.input("x", DType::F32, &dims).unwrap();
    let a = b.input("a", DType::F32, &[Dim::named("n"), 1.into()]).unwrap();
    let c = b.input("c", DType::F32, &[Dim::named("m"), 1.into()]).unwrap();
    let kernel = b.exp(&x);
    let transposed = b.transpose(&kernel, &[1, 0]);
    let scaled = |b: &mut Builder, kernel: &Value, scaling: &Value, weight: &Value, least: f32| {
        let sums = b.matmul(kernel, scaling);
        let sums = b.max_scalar(&sums, least);
        b.div(weight, &sums)
    };
    let looped = b.repeat(20, &[&a, &c], |b, state| {
        let u = scaled(b, &kernel, &state[1], &a, 1e-30);
        let v = scaled(b, &transposed, &u, &c, if other { 1e-20 } else { 1e-30 });
        vec![u, v]
    });
    b.output("u", &looped[0], DType::F32, &[Dim::named("n"), 1.into()]);
    b.output("v", &looped[1], DType::F32, &[Dim::named("m"), 1.into()]);
    b.finish().unwrap()
}

#[test]
fn a_loop_that_scales_a_matrix_becomes_one_node_and_other_loops_stay() {
    let weights = |count: usize| Tensor::f32(&[count, 1], vec![1.0 / count as f32; count]).unwrap();
    for (other, node) in [(false, "chiasm.Scaling"), (true, "Loop")] {
        let graph = scalings(other);
        assert!(graph.fused().op_types().contains_key(node), "{:?}", graph.fused().op_types());
        for (n, m) in [(1, 1), (30, 45), (700, 400)] {
            let inputs = [("x", noise(&[n, m], 3)), ("a", weights(n)), ("c", weights(m))];
            same(&graph, &inputs.each_ref().map(|(name, tensor)| (*name, tensor)));
        }
    }
}
