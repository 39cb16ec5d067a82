//! How a fit is carried out.

/// The seed of a fit and whom to tell about its progress.
#[derive(Clone, Copy)]
pub struct FitContext<'a> {
    /// Seed of the inner folds and of subsamples.
    pub seed: u64,
    /// Told how much is done of how much; `false` asks to stop.
    pub progress: &'a (dyn Fn(u64, u64) -> bool + Sync),
}

impl Default for FitContext<'_> {
    fn default() -> Self {
        Self { seed: 0, progress: &|_, _| true }
    }
}
