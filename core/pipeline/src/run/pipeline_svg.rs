//! Drawing the merged model: items, encoders, maps, embeddings, fusion and its outputs, from left to right.

use super::{files::ModalityManifest, graphs::LOGITS};
use crate::base::visible::visible;
use chiasm_graph::Port;
use std::fmt::Write as _;

/// The left edges and widths of the columns, in pixels.
const ITEMS: [f64; 2] = [16.0, 120.0];
const ENCODERS: [f64; 2] = [176.0, 190.0];
const MAPS: [f64; 2] = [406.0, 150.0];
const EMBEDS: [f64; 2] = [596.0, 160.0];
const FUSION: [f64; 2] = [796.0, 150.0];
const OUTPUTS: [f64; 2] = [986.0, 150.0];
/// The height of a row and of a box, and the space above and below all rows.
const ROW: f64 = 68.0;
const BOX: f64 = 48.0;
const MARGIN: f64 = 16.0;

/// An encoder that is drawn.
pub struct DrawnEncoder<'a> {
    pub modality: &'a str,
    pub name: &'a str,
    pub adapter: &'a str,
    /// The number of values of a pooled vector.
    pub pooled: usize,
}

/// What is drawn besides the modalities.
pub struct PipelineParts<'a> {
    /// The encoders, in the order of the modalities.
    pub encoders: Vec<DrawnEncoder<'a>>,
    /// The aligner.
    pub aligner: &'a str,
    /// The fusion, if there is one.
    pub fusion: Option<&'a str>,
    /// The outputs of the merged model.
    pub outputs: &'a [Port],
}

/// Returns a drawing of the merged model as SVG.
pub fn draw(modalities: &[ModalityManifest], parts: &PipelineParts<'_>) -> String {
    let further: Vec<&Port> = (parts.outputs.iter())
        .filter(|port| modalities.iter().all(|modality| modality.output != port.name))
        .collect();
    let rows = parts.encoders.len().max(further.len()) as f64;
    let fused = parts.fusion.filter(|_| !further.is_empty());
    let last = if fused.is_some() { OUTPUTS } else { EMBEDS };
    let (width, height) = (last[0] + last[1] + MARGIN, 2.0 * MARGIN + rows * ROW);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n<title>The merged \
         model</title>\n<defs><marker id=\"tip\" markerWidth=\"8\" markerHeight=\"8\" refX=\"7\" refY=\"4\" \
         orient=\"auto\"><path d=\"M0,0 L8,4 L0,8 z\" fill=\"#555\"/></marker></defs>\n<rect \
         width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    let mut row = 0.0;
    let mut middles = Vec::new();
    for modality in modalities {
        let own = parts.encoders.iter().filter(|encoder| encoder.modality == modality.name);
        let first = row;
        let middle = MARGIN + (first + modality.encoders.len() as f64 / 2.0) * ROW;
        for encoder in own {
            let at = MARGIN + (row + 0.5) * ROW;
            labelled(&mut svg, ITEMS, middle, [&modality.name, "items"], "#e8eef7");
            let detail = format!("{}, {} numbers", encoder.adapter, encoder.pooled);
            labelled(&mut svg, ENCODERS, at, [encoder.name, &detail], "#dbe9d8");
            arrow(&mut svg, [ITEMS[0] + ITEMS[1], middle], [ENCODERS[0], at]);
            arrow(&mut svg, [ENCODERS[0] + ENCODERS[1], at], [MAPS[0], middle]);
            row += 1.0;
        }
        labelled(&mut svg, MAPS, middle, ["map", parts.aligner], "#fbe8c8");
        let port = parts.outputs.iter().find(|port| port.name == modality.output);
        let shape = port.map(Port::type_text).unwrap_or_default();
        labelled(&mut svg, EMBEDS, middle, [&modality.output, &shape], "#f5f5f5");
        arrow(&mut svg, [MAPS[0] + MAPS[1], middle], [EMBEDS[0], middle]);
        middles.push(middle);
    }
    if let Some(fusion) = fused {
        let middle = height / 2.0;
        labelled(&mut svg, FUSION, middle, ["fusion", fusion], "#ead9ee");
        for from in middles {
            arrow(&mut svg, [EMBEDS[0] + EMBEDS[1], from], [FUSION[0], middle]);
        }
        let start = middle - further.len() as f64 / 2.0 * ROW;
        for (at, port) in further.iter().enumerate() {
            let to = start + (at as f64 + 0.5) * ROW;
            let detail = if port.name == LOGITS { "head: " } else { "" };
            let detail = format!("{detail}{}", port.type_text());
            labelled(&mut svg, OUTPUTS, to, [&port.name, &detail], "#f5f5f5");
            arrow(&mut svg, [FUSION[0] + FUSION[1], middle], [OUTPUTS[0], to]);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Draws a box of a column with two lines of text, whose middle is at the height `middle`.
fn labelled(svg: &mut String, [left, width]: [f64; 2], middle: f64, lines: [&str; 2], colour: &str) {
    let top = middle - BOX / 2.0;
    let _ = writeln!(
        svg,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{BOX}\" rx=\"6\" fill=\"{colour}\" \
         stroke=\"#888\"/>"
    );
    let centre = left + width / 2.0;
    for (line, (y, style)) in lines
        .iter()
        .zip([(middle - 3.0, "font-weight=\"bold\""), (middle + 14.0, "font-size=\"11\" fill=\"#444\"")])
    {
        let text = fitted(line, (width / 7.5) as usize);
        let _ = writeln!(svg, "<text x=\"{centre}\" y=\"{y}\" text-anchor=\"middle\" {style}>{text}</text>");
    }
}

fn arrow(svg: &mut String, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"#555\" marker-end=\"url(#tip)\"/>"
    );
}

/// Returns the first characters of a text, escaped for XML.
fn fitted(text: &str, most: usize) -> String {
    let text = visible(text);
    let mut kept: String = text.chars().take(most).collect();
    if text.chars().count() > most {
        kept.pop();
        kept.push('\u{2026}');
    }
    kept.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(['\n', '\t'], " ")
}
