//! Recordings: one second of pulses of two tones over a hum, and their band energies.

use super::RawItem;
use crate::rng::Rng;
use std::f64::consts::{PI, TAU};

/// Samples per second; a recording has one second.
pub(crate) const RATE: usize = 16_000;
/// Bands and frames of [`band_energies`].
const BANDS: usize = 24;
const FRAMES: usize = 16;
/// Where the lowest band begins and the highest one ends, in hertz.
const RANGE: [f64; 2] = [60.0, 4500.0];
/// Frequencies whose Fourier sums are computed together, in one vector register or two.
const TOGETHER: usize = 8;
/// The power to which silence is raised, relative to a full-scale sine.
const FLOOR: f64 = 1e-6;

/// Number of columns of [`band_energies`].
pub(crate) const FEATURES: usize = BANDS * FRAMES;

/// Synthesises a recording: samples in [-1, 1].
pub(crate) fn synthesise(mut item: RawItem) -> Vec<f64> {
    let low = 200.0 * 2.0_f64.powf(2.0 * item.share(0));
    let high = 900.0 * 2.0_f64.powf(1.7 * item.share(1));
    let second = 0.1 + 0.9 * item.share(2);
    let tremolo = 2.0 + 10.0 * item.share(3);
    let pulses = (1 + item.choice(4, 8)) as f64;
    let hum = 0.5 * item.share(5);
    let gain = 0.3 + 0.7 * item.share(6);
    let decay = 1.0 + 5.0 * item.share(7);
    let vibrato = 0.02 * item.share(8);
    let hiss = 0.05 * item.share(9);
    let mut samples: Vec<f64> = (0..RATE)
        .map(|n| {
            let time = n as f64 / RATE as f64;
            let within = (time * pulses).fract();
            let envelope = (-decay * within).exp() * (1.0 - (-40.0 * within).exp());
            let wave = |frequency: f64| {
                (TAU * frequency * time + vibrato * frequency / 5.0 * (TAU * 5.0 * time).sin()).sin()
            };
            let swell = 0.75 + 0.25 * (TAU * tremolo * time).sin();
            let tones = (wave(low) + second * wave(high)) * envelope * swell;
            gain * (0.25 * tones + 0.2 * hum * (TAU * 100.0 * time).sin() + hiss * (item.rng.uniform() - 0.5))
        })
        .collect();
    add_noise(&mut samples, item.noise, &mut item.rng);
    samples
}

/// Adds white noise, relative to the root mean square of the samples.
pub(crate) fn add_noise(samples: &mut [f64], noise: f64, rng: &mut Rng) {
    let power = samples.iter().map(|s| s * s).sum::<f64>() / samples.len().max(1) as f64;
    let deviation = noise * power.sqrt();
    for sample in samples {
        *sample = (*sample + deviation * rng.normal()).clamp(-1.0, 1.0);
    }
}

/// Returns a WAV file: RIFF, PCM, one channel, 16 bits.
pub(crate) fn wav(samples: &[f64]) -> Vec<u8> {
    let data = 2 * samples.len() as u32;
    let mut file = Vec::with_capacity(44 + data as usize);
    file.extend(b"RIFF");
    file.extend((36 + data).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    // PCM, one channel.
    file.extend([1, 0, 1, 0]);
    file.extend((RATE as u32).to_le_bytes());
    file.extend((2 * RATE as u32).to_le_bytes());
    // Bytes and bits of a sample.
    file.extend([2, 0, 16, 0]);
    file.extend(b"data");
    file.extend(data.to_le_bytes());
    file.extend(samples.iter().flat_map(|s| ((s * 32_767.0).round() as i16).to_le_bytes()));
    file
}

/// Returns the log power of 24 bands in 16 frames, frame by frame: a fixed encoder for recordings.
///
/// A frame has a Hann window. The bands are triangles of width two on the mel scale, 2595 log10(1 + f / 700),
/// as in the log-mel spectrogram of speech recognition (Davis and Mermelstein 1980). A sine of amplitude 1
/// has the power 1 at its frequency.
pub(crate) fn band_energies(samples: &[f64]) -> Vec<f32> {
    let length = (samples.len() / FRAMES).max(1);
    let window: Vec<f64> = (0..length).map(|n| 0.5 - 0.5 * (TAU * n as f64 / length as f64).cos()).collect();
    let step = RATE as f64 / length as f64;
    let bins = (1..).map(|bin| bin as f64 * step).take_while(|frequency| *frequency < RANGE[1]);
    let bins: Vec<f64> = bins.filter(|frequency| *frequency > RANGE[0]).collect();
    let weights: Vec<[f64; BANDS]> =
        bins.iter().map(|frequency| std::array::from_fn(|band| weight(band, *frequency))).collect();
    let mut energies = Vec::with_capacity(FEATURES);
    for frame in samples.chunks_exact(length).take(FRAMES) {
        let windowed: Vec<f64> = frame.iter().zip(&window).map(|(s, w)| s * w).collect();
        let mut bands = [0.0; BANDS];
        for (group, weights) in bins.chunks(TOGETHER).zip(weights.chunks(TOGETHER)) {
            for (power, weights) in goertzel(&windowed, group).into_iter().zip(weights) {
                bands.iter_mut().zip(weights).for_each(|(band, weight)| *band += weight * power);
            }
        }
        bands.iter_mut().for_each(|band| *band /= (length as f64 / 4.0).powi(2));
        energies.extend(bands.map(|power| (power + FLOOR).ln() as f32));
    }
    energies
}

/// Returns the weight of a frequency in a band: 1 at its centre, 0 at the centres of its neighbours.
fn weight(band: usize, frequency: f64) -> f64 {
    let mel = |f: f64| 2595.0 * (1.0 + f / 700.0).log10();
    let place = (mel(frequency) - mel(RANGE[0])) / (mel(RANGE[1]) - mel(RANGE[0])) * (BANDS + 1) as f64;
    (1.0 - (place - (band + 1) as f64).abs()).max(0.0)
}

/// Returns the squared magnitudes of the Fourier sum at up to [`TOGETHER`] frequencies (Goertzel 1958).
fn goertzel(samples: &[f64], frequencies: &[f64]) -> [f64; TOGETHER] {
    let frequency = |at: usize| frequencies.get(at).copied().unwrap_or_default();
    let twice: [f64; TOGETHER] =
        std::array::from_fn(|at| 2.0 * (2.0 * PI * frequency(at) / RATE as f64).cos());
    let (mut last, mut before) = ([0.0; TOGETHER], [0.0; TOGETHER]);
    for sample in samples {
        for at in 0..TOGETHER {
            (last[at], before[at]) = (sample + twice[at] * last[at] - before[at], last[at]);
        }
    }
    std::array::from_fn(|at| {
        last[at] * last[at] + before[at] * before[at] - twice[at] * last[at] * before[at]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(noise: f64, coordinates: [f64; 10]) -> RawItem {
        RawItem { coordinates: coordinates.to_vec(), noise, rng: Rng::of(1, 1) }
    }

    #[test]
    fn every_coordinate_changes_the_energies() {
        let still = band_energies(&synthesise(item(0.0, [0.0; 10])));
        assert_eq!(still.len(), FEATURES);
        for at in 0..10 {
            let mut moved = [0.0; 10];
            moved[at] = 1.6;
            let found = band_energies(&synthesise(item(0.0, moved)));
            let most = found.iter().zip(&still).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most > 0.1, "coordinate {at}: {most}");
        }
    }

    /// A Hann window turns a sine into three bins with the powers 1/4, 1 and 1/4. At a bin, the others are 0
    /// up to rounding and the floor of 1e-6.
    #[test]
    fn a_sine_has_the_power_of_its_triangles() {
        let frequency = 992.0;
        let sine: Vec<f64> = (0..RATE).map(|n| (TAU * frequency * n as f64 / RATE as f64).sin()).collect();
        let found = band_energies(&sine);
        for (band, energy) in found.iter().enumerate().map(|(at, energy)| (at % BANDS, energy)) {
            let beside = weight(band, frequency - 16.0) + weight(band, frequency + 16.0);
            let expected = (weight(band, frequency) + 0.25 * beside + FLOOR).ln();
            assert!((f64::from(*energy) - expected).abs() < 1e-3, "band {band}: {energy} {expected}");
        }
    }

    #[test]
    fn wav_files_have_the_header_of_pcm() {
        let file = wav(&[0.0, 1.0, -1.0]);
        assert_eq!((&file[..4], &file[8..16], &file[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
        assert_eq!(file[4..8], 42_u32.to_le_bytes());
        assert_eq!(file[24..28], 16_000_u32.to_le_bytes());
        assert_eq!(file[40..], [6, 0, 0, 0, 0, 0, 0xff, 0x7f, 0x01, 0x80]);
    }

    /// 16,000 samples estimate the power within 5 sqrt(2 / 16000) = 6 %.
    #[test]
    fn the_noise_is_relative_to_the_signal() {
        let (clean, noisy) = (synthesise(item(0.0, [0.0; 10])), synthesise(item(0.5, [0.0; 10])));
        let power = |samples: &mut dyn Iterator<Item = f64>| samples.map(|s| s * s).sum::<f64>();
        let added = power(&mut clean.iter().zip(&noisy).map(|(a, b)| a - b));
        let ratio = added / power(&mut clean.iter().copied());
        assert!((ratio - 0.25).abs() < 0.02, "{ratio}");
    }
}
