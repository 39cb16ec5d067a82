//! The best scores possible with some of the inputs, by enumeration of the test rows.

use super::LabelledRow;
use crate::benchmark::BenchmarkSplit;
use std::collections::BTreeMap;

/// The scores with some of the inputs, by the name of the score.
pub(super) type Scores = BTreeMap<String, f64>;

/// Returns the accuracy on the test rows with every subset of the inputs, named as in `picture+sentence`; the
/// empty one is `nothing`.
///
/// It is the share of the rows whose true label is the commonest one among the rows with the same inputs. No
/// predictor with these inputs is more accurate on these rows. With noise, a predictor that knows no more is
/// right in `(1 - noise) A + noise (1 - A) / (labels - 1)` of the rows in expectation
/// (`accuracy_with_noise`).
pub(super) fn accuracies(rows: &[LabelledRow], labels: usize, noise: f64) -> BTreeMap<String, Scores> {
    let test: Vec<&LabelledRow> = rows.iter().filter(|row| row.split == BenchmarkSplit::Test).collect();
    let inputs: Vec<&str> =
        rows.first().map(|row| row.inputs.iter().map(|(name, _)| *name).collect()).unwrap_or_default();
    let of = |subset: usize| {
        let kept: Vec<usize> = (0..inputs.len()).filter(|at| subset >> at & 1 == 1).collect();
        let names: Vec<&str> = kept.iter().map(|at| inputs[*at]).collect();
        let name = if names.is_empty() { "nothing".to_owned() } else { names.join("+") };
        let accuracy = commonest(&test, &kept);
        let noisy = (1.0 - noise) * accuracy + noise * (1.0 - accuracy) / (labels as f64 - 1.0);
        let scores = [("accuracy", accuracy), ("accuracy_with_noise", noisy)];
        (name, scores.map(|(name, value)| (name.to_owned(), value)).into())
    };
    (0..1 << inputs.len()).map(of).collect()
}

/// Returns the share of rows with the commonest true label of their inputs.
fn commonest(rows: &[&LabelledRow], kept: &[usize]) -> f64 {
    let mut counts: BTreeMap<Vec<&str>, BTreeMap<&str, usize>> = BTreeMap::new();
    for row in rows {
        let key = kept.iter().map(|at| row.inputs[*at].1.as_str()).collect();
        *counts.entry(key).or_default().entry(row.truth).or_default() += 1;
    }
    let right: usize = counts.values().filter_map(|labels| labels.values().max()).sum();
    right as f64 / rows.len().max(1) as f64
}

/// How often an event occurred and was perceived, in test rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct EventCounts {
    /// Occurred and was perceived.
    pub perceived: usize,
    /// Occurred and was not perceived.
    pub missed: usize,
    /// Did not occur, and was not perceived either.
    pub absent: usize,
}

/// Returns the best micro F1, macro F1 and macro ROC AUC of predictors that know of each event only whether
/// it was perceived. An event that was perceived did occur.
///
/// Such a predictor says yes where the event was perceived, and either yes or no everywhere else, for each
/// event. All choices are enumerated. Its ROC area is that of a score with two values. Scores named
/// `..._with_noise` are compared with labels of which each was flipped with the probability `noise`; they are
/// computed from the expected counts.
pub(super) fn perception(counts: &[EventCounts], noise: f64) -> Scores {
    let of = |noise: f64, suffix: &str| {
        let tables: Vec<PerceptionTable> = counts.iter().map(|one| PerceptionTable::of(one, noise)).collect();
        let mean = |of: &dyn Fn(&PerceptionTable) -> f64| {
            tables.iter().map(of).sum::<f64>() / tables.len().max(1) as f64
        };
        let micro = |choice: usize| {
            let mut sum = [0.0; 3];
            for (event, table) in tables.iter().enumerate() {
                let own = table.confusion(choice >> event & 1 == 1);
                (0..3).for_each(|at| sum[at] += own[at]);
            }
            f1(sum)
        };
        let best = |table: &PerceptionTable| f1(table.confusion(false)).max(f1(table.confusion(true)));
        [
            (format!("micro_f1{suffix}"), (0..1 << tables.len()).map(micro).fold(0.0, f64::max)),
            (format!("macro_f1{suffix}"), mean(&best)),
            (format!("roc_auc{suffix}"), mean(&PerceptionTable::area)),
        ]
    };
    of(0.0, "").into_iter().chain(of(noise, "_with_noise")).collect()
}

/// Returns F1 of hits, false positives and false negatives; 0 if there are none.
fn f1([hits, false_positives, false_negatives]: [f64; 3]) -> f64 {
    let all = 2.0 * hits + false_positives + false_negatives;
    if all > 0.0 { 2.0 * hits / all } else { 0.0 }
}

/// The expected numbers of rows with and without the label of an event, if it was perceived and if not.
struct PerceptionTable {
    perceived: [f64; 2],
    other: [f64; 2],
}

impl PerceptionTable {
    fn of(counts: &EventCounts, noise: f64) -> Self {
        let [perceived, missed, absent] =
            [counts.perceived, counts.missed, counts.absent].map(|count| count as f64);
        let flipped = |with: f64, without: f64| {
            [with * (1.0 - noise) + without * noise, with * noise + without * (1.0 - noise)]
        };
        Self { perceived: flipped(perceived, 0.0), other: flipped(missed, absent) }
    }

    /// Returns hits, false positives and false negatives of yes where perceived, or of yes always.
    fn confusion(&self, always: bool) -> [f64; 3] {
        let ([with, without], [other_with, other_without]) = (self.perceived, self.other);
        if always { [with + other_with, without + other_without, 0.0] } else { [with, without, other_with] }
    }

    /// Returns the area under the ROC curve of the score that is higher where perceived; 1/2 if all rows have
    /// the label or none has.
    fn area(&self) -> f64 {
        let ([with, without], [other_with, other_without]) = (self.perceived, self.other);
        let pairs = (with + other_with) * (without + other_without);
        let right = with * other_without + 0.5 * (with * without + other_with * other_without);
        if pairs > 0.0 { right / pairs } else { 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;

    fn row(a: &str, b: &str, truth: &'static str) -> LabelledRow {
        let inputs = vec![("a", a.to_owned()), ("b", b.to_owned())];
        LabelledRow { split: BenchmarkSplit::Test, inputs, truth, label: truth, evidence: Map::new() }
    }

    #[test]
    fn accuracies_are_those_of_the_commonest_label() {
        let mut rows =
            vec![row("x", "u", "yes"), row("x", "v", "no"), row("y", "u", "no"), row("y", "v", "no")];
        rows.push(LabelledRow { split: BenchmarkSplit::Train, ..row("z", "w", "yes") });
        let found = accuracies(&rows, 2, 0.1);
        let accuracy = |name: &str| found[name]["accuracy"];
        assert_eq!(["nothing", "a", "b", "a+b"].map(accuracy), [0.75, 0.75, 0.75, 1.0]);
        assert!((found["a+b"]["accuracy_with_noise"] - 0.9).abs() < 1e-12);
        assert!((found["a"]["accuracy_with_noise"] - 0.7).abs() < 1e-12);
    }

    /// By hand: saying yes only where perceived gives 2 * 6 / (12 + 4) = 0.75, always yes 20 / 30.
    #[test]
    fn scores_of_perception_are_those_by_hand() {
        let one = EventCounts { perceived: 6, missed: 4, absent: 10 };
        let found = perception(&[one], 0.1);
        assert!((found["micro_f1"] - 0.75).abs() < 1e-12);
        assert!((found["roc_auc"] - 0.8).abs() < 1e-12);
        // With noise 0.1: 5.4 hits, 0.6 false positives, 3.6 + 1 false negatives.
        assert!((found["micro_f1_with_noise"] - 10.8 / (10.8 + 0.6 + 4.6)).abs() < 1e-12);
        // The 10 positives are 5.4 perceived and 4.6 others; the 10 negatives are 0.6 and 9.4.
        let area = (5.4 * 9.4 + 0.5 * (5.4 * 0.6 + 4.6 * 9.4)) / 100.0;
        assert!((found["roc_auc_with_noise"] - area).abs() < 1e-12);
        // Of a frequent event that is rarely perceived, always yes is better: 2 * 10 / (20 + 2).
        let often = EventCounts { perceived: 2, missed: 8, absent: 2 };
        assert!((perception(&[often], 0.0)["macro_f1"] - 20.0 / 22.0).abs() < 1e-12);
        // Both: 2 * (6 + 10) / (32 + 2 + 4).
        assert!((perception(&[one, often], 0.0)["micro_f1"] - 32.0 / 38.0).abs() < 1e-12);
    }
}
