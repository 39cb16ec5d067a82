//! Checks of a card's table, and what follows from its keys.

use crate::corruption;
use crate::decode;
use crate::frames::{FrameFeatures, FrameGrid, Windows};
use crate::mel::FilterBankSpec;
use crate::parameters::{AudioParameters, Features, PerBand};
use crate::spectrogram::{LogMel, LogMelSpec};

/// Checks the numbers that no other step checks.
pub(crate) fn numbers(parameters: &AudioParameters) -> Result<(), String> {
    if !(1..=decode::MAX_RATE).contains(&parameters.rate) {
        return Err(format!(
            "rate must be 1..{} samples a second, got {}",
            decode::MAX_RATE,
            parameters.rate
        ));
    }
    let positive = [("scale", parameters.scale), ("max_seconds", parameters.max_seconds)];
    let seconds = parameters.seconds.map(|seconds| ("seconds", seconds));
    for (key, value) in positive.into_iter().chain(seconds) {
        if !(value.is_finite() && value > 0.0) {
            return Err(format!("{key} must be a positive number, got {value}"));
        }
    }
    if parameters.max_seconds > 86_400.0 {
        return Err(format!("max_seconds must be at most a day, 86400, got {}", parameters.max_seconds));
    }
    if let Some(seconds) = parameters.seconds
        && !(1.0..=decode::MAX_SAMPLES as f64).contains(&(seconds * f64::from(parameters.rate)))
    {
        let most = decode::MAX_SAMPLES;
        return Err(format!("seconds must be those of 1..{most} samples, got {seconds} seconds"));
    }
    parameters.corruption.as_ref().map_or(Ok(()), |corruption| corruption.check(corruption::LARGEST))
}

/// Returns how samples become frames.
pub(crate) fn frame_features(parameters: &AudioParameters) -> Result<FrameFeatures, String> {
    let both = match (parameters.frame, parameters.hop) {
        (Some(frame), Some(hop)) => Some((frame, hop)),
        (None, None) => None,
        _ => return Err("frame and hop belong together: set both, in samples".into()),
    };
    if parameters.features == Features::Waveform {
        return match both {
            None => Ok(FrameFeatures::Waveform(None)),
            Some((1..=0x100_0000, 1..=0x100_0000)) => {
                Ok(FrameFeatures::Waveform(both.map(|(frame, hop)| FrameGrid { frame, hop })))
            }
            Some((frame, hop)) => {
                Err(format!("frame and hop must be 1..16777216 samples, got {frame} and {hop}"))
            }
        };
    }
    let (frame, hop) = both.ok_or("features = \"log-mel\" needs frame and hop, in samples")?;
    let spec = LogMelSpec {
        filters: FilterBankSpec {
            rate: parameters.rate,
            fft: parameters.fft.unwrap_or_else(|| frame.min(1 << 20).next_power_of_two()),
            bands: parameters.mels,
            f_min: parameters.f_min,
            f_max: parameters.f_max.unwrap_or(f64::from(parameters.rate) / 2.0),
            scale: parameters.mel_scale,
            sides: parameters.mel_sides,
            area: parameters.mel_norm,
        },
        frame,
        hop,
        window: parameters.window,
        place: parameters.window_place,
        centre: parameters.centre,
        remove_mean: parameters.remove_mean,
        preemphasis: parameters.preemphasis,
        spectrum: parameters.spectrum,
        log: parameters.log,
        log_floor: parameters.log_floor,
        log_offset: parameters.log_offset,
        range: parameters.range,
    };
    Ok(FrameFeatures::LogMel(Box::new(LogMel::new(&spec)?)))
}

/// Returns the windows, if the card asks for them.
pub(crate) fn windows(parameters: &AudioParameters) -> Result<Option<Windows>, String> {
    match (parameters.window_frames, parameters.window_hop) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err("window_hop needs window_frames: set both, in frames".into()),
        (Some(frames @ 1..=0x10_0000), hop) if hop != Some(0) && hop.unwrap_or(1) <= 0x10_0000 => {
            Ok(Some(Windows { frames, hop: hop.unwrap_or(frames) }))
        }
        (Some(frames), hop) => Err(format!(
            "window_frames and window_hop must be 1..1048576 frames, got {frames} and {}",
            hop.unwrap_or(frames)
        )),
    }
}

/// Returns the offset and the divisor of each band.
pub(crate) fn affine(parameters: &AudioParameters, bands: usize) -> Result<Vec<(f64, f64)>, String> {
    let each = |key: &str, numbers: &PerBand| match numbers {
        PerBand::All(number) => Ok(vec![*number; bands]),
        PerBand::Each(list) if list.len() == bands => Ok(list.clone()),
        PerBand::Each(list) => {
            Err(format!("{key} must be a number or a list of {bands}, got a list of {}", list.len()))
        }
    };
    let (mean, std) = (each("mean", &parameters.mean)?, each("std", &parameters.std)?);
    if mean.iter().any(|mean| !mean.is_finite()) || std.iter().any(|std| !(std.is_finite() && *std > 0.0)) {
        return Err("mean must be finite and std positive".into());
    }
    Ok(mean.into_iter().zip(std).collect())
}
