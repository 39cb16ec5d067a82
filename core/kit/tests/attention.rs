//! Compares attention with PyTorch's values and derivatives, and checks edge cases, as graphs in the engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use chiasm_kit::attention::{BlockSizes, TokenInput, TokenSequence};
use chiasm_kit::{LayerBuilder, WeightInit, WeightStore};
use chiasm_plugin::Json;
use chiasm_plugin::graph::{DType, Dim, Graph, Tensor, Value};
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};

const WIDTH: usize = 8;
const BLOCK: BlockSizes = BlockSizes { heads: 2, hidden: 12 };

fn run(graph: &Graph, inputs: &[(&str, &Tensor)]) -> BTreeMap<String, Tensor> {
    let engine = Engine::open(&EngineSearch::from_environment(None)).unwrap();
    let session = engine.session(graph, &SessionOptions::default()).unwrap();
    let taken: Vec<_> = inputs.iter().filter(|(name, _)| graph.input(name).is_ok()).copied().collect();
    session.run(&taken).unwrap().into_iter().collect()
}

/// The tensors of reference/attention.py.
fn sines(name: &str, shape: &[usize], scale: f64) -> Tensor {
    let phase = name.len() as f64 + 0.1 * name.bytes().map(f64::from).sum::<f64>();
    let offset = if name.ends_with("/scale") { 1.0 } else { 0.0 };
    let values = (0..shape.iter().product::<usize>())
        .map(|i| (scale * (1.3 * i as f64 + phase).sin()) as f32 + offset);
    Tensor::f32(shape, values.collect()).unwrap()
}

fn probe(shape: &[usize]) -> Vec<f32> {
    (0..shape.iter().product::<usize>()).map(|i| (0.7 * i as f64 + 1.0).sin() as f32).collect()
}

fn input(layers: &mut LayerBuilder<'_>, name: &str, width: usize) -> TokenSequence {
    let dims = [Dim::named("batch"), Dim::named(format!("{name}_length"))];
    let mask = layers.b.input(&format!("mask_{name}"), DType::F32, &dims).unwrap();
    let [batch, length] = dims;
    let values = layers.b.input(name, DType::F32, &[batch, length, width.into()]).unwrap();
    TokenSequence { values, mask: Some(mask), width }
}

fn stored_values() -> Json {
    serde_json::from_str(include_str!("reference/attention.json")).unwrap()
}

/// The sequences of these names, each followed by its mask.
fn masked_sequences(streams: &str) -> Vec<(String, Tensor)> {
    [("a", 5, 6), ("b", 4, WIDTH), ("c", 3, WIDTH), ("d", 2, WIDTH)]
        .into_iter()
        .zip([
            [1., 1., 1., 0., 0., 1., 1., 1., 1., 1.].as_slice(),
            &[1., 0., 1., 0., 1., 1., 1., 1.],
            &[1., 1., 0., 0., 1., 0.],
            &[1., 1., 1., 0.],
        ])
        .filter(|((name, ..), _)| streams.contains(name))
        .flat_map(|((name, length, width), mask)| {
            let mask = Tensor::f32(&[2, length], mask.to_vec()).unwrap();
            [(name.to_owned(), sines(name, &[2, length, width], 1.5)), (format!("mask_{name}"), mask)]
        })
        .collect()
}

/// The loss is the sum of the output's elements, each times the probe's: its derivative by every weight is
/// stored too.
fn against_pytorch(
    case: &str,
    shape: &[usize],
    streams: &str,
    build: impl Fn(&mut LayerBuilder<'_>, &[TokenSequence]) -> Value,
) {
    let (stored, inputs) = (&stored_values()[case], masked_sequences(streams));
    let mut weights = WeightStore::new(1);
    let graph = |weights: &mut WeightStore| {
        let mut layers = LayerBuilder::new(case, weights);
        let tokens: Vec<TokenSequence> = streams
            .chars()
            .map(|name| input(&mut layers, &name.to_string(), if name == 'a' { 6 } else { WIDTH }))
            .collect();
        let out = build(&mut layers, &tokens);
        let direction = layers.b.constant("probe", Tensor::f32(shape, probe(shape)).unwrap());
        let product = layers.b.mul(&out, &direction);
        let axes: Vec<i64> = (0..shape.len() as i64).collect();
        let loss = layers.b.reduce_sum(&product, &axes, false);
        layers.b.output("loss", &loss, DType::F32, &[]);
        let dims: Vec<Dim> = shape.iter().map(|_| Dim::Unknown).collect();
        layers.b.output("out", &out, DType::F32, &dims);
        layers.finish().unwrap()
    };
    graph(&mut weights);
    let known: Vec<(String, Tensor)> =
        weights.iter().map(|(name, tensor)| (name.to_owned(), sines(name, tensor.shape(), 0.6))).collect();
    weights.load(&known).unwrap();
    let graph = graph(&mut weights);
    let names: Vec<&str> = weights.iter().map(|(name, _)| name).collect();
    let lifted = graph.lifted(&names).unwrap();
    let mut given: Vec<(&str, &Tensor)> =
        inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let out = run(&graph, &given).remove("out").unwrap();
    assert_eq!(out.shape(), shape, "{case}");
    // 1e-5 is rounding of single precision over sums of some tens of terms below 5
    for (got, expected) in out.as_f32().unwrap().iter().zip(stored["values"].as_array().unwrap()) {
        let expected = expected.as_f64().unwrap();
        assert!(
            (f64::from(*got) - expected).abs() < 1e-5 * expected.abs().max(1.0),
            "{case}: {got}, expected {expected}"
        );
    }
    given.extend(weights.iter());
    let backward = lifted.extract(&["loss"]).unwrap().gradient("loss", &names).unwrap();
    let gradients = run(&backward, &given);
    assert_eq!(stored["gradients"].as_object().unwrap().len(), names.len(), "{case}: the same weights");
    for name in names {
        let gradient = &gradients[&format!("gradient/{name}")];
        let along: f32 =
            gradient.as_f32().unwrap().iter().zip(probe(gradient.shape())).map(|(g, p)| g * p).sum();
        let expected = stored["gradients"][name].as_f64().unwrap();
        let got = f64::from(along);
        // products of up to 100 derivatives of size 10, in single precision
        assert!(
            (got - expected).abs() < 2e-4 * expected.abs().max(1.0),
            "{case}: {name}: {got}, expected {expected}"
        );
    }
}

#[test]
fn every_block_equals_pytorch() {
    against_pytorch("multi_head", &[2, 4, WIDTH], "ab", |layers, tokens| {
        layers.multi_head("n", 2, &tokens[1], &tokens[0])
    });
    against_pytorch("one_way", &[2, 4, WIDTH], "ab", |layers, tokens| {
        layers.one_way("n", BLOCK, &tokens[1], &tokens[0]).values
    });
    against_pytorch("decoder", &[2, 4, WIDTH], "bc", |layers, tokens| {
        layers.decoder("n", BLOCK, &tokens[0], &tokens[1]).values
    });
    for (case, streams, length) in [("two_way", "bc", 7), ("three_way", "bcd", 9)] {
        against_pytorch(case, &[2, length, WIDTH], streams, |layers, tokens| {
            let out = layers.two_way("n", BLOCK, tokens);
            layers.joined(&out.iter().collect::<Vec<_>>()).values
        });
    }
    against_pytorch("gated", &[2, 2 * WIDTH], "bc", |layers, tokens| layers.gated("n", tokens));
    against_pytorch("latent", &[2, 3, WIDTH], "b", |layers, tokens| {
        let latents = layers.latents("n", 3, WIDTH, &tokens[0]);
        layers.latent("n", BLOCK, &latents, &tokens[0]).values
    });
}

/// Two streams through their entries, every block, pooled: `[batch, 4]` of five numbers a block and stream.
fn everything(positions: usize) -> Graph {
    let mut weights = WeightStore::new(3);
    let mut layers = LayerBuilder::new("everything", &mut weights);
    let streams: Vec<TokenSequence> = ["a", "b"]
        .into_iter()
        .map(|name| {
            let raw = input(&mut layers, name, 3);
            let mask = raw.mask.clone().unwrap();
            let input = TokenInput { name, tokens: &raw.values, mask: &mask, width: 3, positions };
            layers.embed_tokens(&input, WIDTH)
        })
        .collect();
    let one = layers.one_way("one", BLOCK, &streams[1], &streams[0]);
    let mut outs: Vec<Value> = vec![layers.pool(&one)];
    for stream in layers.two_way("two", BLOCK, &streams) {
        outs.push(layers.pool(&stream));
    }
    outs.push(layers.gated("gated", &streams));
    let all = layers.joined(&[&streams[0], &streams[1]]);
    let latents = layers.latents("latent", 3, WIDTH, &all);
    let latents = layers.latent("latent", BLOCK, &latents, &all);
    outs.push(layers.pool(&latents));
    let out = layers.b.concat(&outs.iter().collect::<Vec<_>>(), 1);
    layers.b.output("out", &out, DType::F32, &[Dim::named("batch"), (6 * WIDTH).into()]);
    layers.finish().unwrap()
}

fn ones(shape: &[usize]) -> Tensor {
    Tensor::f32(shape, vec![1.0; shape.iter().product()]).unwrap()
}

fn fused(graph: &Graph, a: &Tensor, mask_a: &Tensor, b: &Tensor, mask_b: &Tensor) -> Vec<f32> {
    let out =
        run(graph, &[("a", a), ("mask_a", mask_a), ("b", b), ("mask_b", mask_b)]).remove("out").unwrap();
    assert_eq!(out.shape(), [a.shape()[0], 6 * WIDTH]);
    out.into_f32().unwrap()
}

#[test]
fn masked_tokens_have_no_influence() {
    let graph = everything(4);
    let (a, b) = (sines("a", &[2, 3, 3], 1.0), sines("b", &[2, 2, 3], 1.0));
    let plain = fused(&graph, &a, &ones(&[2, 3]), &b, &ones(&[2, 2]));
    let mut padded = Vec::new();
    for row in a.as_f32().unwrap().chunks(9) {
        padded.extend_from_slice(row);
        padded.extend([f32::NAN, f32::INFINITY, 1e30, -7.0, 0.5, 2.0]);
    }
    let padded = Tensor::f32(&[2, 5, 3], padded).unwrap();
    let mask = Tensor::f32(&[2, 5], [1., 1., 1., 0., 0.].repeat(2)).unwrap();
    let got = fused(&graph, &padded, &mask, &b, &ones(&[2, 2]));
    // the same sums, cut into pieces of another length
    assert!(got.iter().zip(&plain).all(|(x, y)| (x - y).abs() < 1e-5), "{got:?}, expected {plain:?}");
}

#[test]
fn absent_modalities_single_tokens_and_empty_batches_give_finite_values() {
    let graph = everything(4);
    let row = |out: &[f32], at: usize| out[at * 6 * WIDTH..(at + 1) * 6 * WIDTH].to_vec();
    let (a, b) = (sines("a", &[3, 1, 3], 1.0), sines("b", &[3, 2, 3], 1.0));
    let none = Tensor::f32(&[3, 1], vec![1.0, 0.0, 0.0]).unwrap();
    let both = Tensor::f32(&[3, 2], vec![1., 1., 1., 1., 0., 0.]).unwrap();
    let out = fused(&graph, &a, &none, &b, &both);
    assert!(out.iter().all(|x| x.is_finite()), "{out:?}");
    assert!(
        row(&out, 0).iter().zip(row(&out, 1)).any(|(x, y)| (x - y).abs() > 1e-3),
        "a present token has an influence"
    );
    // no modality at all: the learned tokens alone, whatever the masked ones hold
    let other = fused(&graph, &sines("x", &[3, 1, 3], 9.0), &none, &sines("y", &[3, 2, 3], 9.0), &both);
    assert!(row(&out, 2).iter().zip(row(&other, 2)).all(|(x, y)| (x - y).abs() < 1e-6));
    let empty = |shape: &[usize]| Tensor::f32(shape, vec![]).unwrap();
    fused(&graph, &empty(&[0, 2, 3]), &empty(&[0, 2]), &empty(&[0, 1, 3]), &empty(&[0, 1]));
}

/// More tokens than position embeddings: the later ones share the last one.
#[test]
fn long_sequences_are_finite() {
    let out = fused(
        &everything(16),
        &sines("a", &[1, 4096, 3], 1.0),
        &ones(&[1, 4096]),
        &sines("b", &[1, 3, 3], 1.0),
        &ones(&[1, 3]),
    );
    assert!(out.iter().all(|x| x.is_finite()));
}

/// The output of a query without a key is the bias of the last layer, which is zero at first.
#[test]
fn a_query_without_a_key_gets_zeros() {
    let mut weights = WeightStore::new(1);
    let mut layers = LayerBuilder::new("one", &mut weights);
    let (a, b) = (input(&mut layers, "a", 6), input(&mut layers, "b", WIDTH));
    let out = layers.multi_head("n", 2, &b, &a);
    layers.b.output("out", &out, DType::F32, &[Dim::named("batch"), Dim::named("b_length"), WIDTH.into()]);
    let graph = layers.finish().unwrap();
    let (a, b, present) = (sines("a", &[1, 2, 6], 1.0), sines("b", &[1, 2, WIDTH], 1.0), ones(&[1, 2]));
    let masked = Tensor::f32(&[1, 2], vec![0.0, 0.0]).unwrap();
    let out = run(&graph, &[("a", &a), ("mask_a", &masked), ("b", &b), ("mask_b", &present)])
        .remove("out")
        .unwrap();
    assert!(out.as_f32().unwrap().iter().all(|x| *x == 0.0), "{out:?}");
}

#[test]
fn finish_reports_the_first_error() {
    let mut weights = WeightStore::new(1);
    let mut layers = LayerBuilder::new("wrong", &mut weights);
    let a = input(&mut layers, "a", 6);
    layers.multi_head("n", 4, &a, &a);
    let error = layers.finish().unwrap_err();
    assert!(error.message().contains("divides the width 6, got 4"), "{error}");
    let mut layers = LayerBuilder::new("wrong", &mut weights);
    layers.weight("w", &[2], WeightInit::Constant(0.0));
    layers.weight("w", &[3], WeightInit::Constant(0.0));
    let error = layers.finish().unwrap_err();
    assert!(error.message().contains("`w`: expected shape [2], got [3]"), "{error}");
}
