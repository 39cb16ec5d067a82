//! The true factors of a row.

use super::settings::{BenchmarkSettings, MODALITIES};
use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// The split of a row of a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BenchmarkSplit {
    /// Seven of ten rows.
    Train,
    /// One of ten rows, to choose between settings.
    Validation,
    /// Two of ten rows, to be measured only.
    Test,
}

impl BenchmarkSplit {
    /// Returns the split of a row. It depends only on the index, not on the number of rows.
    pub(crate) fn of(row: usize) -> Self {
        match row % 10 {
            0..=6 => Self::Train,
            7 => Self::Validation,
            _ => Self::Test,
        }
    }
}

/// What all modalities of a row have in common.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowFactors {
    /// The shared factors s ~ N(0, I).
    pub shared: Vec<f64>,
    /// The class: bit j is set if factor j is positive, for the first three factors at most.
    pub class: usize,
    /// The label: the class, or another one with the probability `label_noise`.
    pub label: usize,
    /// Whether the row has each modality.
    pub present: Vec<bool>,
}

/// What one modality sees of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModalityFactors {
    /// The view of the shared factors: v_j = ρ_j s_j + sqrt(1 - ρ_j²) e_j, with e ~ N(0, I).
    pub view: Vec<f64>,
    /// The private factors p ~ N(0, I).
    pub private: Vec<f64>,
    /// The noise of every column.
    pub noise: Vec<f64>,
}

/// Returns the random stream of a row: 0 for what is shared, from 1 on for the modalities.
fn stream(settings: &BenchmarkSettings, row: usize, slot: usize) -> Rng {
    Rng::of(settings.seed, (row * (MODALITIES.len() + 1) + slot) as u64)
}

impl RowFactors {
    /// Draws the factors of a row.
    pub(crate) fn of(settings: &BenchmarkSettings, row: usize) -> Self {
        let mut rng = stream(settings, row, 0);
        let shared = rng.normals(settings.shared);
        let class = (0..settings.bits()).filter(|j| shared[*j] > 0.0).map(|j| 1 << j).sum();
        let changed = rng.uniform() < settings.label_noise;
        let other = (class + 1 + rng.below(settings.classes() as u32 - 1) as usize) % settings.classes();
        let modalities = settings.geometries.len();
        // Test rows are complete. In other rows one modality is kept, and the others are missing so much more
        // often that the mean is as set.
        let kept = rng.below(modalities as u32) as usize;
        let missing = settings.missing * modalities as f64 / (modalities - 1) as f64;
        let complete = BenchmarkSplit::of(row) == BenchmarkSplit::Test;
        let present = (0..modalities).map(|m| (rng.uniform() >= missing) | (m == kept) | complete).collect();
        Self { shared, class, label: if changed { other } else { class }, present }
    }
}

impl ModalityFactors {
    /// Draws what a modality sees of a row with these shared factors.
    pub(crate) fn of(settings: &BenchmarkSettings, row: usize, modality: usize, shared: &[f64]) -> Self {
        let mut rng = stream(settings, row, modality + 1);
        let couplings = settings.couplings();
        let see = |(s, rho): (&f64, &f64)| rho * s + (1.0 - rho * rho).sqrt() * rng.normal();
        let view = shared.iter().zip(&couplings).map(see).collect();
        let private = rng.normals(settings.private);
        Self { view, private, noise: rng.normals(settings.width(modality)) }
    }

    /// Returns all factors of the modality, shared ones first.
    pub(crate) fn all(&self) -> Vec<f64> {
        self.view.iter().chain(&self.private).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> BenchmarkSettings {
        BenchmarkSettings {
            coupling: 0.8,
            coupling_spread: 0.5,
            label_noise: 0.2,
            missing: 0.3,
            ..Default::default()
        }
    }

    /// The mean of 20,000 products of standard normal numbers has a standard error of at most
    /// sqrt(2 / 20000) = 0.01; the limit is five of them.
    #[test]
    fn views_have_the_coupling_of_their_factor() {
        let settings = settings();
        let rows: Vec<[Vec<f64>; 3]> = (0..20_000)
            .map(|row| {
                let shared = RowFactors::of(&settings, row).shared;
                let [a, b] = [0, 3].map(|m| ModalityFactors::of(&settings, row, m, &shared).view);
                [shared, a, b]
            })
            .collect();
        for (j, rho) in settings.couplings().iter().enumerate() {
            let mean = |a: usize, b: usize| {
                rows.iter().map(|row| row[a][j] * row[b][j]).sum::<f64>() / rows.len() as f64
            };
            assert!((mean(1, 1) - 1.0).abs() < 0.05);
            assert!((mean(0, 1) - rho).abs() < 0.05);
            assert!((mean(1, 2) - rho * rho).abs() < 0.05);
        }
    }

    /// Counts of 20,000 rows have a standard error of at most 0.0036 as shares; the limit is five of them.
    #[test]
    fn labels_and_modalities_are_missing_as_often_as_set() {
        let settings = settings();
        let fitted = |row: &usize| BenchmarkSplit::of(*row) != BenchmarkSplit::Test;
        assert!(
            (0..1000)
                .filter(|row| !fitted(row))
                .all(|row| RowFactors::of(&settings, row).present == [true; 4])
        );
        let rows: Vec<RowFactors> =
            (0..25_000).filter(fitted).map(|row| RowFactors::of(&settings, row)).collect();
        let share = |of: &dyn Fn(&RowFactors) -> bool| {
            rows.iter().filter(|row| of(row)).count() as f64 / rows.len() as f64
        };
        assert!((share(&|row| row.label != row.class) - 0.2).abs() < 0.018);
        for m in 0..4 {
            assert!((share(&|row| !row.present[m]) - 0.3).abs() < 0.018);
        }
        assert!(rows.iter().all(|row| row.present.contains(&true)));
        assert!((0..8).all(|class| (share(&|row| row.class == class) - 0.125).abs() < 0.018));
    }

    #[test]
    fn fewer_modalities_see_the_same() {
        let many = BenchmarkSettings::default();
        let mut few = many.clone();
        few.geometries.truncate(2);
        let [a, b] = [&many, &few].map(|settings| RowFactors::of(settings, 17));
        assert_eq!((&a.shared, a.label), (&b.shared, b.label));
        let seen = |settings| ModalityFactors::of(settings, 17, 1, &a.shared);
        assert_eq!(seen(&many), seen(&few));
    }
}
