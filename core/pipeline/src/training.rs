//! Trainings that plugins ask for: on the run's device and threads, shown as a bar, gone on with after a kill, and remembered, so
//! that their curves enter the run folder.

use crate::{Cache, Reporter};
use chiasm_runtime::{Engine, Search, SessionOptions};
use chiasm_train::{Objective, Options, Progress, Report, Rows, Stopped, Trained, Trainer};
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};

/// How one training of a fit went.
#[derive(Debug, Clone, Serialize)]
pub struct Training {
    /// The task that asked for it.
    pub task: String,
    /// How it went.
    #[serde(flatten)]
    pub report: Report,
}

/// The trainings since somebody last asked, in order. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Trainings(Arc<Mutex<Vec<Training>>>);

impl Trainings {
    /// Takes them out.
    pub fn take(&self) -> Vec<Training> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, training: Training) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(training);
    }
}

/// What trainings of one task need.
pub(crate) struct Trains<'a> {
    pub task: &'a str,
    pub search: &'a Search,
    pub session: SessionOptions,
    pub cache: &'a Cache,
    pub reporter: &'a dyn Reporter,
    pub trainings: &'a Trainings,
}

impl Trains<'_> {
    /// Trains, and remembers how it went.
    pub fn train(
        &self,
        objective: &Objective,
        rows: &Rows<'_>,
        options: &Options,
    ) -> Result<Trained, String> {
        let engine = Engine::open(self.search).map_err(|e| e.to_string())?;
        let folder = self.cache.folder().join("training");
        let trainer = Trainer { engine, session: self.session, checkpoints: Some(&folder) };
        let mut begun = false;
        let trained = trainer.train(objective, rows, options, &mut |progress| {
            if !begun {
                self.reporter.begin(self.task, progress.steps);
                begun = true;
            }
            self.reporter.advance(progress.step);
            self.reporter.status(&losses(progress));
            true
        });
        if begun {
            self.reporter.end();
        }
        let trained = trained.map_err(|e| e.to_string())?;
        if let Stopped::Diverged(_) = trained.report.stopped {
            self.reporter.note(&format!("{}: {}", self.task, trained.report.sentence()));
        }
        self.trainings.add(Training { task: self.task.to_owned(), report: trained.report.clone() });
        Ok(trained)
    }
}

/// The losses of a step in one line.
fn losses(progress: &Progress<'_>) -> String {
    let named = progress.losses.iter().map(|(name, value)| (name.as_str(), *value));
    let all = named.chain(progress.validation.map(|value| ("validation", value)));
    all.map(|(name, value)| format!("{name} {value:.4}")).collect::<Vec<_>>().join("  ")
}
