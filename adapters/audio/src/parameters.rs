//! The `[preprocessing]` table of an audio card, as written.
//!
//! ```toml
//! [preprocessing]                 # YAMNet: one token for each 0.96 s
//! rate = 16000
//! features = "log-mel"
//! frame = 400
//! hop = 160
//! mels = 64
//! f_min = 125.0
//! f_max = 7500.0
//! spectrum = "magnitude"
//! log_offset = 0.01
//! window_frames = 96
//! window_hop = 48
//! layout = "1mt"
//! ```
//!
//! ```
//! use chiasm_audio::parameters::{AudioParameters, Features};
//!
//! let table = chiasm_plugin::json!({ "rate": 16000, "features": "log-mel", "frame": 400, "hop": 160 });
//! let parameters: AudioParameters = serde_json::from_value(table)?;
//! assert_eq!((parameters.features, parameters.log_floor), (Features::LogMel, 0.0));
//! # Ok::<(), serde_json::Error>(())
//! ```

use chiasm_plugin::CardKeys;
use serde::Deserialize;

use crate::corruption::SoundCorruption;
use crate::mel::{FilterArea, FilterSides, MelScale};
use crate::spectrogram::{Centre, FrameWindow, Logarithm, SpectrumKind, WindowPlace};

/// What the model's input holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Features {
    /// Samples.
    Waveform,
    /// A log-mel spectrogram.
    LogMel,
}

/// What is brought to mean 0 and variance 1, with the variance over all of a recording plus 1e-7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standardise {
    /// Nothing.
    None,
    /// All values of a recording together.
    Recording,
    /// Each mel band of a recording.
    Bands,
}

/// How a recording that is shorter than one window is filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShortFill {
    /// With zeros at its end.
    Zeros,
    /// By repeating the recording.
    Repeat,
}

/// One number for all mel bands, or one for each.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "a number, or a list with one number for each band")]
pub enum PerBand {
    /// One for all.
    All(f64),
    /// One for each.
    Each(Vec<f64>),
}

/// A card's `[preprocessing]` table.
#[derive(Debug, Clone, Deserialize, CardKeys)]
#[serde(deny_unknown_fields)]
pub struct AudioParameters {
    /// Samples per second of the model.
    pub rate: u32,
    /// Multiplies the samples -1..1: 32767 for the range of 16-bit integers. Default: 1.
    #[serde(default = "one")]
    pub scale: f64,
    /// What the model's input, or that of the front-end graph, holds. Default: the waveform.
    #[serde(default = "waveform")]
    #[card(takes = "waveform or log-mel")]
    pub features: Features,
    /// Samples of a frame. With a waveform: the samples that the model reads for its first token or frame.
    pub frame: Option<usize>,
    /// Samples from one frame to the next. With a waveform: those between two tokens or frames of the model.
    pub hop: Option<usize>,
    /// Samples of the Fourier transform. Default: the next power of two of `frame`.
    pub fft: Option<usize>,
    /// The window of a frame. Default: hann.
    #[serde(default = "hann")]
    #[card(takes = "hann, hann-symmetric, hamming, hamming-symmetric, povey or rectangular")]
    pub window: FrameWindow,
    /// Where the window lies if `fft` is longer than `frame`. Default: start.
    #[serde(default = "start")]
    #[card(takes = "start or middle")]
    pub window_place: WindowPlace,
    /// The samples around a recording. Default: none.
    #[serde(default = "uncentred")]
    #[card(takes = "none, zeros or reflect")]
    pub centre: Centre,
    /// Whether the mean of each frame is subtracted. Default: false.
    #[serde(default)]
    pub remove_mean: bool,
    /// The pre-emphasis of each frame. Default: 0.
    #[serde(default)]
    pub preemphasis: f64,
    /// Power or magnitude. Default: power.
    #[serde(default = "power")]
    #[card(takes = "power or magnitude")]
    pub spectrum: SpectrumKind,
    /// The number of mel bands. Default: 64.
    #[serde(default = "sixty_four")]
    pub mels: usize,
    /// The lower edge of the first band, in hertz. Default: 0.
    #[serde(default)]
    pub f_min: f64,
    /// The upper edge of the last band, in hertz. Default: half the rate.
    pub f_max: Option<f64>,
    /// The mel scale. Default: htk.
    #[serde(default = "htk")]
    #[card(takes = "htk or slaney")]
    pub mel_scale: MelScale,
    /// The axis on which the sides of a filter are straight. Default: hertz.
    #[serde(default = "hertz")]
    #[card(takes = "hertz or mel")]
    pub mel_sides: FilterSides,
    /// The scaling of each filter. Default: none.
    #[serde(default = "peak_one")]
    #[card(takes = "none or slaney")]
    pub mel_norm: FilterArea,
    /// The logarithm. Default: natural.
    #[serde(default = "natural")]
    #[card(takes = "none, natural, log10 or db")]
    pub log: Logarithm,
    /// Raises smaller values before the logarithm. Default: 0.
    #[serde(default)]
    pub log_floor: f64,
    /// Added before the logarithm. Default: 0.
    #[serde(default)]
    pub log_offset: f64,
    /// After the logarithm, raises values to the largest of the recording minus this. Default: no limit.
    pub range: Option<f64>,
    /// What is brought to mean 0 and variance 1. Default: none.
    #[serde(default = "nothing")]
    #[card(takes = "none, recording or bands")]
    pub standardise: Standardise,
    /// Subtracted from the features last. Default: 0.
    #[serde(default = "zero_per_band")]
    #[card(takes = "a number, or one for each band")]
    pub mean: PerBand,
    /// Divides the features last. Default: 1.
    #[serde(default = "one_per_band")]
    #[card(takes = "a number, or one for each band")]
    pub std: PerBand,
    /// Cuts every recording to this many seconds, or fills it up with zeros.
    pub seconds: Option<f64>,
    /// Frames of a window; each window becomes one token. Default: the whole recording is one input.
    pub window_frames: Option<usize>,
    /// Frames from one window to the next. Default: window_frames.
    pub window_hop: Option<usize>,
    /// How a recording that is shorter than one window is filled up. Default: zeros.
    #[serde(default = "zeros")]
    #[card(takes = "zeros or repeat")]
    pub short: ShortFill,
    /// The axes of the model's input after the batch: `t` time, `m` mel bands, `1` an axis of length one.
    /// Default: t for a waveform, mt for a spectrogram.
    pub layout: Option<String>,
    /// The file of a graph that runs before the model, once for each recording. It takes the waveform.
    pub front: Option<String>,
    /// The axes of the output of `front`, as in `layout`. Default: tm.
    #[serde(default = "time_mels")]
    pub front_layout: String,
    /// Multiplies the output of `front`. Default: 1.
    #[serde(default = "one")]
    pub front_scale: f64,
    /// Added to the output of `front` after `front_scale`. Default: 0.
    #[serde(default)]
    pub front_offset: f64,
    /// The longest recording that is read, in seconds. Default: 600.
    #[serde(default = "ten_minutes")]
    pub max_seconds: f64,
    /// How recordings are corrupted, for a test of robustness.
    #[card(takes = "a table with kind and strength")]
    pub corruption: Option<SoundCorruption>,
}

fn one() -> f64 {
    1.0
}

fn waveform() -> Features {
    Features::Waveform
}

fn hann() -> FrameWindow {
    FrameWindow::Hann
}

fn start() -> WindowPlace {
    WindowPlace::Start
}

fn uncentred() -> Centre {
    Centre::None
}

fn power() -> SpectrumKind {
    SpectrumKind::Power
}

fn sixty_four() -> usize {
    64
}

fn htk() -> MelScale {
    MelScale::Htk
}

fn hertz() -> FilterSides {
    FilterSides::Hertz
}

fn peak_one() -> FilterArea {
    FilterArea::None
}

fn natural() -> Logarithm {
    Logarithm::Natural
}

fn nothing() -> Standardise {
    Standardise::None
}

fn zero_per_band() -> PerBand {
    PerBand::All(0.0)
}

fn one_per_band() -> PerBand {
    PerBand::All(1.0)
}

fn zeros() -> ShortFill {
    ShortFill::Zeros
}

fn time_mels() -> String {
    "tm".into()
}

fn ten_minutes() -> f64 {
    600.0
}
