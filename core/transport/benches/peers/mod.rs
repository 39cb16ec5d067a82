//! What all comparisons share: the peer's Python and scripts, the same bytes for both sides, turns, medians.
#![allow(dead_code, reason = "no benchmark uses all of it")]

use ndarray::Array2;
use serde_json::Value;
use std::{path::PathBuf, process::Command, time::Instant};

/// The command line: `--peer PYTHON --scripts DIR [--rounds N] [--sizes 1000,4000] [--only NAME]
/// [--iterations N]`.
pub struct Setting {
    python: Option<String>,
    scripts: PathBuf,
    /// Turns of ours and theirs.
    pub rounds: usize,
    /// Problem sizes, if not the default.
    sizes: Option<Vec<usize>>,
    only: Option<String>,
    /// Iterations of a run without a tolerance.
    pub iterations: usize,
}

impl Setting {
    /// Reads the command line; without `--peer` only our side runs.
    pub fn read() -> Self {
        let words: Vec<String> = std::env::args().collect();
        let of = |name: &str| words.iter().position(|w| w == name).and_then(|i| words.get(i + 1)).cloned();
        Self {
            python: of("--peer"),
            scripts: of("--scripts").unwrap_or_default().into(),
            rounds: of("--rounds").and_then(|r| r.parse().ok()).unwrap_or(3),
            sizes: of("--sizes").map(|s| s.split(',').filter_map(|n| n.parse().ok()).collect()),
            only: of("--only"),
            iterations: of("--iterations").and_then(|n| n.parse().ok()).unwrap_or(100),
        }
    }

    /// The sizes asked for, or these.
    pub fn sizes(&self, default: &[usize]) -> Vec<usize> {
        self.sizes.clone().unwrap_or_else(|| default.to_vec())
    }

    /// Whether a comparison of this name is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }

    /// One turn of a peer's script: its JSON line, and what it says that it took.
    pub fn peer(&self, script: &str, arguments: &[&str]) -> Option<(Value, Took)> {
        let python = self.python.as_ref()?;
        let output = Command::new(python)
            .env("OPENBLAS_CORETYPE", "SkylakeX")
            .env("OMP_PROC_BIND", "true")
            .arg(self.scripts.join(script))
            .args(arguments)
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line: Option<Value> = text.lines().rev().find_map(|line| serde_json::from_str(line).ok());
        if line.is_none() {
            eprintln!("{script} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let line = line?;
        let wall = line["t_median_s"].as_f64().unwrap_or(f64::NAN);
        let processor = wall * line["own_cpus"].as_f64().unwrap_or(f64::NAN);
        Some((line, Took { wall, processor }))
    }

    /// The very clouds that the scripts use.
    pub fn clouds(&self, n: usize, d: usize) -> (Array2<f32>, Array2<f32>) {
        let folder = std::env::temp_dir().join(format!("chiasm-transport-bench-{n}-{d}"));
        let (n_text, d_text, out) = (n.to_string(), d.to_string(), folder.display().to_string());
        let name = |what: &str| folder.join(format!("{what}_n{n}_m{n}_d{d}_s0.npy"));
        if !name("x").exists() {
            self.peer("make_data.py", &["--n", &n_text, "--d", &d_text, "--out", &out]);
        }
        (load(name("x")), load(name("y")))
    }
}

fn load(path: PathBuf) -> Array2<f32> {
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run with --peer and --scripts", path.display()));
    let file = npyz::NpyFile::new(&bytes[..]).unwrap();
    let shape = file.shape().to_vec();
    Array2::from_shape_vec((shape[0] as usize, shape[1] as usize), file.into_vec().unwrap()).unwrap()
}

/// Wall and processor seconds of one call. On a machine that others use the second is the steadier measure.
#[derive(Clone, Copy)]
pub struct Took {
    /// By the clock.
    pub wall: f64,
    /// Of all threads together.
    pub processor: f64,
}

/// Times one call of ours.
pub fn timed<T>(job: impl FnOnce() -> T) -> (T, Took) {
    let (clock, before) = (Instant::now(), processor_seconds());
    let result = job();
    (result, Took { wall: clock.elapsed().as_secs_f64(), processor: processor_seconds() - before })
}

/// Nanoseconds that each of this process's threads has run, as Linux counts them; zero elsewhere.
fn processor_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let run = |path: PathBuf| {
        std::fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse::<f64>().ok()
    };
    tasks.filter_map(|task| run(task.path())).sum::<f64>() * 1e-9
}

/// Times taken in turn; the first name is ours.
#[derive(Default)]
pub struct Turns(Vec<(String, Vec<Took>)>);

impl Turns {
    /// Takes in one time.
    pub fn add(&mut self, name: &str, took: Took) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, times)) => times.push(took),
            None => self.0.push((name.to_owned(), vec![took])),
        }
    }

    /// Medians so far, and their ratios to ours.
    pub fn print(&self) {
        let middle = |times: &[Took]| {
            let of = |part: fn(&Took) -> f64| median(&times.iter().map(part).collect::<Vec<_>>());
            (of(|t| t.wall), of(|t| t.processor))
        };
        let Some((_, ours)) = self.0.first() else { return };
        let (wall, processor) = middle(ours);
        for (name, times) in &self.0 {
            let (w, p) = middle(times);
            println!(
                "    {name}: {w:.4} s, processor {p:.4} s; ratio {:.2}, of processor time {:.2} ({} turns)",
                w / wall,
                p / processor,
                times.len()
            );
        }
    }
}

/// The middle value.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
