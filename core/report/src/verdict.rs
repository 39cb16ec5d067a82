//! The sentence that says whether a merge may be trusted, and its reasons.

use crate::stored::StoredChecks;
use chiasm_pipeline::Metrics;

/// Whether a merge may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Every check passed or warned, and retrieval exceeds chance and the control.
    Yes,
    /// Something could not be measured.
    Care,
    /// A check failed, or retrieval does not exceed chance or the control.
    No,
}

impl Trust {
    /// Returns `yes`, `care` or `no`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Care => "care",
            Self::No => "no",
        }
    }
}

/// The verdict on a run.
pub struct Verdict {
    pub trust: Trust,
    pub sentence: String,
}

/// Returns the verdict from the stored checks and metrics.
///
/// A direction of retrieval exceeds chance if its recall@1 does; that is not certain if its 95 % interval
/// reaches chance. The same holds for the control, whose pairs were shuffled before the fit.
pub fn verdict(checks: Option<&StoredChecks>, metrics: Option<&Metrics>) -> Verdict {
    let (mut against, mut open) = (Vec::new(), Vec::new());
    check_reasons(checks, &mut against, &mut open);
    recall_reasons(metrics, &mut against, &mut open);
    let recall = metrics.map(recall_words).unwrap_or_default();
    if !against.is_empty() {
        let sentence = format!("Do not trust this merge: {}{recall}.", against.join("; "));
        return Verdict { trust: Trust::No, sentence };
    }
    if !open.is_empty() {
        let sentence = format!("Trust this merge with care: {}{recall}.", open.join("; "));
        return Verdict { trust: Trust::Care, sentence };
    }
    let all = checks.map(|checks| of_verdict(checks, "pass").len()).unwrap_or_default();
    let warned = checks.map(|checks| of_verdict(checks, "warn").len()).unwrap_or_default();
    let passed = match warned {
        0 => format!("all {all} checks of its maps passed"),
        1 => format!("no check failed ({all} passed, 1 warns)"),
        _ => format!("no check failed ({all} passed, {warned} warn)"),
    };
    let sentence = format!("This merge may be trusted on data like its test rows: {passed}{recall}.");
    Verdict { trust: Trust::Yes, sentence }
}

/// Returns the checks with a verdict, as `map: check`.
fn of_verdict(checks: &StoredChecks, verdict: &str) -> Vec<String> {
    let of_map = |map: &crate::stored::StoredMap| -> Vec<String> {
        let named = map.checks.iter().filter(|check| check.verdict == verdict);
        named.map(|check| format!("{}: {}", map.map, check.name)).collect()
    };
    checks.maps.iter().flat_map(of_map).collect()
}

fn check_reasons(checks: Option<&StoredChecks>, against: &mut Vec<String>, open: &mut Vec<String>) {
    let Some(checks) = checks.filter(|checks| !checks.maps.is_empty()) else {
        open.push("its maps were not checked".to_owned());
        return;
    };
    let failed = of_verdict(checks, "fail");
    if !failed.is_empty() {
        against.push(format!("{} failed ({})", counted(failed.len()), failed.join(", ")));
    }
    let unknown = of_verdict(checks, "unknown");
    if !unknown.is_empty() {
        open.push(format!("{} could not be made ({})", counted(unknown.len()), unknown.join(", ")));
    }
}

fn counted(checks: usize) -> String {
    if checks == 1 { "1 check".to_owned() } else { format!("{checks} checks") }
}

fn recall_reasons(metrics: Option<&Metrics>, against: &mut Vec<String>, open: &mut Vec<String>) {
    let Some(metrics) = metrics.filter(|metrics| !metrics.retrieval.is_empty()) else {
        open.push("its retrieval was not measured".to_owned());
        return;
    };
    let control = |name: &String| {
        let shuffled = metrics.shuffled_pairs.as_ref()?;
        shuffled.retrieval.get(name).map(|scores| scores.recall_at_1)
    };
    for (name, scored) in &metrics.retrieval {
        let (value, low) = (scored.figures.recall_at_1, scored.interval[0]);
        let shuffled = control(name);
        let chance = [("chance", Some(scored.chance.recall_at_1)), ("the shuffled control", shuffled)];
        for (what, level) in chance {
            let Some(level) = level else { continue };
            if value <= level {
                against.push(format!("recall@1 of {name} does not exceed {what}"));
            } else if low <= level {
                open.push(format!("the interval of recall@1 of {name} reaches {what}"));
            }
        }
    }
    if metrics.shuffled_pairs.is_none() {
        open.push("the run has no control with shuffled pairs".to_owned());
    }
    if !metrics.not_measured.is_empty() {
        open.push(format!("{} could not be measured", metrics.not_measured.join(", ")));
    }
}

/// Returns the mean recall@1 beside chance and the control, in words.
fn recall_words(metrics: &Metrics) -> String {
    let count = metrics.retrieval.len();
    if count == 0 {
        return String::new();
    }
    let mean = |values: &mut dyn Iterator<Item = f64>| 100.0 * values.sum::<f64>() / count as f64;
    let value = mean(&mut metrics.retrieval.values().map(|scored| scored.figures.recall_at_1));
    let chance = mean(&mut metrics.retrieval.values().map(|scored| scored.chance.recall_at_1));
    let shuffled = metrics.shuffled_pairs.as_ref().map_or_else(String::new, |control| {
        let value = mean(&mut control.retrieval.values().map(|scores| scores.recall_at_1));
        format!(" and the control with shuffled pairs {value:.1} %")
    });
    let over = if count == 1 { String::new() } else { format!(" on average over {count} directions") };
    format!("; recall@1 is {value:.1} %{over}, where chance is {chance:.1} %{shuffled}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scores(recall: f64) -> serde_json::Value {
        json!({"recall@1": recall, "recall@5": recall, "recall@10": recall, "mrr": recall, "map": recall,
               "map@10": recall, "ndcg@10": recall, "median_rank": 1.0})
    }

    /// Metrics of one direction: recall@1, the low end of its interval, and the control.
    fn metrics(recall: f64, low: f64, shuffled: Option<f64>) -> Metrics {
        let mut own = scores(recall);
        own["recall@1_interval"] = json!([low, 1.0]);
        own["chance"] = scores(0.1);
        for (key, value) in [("queries", 10), ("left_out", 0), ("gallery", 10)] {
            own[key] = json!(value);
        }
        own["emergent"] = json!(false);
        let control = shuffled.map(|value| json!({"retrieval": {"a->b": scores(value)}, "rsum": 0.0}));
        let mut all = json!({"retrieval": {"a->b": own}, "rsum": 0.0, "rsum_max": 300.0, "rows": 10,
                             "items": {}, "transductive": {}});
        if let Some(control) = control {
            all["shuffled_pairs"] = control;
        }
        serde_json::from_value(all).unwrap()
    }

    fn checks(verdicts: &[&str]) -> StoredChecks {
        let check =
            |verdict: &&str| json!({"name": "rank", "verdict": verdict, "number": 0.0, "meaning": ""});
        let checks: Vec<_> = verdicts.iter().map(check).collect();
        let map = json!({"map": "a", "input": 2, "output": 2, "points": 3, "checks": checks});
        serde_json::from_value(json!({"maps": [map]})).unwrap()
    }

    #[test]
    fn the_sentence_names_what_failed_what_is_open_and_the_recall() {
        let good = metrics(0.9, 0.8, Some(0.1));
        let of = |verdicts: &[&str], metrics: &Metrics| verdict(Some(&checks(verdicts)), Some(metrics));
        let trusted = of(&["pass", "pass"], &good);
        assert_eq!(trusted.trust, Trust::Yes);
        assert_eq!(
            trusted.sentence,
            "This merge may be trusted on data like its test rows: all 2 checks of its maps passed; recall@1 \
             is 90.0 %, where chance is 10.0 % and the control with shuffled pairs 10.0 %."
        );
        let cases: [(&[&str], Metrics, Trust, &str); 7] = [
            (&["pass", "warn"], good.clone(), Trust::Yes, "no check failed (1 passed, 1 warns)"),
            (&["unknown"], good.clone(), Trust::Care, "1 check could not be made (a: rank)"),
            (&["fail", "unknown"], good, Trust::No, "1 check failed (a: rank)"),
            (&["pass"], metrics(0.9, 0.8, None), Trust::Care, "no control with shuffled pairs"),
            (&["pass"], metrics(0.2, 0.1, Some(0.0)), Trust::Care, "recall@1 of a->b reaches chance"),
            (&["pass"], metrics(0.1, 0.0, Some(0.0)), Trust::No, "recall@1 of a->b does not exceed chance"),
            (&["pass"], metrics(0.5, 0.4, Some(0.6)), Trust::No, "does not exceed the shuffled control"),
        ];
        for (verdicts, metrics, trust, words) in cases {
            let got = of(verdicts, &metrics);
            assert_eq!(got.trust, trust, "{}", got.sentence);
            assert!(got.sentence.contains(words), "{}", got.sentence);
        }
        assert_eq!(verdict(None, None).trust, Trust::Care, "a run without results is not trusted");
    }
}
