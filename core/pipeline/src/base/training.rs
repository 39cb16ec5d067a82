//! Trainings that plugins ask for: on the run's device and threads, shown as a bar, gone on with after a
//! kill, and remembered, so that their curves enter the run folder.

use crate::base::{cache::Cache, reporter::Reporter};
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};
use chiasm_train::{
    Objective, StopReason, TrainedWeights, Trainer, TrainingOptions, TrainingProgress, TrainingReport,
    TrainingRows,
};
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};

/// How one training of a fit went.
#[derive(Debug, Clone, Serialize)]
pub struct Training {
    /// The task that asked for it.
    pub task: String,
    /// How it went.
    #[serde(flatten)]
    pub report: TrainingReport,
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
    pub search: &'a EngineSearch,
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
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
    ) -> Result<TrainedWeights, String> {
        let engine = Engine::open(self.search).map_err(|e| e.to_string())?;
        let folder = self.cache.trainings();
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
        if let StopReason::Diverged(_) = trained.report.stopped {
            self.reporter.note(&format!("{}: {}", self.task, trained.report.sentence()));
        }
        self.trainings.add(Training { task: self.task.to_owned(), report: trained.report.clone() });
        Ok(trained)
    }
}

/// The losses of a step in one line.
fn losses(progress: &TrainingProgress<'_>) -> String {
    let named = progress.losses.iter().map(|(name, value)| (name.as_str(), *value));
    let all = named.chain(progress.validation.map(|value| ("validation", value)));
    all.map(|(name, value)| format!("{name} {value:.4}")).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiasm_graph::{Builder, DType, Dim, Tensor};
    use chiasm_train::TrainingLength;

    /// Keeps what it is told.
    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Heard {
        fn hear(&self, words: String) {
            self.0.lock().unwrap().push(words);
        }
    }

    impl Reporter for Heard {
        fn begin(&self, stage: &str, total: u64) {
            self.hear(format!("begin {stage} {total}"));
        }
        fn advance(&self, done: u64) {
            self.hear(format!("advance {done}"));
        }
        fn status(&self, text: &str) {
            self.hear(text.split(' ').step_by(3).collect::<Vec<_>>().join(" "));
        }
        fn end(&self) {
            self.hear("end".into());
        }
        fn note(&self, message: &str) {
            self.hear(message.into());
        }
    }

    /// `loss = mean(x w)`: it falls for ever.
    fn objective() -> Objective {
        let mut b = Builder::new("falls");
        let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(2)]).unwrap();
        let w = b.constant("w", Tensor::f32(&[2, 1], vec![1.0, 2.0]).unwrap());
        let out = b.matmul(&x, &w);
        let loss = b.op("ReduceMean", &[&out], &[("keepdims", 0.into())]);
        b.output("loss", &loss, DType::F32, &[]);
        Objective::new(b.finish().unwrap(), &["w"]).unwrap()
    }

    #[test]
    fn a_training_is_shown_remembered_and_not_repeated() {
        let here = tempfile::tempdir().unwrap();
        let (cache, heard, trainings) = (Cache::at(here.path()), Heard::default(), Trainings::default());
        let trains = Trains {
            task: "align (x)",
            search: &EngineSearch::from_environment(None),
            session: SessionOptions { threads: 1, ..SessionOptions::default() },
            cache: &cache,
            reporter: &heard,
            trainings: &trainings,
        };
        let x = Tensor::f32(&[10, 2], vec![1.0; 20]).unwrap();
        let rows = [("x", (&x).into())];
        let rows = TrainingRows { training: &rows, validation: &[] };
        let options = TrainingOptions { length: TrainingLength::Steps(2), ..TrainingOptions::default() };
        let first = trains.train(&objective(), &rows, &options).unwrap();
        assert!(cache.trainings().starts_with(here.path()), "two caches share nothing");
        let told = std::mem::take(&mut *heard.0.lock().unwrap());
        let both = "loss validation";
        assert_eq!(told, ["begin align (x) 2", "advance 1", both, "advance 2", both, "end"]);
        let again = trains.train(&objective(), &rows, &options).unwrap();
        assert_eq!(again.weights, first.weights);
        assert!(heard.0.lock().unwrap().is_empty(), "it was there already, in the cache");
        let remembered = serde_json::to_value(trainings.take()).unwrap();
        assert_eq!(remembered.as_array().unwrap().len(), 2);
        assert_eq!(remembered[0]["task"], "align (x)");
        assert_eq!(remembered[1]["curve"].as_array().unwrap().len(), 2);
        assert!(trainings.take().is_empty());
        let broken = TrainingOptions { batch: 0, ..options };
        let message = trains.train(&objective(), &rows, &broken).unwrap_err();
        assert!(message.contains("`batch`"), "{message}");
    }
}
