//! Corruption of recordings: white Gaussian noise, at the encoder's rate.
//!
//! ```
//! use chiasm_audio::corruption::{SoundCorruption, corrupt};
//!
//! let table = chiasm_plugin::json!({ "kind": "noise", "strength": 0.1 });
//! let noise: SoundCorruption = serde_json::from_value(table)?; // 20 dB
//! let mut samples = vec![0.5; 8];
//! corrupt(&mut samples, &noise);
//! assert!(samples.iter().all(|sample| (sample - 0.5).abs() < 0.5));
//! # Ok::<(), serde_json::Error>(())
//! ```

use chiasm_kit::corruption::Corruption;
use serde::Deserialize;

/// The kinds of corruption of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SoundCorruptionKind {
    /// White Gaussian noise. The strength is its standard deviation as a share of the root mean square of the
    /// recording, so that the signal-to-noise ratio is -20 log10(strength) dB.
    Noise,
}

/// How recordings are corrupted.
pub type SoundCorruption = Corruption<SoundCorruptionKind>;

/// The largest strength: a signal-to-noise ratio of -60 dB.
pub(crate) const LARGEST: f64 = 1000.0;

/// Corrupts the samples of a recording. They determine the random numbers as well.
pub fn corrupt(samples: &mut [f32], corruption: &SoundCorruption) {
    let content: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let power: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    let root_mean_square = (power / samples.len().max(1) as f64).sqrt();
    let SoundCorruptionKind::Noise = corruption.kind;
    corruption.add_noise(samples, |_| root_mean_square, &mut corruption.random(&content));
}

#[cfg(test)]
mod tests {

    use super::*;

    fn noise(strength: f64) -> SoundCorruption {
        serde_json::from_value(chiasm_plugin::json!({ "kind": "noise", "strength": strength })).unwrap()
    }

    /// The ratio of 48,000 samples has a standard error of 10 log10(1 + sqrt(2 / 48,000)) = 0.03 dB.
    #[test]
    fn the_strength_sets_the_signal_to_noise_ratio() {
        let clean: Vec<f32> = (0..48_000).map(|t| 0.3 * (t as f32 * 0.05).sin()).collect();
        for (strength, decibels) in [(0.1, 20.0), (1.0, 0.0), (10.0, -20.0)] {
            let mut noisy = clean.clone();
            corrupt(&mut noisy, &noise(strength));
            let power = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
            let signal = power(&mut clean.iter().map(|v| f64::from(*v)));
            let added = power(&mut noisy.iter().zip(&clean).map(|(a, b)| f64::from(a - b)));
            let ratio = 10.0 * (signal / added).log10();
            assert!((ratio - decibels).abs() < 0.1, "{ratio} dB, expected {decibels}");
            let mut again = clean.clone();
            corrupt(&mut again, &noise(strength));
            assert_eq!(noisy, again);
        }
    }

    #[test]
    fn silence_and_strength_zero_change_nothing() {
        let mut silence = vec![0.0; 100];
        corrupt(&mut silence, &noise(1.0));
        assert_eq!(silence, [0.0; 100]);
        let mut samples = vec![0.25; 100];
        corrupt(&mut samples, &noise(0.0));
        assert_eq!(samples, [0.25; 100]);
    }
}
