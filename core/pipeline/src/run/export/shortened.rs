//! Shorter vectors: the first coordinates, scaled to length one.

use crate::{
    base::{environment::Environment, error::Error},
    run::{evaluate::Metrics, files::MODEL, graphs::embeds, open::Run},
};
use chiasm_graph::{Builder, Dim, Graph, Storage};
use serde::{Deserialize, Serialize};

/// The effect of shorter vectors: the metrics on the test rows of the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShortenedVectors {
    /// The number of coordinates, before and after.
    pub dimensions: [usize; 2],
    /// Metrics of the whole vectors.
    pub before: Metrics,
    /// Metrics of the first coordinates, scaled to length one.
    pub after: Metrics,
}

/// Measures a run whose vectors have only their first `kept` coordinates.
///
/// # Errors
/// If that is not possible, or the data of the run cannot be read.
pub fn measure_shortened(
    run: &Run<'_>,
    kept: usize,
    weights: Option<Storage>,
    env: &Environment,
) -> Result<ShortenedVectors, Error> {
    let refused = |message: String, help: &str| Error::input("chiasm::export::dimensions", message, help);
    if weights.is_some() {
        let message = "--dimensions cannot be used together with --weights".to_owned();
        return Err(refused(message, "the effect of both is measured one by one: leave one of them out"));
    }
    let banked = run.model.heads.iter().any(|head| head.z() != embeds(&head.modality));
    if run.model.fusion.is_some() || banked {
        let what = if banked { "bank for its scores" } else { "fusion" };
        let message = format!("--dimensions: this run has a {what}, which takes whole vectors");
        return Err(refused(message, "fit a run without [fuse] and without score.bank"));
    }
    let name = run.manifest.modalities.first().map(|modality| embeds(&modality.name)).unwrap_or_default();
    let port = run.model().output(&name).map_err(Error::graph(MODEL.to_owned()))?;
    let all = port.dims.as_deref().and_then(|dims| dims.get(1)?.fixed()).unwrap_or_default();
    if !(1..all).contains(&kept) {
        let message = format!("--dimensions: expected fewer than the {all} of the run, got {kept}");
        return Err(refused(message, "give a number from 1 on"));
    }
    let mut shorter = Run::open(run.folder(), env)?;
    for head in &mut shorter.model.heads {
        head.graph = shorten(&head.graph, &[embeds(&head.modality)], kept)?;
    }
    Ok(ShortenedVectors { dimensions: [all, kept], before: run.measure()?, after: shorter.measure()? })
}

/// Returns a graph whose outputs `names` `[n, d]` are their first `kept` columns, scaled to length one.
pub fn shorten(graph: &Graph, names: &[String], kept: usize) -> Result<Graph, Error> {
    let of = |graph: &Graph, name: &String| {
        let port = graph.output(name)?;
        let (whole, rows) = (format!("{name}/whole"), port.dims.iter().flatten().next().cloned());
        let mut b = Builder::new("shorter");
        let x = b.input(&whole, port.dtype, port.dims.as_deref().unwrap_or_default())?;
        let end = i64::try_from(kept).unwrap_or(i64::MAX);
        let [start, end, axis] = [("start", 0), ("end", end), ("axis", 1)]
            .map(|(what, at)| b.ints(&format!("{name}/{what}"), &[at]));
        let part = b.op("Slice", &[&x, &start, &end, &axis], &[]);
        let unit = b.l2_normalise(&part, 1, 1e-12);
        b.output(name, &unit, port.dtype, &[rows.unwrap_or(Dim::Unknown), kept.into()]);
        graph.renamed(&[(name, &whole)])?.join(&b.finish()?, &[(&whole, &whole)])
    };
    let shorter = names.iter().try_fold(graph.clone(), |graph, name| of(&graph, name));
    shorter.map_err(Error::graph("keeping the first coordinates".to_owned()))
}
