//! Plotting the sweeps over corrupted and missing test items: recall@1 with its interval against the share,
//! a panel for each sweep and a line for each system.

use super::robustness::{Robustness, RobustnessCurve, Sweep};
use std::fmt::Write;

/// The size of a panel, the space around it, and the width of the legend, in pixels.
const PANEL: [f64; 2] = [300.0, 260.0];
const LEFT: f64 = 56.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 48.0;
const LEGEND: f64 = 170.0;
/// The colours of the lines: those of Okabe and Ito 2008, which colour-blind readers can tell apart.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// Returns the plot as SVG.
pub fn plot(robustness: &Robustness) -> String {
    let sweeps: Vec<Sweep> = [Sweep::Corruption, Sweep::Missing]
        .into_iter()
        .filter(|sweep| robustness.curves.iter().any(|curve| curve.sweep == *sweep))
        .collect();
    let mut systems: Vec<&str> = Vec::new();
    for curve in &robustness.curves {
        if !systems.contains(&curve.system.as_str()) {
            systems.push(&curve.system);
        }
    }
    let width = sweeps.len() as f64 * (LEFT + PANEL[0]) + LEGEND;
    let height = TOP + PANEL[1] + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (index, sweep) in sweeps.iter().enumerate() {
        let curves: Vec<&RobustnessCurve> =
            robustness.curves.iter().filter(|curve| curve.sweep == *sweep).collect();
        let left = index as f64 * (LEFT + PANEL[0]) + LEFT;
        let panel = Panel { left, top: top_of_axis(&curves) };
        panel.axes(&mut svg, *sweep);
        for curve in &curves {
            let system = systems.iter().position(|system| *system == curve.system).unwrap_or_default();
            panel.line(&mut svg, curve, system);
        }
    }
    legend(&mut svg, &systems, width - LEGEND + 16.0);
    svg.push_str("</svg>\n");
    svg
}

/// Returns the end of the vertical axis: five times a number of one or two digits.
fn top_of_axis(curves: &[&RobustnessCurve]) -> f64 {
    let highest = curves.iter().flat_map(|curve| &curve.points).map(|point| point.recall_at_1.interval[1]);
    let least = highest.fold(0.01, f64::max) / 5.0;
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0].map(|factor| factor * power);
    let step = steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9));
    (5.0 * step.unwrap_or(0.2)).min(1.0)
}

/// The area of one sweep.
struct Panel {
    left: f64,
    /// The largest recall of the vertical axis.
    top: f64,
}

impl Panel {
    fn x(&self, share: f64) -> f64 {
        self.left + share * PANEL[0]
    }

    fn y(&self, recall: f64) -> f64 {
        TOP + (1.0 - recall / self.top) * PANEL[1]
    }

    fn axes(&self, svg: &mut String, sweep: Sweep) {
        let (title, axis) = match sweep {
            Sweep::Corruption => ("corrupted items", "share of the test items, %"),
            Sweep::Missing => ("missing modalities", "share of the test rows, for each modality, %"),
        };
        let [middle, base] = [self.left + PANEL[0] / 2.0, TOP + PANEL[1]];
        text(svg, [middle, TOP - 14.0], "middle\" font-weight=\"bold", title);
        text(svg, [middle, base + 38.0], "middle", axis);
        text(svg, [self.left - LEFT + 6.0, TOP - 14.0], "start", "recall@1, %");
        for tick in 0..=5 {
            let part = f64::from(tick) / 5.0;
            let (x, y) = (self.x(part), self.y(part * self.top));
            let right = self.left + PANEL[0];
            let _ = writeln!(
                svg,
                "<path d=\"M{:.1} {y:.1}H{right:.1}\" stroke=\"#ddd\" fill=\"none\"/>",
                self.left
            );
            text(svg, [self.left - 6.0, y + 4.0], "end", &number(100.0 * part * self.top));
            text(svg, [x, base + 18.0], "middle", &number(100.0 * part));
        }
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {TOP:.1}V{base:.1}H{:.1}\" stroke=\"black\" fill=\"none\"/>",
            self.left,
            self.left + PANEL[0]
        );
    }

    /// Draws a curve, with a vertical bar for each interval. Curves are shifted a little so that their bars
    /// do not hide each other.
    fn line(&self, svg: &mut String, curve: &RobustnessCurve, system: usize) {
        let colour = COLOURS[system % COLOURS.len()];
        let shift = 2.0 * system as f64;
        let mut path = String::new();
        for (index, point) in curve.points.iter().enumerate() {
            let recall = point.recall_at_1;
            let (x, y) = (self.x(point.share) + shift, self.y(recall.value));
            let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
            let [low, high] = recall.interval.map(|end| self.y(end));
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {low:.1}V{high:.1}\" stroke=\"{colour}\" opacity=\"0.5\"/>\
                 <circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
            );
        }
        let width = line_width(system);
        let _ =
            writeln!(svg, "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"{width}\" fill=\"none\"/>");
    }
}

/// The line of the recipe's own aligner is wider.
fn line_width(system: usize) -> f64 {
    if system == 0 { 2.5 } else { 1.2 }
}

fn legend(svg: &mut String, systems: &[&str], left: f64) {
    for (system, name) in systems.iter().enumerate() {
        let y = TOP + 10.0 + 20.0 * system as f64;
        let colour = COLOURS[system % COLOURS.len()];
        let width = line_width(system);
        let _ =
            writeln!(svg, "<path d=\"M{left:.1} {y:.1}h22\" stroke=\"{colour}\" stroke-width=\"{width}\"/>");
        text(svg, [left + 28.0, y + 4.0], "start", name);
    }
}

fn text(svg: &mut String, [x, y]: [f64; 2], anchor: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>");
}

/// Formats a number of an axis without trailing zeros.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::robustness::{RobustnessPoint, RobustnessScore};

    fn curve(system: &str, sweep: Sweep, recalls: [f64; 2]) -> RobustnessCurve {
        let point = |(share, value): (f64, f64)| RobustnessPoint {
            share,
            recall_at_1: RobustnessScore { value, interval: [value, value], ..RobustnessScore::default() },
            recall_at_10: RobustnessScore::default(),
            task: None,
        };
        let points = [0.0, 0.5].into_iter().zip(recalls).map(point).collect();
        RobustnessCurve { system: system.to_owned(), sweep, points }
    }

    /// The axis ends at 50 %, so that 50 % is at the top, 25 % in the middle and 37.5 % at a quarter.
    #[test]
    fn a_recall_is_at_its_height_and_a_share_at_its_distance() {
        let curves =
            vec![curve("own", Sweep::Missing, [0.5, 0.25]), curve("a<b", Sweep::Missing, [0.5, 0.375])];
        let svg = plot(&Robustness { curves, ..Robustness::default() });
        let half = TOP + PANEL[1] / 2.0;
        assert!(
            svg.contains(&format!("M{LEFT:.1} {TOP:.1}L{:.1} {half:.1}", LEFT + PANEL[0] / 2.0)),
            "{svg}"
        );
        assert!(
            svg.contains(&format!("{:.1} {:.1}\"", LEFT + 2.0 + PANEL[0] / 2.0, TOP + PANEL[1] / 4.0)),
            "{svg}"
        );
        assert!(svg.contains("a&lt;b") && svg.contains("missing modalities"));
        assert!(!svg.contains("corrupted items"), "there is no panel without curves");
    }
}
