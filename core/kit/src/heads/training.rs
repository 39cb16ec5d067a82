//! The training of an ensemble on the principal coordinates of items.

use std::collections::BTreeMap;

use chiasm_closed_form::cca::Cca;
use chiasm_closed_form::{PrincipalProjection, Views};
use chiasm_plugin::graph::{Tensor, TensorRef};
use chiasm_plugin::ndarray::Array2;
use chiasm_plugin::objective::{TrainingLength, TrainingOptions, TrainingReport, TrainingRows};
use chiasm_plugin::{Error, Result, Services};

use super::ensemble::Ensemble;
use super::model::{HeadMember, projection_graph};
use super::objective::{HeadObjective, LABEL_PORT};
use super::parameters::HeadParameters;
use crate::terms::TermWeights;
use crate::{ItemSubset, TrainingExamples, apply, plugin_error};

/// Number of checks of the validation loss in a training.
const CHECKS: u64 = 15;
/// Number of checks without improvement that end it.
const PATIENCE: u64 = 6;
/// The difference between the seeds of consecutive members.
const SEED_STEP: u64 = 0x9e37_79b9;

/// The data and parameters of an ensemble's training.
pub(super) struct EnsembleTraining<'a, 's> {
    names: Vec<&'a str>,
    pairs: Vec<(usize, usize)>,
    projections: Vec<PrincipalProjection>,
    noise: Vec<f64>,
    items: &'a ItemSubset<'s>,
    parameters: &'a HeadParameters,
    weights: TermWeights,
    anchor: usize,
    labels: &'a BTreeMap<usize, usize>,
    services: &'a Services<'a>,
}

/// Tensors of a batch's ports, one row for each example.
type Batch = Vec<(String, Tensor)>;

impl<'a, 's> EnsembleTraining<'a, 's> {
    /// Prepares a training on these items from this start; `views` names the modalities, `labels` holds the
    /// class of rows.
    pub(super) fn new(
        (views, labels): (&'a Views<'_>, &'a BTreeMap<usize, usize>),
        items: &'a ItemSubset<'s>,
        start: &Cca,
        parameters: &'a HeadParameters,
        weights: TermWeights,
        services: &'a Services<'a>,
    ) -> Result<Self> {
        let names = views.names();
        let projections = start.maps.iter().zip(&items.items);
        let projections = projections
            .map(|(map, items)| PrincipalProjection::new(map, items.view()).map_err(plugin_error))
            .collect::<Result<Vec<_>>>()?;
        let chosen = start.parameters.ridges(&names).unwrap_or_else(|| vec![0.0; names.len()]);
        let noise = (names.iter().zip(&projections).zip(chosen))
            .map(|((name, projection), chosen)| {
                let given = parameters.noise.as_ref().and_then(|noise| noise.get(name));
                projection.noise(given.copied().unwrap_or(chosen))
            })
            .collect();
        let pairs = views.scored_pairs();
        let anchor = views.reference();
        Ok(Self { names, pairs, projections, noise, items, parameters, weights, anchor, labels, services })
    }

    /// Trains every member for `steps` steps. If there are items to validate on, the weights of the best
    /// check are kept.
    pub(super) fn run(
        self,
        steps: u64,
        validation: Option<&ItemSubset<'_>>,
    ) -> Result<(Ensemble, Vec<TrainingReport>)> {
        let unpaired = self.weights.uses_unpaired();
        let examples = TrainingExamples::new(&self.items.row_lists(), &self.pairs, unpaired);
        let pairs = examples.present_pairs(&self.pairs);
        let alone = (0..self.names.len()).find(|at| !pairs.iter().any(|&(a, b)| a == *at || b == *at));
        if let Some(at) = alone {
            return Err(Error::invalid(format!(
                "modality `{}`: expected rows that also hold {}, got none",
                self.names[at],
                if self.pairs.len() < self.names.len() { "the anchor" } else { "another modality" }
            )));
        }
        let validation =
            validation.map(|items| (items, TrainingExamples::new(&items.row_lists(), &pairs, false)));
        let validation = validation.filter(|(_, examples)| !examples.is_empty());
        let rows = examples.len().min(self.parameters.batch);
        self.weights.check_neighbours(&self.parameters.settings, rows)?;
        let masked = !examples.are_complete()
            || self.parameters.modality_dropout > 0.0
            || validation.as_ref().is_some_and(|(_, examples)| !examples.are_complete());
        let own = self.batch(self.items, &examples, masked)?;
        let held_out = match &validation {
            Some((items, examples)) => self.batch(items, examples, masked)?,
            None => Vec::new(),
        };
        let (own, held_out) = (borrowed(&own), borrowed(&held_out));
        let rows = TrainingRows { training: &own, validation: &held_out };
        let objective = HeadObjective {
            terms: self.weights.active(),
            pairs,
            anchor: self.anchor,
            masked,
            labelled: self.learns_labels(),
            noise: self.noise.clone(),
        };
        let decoders = self.weights.needs_decoders();
        let (mut members, mut reports) = (Vec::new(), Vec::new());
        for member in 0..self.parameters.members as u64 {
            let seed = self.services.seed().wrapping_add(SEED_STEP.wrapping_mul(member + 1));
            let hidden = self.parameters.hidden;
            let mut model = HeadMember::new(&self.names, &self.projections, hidden, decoders, seed)?;
            let objective = objective.build(&model, self.parameters, seed)?;
            let trained = self.services.train(&objective, &rows, &self.options(steps, seed))?;
            model.load(&trained.weights)?;
            members.push(model);
            reports.push(trained.report);
        }
        Ok((Ensemble { projections: self.projections, members }, reports))
    }

    /// Whether a term reads labels.
    fn learns_labels(&self) -> bool {
        self.weights.task.is_some_and(|weight| weight > 0.0)
    }

    fn options(&self, steps: u64, seed: u64) -> TrainingOptions {
        TrainingOptions {
            learning_rate: self.parameters.learning_rate,
            weight_decay: self.parameters.weight_decay,
            length: TrainingLength::Steps(steps),
            batch: self.parameters.batch,
            warmup: steps / 10,
            validation: 0.0,
            check_every: Some(steps.div_ceil(CHECKS)),
            patience: Some(PATIENCE),
            seed,
            ..TrainingOptions::default()
        }
    }

    /// The examples as tensors of the batch ports.
    fn batch(&self, items: &ItemSubset<'_>, examples: &TrainingExamples, masked: bool) -> Result<Batch> {
        let mut batch = Vec::new();
        for (at, (projection, items)) in self.projections.iter().zip(&items.items).enumerate() {
            let coordinates = match items.nrows() {
                0 => Array2::zeros((1, projection.coordinates())),
                _ => apply(self.services, &projection_graph(projection)?, items.view())?,
            };
            batch.push((format!("items/{}", self.names[at]), examples.select(at, coordinates.view())?));
        }
        if masked {
            batch.extend(examples.mask_tensors(&self.names)?);
        }
        if self.learns_labels() {
            batch.push((LABEL_PORT.to_owned(), examples.labels(self.labels)?));
        }
        Ok(batch)
    }
}

fn borrowed(batch: &Batch) -> Vec<(&str, TensorRef<'_>)> {
    batch.iter().map(|(name, tensor)| (name.as_str(), TensorRef::from(tensor))).collect()
}
