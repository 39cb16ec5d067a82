//! Values with their intervals, one under the other, on a common scale.

use crate::figure::{Axis, WIDTH, mark, opening, text};
use chiasm_check::digits;
use std::fmt::Write;

/// A value with its interval.
#[derive(Debug, Clone)]
pub struct Dot {
    pub name: String,
    pub value: f64,
    pub ends: [f64; 2],
    /// The index of its colour and mark.
    pub class: usize,
}

/// Returns dots with whiskers, a line each, as an SVG element. `at` is a value that is marked by a vertical
/// line, for example zero.
pub fn dot_plot(label: &str, dots: &[Dot], at: Option<f64>) -> String {
    const LINE: f64 = 38.0;
    let (left, right) = (14.0, WIDTH - 20.0);
    let height = LINE * dots.len() as f64 + 40.0;
    let base = height - 26.0;
    let axis = Axis::linear(dots.iter().flat_map(|dot| [dot.value, dot.ends[0], dot.ends[1]]).chain(at));
    let place = |value: f64| left + axis.at(value) * (right - left);
    let mut svg = opening(label, height, false);
    for tick in &axis.ticks {
        let x = place(*tick);
        let _ = write!(svg, "<path class=\"grid\" d=\"M{x:.1} 6V{base}\"/>");
        text(&mut svg, [x, base + 16.0], "middle", &digits(*tick));
    }
    if let Some(at) = at {
        let _ = write!(svg, "<path class=\"axis\" d=\"M{:.1} 6V{base}\"/>", place(at));
    }
    for (number, dot) in dots.iter().enumerate() {
        let y = LINE * number as f64 + 32.0;
        let [low, high] = dot.ends;
        let said = format!("{}: {:.3} ({low:.3} to {high:.3})", dot.name, dot.value);
        text(&mut svg, [left, y - 11.0], "start", &said);
        if dot.ends.iter().chain([&dot.value]).any(|value| !value.is_finite()) {
            continue;
        }
        let [low, high] = dot.ends.map(place);
        let class = dot.class;
        let _ = write!(svg, "<path class=\"line s{class}\" d=\"M{low:.1} {y}H{high:.1}\"/>");
        for end in [low, high] {
            let _ = write!(svg, "<path class=\"line s{class}\" d=\"M{end:.1} {}V{}\"/>", y - 5.0, y + 5.0);
        }
        let _ = write!(svg, "<g class=\"s{class}\">{}</g>", mark(class, [place(dot.value), y], 4.5, None));
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The axis runs from 0 to 100, so that 50 is in the middle, and its whiskers end at 25 and 100.
    #[test]
    fn whiskers_end_at_the_ends_of_the_interval() {
        let dot = Dot { name: "a<b".to_owned(), value: 50.0, ends: [25.0, 100.0], class: 0 };
        let zero = Dot { name: "zero".to_owned(), value: 0.0, ends: [0.0, 0.0], class: 1 };
        let svg = dot_plot("label", &[dot, zero], None);
        let place = |share: f64| 14.0 + share * (WIDTH - 34.0);
        assert!(svg.contains(&format!("M{:.1} 32H{:.1}", place(0.25), place(1.0))), "{svg}");
        assert!(svg.contains(&format!("cx=\"{:.1}\"", place(0.5))) && svg.contains("a&lt;b"), "{svg}");
        let broken = Dot { name: "none".to_owned(), value: f64::NAN, ends: [f64::NAN; 2], class: 0 };
        assert!(!dot_plot("label", &[broken], Some(0.0)).contains("d=\"MNaN"));
    }
}
