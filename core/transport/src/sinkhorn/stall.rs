//! Detects that an iteration has reached the limit of single precision.

use crate::StopReason;

/// Detects that the error has stopped falling near the limit of single precision.
#[derive(Default)]
pub(super) struct StallDetector {
    best: f64,
    since: usize,
}

impl StallDetector {
    pub(super) fn check(&mut self, error: f64, tolerance: f64) -> Option<StopReason> {
        if self.best == 0.0 || error < 0.95 * self.best {
            self.best = error;
            self.since = 0;
        }
        self.since += 1;
        (tolerance > 0.0 && self.best < 1e-5 && self.since > 100).then_some(StopReason::Stalled)
    }
}
