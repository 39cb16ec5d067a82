//! Times the training step of a projector (384-1024-384, GELU, symmetric InfoNCE, batch 1024, AdamW), and of
//! PyTorch and JAX.
//!
//! `cargo bench -p chiasm-train --profile dev --bench step -- --peer PYTHON [--scripts FOLDER] [--rounds N]
//! [--threads N] [--device cpu|cuda]`. FOLDER holds the peers' `mlp_train.py`; the default is
//! `../../../shared/bench`. Rounds of ours and of each peer alternate; medians are compared. Before that, 50
//! losses must agree with PyTorch's to 1e-3.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_runtime::{Device, Engine, EngineSearch, SessionOptions};
use chiasm_train::{Objective, TrainableWeight, Trainer, TrainingLength, TrainingOptions, TrainingRows};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const WIDTH: usize = 384;
const BATCH: usize = 1024;
/// The number of steps per timed block, as in the peers' scripts.
const BLOCK: usize = 20;
const PEERS: [&str; 3] = ["torch", "torch_compile", "jax"];

fn main() -> Fallible<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let given: BTreeMap<&str, &str> =
        words.chunks(2).map(|pair| (pair[0].as_str(), pair.get(1).map_or("", String::as_str))).collect();
    let Some(python) = given.get("--peer") else {
        say("skipped: name a Python with torch and jax: --peer PYTHON");
        return Ok(());
    };
    let scripts = PathBuf::from(given.get("--scripts").copied().unwrap_or("../../../shared/bench"));
    let number =
        |name: &str, otherwise: usize| given.get(name).and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let device: Device = given.get("--device").copied().unwrap_or("cpu").parse()?;
    let problem = ObjectiveProblem::new(python, &scripts)?;
    let trainer = Trainer {
        engine: Engine::open(&EngineSearch::from_environment(None))?,
        session: SessionOptions { device, threads: number("--threads", 2), ..SessionOptions::default() },
        checkpoints: None,
    };
    problem.compare_curves(&trainer)?;
    let mut speeds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..number("--rounds", 3) {
        speeds.entry("ours").or_default().push(problem.steps_per_second(&trainer, number("--steps", 100))?);
        for peer in PEERS.iter().filter(|peer| given.get("--only").is_none_or(|only| only == *peer)) {
            speeds.entry(peer).or_default().push(peer_speed(python, &scripts, peer, number("--threads", 2))?);
        }
    }
    let ours = median(&speeds["ours"]);
    for (who, speed) in &speeds {
        let all: Vec<String> = speed.iter().map(|s| format!("{s:.1}")).collect();
        say(&format!(
            "{who:<14} {:>6.2} steps/s   ours / theirs {:.3}   rounds {}",
            median(speed),
            ours / median(speed),
            all.join(" ")
        ));
    }
    Ok(())
}

/// The peers' problem: rows, starting weights, and PyTorch's losses.
struct ObjectiveProblem {
    x: Tensor,
    y: Tensor,
    graph: Graph,
    losses: Vec<f64>,
}

impl ObjectiveProblem {
    fn new(python: &str, scripts: &Path) -> Fallible<Self> {
        let folder = tempfile::tempdir()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer.py");
        let output = Command::new(python).arg(script).arg(scripts).arg(folder.path()).output()?;
        let said: serde_json::Value = serde_json::from_slice(&output.stdout)
            .map_err(|e| format!("{e}: {}", String::from_utf8_lossy(&output.stderr)))?;
        let losses =
            said["losses"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_f64).collect();
        let load = |name: &str| load(&folder.path().join(format!("{name}.npy")));
        Ok(Self { x: load("x")?, y: load("y")?, graph: projector(load("w1")?, load("w2")?)?, losses })
    }

    fn train(&self, trainer: &Trainer<'_>, steps: usize, mut each: impl FnMut(f32)) -> Fallible<()> {
        let mut objective = Objective::new(self.graph.clone(), &["w1", "b1", "w2", "b2"])?;
        // The peers let every weight decay.
        objective.trainable.iter_mut().for_each(|TrainableWeight { decay, .. }| *decay = true);
        let options = TrainingOptions {
            floor: 1.0,
            length: TrainingLength::Steps(steps as u64),
            batch: BATCH,
            shuffle: false,
            validation: 0.0,
            check_every: Some(u64::MAX),
            ..TrainingOptions::default()
        };
        let rows = [("x", (&self.x).into()), ("y", (&self.y).into())];
        let rows = TrainingRows { training: &rows, validation: &[] };
        trainer.train(&objective, &rows, &options, &mut |progress| {
            each(progress.losses[0].1);
            true
        })?;
        Ok(())
    }

    fn compare_curves(&self, trainer: &Trainer<'_>) -> Fallible<()> {
        let mut ours = Vec::new();
        self.train(trainer, self.losses.len(), |loss| ours.push(f64::from(loss)))?;
        let apart = ours.iter().zip(&self.losses).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        say(&format!(
            "{} losses, from {:.4} to {:.4}, at most {apart:.1e} from PyTorch's",
            ours.len(),
            ours[0],
            ours[ours.len() - 1]
        ));
        if apart < 1e-3 { Ok(()) } else { Err("the loss curves part".into()) }
    }

    /// Returns the median over blocks, without the first one.
    fn steps_per_second(&self, trainer: &Trainer<'_>, steps: usize) -> Fallible<f64> {
        let (mut clock, mut done, mut blocks) = (Instant::now(), 0, Vec::new());
        self.train(trainer, steps + BLOCK, |_| {
            done += 1;
            if done % BLOCK == 0 {
                blocks.push(BLOCK as f64 / clock.elapsed().as_secs_f64());
                clock = Instant::now();
            }
        })?;
        Ok(median(&blocks[1..]))
    }
}

/// `loss` = symmetric InfoNCE at temperature 0.07 of `gelu(x w1 + b1) w2 + b2` against `y`, both as unit
/// rows.
fn projector(w1: Tensor, w2: Tensor) -> Fallible<Graph> {
    let mut b = Builder::new("projector");
    let hidden = w1.shape()[1];
    let rows = [Dim::named("batch"), Dim::Fixed(WIDTH)];
    let (x, y) = (b.input("x", DType::F32, &rows)?, b.input("y", DType::F32, &rows)?);
    let [w1, w2] = [("w1", w1), ("w2", w2)].map(|(name, tensor)| b.constant(name, tensor));
    let b1 = b.constant("b1", Tensor::zeros(DType::F32, &[hidden])?);
    let b2 = b.constant("b2", Tensor::zeros(DType::F32, &[WIDTH])?);
    let out = b.mlp(&x, &[(w1, b1), (w2, b2)]);
    let (u, v) = (b.l2_normalise(&out, -1, 1e-12), b.l2_normalise(&y, -1, 1e-12));
    let v = b.mul_scalar(&v, 1.0 / 0.07);
    let turned = b.transpose(&v, &[1, 0]);
    let scores = b.matmul(&u, &turned);
    // Both cross entropies: the mean log of the sums of exponentials along rows and columns, minus the paired
    // scores. Unit rows keep every score within 1 / 0.07 = 14.3 of zero, so one plain exponential serves
    // both, and its sums stay finite.
    let mean = |b: &mut Builder, x: &Value| b.op("ReduceMean", &[x], &[("keepdims", 0.into())]);
    let exponentials = b.exp(&scores);
    let [by_row, by_column] = [1, 0].map(|axis| {
        let sums = b.reduce_sum(&exponentials, &[axis], false);
        let logs = b.log(&sums);
        mean(&mut b, &logs)
    });
    let both = b.add(&by_row, &by_column);
    let half = b.mul_scalar(&both, 0.5);
    let products = b.mul(&u, &v);
    let paired = b.reduce_sum(&products, &[1], false);
    let paired = mean(&mut b, &paired);
    let loss = b.sub(&half, &paired);
    b.output("loss", &loss, DType::F32, &[]);
    Ok(b.finish()?)
}

fn peer_speed(python: &str, scripts: &Path, peer: &str, threads: usize) -> Fallible<f64> {
    let threads = threads.to_string();
    let output = Command::new(python)
        .arg(scripts.join("mlp_train.py"))
        .args(["--impl", peer, "--threads", &threads, "--reps", "5"])
        .output()?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("{peer}: {e}: {}", String::from_utf8_lossy(&output.stderr)))?;
    said["steps_per_s"].as_f64().ok_or_else(|| format!("{peer} said {said}").into())
}

fn load(path: &Path) -> Fallible<Tensor> {
    let npy = npyz::NpyFile::new(std::io::BufReader::new(std::fs::File::open(path)?))?;
    let shape: Vec<usize> = npy.shape().iter().map(|d| usize::try_from(*d)).collect::<Result<_, _>>()?;
    Ok(Tensor::f32(&shape, npy.into_vec()?)?)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[expect(clippy::print_stdout, reason = "a bench reports on standard output")]
fn say(line: &str) {
    println!("{line}");
}
