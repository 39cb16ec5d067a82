//! The rows of a training: checked against the ports, split, shuffled, and what a step is given of them.

use chiasm_graph::{Port, TensorRef};
use chiasm_objective::{NoiseDistribution, TrainingOptions, TrainingRows};

use crate::noise::RandomStream;
use crate::step::data_port;
use crate::task::CheckedObjective;
use crate::{Error, Result};

/// What a stream of chance is for.
pub(crate) mod purpose {
    pub const SPLIT: u64 = 0;
    pub const SHUFFLE: u64 = 1;
    pub const NOISE: u64 = 2;
    pub const VALIDATION: u64 = 3;
}

/// Rows that fit the batch ports, by the name that they are bound to.
pub(crate) struct BoundRows<'a> {
    data: Vec<(String, TensorRef<'a>)>,
    count: usize,
}

impl<'a> BoundRows<'a> {
    /// Looks the rows through.
    fn new(which: &'static str, ports: &[Port], rows: &[(&'a str, TensorRef<'a>)]) -> Result<Self> {
        let wrong = |reason: String| Error::Rows { which, reason };
        let names = |of: &mut dyn Iterator<Item = &str>| of.collect::<Vec<_>>().join(", ");
        if let Some((name, _)) = rows.iter().find(|(name, _)| !ports.iter().any(|port| port.name == *name)) {
            let known = names(&mut ports.iter().map(|port| port.name.as_str()));
            return Err(wrong(format!("`{name}` is no batch port of the objective; those are: {known}")));
        }
        let mut data = Vec::new();
        let mut count = None;
        for port in ports {
            let Some((_, view)) = rows.iter().find(|(name, _)| port.name == *name) else {
                let given = names(&mut rows.iter().map(|(name, _)| *name));
                return Err(wrong(format!("there are none for `{}`; given are: {given}", port.name)));
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
                    "`{}` has {rows}, expected as many as the others, {first}, at least 1",
                    port.name
                )));
            }
            data.push((data_port(&port.name), *view));
        }
        Ok(Self { data, count: count.unwrap_or_default() })
    }

    /// What a graph of these inputs takes of them.
    pub fn views(&self, inputs: &[Port]) -> Vec<(&str, TensorRef<'a>)> {
        let taken = self.data.iter().filter(|(name, _)| inputs.iter().any(|port| port.name == *name));
        taken.map(|(name, view)| (name.as_str(), *view)).collect()
    }
}

/// All rows of a training, and which of them are for what.
pub(crate) struct TrainingData<'a> {
    pub data: BoundRows<'a>,
    /// Numbers of the rows of `data` to train on.
    pub training: Vec<i64>,
    own: Option<BoundRows<'a>>,
    held: Vec<i64>,
}

impl<'a> TrainingData<'a> {
    /// Validation rows of their own, or a part of the others.
    pub fn new(ports: &[Port], rows: &TrainingRows<'a>, options: &TrainingOptions) -> Result<Self> {
        let data = BoundRows::new("training", ports, rows.training)?;
        if rows.validation.is_empty() {
            let [training, held] = split(data.count, options);
            return Ok(Self { data, training, own: None, held });
        }
        let own = BoundRows::new("validation", ports, rows.validation)?;
        let [training, held] = [data.count, own.count].map(|count| (0..count as i64).collect());
        Ok(Self { data, training, own: Some(own), held })
    }

    /// The rows to validate on and their numbers, when there are any.
    pub fn held(&self) -> Option<(&BoundRows<'a>, &[i64])> {
        (!self.held.is_empty()).then(|| (self.own.as_ref().unwrap_or(&self.data), &self.held[..]))
    }
}

/// Numbers of rows, training and validation; the latter empty when nothing is held out.
fn split(count: usize, options: &TrainingOptions) -> [Vec<i64>; 2] {
    let order = RandomStream::new(options.seed, &[purpose::SPLIT]).permutation(count);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the rows")]
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

    /// Rows of a mini-batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The rows of step `at`, counted from 0.
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
    /// Its place among the objective's random ports: what its stream depends on.
    place: u64,
    name: String,
    draw: NoiseDistribution,
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl RandomInputs {
    /// For the random ports among these inputs, at a batch of so many rows.
    pub fn new(task: &CheckedObjective, inputs: &[Port], batch: usize, seed: u64) -> Self {
        let ports = (0..).zip(&task.random).filter_map(|(place, random)| {
            let port = inputs.iter().find(|port| port.name == random.port)?;
            let shape = task.shape(port, batch);
            let values = vec![0.0; shape.iter().product()];
            Some(FilledInput { place, name: random.port.clone(), draw: random.draw, shape, values })
        });
        Self { seed, ports: ports.collect() }
    }

    /// Fills for a training step.
    pub fn step(&mut self, at: u64) {
        for port in &mut self.ports {
            RandomStream::new(self.seed, &[purpose::NOISE, at, port.place]).fill(port.draw, &mut port.values);
        }
    }

    /// Fills for a part of the validation rows: the same draws at every check, and nothing dropped.
    pub fn validation(&mut self, part: u64) {
        for port in &mut self.ports {
            match port.draw {
                NoiseDistribution::Mask { .. } => port.values.fill(1.0),
                draw => RandomStream::new(self.seed, &[purpose::VALIDATION, part, port.place])
                    .fill(draw, &mut port.values),
            }
        }
    }

    /// What the graph is given.
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
        assert_eq!(first, again, "a batch depends on its step alone");
        let mut in_order = MiniBatches::new(rows.clone(), &TrainingOptions { shuffle: false, ..options });
        assert_eq!(in_order.at(3), &rows[4..8]);
        assert_eq!(in_order.at(2), &rows[..4]);
    }

    #[test]
    fn the_split_is_whole_and_follows_the_seed() {
        let at =
            |seed, validation| split(20, &TrainingOptions { seed, validation, ..TrainingOptions::default() });
        let [training, validation] = at(3, 0.25);
        assert_eq!((training.len(), validation.len()), (15, 5));
        let mut all = [training.clone(), validation].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..20));
        assert_ne!(training, at(4, 0.25)[0]);
        assert_eq!(at(3, 0.0)[1].len(), 0);
        assert_eq!(at(3, 1.0)[0].len(), 1, "one row is left to train on");
        assert_eq!(at(3, 1e-9)[1].len(), 1, "who asks for validation gets a row");
    }
}
