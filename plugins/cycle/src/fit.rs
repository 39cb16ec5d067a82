//! The fit: ridge there and back, trained further as a pair, and delivered only when rows held out say that the trained pair
//! comes back better and finds as well.
//!
//! A fifth of the rows is held out. On the rest both ridges are fitted and the pair is trained, early stopping by the loss. The
//! trained pair wins when its round trip from the source loses less than the ridge pair's and its recall is at most one standard
//! error lower: of several weights of the cycle the heaviest that does. Then everything is fitted again on all rows, for that many
//! steps. With `train` given nothing is held out.

use chiasm_closed_form::ridge::RidgeParams;
use chiasm_closed_form::{Conduct, Fitted, Front, Method, Pairs};
use chiasm_geometry::linalg::product;
use chiasm_learned::contest::{self, Contest, FEWEST, Held, Sides};
use chiasm_learned::{apply, refuse, tensor};
use chiasm_plugin::graph::{Builder, DType, Dim, Graph, TensorRef};
use chiasm_plugin::ndarray::{Array2, ArrayView2, Axis};
use chiasm_plugin::objective::{Length, Options, Report, Rows};
use chiasm_plugin::{
    Inputs, Inverse, InverseKind, Json, Learned, Level, Result, Services, json, read_parameters,
};

use crate::model::{Model, SIDES, sphere};
use crate::settings::Settings;

/// Checks of the validation loss in a training.
const CHECKS: u64 = 20;
/// Weights of the cycle that are tried, the first that keeps recall is taken.
const WEIGHTS: [f64; 4] = [1.0, 0.3, 0.1, 0.03];
/// Checks without a better one that end it.
const PATIENCE: u64 = 8;

/// The ridge pair on some rows.
struct Pair {
    fronts: [Front; 2],
    starts: [Array2<f64>; 2],
    coordinates: Sides,
    ridges: [f64; 2],
    curves: [String; 2],
}

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
    let mut chosen = None;
    for weight in settings.cycle.map_or(WEIGHTS.to_vec(), |weight| vec![weight]) {
        let mut model = ridge.clone();
        let one = Settings { cycle: Some(weight), ..settings.clone() };
        let report = pair.train(&mut model, &one, steps, Some(&held.validation), services)?;
        let after = images(&model)?;
        let reached = contest.enter(&format!("cycle {weight}"), &after.scored)?.early_recall;
        tried.push(json!({
            "cycle": weight, "lost": after.lost, "mean_recall@1..20": reached, "training": report.sentence(),
        }));
        if report.best_step > 0 && after.lost[0] < before.lost[0] && reached >= recall - error {
            chosen = Some((weight, report.best_step, after.lost, reached));
            break;
        }
    }
    let percent = |lost: [f64; 2]| lost.map(|share| format!("{:.1} %", 100.0 * share));
    let [from_source, from_target] = percent(before.lost);
    let base = format!(
        "the ridge pair's round trips lose {from_source} of the source's variance and {from_target} of the target's, at a mean recall@1..20 of {recall:.4} (standard error {error:.4})"
    );
    let verdict = match chosen {
        Some((weight, _, lost, reached)) => {
            let [from_source, from_target] = percent(lost);
            format!(
                "{base}; the trained pair, with cycle = {weight}, loses {from_source} and {from_target} at {reached:.4}, and is delivered"
            )
        }
        None => format!(
            "{base}; no trained pair came back better and found as well, so the ridge pair is delivered"
        ),
    };
    services.log(Level::Info, &verdict);
    let notes = json!({
        "verdict": verdict,
        "against_closed_forms": contest.verdict("cycle", "the trained pair"),
        "round_trip_lost": { "ridge pair": before.lost, "tried": tried },
        "contest": contest.table(),
    });
    let (cycle, steps) = chosen.map_or((settings.cycle, 1), |(weight, steps, ..)| (Some(weight), steps));
    Ok(Choice { train: chosen.is_some(), cycle, steps, notes })
}

/// What a pair makes of rows held out.
struct Images {
    /// Unit rows of both sides, as they are scored.
    scored: Sides,
    /// The share of the variance lost on the way there and back, from the source and from the target.
    lost: [f64; 2],
}

impl Pair {
    /// Both ridges, each with what cross-validation chooses for it unless given.
    fn fit(settings: &Settings, sides: [ArrayView2<'_, f32>; 2], services: &Services<'_>) -> Result<Self> {
        let given = |at: usize| settings.ridges.map(|ridges| ridges[at]);
        let [x, y] = sides;
        let there = ridge(
            [x, y],
            services,
            json!({
                "direction": "source-to-target", "ridge": given(0),
                "source_blocks": settings.source_blocks, "target_blocks": settings.target_blocks,
                "source_curve": settings.source_curve, "target_curve": settings.target_curve,
            }),
        )?;
        let chosen = json!(there.parameters);
        let back = ridge(
            [y, x],
            services,
            json!({
                "direction": "source-to-target", "ridge": given(1),
                "source_blocks": settings.target_blocks, "target_blocks": settings.source_blocks,
                "source_curve": chosen["target_curve"], "target_curve": chosen["source_curve"],
            }),
        )?;
        let number = |fitted: &Fitted<RidgeParams>| json!(fitted.parameters)["ridge"].as_f64().unwrap_or(1.0);
        let text = |key: &str| chosen[key].as_str().unwrap_or_default().to_owned();
        let ridges = [number(&there), number(&back)];
        let curves = [text("source_curve"), text("target_curve")];
        let fronts =
            [Front::new(&there.source, x).map_err(refuse)?, Front::new(&there.target, y).map_err(refuse)?];
        let rows = |at: usize, rows| apply(services, &fronts[at].graph("rows").map_err(refuse)?, rows);
        let coordinates = [rows(0, x)?, rows(1, y)?];
        let [u, v] = coordinates.each_ref().map(|rows| rows.mapv(f64::from));
        let starts = [regression(&u, &v, ridges[0])?, regression(&v, &u, ridges[1])?];
        Ok(Self { fronts, starts, coordinates, ridges, curves })
    }

    fn train(
        &self,
        model: &mut Model,
        settings: &Settings,
        steps: u64,
        validation: Option<&Sides>,
        services: &Services<'_>,
    ) -> Result<Report> {
        let coordinates = |at: usize, rows: ArrayView2<'_, f32>| {
            tensor(apply(services, &self.fronts[at].graph("rows").map_err(refuse)?, rows)?.view())
        };
        let own = [tensor(self.coordinates[0].view())?, tensor(self.coordinates[1].view())?];
        let judged = match validation {
            Some([x, y]) => vec![coordinates(0, x.view())?, coordinates(1, y.view())?],
            None => Vec::new(),
        };
        let training: Vec<_> = SIDES.into_iter().zip(own.iter().map(TensorRef::from)).collect();
        let validation: Vec<_> = SIDES.into_iter().zip(judged.iter().map(TensorRef::from)).collect();
        let options = Options {
            learning_rate: settings.learning_rate,
            weight_decay: settings.weight_decay,
            length: Length::Steps(steps),
            batch: settings.batch,
            warmup: steps / 10,
            validation: 0.0,
            check_every: Some(steps.div_ceil(CHECKS)),
            patience: Some(PATIENCE),
            seed: services.seed(),
            ..Options::default()
        };
        let rows = Rows { training: &training, validation: &validation };
        let trained = services.train(&model.objective(settings)?, &rows, &options)?;
        model.take(&trained.weights)?;
        Ok(trained.report)
    }

    fn images(&self, model: &Model, rows: &Sides, services: &Services<'_>) -> Result<Images> {
        let scored = [
            apply(services, &self.there(model, "x")?, rows[0].view())?,
            apply(services, &self.target("y")?, rows[1].view())?,
        ];
        let front =
            |at: usize| apply(services, &self.fronts[at].graph("rows").map_err(refuse)?, rows[at].view());
        let scale = (scored[0].ncols() as f32).sqrt();
        let on_sphere = |rows: &Array2<f32>| rows * scale;
        let [there, back] = [model.maps[0].graph("rows", "out")?, model.maps[1].graph("rows", "out")?];
        let round_u = apply(services, &back, on_sphere(&scored[0]).view())?;
        let back_w = apply(services, &back, on_sphere(&scored[1]).view())?;
        let round_w = unit(apply(services, &there, back_w.view())?) * scale;
        Ok(Images { lost: [lost(&round_u, &front(0)?), lost(&round_w, &on_sphere(&scored[1]))], scored })
    }

    /// `input` to unit rows `z`.
    fn there(&self, model: &Model, input: &str) -> Result<Graph> {
        let map = model.maps[0].graph("u", "out")?;
        let joined = self.fronts[0].graph(input).map_err(refuse)?.join(&map, &[("u", "u")])?;
        Ok(joined.join(&unit_graph("out", model.maps[0].shape().output)?, &[("out", "out")])?)
    }

    /// The target's rows to unit rows `z`.
    fn target(&self, input: &str) -> Result<Graph> {
        let front = self.fronts[1].graph(input).map_err(refuse)?;
        Ok(front.join(&unit_graph("u", self.fronts[1].coordinates())?, &[("u", "u")])?)
    }

    /// Unit rows `z` back to the source's rows, or why that cannot be.
    fn back(&self, model: &Model) -> Result<Result<Graph, String>> {
        let back = match self.fronts[0].back("x").map_err(refuse)? {
            Ok(back) => back,
            Err(reason) => return Ok(Err(reason)),
        };
        let width = model.maps[1].shape().input;
        let mut b = Builder::new("sphere");
        let dims = [Dim::named("batch"), width.into()];
        let z = b.input("z", DType::F32, &dims)?;
        let w = sphere(&mut b, &z, width);
        b.output("w", &w, DType::F32, &dims);
        let map = model.maps[1].graph("w", "u")?;
        Ok(Ok(b.finish()?.join(&map, &[("w", "w")])?.join(&back, &[("u", "u")])?))
    }
}

/// A ridge fit with these parameters.
fn ridge(
    sides: [ArrayView2<'_, f32>; 2],
    services: &Services<'_>,
    given: Json,
) -> Result<Fitted<RidgeParams>> {
    let progress = |done, total| services.progress(done, total).is_ok();
    let conduct = Conduct { seed: services.seed(), progress: &progress };
    let parameters: RidgeParams = read_parameters(&given)?;
    Pairs::new(sides[0], sides[1]).and_then(|pairs| parameters.fit_pairs(pairs, conduct)).map_err(refuse)
}

/// Ridge regression between principal coordinates, which do not correlate: diag(1 / (cᵢ + r c₁)) UᵀV / n.
fn regression(from: &Array2<f64>, to: &Array2<f64>, ridge: f64) -> Result<Array2<f64>> {
    let n = from.nrows() as f64;
    let variances = (from * from).sum_axis(Axis(0)) / n;
    let top = variances.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let shrunk = variances.mapv(|variance| 1.0 / (n * (variance + ridge * top)));
    Ok(product(&from.t(), to)? * &shrunk.insert_axis(Axis(1)))
}

/// `input` rows to unit rows `z`.
fn unit_graph(input: &str, width: usize) -> Result<Graph> {
    let mut b = Builder::new("unit");
    let dims = [Dim::named("batch"), width.into()];
    let rows = b.input(input, DType::F32, &dims)?;
    let z = b.l2_normalise(&rows, -1, 1e-12);
    b.output("z", &z, DType::F32, &dims);
    Ok(b.finish()?)
}

fn unit(mut rows: Array2<f32>) -> Array2<f32> {
    for mut row in rows.outer_iter_mut() {
        let length = row.dot(&row).sqrt().max(1e-12);
        row /= length;
    }
    rows
}

/// The squared error as a share of the squares.
fn lost(got: &Array2<f32>, expected: &Array2<f32>) -> f64 {
    let sum = |rows: &Array2<f32>| rows.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    sum(&(got - expected)) / sum(expected).max(f64::MIN_POSITIVE)
}
