//! Drawing the attention of a fusion over images as SVG. Each row is a panel; cells with little attention are
//! dark.

use crate::CommandResult;
use base64::{Engine, prelude::BASE64_STANDARD};
use chiasm_pipeline::{Error, RawItem, RunOutputs, wrapped};
use image::{ImageFormat, imageops};
use ndarray::ArrayView1;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Cursor;
use std::path::Path;

/// The maximum number of panels, and the number of panels side by side.
const PANELS: usize = 16;
const COLUMNS: usize = 4;
/// The size of the image and of a line of text in a panel, the number of lines, and the gap between panels.
/// Sizes are in pixels.
const SIDE: u32 = 192;
const LINE: u32 = 16;
const LINES: usize = 4;
const GAP: u32 = 12;
/// The maximum number of characters in a line.
const LINE_LENGTH: usize = 30;
/// The opacity of the overlay on a cell without attention.
const OVERLAY: f32 = 0.7;

/// Writes the SVG file. The tokens of an image must be a square grid over the whole image, in row-major
/// order.
pub fn write(
    inputs: &BTreeMap<String, Vec<RawItem>>,
    outputs: &RunOutputs,
    predictions: &[String],
    target: &Path,
) -> CommandResult {
    let pictures = inputs.iter().find_map(|(name, raws)| {
        let shares = outputs.get(&format!("{name}_attention"))?;
        raws.first()?.path().map(|_| (name, raws, shares))
    });
    let Some((name, raws, shares)) = pictures else {
        return Err(refused("the outputs have no attention on a modality of images".to_owned()));
    };
    let grid = shares.ncols().isqrt();
    if grid == 0 || grid * grid != shares.ncols() {
        let message = format!("expected a square number of tokens of {name:?}, got {}", shares.ncols());
        return Err(refused(message));
    }
    let count = raws.len().min(PANELS);
    let (columns, rows) = (count.min(COLUMNS), count.div_ceil(COLUMNS));
    let height = SIDE + (LINES as u32 + 1) * LINE + GAP;
    let size = (columns as u32 * (SIDE + GAP) + GAP, rows as u32 * height + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n",
        size.0, size.1
    );
    for row in 0..count {
        let (left, top) =
            ((row % COLUMNS) as u32 * (SIDE + GAP) + GAP, (row / COLUMNS) as u32 * height + GAP);
        panel(&mut svg, (left, top), &raws[row], shares.row(row), grid)?;
        let asked = inputs.iter().filter(|(other, _)| *other != name).filter_map(|(_, raws)| {
            match raws.get(row)? {
                RawItem::Text(text) => Some(text.clone()),
                _ => None,
            }
        });
        let words = asked.flat_map(|text| wrapped(&text, LINE_LENGTH)).take(LINES).collect::<Vec<_>>();
        let prediction =
            predictions.get(row).map(|text| text.split(", ").next().unwrap_or_default().to_owned());
        let lines = words
            .into_iter()
            .map(|line| (line, ""))
            .chain(prediction.map(|line| (line, " font-weight=\"bold\"")));
        for (index, (line, style)) in lines.enumerate() {
            let y = top + SIDE + (index as u32 + 1) * LINE;
            let _ = writeln!(svg, "<text x=\"{left}\" y=\"{y}\"{style}>{}</text>", escaped(&line));
        }
    }
    svg.push_str("</svg>\n");
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    }
    std::fs::write(target, svg).map_err(|e| Error::io("write", target, e))
}

/// Draws an image with an overlay on each cell, which is darker for less attention.
fn panel(
    svg: &mut String,
    at: (u32, u32),
    raw: &RawItem,
    shares: ArrayView1<'_, f32>,
    grid: usize,
) -> CommandResult {
    let (left, top) = at;
    let path = raw.path().unwrap_or(Path::new(""));
    let wrong = |e: image::ImageError| refused(format!("{}: {e}", path.display()));
    let mut picture = image::open(path).map_err(wrong)?.to_rgb8();
    if picture.width().max(picture.height()) > SIDE {
        picture = imageops::resize(&picture, SIDE, SIDE, imageops::Triangle);
    }
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png).map_err(wrong)?;
    let data = BASE64_STANDARD.encode(png.into_inner());
    let _ = writeln!(
        svg,
        "<image x=\"{left}\" y=\"{top}\" width=\"{SIDE}\" height=\"{SIDE}\" preserveAspectRatio=\"none\" \
         href=\"data:image/png;base64,{data}\"/>"
    );
    let most = shares.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let cell = f64::from(SIDE) / grid as f64;
    for (index, share) in shares.iter().enumerate() {
        let (x, y) =
            (f64::from(left) + (index % grid) as f64 * cell, f64::from(top) + (index / grid) as f64 * cell);
        let overlay = OVERLAY * (1.0 - share / most);
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{cell:.1}\" height=\"{cell:.1}\" \
             opacity=\"{overlay:.2}\"/>"
        );
    }
    Ok(())
}

fn refused(message: String) -> Error {
    Error::input(
        "chiasm::run::attention",
        message,
        "--attention needs a modality of images; leave it out for other modalities",
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
