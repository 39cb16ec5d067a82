//! Decoding and resizing against what Pillow makes of the same files (tests/reference/make.py).
#![expect(clippy::unwrap_used, reason = "test")]

use std::fs;
use std::path::{Path, PathBuf};

use chiasm_image::decode::{Rgb, decode};
use chiasm_image::preprocessing::Preprocessing;
use chiasm_image::resize::{ResampleFilter, ResizeMode, ResizeTarget, resize};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    cases: Vec<PillowCase>,
}

#[derive(Deserialize)]
struct PillowCase {
    kind: String,
    file: String,
    height: u32,
    width: u32,
    offset: usize,
    #[serde(default)]
    orient: bool,
    filter: Option<ResampleFilter>,
    resize: Option<ResizeMode>,
    shortest: Option<u32>,
    /// The side of the padded square.
    longest: Option<u32>,
}

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference")
}

fn cases(kind: &str) -> Vec<(PillowCase, Vec<u8>, Vec<u8>)> {
    let all: Cases =
        serde_json::from_str(&fs::read_to_string(reference().join("cases.json")).unwrap()).unwrap();
    let golden = fs::read(reference().join("golden.bin")).unwrap();
    let chosen = all.cases.into_iter().filter(|case| case.kind == kind);
    chosen
        .map(|case| {
            let bytes = fs::read(reference().join("pictures").join(&case.file)).unwrap();
            let expected = golden[case.offset..][..(3 * case.width * case.height) as usize].to_vec();
            (case, bytes, expected)
        })
        .collect()
}

/// Largest and mean difference in levels.
fn difference(got: &Rgb, case: &PillowCase, expected: &[u8]) -> (u8, f64) {
    assert_eq!((got.width, got.height), (case.width, case.height), "{}", case.file);
    let differences = got.pixels.iter().zip(expected).map(|(&a, &b)| a.abs_diff(b));
    let sum: f64 = differences.clone().map(f64::from).sum();
    (differences.max().unwrap_or(0), sum / expected.len() as f64)
}

/// All pictures are equal. The standard of JPEG leaves the rounding of the inverse transform and the
/// interpolation of chroma open; the decoder does both as libjpeg-turbo does, which Pillow uses.
#[test]
fn decodes_as_pillow_does() {
    for (case, bytes, expected) in cases("decode") {
        let got = decode(&bytes, case.orient).unwrap();
        let (largest, mean) = difference(&got, &case, &expected);
        assert_eq!(largest, 0, "{} orient={}: mean {mean:.3}", case.file, case.orient);
    }
}

/// The tolerance is one level: `fast_image_resize` rounds coefficients to 16 bits and Pillow to 22;
/// `nearest` and `box` have none.
#[test]
fn resizes_as_pillow_does() {
    for (case, bytes, expected) in cases("resize") {
        let (filter, how) = (case.filter.unwrap(), case.resize.unwrap());
        let [height, width] = case.longest.map_or([case.height, case.width], |longest| [longest; 2]);
        let target = ResizeTarget {
            height,
            width,
            resize: how,
            shortest: case.shortest.unwrap_or(height.max(width)),
            filter,
        };
        let got = resize(decode(&bytes, false).unwrap(), &target).unwrap();
        let (largest, mean) = difference(&got, &case, &expected);
        println!("{} {filter:?} {how:?}: largest {largest}, mean {mean:.4}", case.file);
        let exact = matches!(filter, ResampleFilter::Nearest | ResampleFilter::Box);
        let most = if exact { 0 } else { 1 };
        assert!(largest <= most, "{} {filter:?} {how:?}: largest {largest}, mean {mean:.4}", case.file);
    }
}

/// As Hugging Face's `SamImageProcessor`: normalised first, and then padded with zeros at the bottom and the
/// right. The kernel has no rounding, so the values are those of NumPy on Pillow's levels.
#[test]
fn pads_after_normalising_as_sam_does() {
    let padded = cases("resize").into_iter().filter(|(case, ..)| case.filter == Some(ResampleFilter::Box));
    let mut seen = 0;
    for (case, bytes, levels) in padded {
        let Some(longest) = case.longest else { continue };
        seen += 1;
        let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        for layout in ["nchw", "nhwc"] {
            let card = serde_json::json!({
                "size": [longest, longest], "resize": "longest-side-pad", "filter": "box", "layout": layout,
                "mean": mean, "std": std,
            });
            let preprocessing = Preprocessing::new(&serde_json::from_value(card).unwrap()).unwrap();
            let values = preprocessing.apply(&bytes).unwrap();
            let side = longest as usize;
            let (height, width) = (case.height as usize, case.width as usize);
            assert!(values.len() == 3 * side * side && height.max(width) == side && height.min(width) < side);
            for (row, column, channel) in
                (0..side).flat_map(|i| (0..side).flat_map(move |j| (0..3).map(move |c| (i, j, c))))
            {
                let at = match layout {
                    "nchw" => (channel * side + row) * side + column,
                    _ => (row * side + column) * 3 + channel,
                };
                let wanted = match row < height && column < width {
                    true => {
                        let level = f64::from(levels[(row * width + column) * 3 + channel]);
                        (level / 255.0 - mean[channel]) / std[channel]
                    }
                    false => 0.0,
                };
                let place = (&case.file, layout, row, column, channel);
                assert!((f64::from(values[at]) - wanted).abs() < 1e-6, "{place:?}: {} {wanted}", values[at]);
            }
        }
    }
    assert_eq!(seen, 3);
}

/// A half picture is refused, though the decoder would paint the rest grey.
#[test]
fn refuses_truncated_files() {
    for file in ["truncated.jpg", "truncated.png"] {
        let message = decode(&fs::read(reference().join("pictures").join(file)).unwrap(), false)
            .unwrap_err()
            .to_string();
        assert!(message.contains("truncated") && message.contains("fetch it again"), "{file}: {message}");
    }
}

/// Every prefix of an image file is refused, or decodes if only trailing bytes are missing. None panics.
#[test]
fn no_prefix_of_an_image_panics() {
    for (_, bytes, _) in cases("decode") {
        for end in (0..bytes.len()).step_by(7) {
            let _ = decode(&bytes[..end], false);
        }
    }
}

#[test]
fn detects_the_format_from_the_content() {
    assert!(decode(b"", false).unwrap_err().to_string().contains("empty"));
    let message = decode(b"id,caption\n1,a dog", false).unwrap_err().to_string();
    assert!(message.contains("expected JPEG, PNG, WebP or BMP"), "{message}");
    let message = decode(b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", false).unwrap_err().to_string();
    assert!(message.contains("got Gif"), "{message}");
}

/// A 33-byte PNG header that promises 60000 x 60000 pixels is refused before anything is allocated.
#[test]
fn refuses_a_decompression_bomb() {
    let mut header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    header.extend(60_000_u32.to_be_bytes());
    header.extend(60_000_u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    header.extend(crc32(&header[12..]).to_be_bytes());
    header.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    let message = decode(&header, false).unwrap_err().to_string();
    assert!(message.contains("60000 x 60000"), "{message}");
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}
