//! Small files that state very long recordings or very large chunks, and truncated files: each is an error
//! within two seconds and half a gigabyte.
#![expect(clippy::unwrap_used, reason = "test")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use chiasm_audio::decode::{DecodeError, Recording, decode, decode_file};
use chiasm_audio::resample::resample;
use chiasm_testing::limited;

/// Memory of a test program and 512 MiB, and the time on a machine with other work.
const MEBIBYTES: u64 = 700;
const SECONDS: u64 = 30;

fn stored(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/recordings").join(name)).unwrap()
}

fn chunk(name: &[u8; 4], stated: u32, data: &[u8]) -> Vec<u8> {
    [&name[..], &stated.to_le_bytes(), data].concat()
}

/// A WAV file of 8-bit samples: `extra` precedes the samples, of which the header states `stated`.
fn wav(rate: u32, channels: u16, extra: &[u8], stated: u32, data: &[u8]) -> Vec<u8> {
    let bytes = rate.wrapping_mul(channels.into());
    let format =
        [&1_u16.to_le_bytes()[..], &channels.to_le_bytes(), &rate.to_le_bytes(), &bytes.to_le_bytes()];
    let format = [&format.concat()[..], &channels.to_le_bytes(), &8_u16.to_le_bytes()].concat();
    let format = chunk(b"fmt ", format.len() as u32, &format);
    let body = [b"WAVE", &format[..], extra, &chunk(b"data", stated, data)].concat();
    let whole = (body.len() - data.len()) as u64 + u64::from(stated).max(data.len() as u64);
    chunk(b"RIFF", u32::try_from(whole).unwrap(), &body)
}

#[test]
fn headers_that_state_more_than_the_file_has() {
    limited(MEBIBYTES, SECONDS, || {
        // A day of samples, none of which is there.
        let error = decode(wav(48_000, 1, &[], 0xf000_0000, &[128; 1000]), 60.0).unwrap_err();
        assert!(matches!(error, DecodeError::Truncated { .. } | DecodeError::TooLong { .. }), "{error}");
        for name in [b"junk", b"LIST", b"id3 ", b"bext", b"fact"] {
            let extra = chunk(name, 0xffff_fff0, b"INFO");
            let message = decode(wav(48_000, 1, &extra, 100, &[128; 100]), 60.0).unwrap_err().to_string();
            assert!(message.contains("states 4294967280 bytes"), "{message}");
        }
        let entry = [b"INFO", &chunk(b"IART", 0xffff_fff0, b"x")[..]].concat();
        let list = chunk(b"LIST", entry.len() as u32, &entry);
        let message = decode(wav(48_000, 1, &list, 100, &[128; 100]), 60.0).unwrap_err().to_string();
        assert!(message.contains("\"IART\"") && message.contains("longer than the chunk"), "{message}");
        // A whole list is read over.
        let entry = [b"INFO", &chunk(b"IART", 4, b"name")[..]].concat();
        let list = chunk(b"LIST", entry.len() as u32, &entry);
        assert_eq!(decode(wav(48_000, 1, &list, 100, &[128; 100]), 60.0).unwrap().samples.len(), 100);
    });
}

#[test]
fn sample_rates_and_lengths_have_limits() {
    limited(MEBIBYTES, SECONDS, || {
        for rate in [0, 1, 7, 999, 768_001, u32::MAX] {
            let error = decode(wav(rate, 1, &[], 100, &[128; 100]), 60.0).unwrap_err();
            let refused =
                matches!(&error, DecodeError::Rate(_) | DecodeError::Format(_) | DecodeError::Damaged(_));
            assert!(refused, "{rate}: {error}");
        }
        for channels in [0, u16::MAX] {
            // Either answer is right; the decoder must return.
            drop(decode(wav(48_000, channels, &[], 1000, &[128; 1000]), 60.0));
        }
        // Rates without a common divisor.
        for from in [1000, 1001, 767_999] {
            let second = Recording { rate: from, samples: vec![0.5; from as usize] };
            assert_eq!(resample(second, 16_000).unwrap().len(), 16_000);
        }
    });
}

#[test]
fn endless_files_stop_at_the_limit() {
    limited(MEBIBYTES, SECONDS, || {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("long.wav");
        fs::write(&long, wav(768_000, 2, &[], 0xff00_0000, &[])).unwrap();
        // Four GiB of samples that take no place on the disk: 47 minutes.
        File::options().append(true).open(&long).unwrap().set_len(1 << 32).unwrap();
        assert_eq!(decode_file(&long, 5.0).unwrap_err(), DecodeError::TooLong { limit: 5.0 });
        // With the default limit of 600 seconds, 512 MiB of samples are decoded at most.
        let error = decode_file(&long, 100.0).unwrap_err();
        assert_eq!(error, DecodeError::TooLong { limit: 100.0 });
        let pipe: PathBuf = folder.path().join("pipe.wav");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            let message = decode_file(path, 60.0).unwrap_err().to_string();
            assert!(message.contains("expected a regular file"), "{message}");
        }
    });
}

#[test]
fn truncated_files_of_every_format_are_an_error() {
    for name in ["mono.ogg", "stereo.ogg"] {
        let whole = stored(name);
        decode(whole.clone(), 60.0).unwrap();
        for end in (whole.len() / 2..whole.len()).step_by(97) {
            let message = decode(whole[..end].to_vec(), 60.0).unwrap_err().to_string();
            assert!(
                message.contains("truncated") && message.contains("page"),
                "{name} cut at {end}: {message}"
            );
        }
        // Cut between two pages: whole, but without the last one.
        let last = whole.windows(5).rposition(|bytes| bytes == b"OggS\0").unwrap();
        let message = decode(whole[..last].to_vec(), 60.0).unwrap_err().to_string();
        assert!(message.contains("its last page does not say that it is the last"), "{message}");
    }
    for name in ["mono.mp3", "stereo.mp3"] {
        let whole = stored(name);
        let samples = decode(whole.clone(), 60.0).unwrap().samples.len();
        match decode(whole[..whole.len() / 2].to_vec(), 60.0) {
            Err(error) => assert!(error.to_string().contains("truncated"), "{name}: {error}"),
            // Without a count of the frames, it is a shorter recording.
            Ok(part) => assert!(part.samples.len() < samples && !counts(&whole), "{name}"),
        }
    }
}

fn counts(file: &[u8]) -> bool {
    [b"Xing", b"Info", b"VBRI"].iter().any(|tag| file[..64].windows(4).any(|bytes| bytes == *tag))
}
