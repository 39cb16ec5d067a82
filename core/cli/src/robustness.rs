//! Printing the sweeps over corrupted and missing test items.

use crate::print;
use chiasm_pipeline::{Robustness, RobustnessCurve, RobustnessPoint, RobustnessScore, Sweep};

/// Prints a table of every sweep.
pub fn print(robustness: &Robustness) {
    for (sweep, title) in [
        (Sweep::Corruption, "corrupted test items, %"),
        (Sweep::Missing, "test rows without each modality, %"),
    ] {
        let curves: Vec<&RobustnessCurve> =
            robustness.curves.iter().filter(|curve| curve.sweep == sweep).collect();
        if curves.is_empty() {
            continue;
        }
        let has_task = curves.iter().any(|curve| curve.points.iter().any(|point| point.task.is_some()));
        let mut header = vec![title, "share", "recall@1", "95 %", "loss", "95 %", "recall@10", "loss"];
        header.extend(has_task.then_some("task"));
        let rows = curves.iter().flat_map(|curve| {
            curve.points.iter().map(|point| {
                let mut row = row(&curve.system, point);
                row.extend(
                    has_task.then(|| point.task.map_or_else(String::new, |task| format!("{task:.3}"))),
                );
                row
            })
        });
        print::line("");
        print::table(&header, rows.collect(), 1);
    }
}

fn row(system: &str, point: &RobustnessPoint) -> Vec<String> {
    let percent = |fraction: f64| format!("{:.1}", 100.0 * fraction);
    let range = |[low, high]: [f64; 2]| format!("{}..{}", percent(low), percent(high));
    let RobustnessScore { value, interval, loss, loss_interval, .. } = point.recall_at_1;
    let loses = |text: String| if point.share == 0.0 { String::new() } else { text };
    vec![
        system.to_owned(),
        percent(point.share),
        percent(value),
        range(interval),
        loses(percent(loss)),
        loses(range(loss_interval)),
        percent(point.recall_at_10.value),
        loses(percent(point.recall_at_10.loss)),
    ]
}
