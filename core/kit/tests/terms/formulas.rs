//! The formulas of the terms, written out in double precision.

use chiasm_geometry::random::Random;
use chiasm_plugin::graph::Tensor;
use chiasm_plugin::ndarray::{Array1, Array2, Axis};

use crate::harness::{BIAS, Case, TAU};
use crate::transport;

/// A term's value.
pub type Formula = fn(&Case) -> f64;

/// The terms and their formulas.
pub fn all() -> Vec<(&'static str, Formula)> {
    vec![
        ("infonce", infonce),
        ("siglip", siglip),
        ("paired_mse", paired_mse),
        ("gram_volume", gram_volume),
        ("task", task),
        ("ot", transport::ot),
        ("sinkhorn_divergence", transport::divergence),
        ("gromov_wasserstein", transport::gromov_wasserstein),
        ("plan_matching", transport::plan_matching),
        ("neighbourhood", neighbourhood),
        ("distances", distance_matrices),
        ("covariance", covariance),
        ("geodesics", geodesics),
        ("curvature", curvature),
        ("structure", structure),
        ("reconstruction", reconstruction),
        ("translation", translation),
        ("barycentric", transport::barycentric),
        ("cycle", cycle),
        ("injectivity", injectivity),
        ("smoothness", smoothness),
    ]
}

pub fn squared(x: &Array2<f64>, y: &Array2<f64>) -> Array2<f64> {
    Array2::from_shape_fn((x.nrows(), y.nrows()), |(i, j)| {
        x.row(i).iter().zip(y.row(j)).map(|(a, b)| (a - b).powi(2)).sum()
    })
}

fn distances(x: &Array2<f64>) -> Array2<f64> {
    squared(x, x).mapv(f64::sqrt)
}

/// Cross-entropy of the diagonal of scores, both ways.
fn contrast(scores: &Array2<f64>) -> f64 {
    let n = scores.nrows();
    let one_way = |scores: &Array2<f64>| {
        (0..n).map(|i| scores.row(i).mapv(f64::exp).sum().ln() - scores[[i, i]]).sum::<f64>() / n as f64
    };
    (one_way(scores) + one_way(&scores.t().to_owned())) / 2.0
}

/// Khosla et al. 2020, equation 2, between modalities; rows without a label count as negatives only.
fn task(case: &Case) -> f64 {
    let labels = Case::labels(case.mapped[0].nrows());
    let one_way = |scores: &Array2<f64>| {
        let (mut sum, mut count) = (0.0, 0.0);
        for (i, own) in labels.iter().enumerate().filter(|(_, own)| **own >= 0) {
            let alike: Vec<usize> = (0..labels.len()).filter(|j| labels[*j] == *own).collect();
            let all = scores.row(i).mapv(f64::exp).sum().ln();
            sum += all - alike.iter().map(|j| scores[[i, *j]]).sum::<f64>() / alike.len() as f64;
            count += 1.0;
        }
        sum / count
    };
    let scores = case.mapped[0].dot(&case.mapped[1].t()) / TAU;
    (one_way(&scores) + one_way(&scores.t().to_owned())) / 2.0
}

fn infonce(case: &Case) -> f64 {
    contrast(&(case.mapped[0].dot(&case.mapped[1].t()) / TAU))
}

fn siglip(case: &Case) -> f64 {
    let logits = case.mapped[0].dot(&case.mapped[1].t()) / TAU + BIAS;
    let sum: f64 =
        (logits.indexed_iter()).map(|((i, j), l)| (1.0 + (if i == j { -l } else { *l }).exp()).ln()).sum();
    sum / logits.nrows() as f64
}

fn paired_mse(case: &Case) -> f64 {
    let difference = &case.mapped[0] - &case.mapped[1];
    (&difference * &difference).sum() / difference.nrows() as f64
}

fn gram_volume(case: &Case) -> f64 {
    let [image, text] = &case.mapped;
    let scores = Array2::from_shape_fn((text.nrows(), image.nrows()), |(i, j)| {
        let (a, b) = (text.row(i), image.row(j));
        -(a.dot(&a) * b.dot(&b) - a.dot(&b).powi(2)).max(1e-6).sqrt() / TAU
    });
    contrast(&scores)
}

/// The places of the k nearest other rows, in order of distance.
fn nearest(distances: &Array2<f64>, k: usize) -> Vec<Vec<usize>> {
    (0..distances.nrows())
        .map(|i| {
            let mut others: Vec<usize> = (0..distances.nrows()).filter(|&j| j != i).collect();
            others.sort_by(|&a, &b| distances[[i, a]].total_cmp(&distances[[i, b]]));
            others.truncate(k);
            others
        })
        .collect()
}

fn neighbourhood(case: &Case) -> f64 {
    let (k, n) = (case.settings.k, case.mapped[0].nrows());
    let shares = [0, 1].map(|at| {
        let now = squared(&case.mapped[at], &case.mapped[at]);
        let near = nearest(&distances(&case.fixed[at]), k);
        (0..n)
            .map(|i| {
                let spread = near[i].iter().map(|&j| now[[i, j]]).sum::<f64>() / k as f64;
                let row = (0..n).filter(|&j| j != i).map(|j| (-now[[i, j]] / spread).exp());
                let row = Array1::from_iter(row);
                let sum = row.sum();
                row / sum - 1.0 / (n - 1) as f64
            })
            .collect::<Vec<_>>()
    });
    let correlation = |(p, q): (&Array1<f64>, &Array1<f64>)| p.dot(q) / (p.dot(p) * q.dot(q)).sqrt();
    1.0 - shares[0].iter().zip(&shares[1]).map(correlation).sum::<f64>() / n as f64
}

fn distance_matrices(case: &Case) -> f64 {
    let [d, e] = case.mapped.each_ref().map(|x| {
        let distances = distances(x);
        let mean = distances.mean().unwrap();
        distances / mean
    });
    (&d - &e).mapv(|x| x * x).mean().unwrap()
}

/// The logarithm of a symmetric matrix through its eigenvalues.
fn matrix_log(x: &Array2<f64>) -> Array2<f64> {
    let eigen = chiasm_geometry::linalg::symmetric_eigen(x.view()).unwrap();
    let logs = eigen.values.mapv(f64::ln);
    (&eigen.vectors * &logs).dot(&eigen.vectors.t())
}

fn covariance(case: &Case) -> f64 {
    let width = case.mapped[0].ncols();
    let mut random = Random::new(8);
    let scale = (width as f64).sqrt().recip();
    let values = (0..width * 8).map(|_| random.normal() * scale).collect();
    let directions = Array2::from_shape_vec((width, 8), values).unwrap();
    let parts = [0, 1].map(|at| {
        let near = nearest(&distances(&case.fixed[at]), case.settings.k);
        let rows = case.mapped[at].dot(&directions);
        let of = |i: usize| {
            let places: Vec<usize> = std::iter::once(i).chain(near[i].iter().copied()).collect();
            let local = rows.select(Axis(0), &places);
            let centred = &local - &local.mean_axis(Axis(0)).unwrap();
            let covariance = centred.t().dot(&centred);
            let trace: f64 = covariance.diag().sum();
            covariance * (0.75 / trace) + Array2::<f64>::eye(8) * (0.25 / 8.0)
        };
        (0..rows.nrows()).map(of).collect::<Vec<_>>()
    });
    let terms = parts[0].iter().zip(&parts[1]).map(|(s, t)| {
        let product = (s - t).dot(&(matrix_log(s) - matrix_log(t)));
        product.diag().sum() / 2.0
    });
    terms.sum::<f64>() / parts[0].len() as f64
}

/// The lengths of paths of at most `steps` steps, each to one of a row's nearest, then the shorter direction,
/// after every step.
fn paths(distances: &Array2<f64>, near: &[Vec<usize>], steps: usize) -> Array2<f64> {
    let n = distances.nrows();
    let mut lengths = Array2::from_elem((n, n), f64::INFINITY);
    for i in 0..n {
        near[i].iter().for_each(|&j| lengths[[i, j]] = distances[[i, j]]);
    }
    let shorter = |x: Array2<f64>| Array2::from_shape_fn((n, n), |(i, j)| x[[i, j]].min(x[[j, i]]));
    lengths = shorter(lengths);
    for _ in 1..steps {
        let through = Array2::from_shape_fn((n, n), |(i, j)| {
            let best = near[i].iter().map(|&m| distances[[i, m]] + lengths[[m, j]]);
            best.fold(lengths[[i, j]], f64::min)
        });
        lengths = shorter(through);
    }
    lengths
}

fn geodesics(case: &Case) -> f64 {
    let k = case.settings.k;
    let parts = [0, 1].map(|at| {
        let fixed = distances(&case.fixed[at]);
        let near = nearest(&fixed, k);
        let paths = paths(&fixed, &near, 4);
        let detour = Array2::from_shape_fn(fixed.dim(), |(i, j)| {
            if i != j && paths[[i, j]].is_finite() { paths[[i, j]] / fixed[[i, j]] } else { 1.0 }
        });
        (near, distances(&case.mapped[at]) * detour)
    });
    let [(nx, gx), (ny, gy)] = &parts;
    let compared = [nx, ny].into_iter().flat_map(|near| near.iter().enumerate());
    let compared = compared.flat_map(|(i, near)| near.iter().map(move |&j| (i, j)));
    let (x, y): (Vec<f64>, Vec<f64>) = compared.map(|at| (gx[at], gy[at])).unzip();
    let centred = |values: Vec<f64>| {
        let values = Array1::from(values);
        let mean = values.mean().unwrap();
        values - mean
    };
    let (x, y) = (centred(x), centred(y));
    1.0 - x.dot(&y) / (x.dot(&x) * y.dot(&y)).sqrt()
}

fn curvature(case: &Case) -> f64 {
    let k = case.settings.k;
    let values = [0, 1].map(|at| {
        let (fixed, now) = (distances(&case.fixed[at]), distances(&case.mapped[at]));
        let n = now.nrows();
        let near = nearest(&fixed, k);
        let reach = Array1::from_shape_fn(n, |i| fixed[[i, near[i][k - 1]]]);
        let width = 0.1 * reach.mean().unwrap();
        let soft = Array2::from_shape_fn((n, n), |(i, j)| {
            if i == j { 0.0 } else { 1.0 / (1.0 + (-(reach[i] - now[[i, j]]) / width).exp()) }
        });
        let edges =
            Array2::from_shape_fn((n, n), |(i, j)| soft[[i, j]] + soft[[j, i]] - soft[[i, j]] * soft[[j, i]]);
        let degrees = edges.sum_axis(Axis(1));
        let triangles = edges.dot(&edges);
        Array1::from_shape_fn(n, |i| {
            let ricci = |j: usize| 4.0 - degrees[i] - degrees[j] + 3.0 * triangles[[i, j]];
            (0..n).map(|j| edges[[i, j]] * ricci(j)).sum::<f64>() / degrees[i]
        })
    });
    let [x, y] = &values;
    (x - y).mapv(|x| x * x).mean().unwrap() / (k * k) as f64
}

fn structure(case: &Case) -> f64 {
    let softmax = |rows: &Array2<f64>| {
        let unit = crate::harness::unit(rows.clone());
        let mut scores = (unit.dot(&unit.t()) / 0.1).mapv(f64::exp);
        for mut row in scores.rows_mut() {
            let sum = row.sum();
            row /= sum;
        }
        scores
    };
    let divergence = |p: &Array2<f64>, q: &Array2<f64>| {
        let mut sum = 0.0;
        for (p, q) in p.iter().zip(q) {
            let middle = (p + q) / 2.0;
            sum += (p * (p / middle).ln() + q * (q / middle).ln()) / 2.0;
        }
        sum / p.nrows() as f64
    };
    let values = [0, 1].map(|at| {
        let (p, q) = (softmax(&case.source[at]), softmax(&case.mapped[at]));
        divergence(&p, &q) + divergence(&p.dot(&p), &q.dot(&q)) / 2.0
    });
    (values[0] + values[1]) / 2.0
}

/// `(S + D) x + W2 gelu(W1 x + b1) + b2` in double precision.
pub fn forward(network: &chiasm_kit::Network, x: &Array2<f64>) -> Array2<f64> {
    let weights = network.weights();
    let matrix = |at: usize| {
        let tensor: &Tensor = &weights[at].1;
        let shape = match *tensor.shape() {
            [columns] => (1, columns),
            [rows, columns] => (rows, columns),
            _ => unreachable!("weights are vectors and matrices"),
        };
        let values = tensor.as_f32().unwrap().iter().map(|&x| f64::from(x)).collect();
        Array2::from_shape_vec(shape, values).unwrap()
    };
    let gelu = |x: f64| 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2));
    let hidden = (x.dot(&matrix(2)) + matrix(3)).mapv(gelu);
    x.dot(&(matrix(0) + matrix(1))) + hidden.dot(&matrix(4)) + matrix(5)
}

/// The error function by its Maclaurin series, which converges everywhere.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

fn reconstruction(case: &Case) -> f64 {
    let [_, decoders] = case.networks();
    (0..2)
        .map(|at| {
            let difference = forward(&decoders[at], &case.mapped[at]) - &case.source[at];
            difference.mapv(|x| x * x).mean().unwrap()
        })
        .sum()
}

/// In a batch whose maps are evaluated on parts, rows at even places start from the first modality and those
/// at odd places from the second.
fn cycle(case: &Case) -> f64 {
    let [maps, decoders] = case.networks();
    let one = |own: usize, other: usize| {
        let step = if case.maps_parts { 2 } else { 1 };
        let places: Vec<usize> = (own * (step - 1)..case.source[own].nrows()).step_by(step).collect();
        let [mapped, source] = [&case.mapped, &case.source].map(|rows| rows[own].select(Axis(0), &places));
        let carried = forward(&decoders[other], &mapped);
        let mapped = crate::harness::unit(forward(&maps[other], &carried));
        let difference = forward(&decoders[own], &mapped) - &source;
        difference.mapv(|x| x * x).mean().unwrap()
    };
    (one(0, 1) + one(1, 0)) / 2.0
}

fn translation(case: &Case) -> f64 {
    let [_, decoders] = case.networks();
    let one = |own: usize, other: usize| {
        let difference = forward(&decoders[other], &case.mapped[own]) - &case.source[other];
        difference.mapv(|x| x * x).mean().unwrap()
    };
    (one(0, 1) + one(1, 0)) / 2.0
}

fn injectivity(case: &Case) -> f64 {
    let one = |at: usize| {
        let distances = distances(&case.mapped[at]);
        let n = distances.nrows() as f64;
        let short = distances.indexed_iter().filter(|((i, j), _)| i != j);
        short.map(|(_, d)| (case.settings.margin - d).max(0.0)).sum::<f64>() / (n * n)
    };
    (one(0) + one(1)) / 2.0
}

/// The directional derivatives by central differences, good to 1e-8; the images of the first map have length
/// one.
fn smoothness(case: &Case) -> f64 {
    let [maps, _] = case.networks();
    let one = |at: usize| {
        let step = 1e-5;
        let [up, down] = [step, -step].map(|step| {
            let output = forward(&maps[at], &(&case.source[at] + &(&case.directions[at] * step)));
            if at == 0 { crate::harness::unit(output) } else { output }
        });
        let derivative = (up - down) / (2.0 * step);
        let columns = if at == 0 { derivative.ncols() as f64 } else { 1.0 };
        columns * (&derivative * &derivative).mean().unwrap()
    };
    (one(0) + one(1)) / 2.0
}
