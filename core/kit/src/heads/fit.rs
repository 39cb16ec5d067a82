//! The fit: parameters are chosen on rows held out, then the networks are fitted on all training rows.
//!
//! 1. The validation rows, or a fifth of the rows where none are given, are held out. The closed forms and
//!    the networks are fitted on the rest, and the mean rsum on the rows held out chooses the share of the
//!    score that the networks get: 0 (the start alone), 0.5 or 1. On these rows the result therefore is
//!    never worse than its start. The step size falls to zero over a fixed number of steps. Early stopping
//!    by the loss on the rows held out is an option; on a few hundred rows it stops at a tenth of the steps,
//!    while recall still rises.
//! 2. The start and the networks are fitted again, for that many steps, on all rows but given validation
//!    rows, and joined: with unit rows zᵢ and shares wᵢ the result is the concatenation of sqrt(wᵢ) zᵢ, whose
//!    dot product is the mean of the members' scores.
//!
//! If `blend` is given, nothing is chosen and the first part is skipped.

use chiasm_closed_form::Views;
use chiasm_plugin::objective::TrainingReport;
use chiasm_plugin::{
    Error, Inverse, Json, Learned, Level, Parameters, Result, Services, TrainingItems, json,
};
use std::collections::BTreeMap;

use super::HeadMethod;
use super::parameters::HeadParameters;
use super::training::EnsembleTraining;
use crate::comparison::{FEWEST, Holdout, MapComparison, fit_start};
use crate::terms::TermWeights;
use crate::{ItemSubset, inverse_kind, paired_rows, plugin_error};

/// The shares of the networks in the score that are tried, besides 0.
const BLENDS: [f64; 2] = [0.5, 1.0];

/// The parameters chosen on the rows held out.
struct HeadChoice {
    blend: f64,
    steps: u64,
    notes: Json,
}

/// Fits the maps of a method.
///
/// # Errors
/// When items cannot be fitted, parameters contradict each other, or a training fails.
pub fn fit_heads(
    method: &HeadMethod,
    items: &TrainingItems<'_>,
    parameters: HeadParameters,
    services: &Services<'_>,
) -> Result<Learned> {
    let views = crate::views(items)?;
    let names = views.names();
    if let Some(noise) = &parameters.noise {
        noise.check_names("noise", &names).map_err(|e| Error::invalid(e.to_string()))?;
    }
    let weights = parameters.terms.or(method.weights);
    check_labels(weights, items)?;
    let start = fit_start(&views, &parameters.start(), services)?;
    let labelled = (&views, &items.labels);
    let choice = choose(method, weights, &parameters, labelled, services)?;
    let chosen_start = Some(start.parameters.clone());
    let (maps, inverses, senses) = if choice.blend > 0.0 {
        let training = ItemSubset::training(&views);
        let training = EnsembleTraining::new(labelled, &training, &start, &parameters, weights, services)?;
        let (ensemble, _) = training.run(choice.steps, None)?;
        let (mut inverses, mut senses) = (Vec::new(), BTreeMap::new());
        for (modality, name) in names.iter().enumerate() {
            let (inverse, sense) = ensemble.inverse(modality, choice.blend)?;
            inverses.push(inverse);
            senses.insert((*name).to_owned(), sense);
        }
        (ensemble.maps(choice.blend)?, inverses, json!(senses))
    } else {
        let export = start.export(&names).map_err(plugin_error)?;
        let inverses = export.inverses.into_iter().map(|inverse| {
            inverse.map(|inverse| Inverse { kind: inverse_kind(inverse.kind), graph: inverse.graph })
        });
        (export.maps, inverses.collect(), export.notes["inverses"].clone())
    };
    let notes = json!({
        "blend": choice.blend, "steps": choice.steps, "held_out": choice.notes, "inverses": senses,
    });
    let chosen = HeadParameters {
        blend: Some(choice.blend),
        steps: Some(choice.steps),
        start: chosen_start,
        terms: weights,
        ..parameters
    };
    Ok(Learned { maps, inverses, parameters: chosen.to_json(), notes })
}

/// Fails if the term `task` has a weight, and there are no labels to learn.
fn check_labels(weights: TermWeights, items: &TrainingItems<'_>) -> Result<()> {
    if weights.task.is_some_and(|weight| weight > 0.0) && items.labels.is_empty() {
        return Err(Error::invalid(
            "the term `task` learns labels, and no training row has one; name their column in the recipe: \
             align.labels = \"class\"",
        ));
    }
    Ok(())
}

/// Chooses the share of the networks and the steps on rows held out, unless they are given.
fn choose(
    method: &HeadMethod,
    weights: TermWeights,
    parameters: &HeadParameters,
    (views, labels): (&Views<'_>, &BTreeMap<usize, usize>),
    services: &Services<'_>,
) -> Result<HeadChoice> {
    let rows: Vec<&[usize]> = views.all().iter().map(|view| view.rows.as_slice()).collect();
    let paired = paired_rows(&rows, &views.scored_pairs());
    let fitted = paired.iter().filter(|row| views.validation().binary_search(row).is_err()).count();
    let steps = parameters.steps_for(fitted);
    if let Some(blend) = parameters.blend {
        let notes = json!("none: `blend` gives the share of the score that the networks get");
        return Ok(HeadChoice { blend, steps, notes });
    }
    let Some(holdout) = Holdout::new(views, services.seed())? else {
        let notes = format!("none: {fitted} rows are fewer than {FEWEST}, so the start is returned");
        return Ok(HeadChoice { blend: 0.0, steps, notes: json!(notes) });
    };
    let closed_form_views = holdout.closed_form_views(views)?;
    let start = fit_start(&closed_form_views, &parameters.start(), services)?;
    let held_out = &holdout.held_out;
    let mut comparison = MapComparison::new(&closed_form_views, held_out, &start, services)?;
    let labelled = (views, labels);
    let training = EnsembleTraining::new(labelled, &holdout.training, &start, parameters, weights, services)?;
    let (ensemble, reports) = training.run(steps, parameters.early_stopping.then_some(held_out))?;
    // the start comes first, so that it wins ties
    let mut best = (0.0, comparison.entry("cca").map_or(0.0, |entry| entry.rsum));
    for blend in BLENDS {
        let name = format!("{}, blend {blend}", method.id);
        let rsum = comparison.add_graphs(&name, &ensemble.maps(blend)?, held_out, services)?.rsum;
        if rsum > best.1 {
            best = (blend, rsum);
        }
    }
    // without early stopping these are all steps, or the steps before a divergence
    let kept = reports.iter().map(|report| report.best_step).sum::<u64>() / reports.len().max(1) as u64;
    let verdict = comparison.verdict(method.id, method.title);
    services.log(Level::Info, &verdict);
    let blend = if kept > 0 { best.0 } else { 0.0 };
    let result = match blend {
        0.0 => "the start alone, since no share of the networks was better on the rows held out".to_owned(),
        blend => format!("the networks with a share of {blend} in the score"),
    };
    let trainings: Vec<String> = reports.iter().map(TrainingReport::sentence).collect();
    let notes = json!({
        "verdict": verdict, "result": result, "comparison": comparison.table(), "trainings": trainings,
    });
    Ok(HeadChoice { blend, steps: kept.max(1), notes })
}
