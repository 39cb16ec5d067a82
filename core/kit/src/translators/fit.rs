//! The fit: a pair of ridge regressions is trained further. The trained pair is returned only if, on rows
//! held out, its round-trip error is lower and its recall is as high.
//!
//! Every modality but the reference is a pair with it. For each pair the validation rows, or a fifth of its
//! rows where none are given, are held out. On the rest both ridges are fitted and the pair is trained, with
//! early stopping by the loss. The trained pair is better if its round trip from the modality loses less
//! than the ridge pair's and its recall is at most one standard error lower. Weights of the cycle are tried
//! in descending order until one is better. Then the pair is fitted again for as many steps, on all rows but
//! given validation rows. If `train` is given, nothing is held out.

use std::collections::BTreeMap;

use crate::comparison::{FEWEST, Holdout, MapComparison, fit_start};
use crate::{ItemSubset, paired_rows};
use chiasm_closed_form::cca::CcaParams;
use chiasm_closed_form::{PerModality, Views};
use chiasm_plugin::{
    Error, Inverse, InverseKind, Json, Learned, Level, Parameters, Result, Services, TrainingItems, json,
};
use serde::Serialize;

use super::TranslatorMethod;
use super::model::TranslatorNetworks;
use super::pair::{PairImages, TranslatorPair, reference_map};
use super::parameters::{Schedule, TranslatorParameters};
use super::start::{TranslatorStart, pair_views};

/// The weights of the cycle, in the order in which they are tried.
const WEIGHTS: [f64; 4] = [1.0, 0.3, 0.1, 0.03];

/// The parameters chosen for a pair on the rows held out.
struct TranslatorChoice {
    train: bool,
    schedule: Schedule,
    notes: Json,
}

/// Fits the maps of a method.
///
/// # Errors
/// When items cannot be fitted, parameters contradict each other, or a training fails.
pub fn fit_translators(
    method: &TranslatorMethod,
    items: &TrainingItems<'_>,
    given: TranslatorParameters,
    services: &Services<'_>,
) -> Result<Learned> {
    let parameters = TranslatorParameters { terms: given.terms.or(method.weights), ..given };
    let views = crate::views(items)?;
    parameters.check_names(&views.names()).map_err(|e| Error::invalid(e.to_string()))?;
    if parameters.terms.task.is_some_and(|weight| weight > 0.0) {
        return Err(Error::invalid(format!(
            "the term `task` trains maps into a shared space, and `{}` maps onto a modality; use `mlp` or \
             another aligner into a shared space",
            method.id
        )));
    }
    let reference = views.reference();
    let others = (0..views.count()).filter(|modality| *modality != reference);
    let choices = others.map(|modality| {
        let choice = choose(method, &parameters, &views, modality, services);
        let name = &views.all()[modality].name;
        Ok((modality, choice.map_err(|error| error.context(format!("modality `{name}`")))?))
    });
    let choices: BTreeMap<usize, TranslatorChoice> = choices.collect::<Result<_>>()?;
    let training = ItemSubset::training(&views);
    let start = TranslatorStart::fit(&views, &training, &parameters, services)?;
    let (mut maps, mut inverses) = (Vec::new(), Vec::new());
    let (mut notes, mut senses) = (BTreeMap::new(), BTreeMap::new());
    let mut chosen =
        TranslatorParameters { curve: Some(PerModality::Each(start.curves.clone())), ..parameters.clone() };
    for (modality, name) in start.names.iter().enumerate() {
        let Some(choice) = choices.get(&modality) else {
            maps.push(reference_map(&start)?);
            inverses.push(None);
            senses.insert(name, "none: the reference is not mapped, only brought to length one".to_owned());
            continue;
        };
        let pair = TranslatorPair::fit(&start, &views, &training, modality, &parameters, services)?;
        let mut model = TranslatorNetworks::new(&pair.matrices, parameters.hidden, services.seed())?;
        if choice.train {
            pair.train(&mut model, &parameters, choice.schedule, None, services)?;
        }
        maps.push(pair.there(&model)?);
        let (inverse, sense) = match pair.back(&model)? {
            Ok(graph) => (
                Some(Inverse { graph, kind: InverseKind::Approximate }),
                format!("approximate, by the {} map back", if choice.train { "trained" } else { "ridge" }),
            ),
            Err(reason) => (None, format!("none: {reason}")),
        };
        inverses.push(inverse);
        senses.insert(name, sense);
        chosen.record(name, choice.train, choice.schedule, pair.ridges);
        let steps = if choice.train { choice.schedule.steps } else { 0 };
        notes.insert(name, json!({ "trained": choice.train, "steps": steps, "held_out": choice.notes }));
    }
    let notes = json!({ "reference": start.names[reference], "pairs": notes, "inverses": senses });
    Ok(Learned { maps, inverses, parameters: chosen.to_json(), notes })
}

/// Chooses on rows held out, unless given, whether to train a pair, the weight of the cycle and the steps.
fn choose(
    method: &TranslatorMethod,
    parameters: &TranslatorParameters,
    views: &Views<'_>,
    modality: usize,
    services: &Services<'_>,
) -> Result<TranslatorChoice> {
    let name = &views.all()[modality].name;
    let views = pair_views(views, modality, views.reference(), None)?;
    let rows = paired_rows(&[&views.all()[0].rows, &views.all()[1].rows], &[(0, 1)]);
    let fitted = rows.iter().filter(|row| views.validation().binary_search(row).is_err()).count();
    let given = parameters.cycle_of(name);
    let schedule = Schedule { cycle: given.unwrap_or(WEIGHTS[0]), steps: parameters.steps_of(name, fitted) };
    if let Some(train) = parameters.train_of(name) {
        let notes = json!("none: `train` says whether the pair is trained");
        return Ok(TranslatorChoice { train, schedule, notes });
    }
    let Some(holdout) = Holdout::new(&views, services.seed())? else {
        let notes = format!("none: {fitted} rows are fewer than {FEWEST}, so the ridge pair is returned");
        return Ok(TranslatorChoice { train: false, schedule, notes: json!(notes) });
    };
    let closed_form_views = holdout.closed_form_views(&views)?;
    let cca = fit_start(&closed_form_views, &CcaParams::default(), services)?;
    let held_out = &holdout.held_out;
    let mut comparison = MapComparison::new(&closed_form_views, held_out, &cca, services)?;
    let start = TranslatorStart::fit(&closed_form_views, &holdout.training, parameters, services)?;
    let pair = TranslatorPair::fit(&start, &closed_form_views, &holdout.training, 0, parameters, services)?;
    let ridge_model = TranslatorNetworks::new(&pair.matrices, parameters.hidden, services.seed())?;
    let before = pair.images(&ridge_model, held_out, services)?;
    let recall = comparison.add("ridge pair", &before.scored)?.early_recall;
    let error = (recall * (1.0 - recall) / (2.0 * comparison.rows())).sqrt();
    let mut trials = Vec::new();
    for cycle in given.map_or(WEIGHTS.to_vec(), |cycle| vec![cycle]) {
        let mut model = ridge_model.clone();
        let report =
            pair.train(&mut model, parameters, Schedule { cycle, ..schedule }, Some(held_out), services)?;
        let PairImages { scored, lost } = pair.images(&model, held_out, services)?;
        let reached = comparison.add(&format!("{}, cycle {cycle}", method.id), &scored)?.early_recall;
        let steps = report.best_step;
        let better = steps > 0 && lost[0] < before.lost[0] && reached >= recall - error;
        trials.push(TranslatorTrial { cycle, lost, recall: reached, steps, better });
        if better {
            break;
        }
    }
    let ridge = TranslatorTrial { cycle: 0.0, lost: before.lost, recall, steps: 0, better: false };
    let best = trials.last().filter(|trial| trial.better);
    let verdict = verdict(&ridge, error, best, views.names()[1]);
    let against = comparison.verdict(method.id, "the trained pair");
    services.log(Level::Info, &verdict);
    services.log(Level::Info, &against);
    let schedule = best.map_or(schedule, |trial| Schedule { cycle: trial.cycle, steps: trial.steps });
    let train = best.is_some();
    let notes = json!({
        "verdict": verdict, "against_closed_forms": against, "ridge_pair": ridge, "trials": trials,
        "comparison": comparison.table(),
    });
    Ok(TranslatorChoice { train, schedule, notes })
}

/// The figures of one pair of maps on the rows held out.
#[derive(Debug, Clone, Copy, Serialize)]
struct TranslatorTrial {
    cycle: f64,
    /// The share of the variance lost in a round trip, from the modality and from the reference.
    lost: [f64; 2],
    /// Mean of recall@1 to recall@20.
    recall: f64,
    steps: u64,
    better: bool,
}

/// States which pair is returned and why.
fn verdict(ridge: &TranslatorTrial, error: f64, best: Option<&TranslatorTrial>, reference: &str) -> String {
    let figures = |trial: &TranslatorTrial| {
        let [own, other] = trial.lost.map(|share| 100.0 * share);
        format!(
            "loses {own:.1} % of the variance on a round trip, {other:.1} % from {reference}, at a mean \
             recall@1..20 of {:.4}",
            trial.recall
        )
    };
    let base = format!("the ridge pair {} (standard error {error:.4})", figures(ridge));
    match best {
        Some(trial) => {
            let trained = figures(trial);
            format!("{base}; the trained pair, with cycle = {}, {trained}, and is returned", trial.cycle)
        }
        None => {
            format!("{base}; no trained pair loses less at an equal recall: the ridge pair is returned")
        }
    }
}
