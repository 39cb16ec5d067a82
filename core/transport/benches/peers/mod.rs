//! What all comparisons share: the peer's Python and scripts, the same bytes for both sides, turns, medians.

use ndarray::Array2;
use serde_json::Value;
use std::{path::PathBuf, process::Command, time::Instant};

/// The command line: `--peer PYTHON --scripts DIR [--rounds N] [--sizes 1000,4000] [--only NAME]`.
pub struct Setting {
    python: Option<String>,
    scripts: PathBuf,
    /// Turns of ours and theirs.
    pub rounds: usize,
    /// Problem sizes, if not the default.
    sizes: Option<Vec<usize>>,
    only: Option<String>,
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

    /// One turn of a peer's script: its JSON line.
    pub fn peer(&self, script: &str, arguments: &[&str]) -> Option<Value> {
        let python = self.python.as_ref()?;
        let output = Command::new(python)
            .env("OPENBLAS_CORETYPE", "SkylakeX")
            .env("OMP_PROC_BIND", "true")
            .arg(self.scripts.join(script))
            .args(arguments)
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().rev().find_map(|line| serde_json::from_str(line).ok());
        if line.is_none() {
            eprintln!("{script} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        line
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

/// Seconds of one call.
pub fn timed<T>(job: impl FnOnce() -> T) -> (T, f64) {
    let clock = Instant::now();
    let result = job();
    (result, clock.elapsed().as_secs_f64())
}

/// The middle value.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
