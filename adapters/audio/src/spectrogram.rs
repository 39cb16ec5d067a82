//! Log-mel spectrograms by the conventions of librosa, torchaudio, TensorFlow and Kaldi.
//!
//! Frame t is the samples from `t * hop` on. Each frame is multiplied by a window and transformed; its power
//! or magnitude spectrum is summed by mel filters; then comes a logarithm. All of this is computed in double
//! precision. The reference values of tests/reference.rs differ by less than 1e-5 of the largest, which is
//! the single precision in which the libraries compute.
//!
//! ```
//! use chiasm_audio::spectrogram::{LogMel, LogMelSpec};
//!
//! let mel = LogMel::new(&LogMelSpec { log_offset: 1e-3, ..LogMelSpec::new(16_000, 400, 160, 64) })?;
//! assert_eq!(mel.frames(16_000), 98); // 1 + (16000 - 400) / 160, rounded down
//! let silence = mel.apply(&[0.0; 16_000]);
//! assert!((silence[0] - 1e-3_f64.ln()).abs() < 1e-12);
//! # Ok::<(), String>(())
//! ```

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use serde::Deserialize;

use crate::mel::{FilterArea, FilterBank, FilterBankSpec, FilterSides, MelScale};

/// The window that a frame is multiplied by, N samples long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrameWindow {
    /// `0.5 - 0.5 cos(2 pi n / N)`: the default of librosa, torch and TensorFlow.
    Hann,
    /// `0.5 - 0.5 cos(2 pi n / (N - 1))`.
    HannSymmetric,
    /// `0.54 - 0.46 cos(2 pi n / N)`.
    Hamming,
    /// `0.54 - 0.46 cos(2 pi n / (N - 1))`.
    HammingSymmetric,
    /// `(0.5 - 0.5 cos(2 pi n / (N - 1)))^0.85`: Kaldi's default.
    Povey,
    /// One everywhere.
    Rectangular,
}

/// Where the window lies among the samples of the Fourier transform, if it is shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowPlace {
    /// At the start, and zeros follow; a frame needs `frame` samples (TensorFlow, Kaldi).
    Start,
    /// In the middle of the samples; a frame needs `fft` samples (librosa, torch).
    Middle,
}

/// The samples before the start and after the end of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Centre {
    /// None: the first frame starts with the first sample.
    None,
    /// `fft / 2` zeros on both sides, so that frame t is centred on sample `t * hop`.
    Zeros,
    /// `fft / 2` samples on both sides, mirrored at the first and the last sample.
    Reflect,
}

/// What is taken of the spectrum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpectrumKind {
    /// The squared magnitude.
    Power,
    /// The magnitude.
    Magnitude,
}

/// The logarithm of the filters' outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Logarithm {
    /// No logarithm.
    None,
    /// The natural logarithm.
    Natural,
    /// The logarithm to base 10.
    Log10,
    /// Decibels: 10 times the logarithm to base 10 of a power, 20 times that of a magnitude.
    Db,
}

/// The parameters of a log-mel spectrogram.
#[derive(Debug, Clone, PartialEq)]
pub struct LogMelSpec {
    /// The filters, with the sample rate and the length of the Fourier transform.
    pub filters: FilterBankSpec,
    /// Samples of a window.
    pub frame: usize,
    /// Samples from one frame to the next.
    pub hop: usize,
    /// The window.
    pub window: FrameWindow,
    /// Where the window lies if it is shorter than the Fourier transform.
    pub place: WindowPlace,
    /// The samples around the recording.
    pub centre: Centre,
    /// Whether the mean of each frame is subtracted first, as in Kaldi.
    pub remove_mean: bool,
    /// `x_n - preemphasis * x_(n-1)` within each frame, as in Kaldi.
    pub preemphasis: f64,
    /// Power or magnitude.
    pub spectrum: SpectrumKind,
    /// The logarithm.
    pub log: Logarithm,
    /// Smaller outputs of the filters are raised to this before the logarithm.
    pub log_floor: f64,
    /// Added to the outputs of the filters before the logarithm.
    pub log_offset: f64,
    /// After the logarithm, values are raised to the largest of the recording minus this.
    pub range: Option<f64>,
}

impl LogMelSpec {
    /// Returns the usual parameters: a Fourier transform of the next power of two, HTK filters up to half the
    /// rate with straight sides in hertz, a Hann window, power, the natural logarithm and no padding.
    pub fn new(rate: u32, frame: usize, hop: usize, bands: usize) -> Self {
        let filters = FilterBankSpec {
            rate,
            fft: frame.next_power_of_two(),
            bands,
            f_min: 0.0,
            f_max: f64::from(rate) / 2.0,
            scale: MelScale::Htk,
            sides: FilterSides::Hertz,
            area: FilterArea::None,
        };
        Self {
            filters,
            frame,
            hop,
            window: FrameWindow::Hann,
            place: WindowPlace::Start,
            centre: Centre::None,
            remove_mean: false,
            preemphasis: 0.0,
            spectrum: SpectrumKind::Power,
            log: Logarithm::Natural,
            log_floor: 0.0,
            log_offset: 0.0,
            range: None,
        }
    }
}

/// A log-mel spectrogram with its window, filters and Fourier transform.
pub struct LogMel {
    spec: LogMelSpec,
    window: Vec<f64>,
    bank: FilterBank,
    transform: Arc<dyn RealToComplex<f64>>,
}

impl LogMel {
    /// Checks the parameters and prepares the filters.
    ///
    /// # Errors
    /// A message that names the card's key, the expected value and the given one.
    pub fn new(spec: &LogMelSpec) -> Result<Self, String> {
        let (filters, frame, hop) = (&spec.filters, spec.frame, spec.hop);
        let half = f64::from(filters.rate) / 2.0;
        if !(2..=1 << 20).contains(&frame) || !(1..=1 << 20).contains(&hop) {
            return Err(format!("frame must be 2..{} samples and hop 1.., got {frame} and {hop}", 1 << 20));
        }
        if filters.fft < frame || filters.fft > 1 << 20 {
            return Err(format!("fft must be {frame} (frame) to {} samples, got {}", 1 << 20, filters.fft));
        }
        if !(1..=4096).contains(&filters.bands) {
            return Err(format!("mels must be 1..4096 bands, got {}", filters.bands));
        }
        if !(filters.f_min >= 0.0 && filters.f_min < filters.f_max && filters.f_max <= half) {
            return Err(format!(
                "f_min and f_max must rise from 0 to half the rate, {half}, got {} and {}",
                filters.f_min, filters.f_max
            ));
        }
        let terms = [spec.log_floor, spec.log_offset];
        if terms.iter().any(|term| !(term.is_finite() && *term >= 0.0)) {
            return Err(format!("log_floor and log_offset must be at least 0, got {terms:?}"));
        }
        if spec.log != Logarithm::None && terms == [0.0; 2] {
            return Err(
                "the logarithm of silence is infinite: set log_floor (such as 1e-10) or log_offset".into()
            );
        }
        if spec.range.is_some_and(|range| !(range.is_finite() && range > 0.0)) {
            return Err(format!("range must be positive, got {:?}", spec.range));
        }
        if !(0.0..1.0).contains(&spec.preemphasis) {
            return Err(format!("preemphasis must be 0..1, got {}", spec.preemphasis));
        }
        Ok(Self {
            window: window(spec.window, frame),
            bank: FilterBank::new(filters),
            transform: RealFftPlanner::new().plan_fft_forward(filters.fft),
            spec: spec.clone(),
        })
    }

    /// Returns the number of bands.
    pub fn bands(&self) -> usize {
        self.spec.filters.bands
    }

    /// Returns the number of samples that one frame reads.
    pub fn span(&self) -> usize {
        match self.spec.place {
            WindowPlace::Start => self.spec.frame,
            WindowPlace::Middle => self.spec.filters.fft,
        }
    }

    /// Returns the number of frames of a recording of this many samples.
    pub fn frames(&self, samples: usize) -> usize {
        let all = samples + 2 * self.margin();
        if all < self.span() { 0 } else { 1 + (all - self.span()) / self.spec.hop }
    }

    /// Returns the least number of samples that has this many frames, which must not be zero.
    pub fn samples(&self, frames: usize) -> usize {
        (self.span() + (frames - 1) * self.spec.hop).saturating_sub(2 * self.margin()).max(1)
    }

    /// Returns the values of every frame, `[frames, bands]`.
    pub fn apply(&self, samples: &[f32]) -> Vec<f64> {
        let frames = self.frames(samples.len());
        let mut values = Vec::with_capacity(frames * self.bands());
        let mut buffer = self.transform.make_input_vec();
        let mut bins = self.transform.make_output_vec();
        let mut scratch = self.transform.make_scratch_vec();
        let mut spectrum = vec![0.0; bins.len()];
        let skipped = (self.span() - self.spec.frame) / 2;
        for frame in 0..frames {
            let start = frame * self.spec.hop + skipped;
            let (windowed, rest) = buffer.split_at_mut(self.spec.frame);
            for (at, value) in windowed.iter_mut().enumerate() {
                *value = self.sample(samples, start + at);
            }
            rest.fill(0.0);
            self.weigh(windowed);
            // The buffers come from the plan, so that their lengths are right.
            if self.transform.process_with_scratch(&mut buffer, &mut bins, &mut scratch).is_err() {
                bins.fill(Complex::new(0.0, 0.0));
            }
            for (value, bin) in spectrum.iter_mut().zip(&bins) {
                *value = match self.spec.spectrum {
                    SpectrumKind::Power => bin.norm_sqr(),
                    SpectrumKind::Magnitude => bin.norm(),
                };
            }
            self.bank.apply(&spectrum, &mut values);
        }
        self.logarithm(&mut values);
        values
    }

    /// Removes the mean, applies the pre-emphasis and multiplies by the window.
    fn weigh(&self, frame: &mut [f64]) {
        if self.spec.remove_mean {
            let mean = frame.iter().sum::<f64>() / frame.len() as f64;
            frame.iter_mut().for_each(|value| *value -= mean);
        }
        let factor = self.spec.preemphasis;
        if factor > 0.0 {
            // From the last sample on: the first one takes itself as its predecessor.
            for at in (0..frame.len()).rev() {
                frame[at] -= factor * frame[at.saturating_sub(1)];
            }
        }
        frame.iter_mut().zip(&self.window).for_each(|(value, weight)| *value *= weight);
    }

    fn logarithm(&self, values: &mut [f64]) {
        let spec = &self.spec;
        let decibels = if spec.spectrum == SpectrumKind::Power { 10.0 } else { 20.0 };
        for value in values.iter_mut() {
            let raised = value.max(spec.log_floor) + spec.log_offset;
            *value = match spec.log {
                Logarithm::None => raised,
                Logarithm::Natural => raised.ln(),
                Logarithm::Log10 => raised.log10(),
                Logarithm::Db => decibels * raised.log10(),
            };
        }
        if let Some(range) = spec.range {
            let lowest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max) - range;
            values.iter_mut().for_each(|value| *value = value.max(lowest));
        }
    }

    /// Samples on each side of the recording.
    fn margin(&self) -> usize {
        if self.spec.centre == Centre::None { 0 } else { self.spec.filters.fft / 2 }
    }

    /// Returns a sample of the recording with its margins.
    fn sample(&self, samples: &[f32], at: usize) -> f64 {
        let (margin, length) = (self.margin(), samples.len());
        let inside = at.wrapping_sub(margin);
        let index = match self.spec.centre {
            _ if inside < length => inside,
            Centre::Reflect => mirrored(at as i64 - margin as i64, length),
            Centre::None | Centre::Zeros => return 0.0,
        };
        samples.get(index).map_or(0.0, |sample| f64::from(*sample))
    }
}

/// Mirrors an index at the first and the last of `length` samples, as often as needed.
fn mirrored(at: i64, length: usize) -> usize {
    let period = 2 * (length as i64 - 1).max(1);
    let folded = at.rem_euclid(period);
    folded.min(period - folded) as usize
}

fn window(kind: FrameWindow, length: usize) -> Vec<f64> {
    let cosine = |n: usize, period: usize| (std::f64::consts::TAU * n as f64 / period.max(1) as f64).cos();
    let value = |n: usize| match kind {
        FrameWindow::Hann => 0.5 - 0.5 * cosine(n, length),
        FrameWindow::HannSymmetric => 0.5 - 0.5 * cosine(n, length - 1),
        FrameWindow::Hamming => 0.54 - 0.46 * cosine(n, length),
        FrameWindow::HammingSymmetric => 0.54 - 0.46 * cosine(n, length - 1),
        FrameWindow::Povey => (0.5 - 0.5 * cosine(n, length - 1)).max(0.0).powf(0.85),
        FrameWindow::Rectangular => 1.0,
    };
    (0..length).map(value).collect()
}
