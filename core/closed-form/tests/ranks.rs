//! How many dimensions are kept by default: all of them where they help, and with few pairs never so few that
//! plain orthogonal Procrustes is better.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_closed_form::Fitted;
use chiasm_closed_form::cca::CcaParams;
use chiasm_closed_form::ot_map::OtMapParams;
use chiasm_closed_form::procrustes::ProcrustesParams;
use chiasm_geometry::linalg::thin_svd;
use chiasm_geometry::random::Random;
use common::fit;
use ndarray::{Array2, Axis, Slice, concatenate};
use serde_json::json;

fn normal(rows: usize, columns: usize, random: &mut Random) -> Array2<f32> {
    Array2::from_shape_simple_fn((rows, columns), || random.normal() as f32)
}

/// A cloud and its rotation, with noise of a share of the spread.
fn turned(n: usize, d: usize, noise: f32, seed: u64) -> (Array2<f32>, Array2<f32>) {
    let mut random = Random::new(seed);
    let x = normal(n, d, &mut random);
    let turn = thin_svd(normal(d, d, &mut random).mapv(f64::from).view()).unwrap().u.mapv(|v| v as f32);
    let y = x.dot(&turn) + normal(n, d, &mut random) * noise;
    (x, y)
}

/// Rows `from..to`.
fn rows(cloud: &Array2<f32>, from: usize, to: usize) -> Array2<f32> {
    cloud.slice_axis(Axis(0), Slice::from(from..to)).to_owned()
}

/// The share of rows whose partner has the highest score, the mean of both directions.
fn recall(scores: &Array2<f32>) -> f64 {
    let first = |scores: &Array2<f32>| {
        let own = |i: &usize| scores.row(*i).iter().all(|score| *score <= scores[[*i, *i]]);
        (0..scores.nrows()).filter(own).count() as f64 / scores.nrows() as f64
    };
    0.5 * (first(scores) + first(&scores.t().to_owned()))
}

fn recall_of<P>(fitted: &Fitted<P>, x: &Array2<f32>, y: &Array2<f32>) -> f64 {
    let [a, b] = [(0, x), (1, y)].map(|(at, rows)| fitted.maps[at].apply(rows.view()).unwrap());
    recall(&a.dot(&b.t()))
}

/// A noisy rotation in d dimensions needs all d, whatever the steps of the grid below.
#[test]
fn the_grid_of_dimensions_holds_all_of_them() {
    for (d, noise) in [(15, 0.3), (31, 0.5), (63, 0.8)] {
        let (x, y) = turned(600, d, noise, d as u64);
        let (test_x, test_y) = (rows(&x, 400, 600), rows(&y, 400, 600));
        let (x, y) = (rows(&x, 0, 400), rows(&y, 0, 400));
        let chosen = fit::<ProcrustesParams>(&x, &y, json!({ "curve": "unit" })).unwrap();
        assert_eq!(chosen.parameters.dimensions, Some(d));
        let all = fit::<ProcrustesParams>(&x, &y, json!({ "curve": "unit", "dimensions": d })).unwrap();
        assert_eq!(recall_of(&chosen, &test_x, &test_y), recall_of(&all, &test_x, &test_y));
        let cca = fit::<CcaParams>(&x, &y, json!({ "curve": "unit" })).unwrap();
        let kept = cca.parameters.settings.unwrap().iter().map(|setting| setting.dimensions).max();
        assert_eq!(kept, Some(d), "canonical correlation in {d} dimensions");
    }
}

/// Two encoders of wide vectors: noisy functions of the same factors, whose spread falls, with a common mean.
fn encoders(n: usize, seed: u64) -> (Array2<f32>, Array2<f32>) {
    let (mut fixed, mut random) = (Random::new(99), Random::new(seed));
    let falling = |mut cloud: Array2<f32>| {
        cloud.indexed_iter_mut().for_each(|((_, j), v)| *v /= (1.0 + j as f32).sqrt());
        cloud
    };
    let factors = falling(normal(n, 40, &mut random));
    let mut encode = |width: usize| {
        let scale = (width as f32).sqrt().recip();
        let (shared, own) = (normal(40, width, &mut fixed), normal(60, width, &mut fixed));
        let other = falling(normal(n, 60, &mut random)) * 0.8;
        let mean = normal(1, width, &mut fixed);
        let values = (factors.dot(&shared) + other.dot(&own)) * (2.0 * scale);
        common::unit(&(values.mapv(f32::tanh) + mean * scale))
    };
    let (text, image) = (encode(384), encode(512));
    (text, image)
}

/// Orthogonal Procrustes as a few lines of NumPy: both clouds centred, the narrow one padded with zeros, R =
/// U Vᵀ of XᵀY = U S Vᵀ (Schönemann 1966), cosine.
fn plain(train: (&Array2<f32>, &Array2<f32>), test: (&Array2<f32>, &Array2<f32>)) -> f64 {
    let width = train.0.ncols().max(train.1.ncols());
    let padded = |fitted: &Array2<f32>, rows: &Array2<f32>| {
        let centred = rows - &fitted.mean_axis(Axis(0)).unwrap();
        let zeros = Array2::zeros((rows.nrows(), width - rows.ncols()));
        concatenate![Axis(1), centred, zeros]
    };
    let (x, y) = (padded(train.0, train.0), padded(train.1, train.1));
    let svd = thin_svd(x.t().dot(&y).mapv(f64::from).view()).unwrap();
    let turn = svd.u.dot(&svd.v.t()).mapv(|v| v as f32);
    let images = common::unit(&padded(train.0, test.0).dot(&turn));
    recall(&images.dot(&common::unit(&padded(train.1, test.1)).t()))
}

/// The mean of three draws; two rows in a hundred are the noise of such a mean over 200 test rows.
#[test]
fn few_pairs_are_not_worse_than_plain_procrustes() {
    for n in [20, 50, 100, 200] {
        let (mut ours, mut theirs) = (0.0, 0.0);
        for seed in 0..3 {
            let (x, y) = encoders(n + 200, seed);
            let (train, test) =
                ((rows(&x, 0, n), rows(&y, 0, n)), (rows(&x, n, n + 200), rows(&y, n, n + 200)));
            let fitted = fit::<ProcrustesParams>(&train.0, &train.1, json!({})).unwrap();
            ours += recall_of(&fitted, &test.0, &test.1) / 3.0;
            theirs += plain((&train.0, &train.1), (&test.0, &test.1)) / 3.0;
        }
        assert!(ours > theirs - 0.02, "{n} pairs: {ours:.3}, plain {theirs:.3}");
    }
}

/// Items without a partner beside 20 to 400 pairs: the fit is not worse than Procrustes on the pairs alone.
#[test]
fn items_without_a_partner_do_not_lose_what_the_pairs_know() {
    for n in [20, 50, 150, 400] {
        let (mut ours, mut alone) = (0.0, 0.0);
        for seed in 0..2 {
            let (x, y) = encoders(n + 700, seed + 10);
            let test = (rows(&x, n + 500, n + 700), rows(&y, n + 500, n + 700));
            let pairs = (rows(&x, 0, n), rows(&y, 0, n));
            let (x, y) = (rows(&x, 0, n + 500), rows(&y, 0, n + 500));
            let fitted: Fitted<OtMapParams> = fit(&x, &y, json!({ "pairs": n })).unwrap();
            ours += recall_of(&fitted, &test.0, &test.1) / 2.0;
            let fitted: Fitted<ProcrustesParams> = fit(&pairs.0, &pairs.1, json!({})).unwrap();
            alone += recall_of(&fitted, &test.0, &test.1) / 2.0;
        }
        assert!(ours > alone - 0.03, "{n} pairs: {ours:.3}, pairs alone {alone:.3}");
    }
}
