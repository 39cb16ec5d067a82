//! The names of the tensors that the adapter makes besides the model's inputs.

/// The tensor with the samples that a front-end graph takes.
pub(crate) const WAVEFORM: &str = "waveform";
/// The tensor with the windows of a recording.
pub(crate) const WINDOWS: &str = "windows";
/// The tensor that is 1 for the tokens of a recording and 0 for padding.
pub(crate) const MASK: &str = "audio_mask";
