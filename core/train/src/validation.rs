//! The judgement of weights on rows that they were not trained on.

use chiasm_graph::{Tensor, TensorRef};
use chiasm_runtime::{Engine, SessionOptions, Stepper};

use crate::Result;
use crate::rows::{BoundRows, RandomInputs};
use crate::step::{self, INDEX};
use crate::task::CheckedObjective;

/// Rows judged at once, at most: a contrastive loss takes a matrix of that length squared. More rows are judged in equal
/// parts, whose outputs are averaged.
const AT_ONCE: usize = 4096;

/// Judges weights on the same rows again and again.
pub(crate) struct Validator<'d> {
    stepper: Stepper<'d>,
    parts: Vec<ValidationPart>,
}

struct ValidationPart {
    rows: Vec<i64>,
    noise: RandomInputs,
}

impl<'d> Validator<'d> {
    /// For these rows of the data.
    pub fn new(
        engine: &Engine,
        session: &SessionOptions,
        task: &CheckedObjective,
        data: &BoundRows<'d>,
        rows: &[i64],
        seed: u64,
    ) -> Result<Self> {
        let graph = step::validation(task)?;
        let inputs = graph.inputs();
        let count = rows.len().div_ceil(AT_ONCE).max(1);
        let parts = (0..count).map(|part| {
            let rows = rows[rows.len() * part / count..rows.len() * (part + 1) / count].to_vec();
            let mut noise = RandomInputs::new(task, &inputs, rows.len(), seed);
            noise.validation(part as u64);
            ValidationPart { rows, noise }
        });
        let parts = parts.collect();
        Ok(Self {
            stepper: engine.session(&graph, session)?.stepper(&data.views(&inputs), Vec::new())?,
            parts,
        })
    }

    /// The outputs for these weights, the one that counts first.
    pub fn judge(&mut self, weights: &[(String, Tensor)]) -> Result<Vec<(String, f32)>> {
        let inputs = self.stepper.session().inputs().to_vec();
        let total: usize = self.parts.iter().map(|part| part.rows.len()).sum();
        let mut sums: Vec<(String, f64)> = Vec::new();
        for part in &self.parts {
            let shape = [part.rows.len()];
            let mut given = vec![(INDEX, TensorRef::i64(&shape, &part.rows)?)];
            given.extend(part.noise.views().collect::<Result<Vec<_>>>()?);
            let taken = weights.iter().filter(|(name, _)| inputs.iter().any(|port| port.name == *name));
            given.extend(taken.map(|(name, tensor)| (name.as_str(), TensorRef::from(tensor))));
            let share = part.rows.len() as f64 / total as f64;
            let outputs = self.stepper.step(&given)?;
            sums.resize(outputs.len(), (String::new(), 0.0));
            for (sum, (name, value)) in sums.iter_mut().zip(outputs) {
                sum.1 += share * f64::from(scalar(&value));
                sum.0 = name;
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "losses are f32")]
        Ok(sums.into_iter().map(|(name, sum)| (name, sum as f32)).collect())
    }
}

/// The one number of a scalar.
pub(crate) fn scalar(tensor: &Tensor) -> f32 {
    tensor.as_f32().and_then(|values| values.first().copied()).unwrap_or(f32::NAN)
}
