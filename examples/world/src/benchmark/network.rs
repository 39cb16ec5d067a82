//! The network through which a modality observes its factors.

use super::manifold::Geometry;
use super::settings::BenchmarkSettings;
use crate::rng::Rng;
use std::f64::consts::TAU;

/// The least number of hidden units.
const HIDDEN: usize = 256;
/// Points by which the columns are centred and scaled. It is a fixed number, so that the vectors of a row do
/// not depend on the number of rows.
const CALIBRATION: usize = 2048;

/// A manifold and a random network with one hidden layer of sines, whose columns have mean 0 and standard
/// deviation 1: x = (B sin(A c + b) - mean) / deviation, for the coordinates c of [`Geometry::embed`].
///
/// A ~ gain N(0, 1), b is uniform in [-π, π), B ~ N(0, 1).
pub(crate) struct ObservationNetwork {
    geometry: Geometry,
    curvature: f64,
    inner: Vec<Vec<f64>>,
    phases: Vec<f64>,
    outer: Vec<Vec<f64>>,
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl ObservationNetwork {
    /// Draws the network of a modality.
    pub(crate) fn new(settings: &BenchmarkSettings, modality: usize) -> Self {
        let (geometry, curvature) = (settings.geometries[modality], settings.curvature);
        let width = settings.width(modality);
        let hidden = HIDDEN.max(2 * width);
        let inputs = geometry.coordinates(settings.factors(), curvature);
        // Rows use the streams from 0 on, and networks those from the end on.
        let mut rng = Rng::of(settings.seed, u64::MAX - modality as u64);
        let scaled = |rng: &mut Rng| rng.normals(inputs).into_iter().map(|a| settings.gain * a).collect();
        let inner = (0..hidden).map(|_| scaled(&mut rng)).collect();
        let phases = (0..hidden).map(|_| TAU * (rng.uniform() - 0.5)).collect();
        let outer = (0..width).map(|_| rng.normals(hidden)).collect();
        let (mean, deviation) = (vec![0.0; width], vec![1.0; width]);
        let mut network = Self { geometry, curvature, inner, phases, outer, mean, deviation };
        network.calibrate(settings.factors(), &mut rng);
        network
    }

    fn calibrate(&mut self, factors: usize, rng: &mut Rng) {
        let samples: Vec<Vec<f64>> = (0..CALIBRATION).map(|_| self.observe(&rng.normals(factors))).collect();
        let count = CALIBRATION as f64;
        for column in 0..self.mean.len() {
            let values = || samples.iter().map(|row| row[column]);
            let mean = values().sum::<f64>() / count;
            let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            self.mean[column] = mean;
            self.deviation[column] = variance.sqrt();
        }
    }

    /// Returns the vector without noise.
    pub(crate) fn observe(&self, factors: &[f64]) -> Vec<f64> {
        let point = self.geometry.embed(self.curvature, factors);
        let units: Vec<f64> = self
            .inner
            .iter()
            .zip(&self.phases)
            .map(|(row, phase)| (dot(row, &point) + phase).sin())
            .collect();
        let scale = self.mean.iter().zip(&self.deviation);
        self.outer.iter().zip(scale).map(|(row, (mean, one))| (dot(row, &units) - mean) / one).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 4,000 draws have a mean within 5 / sqrt(4000) = 0.08 of zero, plus as much of the calibration.
    #[test]
    fn columns_have_mean_zero_and_deviation_one() {
        let settings = BenchmarkSettings::default();
        for modality in 0..4 {
            let network = ObservationNetwork::new(&settings, modality);
            let mut rng = Rng::of(99, modality as u64);
            let rows: Vec<Vec<f64>> = (0..4000).map(|_| network.observe(&rng.normals(10))).collect();
            assert_eq!(rows[0].len(), settings.width(modality));
            for column in 0..rows[0].len() {
                let mean = rows.iter().map(|row| row[column]).sum::<f64>() / 4000.0;
                let variance = rows.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>() / 4000.0;
                assert!(mean.abs() < 0.2 && (variance - 1.0).abs() < 0.2, "{modality}: {mean} {variance}");
            }
        }
    }

    /// The map must not fold: points that are far apart as factors stay apart as vectors. A folded pair has a
    /// ratio near 0; the least of the 44,850 pairs is 0.46, on the torus.
    #[test]
    fn distant_factors_have_distant_vectors() {
        let settings = BenchmarkSettings { curvature: 1.0, ..Default::default() };
        for modality in 0..4 {
            let network = ObservationNetwork::new(&settings, modality);
            let mut rng = Rng::of(7, modality as u64);
            let points: Vec<Vec<f64>> = (0..300).map(|_| rng.normals(10)).collect();
            let seen: Vec<Vec<f64>> = points.iter().map(|point| network.observe(point)).collect();
            let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            let mut least = f64::MAX;
            for i in 0..300 {
                for j in 0..i {
                    least = least.min(square(&seen[i], &seen[j]) / square(&points[i], &points[j]));
                }
            }
            assert!(least > 0.2, "modality {modality}: {least}");
        }
    }
}
