//! Where a fusion looked, drawn over the pictures: bright where it looked most, one panel a row.

use crate::CommandResult;
use base64::{Engine, prelude::BASE64_STANDARD};
use chiasm_pipeline::{Error, RawItem, RunOutputs};
use image::{ImageFormat, imageops};
use ndarray::ArrayView1;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Cursor;
use std::path::Path;

/// Panels at most, and in a row.
const PANELS: usize = 16;
const COLUMNS: usize = 4;
/// A panel's picture, its words below, and the gap between panels, in pixels.
const SIDE: u32 = 192;
const LINE: u32 = 16;
const LINES: usize = 4;
const GAP: u32 = 12;
/// Letters of a line.
const LETTERS: usize = 30;
/// How dark a place is that was not looked at.
const VEIL: f32 = 0.7;

/// Writes the SVG. The tokens of a picture's encoder are taken as a square grid over the whole picture, row by row.
pub fn write(
    inputs: &BTreeMap<String, Vec<RawItem>>,
    outputs: &RunOutputs,
    answers: &[String],
    target: &Path,
) -> CommandResult {
    let pictures = inputs.iter().find_map(|(name, raws)| {
        let shares = outputs.get(&format!("{name}_attention"))?;
        raws.first()?.path().map(|_| (name, raws, shares))
    });
    let Some((name, raws, shares)) = pictures else {
        return Err(refused("no modality of pictures was looked at".to_owned()));
    };
    let grid = shares.ncols().isqrt();
    if grid == 0 || grid * grid != shares.ncols() {
        let message = format!("{} tokens of {name:?} are no square grid over a picture", shares.ncols());
        return Err(refused(message));
    }
    let count = raws.len().min(PANELS);
    let (columns, rows) = (count.min(COLUMNS), count.div_ceil(COLUMNS));
    let height = SIDE + (LINES as u32 + 1) * LINE + GAP;
    let size = (columns as u32 * (SIDE + GAP) + GAP, rows as u32 * height + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n",
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
        let words = asked.flat_map(|text| wrapped(&text)).take(LINES).collect::<Vec<_>>();
        let answer = answers.get(row).map(|answer| answer.split(", ").next().unwrap_or_default().to_owned());
        let lines = words
            .into_iter()
            .map(|line| (line, ""))
            .chain(answer.map(|line| (line, " font-weight=\"bold\"")));
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

/// A picture, and a veil over each cell that is the thicker the less it was looked at.
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
        "<image x=\"{left}\" y=\"{top}\" width=\"{SIDE}\" height=\"{SIDE}\" preserveAspectRatio=\"none\" href=\"data:image/png;base64,{data}\"/>"
    );
    let most = shares.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let cell = f64::from(SIDE) / grid as f64;
    for (index, share) in shares.iter().enumerate() {
        let (x, y) =
            (f64::from(left) + (index % grid) as f64 * cell, f64::from(top) + (index / grid) as f64 * cell);
        let veil = VEIL * (1.0 - share / most);
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{cell:.1}\" height=\"{cell:.1}\" opacity=\"{veil:.2}\"/>"
        );
    }
    Ok(())
}

fn refused(message: String) -> Error {
    Error::input(
        "chiasm::run::attention",
        message,
        "--attention draws over pictures; without it `run` takes anything",
    )
}

/// Lines of whole words.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < LETTERS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
