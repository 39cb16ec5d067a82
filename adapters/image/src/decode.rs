//! Decodes an image file to 8-bit RGB, like Pillow's `Image.open(..).convert("RGB")`.
//!
//! Most vision models are trained on images decoded by Pillow, so this decoder follows Pillow. The format is
//! detected from the content, not from the file's extension. Alpha is dropped, not blended. Palettes are
//! looked up. CMYK follows Adobe's convention. EXIF rotation is ignored unless `orient` is set; colour
//! profiles and gamma are always ignored. There is one difference: Pillow clips 16-bit grey at 255, which
//! makes the image white. This decoder keeps the high byte, as Pillow does with 16-bit RGB.
//!
//! These files are refused: empty files, formats other than JPEG, PNG, WebP and BMP, truncated files, and
//! images of more than [`MAX_PIXELS`] pixels.
//!
//! ```
//! use chiasm_image::decode::{DecodeError, decode};
//!
//! assert_eq!(decode(b"", false), Err(DecodeError::Empty));
//! assert!(matches!(decode(b"a text", false), Err(DecodeError::Format(_))));
//! ```

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// The largest number of pixels of an image: Pillow's limit against decompression bombs.
pub const MAX_PIXELS: u64 = 2 * 89_478_485;

/// An 8-bit RGB image, rows from the top, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `height * width * 3` values.
    pub pixels: Vec<u8>,
}

/// The reason why a file cannot be decoded. The message ends with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The file is empty.
    #[error("the file is empty; restore it, or leave this row out")]
    Empty,
    /// The format is not supported.
    #[error("expected JPEG, PNG, WebP or BMP, got {0}; convert the file, or leave this row out")]
    Format(String),
    /// The file ends before its image does.
    #[error("the file is truncated: {0}; fetch it again, or leave this row out")]
    Truncated(String),
    /// The header states more than [`MAX_PIXELS`] pixels.
    #[error("the picture has {width} x {height} pixels, at most {MAX_PIXELS} are read; shrink it first")]
    TooLarge {
        /// Columns in the header.
        width: u64,
        /// Rows in the header.
        height: u64,
    },
    /// The decoder failed.
    #[error("the {format} data is damaged: {reason}; fetch the file again, or leave this row out")]
    Damaged {
        /// "JPEG", "PNG", ...
        format: &'static str,
        /// The decoder's message.
        reason: String,
    },
}

/// Decodes a whole file held in memory; `orient` applies the EXIF rotation.
pub fn decode(bytes: &[u8], orient: bool) -> Result<Rgb, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => decode_jpeg(bytes, orient),
        Ok(ImageFormat::Png) => decode_other(bytes, orient, "PNG", image::codecs::png::PngDecoder::new),
        Ok(ImageFormat::WebP) => decode_other(bytes, orient, "WebP", image::codecs::webp::WebPDecoder::new),
        Ok(ImageFormat::Bmp) => decode_other(bytes, orient, "BMP", image::codecs::bmp::BmpDecoder::new),
        Ok(other) => Err(DecodeError::Format(format!("{other:?}"))),
        Err(_) => {
            Err(DecodeError::Format(format!("a file beginning with {:02x?}", &bytes[..bytes.len().min(8)])))
        }
    }
}

/// Decodes a JPEG by zune-jpeg itself, because `image` copies the file and accepts a truncated one.
fn decode_jpeg(bytes: &[u8], orient: bool) -> Result<Rgb, DecodeError> {
    let damaged = |reason: String| match jpeg_ends(bytes) {
        true => DecodeError::Damaged { format: "JPEG", reason },
        false => DecodeError::Truncated(reason),
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
    // The decoder fills missing parts with grey, so a truncated image must be refused here.
    if !jpeg_ends(bytes) {
        return Err(DecodeError::Truncated(format!("its {} bytes hold no end-of-image marker", bytes.len())));
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
) -> Result<Rgb, DecodeError> {
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

fn check_size(width: u64, height: u64) -> Result<(), DecodeError> {
    if width.saturating_mul(height) > MAX_PIXELS {
        return Err(DecodeError::TooLarge { width, height });
    }
    Ok(())
}

fn refused(error: image::ImageError, format: &'static str) -> DecodeError {
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
        true => DecodeError::Truncated(error.to_string()),
        false => DecodeError::Damaged { format, reason: error.to_string() },
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
        // Only floating-point images are left, which none of the four formats can hold.
        other => other.to_rgb8().into_raw(),
    };
    Rgb { width, height, pixels }
}

fn oriented(picture: Rgb, turn: Orientation) -> Result<Rgb, DecodeError> {
    let Rgb { width, height, pixels } = picture;
    let Some(buffer) = image::RgbImage::from_raw(width, height, pixels) else {
        return Err(DecodeError::Damaged {
            format: "picture",
            reason: "its size does not fit its data".into(),
        });
    };
    let mut picture = DynamicImage::ImageRgb8(buffer);
    picture.apply_orientation(turn);
    Ok(to_rgb(picture))
}

/// Returns whether an end-of-image marker follows the entropy-coded data. Segments are skipped by their
/// length, because an embedded thumbnail has its own end marker.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let mut at = 2;
    let mut in_scan = false;
    while let Some(step) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xff)) {
        at += step + 1;
        match bytes.get(at) {
            Some(0xd9) => return true,
            // Stuffed byte, fill byte, restart markers: they begin no segment.
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
