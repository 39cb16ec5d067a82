//! Figures as SVG elements of a page. Colours are classes (`s0`, `s1`, ...) of the page's style, so that they
//! follow light and dark; every text is escaped.

use chiasm_check::digits;
use std::fmt::Write;

/// The width of a figure in its own units; the page scales it to the column.
pub const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 240.0;
/// The margins of a chart: left, right, top, bottom.
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// The number of colours.
pub const COLOURS: usize = 6;

/// Escapes a text for HTML and SVG, in text and in quoted attributes.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A line of a chart.
#[derive(Debug, Clone, Default)]
pub struct ChartSeries {
    pub name: String,
    /// Horizontal and vertical values.
    pub points: Vec<[f64; 2]>,
    /// The low and high end of a band at each point; empty for none.
    pub band: Vec<[f64; 2]>,
}

/// A chart of lines.
#[derive(Debug, Clone, Default)]
pub struct LineChart {
    /// What the chart shows, for readers who do not see it.
    pub label: String,
    pub x: String,
    pub y: String,
    /// Whether the vertical axis is logarithmic. Values that are not positive are left out then.
    pub log: bool,
    pub series: Vec<ChartSeries>,
}

/// The range of an axis and the position of its ticks.
pub struct Axis {
    low: f64,
    high: f64,
    pub ticks: Vec<f64>,
}

impl Axis {
    /// Returns an axis with round ticks that holds all values; about five ticks.
    pub fn linear(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = range(values);
        let span = if high > low { high - low } else { high.abs().max(1.0) };
        let rough = span / 4.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= rough).unwrap_or(10.0) * power;
        let (first, last) = ((low / step).floor(), (high / step).ceil().max((low / step).floor() + 1.0));
        let count = (last - first) as usize;
        let ticks = (0..=count).map(|at| (first + at as f64) * step).collect();
        Self { low: first * step, high: last * step, ticks }
    }

    /// Returns an axis of decimal logarithms with ticks at powers of ten, at most seven.
    fn decades(logs: impl Iterator<Item = f64>) -> Self {
        let (low, high) = range(logs);
        let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
        let step = ((high - low) / 6.0).ceil().max(1.0);
        let ticks = (0..=((high - low) / step) as usize).map(|at| low + at as f64 * step).collect();
        Self { low, high, ticks }
    }

    /// Returns the position of a value, from 0 at the low end to 1 at the high one.
    pub fn at(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let found = values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if found.0 > found.1 { (0.0, 1.0) } else { found }
}

impl LineChart {
    /// Returns the chart as an SVG element, with a legend if it has several lines.
    pub fn svg(&self) -> String {
        let scaled = |v: f64| if self.log { v.log10() } else { v };
        let drawn: Vec<ChartSeries> = self.series.iter().map(|line| self.drawable(line)).collect();
        let x = Axis::linear(drawn.iter().flat_map(|line| line.points.iter().map(|p| p[0])));
        let values = drawn.iter().flat_map(|line| {
            let band = line.band.iter().flatten();
            line.points.iter().map(|p| &p[1]).chain(band).map(|v| scaled(*v))
        });
        let y = if self.log { Axis::decades(values) } else { Axis::linear(values) };
        let place = |p: [f64; 2]| {
            let right = LEFT + x.at(p[0]) * (WIDTH - LEFT - RIGHT);
            [right, TOP + (1.0 - y.at(scaled(p[1]))) * (HEIGHT - TOP - BOTTOM)]
        };
        let mut svg = opening(&self.label, HEIGHT, false);
        self.axes(&mut svg, &x, &y);
        for (number, line) in drawn.iter().enumerate() {
            let class = number % COLOURS;
            if !line.band.is_empty() {
                let ends =
                    |end: usize| line.points.iter().zip(&line.band).map(move |(p, band)| [p[0], band[end]]);
                let outline: Vec<[f64; 2]> = ends(0).chain(ends(1).rev()).map(place).collect();
                let _ = write!(svg, "<path class=\"band s{class}\" d=\"{}Z\"/>", path(&outline));
            }
            let points: Vec<[f64; 2]> = line.points.iter().copied().map(place).collect();
            let _ = write!(svg, "<path class=\"line s{class}\" d=\"{}\"/>", path(&points));
            if points.len() <= 12 {
                for p in points {
                    let _ = write!(
                        svg,
                        "<circle class=\"s{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"/>",
                        p[0], p[1]
                    );
                }
            }
        }
        svg.push_str("</svg>");
        let names: Vec<&str> = drawn.iter().map(|line| line.name.as_str()).collect();
        svg + &legend(&names)
    }

    /// Returns a line without the points that cannot be drawn.
    fn drawable(&self, line: &ChartSeries) -> ChartSeries {
        let good = |v: f64| v.is_finite() && (!self.log || v > 0.0);
        let kept: Vec<usize> = (0..line.points.len())
            .filter(|at| line.points[*at].iter().all(|v| v.is_finite()) && good(line.points[*at][1]))
            .filter(|at| line.band.get(*at).is_none_or(|band| band.iter().all(|v| good(*v))))
            .collect();
        ChartSeries {
            name: line.name.clone(),
            points: kept.iter().map(|at| line.points[*at]).collect(),
            band: kept.iter().filter_map(|at| line.band.get(*at).copied()).collect(),
        }
    }

    fn axes(&self, svg: &mut String, x: &Axis, y: &Axis) {
        let (right, base) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in &y.ticks {
            let at = TOP + (1.0 - y.at(*tick)) * (base - TOP);
            let label = if self.log { power_of_ten(*tick) } else { digits(*tick) };
            let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>");
            text(svg, [LEFT - 5.0, at + 4.0], "end", &label);
        }
        for tick in &x.ticks {
            let at = LEFT + x.at(*tick) * (right - LEFT);
            let _ = write!(svg, "<path class=\"grid\" d=\"M{at:.1} {base}v4\"/>");
            text(svg, [at, base + 16.0], "middle", &digits(*tick));
        }
        let _ = write!(svg, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{base}H{right}\"/>");
        text(svg, [(LEFT + right) / 2.0, HEIGHT - 8.0], "middle", &self.x);
        let middle = (TOP + base) / 2.0;
        let _ = write!(
            svg,
            "<text x=\"12\" y=\"{middle}\" text-anchor=\"middle\" \
             transform=\"rotate(-90 12 {middle})\">{}</text>",
            escaped(&self.y)
        );
    }
}

fn power_of_ten(power: f64) -> String {
    if (-2.0..=3.0).contains(&power) { digits(10_f64.powf(power)) } else { format!("1e{power}") }
}

fn path(points: &[[f64; 2]]) -> String {
    let mut d = String::new();
    for (at, [x, y]) in points.iter().enumerate() {
        let _ = write!(d, "{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' });
    }
    d
}

pub fn text(svg: &mut String, [x, y]: [f64; 2], anchor: &str, content: &str) {
    let _ =
        write!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(content));
}

/// Opens a figure. One that can be explored by keyboard is a stop of the Tab key.
pub fn opening(label: &str, height: f64, explored: bool) -> String {
    let role = if explored { "role=\"group\" data-points" } else { "role=\"img\"" };
    format!("<svg {role} viewBox=\"0 0 {WIDTH} {height}\" aria-label=\"{}\">", escaped(label))
}

/// Returns the names of the colours, if there are several.
pub fn legend(names: &[&str]) -> String {
    if names.len() < 2 {
        return String::new();
    }
    let entry = |(number, name): (usize, &&str)| {
        let class = number % COLOURS;
        let mark = mark(class, [7.0, 7.0], 5.0, None);
        format!(
            "<li><svg class=\"key\" viewBox=\"0 0 14 14\" aria-hidden=\"true\">\
             <g class=\"s{class}\">{mark}</g></svg>{}</li>",
            escaped(name)
        )
    };
    let entries: String = names.iter().enumerate().map(entry).collect();
    format!("<ul class=\"legend\">{entries}</ul>")
}

/// Returns a mark whose shape depends on the colour, so that no reader needs to tell colours apart. That of
/// an item has the item's number and title.
pub fn mark(class: usize, [x, y]: [f64; 2], r: f64, titled: Option<(usize, &str)>) -> String {
    let (left, top, right, base) = (x - r, y - r, x + r, y + r);
    let shape = match class % 3 {
        0 => format!("circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r}\""),
        1 => format!("path d=\"M{left:.1} {y:.1}L{x:.1} {top:.1}L{right:.1} {y:.1}L{x:.1} {base:.1}Z\""),
        _ => format!("path d=\"M{left:.1} {base:.1}L{x:.1} {top:.1}L{right:.1} {base:.1}Z\""),
    };
    match titled {
        None => format!("<{shape}/>"),
        Some((item, title)) => {
            let name = if class.is_multiple_of(3) { "circle" } else { "path" };
            format!("<{shape} data-i=\"{item}\"><title>{}</title></{name}>", escaped(title))
        }
    }
}

/// A point of a scatter plot.
#[derive(Debug, Clone)]
pub struct ScatterPoint {
    pub at: [f64; 2],
    /// The index of its colour.
    pub class: usize,
    /// The number of its item.
    pub item: usize,
    /// Its text, shown by the browser on hovering.
    pub title: String,
}

/// Returns a scatter plot with equal scales of both axes, as an SVG element.
pub fn scatter(label: &str, points: &[ScatterPoint]) -> String {
    const SIDE: f64 = 300.0;
    const EDGE: f64 = 10.0;
    let (left, right) = range(points.iter().map(|p| p.at[0]));
    let (low, high) = range(points.iter().map(|p| p.at[1]));
    let span = (right - left).max(high - low);
    let unit = if span > 0.0 { (SIDE - 2.0 * EDGE) / span } else { 0.0 };
    let [middle_x, middle_y] = [(left + right) / 2.0, (low + high) / 2.0];
    let mut svg = opening(label, SIDE, true);
    let _ = write!(
        svg,
        "<rect class=\"frame\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\"/>",
        WIDTH - 1.0,
        SIDE - 1.0
    );
    let mut classes: Vec<usize> = points.iter().map(|p| p.class).collect();
    classes.sort_unstable();
    classes.dedup();
    for class in classes {
        let _ = write!(svg, "<g class=\"s{}\">", class % COLOURS);
        for point in points.iter().filter(|p| p.class == class) {
            let x = WIDTH / 2.0 + (point.at[0] - middle_x) * unit;
            let y = SIDE / 2.0 - (point.at[1] - middle_y) * unit;
            svg.push_str(&mark(class, [x, y], 3.5, Some((point.item, &point.title))));
        }
        svg.push_str("</g>");
    }
    svg + "</svg>"
}

/// A share with its interval, beside chance and a control.
#[derive(Debug, Clone)]
pub struct Interval {
    pub name: String,
    pub value: f64,
    pub ends: [f64; 2],
    pub chance: f64,
    pub control: Option<f64>,
}

/// Returns shares on a scale from 0 to 100 %, a line each, as an SVG element.
pub fn intervals(label: &str, shares: &[Interval]) -> String {
    const LINE: f64 = 42.0;
    let (left, right) = (12.0, WIDTH - 18.0);
    let height = LINE * shares.len() as f64 + 34.0;
    let place = |share: f64| left + share.clamp(0.0, 1.0) * (right - left);
    let mut svg = opening(label, height, false);
    let base = height - 26.0;
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let at = place(tick);
        let _ = write!(svg, "<path class=\"grid\" d=\"M{at:.1} 4V{base}\"/>");
        text(&mut svg, [at, base + 16.0], "middle", &format!("{:.0} %", 100.0 * tick));
    }
    for (number, share) in shares.iter().enumerate() {
        let y = LINE * number as f64 + 30.0;
        text(&mut svg, [left, y - 13.0], "start", &format!("{}: {:.1} %", share.name, 100.0 * share.value));
        let [low, high] = share.ends.map(place);
        let _ = write!(svg, "<path class=\"line s0\" d=\"M{low:.1} {y}H{high:.1}\"/>");
        let _ = write!(svg, "<g class=\"s0\">{}</g>", mark(0, [place(share.value), y], 4.5, None));
        let chance = place(share.chance);
        let _ = write!(svg, "<path class=\"line s3\" d=\"M{chance:.1} {}V{}\"/>", y - 7.0, y + 7.0);
        if let Some(control) = share.control {
            let _ = write!(svg, "<g class=\"s1\">{}</g>", mark(1, [place(control), y], 4.5, None));
        }
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        let ticks = |values: &[f64]| Axis::linear(values.iter().copied()).ticks;
        assert_eq!(ticks(&[0.0, 100.0]), [0.0, 50.0, 100.0]);
        assert_eq!(ticks(&[1.0, 7.0]), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(ticks(&[3.0]), [3.0, 4.0]);
        assert_eq!(ticks(&[]).first(), Some(&0.0));
        assert_eq!(Axis::decades([-5.5, 0.2].into_iter()).ticks, [-6.0, -4.0, -2.0, 0.0]);
    }

    /// The axis runs from 0 to 100, so that 50 is in the middle of both axes.
    #[test]
    fn a_point_is_drawn_at_its_place_and_texts_are_escaped() {
        let points = vec![[0.0, 0.0], [50.0, 50.0], [100.0, 100.0], [50.0, f64::NAN]];
        let line = ChartSeries { name: "a<b".to_owned(), points, band: Vec::new() };
        let chart = LineChart {
            label: "\"'>&".to_owned(),
            series: vec![line.clone(), ChartSeries { name: "other".to_owned(), ..line }],
            ..LineChart::default()
        };
        let svg = chart.svg();
        let (x, y) = ((LEFT + WIDTH - RIGHT) / 2.0, (TOP + HEIGHT - BOTTOM) / 2.0);
        assert!(svg.contains(&format!("L{x:.1} {y:.1}L")), "{svg}");
        assert!(svg.contains("aria-label=\"&quot;&#39;&gt;&amp;\"") && svg.contains("a&lt;b"), "{svg}");
        assert!(!svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn a_logarithmic_chart_leaves_out_what_has_no_logarithm() {
        let points = vec![[1.0, 10.0], [2.0, 0.0], [3.0, 1000.0]];
        let series = vec![ChartSeries { points, ..ChartSeries::default() }];
        let svg = LineChart { log: true, series, ..LineChart::default() }.svg();
        assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
        assert!(!svg.contains("inf") && !svg.contains("NaN"), "{svg}");
    }
}
