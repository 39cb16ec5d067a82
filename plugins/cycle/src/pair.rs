//! The ridge pair: where the training starts, what it is measured against, and the graphs of either.

use chiasm_closed_form::ridge::RidgeParams;
use chiasm_closed_form::{Conduct, Fitted, Front, Method, Pairs};
use chiasm_geometry::linalg::product;
use chiasm_learned::contest::Sides;
use chiasm_learned::{apply, refuse, tensor};
use chiasm_plugin::graph::{Builder, DType, Dim, Graph, TensorRef};
use chiasm_plugin::ndarray::{Array2, ArrayView2, Axis};
use chiasm_plugin::objective::{Length, Options, Report, Rows};
use chiasm_plugin::{Json, Result, Services, json, read_parameters};

use crate::model::{Model, SIDES, sphere};
use crate::settings::Settings;

/// Checks of the validation loss in a training.
const CHECKS: u64 = 20;
/// Checks without a better one that end it.
const PATIENCE: u64 = 8;

/// The ridge pair on some rows.
pub(crate) struct Pair {
    fronts: [Front; 2],
    pub starts: [Array2<f64>; 2],
    coordinates: Sides,
    pub ridges: [f64; 2],
    pub curves: [String; 2],
}

/// What a pair makes of rows held out.
pub(crate) struct Images {
    /// Unit rows of both sides, as they are scored.
    pub scored: Sides,
    /// The share of the variance lost on the way there and back, from the source and from the target.
    pub lost: [f64; 2],
}

impl Pair {
    /// Both ridges, each with what cross-validation chooses for it unless given.
    pub(crate) fn fit(
        settings: &Settings,
        sides: [ArrayView2<'_, f32>; 2],
        services: &Services<'_>,
    ) -> Result<Self> {
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

    pub(crate) fn train(
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

    pub(crate) fn images(&self, model: &Model, rows: &Sides, services: &Services<'_>) -> Result<Images> {
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
    pub(crate) fn there(&self, model: &Model, input: &str) -> Result<Graph> {
        let map = model.maps[0].graph("u", "out")?;
        let joined = self.fronts[0].graph(input).map_err(refuse)?.join(&map, &[("u", "u")])?;
        Ok(joined.join(&unit_graph("out", model.maps[0].shape().output)?, &[("out", "out")])?)
    }

    /// The target's rows to unit rows `z`.
    pub(crate) fn target(&self, input: &str) -> Result<Graph> {
        let front = self.fronts[1].graph(input).map_err(refuse)?;
        Ok(front.join(&unit_graph("u", self.fronts[1].coordinates())?, &[("u", "u")])?)
    }

    /// Unit rows `z` back to the source's rows, or why that cannot be.
    pub(crate) fn back(&self, model: &Model) -> Result<Result<Graph, String>> {
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
