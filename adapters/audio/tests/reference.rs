//! Decoding, resampling and spectrograms against soundfile, librosa, torchaudio and NumPy, whose values
//! tests/reference/make.py stored.
#![expect(clippy::unwrap_used, reason = "test")]

use std::path::{Path, PathBuf};

use chiasm_audio::decode::{DecodeError, Recording, decode, decode_file};
use chiasm_audio::preprocessing::Preprocessing;
use chiasm_audio::resample::resample;
use chiasm_plugin::Json;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference")
}

/// The cases of one kind, with their values.
fn cases(kind: &str) -> Vec<(Json, Vec<f32>)> {
    let golden = std::fs::read(folder().join("golden.bin")).unwrap();
    let cases: Vec<Json> =
        serde_json::from_str(&std::fs::read_to_string(folder().join("cases.json")).unwrap()).unwrap();
    let values = |case: &Json| {
        let count: u64 = case["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).product();
        let bytes = &golden[case["offset"].as_u64().unwrap() as usize..][..4 * count as usize];
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let found: Vec<_> =
        cases.iter().filter(|case| case["kind"] == kind).map(|case| (case.clone(), values(case))).collect();
    assert!(!found.is_empty());
    found
}

fn samples(name: &Json) -> Vec<f32> {
    cases("samples").into_iter().find(|(case, _)| case["name"] == *name).unwrap().1
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Integers and FLAC are exact but for the rounding of a mean of two 32-bit floats (6e-8). Vorbis decoders
/// differ by roundings, and MP3 decoders by the precision of their synthesis filters (1e-5 is 1/3 of a 16-bit
/// level). MP3 files may keep the encoder's delay at one end: see the decoder's documentation.
#[test]
fn every_format_decodes_as_soundfile_does() {
    for (case, expected) in cases("decode") {
        let file = case["file"].as_str().unwrap();
        let got = decode_file(&folder().join("recordings").join(file), 60.0).unwrap();
        assert_eq!(u64::from(got.rate), case["rate"].as_u64().unwrap(), "{file}");
        let tolerance = match file.rsplit('.').next().unwrap() {
            "mp3" => 1e-4,
            "ogg" => 1e-5,
            _ => 1e-7,
        };
        println!("{file}: {} samples, expected {}", got.samples.len(), expected.len());
        let length = got.samples.len();
        assert_eq!(length, expected.len(), "{file}");
        let difference = largest_difference(&got.samples, &expected);
        println!("  difference {difference:e}");
        assert!(difference <= tolerance, "{file}: {difference}");
    }
}

/// Sweeps up to 0.9 of the lower Nyquist frequency: there a resampler changes nothing but the rate, so that
/// librosa's (soxr) and ours differ by the ripple of their filters.
#[test]
fn resampling_agrees_with_librosa() {
    for (case, expected) in cases("resample") {
        let (rate, to) = (case["rate"].as_u64().unwrap() as u32, case["to"].as_u64().unwrap() as u32);
        let got = resample(Recording { rate, samples: samples(&case["name"]) }, to).unwrap();
        let difference = largest_difference(&got, &expected);
        println!("{rate} to {to}: {difference:e}");
        assert!(difference < 1e-3, "{rate} to {to}: {difference}");
    }
}

/// Values are logarithms or decibels of up to 100. The libraries' filters are in single precision, which
/// changes a logarithm by 1e-7 and decibels by 1e-6; the stored values are rounded to single precision.
#[test]
fn log_mel_conventions_agree_with_the_libraries() {
    for (case, expected) in cases("log-mel") {
        let name = case["name"].as_str().unwrap();
        let parameters = serde_json::from_value(case["card"].clone()).unwrap();
        let preprocessing = Preprocessing::new(parameters).unwrap();
        let got = preprocessing.apply(samples(&case["samples"]));
        let shape: Vec<u64> = got.dims.iter().map(|length| *length as u64).collect();
        assert_eq!(chiasm_plugin::json!(shape), case["shape"], "{name}");
        let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let difference = largest_difference(&got.values, &expected);
        println!("{name}: {difference:e} of {largest}");
        assert!(difference <= 1e-5 * largest.max(1.0), "{name}: {difference}");
    }
}

#[test]
fn damaged_truncated_and_long_recordings_are_refused() {
    let read = |name: &str| std::fs::read(folder().join("recordings").join(name)).unwrap();
    for name in ["16.wav", "float.wav", "stereo.flac"] {
        let mut bytes = read(name);
        bytes.truncate(bytes.len() * 2 / 3);
        let error = decode(bytes, 60.0).unwrap_err();
        let refused = matches!(error, DecodeError::Truncated { .. } | DecodeError::Damaged(_));
        assert!(refused, "{name}: {error}");
    }
    let mut damaged = read("stereo.flac");
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0x55);
    assert!(decode(damaged, 60.0).is_err());
    let error = decode(read("mono.mp3"), 0.05).unwrap_err();
    assert_eq!(error, DecodeError::TooLong { limit: 0.05 });
    assert!(error.to_string().contains("max_seconds"));
    let error = decode_file(&folder(), 60.0).unwrap_err();
    assert!(error.to_string().contains("is a folder"), "{error}");
    let picture = decode(b"\x89PNG\r\n\x1a\n0000000000000000".to_vec(), 60.0).unwrap_err();
    assert!(picture.to_string().contains("expected WAV, FLAC, OGG"), "{picture}");
}
