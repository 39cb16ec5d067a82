//! Corruption of vectors: Gaussian noise, and features set to zero.

use chiasm_kit::corruption::Corruption;
use serde::Deserialize;

use crate::matrix::Matrix;

/// The kinds of corruption of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VectorCorruptionKind {
    /// Gaussian noise on every feature. The strength is its standard deviation as a share of that of the
    /// feature over the rows of the file.
    Noise,
    /// A feature is set to zero. The strength is the probability for each.
    Zero,
}

/// How the vectors of a file are corrupted.
pub(crate) struct VectorCorruption {
    corruption: Corruption<VectorCorruptionKind>,
    /// The standard deviation of each feature.
    deviations: Vec<f64>,
}

impl VectorCorruption {
    /// Checks the corruption and measures the features.
    pub(crate) fn new(corruption: Corruption<VectorCorruptionKind>, matrix: &Matrix) -> Result<Self, String> {
        corruption.check(match corruption.kind {
            VectorCorruptionKind::Noise => 1000.0,
            VectorCorruptionKind::Zero => 1.0,
        })?;
        let count = matrix.rows as f64;
        let mut means = vec![0.0; matrix.dim];
        let mut deviations = vec![0.0; matrix.dim];
        for row in matrix.values.chunks_exact(matrix.dim) {
            means.iter_mut().zip(row).for_each(|(mean, value)| *mean += f64::from(*value) / count);
        }
        for row in matrix.values.chunks_exact(matrix.dim) {
            let pairs =
                row.iter().zip(&means).map(|(value, mean)| (f64::from(*value) - mean).powi(2) / count);
            deviations.iter_mut().zip(pairs).for_each(|(variance, part)| *variance += part);
        }
        deviations.iter_mut().for_each(|variance: &mut f64| *variance = variance.sqrt());
        Ok(Self { corruption, deviations })
    }

    /// Corrupts the vector of a row.
    pub(crate) fn apply(&self, vector: &mut [f32], row: usize) {
        let mut random = self.corruption.random(&row.to_le_bytes());
        match self.corruption.kind {
            VectorCorruptionKind::Noise => {
                self.corruption.add_noise(vector, |at| self.deviations[at], &mut random);
            }
            VectorCorruptionKind::Zero => {
                vector
                    .iter_mut()
                    .filter(|_| self.corruption.happens(&mut random))
                    .for_each(|value| *value = 0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use chiasm_plugin::json;

    /// 4,000 rows: the first feature is -1 or 1 (deviation 1), the second -10 or 30 (deviation 20).
    fn matrix() -> Matrix {
        let values = (0..4000).flat_map(|row| if row % 2 == 0 { [-1.0, -10.0] } else { [1.0, 30.0] });
        Matrix { rows: 4000, dim: 2, values: values.collect() }
    }

    fn corrupted(kind: &str, strength: f64) -> Vec<[f32; 2]> {
        let matrix = matrix();
        let table = json!({ "kind": kind, "strength": strength, "seed": 2 });
        let corruption = VectorCorruption::new(serde_json::from_value(table).unwrap(), &matrix).unwrap();
        let of = |row: usize| {
            let mut vector = matrix.row(row).unwrap().to_vec();
            corruption.apply(&mut vector, row);
            [vector[0], vector[1]]
        };
        (0..4000).map(of).collect()
    }

    /// Tolerance: five standard errors of a deviation from 4,000 draws, 5 / sqrt(8,000) = 5.6 %.
    #[test]
    fn noise_is_relative_to_the_deviation_of_each_feature() {
        let (clean, noisy) = (matrix(), corrupted("noise", 0.5));
        for (column, expected) in [(0, 0.5), (1, 10.0)] {
            let squares = noisy
                .iter()
                .enumerate()
                .map(|(row, vector)| f64::from(vector[column] - clean.values[2 * row + column]).powi(2));
            let deviation = (squares.sum::<f64>() / 4000.0).sqrt();
            assert!((deviation / expected - 1.0).abs() < 0.056, "{deviation}, expected {expected}");
        }
        assert_eq!(noisy, corrupted("noise", 0.5));
        assert_eq!(corrupted("noise", 0.0).concat(), clean.values);
    }

    /// Tolerance: five standard errors, 5 sqrt(0.21 / 8,000) = 0.026.
    #[test]
    fn zero_sets_its_share_of_the_features_to_zero() {
        let zeros = corrupted("zero", 0.3).concat().iter().filter(|value| **value == 0.0).count();
        assert!((zeros as f64 / 8000.0 - 0.3).abs() < 0.026, "{zeros}");
        assert!(corrupted("zero", 1.0).concat().iter().all(|value| *value == 0.0));
    }
}
