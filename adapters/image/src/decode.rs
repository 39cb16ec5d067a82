//! Decodes an image file to 8-bit RGB, like Pillow's `Image.open(..).convert("RGB")`.
//!
//! Most vision models are trained on images decoded by Pillow, so this decoder follows Pillow: a JPEG has the
//! levels that libjpeg-turbo gives it with its default settings, which Pillow uses. The format is detected
//! from the content, not from the file's extension. Alpha is dropped, not blended. Palettes are
//! looked up. CMYK follows Adobe's convention. EXIF rotation is ignored unless `orient` is set; colour
//! profiles and gamma are always ignored. There is one difference: Pillow clips 16-bit grey at 255, which
//! makes the image white. This decoder keeps the high byte, as Pillow does with 16-bit RGB.
//!
//! These files are refused: empty files, formats other than JPEG, PNG, WebP and BMP, truncated files, and
//! images of more than [`MAX_PIXELS`] pixels or of more than [`PICTURE_BYTES`] in memory.
//!
//! ```
//! use chiasm_image::decode::{DecodeError, decode};
//!
//! assert_eq!(decode(b"", false), Err(DecodeError::Empty));
//! assert!(matches!(decode(b"a text", false), Err(DecodeError::Format(_))));
//! ```

use std::io::Cursor;

use chiasm_plugin::Budget;
use chiasm_plugin::budget::PICTURE_BYTES;
use image::codecs::{bmp::BmpDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageResult, Limits};
use libjpeg_turbo_rs::{Decoder as JpegDecoder, PixelFormat};

use crate::jpeg_scans::JpegScans;

/// The largest number of pixels of an image: Pillow's limit against decompression bombs.
pub const MAX_PIXELS: u64 = 2 * 89_478_485;

/// The most pixels that the scans of a JPEG go over, all together: ten scans of the largest picture.
const MAX_SCANNED: u64 = 10 * MAX_PIXELS;

/// The most bytes of a PNG's other chunks, such as a colour profile, which is compressed.
const PNG_CHUNKS: u64 = 32 << 20;
/// The bytes of the longest row of a PNG, of which the decoder keeps two or three.
const MAX_ROW: u64 = 32 << 20;

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
    /// The header states more than [`MAX_PIXELS`] pixels, or decoding them takes more than
    /// [`PICTURE_BYTES`].
    #[error(
        "the picture has {width} x {height} pixels; at most {MAX_PIXELS} are read, and fewer if they are \
         stored in more than 8 bits, with transparency or progressively; shrink it first"
    )]
    TooLarge {
        /// Columns in the header.
        width: u64,
        /// Rows in the header.
        height: u64,
    },
    /// A row of pixels, or what the file holds besides them, is too large.
    #[error("a row or the metadata of the {format} file is too large; save it again without metadata")]
    Limits {
        /// "PNG".
        format: &'static str,
    },
    /// There is not enough memory.
    #[error("{0} bytes of pixels do not fit into memory; use fewer threads, or shrink the picture")]
    Memory(u64),
    /// The decoder failed.
    #[error("the {format} data is damaged: {reason}; fetch the file again, or leave this row out")]
    Damaged {
        /// "JPEG", "PNG", ...
        format: &'static str,
        /// The decoder's message.
        reason: String,
    },
}

/// A picture whose header was read and checked, and whose pixels were not decoded yet.
pub struct OpenPicture<'a> {
    width: u32,
    height: u32,
    /// The bytes that decoding takes, with the copies that it makes.
    memory: u64,
    decoder: Decoder<'a>,
}

enum Decoder<'a> {
    Jpeg(Box<JpegDecoder<'a>>),
    Other { format: &'static str, decoder: Box<dyn ImageDecoder + 'a> },
}

/// Decodes a whole file held in memory; `orient` applies the EXIF rotation.
pub fn decode(bytes: &[u8], orient: bool) -> Result<Rgb, DecodeError> {
    OpenPicture::read(bytes)?.decode(orient)
}

impl<'a> OpenPicture<'a> {
    /// Reads the header of a file held in memory, and checks how much memory its pixels take.
    ///
    /// # Errors
    /// A [`DecodeError`]: see there.
    pub fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Err(DecodeError::Empty);
        }
        let source = Cursor::new(bytes);
        let opened = match image::guess_format(bytes) {
            Ok(ImageFormat::Jpeg) => Self::jpeg(bytes),
            Ok(ImageFormat::Png) => {
                let mut limits = Limits::no_limits();
                limits.max_alloc = Some(PNG_CHUNKS + MAX_ROW);
                Self::other("PNG", PngDecoder::with_limits(source, limits), |_| 0)
            }
            Ok(ImageFormat::WebP) => Self::other("WebP", WebPDecoder::new(source), |decoder| {
                // A lossless picture is decoded with alpha first, an animation into a canvas.
                if decoder.has_animation() { 8 } else { 4 }
            }),
            Ok(ImageFormat::Bmp) => Self::other("BMP", BmpDecoder::new(source), |_| 0),
            Ok(other) => Err(DecodeError::Format(format!("{other:?}"))),
            Err(_) => {
                let start = &bytes[..bytes.len().min(8)];
                Err(DecodeError::Format(format!("a file beginning with {start:02x?}")))
            }
        }?;
        Budget::new("bytes", PICTURE_BYTES).spend(opened.memory).map_err(|_| DecodeError::TooLarge {
            width: opened.width.into(),
            height: opened.height.into(),
        })?;
        Ok(opened)
    }

    /// Returns how many bytes decoding takes.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// Reads a JPEG by itself, because the decoder of `image` differs from Pillow's by up to 9 levels, copies
    /// the file and accepts a truncated one. Damaged data is decoded as far as Pillow decodes it.
    fn jpeg(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let scans = JpegScans::of(bytes);
        let damaged = |reason: String| match scans.ended {
            true => DecodeError::Damaged { format: "JPEG", reason },
            false => DecodeError::Truncated(reason),
        };
        let decoder = JpegDecoder::new(bytes).map_err(|error| damaged(error.to_string()))?;
        let header = decoder.header();
        let (width, height) = header.dimensions();
        let pixels = check_size(width as u64, height as u64)?;
        if pixels == 0 {
            let reason = format!("it is {width} x {height} pixels large");
            return Err(DecodeError::Damaged { format: "JPEG", reason });
        }
        if (header.precision, header.is_lossless) != (8, false) {
            let reason = format!(
                "it has {} bits a sample or is lossless, and only lossy JPEG of 8 bits is read",
                header.precision
            );
            return Err(DecodeError::Damaged { format: "JPEG", reason });
        }
        // The decoder fills missing parts with grey, so a truncated image must be refused here.
        if !scans.ended {
            return Err(DecodeError::Truncated(format!(
                "its {} bytes hold no end-of-image marker",
                bytes.len()
            )));
        }
        if pixels.saturating_mul(scans.scans) > MAX_SCANNED {
            let reason = format!("it goes {} times over its {width} x {height} pixels", scans.scans);
            return Err(DecodeError::Damaged { format: "JPEG", reason });
        }
        let memory = pixels * 3 + (pixels as f64 * scans.plane_bytes()) as u64;
        let decoder = decoder.with_output_format(PixelFormat::Rgb).with_lenient(true);
        let decoder = Decoder::Jpeg(Box::new(decoder));
        Ok(Self { width: width as u32, height: height as u32, memory, decoder })
    }

    fn other<D: ImageDecoder + 'a>(
        format: &'static str,
        decoder: ImageResult<D>,
        extra: impl FnOnce(&D) -> u64,
    ) -> Result<Self, DecodeError> {
        let decoder = decoder.map_err(|error| refused(error, format))?;
        let (width, height) = decoder.dimensions();
        let pixels = check_size(width.into(), height.into())?;
        let stored = u64::from(decoder.color_type().bytes_per_pixel());
        // Fewer than three bytes a pixel are widened in a second buffer.
        let copy = if stored < 3 { 3 } else { 0 };
        let memory = pixels * (stored + copy + extra(&decoder));
        Ok(Self { width, height, memory, decoder: Decoder::Other { format, decoder: Box::new(decoder) } })
    }

    /// Decodes the pixels; `orient` applies the EXIF rotation.
    ///
    /// # Errors
    /// A [`DecodeError`]: see there.
    pub fn decode(self, orient: bool) -> Result<Rgb, DecodeError> {
        let Self { width, height, memory, decoder } = self;
        let (pixels, turn) = match decoder {
            Decoder::Jpeg(decoder) => {
                let mut pixels = reserved(3 * u64::from(width) * u64::from(height))?;
                decoder
                    .decode_image_into(&mut pixels)
                    .map_err(|error| DecodeError::Damaged { format: "JPEG", reason: error.to_string() })?;
                let exif = decoder.exif_data().filter(|_| orient);
                (pixels, exif.and_then(Orientation::from_exif_chunk))
            }
            Decoder::Other { format, mut decoder } => {
                let turn = if orient { decoder.orientation().ok() } else { None };
                let (kind, size) = (decoder.color_type(), decoder.total_bytes());
                let mut stored = reserved(size)?;
                decoder.read_image_boxed(&mut stored).map_err(|error| refused(error, format))?;
                (to_rgb(stored, kind, format)?, turn)
            }
        };
        let picture = Rgb { width, height, pixels };
        match turn {
            Some(Orientation::NoTransforms) | None => Ok(picture),
            // A rotation makes a copy.
            Some(_) if memory.saturating_mul(2) > PICTURE_BYTES => {
                Err(DecodeError::TooLarge { width: width.into(), height: height.into() })
            }
            Some(turn) => oriented(picture, turn),
        }
    }
}

/// Returns this many zeros, or an error if they do not fit into memory.
pub(crate) fn reserved(count: u64) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Vec::new();
    let count = usize::try_from(count).map_err(|_| DecodeError::Memory(count))?;
    bytes.try_reserve_exact(count).map_err(|_| DecodeError::Memory(count as u64))?;
    bytes.resize(count, 0);
    Ok(bytes)
}

/// Returns the number of pixels.
fn check_size(width: u64, height: u64) -> Result<u64, DecodeError> {
    match width.saturating_mul(height) {
        pixels if pixels <= MAX_PIXELS => Ok(pixels),
        _ => Err(DecodeError::TooLarge { width, height }),
    }
}

fn refused(error: image::ImageError, format: &'static str) -> DecodeError {
    if matches!(error, image::ImageError::Limits(_)) {
        return DecodeError::Limits { format };
    }
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

/// Converts pixels as a decoder returns them: the high byte of each colour, without alpha. The bytes of a
/// 16-bit number are in the order of the machine.
fn to_rgb(mut stored: Vec<u8>, kind: ColorType, format: &'static str) -> Result<Vec<u8>, DecodeError> {
    let high = usize::from(cfg!(target_endian = "little"));
    // The bytes of a pixel, and those of them that are red, green and blue.
    let (size, places) = match kind {
        ColorType::Rgb8 => return Ok(stored),
        ColorType::Rgba8 => (4, [0, 1, 2]),
        ColorType::L8 => (1, [0; 3]),
        ColorType::La8 => (2, [0; 3]),
        ColorType::L16 => (2, [high; 3]),
        ColorType::La16 => (4, [high; 3]),
        ColorType::Rgb16 => (6, [high, high + 2, high + 4]),
        ColorType::Rgba16 => (8, [high, high + 2, high + 4]),
        // Floating-point pixels, which none of the four formats can hold.
        other => {
            return Err(DecodeError::Damaged { format, reason: format!("its pixels are {other:?}") });
        }
    };
    let pixels = stored.len() / size;
    if size < 3 {
        let mut widened = reserved(3 * pixels as u64)?;
        for (into, from) in widened.chunks_exact_mut(3).zip(stored.chunks_exact(size)) {
            into.copy_from_slice(&places.map(|place| from[place]));
        }
        return Ok(widened);
    }
    for pixel in 0..pixels {
        let colours = places.map(|place| stored[size * pixel + place]);
        stored[3 * pixel..3 * pixel + 3].copy_from_slice(&colours);
    }
    stored.truncate(3 * pixels);
    stored.shrink_to_fit();
    Ok(stored)
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
    Ok(Rgb { width: picture.width(), height: picture.height(), pixels: picture.into_bytes() })
}
