//! The figures of spectra, trainings and robustness.

use crate::{
    figure::{ChartSeries, LineChart},
    stored::{StoredMap, StoredTraining},
};
use chiasm_check::digits;
use chiasm_pipeline::{Robustness, Sweep, visible};
use serde::Serialize;
use std::collections::BTreeSet;

/// A chart and what it says.
#[derive(Debug, Clone, Serialize)]
pub struct Curve {
    pub title: String,
    pub svg: String,
    pub caption: String,
}

/// Returns the singular values of the Jacobians of each map, relative to the largest of each point: the
/// median over the points, with a band from the 10th to the 90th percentile.
pub fn spectra(maps: &[StoredMap]) -> Vec<Curve> {
    maps.iter().filter_map(spectrum).collect()
}

fn spectrum(map: &StoredMap) -> Option<Curve> {
    let spectra = map.jacobian.as_ref()?;
    let longest = spectra.singular_values.iter().map(Vec::len).max().unwrap_or_default();
    let (mut points, mut band) = (Vec::new(), Vec::new());
    for index in 0..longest {
        let relative = |values: &Vec<f64>| Some(values.get(index)? / values.first()?);
        let values: Vec<f64> = spectra.singular_values.iter().filter_map(relative).collect();
        let [low, middle, high] = [0.1, 0.5, 0.9].map(|share| quantile(values.clone(), share));
        // Values below the tolerance count as zero, and have no place on a logarithmic axis.
        if middle >= spectra.rank_tolerance {
            points.push([(index + 1) as f64, middle]);
            band.push([low.max(spectra.rank_tolerance), high]);
        }
    }
    let whole = |values: &[usize]| quantile(values.iter().map(|v| *v as f64).collect(), 0.5);
    let condition = quantile(spectra.condition_number.iter().flatten().copied().collect(), 0.5);
    let ritz = if spectra.exact { "" } else { " The values are Ritz values of a Lanczos process." };
    let name = visible(&map.map);
    Some(Curve {
        title: format!("Map of {name}"),
        caption: format!(
            "{} to {} dimensions; at the median of {} points the rank is {} of {} attainable and the \
             condition number {}.{ritz}",
            map.input,
            map.output,
            spectra.singular_values.len(),
            whole(&spectra.rank),
            spectra.attainable_rank,
            digits(condition)
        ),
        svg: LineChart {
            label: format!("Singular values of the Jacobian of the map of {name}"),
            x: "index of the singular value".to_owned(),
            y: "share of the largest".to_owned(),
            log: true,
            series: vec![ChartSeries { name: String::new(), points, band }],
        }
        .svg(),
    })
}

/// Returns the quantile of values by the nearest rank; NaN if there are none.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len().max(1) - 1) as f64 * share).round() as usize;
    values.get(at).copied().unwrap_or(f64::NAN)
}

/// Returns the curve of each training, with a line for each of its outputs.
pub fn trainings(all: &[StoredTraining]) -> Vec<Curve> {
    all.iter().map(training).collect()
}

fn training(training: &StoredTraining) -> Curve {
    let names: BTreeSet<&String> = training
        .curve
        .iter()
        .flat_map(|point| point.training.keys().chain(point.validation.keys()))
        .collect();
    let mut series = Vec::new();
    for name in names {
        let of = |validation: bool| {
            let point = |point: &crate::stored::StoredPoint| {
                let outputs = if validation { &point.validation } else { &point.training };
                Some([point.step as f64, (*outputs.get(name)?)?])
            };
            training.curve.iter().filter_map(point).collect::<Vec<_>>()
        };
        for (points, rows) in [(of(false), "training"), (of(true), "validation")] {
            if !points.is_empty() {
                let name = format!("{} ({rows} rows)", visible(name));
                series.push(ChartSeries { name, points, band: Vec::new() });
            }
        }
    }
    let task = visible(&training.task).into_owned();
    Curve {
        caption: format!(
            "{} steps; the weights of step {} were kept; {}.",
            training.steps,
            training.best_step,
            stopped(&training.stopped)
        ),
        svg: LineChart {
            label: format!("Training of {task}"),
            x: "step".to_owned(),
            y: match &series[..] {
                [only] => only.name.clone(),
                _ => "output".to_owned(),
            },
            log: false,
            series,
        }
        .svg(),
        title: task,
    }
}

/// Says why a training ended.
fn stopped(reason: &serde_json::Value) -> String {
    match (reason["early"].as_u64(), reason["diverged"].as_str()) {
        (Some(checks), _) => format!("it stopped early, after {checks} checks without a better score"),
        (_, Some(why)) => format!("it diverged: {}", visible(why)),
        _ => "it did all its steps".to_owned(),
    }
}

/// Returns the recall of each system against the share of corrupted and of missing items.
pub fn robustness(robustness: &Robustness) -> Vec<Curve> {
    let sweeps = [
        (Sweep::Corruption, "Corrupted items", "share of the test items that are corrupted"),
        (Sweep::Missing, "Missing modalities", "share of the rows that lack each modality"),
    ];
    let curve = |(sweep, title, x): (Sweep, &str, &str)| {
        let series: Vec<ChartSeries> = (robustness.curves.iter())
            .filter(|curve| curve.sweep == sweep)
            .map(|curve| ChartSeries {
                name: visible(&curve.system).into_owned(),
                points: curve.points.iter().map(|p| [p.share, p.recall_at_1.value]).collect(),
                band: curve.points.iter().map(|p| p.recall_at_1.interval).collect(),
            })
            .collect();
        (!series.is_empty()).then(|| Curve {
            title: title.to_owned(),
            caption: "Mean recall@1 over the directions, with 95 % intervals.".to_owned(),
            svg: LineChart {
                label: title.to_owned(),
                x: x.to_owned(),
                y: "recall@1".to_owned(),
                log: false,
                series,
            }
            .svg(),
        })
    };
    sweeps.into_iter().filter_map(curve).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Each point's values are divided by its largest: the medians are 1 and 0.1, and what is below the
    /// tolerance is not drawn.
    #[test]
    fn a_spectrum_is_relative_to_the_largest_value_of_each_point() {
        let map: StoredMap = serde_json::from_value(json!({
            "map": "a<b", "input": 3, "output": 3, "points": 5, "checks": [],
            "jacobian": {"exact": true, "attainable_rank": 2, "rank_tolerance": 1e-6, "rank": [2, 2, 2],
                "condition_number": [10.0, 20.0, null],
                "singular_values": [[1.0, 0.1, 0.0], [2.0, 0.2, 0.0], [4.0, 0.4, 1e-9]]}
        }))
        .unwrap();
        let [curve] = &spectra(&[map])[..] else { panic!("one map gives one curve") };
        assert!(curve.caption.contains("rank is 2 of 2 attainable"), "{}", curve.caption);
        assert_eq!(curve.svg.matches("<circle").count(), 2, "{}", curve.svg);
        assert!(curve.svg.contains("a&lt;b") && !curve.svg.contains("a<b"), "{}", curve.svg);
    }

    #[test]
    fn a_training_says_why_it_ended() {
        assert!(stopped(&json!("finished")).contains("all its steps"));
        assert!(stopped(&json!({"early": 3})).contains("after 3 checks"));
        assert!(stopped(&json!({"diverged": "the loss is NaN"})).contains("the loss is NaN"));
    }
}
