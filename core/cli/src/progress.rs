//! Progress bars and notes on stderr. Bars are shown only on a terminal.

use crate::{print, stage, stop};
use chiasm_pipeline::{Reporter, visible};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::{Mutex, PoisonError};

/// A reporter that draws stages as bars and prints notes as lines on stderr.
pub struct Terminal {
    bar: Mutex<ProgressBar>,
    quiet: bool,
}

impl Terminal {
    /// Returns a reporter; `quiet` suppresses all output.
    pub fn new(quiet: bool) -> Self {
        Self { bar: Mutex::new(ProgressBar::hidden()), quiet }
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, ProgressBar> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporter for Terminal {
    fn begin(&self, name: &str, total: u64) {
        stage::begin(name, total);
        if self.quiet {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let template = "{prefix:28} {wide_bar} {pos}/{len} {per_sec} eta {eta} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(visible(name).into_owned());
        *self.bar() = bar;
    }

    fn advance(&self, done: u64) {
        stage::advance(done);
        self.bar().set_position(done);
    }

    fn status(&self, text: &str) {
        self.bar().set_message(visible(text).into_owned());
    }

    fn end(&self) {
        stage::end();
        self.bar().finish_and_clear();
    }

    fn stop_requested(&self) -> bool {
        stop::requested().is_some()
    }

    fn note(&self, message: &str) {
        if !self.quiet {
            self.bar().suspend(|| print::note(message));
        }
    }
}
