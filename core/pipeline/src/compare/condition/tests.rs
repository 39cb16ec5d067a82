use super::*;
use crate::compare::{
    report::{CorrectedDifference, MeasuredRow, report},
    significance::PairedDifference,
};
use crate::run::query_scores::QueryScores;

fn row(name: &str, recall: f64, p: Option<f64>) -> ComparisonRow {
    let mut row = ComparisonRow::named(name.to_owned(), "plain");
    row.value = recall;
    row.metrics = [("recall@1".to_owned(), recall), ("rsum".to_owned(), 300.0 * recall)].into();
    let direction = ["recall@1", "recall@5", "recall@10"].map(|name| (name.to_owned(), recall / 2.0));
    row.directions = [("a->b".to_owned(), direction.into())].into();
    row.difference = p.map(|p| CorrectedDifference {
        difference: PairedDifference { mean: recall - 0.5, interval: [-1.0, 1.0], p },
        p_holm: p,
    });
    row
}

/// A baseline with recall@1 0.5, and another row.
fn compared(recall: f64, p: Option<f64>) -> ComparisonReport {
    let mut found = report(
        vec![MeasuredRow {
            row: row("old", 0.5, None),
            seeds: vec![QueryScores::default()],
            task_seeds: Vec::new(),
            all_pairs: 0,
            fewer: Vec::new(),
        }],
        0,
        StudyMetric::RecallAt1,
    );
    found.rows = vec![row("old", 0.5, None), row("new", recall, p)];
    found
}

fn holds(condition: &str, report: &ComparisonReport) -> bool {
    !FailCondition::parse(condition).unwrap().failures(report).unwrap().is_empty()
}

#[test]
fn a_condition_holds_from_its_amount_on() {
    let (less, same, more) = (compared(0.49, Some(0.2)), compared(0.5, Some(1.0)), compared(0.6, Some(0.01)));
    for condition in ["recall@1 drops 0.01", "recall@1 drops 0", "recall@1  drops 2%", "rsum drops 3"] {
        assert!(holds(condition, &less), "{condition}: 0.5 to 0.49");
        assert!(!holds(condition, &same) && !holds(condition, &more), "{condition}");
    }
    for condition in ["recall@1 drops 0.011", "recall@1 drops 2.1%", "rsum drops 3.1", "recall@1 drops 1e9"] {
        assert!(!holds(condition, &less), "{condition}");
    }
    assert!(holds("recall@1 below 0.495", &less) && !holds("recall@1 below 0.49", &less));
    // In the direction all recalls are half as high: 0.245 in place of 0.25.
    assert!(holds("recall@1 drops 0.005 in a->b", &less) && !holds("recall@1 drops 0.006 in a->b", &less));
    assert!(holds("rsum drops 1.5 in a->b", &less) && !holds("rsum drops 1.6 in a->b", &less));
}

#[test]
fn a_significant_drop_has_a_small_corrected_p_value() {
    let condition = "recall@1 drops significantly";
    assert!(holds(condition, &compared(0.49, Some(0.049))));
    assert!(!holds(condition, &compared(0.2, Some(0.051))) && !holds(condition, &compared(0.9, Some(0.001))));
    let of = FailCondition::parse("map drops significantly").unwrap();
    let message = of.check_metric(StudyMetric::RecallAt1).unwrap_err().to_string();
    assert!(message.contains("the p-values are those of --metric recall@1"), "{message}");
    assert!(of.check_metric(StudyMetric::Map).is_ok());
}

#[test]
fn what_cannot_be_compared_does_not_pass() {
    let other = compared(0.9, None);
    let condition = FailCondition::parse("recall@1 drops 0.01").unwrap();
    let message = condition.failures(&other).unwrap_err().to_string();
    assert!(message.contains("do not have the same test queries"), "{message}");
    let nowhere = FailCondition::parse("recall@1 below 0.1 in b->a").unwrap();
    let message = nowhere.failures(&other).unwrap_err().to_string();
    assert!(message.contains("has no direction \"b->a\""), "{message}");
    // A score that the recipe does not ask for decides nothing.
    let mut bank = compared(0.1, Some(0.0));
    bank.rows[1].asked = false;
    assert!(!holds("recall@1 drops 0.01", &bank));
}

#[test]
fn other_forms_are_refused_with_the_right_ones() {
    for (text, words) in [
        ("recall@1", "got 1 words"),
        ("", "got 0 words"),
        ("recall drops 0.01", "got \"recall\""),
        ("recall@1 falls 0.01", "got \"falls\""),
        ("recall@1 drops much", "got \"much\""),
        ("recall@1 drops -0.01", "not negative"),
        ("recall@1 drops NaN", "not negative"),
        ("recall@1 drops 1 %", "got 4 words"),
        ("recall@1 below 3%", "got \"3%\""),
        ("recall@1 drops 0.01 in", "got 4 words"),
        ("recall@1 drops significantly in a->b", "the mean over all directions"),
    ] {
        let Error::Problems(problems) = FailCondition::parse(text).unwrap_err() else { panic!("{text}") };
        let message = format!("{problems:?}");
        assert!(
            message.contains(&words.replace('"', "\\\"")) && message.contains("METRIC drops AMOUNT"),
            "{message}"
        );
    }
}
