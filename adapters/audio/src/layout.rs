//! The order of the axes of a model's input: `layout` and `front_layout` of a card.
//!
//! ```
//! use chiasm_audio::layout::Layout;
//!
//! let yamnet = Layout::parse("layout", "1mt", true)?; // [batch, 1, mels, time]
//! assert_eq!(yamnet.dims(Some(96), 64), [Some(1), Some(64), Some(96)]);
//! assert_eq!(yamnet.arrange(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
//! # Ok::<(), String>(())
//! ```

/// One axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutAxis {
    /// Time: frames or samples.
    Time,
    /// Mel bands.
    Mels,
    /// An axis of length one.
    One,
}

/// The axes of an input, without the batch axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    axes: Vec<LayoutAxis>,
}

impl Layout {
    /// Parses the letters `t`, `m` and `1`. A spectrogram has one `t` and one `m`, a waveform only one `t`.
    ///
    /// # Errors
    /// A message that names the card's key, the expected value and the given one.
    pub fn parse(key: &str, text: &str, spectrogram: bool) -> Result<Self, String> {
        let axis = |letter| match letter {
            't' => Some(LayoutAxis::Time),
            'm' => Some(LayoutAxis::Mels),
            '1' => Some(LayoutAxis::One),
            _ => None,
        };
        let axes: Option<Vec<LayoutAxis>> = text.chars().map(axis).collect();
        let count = |axes: &[LayoutAxis], which| axes.iter().filter(|axis| **axis == which).count();
        let valid = axes.filter(|axes| {
            axes.len() <= 6
                && count(axes, LayoutAxis::Time) == 1
                && count(axes, LayoutAxis::Mels) == usize::from(spectrogram)
        });
        let expected = match spectrogram {
            true => "one `t` (time), one `m` (mel bands) and `1` for axes of length one, such as \"1mt\"",
            false => "one `t` (time) and `1` for axes of length one, such as \"t\"",
        };
        let axes = valid.ok_or_else(|| format!("{key} must have {expected}; got {text:?}"))?;
        Ok(Self { axes })
    }

    /// Returns the axes.
    pub fn axes(&self) -> &[LayoutAxis] {
        &self.axes
    }

    /// Returns the lengths of the axes.
    pub fn dims(&self, time: Option<usize>, mels: usize) -> Vec<Option<usize>> {
        let length = |axis: &LayoutAxis| match axis {
            LayoutAxis::Time => time,
            LayoutAxis::Mels => Some(mels),
            LayoutAxis::One => Some(1),
        };
        self.axes.iter().map(length).collect()
    }

    /// Returns whether the mel axis stands before the time axis.
    pub fn mels_first(&self) -> bool {
        let at = |which| self.axes.iter().position(|axis| *axis == which);
        at(LayoutAxis::Mels).is_some_and(|mels| at(LayoutAxis::Time).is_some_and(|time| mels < time))
    }

    /// Arranges values `[time, mels]` in this order. A waveform has one value per time.
    pub fn arrange(&self, values: Vec<f32>, mels: usize) -> Vec<f32> {
        if !self.mels_first() {
            return values;
        }
        (0..mels).flat_map(|band| values.iter().skip(band).step_by(mels).copied()).collect()
    }
}
