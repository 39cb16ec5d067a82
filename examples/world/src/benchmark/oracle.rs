//! What any method can reach at most.

use super::settings::BenchmarkSettings;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The most queries of a direction that the oracle answers; the gallery always has all test items.
const QUERIES: usize = 2000;
/// The largest squared coupling in the oracle's score, whose variance would be zero at 1.
const SURE: f64 = 1.0 - 1e-9;

/// The expected scores of a predictor that knows the view of the shared factors exactly, without the network
/// and the noise. No method that sees the same modalities is better in expectation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchmarkCeilings {
    /// R2 of the shared factors, mean over the factors.
    pub latent_r2: OneOrAll,
    /// Correlation with the shared factors, mean over the factors: the largest MCC.
    pub latent_mcc: OneOrAll,
    /// Accuracy of the label.
    pub label_accuracy: OneOrAll,
    /// Accuracy of the label if the shared factors are known exactly: 1 - label noise.
    pub label_accuracy_of_shared_factors: f64,
    /// Accuracy of the label without any input.
    pub label_accuracy_without_input: f64,
}

/// A score from one modality, and from all of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OneOrAll {
    /// From one modality.
    pub one_modality: f64,
    /// From all modalities of a row that lacks none.
    pub all_modalities: f64,
}

impl BenchmarkCeilings {
    /// Computes the ceilings from the settings.
    ///
    /// M views of a factor have the posterior mean with the squared correlation
    /// R_j² = M ρ_j² / (1 + (M - 1) ρ_j²). Its sign is right with the probability 1 - acos(R_j) / π
    /// (Sheppard 1899). The label is right if all signs are right and the label is not replaced, or if it is
    /// replaced by just the class that was predicted.
    pub fn of(settings: &BenchmarkSettings) -> Self {
        let correlations = |modalities: f64| -> Vec<f64> {
            let square = |rho: f64| modalities * rho * rho / (1.0 + (modalities - 1.0) * rho * rho);
            settings.couplings().into_iter().map(|rho| square(rho).sqrt()).collect()
        };
        let all = settings.geometries.len() as f64;
        let both = |of: &dyn Fn(&[f64]) -> f64| OneOrAll {
            one_modality: of(&correlations(1.0)),
            all_modalities: of(&correlations(all)),
        };
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let signs = |r: &[f64]| r.iter().take(settings.bits()).map(|r| 1.0 - r.acos() / PI).product();
        Self {
            latent_r2: both(&|r| mean(&r.iter().map(|r| r * r).collect::<Vec<_>>())),
            latent_mcc: both(&mean),
            label_accuracy: both(&|r| with_label_noise(settings, signs(r))),
            label_accuracy_of_shared_factors: with_label_noise(settings, 1.0),
            label_accuracy_without_input: 1.0 / settings.classes() as f64,
        }
    }
}

fn with_label_noise(settings: &BenchmarkSettings, right: f64) -> f64 {
    let noise = settings.label_noise;
    (1.0 - noise) * right + noise * (1.0 - right) / (settings.classes() as f64 - 1.0)
}

/// The oracle's retrieval of one direction, in expectation over ties.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OracleRetrieval {
    /// Share of the queries whose match is the first one.
    #[serde(rename = "recall@1")]
    pub recall_at_1: f64,
    /// Share of the queries whose match is among the first five.
    #[serde(rename = "recall@5")]
    pub recall_at_5: f64,
    /// Share of the queries whose match is among the first ten.
    #[serde(rename = "recall@10")]
    pub recall_at_10: f64,
    /// Fraction of the other items that score above the match; equal scores count half.
    pub foscttm: f64,
    /// Number of queries.
    pub queries: usize,
    /// Number of items in the gallery.
    pub gallery: usize,
}

/// The view of an item, with its row.
pub(crate) type Seen = (usize, Vec<f64>);

/// Returns the oracle's retrieval: it orders the gallery by the log likelihood ratio of a common row,
///
/// L(a, b) = Σ_j b_j² / 2 - (b_j - c_j a_j)² / (2 (1 - c_j²)) + constant, with c_j = ρ_j²,
///
/// for the views a and b. For a query whose match is in the gallery, no other order has a higher expected
/// recall (Neyman and Pearson 1933 for two items). A method that uses the other queries too, and so rules out
/// items that match those better, may be better. `None` if no query has a match.
pub(crate) fn retrieval(couplings: &[f64], queries: &[Seen], gallery: &[Seen]) -> Option<OracleRetrieval> {
    let score = |a: &[f64], b: &[f64]| -> f64 {
        let of = |((a, b), rho): ((&f64, &f64), &f64)| {
            let c = (rho * rho).min(SURE);
            b * b / 2.0 - (b - c * a).powi(2) / (2.0 * (1.0 - c * c))
        };
        a.iter().zip(b).zip(couplings).map(of).sum()
    };
    let matched = queries.iter().filter_map(|(row, view)| {
        let at = gallery.binary_search_by_key(row, |(row, _)| *row).ok()?;
        Some((at, view))
    });
    let matched: Vec<(usize, &Vec<f64>)> = matched.take(QUERIES).collect();
    let ranks: Vec<(f64, f64)> = (matched.par_iter())
        .map(|(at, view)| {
            let own = score(view, &gallery[*at].1);
            let scores =
                || gallery.iter().enumerate().filter(|(i, _)| i != at).map(|(_, (_, b))| score(view, b));
            let above = scores().filter(|other| *other > own).count();
            let equal = scores().filter(|other| *other == own).count();
            (above as f64, equal as f64)
        })
        .collect();
    if ranks.is_empty() {
        return None;
    }
    let mean = |of: &dyn Fn(f64, f64) -> f64| {
        ranks.iter().map(|(above, equal)| of(*above, *equal)).sum::<f64>() / ranks.len() as f64
    };
    let recall = |k: f64| mean(&|above, equal| ((k - above) / (equal + 1.0)).clamp(0.0, 1.0));
    let others = (gallery.len() - 1).max(1) as f64;
    Some(OracleRetrieval {
        recall_at_1: recall(1.0),
        recall_at_5: recall(5.0),
        recall_at_10: recall(10.0),
        foscttm: mean(&|above, equal| (above + equal / 2.0) / others),
        queries: ranks.len(),
        gallery: gallery.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::factors::{ModalityFactors, RowFactors};

    fn seen(settings: &BenchmarkSettings, rows: usize, modality: usize) -> Vec<Seen> {
        let view = |row| {
            let shared = RowFactors::of(settings, row).shared;
            (row, ModalityFactors::of(settings, row, modality, &shared).view)
        };
        (0..rows).map(view).collect()
    }

    /// The share of right labels of 20,000 rows has a standard error of 0.0035; the limit is five of them.
    #[test]
    fn the_ceilings_are_reached_by_the_oracle_and_not_exceeded() {
        let settings = BenchmarkSettings { coupling: 0.9, label_noise: 0.1, ..Default::default() };
        let ceilings = BenchmarkCeilings::of(&settings);
        let class_of = |v: &[f64]| (0..3).filter(|j| v[*j] > 0.0).map(|j| 1 << j).sum::<usize>();
        let (mut one, mut all, mut truth) = (0, 0, 0);
        for row in 0..20_000 {
            let factors = RowFactors::of(&settings, row);
            let views: Vec<Vec<f64>> =
                (0..4).map(|m| ModalityFactors::of(&settings, row, m, &factors.shared).view).collect();
            let sum: Vec<f64> = (0..3).map(|j| views.iter().map(|v| v[j]).sum()).collect();
            one += usize::from(class_of(&views[2]) == factors.label);
            all += usize::from(class_of(&sum) == factors.label);
            truth += usize::from(class_of(&factors.shared) == factors.label);
        }
        let close = |count: usize, expected: f64| {
            let found = count as f64 / 20_000.0;
            assert!((found - expected).abs() < 0.018, "{found}, expected {expected}");
        };
        close(one, ceilings.label_accuracy.one_modality);
        close(all, ceilings.label_accuracy.all_modalities);
        close(truth, ceilings.label_accuracy_of_shared_factors);
        assert!((ceilings.label_accuracy_of_shared_factors - 0.9).abs() < 1e-12);
        assert!(ceilings.latent_r2.one_modality < ceilings.latent_r2.all_modalities);
        assert!(ceilings.latent_r2.all_modalities < 1.0);
    }

    #[test]
    fn full_coupling_is_found_and_no_coupling_is_chance() {
        let mut settings = BenchmarkSettings { coupling: 1.0, coupling_spread: 0.0, ..Default::default() };
        let sure =
            retrieval(&settings.couplings(), &seen(&settings, 300, 0), &seen(&settings, 300, 1)).unwrap();
        assert_eq!((sure.recall_at_1, sure.foscttm), (1.0, 0.0));
        settings.coupling = 0.0;
        let none =
            retrieval(&settings.couplings(), &seen(&settings, 300, 0), &seen(&settings, 300, 1)).unwrap();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(near(none.recall_at_1, 1.0 / 300.0) && near(none.recall_at_10, 10.0 / 300.0), "{none:?}");
        assert!(near(none.foscttm, 0.5));
    }

    /// The likelihood ratio must beat the Euclidean distance of the same views.
    #[test]
    fn the_likelihood_ratio_beats_the_distance() {
        let settings = BenchmarkSettings { coupling: 0.95, coupling_spread: 0.9, ..Default::default() };
        let (queries, gallery) = (seen(&settings, 1000, 0), seen(&settings, 1000, 1));
        let oracle = retrieval(&settings.couplings(), &queries, &gallery).unwrap();
        let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let among_ten = |(row, a): &Seen| {
            let own = square(a, &gallery[*row].1);
            gallery.iter().filter(|(_, b)| square(a, b) < own).count() < 10
        };
        let distance = queries.iter().filter(|query| among_ten(query)).count() as f64 / 1000.0;
        assert!(oracle.recall_at_10 > distance + 0.05, "{oracle:?} against {distance}");
    }

    #[test]
    fn queries_without_a_match_are_left_out() {
        let settings = BenchmarkSettings::default();
        let (queries, gallery) = (seen(&settings, 20, 0), seen(&settings, 20, 1));
        let found = retrieval(&settings.couplings(), &queries, &gallery[..5]).unwrap();
        assert_eq!((found.queries, found.gallery), (5, 5));
        assert!(retrieval(&settings.couplings(), &queries[10..], &gallery[..5]).is_none());
    }
}
