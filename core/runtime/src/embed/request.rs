//! What to embed, and with which threads and batch limits.

use crate::{BatchLimits, ItemInput};

/// Threads and batch limits of [`crate::embed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EmbedOptions {
    /// Workers; 0 takes every core. They include those that run the model on a session made with
    /// [`crate::SessionOptions::batches`].
    pub threads: usize,
    /// The limits of a batch; `None` takes the default of the session's device.
    pub limits: Option<BatchLimits>,
}

/// What [`crate::embed`] runs: items `0..items`, the inputs that each gives, and the outputs to return.
#[derive(Debug, Clone, Copy)]
pub struct EmbedRequest<'a> {
    /// The number of items.
    pub items: usize,
    /// The model's inputs, in the order in which an item's prepared tensors come.
    pub inputs: &'a [ItemInput],
    /// The names of the outputs to compute.
    pub outputs: &'a [&'a str],
    /// Threads and batch limits.
    pub options: EmbedOptions,
}
