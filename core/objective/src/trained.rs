//! What a training brings back.

use std::collections::BTreeMap;

use chiasm_graph::{Graph, Result, Tensor};
use serde::{Deserialize, Serialize};

/// The weights kept, and how they came about.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The trained weights (and those carried along), in the objective's order.
    pub weights: Vec<(String, Tensor)>,
    /// How they came about.
    pub report: Report,
}

/// How a training went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Steps taken.
    pub steps: u64,
    /// The step whose weights were kept; 0 are the starting weights.
    pub best_step: u64,
    /// Why it ended.
    pub stopped: Stopped,
    /// One point for every check, the start included.
    pub curve: Vec<Point>,
}

/// Why a training ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stopped {
    /// All steps were taken.
    Finished,
    /// So many checks brought nothing better.
    Early(u64),
    /// The loss was no number, or exploded.
    Diverged(String),
}

/// What a check saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps taken.
    pub step: u64,
    /// The step size of the last of them.
    pub rate: f32,
    /// The outputs' means over the steps since the last check, where they are finite; empty at the start.
    pub training: BTreeMap<String, f32>,
    /// The outputs on the validation rows; empty when there are none.
    pub validation: BTreeMap<String, f32>,
    /// The one of them that counts; lower is better.
    pub score: Option<f32>,
}

/// What a training tells after every step.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Steps taken.
    pub step: u64,
    /// Steps in all, if nothing stops it early.
    pub steps: u64,
    /// This step's outputs by name: the loss and its terms.
    pub losses: &'a [(String, f32)],
    /// What the last check found on the validation rows; lower is better.
    pub validation: Option<f32>,
}

impl Trained {
    /// A graph with those of its weights replaced that were trained: the map inside an objective, usually.
    ///
    /// # Errors
    /// When a weight of that name has another shape.
    pub fn put_into(&self, graph: &Graph) -> Result<Graph> {
        let own: Vec<&str> = graph.weight_names().collect();
        let trained = self.weights.iter().filter(|(name, _)| own.contains(&name.as_str()));
        let values: Vec<(&str, Tensor)> =
            trained.map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        graph.lifted(&names)?.bound(&values)
    }
}

impl Report {
    /// One sentence: how long, which weights were kept, why it ended.
    pub fn sentence(&self) -> String {
        let kept = match self.best_step {
            0 => "the starting weights were kept".to_owned(),
            step if step == self.steps => "the last weights were kept".to_owned(),
            step => format!("the weights of step {step} were kept"),
        };
        match &self.stopped {
            Stopped::Finished => format!("{} steps; {kept}", self.steps),
            Stopped::Early(checks) => format!(
                "stopped after {} steps, since {checks} checks brought nothing better; {kept}",
                self.steps
            ),
            Stopped::Diverged(reason) => {
                format!("stopped after {} steps, since {reason}; {kept}", self.steps)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiasm_graph::{Builder, DType, Dim};

    fn trained(weights: &[(&str, Tensor)]) -> Trained {
        let report = Report { steps: 9, best_step: 4, stopped: Stopped::Finished, curve: Vec::new() };
        let weights = weights.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
        Trained { weights, report }
    }

    #[test]
    fn trained_weights_replace_those_of_a_map() {
        let mut b = Builder::new("map");
        let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(2)]).unwrap();
        let w = b.constant("w", Tensor::zeros(DType::F32, &[2, 2]).unwrap());
        let kept = b.constant("kept", Tensor::f32(&[2], vec![3.0, 4.0]).unwrap());
        let product = b.matmul(&x, &w);
        let z = b.add(&product, &kept);
        b.output("z", &z, DType::F32, &[Dim::named("batch"), Dim::Fixed(2)]);
        let map = b.finish().unwrap();
        let w = Tensor::f32(&[2, 2], vec![1., 2., 3., 4.]).unwrap();
        let put = trained(&[("w", w.clone()), ("temperature", Tensor::scalar(1.0))]).put_into(&map).unwrap();
        assert_eq!((put.weight("w").unwrap(), put.weight("kept").unwrap()), (w, map.weight("kept").unwrap()));
        assert_eq!(put.inputs(), map.inputs());
        put.verify_learned().unwrap();
        assert!(trained(&[("w", Tensor::scalar(1.0))]).put_into(&map).is_err());
    }

    #[test]
    fn a_report_says_what_was_kept_and_why_it_ended() {
        let report = |stopped| Report { stopped, ..trained(&[]).report };
        assert_eq!(report(Stopped::Finished).sentence(), "9 steps; the weights of step 4 were kept");
        let early = report(Stopped::Early(3)).sentence();
        assert!(early.contains("9 steps") && early.contains("3 checks"), "{early}");
        assert!(
            report(Stopped::Diverged("the loss became NaN".into()))
                .sentence()
                .contains("since the loss became NaN")
        );
    }
}
