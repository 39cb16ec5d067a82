//! The fit: ridge there and back, trained further as a pair, and delivered only when rows held out say that the trained pair
//! comes back better and finds as well.
//!
//! A fifth of the rows is held out. On the rest both ridges are fitted and the pair is trained, early stopping by the loss. The
//! trained pair wins when its round trip from the source loses less than the ridge pair's and its recall is at most one standard
//! error lower: of several weights of the cycle the heaviest that does. Then everything is fitted again on all rows, for that many
//! steps. With `train` given nothing is held out.

use chiasm_learned::contest::{self, Contest, FEWEST, Held};
use chiasm_plugin::ndarray::{Array2, ArrayView2};
use chiasm_plugin::{Inputs, Inverse, InverseKind, Json, Learned, Level, Result, Services, json};
use serde::Serialize;

use crate::model::Model;
use crate::pair::Pair;
use crate::settings::Settings;

/// Weights of the cycle that are tried, the first that keeps recall is taken.
const WEIGHTS: [f64; 4] = [1.0, 0.3, 0.1, 0.03];

/// What the rows held out said.
struct Choice {
    train: bool,
    cycle: Option<f64>,
    steps: u64,
    notes: Json,
}

/// The fit of a recipe's `[align]`.
pub(crate) fn fit(data: &Inputs<'_>, parameters: &Json, services: &Services<'_>) -> Result<Learned> {
    let mut settings = Settings::read(parameters)?;
    let sides = [data.matrix("source.pooled")?, data.matrix("target.pooled")?];
    let choice = choose(&settings, sides, services)?;
    settings.cycle = choice.cycle;
    let pair = Pair::fit(&settings, sides, services)?;
    let mut model = Model::new(&pair.starts, settings.hidden, services.seed())?;
    if choice.train {
        pair.train(&mut model, &settings, choice.steps, None, services)?;
    }
    let (inverse, said) = match pair.back(&model)? {
        Ok(graph) => (
            Some(Inverse { graph, kind: InverseKind::Approximate }),
            "the map back, trained or ridge".to_owned(),
        ),
        Err(reason) => (None, format!("none: {reason}")),
    };
    let learned = Learned {
        source: pair.there(&model, "x")?,
        target: pair.target("y")?,
        inverse,
        parameters: Json::Null,
        notes: json!({ "trained": choice.train, "steps": choice.steps, "held_out": choice.notes, "inverse": said }),
    };
    let [source_curve, target_curve] = pair.curves.map(Some);
    let chosen = Settings {
        train: Some(choice.train),
        steps: Some(choice.steps),
        ridges: Some(pair.ridges),
        source_curve,
        target_curve,
        ..settings
    };
    Ok(Learned { parameters: json!(chosen), ..learned })
}

/// Whether to train and for how long, by rows held out, unless that is given.
fn choose(settings: &Settings, sides: [ArrayView2<'_, f32>; 2], services: &Services<'_>) -> Result<Choice> {
    let rows = sides[0].nrows();
    let steps = settings.steps_for(rows);
    if let Some(train) = settings.train {
        return Ok(Choice {
            train,
            cycle: settings.cycle,
            steps,
            notes: json!("none: the parameters say which pair is delivered"),
        });
    }
    let Some(held) = Held::out(sides[0], sides[1], services.seed())? else {
        let notes = format!("none: {rows} rows are fewer than {FEWEST}, so the ridge pair is delivered");
        return Ok(Choice { train: false, cycle: settings.cycle, steps, notes: json!(notes) });
    };
    let training = held.training.each_ref().map(Array2::view);
    let start = contest::start(training, &Json::Null, settings.blocks(), services)?;
    let mut contest = Contest::open(&held, &start, settings.blocks(), services)?;
    let pair = Pair::fit(settings, training, services)?;
    let ridge = Model::new(&pair.starts, settings.hidden, services.seed())?;
    let images = |model: &Model| pair.images(model, &held.validation, services);
    let before = images(&ridge)?;
    let recall = contest.enter("ridge pair", &before.scored)?.early_recall;
    let error = (recall * (1.0 - recall) / (2.0 * held.validation[0].nrows() as f64)).sqrt();
    let mut tried = Vec::new();
    for weight in settings.cycle.map_or(WEIGHTS.to_vec(), |weight| vec![weight]) {
        let mut model = ridge.clone();
        let one = Settings { cycle: Some(weight), ..settings.clone() };
        let report = pair.train(&mut model, &one, steps, Some(&held.validation), services)?;
        let after = images(&model)?;
        let reached = contest.enter(&format!("cycle {weight}"), &after.scored)?.early_recall;
        let good = report.best_step > 0 && after.lost[0] < before.lost[0] && reached >= recall - error;
        tried.push(Trial { cycle: weight, lost: after.lost, recall: reached, steps: report.best_step, good });
        if good {
            break;
        }
    }
    let ridge = Trial { cycle: 0.0, lost: before.lost, recall, steps: 0, good: false };
    let chosen = tried.last().filter(|trial| trial.good);
    let verdict = verdict(&ridge, error, chosen);
    let against = contest.verdict("cycle", "the trained pair");
    services.log(Level::Info, &verdict);
    services.log(Level::Info, &against);
    let notes = json!({
        "verdict": verdict,
        "against_closed_forms": against,
        "ridge_pair": ridge,
        "tried": tried,
        "contest": contest.table(),
    });
    let (cycle, steps) = chosen.map_or((settings.cycle, 1), |trial| (Some(trial.cycle), trial.steps));
    Ok(Choice { train: chosen.is_some(), cycle, steps, notes })
}

/// What one pair reached on the rows held out.
#[derive(Debug, Clone, Copy, Serialize)]
struct Trial {
    cycle: f64,
    /// The share of the variance lost on the way there and back, from the source and from the target.
    lost: [f64; 2],
    /// Mean of recall@1 to recall@20.
    recall: f64,
    steps: u64,
    good: bool,
}

/// Which pair is delivered and why.
fn verdict(ridge: &Trial, error: f64, chosen: Option<&Trial>) -> String {
    let loses = |trial: &Trial| {
        let [source, target] = trial.lost.map(|share| 100.0 * share);
        format!(
            "loses {source:.1} % of the source's and {target:.1} % of the target's variance on a round trip, at a mean \
             recall@1..20 of {:.4}",
            trial.recall
        )
    };
    let base = format!("the ridge pair {} (standard error {error:.4})", loses(ridge));
    match chosen {
        Some(trial) => {
            format!(
                "{base}; the trained pair, with cycle = {}, {}, and is delivered",
                trial.cycle,
                loses(trial)
            )
        }
        None => {
            format!("{base}; no trained pair came back better and found as well: the ridge pair is delivered")
        }
    }
}
