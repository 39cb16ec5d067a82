//! Losses of batches in which modalities are absent and rows hold several items, against sums written out in
//! double precision.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use chiasm_kit::BatchMask;
use chiasm_kit::terms;
use chiasm_kit::{TrainingExamples, tensor};
use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_plugin::ndarray::{Array2, Axis};
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};

const NAMES: [&str; 3] = ["image", "text", "sound"];
const PAIRS: [(usize, usize); 3] = [(0, 1), (0, 2), (1, 2)];
const WIDTH: usize = 4;
const TEMPERATURE: f64 = 0.3;
const BIAS: f64 = -0.7;

/// Five rows: 0 holds three texts and two sounds, 3 lacks a sound, 4 a text, 7 an image; 9 is complete.
const ROWS: [&[usize]; 3] = [&[0, 3, 4, 9], &[0, 0, 0, 3, 7, 9], &[0, 0, 4, 7, 9]];

fn run(graph: &Graph, inputs: &[(&str, &Tensor)]) -> BTreeMap<String, Tensor> {
    let engine = Engine::open(&EngineSearch::from_environment(None)).unwrap();
    engine.session(graph, &SessionOptions::default()).unwrap().run(inputs).unwrap().into_iter().collect()
}

/// Vectors of a modality's items; they need not have length one.
fn items(modality: usize) -> Array2<f32> {
    Array2::from_shape_fn((ROWS[modality].len(), WIDTH), |(i, j)| {
        ((1.7 * i as f64 + 0.9 * j as f64 + modality as f64).sin() * 0.8) as f32
    })
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    Infonce,
    Siglip,
    Squared,
}

/// The mean of a loss over all pairs of modalities, of inputs `image`, `text` and `sound` f32 `[batch, 4]`.
fn graph(loss: Loss, masked: bool) -> Graph {
    let mut b = Builder::new("loss");
    let inputs: Vec<Value> = NAMES
        .iter()
        .map(|name| b.input(name, DType::F32, &[Dim::named("batch"), WIDTH.into()]).unwrap())
        .collect();
    let mask = masked.then(|| BatchMask::new(&mut b, &NAMES).unwrap());
    let temperature = b.constant("log_temperature", Tensor::scalar(TEMPERATURE.ln() as f32));
    let bias = b.constant("bias", Tensor::scalar(BIAS as f32));
    let terms: Vec<Value> = PAIRS
        .iter()
        .map(|&(first, second)| {
            let mask = mask.as_ref().map(|mask| mask.pair(&mut b, [first, second]));
            let (x, y) = (&inputs[first], &inputs[second]);
            match loss {
                Loss::Infonce => terms::infonce(&mut b, x, y, &temperature, mask.as_ref()),
                Loss::Siglip => terms::siglip(&mut b, x, y, [&temperature, &bias], mask.as_ref()),
                Loss::Squared => terms::paired_mse(&mut b, x, y, mask.as_ref()),
            }
        })
        .collect();
    let mean = terms::average(&mut b, &terms);
    b.output("loss", &mean, DType::F32, &[]);
    b.finish().unwrap()
}

/// The batch of all examples: vectors of every modality, then what the mask reads.
fn batch(examples: &TrainingExamples) -> Vec<(String, Tensor)> {
    let vectors = |at: usize| (NAMES[at].to_owned(), examples.select(at, items(at).view()).unwrap());
    (0..3).map(vectors).chain(examples.mask_tensors(&NAMES).unwrap()).collect()
}

fn refer(inputs: &[(String, Tensor)]) -> Vec<(&str, &Tensor)> {
    inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()
}

/// Row by row, what the examples are: the row, the weight, and the item of each modality.
fn expected_examples() -> Vec<(usize, f64, [Option<usize>; 3])> {
    vec![
        (0, 1.0 / 3.0, [Some(0), Some(0), Some(0)]),
        (0, 1.0 / 3.0, [Some(0), Some(1), Some(1)]),
        (0, 1.0 / 3.0, [Some(0), Some(2), Some(0)]),
        (3, 1.0, [Some(1), Some(3), None]),
        (4, 1.0, [Some(2), None, Some(2)]),
        (7, 1.0, [None, Some(4), Some(3)]),
        (9, 1.0, [Some(3), Some(5), Some(4)]),
    ]
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The mean loss of all pairs, from its definition.
fn by_hand(loss: Loss, vectors: &[Array2<f64>; 3]) -> f64 {
    let examples = expected_examples();
    let mut total = 0.0;
    for (first, second) in PAIRS {
        for (asks, answers) in [(first, second), (second, first)] {
            let (mut sum, mut weights) = (0.0, 0.0);
            for (row, weight, own) in &examples {
                let (Some(query), Some(partner)) = (own[asks], own[answers]) else { continue };
                let query = vectors[asks].row(query);
                let dot = |item: usize| query.dot(&vectors[answers].row(item));
                let negatives: Vec<f64> = (examples.iter().filter(|(other, ..)| other != row))
                    .filter_map(|(.., other)| other[answers])
                    .map(dot)
                    .collect();
                let own = dot(partner);
                let logit = |score: f64| score / TEMPERATURE + BIAS;
                sum += weight
                    * match loss {
                        Loss::Infonce => negatives
                            .iter()
                            .map(|other| ((other - own) / TEMPERATURE).exp())
                            .sum::<f64>()
                            .ln_1p(),
                        Loss::Siglip => {
                            negatives.iter().map(|other| softplus(logit(*other))).sum::<f64>()
                                + softplus(-logit(own))
                        }
                        Loss::Squared => {
                            let difference = &query - &vectors[answers].row(partner);
                            difference.dot(&difference)
                        }
                    };
                weights += weight;
            }
            total += sum / weights / 6.0;
        }
    }
    total
}

/// 1e-5 relative is rounding of single precision over some tens of terms.
#[test]
fn masked_losses_equal_explicit_sums() {
    let examples = TrainingExamples::new(&ROWS, &PAIRS, false);
    let vectors = [0, 1, 2].map(|at| items(at).mapv(f64::from));
    for loss in [Loss::Infonce, Loss::Siglip, Loss::Squared] {
        let got = run(&graph(loss, true), &refer(&batch(&examples)))["loss"].as_f32().unwrap()[0];
        let expected = by_hand(loss, &vectors);
        assert!((f64::from(got) / expected - 1.0).abs() < 1e-5, "{loss:?}: {got}, expected {expected}");
    }
}

/// Central differences of the sums in double precision with a step of 1e-5 are exact to 1e-9; single
/// precision is not. Each item counts with all the examples that it stands in.
#[test]
fn gradients_of_masked_losses_equal_finite_differences() {
    let examples = TrainingExamples::new(&ROWS, &PAIRS, false);
    let inputs = batch(&examples);
    for loss in [Loss::Infonce, Loss::Siglip, Loss::Squared] {
        let backward = graph(loss, true).gradient("loss", &NAMES).unwrap();
        let gradients = run(&backward, &refer(&inputs));
        for (at, name) in NAMES.iter().enumerate() {
            let gradient = gradients[&format!("gradient/{name}")].as_f32().unwrap();
            for (item, column) in (0..ROWS[at].len()).flat_map(|i| (0..WIDTH).map(move |j| (i, j))) {
                let moved = |step: f64| {
                    let mut vectors = [0, 1, 2].map(|at| items(at).mapv(f64::from));
                    vectors[at][[item, column]] += step;
                    by_hand(loss, &vectors)
                };
                let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                let stands =
                    expected_examples().into_iter().enumerate().filter(|(_, e)| e.2[at] == Some(item));
                let got: f64 = stands.map(|(place, _)| f64::from(gradient[place * WIDTH + column])).sum();
                assert!((got - expected).abs() < 1e-5, "{loss:?} {name} {item} {column}: {got}, {expected}");
            }
        }
    }
}

/// The values of an absent item do not change the bits of the loss, and their gradient is zero.
#[test]
fn absent_items_have_no_influence() {
    let examples = TrainingExamples::new(&ROWS, &PAIRS, false);
    let absent: Vec<(usize, usize)> = (expected_examples().iter().enumerate())
        .flat_map(|(place, (.., own))| (0..3).filter(|at| own[*at].is_none()).map(move |at| (place, at)))
        .collect();
    assert_eq!(absent.len(), 3);
    let mut inputs = batch(&examples);
    for loss in [Loss::Infonce, Loss::Siglip, Loss::Squared] {
        let forward = graph(loss, true);
        let before = run(&forward, &refer(&inputs))["loss"].clone();
        for &(place, at) in &absent {
            let mut values = inputs[at].1.as_f32().unwrap().to_vec();
            values[place * WIDTH..][..WIDTH].copy_from_slice(&[30.0, -20.0, 10.0, 5.0]);
            inputs[at].1 = Tensor::f32(&[examples.len(), WIDTH], values).unwrap();
        }
        assert_eq!(run(&forward, &refer(&inputs))["loss"], before, "{loss:?}");
        let gradients = run(&forward.gradient("loss", &NAMES).unwrap(), &refer(&inputs));
        for &(place, at) in &absent {
            let gradient = &gradients[&format!("gradient/{}", NAMES[at])];
            assert_eq!(gradient.as_f32().unwrap()[place * WIDTH..][..WIDTH], [0.0; WIDTH], "{loss:?}");
        }
    }
}

/// A batch without any pair of two modalities, as a small one may be, has a loss of 0 for them and no NaN in
/// its gradient.
#[test]
fn a_batch_without_a_pair_has_zero_loss() {
    let rows: [&[usize]; 3] = [&[0, 1], &[0, 1], &[2]];
    let examples = TrainingExamples::new(&rows, &[(0, 1)], false);
    let sound = Array2::from_elem((1, WIDTH), 0.5_f32);
    let mut inputs: Vec<(String, Tensor)> =
        (0..2).map(|at| (NAMES[at].to_owned(), examples.select(at, items(at).view()).unwrap())).collect();
    inputs.push((NAMES[2].to_owned(), examples.select(2, sound.view()).unwrap()));
    inputs.extend(examples.mask_tensors(&NAMES).unwrap());
    for loss in [Loss::Infonce, Loss::Siglip, Loss::Squared] {
        let gradients = run(&graph(loss, true).gradient("loss", &NAMES).unwrap(), &refer(&inputs));
        assert!(gradients["loss"].as_f32().unwrap()[0] > 0.0);
        assert!(gradients.values().all(|values| values.as_f32().unwrap().iter().all(|x| x.is_finite())));
        assert_eq!(gradients["gradient/sound"].as_f32().unwrap(), [0.0; 2 * WIDTH]);
    }
}

/// Complete rows: the plain loss and the masked one are the same number, to rounding.
#[test]
fn a_mask_without_hidden_items_changes_nothing() {
    let rows: [&[usize]; 3] = [&[0, 1, 2, 3]; 3];
    let examples = TrainingExamples::new(&rows, &PAIRS, false);
    assert!(examples.are_complete());
    let vectors: Vec<(String, Tensor)> = (0..3)
        .map(|at| (NAMES[at].to_owned(), tensor(items(at).slice_axis(Axis(0), (..4).into())).unwrap()))
        .collect();
    let mask = examples.mask_tensors(&NAMES).unwrap();
    let all: Vec<(String, Tensor)> = vectors.iter().cloned().chain(mask).collect();
    for loss in [Loss::Infonce, Loss::Siglip, Loss::Squared] {
        let value = |masked: bool, inputs: &[(String, Tensor)]| {
            run(&graph(loss, masked), &refer(inputs))["loss"].as_f32().unwrap()[0]
        };
        let (plain, masked) = (value(false, &vectors), value(true, &all));
        assert!((plain / masked - 1.0).abs() < 2e-6, "{loss:?}: {plain} without a mask, {masked} with one");
    }
}
