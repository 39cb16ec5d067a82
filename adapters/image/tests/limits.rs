//! Small files that state or expand to very large pictures: each is an error, or decodes, within two seconds
//! and half a gigabyte.
#![expect(clippy::unwrap_used, reason = "test")]

use std::fs;
use std::path::Path;

use chiasm_image::ImageAdapter;
use chiasm_image::decode::{DecodeError, decode};
use chiasm_plugin::graph::DType;
use chiasm_plugin::{Adapter, DimSpec, EncoderSpec, Item, Json, PortSpec, Services, json};
use chiasm_testing::limited;
use flate2::{Compression, write::ZlibEncoder};

/// Memory of a test program and 512 MiB, and the time on a machine with other work, most of which goes into
/// writing the files.
const MEBIBYTES: u64 = 700;
const SECONDS: u64 = 60;

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let checked = [&kind[..], data].concat();
    let sum = checked.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    });
    [&(data.len() as u32).to_be_bytes()[..], &checked, &(!sum).to_be_bytes()].concat()
}

/// `count` zeros, compressed.
fn zeros(count: u64) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), count), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// A black PNG: `bits` for each of `channels` (1 is grey, 3 is RGB, 4 is RGBA), with `data` zeros.
fn png(width: u32, height: u32, bits: u8, channels: u8, extra: &[u8], data: u64) -> Vec<u8> {
    let colour = match channels {
        1 => 0,
        3 => 2,
        _ => 6,
    };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[bits, colour, 0, 0, 0]].concat();
    let (header, end) = (chunk(b"IHDR", &header), chunk(b"IEND", &[]));
    [b"\x89PNG\r\n\x1a\n", &header[..], extra, &chunk(b"IDAT", &zeros(data)), &end].concat()
}

/// A black PNG with all of its data.
fn whole(width: u32, height: u32, bits: u8, channels: u8) -> Vec<u8> {
    let row = u64::from(width) * u64::from(bits / 8) * u64::from(channels) + 1;
    png(width, height, bits, channels, &[], row * u64::from(height))
}

fn adapter(preprocessing: Json) -> ImageAdapter {
    let port = |name: &str, dims: &[usize]| PortSpec {
        name: name.into(),
        dtype: DType::F32,
        dims: Some(
            std::iter::once(DimSpec::Named("N".into()))
                .chain(dims.iter().map(|length| DimSpec::Fixed(*length)))
                .collect(),
        ),
    };
    let spec = EncoderSpec {
        name: "test".into(),
        inputs: vec![port("image", &[3, 8, 8])],
        outputs: vec![port("embedding", &[4])],
        ports: json!({ "pooled": "embedding" }),
        preprocessing,
        ..Default::default()
    };
    ImageAdapter::open(&spec, &Services::detached(0, 1)).map_err(|e| e.message().to_owned()).unwrap()
}

fn prepared(adapter: &ImageAdapter, path: &Path) -> Result<(), String> {
    adapter.prepare(Item::Path(path)).map(drop).map_err(|error| error.message().to_owned())
}

#[test]
fn long_and_thin_pictures_are_resized_or_refused() {
    limited(MEBIBYTES, SECONDS, || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thin.png");
        let stretch = |filter: &str| adapter(json!({ "size": [8, 8], "filter": filter }));
        let crop = |filter: &str| {
            adapter(
                json!({ "size": [8, 8], "resize": "shortest-side-crop", "shortest": 224, "filter": filter }),
            )
        };
        for (width, height) in [(2_000_000, 1), (1, 2_000_000), (60_000, 1)] {
            fs::write(&path, whole(width, height, 8, 1)).unwrap();
            for filter in ["bicubic", "box", "nearest"] {
                prepared(&stretch(filter), &path).unwrap();
                let message = prepared(&crop(filter), &path).unwrap_err();
                let words = ["thin.png", &format!("{width} x {height}"), "while it is resized", "crop it"];
                assert!(words.iter().all(|word| message.contains(word)), "{message}");
            }
        }
    });
}

#[test]
fn colour_profiles_and_texts_of_gigabytes_are_not_expanded() {
    limited(MEBIBYTES, SECONDS, || {
        let zeros = zeros(1 << 30);
        for chunk in [
            chunk(b"iCCP", &[&b"x\0\0"[..], &zeros].concat()),
            chunk(b"zTXt", &[&b"x\0\0"[..], &zeros].concat()),
            chunk(b"iTXt", &[&b"x\0\x01\0\0\0"[..], &zeros].concat()),
        ] {
            // The picture itself is 8 x 8; whether it is decoded without the profile or refused is left open.
            match decode(&png(8, 8, 8, 3, &chunk, 25 * 8), false) {
                Ok(picture) => assert_eq!((picture.width, picture.height), (8, 8)),
                Err(error) => assert_eq!(error, DecodeError::Limits { format: "PNG" }),
            }
        }
    });
}

#[test]
fn pictures_that_take_more_than_half_a_gigabyte_are_refused_by_their_header() {
    limited(MEBIBYTES, SECONDS, || {
        // 12,000 x 12,000 pixels, and none of their data: a decoder that reads the header only finds out.
        for (bits, channels) in [(16, 1), (16, 3), (16, 4), (8, 4)] {
            let picture = png(12_000, 12_000, bits, channels, &[], 0);
            let error = decode(&picture, false).unwrap_err();
            assert_eq!(error, DecodeError::TooLarge { width: 12_000, height: 12_000 });
        }
        for (width, height) in [(u32::MAX >> 1, 1), (1, u32::MAX >> 1), (70_000, 70_000)] {
            let error = decode(&png(width, height, 8, 1, &[], 0), false).unwrap_err();
            assert!(matches!(error, DecodeError::TooLarge { .. } | DecodeError::Limits { .. }), "{error}");
        }
    });
}

/// A header with the size in the place where each format has it; the rest is absent or zero.
#[test]
fn headers_of_other_formats_that_state_huge_sizes_are_refused() {
    limited(MEBIBYTES, SECONDS, || {
        let bmp = |width: i32, height: i32, bits: u16, compression: u32| {
            let sizes = [&54_u32.to_le_bytes()[..], &40_u32.to_le_bytes(), &width.to_le_bytes()].concat();
            let kind = [&height.to_le_bytes()[..], &1_u16.to_le_bytes(), &bits.to_le_bytes()].concat();
            [b"BM\0\0\0\0\0\0\0\0", &sizes[..], &kind, &compression.to_le_bytes(), &[0; 20 + 64]].concat()
        };
        let jpeg = |marker: u8, width: u16, height: u16| {
            let frame = [&[0xff, marker, 0, 17, 8][..], &height.to_be_bytes(), &width.to_be_bytes()].concat();
            [&[0xff, 0xd8][..], &frame, &[3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0], &[0xff, 0xd9]].concat()
        };
        let webp = |canvas: [u8; 6]| {
            let body = [&b"WEBPVP8X\x0a\0\0\0\x02\0\0\0"[..], &canvas, &[0; 64]].concat();
            [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
        };
        let gif = [&b"GIF89a"[..], &[0xff; 4], &[0; 64]].concat();
        let tiff = [&b"II*\0\x08\0\0\0"[..], &[0xff; 64]].concat();
        for picture in [
            bmp(65_000, 65_000, 24, 0),
            bmp(65_000, -65_000, 32, 0),
            bmp(65_000, 65_000, 8, 1),
            bmp(i32::MAX, i32::MIN, 24, 0),
            jpeg(0xc0, 65_535, 65_535),
            jpeg(0xc2, 65_535, 65_535),
            // 90 million pixels, as progressive coefficients: 9 bytes each.
            jpeg(0xc2, 9_500, 9_500),
            webp([0xff; 6]),
            gif,
            tiff,
        ] {
            let message = decode(&picture, true).unwrap_err().to_string();
            let words = ["leave this row out", "shrink", "convert"];
            assert!(words.iter().any(|word| message.contains(word)), "{message}");
        }
    });
}

#[test]
fn the_high_bytes_are_kept_in_every_number_of_channels() {
    let values: Vec<u16> = (0..24_u16).map(|at| at * 2731).collect();
    for channels in [1, 2, 3, 4_usize] {
        let (width, kind) = (24 / channels as u32, channels);
        let picture = match kind {
            1 => image::DynamicImage::ImageLuma16(
                image::ImageBuffer::from_raw(width, 1, values.clone()).unwrap(),
            ),
            2 => image::DynamicImage::ImageLumaA16(
                image::ImageBuffer::from_raw(width, 1, values.clone()).unwrap(),
            ),
            3 => image::DynamicImage::ImageRgb16(
                image::ImageBuffer::from_raw(width, 1, values.clone()).unwrap(),
            ),
            _ => image::DynamicImage::ImageRgba16(
                image::ImageBuffer::from_raw(width, 1, values.clone()).unwrap(),
            ),
        };
        let mut file = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut file, image::ImageFormat::Png).unwrap();
        let decoded = decode(file.get_ref(), false).unwrap();
        let expected: Vec<u8> = values
            .chunks(channels)
            .flat_map(|pixel| if channels < 3 { [pixel[0]; 3] } else { [pixel[0], pixel[1], pixel[2]] })
            .map(|value| (value >> 8) as u8)
            .collect();
        assert_eq!(decoded.pixels, expected, "{channels} channels");
    }
}

#[test]
fn pipes_devices_and_folders() {
    limited(MEBIBYTES, SECONDS, || {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.png");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let adapter = adapter(json!({ "size": [8, 8] }));
        for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            let message = prepared(&adapter, path).unwrap_err();
            assert!(
                message.contains("expected a regular file") && message.contains("pairs table"),
                "{message}"
            );
        }
    });
}
