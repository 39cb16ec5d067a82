//! Mel scales and filter banks, by the conventions of librosa, torchaudio, TensorFlow and Kaldi.
//!
//! A filter is a triangle between three neighbouring points that are equally spaced on the mel scale.
//! Libraries differ in the scale, in the axis on which the sides of a triangle are straight, and in its area:
//!
//! | library | scale | sides | area |
//! |---|---|---|---|
//! | `librosa.filters.mel` | `slaney` | `hertz` | `slaney` |
//! | `librosa.filters.mel(htk=True, norm=None)`, torchaudio's `MelSpectrogram` | `htk` | `hertz` | `none` |
//! | `tf.signal.linear_to_mel_weight_matrix`, `torchaudio.compliance.kaldi` | `htk` | `mel` | `none` |
//!
//! ```
//! use chiasm_audio::mel::MelScale;
//!
//! assert!((MelScale::Htk.mels(1000.0) - 999.9856).abs() < 1e-4); // 2595 log10(1 + 1000 / 700)
//! assert_eq!(MelScale::Slaney.mels(1000.0), 15.0);
//! ```

use serde::Deserialize;

/// The formula of the mel scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MelScale {
    /// `2595 log10(1 + f / 700)` (O'Shaughnessy 1987), as in HTK.
    Htk,
    /// `3 f / 200` below 1000 Hz, and `15 + 27 ln(f / 1000) / ln(6.4)` above, as in Slaney's Auditory
    /// Toolbox.
    Slaney,
}

/// The axis on which the sides of a triangular filter are straight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilterSides {
    /// Frequency in hertz.
    Hertz,
    /// Frequency in mels.
    Mel,
}

/// The scaling of each filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilterArea {
    /// The peak of each filter is one.
    None,
    /// Each filter is multiplied by `2 / (upper edge - lower edge)`, in hertz.
    Slaney,
}

impl MelScale {
    /// Returns the mels of a frequency in hertz.
    pub fn mels(self, hertz: f64) -> f64 {
        match self {
            Self::Htk => 2595.0 * (1.0 + hertz / 700.0).log10(),
            Self::Slaney if hertz < 1000.0 => 3.0 * hertz / 200.0,
            Self::Slaney => 15.0 + 27.0 * (hertz / 1000.0).ln() / 6.4_f64.ln(),
        }
    }

    /// Returns the frequency in hertz of a number of mels.
    pub fn hertz(self, mels: f64) -> f64 {
        match self {
            Self::Htk => 700.0 * (10_f64.powf(mels / 2595.0) - 1.0),
            Self::Slaney if mels < 15.0 => 200.0 * mels / 3.0,
            Self::Slaney => 1000.0 * ((mels - 15.0) * 6.4_f64.ln() / 27.0).exp(),
        }
    }
}

/// The parameters of a filter bank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FilterBankSpec {
    /// Samples per second.
    pub rate: u32,
    /// Samples of the Fourier transform.
    pub fft: usize,
    /// The number of filters.
    pub bands: usize,
    /// The lower edge of the first filter, in hertz.
    pub f_min: f64,
    /// The upper edge of the last filter, in hertz.
    pub f_max: f64,
    /// The scale.
    pub scale: MelScale,
    /// The sides.
    pub sides: FilterSides,
    /// The scaling.
    pub area: FilterArea,
}

/// A bank of filters over the bins `0..=fft / 2` of a spectrum.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterBank {
    /// The first bin of each filter that is not zero, and the weights from there on.
    filters: Vec<(usize, Vec<f64>)>,
}

impl FilterBank {
    /// Computes the filters. A filter that lies between two bins is zero, as in every library.
    pub fn new(spec: &FilterBankSpec) -> Self {
        let (low, high) = (spec.scale.mels(spec.f_min), spec.scale.mels(spec.f_max));
        let on_axis = |mels: f64| match spec.sides {
            FilterSides::Mel => mels,
            FilterSides::Hertz => spec.scale.hertz(mels),
        };
        let points: Vec<f64> =
            (0..spec.bands + 2).map(|at| low + (high - low) * at as f64 / (spec.bands + 1) as f64).collect();
        let bins: Vec<f64> = (0..=spec.fft / 2)
            .map(|bin| {
                let hertz = f64::from(spec.rate) * bin as f64 / spec.fft as f64;
                if spec.sides == FilterSides::Mel { spec.scale.mels(hertz) } else { hertz }
            })
            .collect();
        let filter = |band: usize| {
            let [left, peak, right] = [0, 1, 2].map(|edge| on_axis(points[band + edge]));
            let scale = match spec.area {
                FilterArea::None => 1.0,
                FilterArea::Slaney => {
                    2.0 / (spec.scale.hertz(points[band + 2]) - spec.scale.hertz(points[band]))
                }
            };
            let weights = bins.iter().map(|bin| {
                scale * ((bin - left) / (peak - left)).min((right - bin) / (right - peak)).max(0.0)
            });
            let weights: Vec<f64> = weights.collect();
            let first = weights.iter().position(|weight| *weight > 0.0).unwrap_or(0);
            let end = weights.iter().rposition(|weight| *weight > 0.0).map_or(first, |last| last + 1);
            (first, weights[first..end].to_vec())
        };
        Self { filters: (0..spec.bands).map(filter).collect() }
    }

    /// Appends the output of each filter for one spectrum.
    pub fn apply(&self, spectrum: &[f64], output: &mut Vec<f64>) {
        output.extend(self.filters.iter().map(|(first, weights)| {
            weights.iter().zip(&spectrum[*first..]).map(|(weight, value)| weight * value).sum::<f64>()
        }));
    }

    /// Returns the weights of a filter for every bin `0..=fft / 2`.
    pub fn dense(&self, band: usize, bins: usize) -> Vec<f64> {
        let mut all = vec![0.0; bins];
        let (first, weights) = &self.filters[band];
        all[*first..first + weights.len()].copy_from_slice(weights);
        all
    }
}
