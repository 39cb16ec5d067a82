//! How samples become frames, and windows over frames.

use crate::spectrogram::LogMel;

/// Windows over frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Frames of a window.
    pub frames: usize,
    /// Frames from one window to the next.
    pub hop: usize,
}

/// How samples become frames.
pub(crate) enum FrameFeatures {
    /// Not at all: the model reads samples. The grid of its tokens or frames, if the card states it.
    Waveform(Option<FrameGrid>),
    /// As a log-mel spectrogram.
    LogMel(Box<LogMel>),
}

/// Frames of a waveform.
#[derive(Clone, Copy)]
pub(crate) struct FrameGrid {
    pub(crate) frame: usize,
    pub(crate) hop: usize,
}

impl FrameFeatures {
    /// The number of mel bands; 1 for a waveform.
    pub(crate) fn bands(&self) -> usize {
        match self {
            FrameFeatures::LogMel(mel) => mel.bands(),
            FrameFeatures::Waveform(_) => 1,
        }
    }

    /// The length of the time axis for this many samples.
    pub(crate) fn steps(&self, samples: usize) -> usize {
        match self {
            FrameFeatures::LogMel(mel) => mel.frames(samples),
            FrameFeatures::Waveform(_) => samples,
        }
    }

    /// The number of frames of this many samples.
    pub(crate) fn frames(&self, samples: usize) -> usize {
        match self {
            FrameFeatures::LogMel(mel) => mel.frames(samples),
            FrameFeatures::Waveform(Some(grid)) if samples >= grid.frame => {
                1 + (samples - grid.frame) / grid.hop
            }
            FrameFeatures::Waveform(_) => 0,
        }
    }

    /// The least number of samples that has this many frames.
    pub(crate) fn samples(&self, frames: usize) -> usize {
        match self {
            FrameFeatures::LogMel(mel) => mel.samples(frames),
            FrameFeatures::Waveform(Some(grid)) => grid.frame + (frames - 1) * grid.hop,
            FrameFeatures::Waveform(None) => 1,
        }
    }
}
