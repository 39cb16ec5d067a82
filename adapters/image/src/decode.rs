//! File bytes -> 8-bit RGB, as Pillow's `Image.open(..).convert("RGB")` gives it.
//!
//! Most vision models were trained on, and are published with, Pillow's reading of a file, so every choice here is
//! Pillow's: the format is told by the content and not by the file's extension, alpha is dropped (not blended),
//! palettes are looked up, CMYK is read by Adobe's convention, EXIF rotation is ignored unless asked for, and colour
//! profiles and gamma are ignored. One departure: Pillow clips 16-bit grey at 255, which turns the picture white; we keep the
//! high byte, as Pillow itself does with 16-bit RGB.
//!
//! Refused, each with its reason: an empty file, a format not among JPEG, PNG, WebP and BMP, a file that ends before
//! its picture does, and more pixels than [`MAX_PIXELS`].

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// The most pixels a picture may have: Pillow's own limit against decompression bombs.
pub const MAX_PIXELS: u64 = 2 * 89_478_485;

/// An 8-bit RGB picture, rows from the top, no padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `height * width * 3` values.
    pub pixels: Vec<u8>,
}

/// Why a file gives no picture, in words that end with what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No bytes at all.
    #[error("the file is empty; restore it, or leave this row out")]
    Empty,
    /// The content is none of the known formats.
    #[error("expected JPEG, PNG, WebP or BMP, got {0}; convert the file, or leave this row out")]
    Format(String),
    /// The file ends before the picture does.
    #[error("the file is truncated: {0}; fetch it again, or leave this row out")]
    Truncated(String),
    /// The header promises more than we will decode.
    #[error("the picture has {width} x {height} pixels, at most {MAX_PIXELS} are read; shrink it first")]
    TooLarge {
        /// Columns promised.
        width: u64,
        /// Rows promised.
        height: u64,
    },
    /// The decoder gave up.
    #[error("the {format} data is damaged: {reason}; fetch the file again, or leave this row out")]
    Damaged {
        /// "JPEG", "PNG", ...
        format: &'static str,
        /// The decoder's own words.
        reason: String,
    },
}

/// Decodes a whole file held in memory; `orient` applies the EXIF rotation.
pub fn decode(bytes: &[u8], orient: bool) -> Result<Rgb, Unreadable> {
    if bytes.is_empty() {
        return Err(Unreadable::Empty);
    }
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => decode_jpeg(bytes, orient),
        Ok(ImageFormat::Png) => decode_other(bytes, orient, "PNG", image::codecs::png::PngDecoder::new),
        Ok(ImageFormat::WebP) => decode_other(bytes, orient, "WebP", image::codecs::webp::WebPDecoder::new),
        Ok(ImageFormat::Bmp) => decode_other(bytes, orient, "BMP", image::codecs::bmp::BmpDecoder::new),
        Ok(other) => Err(Unreadable::Format(format!("{other:?}"))),
        Err(_) => {
            Err(Unreadable::Format(format!("a file beginning with {:02x?}", &bytes[..bytes.len().min(8)])))
        }
    }
}

/// JPEG goes to zune-jpeg directly: `image` would copy the file and forgive a missing end.
fn decode_jpeg(bytes: &[u8], orient: bool) -> Result<Rgb, Unreadable> {
    let damaged = |reason: String| match jpeg_ends(bytes) {
        true => Unreadable::Damaged { format: "JPEG", reason },
        false => Unreadable::Truncated(reason),
    };
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| damaged(error.to_string()))?;
    let (width, height) = decoder.dimensions().ok_or_else(|| damaged("it has no frame header".into()))?;
    check_size(width as u64, height as u64)?;
    // The decoder paints what is missing grey; a picture that is half grey must not be embedded as if it were whole.
    if !jpeg_ends(bytes) {
        return Err(Unreadable::Truncated(format!("its {} bytes hold no end-of-image marker", bytes.len())));
    }
    let pixels = decoder.decode().map_err(|error| damaged(error.to_string()))?;
    let picture = Rgb { width: width as u32, height: height as u32, pixels };
    let turn = decoder.exif().filter(|_| orient).and_then(|exif| Orientation::from_exif_chunk(exif));
    match turn {
        Some(turn) => oriented(picture, turn),
        None => Ok(picture),
    }
}

fn decode_other<'a, D: ImageDecoder>(
    bytes: &'a [u8],
    orient: bool,
    format: &'static str,
    open: impl FnOnce(Cursor<&'a [u8]>) -> image::ImageResult<D>,
) -> Result<Rgb, Unreadable> {
    let failed = |error: image::ImageError| refused(error, format);
    let mut decoder = open(Cursor::new(bytes)).map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_size(u64::from(width), u64::from(height))?;
    let turn = if orient { decoder.orientation().ok() } else { None };
    let picture = to_rgb(DynamicImage::from_decoder(decoder).map_err(failed)?);
    match turn {
        Some(turn) => oriented(picture, turn),
        None => Ok(picture),
    }
}

fn check_size(width: u64, height: u64) -> Result<(), Unreadable> {
    if width.saturating_mul(height) > MAX_PIXELS {
        return Err(Unreadable::TooLarge { width, height });
    }
    Ok(())
}

fn refused(error: image::ImageError, format: &'static str) -> Unreadable {
    let ended = match &error {
        image::ImageError::IoError(io) => io.kind() == std::io::ErrorKind::UnexpectedEof,
        other => {
            let words = other.to_string().to_lowercase();
            words.contains("unexpected end")
                || words.contains("end of file")
                || words.contains("unexpectedeof")
        }
    };
    match ended {
        true => Unreadable::Truncated(error.to_string()),
        false => Unreadable::Damaged { format, reason: error.to_string() },
    }
}

fn to_rgb(picture: DynamicImage) -> Rgb {
    let (width, height) = (picture.width(), picture.height());
    let high = |value: u16| (value >> 8) as u8;
    let pixels = match picture {
        DynamicImage::ImageRgb8(rgb) => rgb.into_raw(),
        DynamicImage::ImageRgba8(rgba) => rgba.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        DynamicImage::ImageLuma8(grey) => grey.iter().flat_map(|&v| [v; 3]).collect(),
        DynamicImage::ImageLumaA8(grey) => grey.chunks_exact(2).flat_map(|p| [p[0]; 3]).collect(),
        DynamicImage::ImageLuma16(grey) => grey.iter().flat_map(|&v| [high(v); 3]).collect(),
        DynamicImage::ImageLumaA16(grey) => grey.chunks_exact(2).flat_map(|p| [high(p[0]); 3]).collect(),
        DynamicImage::ImageRgb16(rgb) => rgb.iter().map(|&v| high(v)).collect(),
        DynamicImage::ImageRgba16(rgba) => {
            rgba.chunks_exact(4).flat_map(|p| [high(p[0]), high(p[1]), high(p[2])]).collect()
        }
        // Only floating-point pictures are left, which none of the four formats can hold.
        other => other.to_rgb8().into_raw(),
    };
    Rgb { width, height, pixels }
}

fn oriented(picture: Rgb, turn: Orientation) -> Result<Rgb, Unreadable> {
    let Rgb { width, height, pixels } = picture;
    let Some(buffer) = image::RgbImage::from_raw(width, height, pixels) else {
        return Err(Unreadable::Damaged {
            format: "picture",
            reason: "its size does not fit its data".into(),
        });
    };
    let mut picture = DynamicImage::ImageRgb8(buffer);
    picture.apply_orientation(turn);
    Ok(to_rgb(picture))
}

/// Whether the entropy-coded data is closed by an end-of-image marker. Segments are skipped by their length, because
/// an embedded thumbnail has an end marker of its own.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let mut at = 2;
    let mut in_scan = false;
    while let Some(step) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xff)) {
        at += step + 1;
        match bytes.get(at) {
            Some(0xd9) => return true,
            // Stuffed byte, fill byte, restart markers: still inside what we were in.
            Some(0x00 | 0x01 | 0xff | 0xd0..=0xd8) => {}
            Some(&marker) if !in_scan || marker != 0 => {
                let Some(&[high, low]) = bytes.get(at + 1..at + 3) else { return false };
                in_scan = marker == 0xda;
                at += 1 + usize::from(u16::from_be_bytes([high, low]));
            }
            _ => return false,
        }
    }
    false
}
