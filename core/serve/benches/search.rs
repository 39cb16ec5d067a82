//! Times what `/search` does after the query is embedded, without the server, on random unit vectors.
//!
//! `cargo bench -p chiasm-serve --profile dev --bench search -- ROWS WIDTH` prints the milliseconds of one
//! query, and of 32 at once, with every vector multiplied in full and with the copy in 8 bits.

use chiasm_pipeline::Gallery;
use ndarray::{Array1, Array2, Axis};
use rayon::prelude::*;
use std::time::Instant;

const TOGETHER: usize = 32;
const ROUNDS: usize = 20;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse::<usize>().ok());
    let (rows, width) = (numbers.next().unwrap_or(100_000), numbers.next().unwrap_or(384));
    let embeds = unit_rows(rows, width, 1);
    let queries = unit_rows(TOGETHER, width, 2);
    let ids = (0..rows).map(|row| row.to_string()).collect();
    let gallery = Gallery::new("a".to_owned(), ids, Vec::new(), embeds);
    time("all in full", &gallery, &queries);
    let start = Instant::now();
    let prepared = gallery.prepared();
    say(&format!("prepared in {:.1} s", start.elapsed().as_secs_f64()));
    time("prepared", &prepared, &queries);
}

fn time(what: &str, gallery: &Gallery, queries: &Array2<f32>) {
    let (rows, width) = gallery.embeds.dim();
    let search =
        |query: usize| gallery.search(queries.row(query), 10).map(|hits| hits.len()).unwrap_or_default();
    search(0);
    let mut one: Vec<f64> = (0..ROUNDS).map(|round| milliseconds(|| search(round))).collect();
    let mut all: Vec<f64> =
        (0..ROUNDS / 4).map(|_| milliseconds(|| (0..TOGETHER).into_par_iter().map(search).sum())).collect();
    one.sort_by(f64::total_cmp);
    all.sort_by(f64::total_cmp);
    let (least, middle, most) = (one[0], one[ROUNDS / 2], one[ROUNDS - 1]);
    say(&format!("{what}, {rows} x {width}: one query {middle:.1} ms (from {least:.1} to {most:.1})"));
    let median = all[all.len() / 2];
    say(&format!("    {TOGETHER} at once {median:.0} ms, {:.0} queries/s", TOGETHER as f64 / median * 1e3));
}

fn milliseconds(work: impl FnOnce() -> usize) -> f64 {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed().as_secs_f64() * 1e3
}

/// Returns random unit rows: sums of four uniform numbers, whose directions are nearly uniform.
fn unit_rows(rows: usize, width: usize, seed: u64) -> Array2<f32> {
    let mut made = Array2::zeros((rows, width));
    made.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(at, mut row)| {
        let mut state = (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (seed << 32);
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        let values: Array1<f32> = (0..width).map(|_| uniform() + uniform() + uniform() + uniform()).collect();
        let norm = values.dot(&values).sqrt();
        row.assign(&(values / norm));
    });
    made
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
fn say(line: &str) {
    println!("{line}");
}
