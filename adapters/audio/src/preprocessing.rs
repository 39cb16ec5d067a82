//! The checked `[preprocessing]` table, and its application to a recording.
//!
//! ```
//! use chiasm_audio::preprocessing::Preprocessing;
//!
//! let table = chiasm_plugin::json!({ "rate": 8000, "seconds": 0.5 });
//! let preprocessing = Preprocessing::new(serde_json::from_value(table)?)?;
//! assert_eq!(preprocessing.dims(), [Some(4000)]);
//! let prepared = preprocessing.apply(vec![0.25; 3999]);
//! assert_eq!((prepared.values[3998], prepared.values[3999]), (0.25, 0.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::path::Path;

use crate::checks;
use crate::corruption::corrupt;
use crate::decode::{Recording, decode_file};
use crate::frames::FrameFeatures;
pub use crate::frames::Windows;
use crate::layout::Layout;
use crate::parameters::{AudioParameters, Features, ShortFill, Standardise};
use crate::resample::resample;

/// Added to the variance when values are standardised.
const EPSILON: f64 = 1e-7;

/// Checked preprocessing, from a file to the values of the encoder's inputs.
pub struct Preprocessing {
    parameters: AudioParameters,
    layout: Layout,
    features: FrameFeatures,
    /// Subtracted from each band, and what divides it.
    affine: Vec<(f64, f64)>,
    /// Samples of every recording, if they are fixed.
    clip: Option<usize>,
    windows: Option<Windows>,
}

/// The values of one recording.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedRecording {
    /// The values, in the order of [`Preprocessing::dims`].
    pub values: Vec<f32>,
    /// The lengths of the axes.
    pub dims: Vec<usize>,
    /// The number of tokens: windows, or frames.
    pub tokens: usize,
}

impl Preprocessing {
    /// Checks the parameters.
    ///
    /// # Errors
    /// A message that names the key, the expected value and the given one.
    pub fn new(parameters: AudioParameters) -> Result<Self, String> {
        checks::numbers(&parameters)?;
        let spectrogram = parameters.features == Features::LogMel;
        if parameters.front.is_some() && spectrogram {
            return Err("front takes the waveform; remove features = \"log-mel\"".into());
        }
        let features = checks::frame_features(&parameters)?;
        let (default, mels) = match (&features, parameters.front.is_some()) {
            (FrameFeatures::Waveform(_), false) => ("t", 1),
            (FrameFeatures::Waveform(_), true) => ("mt", 1),
            (FrameFeatures::LogMel(mel), _) => ("mt", mel.bands()),
        };
        let layout = parameters.layout.as_deref().unwrap_or(default);
        let layout = Layout::parse("layout", layout, spectrogram || parameters.front.is_some())?;
        let windows = checks::windows(&parameters)?;
        if windows.is_some() && matches!(features, FrameFeatures::Waveform(None)) {
            return Err("window_frames counts frames: set frame and hop, in samples".into());
        }
        let affine = checks::affine(&parameters, mels)?;
        let clip = match parameters.seconds {
            None => None,
            Some(seconds) => Some((seconds * f64::from(parameters.rate)).round() as usize),
        };
        Ok(Self { parameters, layout, features, affine, clip, windows })
    }

    /// Returns the card's table.
    pub fn parameters(&self) -> &AudioParameters {
        &self.parameters
    }

    /// Returns the order of the axes of the model's input.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the windows that become tokens, if the card asks for them.
    pub fn windows(&self) -> Option<Windows> {
        self.windows
    }

    /// Returns whether recordings keep their lengths, so that batches are padded.
    pub fn is_ragged(&self) -> bool {
        self.clip.is_none()
    }

    /// Returns whether the number of frames of a recording is known.
    pub fn has_frames(&self) -> bool {
        !matches!(self.features, FrameFeatures::Waveform(None))
    }

    /// Returns the lengths of the axes of one prepared recording, `None` for those that vary: samples `[S]`
    /// for a front-end graph, `[W, ..]` with windows, else the axes of the layout.
    pub fn dims(&self) -> Vec<Option<usize>> {
        match (self.parameters.front.is_some(), self.windows) {
            (true, _) => vec![self.clip],
            (false, Some(_)) => {
                let count = self.clip.map(|samples| self.tokens(self.padded(samples)));
                std::iter::once(count).chain(self.window_dims().into_iter().map(Some)).collect()
            }
            (false, None) => {
                self.layout.dims(self.clip.map(|samples| self.features.steps(samples)), self.features.bands())
            }
        }
    }

    /// Returns the lengths of the axes of one window.
    pub fn window_dims(&self) -> Vec<usize> {
        let time = self.windows.map_or(0, |windows| match &self.features {
            FrameFeatures::LogMel(_) => windows.frames,
            FrameFeatures::Waveform(_) => self.features.samples(windows.frames),
        });
        self.layout.dims(Some(time), self.features.bands()).into_iter().flatten().collect()
    }

    /// Decodes and preprocesses a file.
    ///
    /// # Errors
    /// When the file cannot be decoded or resampled.
    pub fn read(&self, path: &Path) -> Result<PreparedRecording, String> {
        let recording = decode_file(path, self.parameters.max_seconds).map_err(|error| error.to_string())?;
        self.prepare(recording)
    }

    /// Resamples, corrupts if the table asks for it, and preprocesses a recording.
    ///
    /// # Errors
    /// When it cannot be resampled.
    pub fn prepare(&self, recording: Recording) -> Result<PreparedRecording, String> {
        let mut samples = resample(recording, self.parameters.rate)?;
        if let Some(corruption) = &self.parameters.corruption {
            corrupt(&mut samples, corruption);
        }
        Ok(self.apply(samples))
    }

    /// Preprocesses samples of the card's rate.
    pub fn apply(&self, mut samples: Vec<f32>) -> PreparedRecording {
        let scale = self.parameters.scale as f32;
        samples.iter_mut().for_each(|sample| *sample *= scale);
        samples.truncate(self.clip.unwrap_or(usize::MAX));
        if matches!(self.features, FrameFeatures::Waveform(_)) {
            self.normalise_waveform(&mut samples);
        }
        self.fill(&mut samples);
        let tokens = self.tokens(samples.len());
        if self.parameters.front.is_some() {
            return PreparedRecording { dims: vec![samples.len()], values: samples, tokens };
        }
        let (values, step) = match &self.features {
            FrameFeatures::Waveform(grid) => (samples, grid.map_or(1, |grid| grid.hop)),
            FrameFeatures::LogMel(mel) => {
                (self.normalised_bands(mel.apply(&samples), mel.bands()), mel.bands())
            }
        };
        let Some(windows) = self.windows else {
            let time = values.len() / self.features.bands();
            let dims = self.layout.dims(Some(time), self.features.bands()).into_iter().flatten().collect();
            return PreparedRecording {
                values: self.layout.arrange(values, self.features.bands()),
                dims,
                tokens,
            };
        };
        let inner = self.window_dims();
        let length = inner.iter().product::<usize>();
        let arranged = (0..tokens).flat_map(|window| {
            let start = window * windows.hop * step;
            self.layout.arrange(values[start..start + length].to_vec(), self.features.bands())
        });
        let arranged = arranged.collect();
        PreparedRecording { values: arranged, dims: [vec![tokens], inner].concat(), tokens }
    }

    /// The number of tokens of this many samples: windows, or else frames.
    fn tokens(&self, samples: usize) -> usize {
        let frames = self.features.frames(samples);
        match self.windows {
            Some(windows) if frames >= windows.frames => 1 + (frames - windows.frames) / windows.hop,
            Some(_) => 0,
            None => frames,
        }
    }

    /// The number of samples after short recordings are filled up: one window, or else one frame, at least.
    fn padded(&self, samples: usize) -> usize {
        samples.max(self.features.samples(self.windows.map_or(1, |windows| windows.frames)))
    }

    /// Fills up a recording that is shorter than `seconds`, then one that is shorter than a window.
    fn fill(&self, samples: &mut Vec<f32>) {
        samples.resize(self.clip.unwrap_or(samples.len()), 0.0);
        let (length, least) = (samples.len(), self.padded(samples.len()));
        match self.parameters.short {
            ShortFill::Zeros => samples.resize(least, 0.0),
            ShortFill::Repeat if length > 0 => {
                (length..least).for_each(|at| samples.push(samples[at - length]))
            }
            ShortFill::Repeat => {}
        }
    }

    fn normalise_waveform(&self, samples: &mut [f32]) {
        let (mean, deviation) = match self.parameters.standardise {
            Standardise::None => (0.0, 1.0),
            Standardise::Recording | Standardise::Bands => moments(samples.iter().copied().map(f64::from)),
        };
        let (offset, divisor) = self.affine[0];
        if (mean, deviation, offset, divisor) != (0.0, 1.0, 0.0, 1.0) {
            for sample in samples {
                *sample = (((f64::from(*sample) - mean) / deviation - offset) / divisor) as f32;
            }
        }
    }

    /// Standardises values `[frames, bands]`, then subtracts `mean` and divides by `std`.
    fn normalised_bands(&self, mut values: Vec<f64>, bands: usize) -> Vec<f32> {
        match self.parameters.standardise {
            Standardise::None => {}
            Standardise::Recording => {
                let (mean, deviation) = moments(values.iter().copied());
                values.iter_mut().for_each(|value| *value = (*value - mean) / deviation);
            }
            Standardise::Bands => (0..bands).for_each(|band| {
                let (mean, deviation) = moments(values.iter().copied().skip(band).step_by(bands));
                let of_band = values.iter_mut().skip(band).step_by(bands);
                of_band.for_each(|value| *value = (*value - mean) / deviation);
            }),
        }
        let affine = self.affine.iter().cycle();
        values.iter().zip(affine).map(|(value, (mean, std))| ((value - mean) / std) as f32).collect()
    }
}

/// Returns the mean, and the square root of the variance plus [`EPSILON`].
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, (variance + EPSILON).sqrt())
}
