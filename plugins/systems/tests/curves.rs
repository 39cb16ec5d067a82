//! Every term moves its own measure when its weight rises, on items that were not trained on.
//!
//! `cargo test -p chiasm-systems --test curves -- --nocapture` prints the curves.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../mlp/tests/common/mod.rs"]
mod common;
mod scenes;

use chiasm_geometry::measure::{MeasureOptions, measure};
use chiasm_geometry::retrieval::Ranks;
use chiasm_kit::terms::TermWeights;
use chiasm_plugin::ndarray::{Array2, ArrayView1, Axis};
use chiasm_plugin::{Json, Learned, Parameters, json};
use chiasm_systems::Geometric;
use common::{AlignData, TestHost, through};
use scenes::{common_factors, scenes};

/// What a term should change.
struct Curve {
    term: &'static str,
    /// Rising weights.
    weights: [f64; 3],
    measure: fn(&Fitted<'_>) -> f64,
    /// Whether the measure rises with the weight.
    rises: bool,
}

const fn rising(term: &'static str, weights: [f64; 3], measure: fn(&Fitted<'_>) -> f64) -> Curve {
    Curve { term, weights, measure, rises: true }
}

const fn falling(term: &'static str, weights: [f64; 3], measure: fn(&Fitted<'_>) -> f64) -> Curve {
    Curve { term, weights, measure, rises: false }
}

/// Fitted maps and items they were not fitted on.
struct Fitted<'a> {
    host: &'a TestHost,
    learned: &'a Learned,
    items: &'a [Array2<f32>],
    mapped: Vec<Array2<f32>>,
}

impl Fitted<'_> {
    fn of_clouds(&self, name: &str) -> f64 {
        let options = MeasureOptions::new().only([name]).k(10);
        let report = measure(self.mapped[0].view(), self.mapped[1].view(), &options, &|_, _, _| {}).unwrap();
        report.measures.values().next().unwrap().value
    }

    fn recall(&self) -> f64 {
        Ranks::of_embeddings(self.mapped[0].view(), self.mapped[1].view()).unwrap().rsum()
    }

    /// The share of the variance that is lost between rows.
    fn error(got: &Array2<f32>, expected: &Array2<f32>) -> f64 {
        let mean = expected.mean_axis(Axis(0)).unwrap();
        let spread = (expected - &mean).mapv(|x| x * x).sum();
        f64::from((got - expected).mapv(|x| x * x).sum() / spread)
    }

    /// Items of one modality, carried to another by the inverse there.
    fn carried(&self, from: usize, to: usize) -> Array2<f32> {
        through(self.host, &self.learned.inverses[to].as_ref().unwrap().graph, &self.mapped[from])
    }
}

fn distances(rows: &Array2<f32>) -> Array2<f64> {
    let rows = rows.mapv(f64::from);
    Array2::from_shape_fn((rows.nrows(), rows.nrows()), |(i, j)| {
        (&rows.row(i) - &rows.row(j)).mapv(|x| x * x).sum().sqrt()
    })
}

fn partner_distance(fitted: &Fitted<'_>) -> f64 {
    (&fitted.mapped[0] - &fitted.mapped[1]).mapv(|x| f64::from(x * x)).sum() / fitted.mapped[0].nrows() as f64
}

/// The share of other rows whose vectors span a larger volume with an item of the last modality than those of
/// its own row. (Its recall is low for any maps: the volume is small where two of three vectors are
/// parallel.)
fn order_by_volume(fitted: &Fitted<'_>) -> f64 {
    let rows: Vec<Array2<f64>> = fitted.mapped.iter().map(|rows| rows.mapv(f64::from)).collect();
    let dots = |a: usize, b: usize| rows[a].dot(&rows[b].t());
    let (ab, ac, bc) = (dots(0, 1), dots(0, 2), dots(1, 2));
    let square = |j: usize, i: usize| {
        let (ab, ac, bc) = (ab[[j, j]], ac[[j, i]], bc[[j, i]]);
        1.0 + 2.0 * ab * ac * bc - ab * ab - ac * ac - bc * bc
    };
    let count = rows[0].nrows();
    let larger = |i: usize| (0..count).filter(|&j| square(j, i) > square(i, i)).count() as f64;
    (0..count).map(larger).sum::<f64>() / (count * (count - 1)) as f64
}

fn distance_mismatch(fitted: &Fitted<'_>) -> f64 {
    let [x, y] = [0, 1].map(|at| distances(&fitted.mapped[at]));
    (x - y).mapv(|d| d * d).mean().unwrap()
}

fn nearest_distance(fitted: &Fitted<'_>) -> f64 {
    let mut all = distances(&fitted.mapped[0]);
    all.diag_mut().fill(f64::INFINITY);
    all.map_axis(Axis(1), |row| row.iter().copied().fold(f64::INFINITY, f64::min)).mean().unwrap()
}

/// The class of each row: the signs of its first two common factors.
fn classes(rows: usize, seed: u64) -> Vec<usize> {
    let class = |row: ArrayView1<'_, f64>| usize::from(row[0] > 0.0) + 2 * usize::from(row[1] > 0.0);
    common_factors(rows, seed).outer_iter().map(class).collect()
}

/// The share of the ten nearest items of the other modality that have the same class, partners left out.
fn class_agreement(fitted: &Fitted<'_>) -> f64 {
    let rows = fitted.mapped[0].nrows();
    let classes = classes(rows, TEST_SEED);
    let scores = fitted.mapped[0].dot(&fitted.mapped[1].t());
    let agreeing = |i: usize| {
        let mut others: Vec<usize> = (0..rows).filter(|j| *j != i).collect();
        others.sort_by(|a, b| scores[[i, *b]].total_cmp(&scores[[i, *a]]));
        others[..10].iter().filter(|j| classes[**j] == classes[i]).count() as f64 / 10.0
    };
    (0..rows).map(agreeing).sum::<f64>() / rows as f64
}

/// How well the similarities of items before the map tell those after it.
fn kept_similarity(fitted: &Fitted<'_>) -> f64 {
    let options = MeasureOptions::new().only(["cka_linear"]);
    let report = measure(fitted.items[0].view(), fitted.mapped[0].view(), &options, &|_, _, _| {}).unwrap();
    report.measures["cka_linear"].value
}

/// The mean squared change of the images for a small step of the items.
fn steepness(fitted: &Fitted<'_>) -> f64 {
    let step = Array2::from_shape_fn(
        fitted.items[0].dim(),
        |(i, j)| if (i + 3 * j) % 2 == 0 { 1e-2 } else { -1e-2 },
    );
    let moved = through(fitted.host, &fitted.learned.maps[0], &(&fitted.items[0] + &step));
    (moved - &fitted.mapped[0]).mapv(|x| f64::from(x * x)).sum()
}

fn reconstruction(fitted: &Fitted<'_>) -> f64 {
    Fitted::error(&fitted.carried(0, 0), &fitted.items[0])
}

fn translation(fitted: &Fitted<'_>) -> f64 {
    Fitted::error(&fitted.carried(0, 1), &fitted.items[1])
}

/// Items that are carried to the second modality, mapped again, and carried back.
fn round_trip(fitted: &Fitted<'_>) -> f64 {
    let carried = fitted.carried(0, 1);
    let mapped = through(fitted.host, &fitted.learned.maps[1], &carried);
    let back = &fitted.learned.inverses[0].as_ref().unwrap().graph;
    Fitted::error(&through(fitted.host, back, &mapped), &fitted.items[0])
}

const TRAINING_SEED: u64 = 1;
const TEST_SEED: u64 = 2;

const CURVES: &[Curve] = &[
    rising("infonce", [0.0, 0.3, 3.0], |f| f.recall()),
    rising("siglip", [0.0, 0.3, 3.0], |f| f.recall()),
    falling("paired_mse", [0.0, 1.0, 10.0], partner_distance),
    rising("gram_volume", [0.0, 0.3, 3.0], order_by_volume),
    rising("task", [0.0, 0.3, 3.0], class_agreement),
    falling("ot", [0.0, 1.0, 10.0], |f| f.of_clouds("w2_exact")),
    falling("sinkhorn_divergence", [0.0, 10.0, 100.0], |f| f.of_clouds("sinkhorn_divergence")),
    falling("gromov_wasserstein", [0.0, 1.0, 10.0], |f| f.of_clouds("gw")),
    falling("plan_matching", [0.0, 1.0, 10.0], |f| f.of_clouds("sinkhorn_divergence")),
    rising("neighbourhood", [0.0, 0.3, 3.0], |f| f.of_clouds("mutual_knn")),
    falling("distances", [0.0, 1.0, 10.0], distance_mismatch),
    falling("covariance", [0.0, 1.0, 10.0], |f| f.of_clouds("covariance_log_euclidean")),
    falling("geodesics", [0.0, 0.3, 3.0], |f| f.of_clouds("geodesic_distortion")),
    falling("curvature", [0.0, 1.0, 10.0], |f| f.of_clouds("curvature_mismatch")),
    rising("structure", [0.0, 1.0, 10.0], kept_similarity),
    falling("reconstruction", [0.01, 0.1, 1.0], reconstruction),
    falling("translation", [0.0, 0.1, 1.0], translation),
    falling("barycentric", [0.0, 0.1, 1.0], translation),
    falling("cycle", [0.0, 0.1, 1.0], round_trip),
    rising("injectivity", [0.0, 1.0, 10.0], nearest_distance),
    falling("smoothness", [0.0, 1.0, 10.0], steepness),
];

/// The measure at each weight. Terms that start from the closed form move away from it only if the objective
/// makes them: InfoNCE is in all of them but its own.
fn curve(host: &TestHost, curve: &Curve, items: &[Array2<f32>], test: &[Array2<f32>]) -> Vec<f64> {
    let names = ["image", "text", "sound"];
    let count = if curve.term == "gram_volume" { 3 } else { 2 };
    let modalities: Vec<_> = names.into_iter().zip(items).take(count).collect();
    let mut data = AlignData::complete(&modalities);
    data.labels = classes(items[0].nrows(), TRAINING_SEED);
    let fit = |weight: f64| {
        let mut terms = json!({ "infonce": 1.0 });
        if ["infonce", "siglip"].contains(&curve.term) {
            // without any term there is nothing to train
            terms = json!({ "infonce": 0.0, "injectivity": 1e-3 });
        }
        if ["cycle", "translation", "barycentric"].contains(&curve.term) {
            terms["reconstruction"] = json!(0.1);
        }
        terms[curve.term] = json!(weight);
        // a score of SigLIP must be near its bias at first
        let tau = if curve.term == "siglip" { 0.5 } else { 0.05 };
        let parameters: Json = json!({
            "lambda_ga": 0.0, "tau": tau, "terms": terms, "blend": 1.0, "members": 1, "steps": 150,
            "hidden": 64, "batch": 256, "structure_rows": 128, "learning_rate": 3e-3, "dropout": 0.0,
            "noise": 1e-2,
        });
        let learned = data.fit::<Geometric>(host, &parameters).unwrap();
        let mapped = learned.maps.iter().zip(test).map(|(map, items)| through(host, map, items)).collect();
        (curve.measure)(&Fitted { host, learned: &learned, items: test, mapped })
    };
    curve.weights.iter().map(|weight| fit(*weight)).collect()
}

/// The largest weight must move the measure by 3 % of its value without the term, which is more than another
/// processor's rounding does in a training; in between it may not go the other way by more than that.
#[test]
fn every_term_moves_its_own_measure() {
    let host = TestHost::new(3);
    let (items, test) = (scenes(600, TRAINING_SEED), scenes(250, TEST_SEED));
    let mut wrong = Vec::new();
    for one in CURVES {
        let values = curve(&host, one, &items, &test);
        let sign = if one.rises { 1.0 } else { -1.0 };
        let [first, middle, last] = [0, 1, 2].map(|at| sign * values[at]);
        let margin = 0.03 * first.abs();
        println!("{:20} weights {:?}: {:.4?}", one.term, one.weights, values);
        if last < first + margin || middle < first - margin {
            wrong.push(format!("{}: {values:.4?} at weights {:?}", one.term, one.weights));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let terms = TermWeights::list().into_iter().map(|parameter| parameter.name);
    let tested: Vec<String> = CURVES.iter().map(|curve| curve.term.to_owned()).collect();
    assert_eq!(tested, terms.collect::<Vec<_>>(), "every term has a curve");
}
