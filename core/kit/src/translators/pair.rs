//! One modality and the reference: the ridge pair from which training starts, and the graphs of a pair.

use crate::{ItemSubset, TrainingExamples, apply, plugin_error};
use chiasm_closed_form::Views;
use chiasm_geometry::linalg::unit_rows;
use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Tensor, TensorRef};
use chiasm_plugin::ndarray::{Array2, ArrayView2};
use chiasm_plugin::objective::{TrainingLength, TrainingOptions, TrainingReport, TrainingRows};
use chiasm_plugin::{Error, Result, Services};

use super::model::{PORTS, TranslatorNetworks, TranslatorObjective, sphere};
use super::parameters::{Schedule, TranslatorParameters};
use super::start::{TranslatorStart, regression};

/// Number of checks of the validation loss in a training.
const CHECKS: u64 = 20;
/// Number of checks without improvement that end it.
const PATIENCE: u64 = 8;

/// The ridge pair of a modality and the reference, on their training items.
pub(super) struct TranslatorPair<'a> {
    start: &'a TranslatorStart,
    /// The places of the modality and of the reference.
    sides: [usize; 2],
    /// The rows of the training items of both.
    rows: [Vec<usize>; 2],
    /// The matrices of the ridge pair, there and back, in principal coordinates.
    pub matrices: [Array2<f64>; 2],
    /// The ridges of the regressions there and back.
    pub ridges: [f64; 2],
}

/// The images of held-out items under a pair of maps.
pub(super) struct PairImages {
    /// Unit rows of both modalities, as they are scored.
    pub scored: [Array2<f32>; 2],
    /// The share of the variance lost in a round trip, from the modality and from the reference.
    pub lost: [f64; 2],
}

impl<'a> TranslatorPair<'a> {
    /// Fits the ridge pair of a modality and the reference. The ridge of the map back is chosen unless given.
    pub(super) fn fit(
        start: &'a TranslatorStart,
        views: &Views<'_>,
        training: &ItemSubset<'_>,
        modality: usize,
        parameters: &TranslatorParameters,
        services: &Services<'_>,
    ) -> Result<Self> {
        let sides = [modality, start.reference];
        let name = &start.names[modality];
        let rows = sides.map(|side| training.rows[side].as_slice());
        let examples = TrainingExamples::new(&rows, &[(0, 1)], false);
        if examples.len() < 2 {
            return Err(Error::invalid(format!(
                "modality `{name}`: expected at least 2 rows that also hold `{}`, got {}",
                start.names[start.reference],
                examples.len()
            )));
        }
        let there = start.ridge_onto_reference(name)?;
        let back = start.back_ridge(views, modality, parameters, services)?;
        let mut own = Vec::new();
        for (place, side) in sides.into_iter().enumerate() {
            let selected = examples.select(place, start.coordinates[side].view())?;
            own.push(crate::matrix(selected)?.mapv(f64::from));
        }
        let matrices = [
            regression(&own[0], &own[1], examples.weights(), there)?,
            regression(&own[1], &own[0], examples.weights(), back)?,
        ];
        Ok(Self { start, sides, rows: rows.map(<[usize]>::to_vec), matrices, ridges: [there, back] })
    }

    /// Trains the maps. If there are items to validate on, the weights of the best check are kept.
    pub(super) fn train(
        &self,
        model: &mut TranslatorNetworks,
        parameters: &TranslatorParameters,
        schedule: Schedule,
        validation: Option<&ItemSubset<'_>>,
        services: &Services<'_>,
    ) -> Result<TrainingReport> {
        let weights = parameters.terms.cycle(schedule.cycle);
        let examples = TrainingExamples::new(
            &self.rows.each_ref().map(Vec::as_slice),
            &[(0, 1)],
            weights.uses_unpaired(),
        );
        weights.check_neighbours(&parameters.settings, examples.len().min(parameters.batch))?;
        let held_out =
            validation.map(|items| (items, TrainingExamples::new(&items.row_lists(), &[(0, 1)], false)));
        let masked = !examples.are_complete()
            || held_out.as_ref().is_some_and(|(_, examples)| !examples.are_complete());
        let own = self.sides.map(|side| self.start.coordinates[side].view());
        let own = batch(&examples, own, masked)?;
        let held_out = match &held_out {
            Some((items, examples)) => {
                let coordinates =
                    self.coordinates([items.items[0].view(), items.items[1].view()], services)?;
                batch(examples, coordinates.each_ref().map(Array2::view), masked)?
            }
            None => Vec::new(),
        };
        let options = TrainingOptions {
            learning_rate: parameters.learning_rate,
            weight_decay: parameters.weight_decay,
            length: TrainingLength::Steps(schedule.steps),
            batch: parameters.batch,
            warmup: schedule.steps / 10,
            validation: 0.0,
            check_every: Some(schedule.steps.div_ceil(CHECKS)),
            patience: Some(PATIENCE),
            seed: services.seed(),
            ..TrainingOptions::default()
        };
        let (own, held_out) = (borrowed(&own), borrowed(&held_out));
        let rows = TrainingRows { training: &own, validation: &held_out };
        let objective = TranslatorObjective {
            terms: weights.active(),
            settings: parameters.settings,
            tau: parameters.tau,
            batch: parameters.batch,
            masked,
        };
        let trained = services.train(&model.objective(&objective)?, &rows, &options)?;
        model.load(&trained.weights)?;
        Ok(trained.report)
    }

    /// Maps the items of both modalities, and measures the loss of round trips.
    pub(super) fn images(
        &self,
        model: &TranslatorNetworks,
        items: &ItemSubset<'_>,
        services: &Services<'_>,
    ) -> Result<PairImages> {
        let [first, second] = [items.items[0].view(), items.items[1].view()];
        let scored = [
            apply(services, &self.there(model)?, first)?,
            apply(services, &reference_map(self.start)?, second)?,
        ];
        let [u, _] = self.coordinates([first, second], services)?;
        let scale = (scored[0].ncols() as f32).sqrt();
        let on_sphere = |rows: &Array2<f32>| rows * scale;
        let [there, back] = [model.maps[0].graph("rows", "out")?, model.maps[1].graph("rows", "out")?];
        let cycle_u = apply(services, &back, on_sphere(&scored[0]).view())?;
        let back_w = apply(services, &back, on_sphere(&scored[1]).view())?;
        let cycle_w = unit_rows(apply(services, &there, back_w.view())?) * scale;
        Ok(PairImages { lost: [lost(&cycle_u, &u), lost(&cycle_w, &on_sphere(&scored[1]))], scored })
    }

    /// The map of the modality, `x` to unit rows `z`.
    pub(super) fn there(&self, model: &TranslatorNetworks) -> Result<Graph> {
        let map = model.maps[0].graph("u", "out")?;
        let projection = self.start.projections[self.sides[0]].graph().map_err(plugin_error)?;
        let joined = projection.join(&map, &[("u", "u")])?;
        Ok(joined.join(&unit_graph("out", model.maps[0].shape().output)?, &[("out", "out")])?)
    }

    /// Returns the map from unit rows `z` back to items, or the reason why there is none.
    pub(super) fn back(&self, model: &TranslatorNetworks) -> Result<Result<Graph, String>> {
        let undo = match self.start.projections[self.sides[0]].inverse().map_err(plugin_error)? {
            Ok(undo) => undo,
            Err(reason) => return Ok(Err(reason)),
        };
        let width = model.maps[1].shape().input;
        let mut b = Builder::new("sphere");
        let dims = [Dim::named("batch"), width.into()];
        let z = b.input("z", DType::F32, &dims)?;
        let w = sphere(&mut b, &z, width);
        b.output("w", &w, DType::F32, &dims);
        let map = model.maps[1].graph("w", "u")?;
        Ok(Ok(b.finish()?.join(&map, &[("w", "w")])?.join(&undo, &[("u", "u")])?))
    }

    /// Items of both modalities in the coordinates of their projections.
    fn coordinates(
        &self,
        items: [ArrayView2<'_, f32>; 2],
        services: &Services<'_>,
    ) -> Result<[Array2<f32>; 2]> {
        let of = |side: usize, items| {
            apply(services, &self.start.projections[side].graph().map_err(plugin_error)?, items)
        };
        Ok([of(self.sides[0], items[0])?, of(self.sides[1], items[1])?])
    }
}

/// The map of the reference, `x` to unit rows `z`.
pub(super) fn reference_map(start: &TranslatorStart) -> Result<Graph> {
    let projection = &start.projections[start.reference];
    let graph = projection.graph().map_err(plugin_error)?;
    Ok(graph.join(&unit_graph("u", projection.coordinates())?, &[("u", "u")])?)
}

/// The examples as tensors of the batch ports.
fn batch(
    examples: &TrainingExamples,
    coordinates: [ArrayView2<'_, f32>; 2],
    masked: bool,
) -> Result<Vec<(String, Tensor)>> {
    let mut tensors = Vec::new();
    for (place, (port, coordinates)) in PORTS.iter().zip(coordinates).enumerate() {
        tensors.push(((*port).to_owned(), examples.select(place, coordinates)?));
    }
    if masked {
        tensors.extend(examples.mask_tensors(&PORTS)?);
    }
    Ok(tensors)
}

fn borrowed(batch: &[(String, Tensor)]) -> Vec<(&str, TensorRef<'_>)> {
    batch.iter().map(|(name, tensor)| (name.as_str(), TensorRef::from(tensor))).collect()
}

/// `input` rows to unit rows `z`.
fn unit_graph(input: &str, width: usize) -> Result<Graph> {
    let mut b = Builder::new("unit");
    let dims = [Dim::named("batch"), width.into()];
    let rows = b.input(input, DType::F32, &dims)?;
    let z = b.l2_normalise(&rows, -1, crate::LEAST_LENGTH);
    b.output("z", &z, DType::F32, &dims);
    Ok(b.finish()?)
}

/// The squared error as a share of the squares.
fn lost(got: &Array2<f32>, expected: &Array2<f32>) -> f64 {
    let sum = |rows: &Array2<f32>| rows.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    sum(&(got - expected)) / sum(expected).max(f64::MIN_POSITIVE)
}
