//! Corruption of pictures: Gaussian noise and Gaussian blur, at the size of the encoder's input.
//!
//! Corrupting after the resizing follows ImageNet-C (Hendrycks and Dietterich 2019): a strength then means
//! the same for pictures of all sizes. Their five severities are 0.08, 0.12, 0.18, 0.26, 0.38 for noise and
//! 1, 2, 3, 4, 6 for blur.
//!
//! ```
//! use chiasm_image::{corruption::{PictureCorruption, corrupt}, decode::Rgb};
//!
//! let table = chiasm_plugin::json!({ "kind": "blur", "strength": 2.0 });
//! let blur: PictureCorruption = serde_json::from_value(table)?;
//! let mut picture = Rgb { width: 9, height: 1, pixels: [[0; 12], [255; 12]].concat() };
//! picture.pixels.extend([255; 3]);
//! corrupt(&mut picture, &blur, b"content");
//! assert!((1..255).contains(&picture.pixels[12]), "the edge is soft");
//! # Ok::<(), serde_json::Error>(())
//! ```

use chiasm_kit::corruption::Corruption;
use image::{ImageBuffer, imageops};
use serde::Deserialize;

use crate::decode::Rgb;

/// The kinds of corruption of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PictureCorruptionKind {
    /// Gaussian noise on every level; the strength is its standard deviation as a share of the range of
    /// levels, 0 to 255. Levels are clipped to the range.
    Noise,
    /// A Gaussian blur; the strength is its standard deviation in pixels of the encoder's input.
    Blur,
}

/// How pictures are corrupted.
pub type PictureCorruption = Corruption<PictureCorruptionKind>;

/// The largest strength of each kind.
pub(crate) fn largest(kind: PictureCorruptionKind) -> f64 {
    match kind {
        PictureCorruptionKind::Noise => 10.0,
        PictureCorruptionKind::Blur => 100.0,
    }
}

/// Corrupts a picture. `content` determines the random numbers of the item.
pub fn corrupt(picture: &mut Rgb, corruption: &PictureCorruption, content: &[u8]) {
    let strength = corruption.strength;
    match corruption.kind {
        PictureCorruptionKind::Noise => {
            let mut random = corruption.random(content);
            for level in &mut picture.pixels {
                // The conversion rounds and clips to the range.
                *level = (f64::from(*level) + 255.0 * strength * random.normal()).round() as u8;
            }
        }
        PictureCorruptionKind::Blur if strength >= f64::from(f32::MIN_POSITIVE) => {
            let pixels = std::mem::take(&mut picture.pixels);
            let buffer: Option<ImageBuffer<image::Rgb<u8>, Vec<u8>>> =
                ImageBuffer::from_raw(picture.width, picture.height, pixels);
            if let Some(buffer) = buffer {
                picture.pixels = imageops::blur(&buffer, strength as f32).into_raw();
            }
        }
        PictureCorruptionKind::Blur => {}
    }
}
