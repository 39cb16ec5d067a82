//! The items that a page shows: their texts, and thumbnails of their pictures as `data:` URIs.
//!
//! The size of a page is bounded: at most [`ITEMS`] items are drawn, and thumbnails stop at
//! [`PICTURE_BYTES`].

use base64::{Engine, prelude::BASE64_STANDARD};
use chiasm_pipeline::{RawItem, TestItems, visible};
use image::{ImageReader, Limits, codecs::jpeg::JpegEncoder};
use rayon::prelude::*;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// The most items that are drawn: one of each modality of each sampled row.
const ITEMS: usize = 600;
/// The most bytes of thumbnails in a page.
const PICTURE_BYTES: usize = 2 << 20;
/// The longest side of a thumbnail, in pixels, and its JPEG quality.
const SIDE: u32 = 96;
const QUALITY: u8 = 75;
/// The most bytes that decoding a picture may take, and the most pixels of a side.
const DECODED_BYTES: u64 = 256 << 20;
const DECODED_SIDE: u32 = 1 << 14;
/// The most characters of a text.
const CHARACTERS: usize = 200;

/// The place of an item: the index of its modality, and its index there.
pub type Place = (usize, usize);

/// One item as the page shows it.
#[derive(Debug, Clone, Serialize)]
pub struct ShownItem {
    pub modality: String,
    /// The id of its row.
    pub row: String,
    /// The text, the name of the file, or the row number of a vector.
    pub text: String,
    /// The thumbnail as a `data:` URI; empty if the item is no picture.
    pub picture: String,
}

/// The items that a page shows, each once.
pub struct ItemSample {
    /// In the order in which they were asked for.
    pub items: Vec<ShownItem>,
    numbers: BTreeMap<Place, usize>,
    /// The number of pictures that were left out because the page would become too large.
    pub left_out: usize,
}

impl ItemSample {
    /// Collects the items at `places`, the most important first. `embedded` is the number of the first ones
    /// that the page shows twice: as an example and on hovering.
    pub fn new(test: &[TestItems], places: &[Place], embedded: usize) -> Self {
        let mut numbers = BTreeMap::new();
        let mut order = Vec::new();
        for place in places {
            numbers.entry(*place).or_insert_with(|| {
                order.push(*place);
                order.len() - 1
            });
        }
        let twice: BTreeSet<&Place> = places.iter().take(embedded).collect();
        let mut items: Vec<ShownItem> =
            order.par_iter().map(|(modality, at)| shown(&test[*modality], *at)).collect();
        let (mut bytes, mut left_out) = (0, 0);
        for (item, place) in items.iter_mut().zip(&order) {
            let size = item.picture.len() * if twice.contains(place) { 2 } else { 1 };
            if bytes + size > PICTURE_BYTES {
                item.picture.clear();
                left_out += 1;
            } else {
                bytes += size;
            }
        }
        Self { items, numbers, left_out }
    }

    /// Returns the number of an item that was asked for.
    pub fn number(&self, place: Place) -> Option<usize> {
        self.numbers.get(&place).copied()
    }

    /// Returns an item that was asked for.
    pub fn item(&self, place: Place) -> Option<&ShownItem> {
        self.number(place).map(|number| &self.items[number])
    }
}

/// Returns the rows that have items.
pub fn all_rows(test: &[TestItems]) -> BTreeSet<usize> {
    test.iter().flat_map(|own| own.rows.iter().copied()).collect()
}

/// Returns rows that have items, evenly spaced: at most [`ITEMS`] divided by the number of modalities.
pub fn sampled_rows(test: &[TestItems]) -> Vec<usize> {
    let all: Vec<usize> = all_rows(test).into_iter().collect();
    let count = all.len().min(ITEMS / test.len().max(1));
    (0..count).map(|at| all[at * all.len() / count]).collect()
}

/// Returns the first item of a modality in each of the sorted rows that has one.
pub fn first_items(own: &TestItems, rows: &[usize]) -> Vec<usize> {
    let first = |row: &usize| {
        let at = own.rows.partition_point(|other| other < row);
        (own.rows.get(at) == Some(row)).then_some(at)
    };
    rows.iter().filter_map(first).collect()
}

/// Returns an item in words: its text, the name of its file, or the row of its vector; shortened and without
/// control characters.
pub fn caption(raw: &RawItem) -> String {
    match raw {
        RawItem::Text(text) => clipped(text),
        RawItem::Row(row) => format!("vector {row}"),
        RawItem::Path(path) => clipped(&path.file_name().unwrap_or_default().to_string_lossy()),
    }
}

fn shown(own: &TestItems, at: usize) -> ShownItem {
    let text = caption(&own.raw[at]);
    let picture = match &own.raw[at] {
        RawItem::Path(path) => thumbnail(path).unwrap_or_default(),
        RawItem::Text(_) | RawItem::Row(_) => String::new(),
    };
    ShownItem { modality: own.modality.clone(), row: clipped(&own.ids[at]), text, picture }
}

fn clipped(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = text.chars().take(CHARACTERS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    visible(&short).into_owned()
}

/// Returns a picture as a small JPEG; `None` if the file is no picture.
fn thumbnail(path: &Path) -> Option<String> {
    let mut reader = ImageReader::open(path).ok()?.with_guessed_format().ok()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODED_BYTES);
    limits.max_image_width = Some(DECODED_SIDE);
    limits.max_image_height = Some(DECODED_SIDE);
    reader.limits(limits);
    let picture = reader.decode().ok()?;
    let large = picture.width().max(picture.height()) > SIDE;
    let picture = if large { picture.thumbnail(SIDE, SIDE) } else { picture };
    let mut jpeg = Vec::new();
    picture.to_rgb8().write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, QUALITY)).ok()?;
    Some(format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(jpeg)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    #[test]
    fn a_thumbnail_has_at_most_96_pixels_and_what_is_no_picture_has_none() {
        let folder = tempfile::tempdir().unwrap();
        for (size, expected) in [((400, 100), (96, 24)), ((30, 20), (30, 20)), ((50, 960), (5, 96))] {
            let path = folder.path().join("a.png");
            RgbImage::new(size.0, size.1).save(&path).unwrap();
            let uri = thumbnail(&path).unwrap();
            let jpeg = BASE64_STANDARD.decode(uri.strip_prefix("data:image/jpeg;base64,").unwrap()).unwrap();
            let picture = image::load_from_memory(&jpeg).unwrap();
            assert_eq!((picture.width(), picture.height()), expected);
        }
        let text = folder.path().join("a.txt");
        std::fs::write(&text, "no picture").unwrap();
        assert_eq!(thumbnail(&text), None);
        assert_eq!(thumbnail(&folder.path().join("missing.png")), None);
    }

    #[test]
    fn texts_are_short_and_without_control_characters() {
        assert_eq!(clipped("a\n b\u{1b}[31m\u{202e}"), "a b\\u{1b}[31m\\u{202e}");
        assert_eq!(clipped(&"ä".repeat(300)).chars().count(), CHARACTERS + 1);
    }
}
