//! The table of an audio card, in words and as Python. The keys are those of the adapter `audio`.

use serde::Deserialize;
use serde_json::Value;

/// The `[preprocessing]` table of an audio card.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioTable {
    rate: u32,
    #[serde(default = "one")]
    scale: f64,
    #[serde(default)]
    features: Features,
    frame: Option<usize>,
    hop: Option<usize>,
    fft: Option<usize>,
    #[serde(default)]
    window: FrameWindow,
    #[serde(default)]
    window_place: WindowPlace,
    #[serde(default)]
    centre: Centre,
    #[serde(default)]
    remove_mean: bool,
    #[serde(default)]
    preemphasis: f64,
    #[serde(default)]
    spectrum: Spectrum,
    #[serde(default = "sixty_four")]
    mels: usize,
    #[serde(default)]
    f_min: f64,
    f_max: Option<f64>,
    #[serde(default)]
    mel_scale: MelScale,
    #[serde(default)]
    mel_sides: Sides,
    #[serde(default)]
    mel_norm: Area,
    #[serde(default)]
    log: Logarithm,
    #[serde(default)]
    log_floor: f64,
    #[serde(default)]
    log_offset: f64,
    range: Option<f64>,
    #[serde(default)]
    standardise: Standardise,
    #[serde(default = "zero")]
    mean: PerBand,
    #[serde(default = "one_per_band")]
    std: PerBand,
    seconds: Option<f64>,
    window_frames: Option<usize>,
    window_hop: Option<usize>,
    #[serde(default)]
    short: Short,
    layout: Option<String>,
    front: Option<String>,
    // The graph of the merged model holds what follows from these.
    #[serde(rename = "front_layout")]
    _front_layout: Option<Value>,
    #[serde(rename = "front_scale")]
    _front_scale: Option<Value>,
    #[serde(rename = "front_offset")]
    _front_offset: Option<Value>,
    #[serde(rename = "max_seconds")]
    _max_seconds: Option<Value>,
}

/// Declares an enum of a key's values, whose first value is the default.
macro_rules! values {
    ($name:ident: $first:ident $(, $other:ident)*) => {
        #[derive(Deserialize, Default, Clone, Copy, PartialEq)]
        #[serde(rename_all = "kebab-case")]
        enum $name {
            #[default]
            $first,
            $($other),*
        }
    };
}

values!(Features: Waveform, LogMel);
values!(FrameWindow: Hann, HannSymmetric, Hamming, HammingSymmetric, Povey, Rectangular);
values!(WindowPlace: Start, Middle);
values!(Centre: None, Zeros, Reflect);
values!(Spectrum: Power, Magnitude);
values!(MelScale: Htk, Slaney);
values!(Sides: Hertz, Mel);
values!(Area: None, Slaney);
values!(Logarithm: Natural, None, Log10, Db);
values!(Standardise: None, Recording, Bands);
values!(Short: Zeros, Repeat);

#[derive(Deserialize)]
#[serde(untagged)]
enum PerBand {
    All(f64),
    Each(Vec<f64>),
}

impl PerBand {
    fn python(&self) -> String {
        match self {
            Self::All(value) => format!("{value:?}"),
            Self::Each(values) => format!("{values:?}"),
        }
    }
}

fn one() -> f64 {
    1.0
}

fn zero() -> PerBand {
    PerBand::All(0.0)
}

fn one_per_band() -> PerBand {
    PerBand::All(1.0)
}

fn sixty_four() -> usize {
    64
}

impl AudioTable {
    /// Returns what is done, in words.
    pub fn words(&self) -> String {
        let mut words = format!(
            "A recording is mixed to one channel, resampled to {} samples a second and multiplied by {}.",
            self.rate, self.scale
        );
        if let Some(seconds) = self.seconds {
            words.push_str(&format!(" It is cut, or filled up with zeros, to {seconds} seconds."));
        }
        if self.features == Features::LogMel {
            words.push_str(&format!(
                " Its log-mel spectrogram has {} bands, with frames of {} samples every {} samples; the \
                 table states all its constants.",
                self.mels,
                self.frame.unwrap_or_default(),
                self.hop.unwrap_or_default()
            ));
        }
        if let Some(frames) = self.window_frames {
            let hop = self.window_hop.unwrap_or(frames);
            words.push_str(&format!(" Each window of {frames} frames, every {hop} frames, is one token."));
        }
        words
    }

    /// Returns the lines that make `values`, the model's input for `item`, and `mask`, one for each token.
    pub fn body(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        lines.extend(
            [
                "with wave.open(item) as file:",
                &format!("    if (file.getframerate(), file.getsampwidth()) != ({}, 2):", self.rate),
                &format!("        sys.exit(f\"{{item}}: save it with 16 bits and {} Hz\")", self.rate),
                "    data, channels = file.readframes(file.getnframes()), file.getnchannels()",
                "samples = np.frombuffer(data, \"<i2\").reshape(-1, channels).mean(1) / 32768",
            ]
            .map(str::to_owned),
        );
        if self.scale != 1.0 {
            lines.push(format!("samples = samples * {:?}", self.scale));
        }
        self.clip(&mut lines);
        let framed = self.features == Features::LogMel;
        if framed {
            self.spectrogram(&mut lines);
        } else {
            lines.push("values = samples".to_owned());
        }
        self.tokens(&mut lines, framed);
        lines
    }

    /// The number of samples that one frame reads.
    fn span(&self) -> usize {
        let frame = self.frame.unwrap_or(1);
        match (self.features, self.window_place) {
            (Features::LogMel, WindowPlace::Middle) => self.transform(),
            _ => frame,
        }
    }

    fn transform(&self) -> usize {
        self.fft.unwrap_or_else(|| self.frame.unwrap_or(1).next_power_of_two())
    }

    /// Samples on each side of the recording.
    fn margin(&self) -> usize {
        let framed = self.features == Features::LogMel && self.centre != Centre::None;
        if framed { self.transform() / 2 } else { 0 }
    }

    /// Cuts the samples, standardises a waveform, and fills up what is short.
    fn clip(&self, lines: &mut Vec<String>) {
        let clip = self.seconds.map(|seconds| (seconds * f64::from(self.rate)).round() as usize);
        if let Some(clip) = clip {
            lines.push(format!("samples = samples[:{clip}]"));
        }
        if self.features == Features::Waveform {
            if self.standardise != Standardise::None {
                lines.push("samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)".to_owned());
            }
            let numbers = [&self.mean, &self.std].map(PerBand::python);
            if numbers != ["0.0", "1.0"] {
                let [mean, std] = numbers;
                lines.push(format!("samples = (samples - np.array({mean})) / np.array({std})"));
            }
        }
        if let Some(clip) = clip {
            lines.push(format!("samples = np.pad(samples, (0, {clip} - len(samples)))"));
        }
        let frames = self.window_frames.unwrap_or(1);
        let least = self.span() + (frames - 1) * self.hop.unwrap_or(1);
        let least = least.saturating_sub(2 * self.margin()).max(1);
        lines.push(format!("short = max(0, {least} - len(samples))"));
        lines.push(match self.short {
            Short::Zeros => "samples = np.pad(samples, (0, short))".to_owned(),
            Short::Repeat => "samples = np.resize(samples, len(samples) + short)".to_owned(),
        });
    }

    /// Makes `values`, `[frames, bands]`.
    fn spectrogram(&self, lines: &mut Vec<String>) {
        let (frame, hop, fft) = (self.frame.unwrap_or(1), self.hop.unwrap_or(1), self.transform());
        let mut line = |text: String| lines.push(text);
        match (self.centre, self.margin()) {
            (Centre::None, _) => {}
            (Centre::Zeros, margin) => line(format!("samples = np.pad(samples, {margin})")),
            (Centre::Reflect, margin) => {
                line(format!("samples = np.pad(samples, {margin}, mode=\"reflect\")"));
            }
        }
        let (span, skipped) = (self.span(), (self.span() - frame) / 2);
        line(format!("count = 1 + (len(samples) - {span}) // {hop}"));
        line(format!("starts = {skipped} + {hop} * np.arange(count)"));
        line(format!("frames = samples[starts[:, None] + np.arange({frame})]"));
        if self.remove_mean {
            line("frames = frames - frames.mean(1, keepdims=True)".to_owned());
        }
        if self.preemphasis > 0.0 {
            line("before = np.concatenate([frames[:, :1], frames[:, :-1]], 1)".to_owned());
            line(format!("frames = frames - {:?} * before", self.preemphasis));
        }
        let cosine = |period: usize| format!("np.cos(2 * np.pi * np.arange({frame}) / {period})");
        let last = (frame - 1).max(1);
        line(match self.window {
            FrameWindow::Hann => format!("frames = frames * (0.5 - 0.5 * {})", cosine(frame)),
            FrameWindow::HannSymmetric => format!("frames = frames * (0.5 - 0.5 * {})", cosine(last)),
            FrameWindow::Hamming => format!("frames = frames * (0.54 - 0.46 * {})", cosine(frame)),
            FrameWindow::HammingSymmetric => format!("frames = frames * (0.54 - 0.46 * {})", cosine(last)),
            FrameWindow::Povey => {
                format!("frames = frames * np.maximum(0, 0.5 - 0.5 * {}) ** 0.85", cosine(last))
            }
            FrameWindow::Rectangular => "# The window is one everywhere.".to_owned(),
        });
        line(format!("spectrum = np.abs(np.fft.rfft(frames, {fft}))"));
        if self.spectrum == Spectrum::Power {
            line("spectrum = spectrum**2".to_owned());
        }
        self.filters(lines);
        self.logarithm(lines);
    }

    /// Multiplies the spectrum by the mel filters.
    fn filters(&self, lines: &mut Vec<String>) {
        let (rate, fft) = (self.rate, self.transform());
        let high = self.f_max.unwrap_or(f64::from(rate) / 2.0);
        let (mels, hertz) = match self.mel_scale {
            MelScale::Htk => ("2595 * np.log10(1 + f / 700)", "700 * (10 ** (m / 2595) - 1)"),
            MelScale::Slaney => (
                "np.where(f < 1000, 3 * f / 200, 15 + 27 * np.log(np.maximum(f, 1) / 1000) / np.log(6.4))",
                "np.where(m < 15, 200 * m / 3, 1000 * np.exp((m - 15) * np.log(6.4) / 27))",
            ),
        };
        let mut line = |text: String| lines.push(text);
        line(format!("to_mels = lambda f: {mels}"));
        line(format!("to_hertz = lambda m: {hertz}"));
        line(format!("low, high = to_mels(np.float64({:?})), to_mels(np.float64({high:?}))", self.f_min));
        line(format!("edges = low + (high - low) * np.arange({0} + 2) / ({0} + 1)", self.mels));
        line(format!("bins = {rate} * np.arange({fft} // 2 + 1) / {fft}"));
        line(match self.mel_sides {
            Sides::Mel => "points, bins = edges[:, None], to_mels(bins)".to_owned(),
            Sides::Hertz => "points = to_hertz(edges)[:, None]".to_owned(),
        });
        line("rising = (bins - points[:-2]) / (points[1:-1] - points[:-2])".to_owned());
        line("falling = (points[2:] - bins) / (points[2:] - points[1:-1])".to_owned());
        line("filters = np.maximum(0, np.minimum(rising, falling))".to_owned());
        if self.mel_norm == Area::Slaney {
            line("hertz = to_hertz(edges)".to_owned());
            line("filters = filters * (2 / (hertz[2:] - hertz[:-2]))[:, None]".to_owned());
        }
        line("values = spectrum @ filters.T".to_owned());
    }

    /// Takes the logarithm and normalises.
    fn logarithm(&self, lines: &mut Vec<String>) {
        let mut line = |text: String| lines.push(text);
        line(format!("values = np.maximum(values, {:?}) + {:?}", self.log_floor, self.log_offset));
        let decibels = if self.spectrum == Spectrum::Power { 10 } else { 20 };
        match self.log {
            Logarithm::None => {}
            Logarithm::Natural => line("values = np.log(values)".to_owned()),
            Logarithm::Log10 => line("values = np.log10(values)".to_owned()),
            Logarithm::Db => line(format!("values = {decibels} * np.log10(values)")),
        }
        if let Some(range) = self.range {
            line(format!("values = np.maximum(values, values.max() - {range:?})"));
        }
        match self.standardise {
            Standardise::None => {}
            Standardise::Recording => {
                line("values = (values - values.mean()) / np.sqrt(values.var() + 1e-7)".to_owned());
            }
            Standardise::Bands => {
                line("values = (values - values.mean(0)) / np.sqrt(values.var(0) + 1e-7)".to_owned());
            }
        }
        let [mean, std] = [&self.mean, &self.std].map(PerBand::python);
        if (mean.as_str(), std.as_str()) != ("0.0", "1.0") {
            line(format!("values = (values - np.array({mean})) / np.array({std})"));
        }
    }

    /// Makes the windows, in the order of the model's axes, and the mask of the tokens.
    fn tokens(&self, lines: &mut Vec<String>, framed: bool) {
        let mut line = |text: String| lines.push(text);
        let (frame, hop) = (self.frame.unwrap_or(1), self.hop.unwrap_or(1));
        match (framed, self.window_frames) {
            (true, _) => line("count = len(values)".to_owned()),
            (false, _) => line(format!("count = 1 + (len(values) - {frame}) // {hop}")),
        }
        if let Some(frames) = self.window_frames {
            let every = self.window_hop.unwrap_or(frames);
            line(format!("count = 1 + (count - {frames}) // {every}"));
            let (step, length) =
                if framed { (every, frames) } else { (every * hop, frame + (frames - 1) * hop) };
            if self.front.is_none() {
                line(format!("values = values[{step} * np.arange(count)[:, None] + np.arange({length})]"));
            }
        }
        line("mask = np.ones(count, np.float32)".to_owned());
        if self.front.is_some() {
            return; // the graph of the model makes the windows
        }
        let layout = self.layout.as_deref().unwrap_or(if framed { "mt" } else { "t" });
        let windows = usize::from(self.window_frames.is_some());
        if layout.find('m') < layout.find('t') && layout.contains('m') {
            line(format!("values = np.swapaxes(values, {windows}, {})", windows + 1));
        }
        for (at, _) in layout.char_indices().filter(|(_, axis)| *axis == '1') {
            line(format!("values = np.expand_dims(values, {})", windows + at));
        }
    }
}
