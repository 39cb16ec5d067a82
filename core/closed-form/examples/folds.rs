//! Five-fold cross-validation of every closed form on two arrays of paired embeddings.
//!
//! `cargo run -p chiasm-closed-form --example folds -- X.npy Y.npy [METHOD PARAMETERS]`
//!
//! Rows of X and Y are paired. A method and its parameters as JSON, such as `cca '{"members": 1}'` or
//! `ot-map '{"pairs": 20}'`, measure this method alone. Fold `j` tests the rows whose index is `j` modulo 5;
//! all parameters are chosen on the other rows. Columns: rsum (recall@1 + @5 + @10 of both directions in
//! percent, at most 600), the same of fold 0, the same with the hubness bank, mean seconds of a fit; then
//! the permutation null of the first: mean and standard deviation over random partners, and the share of
//! them with at least the same rsum.
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::time::Instant;

use chiasm_closed_form::bank::{TOP, WEIGHT, bank_tail};
use chiasm_closed_form::{
    FitContext, Method, Views, cca::CcaParams, kcca::KccaParams, mean_vector::MeanVectorParams,
    ot_map::OtMapParams, procrustes::ProcrustesParams, ridge::RidgeParams,
};
use chiasm_geometry::folds::{CrossValidationFold, interleaved_folds};
use chiasm_geometry::random::Random;
use chiasm_geometry::retrieval::Ranks;
use chiasm_graph::{Graph, Tensor};
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};
use ndarray::{Array2, Axis};
use serde_json::{Value, json};

const METHODS: [&str; 6] = ["mean-vector", "procrustes", "ot-map", "ridge", "cca", "kcca"];

type ExampleResult<T> = Result<T, Box<dyn Error>>;

fn main() -> ExampleResult<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [x, y, rest @ ..] = arguments.as_slice() else {
        return Err("expected: folds X.npy Y.npy [METHOD PARAMETERS]".into());
    };
    let (methods, parameters) = match rest {
        [] => (METHODS.to_vec(), json!({})),
        [method, parameters] => (vec![method.as_str()], serde_json::from_str(parameters)?),
        _ => return Err("expected a method and its parameters as JSON, or neither".into()),
    };
    let (x, y) = (read(x)?, read(y)?);
    let engine = Engine::open(&EngineSearch::from_environment(None))?;
    println!(
        "{:12} {:>7} {:>7} {:>7} {:>7} {:>6} {:>6} {:>5} {:>6}",
        "method", "rsum", "fold 0", "+bank", "fold 0", "fit s", "null", "sd", "p"
    );
    for method in methods {
        let mut rows = Vec::new();
        for fold in interleaved_folds(x.nrows(), 5)? {
            rows.push(measure(engine, method, &parameters, &x, &y, &fold)?);
        }
        let over = |part: &dyn Fn(&FoldScores) -> f64| rows.iter().map(part).sum::<f64>() / rows.len() as f64;
        let rsum = over(&|row| row.plain);
        let null: Vec<f64> = (0..NULL).map(|k| over(&|row| row.null[k])).collect();
        let mean = null.iter().sum::<f64>() / NULL as f64;
        let sd = (null.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / NULL as f64).sqrt();
        let p = (1 + null.iter().filter(|v| **v >= rsum).count()) as f64 / (1 + NULL) as f64;
        println!(
            "{method:12} {rsum:7.1} {:7.1} {:7.1} {:7.1} {:6.2} {mean:6.1} {sd:5.1} {p:6.3}",
            rows[0].plain,
            over(&|row| row.bank),
            rows[0].bank,
            over(&|row| row.seconds),
        );
    }
    Ok(())
}

/// Random partners of the permutation null.
const NULL: usize = 199;

/// The rsum without and with the bank and with random partners, and the seconds of the fit.
struct FoldScores {
    plain: f64,
    bank: f64,
    null: Vec<f64>,
    seconds: f64,
}

fn measure(
    engine: &Engine,
    method: &str,
    parameters: &Value,
    x: &Array2<f32>,
    y: &Array2<f32>,
    fold: &CrossValidationFold,
) -> ExampleResult<FoldScores> {
    let part = |rows: &[usize]| (x.select(Axis(0), rows), y.select(Axis(0), rows));
    let (train, test) = (part(&fold.train), part(&fold.test));
    let start = Instant::now();
    let [first, second] = fit(method, parameters, &Views::paired(train.0.view(), train.1.view())?)?;
    let seconds = start.elapsed().as_secs_f64();
    let run = |graph: &Graph, rows: &Array2<f32>| -> ExampleResult<Array2<f32>> {
        let input = Tensor::f32(&[rows.nrows(), rows.ncols()], rows.iter().copied().collect())?;
        let session = engine.session(graph, &SessionOptions::default())?;
        let (_, output) = session.run(&[(&graph.inputs()[0].name, &input)])?.remove(0);
        let shape = (output.shape()[0], output.shape()[1]);
        Ok(Array2::from_shape_vec(shape, output.into_f32()?)?)
    };
    let (a, b) = (run(&first, &test.0)?, run(&second, &test.1)?);
    let (bank_a, bank_b) = (run(&first, &train.0)?, run(&second, &train.1)?);
    let plain = Ranks::of_embeddings(a.view(), b.view())?.rsum();
    let mut random = Random::new(0);
    let null = (0..NULL).map(|_| {
        let partners = b.select(Axis(0), &random.permutation(b.nrows()));
        Ok(Ranks::of_embeddings(a.view(), partners.view())?.rsum())
    });
    let null = null.collect::<ExampleResult<Vec<f64>>>()?;
    let clouds = [bank_a.view(), bank_b.view()];
    let tail = |own: usize, z: &Array2<f32>| run(&bank_tail(own, &clouds, TOP, WEIGHT)?, z);
    let (a, b) = (tail(0, &a)?, tail(1, &b)?);
    Ok(FoldScores { plain, bank: Ranks::of_embeddings(a.view(), b.view())?.rsum(), null, seconds })
}

fn fit(method: &str, parameters: &Value, views: &Views<'_>) -> ExampleResult<[Graph; 2]> {
    fn of<P: Method>(value: Value, views: &Views<'_>) -> ExampleResult<[Graph; 2]> {
        let fitted = serde_json::from_value::<P>(value)?.fit_views(views, FitContext::default())?;
        Ok([fitted.maps[0].graph()?, fitted.maps[1].graph()?])
    }
    let value = parameters.clone();
    match method {
        "mean-vector" => of::<MeanVectorParams>(value, views),
        "procrustes" => of::<ProcrustesParams>(value, views),
        "ot-map" => of::<OtMapParams>(value, views),
        "ridge" => of::<RidgeParams>(value, views),
        "cca" => of::<CcaParams>(value, views),
        "kcca" => of::<KccaParams>(value, views),
        other => Err(format!("unknown method {other}; known are {}", METHODS.join(", ")).into()),
    }
}

fn read(path: &str) -> ExampleResult<Array2<f32>> {
    let file = npyz::NpyFile::new(std::io::BufReader::new(std::fs::File::open(path)?))?;
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    let [rows, columns] = shape[..] else {
        return Err(format!("{path}: expected a matrix, got shape {shape:?}").into());
    };
    Ok(Array2::from_shape_vec((rows, columns), file.into_vec::<f32>()?)?)
}
