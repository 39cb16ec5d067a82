//! Tasks that need more than one input, with the best scores possible without some of them.
//!
//! | task | inputs | answer |
//! |---|---|---|
//! | [`Task::Entailment`] | a picture, a sentence | whether the sentence follows, is contradicted, or is open |
//! | [`Task::TwoPictures`] | two pictures, a sentence | whether the sentence is true of the pair |
//! | [`Task::SoundEvents`] | a picture, a recording | which of eight events occur |
//!
//! Visual entailment is due to Xie et al. 2019 (SNLI-VE), reasoning over two pictures to Suhr et al. 2019
//! (NLVR2). In both, the rows come in blocks in which pictures and sentences occur equally often, so that the
//! bounds without an input are the same for any number of blocks: a third for entailment, and at most three
//! quarters for two pictures. An event may be seen, heard, or both, so that a predictor with one input misses
//! some.
//!
//! ```
//! use world::tasks::{Task, TaskSettings};
//! let folder = std::env::temp_dir().join("world-tasks-example");
//! let settings = TaskSettings { task: Task::Entailment, rows: 90, seed: 1, label_noise: 0.0, noise: 0.0 };
//! let report = world::tasks::write_task(&settings, &folder)?;
//! assert_eq!(report.ceilings["picture"]["accuracy"], 1.0 / 3.0);
//! assert_eq!(report.ceilings["picture+sentence"]["accuracy"], 1.0);
//! # std::fs::remove_dir_all(&folder).unwrap();
//! # Ok::<(), world::Error>(())
//! ```

mod ceilings;
mod entailment;
mod sound_events;
mod two_pictures;
mod write;

pub use write::{Task, TaskReport, TaskSettings, write_task};

use crate::benchmark::BenchmarkSplit;
use crate::scene::{Object, Scene};
use serde_json::{Map, Value, json};

/// A row of a task with one label.
#[derive(Debug, Clone)]
struct LabelledRow {
    split: BenchmarkSplit,
    /// The name and the content of every input, in order. A picture is its path.
    inputs: Vec<(&'static str, String)>,
    /// The label without noise.
    truth: &'static str,
    /// The label as it is written.
    label: &'static str,
    /// Further columns: what the answer follows from.
    evidence: Map<String, Value>,
}

impl LabelledRow {
    /// Returns the line of `pairs.jsonl`.
    fn line(&self, id: usize) -> Map<String, Value> {
        let mut line = Map::new();
        line.insert("id".into(), id.into());
        line.insert("split".into(), json!(self.split));
        line.extend(self.inputs.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())));
        line.insert("label".into(), self.label.into());
        line.insert("truth".into(), self.truth.into());
        line.extend(self.evidence.clone());
        line
    }
}

/// Returns the label with noise: another one of `labels` with the probability `noise`.
fn noisy(truth: usize, labels: &[&'static str], noise: f64, rng: &mut crate::rng::Rng) -> &'static str {
    let changed = rng.uniform() < noise;
    let other = (truth + 1 + rng.below(labels.len() as u32 - 1) as usize) % labels.len();
    labels[if changed { other } else { truth }]
}

/// Returns the objects of a scene for a row: shape, colour and cell.
fn described(scene: &Scene) -> Value {
    let of =
        |object: &Object| json!({ "shape": object.shape, "colour": object.colour, "cell": object.cell() });
    scene.objects.iter().map(of).collect()
}
