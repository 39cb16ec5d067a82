//! The spaces before and after the merge: projections of the sampled items, and the table of their geometry.

use crate::{
    figure::{COLOURS, ScatterPoint, escaped, legend, scatter},
    projection::principal_components,
    sample::{ItemSample, first_items},
};
use chiasm_check::digits;
use chiasm_geometry::{
    catalogue::CATALOGUE,
    measure::{MeasureOptions, MeasureReport, measure},
};
use chiasm_pipeline::TestItems;
use ndarray::{Array2, Axis, concatenate};
use serde::Serialize;

/// The measures of the table, and the number of permutations of their nulls.
const MEASURES: [&str; 5] = ["cka_linear", "mutual_knn", "procrustes_residual", "foscttm", "modality_gap"];
const PERMUTATIONS: usize = 99;
/// Neighbours of the measures that use them, and the fewest rows that are measured.
const NEIGHBOURS: usize = 10;
const FEWEST_ROWS: usize = 20;

/// One projection.
#[derive(Debug, Clone, Serialize)]
pub struct SpaceFigure {
    /// What it shows.
    pub caption: String,
    pub svg: String,
}

/// Returns the figures of the pooled vectors of each modality, then that of the shared space, and the legend.
pub fn figures(test: &[TestItems], rows: &[usize], sample: &ItemSample) -> (Vec<SpaceFigure>, String) {
    let chosen: Vec<Vec<usize>> = test.iter().map(|own| first_items(own, rows)).collect();
    let mut figures = Vec::new();
    for (class, own) in test.iter().enumerate() {
        let vectors = own.pooled.select(Axis(0), &chosen[class]);
        let drawn: Vec<(usize, usize)> = chosen[class].iter().map(|at| (class, *at)).collect();
        let what = format!("Before: {} ({} dimensions)", own.modality, own.pooled.ncols());
        figures.push(figure(&what, &vectors, &drawn, sample));
    }
    let parts: Vec<Array2<f32>> =
        test.iter().zip(&chosen).map(|(own, at)| own.aligned.select(Axis(0), at)).collect();
    let views: Vec<_> = parts.iter().map(Array2::view).collect();
    let drawn: Vec<(usize, usize)> =
        (chosen.iter().enumerate()).flat_map(|(class, at)| at.iter().map(move |at| (class, *at))).collect();
    if let Ok(joined) = concatenate(Axis(0), &views) {
        let what = format!("After: the shared space ({} dimensions)", joined.ncols());
        figures.push(figure(&what, &joined, &drawn, sample));
    }
    let names: Vec<&str> = test.iter().map(|own| own.modality.as_str()).collect();
    (figures, legend(&names))
}

/// Draws vectors; `drawn` are the modality and index of each.
fn figure(what: &str, vectors: &Array2<f32>, drawn: &[(usize, usize)], sample: &ItemSample) -> SpaceFigure {
    let projection = match principal_components(vectors.view()) {
        Ok(projection) => projection,
        Err(error) => {
            let svg = format!("<p class=\"none\">Not drawn: {}.</p>", escaped(&error.to_string()));
            return SpaceFigure { caption: what.to_owned(), svg };
        }
    };
    let point = |(row, place): (usize, &(usize, usize))| {
        let item = sample.number(*place)?;
        let shown = &sample.items[item];
        let title = format!("{}, row {}: {}", shown.modality, shown.row, shown.text);
        let at = [projection.points[[row, 0]], projection.points[[row, 1]]];
        Some(ScatterPoint { at, class: place.0 % COLOURS, item, title })
    };
    let points: Vec<ScatterPoint> = drawn.iter().enumerate().filter_map(point).collect();
    let [first, second] = projection.shares.map(|share| 100.0 * share);
    let caption = format!(
        "{what}: {} items on the two leading principal axes, which hold {first:.0} % and {second:.0} % of \
         their variance",
        points.len()
    );
    SpaceFigure { svg: scatter(&caption, &points), caption }
}

/// The measures of one pair of modalities.
#[derive(Debug, Clone, Serialize)]
pub struct PairTable {
    pub pair: String,
    /// The number of rows that hold both modalities.
    pub rows: usize,
    pub measures: Vec<MeasureRow>,
    /// Why the pair was not measured; empty if it was.
    pub none: String,
}

/// One measure before and after the merge.
#[derive(Debug, Clone, Serialize)]
pub struct MeasureRow {
    pub key: String,
    pub about: &'static str,
    pub before: String,
    pub after: String,
    /// The mean over permuted pairs, after the merge.
    pub by_chance: String,
    pub p: String,
}

/// Measures every pair of modalities on the sampled rows that hold both.
pub fn geometry(test: &[TestItems], rows: &[usize], seed: u64) -> Vec<PairTable> {
    let mut tables = Vec::new();
    for (at, first) in test.iter().enumerate() {
        for second in &test[at + 1..] {
            tables.push(pair_table(first, second, rows, seed));
        }
    }
    tables
}

fn pair_table(first: &TestItems, second: &TestItems, rows: &[usize], seed: u64) -> PairTable {
    let held = |own: &TestItems, row: &usize| own.rows.binary_search(row).is_ok();
    let both: Vec<usize> = rows.iter().copied().filter(|row| held(first, row) && held(second, row)).collect();
    let [a, b] = [first, second].map(|own| first_items(own, &both));
    let pair = format!("{} and {}", first.modality, second.modality);
    let mut table = PairTable { pair, rows: both.len(), measures: Vec::new(), none: String::new() };
    if both.len() < FEWEST_ROWS {
        table.none = format!("{} sampled rows hold both; at least {FEWEST_ROWS} are needed", both.len());
        return table;
    }
    let measured = |x: &Array2<f32>, y: &Array2<f32>, null: usize| {
        let options = MeasureOptions::new().only(MEASURES).k(NEIGHBOURS).null(null).seed(seed);
        let (x, y) = (x.select(Axis(0), &a), y.select(Axis(0), &b));
        measure(x.view(), y.view(), &options, &|_, _, _| {})
    };
    let after = measured(&first.aligned, &second.aligned, PERMUTATIONS);
    match (measured(&first.pooled, &second.pooled, 0), after) {
        (Ok(before), Ok(after)) => table.measures = measure_rows(&before, &after),
        (Err(error), _) | (_, Err(error)) => table.none = error.to_string(),
    }
    table
}

fn measure_rows(before: &MeasureReport, after: &MeasureReport) -> Vec<MeasureRow> {
    let row = |measure: &chiasm_geometry::catalogue::Measure| {
        let key = measure.key(NEIGHBOURS);
        let found = after.measures.get(&key)?;
        let null = found.null.as_ref();
        Some(MeasureRow {
            about: measure.about(),
            before: before.measures.get(&key).map_or_else(String::new, |found| digits(found.value)),
            after: digits(found.value),
            by_chance: null.and_then(|null| null.null_mean).map_or_else(String::new, digits),
            p: null.map_or_else(String::new, |null| digits(null.p_value)),
            key,
        })
    };
    CATALOGUE.iter().filter_map(row).collect()
}
