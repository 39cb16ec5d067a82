//! Validates the rows of a training, splits them, and prepares the inputs of each step.

use chiasm_graph::{Port, TensorRef};
use chiasm_objective::{NoiseDistribution, TrainingOptions, TrainingRows};

use crate::checked_objective::CheckedObjective;
use crate::noise::RandomStream;
use crate::step::data_port;
use crate::{Error, Result};

/// The purposes of random streams.
pub(crate) mod purpose {
    pub const SPLIT: u64 = 0;
    pub const SHUFFLE: u64 = 1;
    pub const NOISE: u64 = 2;
    pub const VALIDATION: u64 = 3;
}

/// Rows that fit the batch ports, by the name of the input that they are bound to.
pub(crate) struct BoundRows<'a> {
    data: Vec<(String, TensorRef<'a>)>,
    count: usize,
}

impl<'a> BoundRows<'a> {
    /// Checks that the rows fit the ports.
    fn new(which: &'static str, ports: &[Port], rows: &[(&'a str, TensorRef<'a>)]) -> Result<Self> {
        let wrong = |reason: String| Error::Rows { which, reason };
        let names = |of: &mut dyn Iterator<Item = &str>| of.collect::<Vec<_>>().join(", ");
        if let Some((name, _)) = rows.iter().find(|(name, _)| !ports.iter().any(|port| port.name == *name)) {
            let known = names(&mut ports.iter().map(|port| port.name.as_str()));
            return Err(wrong(format!(
                "`{name}` is not a batch port of the objective; its batch ports are: {known}"
            )));
        }
        let mut data = Vec::new();
        let mut count = None;
        for port in ports {
            let Some((_, view)) = rows.iter().find(|(name, _)| port.name == *name) else {
                let given = names(&mut rows.iter().map(|(name, _)| *name));
                return Err(wrong(format!("there are none for `{}`; given: {given}", port.name)));
            };
            let dims = port.dims.iter().flatten().skip(1);
            let fits = view.shape().len() == port.dims.iter().flatten().count()
                && dims
                    .zip(&view.shape()[1..])
                    .all(|(dim, length)| dim.fixed().is_none_or(|fixed| fixed == *length));
            if view.dtype() != port.dtype || !fits {
                return Err(wrong(format!("expected {port}, got {}{:?}", view.dtype(), view.shape())));
            }
            let rows = view.shape()[0];
            if *count.get_or_insert(rows) != rows || rows == 0 {
                let first = count.unwrap_or_default();
                return Err(wrong(format!(
                    "`{}` has {rows} rows; expected {first} as the others, and at least 1",
                    port.name
                )));
            }
            data.push((data_port(&port.name), *view));
        }
        Ok(Self { data, count: count.unwrap_or_default() })
    }

    /// Returns the data that a graph with these inputs needs.
    pub fn views(&self, inputs: &[Port]) -> Vec<(&str, TensorRef<'a>)> {
        let taken = self.data.iter().filter(|(name, _)| inputs.iter().any(|port| port.name == *name));
        taken.map(|(name, view)| (name.as_str(), *view)).collect()
    }
}

/// All rows of a training, split into training and validation rows.
pub(crate) struct TrainingData<'a> {
    pub data: BoundRows<'a>,
    /// The numbers of the training rows in `data`.
    pub training: Vec<i64>,
    /// Separate validation rows, when they were given.
    validation_data: Option<BoundRows<'a>>,
    /// The numbers of the validation rows.
    validation: Vec<i64>,
}

impl<'a> TrainingData<'a> {
    /// Uses the validation rows given, or holds out a part of the training rows.
    pub fn new(ports: &[Port], rows: &TrainingRows<'a>, options: &TrainingOptions) -> Result<Self> {
        let data = BoundRows::new("training", ports, rows.training)?;
        if rows.validation.is_empty() {
            let [training, validation] = split(data.count, options);
            return Ok(Self { data, training, validation_data: None, validation });
        }
        let own = BoundRows::new("validation", ports, rows.validation)?;
        let [training, validation] = [data.count, own.count].map(|count| (0..count as i64).collect());
        Ok(Self { data, training, validation_data: Some(own), validation })
    }

    /// Returns the data of the validation rows and their numbers in it; `None` without validation rows.
    pub fn validation(&self) -> Option<(&BoundRows<'a>, &[i64])> {
        let data = self.validation_data.as_ref().unwrap_or(&self.data);
        (!self.validation.is_empty()).then_some((data, &self.validation[..]))
    }
}

/// Returns the row numbers of the training and validation splits.
fn split(count: usize, options: &TrainingOptions) -> [Vec<i64>; 2] {
    let order = RandomStream::new(options.seed, &[purpose::SPLIT]).permutation(count);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fraction of the rows")]
    let held = (count as f64 * options.validation).round() as usize;
    let held = if options.validation > 0.0 { held.clamp(usize::from(count > 1), count - 1) } else { 0 };
    let mut parts =
        [&order[held..], &order[..held]].map(|part| part.iter().map(|row| *row as i64).collect::<Vec<_>>());
    parts.iter_mut().for_each(|part| part.sort_unstable());
    parts
}

/// The mini-batches of a training; an epoch leaves out the rows that do not fill one.
pub(crate) struct MiniBatches {
    rows: Vec<i64>,
    batch: usize,
    shuffle: bool,
    seed: u64,
    epoch: Option<u64>,
    order: Vec<usize>,
    chosen: Vec<i64>,
}

impl MiniBatches {
    pub fn new(rows: Vec<i64>, options: &TrainingOptions) -> Self {
        let batch = options.batch.clamp(1, rows.len().max(1));
        let order = (0..rows.len()).collect();
        let (shuffle, seed) = (options.shuffle, options.seed);
        Self { rows, batch, shuffle, seed, epoch: None, order, chosen: vec![0; batch] }
    }

    /// Returns the rows of a mini-batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Returns the rows of step `at`, counted from 0.
    pub fn at(&mut self, at: u64) -> &[i64] {
        let batches = (self.rows.len() / self.batch).max(1) as u64;
        let epoch = at / batches;
        if self.shuffle && self.epoch != Some(epoch) {
            self.order =
                RandomStream::new(self.seed, &[purpose::SHUFFLE, epoch]).permutation(self.rows.len());
            self.epoch = Some(epoch);
        }
        let start = usize::try_from(at % batches).unwrap_or_default() * self.batch;
        let order = &self.order[start..start + self.batch];
        self.chosen.iter_mut().zip(order).for_each(|(place, at)| *place = self.rows[*at]);
        &self.chosen
    }
}

/// The random ports that a graph takes, filled for a step or for validation.
pub(crate) struct RandomInputs {
    seed: u64,
    ports: Vec<FilledInput>,
}

struct FilledInput {
    /// Its position among the objective's random ports; its stream depends on it.
    place: u64,
    name: String,
    draw: NoiseDistribution,
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl RandomInputs {
    /// Creates the random ports among these inputs, for a batch of `batch` rows.
    pub fn new(objective: &CheckedObjective, inputs: &[Port], batch: usize, seed: u64) -> Self {
        let ports = (0..).zip(&objective.random).filter_map(|(place, random)| {
            let port = inputs.iter().find(|port| port.name == random.port)?;
            let shape = objective.shape(port, batch);
            let values = vec![0.0; shape.iter().product()];
            Some(FilledInput { place, name: random.port.clone(), draw: random.draw, shape, values })
        });
        Self { seed, ports: ports.collect() }
    }

    /// Fills the ports for a training step.
    pub fn step(&mut self, at: u64) {
        for port in &mut self.ports {
            RandomStream::new(self.seed, &[purpose::NOISE, at, port.place]).fill(port.draw, &mut port.values);
        }
    }

    /// Fills the ports for a part of the validation rows: the same draws at every check, and masks of ones.
    pub fn validation(&mut self, part: u64) {
        for port in &mut self.ports {
            match port.draw {
                NoiseDistribution::Mask { .. } => port.values.fill(1.0),
                draw => RandomStream::new(self.seed, &[purpose::VALIDATION, part, port.place])
                    .fill(draw, &mut port.values),
            }
        }
    }

    /// Returns the filled ports as inputs.
    pub fn views(&self) -> impl Iterator<Item = Result<(&str, TensorRef<'_>)>> {
        self.ports.iter().map(|port| Ok((port.name.as_str(), TensorRef::f32(&port.shape, &port.values)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_visits_each_row_at_most_once_and_epochs_differ() {
        let options = TrainingOptions { batch: 4, ..TrainingOptions::default() };
        let rows: Vec<i64> = (0..11).map(|row| row * 3).collect();
        let mut batches = MiniBatches::new(rows.clone(), &options);
        let mut epoch =
            |first: u64| -> Vec<i64> { (first..first + 2).flat_map(|at| batches.at(at).to_vec()).collect() };
        let (first, second, again) = (epoch(0), epoch(2), epoch(0));
        for one in [&first, &second] {
            let mut seen = one.clone();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 8, "two batches of four, no row twice");
            assert!(seen.iter().all(|row| rows.contains(row)));
        }
        assert_ne!(first, second);
        assert_eq!(first, again, "a batch depends only on its step");
        let mut in_order = MiniBatches::new(rows.clone(), &TrainingOptions { shuffle: false, ..options });
        assert_eq!(in_order.at(3), &rows[4..8]);
        assert_eq!(in_order.at(2), &rows[..4]);
    }

    #[test]
    fn the_split_covers_every_row_and_depends_on_the_seed() {
        let at =
            |seed, validation| split(20, &TrainingOptions { seed, validation, ..TrainingOptions::default() });
        let [training, validation] = at(3, 0.25);
        assert_eq!((training.len(), validation.len()), (15, 5));
        let mut all = [training.clone(), validation].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..20));
        assert_ne!(training, at(4, 0.25)[0]);
        assert_eq!(at(3, 0.0)[1].len(), 0);
        assert_eq!(at(3, 1.0)[0].len(), 1, "one training row is left");
        assert_eq!(at(3, 1e-9)[1].len(), 1, "a positive fraction holds out at least one row");
    }
}
