//! Fitting an aligner whose maps depend on sums over the training rows, when those do not fit into memory.
//!
//! The training rows in memory and those of the recipe's shards are summed, batch by batch, and none of the
//! latter is kept. Ridge and canonical correlation need the moments alone; Procrustes reads the rows twice.

use crate::{
    base::{environment::Environment, error::Error, reporter::StageProgress},
    catalog::shards::{AddBatch, Shards},
    embed::EmbeddedItems,
    plan::Plan,
};
use chiasm_closed_form::{
    Curve, FitContext, FitExport, MapInverseKind, Moments, SecondPass, SummedView, fit_named,
};
use chiasm_host::{Inverse, InverseKind, Learned};
use ndarray::ArrayView2;
use serde_json::Value;

/// Fits cca, ridge or procrustes on the training rows in memory and on those of shards.
///
/// # Errors
/// If a row lacks an item of a modality or has several, a file cannot be read, the fit fails, or the user
/// asked to stop.
pub fn align(
    id: &str,
    items: &[EmbeddedItems],
    shards: &Shards,
    plan: &Plan,
    parameters: &Value,
    env: &Environment,
) -> Result<Learned, Error> {
    let failed = |error: chiasm_closed_form::Error| {
        let help = "the rows in memory and those of data.shards are fitted together";
        Error::input("chiasm::fit::summed", format!("align ({id}): {error}"), help)
    };
    check_complete(items)?;
    let view = |items: &EmbeddedItems| SummedView { name: items.name.clone(), blocks: items.blocks.clone() };
    let views: Vec<SummedView> = items.iter().map(view).collect();
    let names: Vec<&str> = items.iter().map(|items| items.name.as_str()).collect();
    let anchor = plan.anchor().and_then(|anchor| names.iter().position(|name| *name == anchor));
    let progress = |_, _| !env.reporter.stop_requested();
    let context = FitContext { seed: plan.seed(), progress: &progress };
    let each = |stage: &str, add: &mut AddBatch<'_>| {
        let held: Vec<ArrayView2<'_, f32>> = items.iter().map(|items| items.pooled.view()).collect();
        let rows = held.first().map_or(0, |items| items.nrows());
        let total = usize::try_from(shards.rows()).unwrap_or(usize::MAX).saturating_add(rows);
        let steps = StageProgress::begin(&*env.reporter, stage, total);
        let mut counted = |batch: &[ArrayView2<'_, f32>]| {
            add(batch)?;
            match steps.add(batch[0].nrows()) {
                true => Ok(()),
                false => Err(Error::Gate("stopped as asked; no run folder was written".to_owned())),
            }
        };
        counted(&held)?;
        shards.each(&mut counted)
    };
    let mut moments = Moments::new(views, only_curve(parameters, &names), plan.seed()).map_err(failed)?;
    each("sum rows", &mut |batch| moments.update(batch).map_err(failed))?;
    let export = if id == "procrustes" {
        let mut pass = SecondPass::of_json(parameters, &moments, anchor, context).map_err(failed)?;
        each("sum rows again", &mut |batch| pass.update(batch).map_err(failed))?;
        pass.fit().and_then(|fitted| fitted.export(&names))
    } else {
        fit_named(id, parameters, &moments, anchor, context)
    };
    Ok(learned(export.map_err(failed)?, moments.count()))
}

/// Reports rows that lack an item of a modality or have several, which sums over rows have no place for.
fn check_complete(items: &[EmbeddedItems]) -> Result<(), Error> {
    let Some(first) = items.first() else { return Ok(()) };
    let once = first.rows.windows(2).all(|two| two[0] < two[1]);
    match items.iter().find(|items| !once || items.rows != first.rows) {
        None => Ok(()),
        Some(other) => Err(Error::input(
            "chiasm::fit::summed",
            format!(
                "with data.shards every training row has one item of each modality; some have none or \
                 several of {:?} or {:?}",
                first.name, other.name
            ),
            "add the missing items, or leave out those rows; items = \"first\" takes one of each",
        )),
    }
}

/// The curve that the parameters give to every modality; both are summed when there is none.
fn only_curve(parameters: &Value, names: &[&str]) -> Option<Curve> {
    let given = &parameters["curve"];
    let mut curves = names.iter().map(|name| if given.is_object() { &given[name] } else { given });
    let first = curves.next()?;
    let same = curves.all(|curve| curve == first);
    serde_json::from_value(first.clone()).ok().filter(|_| same)
}

fn learned(export: FitExport, rows: u64) -> Learned {
    let kind = |kind| match kind {
        MapInverseKind::TwoSided => InverseKind::TwoSided,
        MapInverseKind::Left => InverseKind::Left,
        MapInverseKind::Right => InverseKind::Right,
    };
    let inverses = export.inverses.into_iter();
    let inverse = |inverse: Option<chiasm_closed_form::MapInverse>| {
        inverse.map(|inverse| Inverse { kind: kind(inverse.kind), graph: inverse.graph })
    };
    let mut notes = export.notes;
    notes["rows"] = rows.into();
    Learned {
        maps: export.maps,
        inverses: inverses.map(inverse).collect(),
        parameters: export.parameters,
        notes,
    }
}
