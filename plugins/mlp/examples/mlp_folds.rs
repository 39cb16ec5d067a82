//! Five-fold cross-validation of a plugin that trains, on two arrays of paired embeddings.
//!
//! `cargo run -p chiasm-mlp --example mlp_folds -- X.npy Y.npy [PARAMETERS]`
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "an example prints, and fails by panicking"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use chiasm_geometry::folds::interleaved_folds;
use chiasm_geometry::retrieval::Ranks;
use chiasm_mlp::MlpAligner;
use chiasm_plugin::Json;
use chiasm_plugin::ndarray::{Array2, Axis};
use common::{AlignData, TestHost, through};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [x, y, rest @ ..] = arguments.as_slice() else {
        panic!("expected: mlp_folds X.npy Y.npy [PARAMETERS]")
    };
    let parameters: Json = rest.first().map_or(Json::Null, |text| text.parse().unwrap());
    let (x, y) = (read(x), read(y));
    let host = TestHost::new(0);
    let mut sums = Vec::new();
    for fold in interleaved_folds(x.nrows(), 5).unwrap() {
        let clock = Instant::now();
        let part = |rows: &[usize]| [x.select(Axis(0), rows), y.select(Axis(0), rows)];
        let (train, test) = (part(&fold.train), part(&fold.test));
        let data = AlignData::complete(&[("first", &train[0]), ("second", &train[1])]);
        let learned = data.fit::<MlpAligner>(&host, &parameters).unwrap();
        let seconds = clock.elapsed().as_secs_f64();
        let [a, b] = [0, 1].map(|at| through(&host, &learned.maps[at], &test[at]));
        sums.push(Ranks::of_embeddings(a.view(), b.view()).unwrap().rsum());
        println!(
            "rsum {:6.1}  {seconds:6.1} s  blend {} steps {}\n  {}",
            sums[sums.len() - 1],
            learned.notes["blend"],
            learned.notes["steps"],
            learned.notes["held_out"]["verdict"]
        );
    }
    println!("mean {:.1}", sums.iter().sum::<f64>() / sums.len() as f64);
}

fn read(path: &str) -> Array2<f32> {
    let bytes = std::fs::read(path).unwrap();
    let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let text = String::from_utf8_lossy(&bytes[10..10 + header]).into_owned();
    let shape = text.split("'shape': (").nth(1).unwrap().split(')').next().unwrap();
    let lengths: Vec<usize> = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let values =
        bytes[10 + header..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Array2::from_shape_vec((lengths[0], lengths[1]), values).unwrap()
}
