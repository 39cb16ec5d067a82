//! Resamples images like Pillow: the kernel widens with the reduction, so there is no aliasing; columns are
//! resampled before rows, with 8-bit levels in between.
//!
//! Pillow 13 swaps the two passes for images whose height shrinks much more than their width. Most models
//! were trained with earlier versions, so this is not followed.
//!
//! `fast_image_resize` has Pillow's kernels but resamples rows before columns. With kernels that overshoot
//! (bicubic, Lanczos) this clips other values. Two one-dimensional calls give Pillow's order. The remaining
//! difference is at most one level, from rounding coefficients to 16 bits (tests/pillow.rs). The box filter
//! is written here: where the centre of a pixel lies on an edge, rounding decides whether it counts.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use serde::Deserialize;

use crate::box_filter::resample_axis;
use crate::decode::{MAX_PIXELS, Rgb, reserved};

/// The largest number of pixels of a resized picture, also between the two passes and before the crop.
const MAX_RESIZED: u64 = MAX_PIXELS / 2;

/// The resampling kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResampleFilter {
    /// Catmull-Rom-like cubic (a = -0.5), radius 2: Pillow's `BICUBIC`.
    Bicubic,
    /// Triangle, radius 1: Pillow's `BILINEAR`.
    Bilinear,
    /// Windowed sinc, radius 3: Pillow's `LANCZOS`.
    Lanczos,
    /// The mean of the pixels that a pixel covers, radius 1/2: Pillow's `BOX`.
    Box,
    /// Sinc in a Hamming window, radius 1: Pillow's `HAMMING`.
    Hamming,
    /// The nearest pixel, no averaging: Pillow's `NEAREST`.
    Nearest,
}

/// How an image is fitted to the model's input size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeMode {
    /// Resizes to the model's size; proportions may change.
    Stretch,
    /// Resizes the shorter side to `shortest` with the proportions kept, then crops the centre.
    ShortestSideCrop,
    /// Resizes both sides to `shortest`, so proportions may change, then crops the centre.
    StretchCrop,
    /// Resizes the longer side to the model's size with the proportions kept; the rest at the bottom and at
    /// the right is padding.
    LongestSidePad,
    /// Does not resize: pictures of another size are refused.
    None,
}

/// The parameters of a resize.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResizeTarget {
    /// Rows of the result.
    pub height: u32,
    /// Columns of the result.
    pub width: u32,
    /// How proportions are treated.
    pub resize: ResizeMode,
    /// The shorter side before cropping; at least `height` and `width`.
    pub shortest: u32,
    /// The kernel.
    pub filter: ResampleFilter,
}

/// Resamples `picture` to `target`; the result has exactly `target.height` rows and `target.width` columns,
/// or with [`ResizeMode::LongestSidePad`] at most so many, without the padding.
pub fn resize(picture: Rgb, target: &ResizeTarget) -> Result<Rgb, String> {
    match target.resize {
        ResizeMode::Stretch => resample(picture, target.width, target.height, target.filter),
        ResizeMode::ShortestSideCrop => {
            let (width, height) = shortest_side(picture.width, picture.height, target.shortest);
            Ok(crop_centre(resample(picture, width, height, target.filter)?, target.width, target.height))
        }
        ResizeMode::StretchCrop => {
            let square = resample(picture, target.shortest, target.shortest, target.filter)?;
            Ok(crop_centre(square, target.width, target.height))
        }
        ResizeMode::LongestSidePad => {
            let (width, height) = longest_side(picture.width, picture.height, target.height);
            resample(picture, width, height, target.filter)
        }
        ResizeMode::None if (picture.width, picture.height) == (target.width, target.height) => Ok(picture),
        ResizeMode::None => Err(format!(
            "expected a picture of {} x {} pixels (width x height), since resize = \"none\", got {} x {}; \
             resize it, or set another resize in the card",
            target.width, target.height, picture.width, picture.height
        )),
    }
}

/// Hugging Face's rule: the longer side is `int(shortest * long / short)`, rounded down.
fn shortest_side(width: u32, height: u32, shortest: u32) -> (u32, u32) {
    let scaled = |long: u32, short: u32| {
        let side = u64::from(shortest) * u64::from(long) / u64::from(short.max(1));
        u32::try_from(side).unwrap_or(u32::MAX)
    };
    match width <= height {
        true => (shortest, scaled(height, width)),
        false => (scaled(width, height), shortest),
    }
}

/// The rule of SAM's `ResizeLongestSide`, which Hugging Face follows: both sides times `longest / long`,
/// rounded half up.
fn longest_side(width: u32, height: u32, longest: u32) -> (u32, u32) {
    let scale = f64::from(longest) / f64::from(width.max(height).max(1));
    let scaled = |side: u32| ((f64::from(side) * scale + 0.5) as u32).max(1);
    (scaled(width), scaled(height))
}

fn resample(picture: Rgb, width: u32, height: u32, filter: ResampleFilter) -> Result<Rgb, String> {
    check_pixels(width, height, &picture)?;
    let kernel = match filter {
        ResampleFilter::Bicubic => FilterType::CatmullRom,
        ResampleFilter::Bilinear => FilterType::Bilinear,
        ResampleFilter::Lanczos => FilterType::Lanczos3,
        ResampleFilter::Hamming => FilterType::Hamming,
        ResampleFilter::Box => return covered(&picture, width, height),
        ResampleFilter::Nearest => return one_pass(picture, width, height, ResizeAlg::Nearest),
    };
    let rows = picture.height;
    check_pixels(width, rows, &picture)?;
    let columns_done = one_pass(picture, width, rows, ResizeAlg::Convolution(kernel))?;
    one_pass(columns_done, width, height, ResizeAlg::Convolution(kernel))
}

/// Checks the size of a resized picture: one row of two million pixels whose shorter side becomes 224 pixels
/// would be 448 million pixels wide.
fn check_pixels(width: u32, height: u32, from: &Rgb) -> Result<(), String> {
    if u64::from(width) * u64::from(height) <= MAX_RESIZED {
        return Ok(());
    }
    Err(format!(
        "the picture of {} x {} pixels (width x height) would have {width} x {height} while it is resized, \
         and at most {MAX_RESIZED} pixels are made; crop it, or leave this row out",
        from.width, from.height
    ))
}

/// Resamples with the box filter.
fn covered(picture: &Rgb, width: u32, height: u32) -> Result<Rgb, String> {
    check_pixels(width, picture.height, picture)?;
    let [from, to] = [[picture.width, picture.height], [width, height]].map(|size| size.map(|n| n as usize));
    let columns_done = resample_axis(&picture.pixels, from[0], to[0], 3);
    let pixels = resample_axis(&columns_done, from[1], to[1], 3 * to[0]);
    Ok(Rgb { width, height, pixels })
}

fn one_pass(picture: Rgb, width: u32, height: u32, algorithm: ResizeAlg) -> Result<Rgb, String> {
    if (picture.width, picture.height) == (width, height) {
        return Ok(picture);
    }
    // Typed images: `Resizer::resize` would compile the code of every pixel type into this crate.
    let source = TypedImageRef::<U8x3>::from_buffer(picture.width, picture.height, &picture.pixels)
        .map_err(|error| error.to_string())?;
    let mut pixels = reserved(3 * u64::from(width) * u64::from(height)).map_err(|error| error.to_string())?;
    let mut result =
        TypedImage::<U8x3>::from_buffer(width, height, &mut pixels).map_err(|error| error.to_string())?;
    Resizer::new()
        .resize_typed(&source, &mut result, &ResizeOptions::new().resize_alg(algorithm))
        .map_err(|error| error.to_string())?;
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
