//! Scores weights on the validation rows.

use chiasm_graph::{Tensor, TensorRef};
use chiasm_runtime::{Engine, SessionOptions, Stepper};

use crate::Result;
use crate::checked_objective::CheckedObjective;
use crate::rows::{BoundRows, RandomInputs};
use crate::step::{self, INDEX};

/// The most rows in one run: a contrastive loss needs a matrix of that length squared. More rows are split
/// into equal parts, whose outputs are averaged.
const MAX_ROWS: usize = 4096;

/// Scores weights, always on the same rows with the same noise.
pub(crate) struct Validator<'d> {
    stepper: Stepper<'d>,
    parts: Vec<ValidationPart>,
}

struct ValidationPart {
    rows: Vec<i64>,
    noise: RandomInputs,
}

impl<'d> Validator<'d> {
    /// Creates a validator for these rows of the data.
    pub fn new(
        engine: &Engine,
        session: &SessionOptions,
        objective: &CheckedObjective,
        data: &BoundRows<'d>,
        rows: &[i64],
        seed: u64,
    ) -> Result<Self> {
        let graph = step::validation(objective)?;
        let inputs = graph.inputs();
        let count = rows.len().div_ceil(MAX_ROWS).max(1);
        let parts = (0..count).map(|part| {
            let rows = rows[rows.len() * part / count..rows.len() * (part + 1) / count].to_vec();
            let mut noise = RandomInputs::new(objective, &inputs, rows.len(), seed);
            noise.validation(part as u64);
            ValidationPart { rows, noise }
        });
        let parts = parts.collect();
        Ok(Self {
            stepper: engine.session(&graph, session)?.stepper(&data.views(&inputs), Vec::new())?,
            parts,
        })
    }

    /// Returns the outputs for these weights, the score first.
    pub fn outputs(&mut self, weights: &[(String, Tensor)]) -> Result<Vec<(String, f32)>> {
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

/// Returns the value of a scalar.
pub(crate) fn scalar(tensor: &Tensor) -> f32 {
    tensor.as_f32().and_then(|values| values.first().copied()).unwrap_or(f32::NAN)
}
