//! Trainings requested by plugins.
//!
//! A training runs on the device and threads of the fit, reports its progress, resumes from checkpoints, and
//! is logged, so that its curve is written to the run folder.

use crate::base::{cache::Cache, reporter::Reporter};
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};
use chiasm_train::{
    Objective, StopReason, TrainedWeights, Trainer, TrainingOptions, TrainingProgress, TrainingReport,
    TrainingRows,
};
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};

/// The report of one training of a fit.
#[derive(Debug, Clone, Serialize)]
pub struct TrainingRecord {
    /// The step of the fit that requested it, e.g. `align (mlp)`.
    pub task: String,
    /// Its curve, and why it stopped.
    #[serde(flatten)]
    pub report: TrainingReport,
}

/// The trainings since the last [`TrainingLog::take`], in order. Clones share one log.
#[derive(Debug, Clone, Default)]
pub struct TrainingLog(Arc<Mutex<Vec<TrainingRecord>>>);

impl TrainingLog {
    /// Returns all records and empties the log.
    pub fn take(&self) -> Vec<TrainingRecord> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, training: TrainingRecord) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(training);
    }
}

/// Runs the trainings that one task requests.
pub(crate) struct TrainingRunner<'a> {
    pub task: &'a str,
    pub search: &'a EngineSearch,
    pub session: SessionOptions,
    pub cache: &'a Cache,
    pub reporter: &'a dyn Reporter,
    pub trainings: &'a TrainingLog,
}

impl TrainingRunner<'_> {
    /// Runs one training and logs its report.
    pub fn train(
        &self,
        objective: &Objective,
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
    ) -> Result<TrainedWeights, String> {
        let engine = Engine::open(self.search).map_err(|e| e.to_string())?;
        let folder = self.cache.trainings().map_err(|e| e.to_string())?;
        let trainer = Trainer { engine, session: self.session, checkpoints: Some(&folder) };
        let mut begun = false;
        let trained = trainer.train(objective, rows, options, &mut |progress| {
            if !begun {
                self.reporter.begin(self.task, progress.steps);
                begun = true;
            }
            self.reporter.advance(progress.step);
            self.reporter.status(&losses(progress));
            !self.reporter.stop_requested()
        });
        if begun {
            self.reporter.end();
        }
        let trained = trained.map_err(|e| e.to_string())?;
        if let StopReason::Diverged(_) = trained.report.stopped {
            self.reporter.note(&format!("{}: {}", self.task, trained.report.sentence()));
        }
        self.trainings.add(TrainingRecord { task: self.task.to_owned(), report: trained.report.clone() });
        Ok(trained)
    }
}

/// Formats the losses of a step as one line.
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

    /// Records every report as a line of text.
    #[derive(Default)]
    struct RecordingReporter(Mutex<Vec<String>>);

    impl RecordingReporter {
        fn record(&self, line: String) {
            self.0.lock().unwrap().push(line);
        }
    }

    impl Reporter for RecordingReporter {
        fn begin(&self, stage: &str, total: u64) {
            self.record(format!("begin {stage} {total}"));
        }
        fn advance(&self, done: u64) {
            self.record(format!("advance {done}"));
        }
        fn status(&self, text: &str) {
            self.record(text.split(' ').step_by(3).collect::<Vec<_>>().join(" "));
        }
        fn end(&self) {
            self.record("end".into());
        }
        fn note(&self, message: &str) {
            self.record(message.into());
        }
    }

    /// `loss = mean(x w)`, which decreases without bound.
    fn objective() -> Objective {
        let mut b = Builder::new("unbounded");
        let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(2)]).unwrap();
        let w = b.constant("w", Tensor::f32(&[2, 1], vec![1.0, 2.0]).unwrap());
        let out = b.matmul(&x, &w);
        let loss = b.op("ReduceMean", &[&out], &[("keepdims", 0.into())]);
        b.output("loss", &loss, DType::F32, &[]);
        Objective::new(b.finish().unwrap(), &["w"]).unwrap()
    }

    #[test]
    fn a_training_is_reported_logged_and_cached() {
        let here = tempfile::tempdir().unwrap();
        let cache = Cache::at(here.path());
        let (reporter, trainings) = (RecordingReporter::default(), TrainingLog::default());
        let trains = TrainingRunner {
            task: "align (x)",
            search: &EngineSearch::from_environment(None),
            session: SessionOptions { threads: 1, ..SessionOptions::default() },
            cache: &cache,
            reporter: &reporter,
            trainings: &trainings,
        };
        let x = Tensor::f32(&[10, 2], vec![1.0; 20]).unwrap();
        let rows = [("x", (&x).into())];
        let rows = TrainingRows { training: &rows, validation: &[] };
        let options = TrainingOptions { length: TrainingLength::Steps(2), ..TrainingOptions::default() };
        let first = trains.train(&objective(), &rows, &options).unwrap();
        assert!(
            cache.trainings().unwrap().starts_with(here.path()),
            "checkpoints are in the cache's own folder"
        );
        let reports = std::mem::take(&mut *reporter.0.lock().unwrap());
        let both = "loss validation";
        assert_eq!(reports, ["begin align (x) 2", "advance 1", both, "advance 2", both, "end"]);
        let again = trains.train(&objective(), &rows, &options).unwrap();
        assert_eq!(again.weights, first.weights);
        assert!(reporter.0.lock().unwrap().is_empty(), "the second training comes from the cache");
        let logged = serde_json::to_value(trainings.take()).unwrap();
        assert_eq!(logged.as_array().unwrap().len(), 2);
        assert_eq!(logged[0]["task"], "align (x)");
        assert_eq!(logged[1]["curve"].as_array().unwrap().len(), 2);
        assert!(trainings.take().is_empty());
        let broken = TrainingOptions { batch: 0, ..options };
        let message = trains.train(&objective(), &rows, &broken).unwrap_err();
        assert!(message.contains("`batch`"), "{message}");
    }
}
