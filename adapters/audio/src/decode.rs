//! Decodes an audio file to one channel of samples, like `soundfile.read(..).mean(axis=1)`.
//!
//! The format is detected from the content, not from the file's extension: WAV (integer and floating-point
//! samples), FLAC, OGG with Vorbis, and MP3. Integer samples become numbers in -1..1. The silence that an MP3
//! or Vorbis encoder adds at both ends is removed where the file states its length. Channels are averaged.
//!
//! These files are refused: empty files, other formats, recordings without samples, truncated files, damaged
//! files, recordings whose sample rate changes, and recordings longer than the given limit. No more than the
//! limit is ever decoded. An MP3 file is known to be truncated only if its first frame states the number of
//! frames; others are decoded as far as they go.
//!
//! ```
//! use chiasm_audio::decode::{DecodeError, decode};
//!
//! assert_eq!(decode(Vec::new(), 60.0), Err(DecodeError::Empty));
//! assert!(matches!(decode(b"a text".to_vec(), 60.0), Err(DecodeError::Format(_))));
//! ```

use std::io::{Cursor, ErrorKind};
use std::path::Path;

use chiasm_plugin::open_file;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Symphonia;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;

use crate::headers::{check_chunks, check_last_page, counts_frames};

/// The largest size of a file.
const MAX_BYTES: u64 = 1 << 36;

/// The lowest sample rate, in samples per second. Resampling from a lower one takes much memory.
pub const MIN_RATE: u32 = 1000;

/// The highest sample rate, in samples per second.
pub const MAX_RATE: u32 = 768_000;

/// The most samples of a recording that is prepared with the default limit of its length: 512 MiB.
pub const MAX_SAMPLES: u64 = 1 << 27;

/// The rate at which a card's limit of the length holds in full, whatever memory that takes.
const USUAL_RATE: f64 = 48_000.0;

/// A recording of one channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Samples per second.
    pub rate: u32,
    /// The samples, nominally in -1..1.
    pub samples: Vec<f32>,
}

/// The reason why a file cannot be decoded. The message ends with what to do about it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The file cannot be opened or read.
    #[error("cannot be read ({0}); check the path in the pairs table")]
    Unreadable(String),
    /// The file is empty.
    #[error("the file is empty; restore it, or leave this row out")]
    Empty,
    /// The format is not supported.
    #[error("expected WAV, FLAC, OGG (Vorbis) or MP3, got {0}; convert the file, or leave this row out")]
    Format(String),
    /// The recording has no samples.
    #[error("the recording has no samples; leave this row out")]
    NoSamples,
    /// The file ends before its recording does.
    #[error(
        "the file is truncated: it holds {got} of {stated} samples; fetch it again, or leave this row out"
    )]
    Truncated {
        /// Samples of a channel that were decoded.
        got: u64,
        /// Samples of a channel that the header states.
        stated: u64,
    },
    /// An OGG file ends before its last page does, or without a last page.
    #[error("the file is truncated: {0}; fetch it again, or leave this row out")]
    Unfinished(String),
    /// The recording is longer than the limit.
    #[error(
        "the recording is longer than {limit} seconds; cut it, or raise max_seconds in the \
         [preprocessing] of the card"
    )]
    TooLong {
        /// The limit, in seconds.
        limit: f64,
    },
    /// There is not enough memory.
    #[error("the samples do not fit into memory; use fewer threads, or cut the recording")]
    Memory,
    /// The sample rate is not usable, or it changes.
    #[error("expected one sample rate of {MIN_RATE}..{MAX_RATE} a second, got {0}; convert the file")]
    Rate(String),
    /// The decoder failed.
    #[error("the audio data is damaged: {0}; fetch the file again, or leave this row out")]
    Damaged(String),
}

/// Decodes a whole file held in memory, of at most `max_seconds`.
///
/// # Errors
/// A [`DecodeError`]: see there.
pub fn decode(bytes: Vec<u8>, max_seconds: f64) -> Result<Recording, DecodeError> {
    match bytes.is_empty() {
        true => Err(DecodeError::Empty),
        false => read(Box::new(Cursor::new(bytes)), max_seconds),
    }
}

/// Decodes a file of at most `max_seconds`. It must be a regular file, because a pipe might never end.
///
/// # Errors
/// A [`DecodeError`]: see there.
pub fn decode_file(path: &Path, max_seconds: f64) -> Result<Recording, DecodeError> {
    let unreadable = |error: std::io::Error| DecodeError::Unreadable(error.to_string());
    let file = open_file(path, MAX_BYTES).map_err(unreadable)?;
    match file.metadata().map_err(unreadable)?.len() {
        0 => Err(DecodeError::Empty),
        _ => read(Box::new(file), max_seconds),
    }
}

fn read(mut source: Box<dyn MediaSource>, max_seconds: f64) -> Result<Recording, DecodeError> {
    let unreadable = |error: std::io::Error| DecodeError::Unreadable(error.to_string());
    check_chunks(&mut source).map_err(unreadable)?.map_err(DecodeError::Damaged)?;
    check_last_page(&mut source).map_err(unreadable)?.map_err(DecodeError::Unfinished)?;
    let counted = counts_frames(&mut source).map_err(unreadable)?;
    source.rewind().map_err(unreadable)?;
    let stream = MediaSourceStream::new(source, Default::default());
    let (formats, tags) = (FormatOptions::default(), MetadataOptions::default());
    let mut reader = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, formats, tags)
        .map_err(|error| DecodeError::Format(format!("an unknown format ({error})")))?;
    let track = reader
        .default_track(TrackType::Audio)
        .ok_or_else(|| DecodeError::Format("a file without an audio track".into()))?;
    let mut decoder = decoder(track)?;
    let (id, stated) = (track.id, stated_length(track, counted));
    let recording = collect(reader.as_mut(), decoder.as_mut(), id, max_seconds)?;
    let got = recording.samples.len() as u64;
    match stated {
        Some(stated) if got < stated => Err(DecodeError::Truncated { got, stated }),
        _ if got == 0 => Err(DecodeError::NoSamples),
        _ => Ok(recording),
    }
}

fn decoder(track: &Track) -> Result<Box<dyn AudioDecoder>, DecodeError> {
    let codec = track.codec_params.as_ref().and_then(|codec| codec.audio());
    let codec = codec.ok_or_else(|| DecodeError::Format("an unknown codec".into()))?;
    symphonia::default::get_codecs()
        .make_audio_decoder(codec, &AudioDecoderOptions::default())
        .map_err(|error| DecodeError::Format(format!("a codec that is not read ({error})")))
}

/// Returns the least number of samples of a channel that a whole file has, for the formats whose header
/// states it. `counted` says whether an MP3 file states the number of its frames.
fn stated_length(track: &Track, counted: bool) -> Option<u64> {
    use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP3, CODEC_ID_VORBIS};
    let codec = track.codec_params.as_ref()?.audio()?.codec;
    let stated = track.num_frames.filter(|_| codec != CODEC_ID_VORBIS)?;
    match codec == CODEC_ID_MP3 {
        false => Some(stated),
        // The silence that is removed at both ends may differ by a frame of 1152 samples.
        true => counted.then(|| stated.saturating_sub(1152)),
    }
}

/// Decodes every packet of a track.
fn collect(
    reader: &mut (dyn FormatReader + '_),
    decoder: &mut dyn AudioDecoder,
    track: u32,
    max_seconds: f64,
) -> Result<Recording, DecodeError> {
    let (mut recording, mut interleaved) = (Recording { rate: 0, samples: Vec::new() }, Vec::<f32>::new());
    loop {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // A stream that ends within a packet: what precedes it is compared with the stated length.
            Err(Symphonia::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(Symphonia::ResetRequired) => {
                return Err(DecodeError::Damaged("several recordings follow one another".into()));
            }
            Err(error) => return Err(DecodeError::Damaged(error.to_string())),
        };
        if packet.track_id != track {
            continue;
        }
        let decoded = match decoder.decode(&packet) {
            Ok(decoded) => decoded,
            Err(Symphonia::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(DecodeError::Damaged(error.to_string())),
        };
        let (rate, channels) = (decoded.spec().rate(), decoded.num_planes());
        if !(MIN_RATE..=MAX_RATE).contains(&rate) || (recording.rate != 0 && recording.rate != rate) {
            return Err(DecodeError::Rate(match recording.rate {
                0 => rate.to_string(),
                before => format!("{before} and then {rate}"),
            }));
        }
        recording.rate = rate;
        let most = (max_seconds * USUAL_RATE).max(MAX_SAMPLES as f64);
        let limit = max_seconds.min(most / f64::from(rate));
        decoded.copy_to_vec_interleaved(&mut interleaved);
        let added = interleaved.len() / channels.max(1);
        if (recording.samples.len() + added) as f64 > limit * f64::from(rate) {
            return Err(DecodeError::TooLong { limit });
        }
        recording.samples.try_reserve(added).map_err(|_| DecodeError::Memory)?;
        append_mean(&mut recording.samples, &interleaved, channels);
    }
    Ok(recording)
}

/// Appends the mean of the channels.
fn append_mean(samples: &mut Vec<f32>, interleaved: &[f32], channels: usize) {
    match channels {
        0 => {}
        1 => samples.extend_from_slice(interleaved),
        _ => samples.extend(
            interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32),
        ),
    }
}
