//! The seed and the progress callback of a fit.

/// The seed and the progress callback of a fit.
#[derive(Clone, Copy)]
pub struct FitContext<'a> {
    /// Seed of the inner folds and of subsamples.
    pub seed: u64,
    /// Called with the steps done and their total; returns `false` to stop the fit.
    pub progress: &'a (dyn Fn(u64, u64) -> bool + Sync),
}

impl Default for FitContext<'_> {
    fn default() -> Self {
        Self { seed: 0, progress: &|_, _| true }
    }
}
