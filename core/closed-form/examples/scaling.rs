//! Seconds of a fit against the number of modalities, on synthetic vectors.
//!
//! `cargo run -p chiasm-closed-form --example scaling -- [METHOD [ROWS [WIDTHS]]]`
//!
//! METHOD ROWS WIDTHS are `cca 800 1280,384,288,256` when not given. Modalities show one latent vector of 40
//! numbers, with noise; a fifth of the items of each is missing. Two, three, ... of the widths are fitted in
//! turn, with all parameters chosen.
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::time::Instant;

use chiasm_closed_form::{
    FitContext, Method, View, Views, cca::CcaParams, kcca::KccaParams, procrustes::ProcrustesParams,
    ridge::RidgeParams,
};
use chiasm_geometry::random::Random;
use ndarray::{Array2, Axis};

/// Items and their rows.
type ModalityItems = (Array2<f32>, Vec<usize>);

type ScalingResult<T> = Result<T, Box<dyn Error>>;

fn main() -> ScalingResult<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |at: usize, usual: &str| arguments.get(at).map_or(usual, String::as_str).to_owned();
    let (method, rows) = (given(0, "cca"), given(1, "800").parse::<usize>()?);
    let widths = given(2, "1280,384,288,256");
    let widths = widths.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    let clouds = clouds(rows, &widths);
    for count in 2..=widths.len() {
        let views = clouds[..count].iter().enumerate().map(|(at, cloud)| view(at, cloud)).collect();
        let views = Views::new(views, None, Vec::new())?;
        let start = Instant::now();
        let score = match method.as_str() {
            "cca" => fit::<CcaParams>(&views)?,
            "kcca" => fit::<KccaParams>(&views)?,
            "procrustes" => fit::<ProcrustesParams>(&views)?,
            "ridge" => fit::<RidgeParams>(&views)?,
            other => return Err(format!("unknown method {other}: cca, kcca, procrustes or ridge").into()),
        };
        let seconds = start.elapsed().as_secs_f64();
        println!("{method}, {count} modalities: {seconds:.1} s, mean recall@1..20 of the search {score:.3}");
    }
    Ok(())
}

fn view(at: usize, (items, rows): &ModalityItems) -> View<'_> {
    View { name: format!("m{at}"), blocks: vec![items.ncols()], items: items.view(), rows: rows.clone() }
}

fn fit<P: Method + Default>(views: &Views<'_>) -> ScalingResult<f64> {
    let fitted = P::default().fit_views(views, FitContext::default())?;
    Ok(fitted.report.map_or(0.0, |report| report.score))
}

fn clouds(rows: usize, widths: &[usize]) -> Vec<ModalityItems> {
    let mut random = Random::new(1);
    let mut noise = |n, d| Array2::from_shape_simple_fn((n, d), || random.normal() as f32);
    let latent = noise(rows, 40);
    let cloud = |(at, &d): (usize, &usize)| {
        let items = latent.dot(&noise(40, d)) + noise(rows, d) * 30.0;
        let kept: Vec<usize> = (0..rows).filter(|row| !(row * 7 + at * 3).is_multiple_of(5)).collect();
        (items.select(Axis(0), &kept), kept)
    };
    widths.iter().enumerate().map(cloud).collect()
}
