//! The spaces before and after the merge: projections of the sampled items, and the table of their geometry.

use crate::{
    figure::{COLOURS, ScatterPoint, escaped, legend, scatter},
    layout::Layouts,
    sample::{ItemSample, first_items},
};
use chiasm_check::digits;
use chiasm_geometry::{
    Error as GeometryError,
    catalogue::CATALOGUE,
    measure::{MeasureOptions, MeasureReport, measure},
};
use chiasm_pipeline::TestItems;
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use rayon::prelude::*;
use serde::Serialize;

/// The measures of the table, and the number of permutations of their nulls.
const MEASURES: [&str; 5] = ["cka_linear", "mutual_knn", "procrustes_residual", "foscttm", "modality_gap"];
const PERMUTATIONS: usize = 99;
/// Neighbours of the measures that use them, and the fewest rows that are measured.
const NEIGHBOURS: usize = 10;
const FEWEST_ROWS: usize = 20;

/// One way to project, with a figure of each space.
#[derive(Debug, Clone, Serialize)]
pub struct ProjectionFigures {
    /// The id of its element in the page.
    pub id: &'static str,
    pub name: &'static str,
    /// What the figures tell, and what they do not.
    pub about: &'static str,
    pub figures: Vec<SpaceFigure>,
}

/// A projection of one space.
#[derive(Debug, Clone, Serialize)]
pub struct SpaceFigure {
    /// What it shows.
    pub caption: String,
    pub svg: String,
}

/// The ways to project: the id, the name and what the figures tell.
const PROJECTIONS: [[&str; 3]; 3] = [
    [
        "pca",
        "Principal components",
        "The two directions in which the items vary most. Distances are those of the space, seen from one \
         side.",
    ],
    [
        "tsne",
        "t-SNE",
        "Neighbours stay together. Distances between groups, and the sizes of groups, have no meaning.",
    ],
    [
        "umap",
        "UMAP",
        "Neighbours stay together, and more of the arrangement of groups is kept than with t-SNE. Distances \
         between groups, and the sizes of groups, have no meaning.",
    ],
];

/// The vectors of a space, and what they belong to.
struct Space {
    what: String,
    vectors: Array2<f32>,
    /// The modality and index of each.
    drawn: Vec<(usize, usize)>,
}

/// Returns for each projection the figures of the pooled vectors of each modality, then that of the shared
/// space; and the legend.
pub fn figures(
    test: &[TestItems],
    rows: &[usize],
    sample: &ItemSample,
    seed: u64,
) -> (Vec<ProjectionFigures>, String) {
    let spaces = spaces(test, rows);
    let layouts: Vec<Result<Layouts, GeometryError>> =
        spaces.par_iter().map(|space| Layouts::new(space.vectors.view(), seed)).collect();
    let drawn = |at: usize| {
        let figure = |(space, layouts): (&Space, &Result<Layouts, GeometryError>)| match layouts {
            Ok(layouts) => figure(space, layouts, at, sample),
            Err(error) => not_drawn(space, &error.to_string()),
        };
        spaces.iter().zip(&layouts).map(figure).collect()
    };
    let projections = (0..PROJECTIONS.len()).map(|at| {
        let [id, name, about] = PROJECTIONS[at];
        ProjectionFigures { id, name, about, figures: drawn(at) }
    });
    let names: Vec<&str> = test.iter().map(|own| own.modality.as_str()).collect();
    (projections.collect(), legend(&names))
}

/// Returns the sampled items before the merge, a space for each modality, and after it, in one.
fn spaces(test: &[TestItems], rows: &[usize]) -> Vec<Space> {
    let chosen: Vec<Vec<usize>> = test.iter().map(|own| first_items(own, rows)).collect();
    let of = |class: usize| chosen[class].iter().map(move |at| (class, *at));
    let mut spaces: Vec<Space> = (test.iter().enumerate())
        .map(|(class, own)| Space {
            what: format!("Before: {} ({} dimensions)", own.modality, own.pooled.ncols()),
            vectors: own.pooled.view().select(Axis(0), &chosen[class]),
            drawn: of(class).collect(),
        })
        .collect();
    let parts: Vec<Array2<f32>> =
        test.iter().zip(&chosen).map(|(own, at)| own.aligned.select(Axis(0), at)).collect();
    let views: Vec<_> = parts.iter().map(Array2::view).collect();
    if let Ok(vectors) = concatenate(Axis(0), &views) {
        let what = format!("After: the shared space ({} dimensions)", vectors.ncols());
        spaces.push(Space { what, vectors, drawn: (0..test.len()).flat_map(of).collect() });
    }
    spaces
}

fn not_drawn(space: &Space, reason: &str) -> SpaceFigure {
    let svg = format!("<p class=\"none\">Not drawn: {}.</p>", escaped(reason));
    SpaceFigure { caption: space.what.clone(), svg }
}

/// Draws one projection of a space; `at` is its index in [`PROJECTIONS`].
fn figure(space: &Space, layouts: &Layouts, at: usize, sample: &ItemSample) -> SpaceFigure {
    let places = match [Ok(&layouts.principal.points), layouts.tsne.as_ref(), layouts.umap.as_ref()][at] {
        Ok(places) => places,
        Err(reason) => return not_drawn(space, reason),
    };
    let point = |(row, place): (usize, &(usize, usize))| {
        let item = sample.number(*place)?;
        let shown = &sample.items[item];
        let title = format!("{}, row {}: {}", shown.modality, shown.row, shown.text);
        Some(ScatterPoint { at: [places[[row, 0]], places[[row, 1]]], class: place.0 % COLOURS, item, title })
    };
    let points: Vec<ScatterPoint> = space.drawn.iter().enumerate().filter_map(point).collect();
    let [first, second] = layouts.principal.shares.map(|share| 100.0 * share);
    let how = match PROJECTIONS[at] {
        ["pca", ..] => format!(
            " on the two leading principal axes, which hold {first:.0} % and {second:.0} % of their variance"
        ),
        [_, name, _] => format!(", {name}"),
    };
    let caption = format!("{}: {} items{how}", space.what, points.len());
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
    let measured = |x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>, null: usize| {
        let options = MeasureOptions::new().only(MEASURES).k(NEIGHBOURS).null(null).seed(seed);
        let (x, y) = (x.select(Axis(0), &a), y.select(Axis(0), &b));
        measure(x.view(), y.view(), &options, &|_, _, _| {})
    };
    let after = measured(first.aligned.view(), second.aligned.view(), PERMUTATIONS);
    match (measured(first.pooled.view(), second.pooled.view(), 0), after) {
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
