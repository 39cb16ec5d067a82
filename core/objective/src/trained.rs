//! The result of a training.

use std::collections::BTreeMap;

use chiasm_graph::{Graph, Result, Tensor};
use serde::{Deserialize, Serialize};

/// The weights that a training returns, with its report.
#[derive(Clone, Debug)]
pub struct TrainedWeights {
    /// The trained weights, and those that only `after` updates, in the objective's order.
    pub weights: Vec<(String, Tensor)>,
    /// How the training went.
    pub report: TrainingReport,
}

/// How a training went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingReport {
    /// The number of steps taken.
    pub steps: u64,
    /// The step whose weights were kept; 0 means the starting weights.
    pub best_step: u64,
    /// Why it ended.
    pub stopped: StopReason,
    /// One point per check; the first is the start.
    pub curve: Vec<CurvePoint>,
}

/// Why a training ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// All steps were done.
    Finished,
    /// Early stopping: this many checks brought no better score.
    Early(u64),
    /// The loss became NaN or infinite, or exploded; the text says which.
    Diverged(String),
}

/// One point of the training curve: the result of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The number of steps taken so far.
    pub step: u64,
    /// The step size of the last step.
    pub rate: f32,
    /// The mean of each output over the steps since the last check, where finite; empty at the start.
    pub training: BTreeMap<String, f32>,
    /// The outputs on the validation rows; empty without validation rows.
    pub validation: BTreeMap<String, f32>,
    /// The value that decides which weights are kept; lower is better.
    pub score: Option<f32>,
}

/// What the observer of a training receives after every step.
#[derive(Clone, Copy, Debug)]
pub struct TrainingProgress<'a> {
    /// The number of steps taken so far.
    pub step: u64,
    /// The number of steps planned.
    pub steps: u64,
    /// The outputs of this step by name: the loss and the other terms.
    pub losses: &'a [(String, f32)],
    /// The score of the last check on the validation rows; lower is better.
    pub validation: Option<f32>,
}

impl TrainedWeights {
    /// Returns a graph with its weights of these names replaced: usually the map inside the objective.
    ///
    /// # Errors
    /// When a weight of the same name has another shape.
    pub fn apply_to(&self, graph: &Graph) -> Result<Graph> {
        let own: Vec<&str> = graph.weight_names().collect();
        let trained = self.weights.iter().filter(|(name, _)| own.contains(&name.as_str()));
        let values: Vec<(&str, Tensor)> =
            trained.map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        graph.lifted(&names)?.bound(&values)
    }
}

impl TrainingReport {
    /// Returns one sentence: how many steps, which weights were kept, why it ended.
    pub fn sentence(&self) -> String {
        let kept = match self.best_step {
            0 => "the starting weights were kept".to_owned(),
            step if step == self.steps => "the last weights were kept".to_owned(),
            step => format!("the weights of step {step} were kept"),
        };
        match &self.stopped {
            StopReason::Finished => format!("{} steps; {kept}", self.steps),
            StopReason::Early(checks) => format!(
                "stopped after {} steps, since {checks} checks brought nothing better; {kept}",
                self.steps
            ),
            StopReason::Diverged(reason) => {
                format!("stopped after {} steps, since {reason}; {kept}", self.steps)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiasm_graph::{Builder, DType, Dim};

    fn trained(weights: &[(&str, Tensor)]) -> TrainedWeights {
        let report =
            TrainingReport { steps: 9, best_step: 4, stopped: StopReason::Finished, curve: Vec::new() };
        let weights = weights.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
        TrainedWeights { weights, report }
    }

    #[test]
    fn trained_weights_replace_the_weights_of_a_map() {
        let mut b = Builder::new("map");
        let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(2)]).unwrap();
        let w = b.constant("w", Tensor::zeros(DType::F32, &[2, 2]).unwrap());
        let kept = b.constant("kept", Tensor::f32(&[2], vec![3.0, 4.0]).unwrap());
        let product = b.matmul(&x, &w);
        let z = b.add(&product, &kept);
        b.output("z", &z, DType::F32, &[Dim::named("batch"), Dim::Fixed(2)]);
        let map = b.finish().unwrap();
        let w = Tensor::f32(&[2, 2], vec![1., 2., 3., 4.]).unwrap();
        let applied =
            trained(&[("w", w.clone()), ("temperature", Tensor::scalar(1.0))]).apply_to(&map).unwrap();
        assert_eq!(
            (applied.weight("w").unwrap(), applied.weight("kept").unwrap()),
            (w, map.weight("kept").unwrap())
        );
        assert_eq!(applied.inputs(), map.inputs());
        applied.verify_learned().unwrap();
        assert!(trained(&[("w", Tensor::scalar(1.0))]).apply_to(&map).is_err());
    }

    #[test]
    fn a_report_says_what_was_kept_and_why_it_ended() {
        let report = |stopped| TrainingReport { stopped, ..trained(&[]).report };
        assert_eq!(report(StopReason::Finished).sentence(), "9 steps; the weights of step 4 were kept");
        let early = report(StopReason::Early(3)).sentence();
        assert!(early.contains("9 steps") && early.contains("3 checks"), "{early}");
        assert!(
            report(StopReason::Diverged("the loss became NaN".into()))
                .sentence()
                .contains("since the loss became NaN")
        );
    }
}
