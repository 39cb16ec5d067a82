//! Merges against values computed by hand, and against the function of a network.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor};
use chiasm_weights::{WeightValues, aligned, average, fisher, slerp, ties};

/// Rounding of 32-bit floats near one.
const ROUNDING: f32 = 1e-6;

/// `y = x w`, element by element.
fn scale(weights: &[f32]) -> Graph {
    let mut b = Builder::new("scale");
    let rows = [Dim::named("batch"), Dim::Fixed(weights.len())];
    let x = b.input("x", DType::F32, &rows).unwrap();
    let w = b.constant("w", Tensor::f32(&[weights.len()], weights.to_vec()).unwrap());
    let y = b.mul(&x, &w);
    b.output("y", &y, DType::F32, &rows);
    b.finish().unwrap()
}

fn weights(graph: &Graph) -> Vec<f32> {
    graph.weight("w").unwrap().into_f32().unwrap()
}

fn close(got: &[f32], expected: &[f32]) {
    let apart = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(got.len() == expected.len() && apart < ROUNDING, "{got:?} is not {expected:?}");
}

#[test]
fn an_average_weights_by_shares() {
    let models = [scale(&[1.0, 2.0]), scale(&[5.0, -2.0])];
    close(&weights(&average(&models, &[3.0, 1.0]).unwrap()), &[2.0, 1.0]);
    let error = average(&models, &[0.0, 0.0]).unwrap_err().to_string();
    assert_eq!(error, "shares: expected 2 numbers of at least 0 with a positive sum, got [0.0, 0.0]");
}

/// Halfway between orthogonal vectors of lengths 1 and 3 lies the diagonal at length 2; a third of the way
/// between equal directions the arc is a line.
#[test]
fn slerp_follows_the_arc() {
    let half = std::f32::consts::FRAC_1_SQRT_2;
    let found = slerp(&scale(&[1.0, 0.0]), &scale(&[0.0, 3.0]), 0.5).unwrap();
    close(&weights(&found), &[2.0 * half, 2.0 * half]);
    let found = slerp(&scale(&[1.0, 1.0]), &scale(&[4.0, 4.0]), 1.0 / 3.0).unwrap();
    close(&weights(&found), &[2.0, 2.0]);
    assert!(slerp(&scale(&[1.0]), &scale(&[2.0]), 1.5).unwrap_err().to_string().contains("from 0 to 1"));
}

/// Base 0, changes (4, 1, -3, 0.5) and (-2, 3, -1, 0.4). Half of each is kept: (4, 0, -3, 0) and
/// (-2, 3, 0, 0). The signs of the sums are +, +, -, none; the means of what agrees are 4, 3, -3 and 0.
#[test]
fn ties_trims_elects_signs_and_averages_what_agrees() {
    let base = scale(&[0.0; 4]);
    let models = [scale(&[4.0, 1.0, -3.0, 0.5]), scale(&[-2.0, 3.0, -1.0, 0.4])];
    close(&weights(&ties(&base, &models, 0.5, 1.0).unwrap()), &[4.0, 3.0, -3.0, 0.0]);
    close(&weights(&ties(&base, &models, 0.5, 0.5).unwrap()), &[2.0, 1.5, -1.5, 0.0]);
    assert!(ties(&base, &models, 0.0, 1.0).is_err());
}

/// The second element has information in one model only, the third in none.
#[test]
fn fisher_weights_each_element_by_its_information() {
    let models = [scale(&[1.0, 1.0, 1.0]), scale(&[3.0, 3.0, 3.0])];
    let of = |values: [f32; 3]| WeightValues::from([("w".to_owned(), values.to_vec())]);
    let information = [of([3.0, 1e-15, 0.0]), of([1.0, 0.0, 0.0])];
    close(&weights(&fisher(&models, &information, &[1.0, 1.0]).unwrap()), &[1.5, 1.0, 2.0]);
    let bad = [of([-1.0, 0.0, 0.0]), of([0.0; 3])];
    assert!(fisher(&models, &bad, &[1.0, 1.0]).unwrap_err().to_string().contains("`w`"));
}

#[test]
fn another_architecture_is_refused_with_the_first_difference() {
    let error = average(&[scale(&[1.0]), scale(&[1.0, 2.0])], &[1.0, 1.0]).unwrap_err().to_string();
    assert!(error.contains("model 2") && error.contains("the port `x f32[batch,1]`"), "{error}");
    let error = average(&[scale(&[1.0])], &[1.0]).unwrap_err().to_string();
    assert_eq!(error, "models: expected two or more, got 1");
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let error = average(&[scale(&[1.0]), scale(&[f32::NAN])], &[1.0, 1.0]).unwrap_err().to_string();
    assert_eq!(error, "weights: expected finite numbers, got NaN or infinity in `w` of model 2");
}

const WIDTHS: [usize; 4] = [5, 16, 12, 3];

/// A network with two hidden layers, and its weights and biases.
fn network(layers: &[(Vec<f32>, Vec<f32>)]) -> Graph {
    let mut b = Builder::new("network");
    let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(WIDTHS[0])]).unwrap();
    let mut values = Vec::new();
    for (at, (weight, bias)) in layers.iter().enumerate() {
        let weight = Tensor::f32(&[WIDTHS[at], WIDTHS[at + 1]], weight.clone()).unwrap();
        let bias = Tensor::f32(&[WIDTHS[at + 1]], bias.clone()).unwrap();
        values.push((b.constant(&format!("w{at}"), weight), b.constant(&format!("b{at}"), bias)));
    }
    let y = b.mlp(&x, &values);
    b.output("y", &y, DType::F32, &[Dim::named("batch"), Dim::Fixed(WIDTHS[3])]);
    b.finish().unwrap()
}

/// Pseudo-random numbers in -1..1.
fn numbers(seed: &mut u64, count: usize) -> Vec<f32> {
    (0..count)
        .map(|_| {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((*seed >> 40) as f32) / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// A model whose hidden units were shuffled, with a little noise, is put in order again: the average with the
/// original then differs from it by no more than the noise, where the average without alignment is another
/// function.
#[test]
fn shuffled_hidden_units_are_put_in_order() {
    let mut seed = 7;
    let layers: Vec<(Vec<f32>, Vec<f32>)> = (0..3)
        .map(|at| (numbers(&mut seed, WIDTHS[at] * WIDTHS[at + 1]), numbers(&mut seed, WIDTHS[at + 1])))
        .collect();
    let mut shuffled = layers.clone();
    for at in 0..2 {
        let count = WIDTHS[at + 1];
        let order: Vec<usize> = (0..count).map(|unit| (unit * 5 + 3) % count).collect();
        let (rows, after) = (WIDTHS[at], WIDTHS[at + 2]);
        let (weight, bias) = shuffled[at].clone();
        let next = shuffled[at + 1].0.clone();
        for (to, from) in order.iter().enumerate() {
            (0..rows).for_each(|row| shuffled[at].0[row * count + to] = weight[row * count + from]);
            shuffled[at].1[to] = bias[*from];
            (0..after).for_each(|column| {
                shuffled[at + 1].0[to * after + column] = next[from * after + column];
            });
        }
    }
    let noise = 0.01;
    for (weight, _) in &mut shuffled {
        let jitter = numbers(&mut seed, weight.len());
        weight.iter_mut().zip(jitter).for_each(|(w, noise_of_w)| *w += noise * noise_of_w);
    }
    let (original, shuffled) = (network(&layers), network(&shuffled));
    let apart = |merged: &Graph| {
        let values = |graph: &Graph, name: &str| graph.weight(name).unwrap().into_f32().unwrap();
        let names = ["w0", "b0", "w1", "b1", "w2", "b2"];
        let of = |name: &&str| {
            let (a, b) = (values(merged, name), values(&original, name));
            a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        names.iter().map(of).fold(0.0, f32::max)
    };
    let ordered = aligned(&shuffled, &original).unwrap();
    assert!(apart(&ordered) <= noise * 1.001, "{}", apart(&ordered));
    let both = average(&[original.clone(), ordered], &[1.0, 1.0]).unwrap();
    assert!(apart(&both) <= noise / 2.0 * 1.001, "{}", apart(&both));
    let plain = average(&[original.clone(), shuffled], &[1.0, 1.0]).unwrap();
    assert!(apart(&plain) > 0.5, "the shuffled model was averaged to the original");
}
