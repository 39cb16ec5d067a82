//! The fit: choose on rows held out, then train on all.
//!
//! 1. A fifth of the rows is held out. The closed forms and the networks are fitted on the rest, and rsum on the rows held out says
//!    which share of the score the networks get: 0 (the start alone), 0.5 or 1. What is delivered is therefore never worse there
//!    than its own start. The step size falls to zero over a fixed number of steps; early stopping by the loss on the rows held out is
//!    offered, but on a few hundred pairs it ends at a tenth of the way, where recall is still rising.
//! 2. The start and the networks are fitted again on all rows, for that many steps, and joined: with unit images zᵢ and shares
//!    wᵢ the image is the concatenation of sqrt(wᵢ) zᵢ, whose dot product is the mean of the members' scores.
//!
//! With `blend` given there is nothing to choose and the first part is left out.

use chiasm_closed_form::cca::CcaParams;
use chiasm_closed_form::{Fitted, Front};
use chiasm_learned::contest::{self, Contest, FEWEST, Held};
use chiasm_learned::{apply, inverse_kind, refuse, tensor};
use chiasm_plugin::graph::{Tensor, TensorRef};
use chiasm_plugin::ndarray::{Array2, ArrayView2};
use chiasm_plugin::objective::{Length, Options, Report, Rows};
use chiasm_plugin::{Inputs, Inverse, InverseKind, Json, Learned, Level, Result, Services, json};

use crate::deliver::Ensemble;
use crate::model::{Model, SIDES};
use crate::settings::Settings;

/// Shares of the networks in the score that are tried beside none.
const BLENDS: [f64; 2] = [0.5, 1.0];
/// Checks of the validation loss in a training.
const CHECKS: u64 = 15;
/// Checks without a better one that end it.
const PATIENCE: u64 = 6;
/// What tells the members' seeds apart.
const APART: u64 = 0x9e37_79b9;

/// What the rows held out said.
struct Choice {
    blend: f64,
    steps: u64,
    notes: Json,
}

/// The fit of a recipe's `[align]`.
pub(crate) fn fit(data: &Inputs<'_>, parameters: &Json, services: &Services<'_>) -> Result<Learned> {
    let settings = Settings::read(parameters)?;
    let sides = [data.matrix("source.pooled")?, data.matrix("target.pooled")?];
    let start = contest::start(sides, &settings.start, settings.blocks(), services)?;
    let choice = choose(&settings, sides, services)?;
    let (source, target, inverse, said) = if choice.blend > 0.0 {
        let (ensemble, _) = Team::new(&start, &settings, sides, services)?.train(choice.steps, None)?;
        let (inverse, said) = ensemble.inverse(choice.blend)?;
        let inverse = inverse.map(|graph| Inverse { graph, kind: InverseKind::Approximate });
        (ensemble.graph(0, "x", choice.blend)?, ensemble.graph(1, "y", choice.blend)?, inverse, json!(said))
    } else {
        let made = start.deliver().map_err(refuse)?;
        let inverse = made.inverse.map(|way| Inverse { kind: inverse_kind(way.kind), graph: way.graph });
        (made.source, made.target, inverse, made.notes["inverse"].clone())
    };
    let notes =
        json!({ "blend": choice.blend, "steps": choice.steps, "held_out": choice.notes, "inverse": said });
    let chosen = Settings {
        blend: Some(choice.blend),
        steps: Some(choice.steps),
        start: contest::chosen(&start),
        ..settings
    };
    Ok(Learned { source, target, inverse, parameters: json!(chosen), notes })
}

/// The share of the networks and the steps, by rows held out, unless they are given.
fn choose(settings: &Settings, sides: [ArrayView2<'_, f32>; 2], services: &Services<'_>) -> Result<Choice> {
    let rows = sides[0].nrows();
    let steps = settings.steps_for(rows);
    if let Some(blend) = settings.blend {
        let notes = json!("none: the parameters say which share of the score the networks get");
        return Ok(Choice { blend, steps, notes });
    }
    let Some(held) = Held::out(sides[0], sides[1], services.seed())? else {
        let notes = format!("none: {rows} rows are fewer than {FEWEST}, so the start is delivered");
        return Ok(Choice { blend: 0.0, steps, notes: json!(notes) });
    };
    let training = held.training.each_ref().map(Array2::view);
    let start = contest::start(training, &settings.start, settings.blocks(), services)?;
    let mut contest = Contest::open(&held, &start, settings.blocks(), services)?;
    let team = Team::new(&start, settings, training, services)?;
    let (ensemble, reports) = team.train(steps, settings.early_stopping.then_some(&held.validation))?;
    // in this order, so that the start wins a tie
    let mut best = (0.0, contest.entry("cca").map_or(0.0, |entry| entry.rsum));
    for blend in BLENDS {
        let [x, y] = held.validation.each_ref().map(Array2::view);
        let images = [
            apply(services, &ensemble.graph(0, "x", blend)?, x)?,
            apply(services, &ensemble.graph(1, "y", blend)?, y)?,
        ];
        let rsum = contest.enter(&format!("mlp, blend {blend}"), &images)?.rsum;
        if rsum > best.1 {
            best = (blend, rsum);
        }
    }
    // without early stopping these are all steps, or those before a divergence
    let kept = reports.iter().map(|report| report.best_step).sum::<u64>() / reports.len().max(1) as u64;
    let verdict = contest.verdict("mlp", "the MLP");
    services.log(Level::Info, &verdict);
    let blend = if kept > 0 { best.0 } else { 0.0 };
    let delivered = match blend {
        0.0 => "the start alone, since no share of the networks was better on the rows held out".to_owned(),
        blend => format!("the networks with a share of {blend} in the score"),
    };
    let trainings: Vec<String> = reports.iter().map(Report::sentence).collect();
    let notes = json!({
        "verdict": verdict, "delivered": delivered, "contest": contest.table(), "trainings": trainings,
    });
    Ok(Choice { blend, steps: kept.max(1), notes })
}

/// Networks about to be trained: where they start, and the rows in their coordinates.
struct Team<'a> {
    fronts: [Front; 2],
    noise: [f64; 2],
    rows: [Tensor; 2],
    settings: &'a Settings,
    services: &'a Services<'a>,
}

impl<'a> Team<'a> {
    fn new(
        start: &Fitted<CcaParams>,
        settings: &'a Settings,
        sides: [ArrayView2<'_, f32>; 2],
        services: &'a Services<'a>,
    ) -> Result<Self> {
        let front = |side, rows| Front::new(side, rows).map_err(refuse);
        let fronts = [front(&start.source, sides[0])?, front(&start.target, sides[1])?];
        let ridges = settings.noise.or(start.parameters.ridges()).unwrap_or_default();
        let noise = [fronts[0].noise(ridges[0]), fronts[1].noise(ridges[1])];
        let rows =
            [coordinates(&fronts[0], sides[0], services)?, coordinates(&fronts[1], sides[1], services)?];
        Ok(Self { fronts, noise, rows, settings, services })
    }

    /// Trains every member; with rows to validate by, the weights of the best check are kept.
    fn train(self, steps: u64, validation: Option<&[Array2<f32>; 2]>) -> Result<(Ensemble, Vec<Report>)> {
        let judged = match validation {
            Some([x, y]) => vec![
                coordinates(&self.fronts[0], x.view(), self.services)?,
                coordinates(&self.fronts[1], y.view(), self.services)?,
            ],
            None => Vec::new(),
        };
        let training: Vec<(&str, TensorRef<'_>)> =
            SIDES.into_iter().zip(self.rows.iter().map(TensorRef::from)).collect();
        let validation: Vec<(&str, TensorRef<'_>)> =
            SIDES.into_iter().zip(judged.iter().map(TensorRef::from)).collect();
        let rows = Rows { training: &training, validation: &validation };
        let [source, target] = &self.fronts;
        let (mut members, mut reports) = (Vec::new(), Vec::new());
        for member in 0..self.settings.members as u64 {
            let seed = self.services.seed().wrapping_add(APART.wrapping_mul(member + 1));
            let mut model = Model::new([source, target], self.settings, seed)?;
            let objective = model.objective(self.settings, self.noise, seed)?;
            let options = Options {
                learning_rate: self.settings.learning_rate,
                weight_decay: self.settings.weight_decay,
                length: Length::Steps(steps),
                batch: self.settings.batch,
                warmup: steps / 10,
                validation: 0.0,
                check_every: Some(steps.div_ceil(CHECKS)),
                patience: Some(PATIENCE),
                seed,
                ..Options::default()
            };
            let trained = self.services.train(&objective, &rows, &options)?;
            model.take(&trained.weights)?;
            members.push(model);
            reports.push(trained.report);
        }
        Ok((Ensemble { fronts: self.fronts, members }, reports))
    }
}

/// Rows in a front's coordinates.
fn coordinates(front: &Front, rows: ArrayView2<'_, f32>, services: &Services<'_>) -> Result<Tensor> {
    tensor(apply(services, &front.graph("rows").map_err(refuse)?, rows)?.view())
}
