//! Times the training step of each system beside that of InfoNCE alone, on the same networks and rows.
//!
//! ```text
//! cargo bench -p chiasm-systems --profile dev --bench step -- [--only gotma] [--rounds 3] [--steps 30]
//!     [--peer PYTHON]
//! ```
//!
//! With `--peer`, a Python with torch, the same losses in PyTorch (`benches/peer.py`, with torch.compile) run
//! alternately with ours, where they are written: InfoNCE and three of the systems.
//!
//! Two modalities of 384 and 288 columns, networks with 256 hidden units, 4,096 rows that hold both, batches
//! of 1,024. Terms over all pairs of items compare 256 of a batch, the default of `structure_rows`. Rounds of
//! all systems alternate, and the table has the medians over rounds of the median step.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

#[path = "../../mlp/tests/common/mod.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod common;

use std::sync::Mutex;
use std::time::Instant;

use chiasm_geometry::random::Random;
use chiasm_plugin::graph::{Graph, Tensor};
use chiasm_plugin::ndarray::Array2;
use chiasm_plugin::objective::{Objective, TrainedWeights, TrainingOptions, TrainingRows};
use chiasm_plugin::{Json, Learned, Result, ServiceBackend, json};
use chiasm_systems::{Geometric, GeometryWarping, Gotma, HybridRiemannian, OtAlignMerge};
use chiasm_train::Trainer;
use common::{AlignData, TestHost};

const ROWS: usize = 4096;
const COLUMNS: [usize; 2] = [384, 288];
/// Steps before the clock starts.
const WARM_UP: usize = 5;

/// A host that trains with a clock: it records the median milliseconds of a step.
struct TimingHost {
    host: TestHost,
    milliseconds: Mutex<Vec<f64>>,
    /// Columns of the shared space.
    width: Mutex<usize>,
}

impl ServiceBackend for TimingHost {
    fn log(&self, _: u8, _: &str) {}

    fn progress(&self, _: u64, _: u64) -> Result<()> {
        Ok(())
    }

    fn seed(&self) -> u64 {
        1
    }

    fn threads(&self) -> usize {
        2
    }

    fn run(&self, graph: &Graph, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>> {
        self.host.run(graph, inputs)
    }

    fn train(
        &self,
        objective: &Objective,
        rows: &TrainingRows<'_>,
        options: &TrainingOptions,
    ) -> Result<TrainedWeights> {
        let session = chiasm_runtime::SessionOptions { threads: 2, ..Default::default() };
        let trainer = Trainer { engine: self.host.engine, session, checkpoints: None };
        let start = objective.graph.weight("map/image/start");
        *self.width.lock().unwrap() = start.map_or(0, |start| start.shape()[1]);
        let mut clock = Instant::now();
        let mut each = Vec::new();
        let trained = trainer.train(objective, rows, options, &mut |_| {
            each.push(clock.elapsed().as_secs_f64() * 1e3);
            clock = Instant::now();
            true
        })?;
        self.milliseconds.lock().unwrap().push(median(&mut each[WARM_UP..]));
        Ok(trained)
    }
}

/// Two modalities that observe eight common factors.
fn data() -> AlignData {
    let mut random = Random::new(5);
    let factors = Array2::from_shape_simple_fn((ROWS, 8), || random.normal() as f32);
    let mut view = |columns: usize| {
        let mixing = Array2::from_shape_simple_fn((8, columns), || random.normal() as f32);
        let noise = Array2::from_shape_simple_fn((ROWS, columns), || random.normal() as f32);
        (factors.dot(&mixing) / 3.0).mapv(f32::sin) + noise * 0.3
    };
    let [first, second] = COLUMNS.map(&mut view);
    AlignData::complete(&[("image", &first), ("text", &second)])
}

type Fit = fn(&AlignData, &TimingHost, &Json) -> Result<Learned>;

/// The systems, InfoNCE alone first.
const SYSTEMS: [(&str, Fit); 6] = [
    ("infonce", |data, host, parameters| {
        let weights = json!({ "terms": { "ot": 0.0 }, "lambda_ga": 0.0 });
        heads::<Geometric>(data, host, &merged(parameters, &weights))
    }),
    ("geometric", heads::<Geometric>),
    ("hybrid-riemannian", heads::<HybridRiemannian>),
    ("gotma", heads::<Gotma>),
    ("ot-align-merge", heads::<OtAlignMerge>),
    ("geometry-warping", |data, host, parameters| {
        data.fit::<GeometryWarping>(host, &merged(parameters, &json!({ "train": true })))
    }),
];

fn merged(parameters: &Json, more: &Json) -> Json {
    let mut all = parameters.clone();
    for (name, value) in more.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    all
}

/// Fits maps into a shared space from a fixed start: the search for one takes half a minute, which is not
/// what is timed.
fn heads<A: chiasm_plugin::Aligner>(
    data: &AlignData,
    host: &TimingHost,
    parameters: &Json,
) -> Result<Learned> {
    let start = json!({ "curve": "unit", "ridge": 0.1, "dimensions": 128, "power": 1.0 });
    data.fit::<A>(host, &merged(parameters, &json!({ "start": start, "members": 1, "blend": 1.0 })))
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let given = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    let number = |name: &str, default: usize| given(name).and_then(|n| n.parse().ok()).unwrap_or(default);
    let (rounds, steps) = (number("--rounds", 3), number("--steps", 30));
    let data = data();
    let only = given("--only");
    let asked: Vec<_> =
        SYSTEMS.iter().filter(|(name, _)| *name == "infonce" || only.is_none_or(|one| one == name)).collect();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); asked.len()];
    let mut peers: Vec<Vec<f64>> = vec![Vec::new(); asked.len()];
    for _ in 0..rounds {
        for (((name, fit), times), peers) in asked.iter().zip(&mut times).zip(&mut peers) {
            let host = TimingHost {
                host: TestHost::new(1),
                milliseconds: Mutex::default(),
                width: Mutex::default(),
            };
            let parameters = json!({ "steps": WARM_UP + steps + 1, "batch": 1024 });
            fit(&data, &host, &parameters).unwrap();
            times.push(host.milliseconds.lock().unwrap()[0]);
            let width = *host.width.lock().unwrap();
            peers.extend(given("--peer").and_then(|python| peer(python, name, width, steps)));
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    println!("| system | ms a step | of InfoNCE | PyTorch, ms | PyTorch / ours |\n|---|--:|--:|--:|--:|");
    for (((name, _), time), peers) in asked.iter().zip(&medians).zip(&mut peers) {
        let of_peer = if peers.is_empty() {
            "| |".to_owned()
        } else {
            let peer = median(peers);
            format!("| {peer:.1} | {:.2} |", peer / time)
        };
        println!("| {name} | {time:.1} | {:.2} {of_peer}", time / medians[0]);
    }
}

/// Runs the step in PyTorch. `None` where the system is not written there.
fn peer(python: &str, system: &str, width: usize, steps: usize) -> Option<f64> {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer.py");
    let mut command = std::process::Command::new(python);
    command.arg(script).args(["--system", system, "--width", &width.to_string()]);
    let output = command.args(["--steps", &steps.to_string()]).output().ok()?;
    let said: Json = String::from_utf8_lossy(&output.stdout).lines().last()?.parse().ok()?;
    said["milliseconds"].as_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
