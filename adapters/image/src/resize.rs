//! Resampling as Pillow does it: the kernel widens with the reduction (no aliasing), columns before rows, 8-bit levels between.
//!
//! (Pillow 13 swaps the passes for pictures whose height shrinks much more than their width; models were trained before it.)
//!
//! `fast_image_resize` follows Pillow's kernels but runs rows before columns; with overshooting kernels (bicubic,
//! Lanczos) that clips in another place. Two one-dimensional calls restore Pillow's order, and what is left is its
//! coefficients' 16-bit rounding: at most one level in a value (tests/pillow.rs).

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use serde::Deserialize;

use crate::decode::Rgb;

/// Which kernel weighs the neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Catmull-Rom-like cubic (a = -0.5), radius 2: Pillow's `BICUBIC`.
    Bicubic,
    /// Triangle, radius 1: Pillow's `BILINEAR`.
    Bilinear,
    /// Windowed sinc, radius 3: Pillow's `LANCZOS`.
    Lanczos,
    /// The nearest pixel, no averaging: Pillow's `NEAREST`.
    Nearest,
}

/// How a picture of any shape becomes one of the model's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// To the model's size at once; proportions may change.
    Stretch,
    /// The shorter side to `shortest`, proportions kept, then the centre cut out.
    ShortestSideCrop,
}

/// A resize request: everything but the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Rows of the result.
    pub height: u32,
    /// Columns of the result.
    pub width: u32,
    /// How proportions are treated.
    pub resize: Resize,
    /// The shorter side before cropping; at least `height` and `width`.
    pub shortest: u32,
    /// The kernel.
    pub filter: Filter,
}

/// Resamples `picture` to `target`; the result has exactly `target.height` rows and `target.width` columns.
pub fn resize(picture: Rgb, target: &Target) -> Result<Rgb, String> {
    match target.resize {
        Resize::Stretch => resample(picture, target.width, target.height, target.filter),
        Resize::ShortestSideCrop => {
            let (width, height) = shortest_side(picture.width, picture.height, target.shortest);
            Ok(crop_centre(resample(picture, width, height, target.filter)?, target.width, target.height))
        }
    }
}

/// Hugging Face's rule: the longer side is `int(shortest * long / short)`, rounded down.
fn shortest_side(width: u32, height: u32, shortest: u32) -> (u32, u32) {
    let scaled = |long: u32, short: u32| (u64::from(shortest) * u64::from(long) / u64::from(short)) as u32;
    match width <= height {
        true => (shortest, scaled(height, width)),
        false => (scaled(width, height), shortest),
    }
}

fn resample(picture: Rgb, width: u32, height: u32, filter: Filter) -> Result<Rgb, String> {
    let kernel = match filter {
        Filter::Bicubic => FilterType::CatmullRom,
        Filter::Bilinear => FilterType::Bilinear,
        Filter::Lanczos => FilterType::Lanczos3,
        Filter::Nearest => return one_pass(picture, width, height, ResizeAlg::Nearest),
    };
    let rows = picture.height;
    let columns_done = one_pass(picture, width, rows, ResizeAlg::Convolution(kernel))?;
    one_pass(columns_done, width, height, ResizeAlg::Convolution(kernel))
}

fn one_pass(picture: Rgb, width: u32, height: u32, algorithm: ResizeAlg) -> Result<Rgb, String> {
    if (picture.width, picture.height) == (width, height) {
        return Ok(picture);
    }
    // Typed images: `Resizer::resize` would compile the code of every pixel type into this crate.
    let source = TypedImageRef::<U8x3>::from_buffer(picture.width, picture.height, &picture.pixels)
        .map_err(|error| error.to_string())?;
    let mut result = TypedImage::<U8x3>::new(width, height);
    Resizer::new()
        .resize_typed(&source, &mut result, &ResizeOptions::new().resize_alg(algorithm))
        .map_err(|error| error.to_string())?;
    let pixels = result.pixels().iter().flat_map(|pixel| pixel.0).collect();
    Ok(Rgb { width, height, pixels })
}

/// Hugging Face's rule: an odd margin leaves the extra pixel at the bottom and the right.
fn crop_centre(picture: Rgb, width: u32, height: u32) -> Rgb {
    let (left, top) = ((picture.width - width) / 2, (picture.height - height) / 2);
    let stride = 3 * picture.width as usize;
    let span = 3 * left as usize..3 * (left + width) as usize;
    let rows = picture.pixels.chunks_exact(stride).skip(top as usize).take(height as usize);
    Rgb { width, height, pixels: rows.flat_map(|row| &row[span.clone()]).copied().collect() }
}
