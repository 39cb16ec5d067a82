//! Shared parts of the benchmarks: running the peers' Python scripts on the same data, timing, medians.
#![allow(dead_code, reason = "no benchmark uses all of it")]

use ndarray::Array2;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

/// The command line: `--peer PYTHON --scripts DIR [--rounds N] [--sizes 1000,4000] [--only NAME]
/// [--iterations N]`.
pub struct BenchOptions {
    python: Option<String>,
    scripts: PathBuf,
    /// How often both sides run.
    pub rounds: usize,

    sizes: Option<Vec<usize>>,
    only: Option<String>,
    /// Number of iterations in runs without a tolerance.
    pub iterations: usize,
}

impl BenchOptions {
    /// Parses the command line. Without `--peer` only this crate runs.
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

    /// Returns the sizes of the command line, or the default.
    pub fn sizes(&self, default: &[usize]) -> Vec<usize> {
        self.sizes.clone().unwrap_or_else(|| default.to_vec())
    }

    /// Returns whether `--only` selects a comparison of this name.
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }

    /// Runs a peer's script once. Returns its JSON line and the time that it reports.
    pub fn peer(&self, script: &str, arguments: &[&str]) -> Option<(Value, RunTime)> {
        let python = self.python.as_ref()?;
        let output = peer_command(python).arg(self.scripts.join(script)).args(arguments).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line: Option<Value> = text.lines().rev().find_map(|line| serde_json::from_str(line).ok());
        if line.is_none() {
            eprintln!("{script} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let line = line?;
        let wall = line["t_median_s"].as_f64().unwrap_or(f64::NAN);
        let processor = wall * line["own_cpus"].as_f64().unwrap_or(f64::NAN);
        Some((line, RunTime { wall, processor }))
    }

    /// Returns the clouds that the scripts use, and creates them if needed.
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

/// Returns the interpreter, with the fastest kernels of OpenBLAS that the processor has.
fn peer_command(python: &String) -> Command {
    let mut command = Command::new(python);
    command.env("OMP_PROC_BIND", "true");
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        command.env("OPENBLAS_CORETYPE", "SkylakeX");
    }
    command
}

/// A peer's script that answers one line of JSON with another, so that starting Python is not timed.
pub struct PeerProcess(Option<(Child, ChildStdin, BufReader<ChildStdout>)>);

impl PeerProcess {
    /// Starts the script; without `--peer` there is none, and it never answers.
    pub fn start(options: &BenchOptions, script: &str) -> Self {
        let start = |python: &String| {
            let mut command = peer_command(python);
            command.arg(script);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
            let (input, output) = (child.stdin.take()?, child.stdout.take()?);
            Some((child, input, BufReader::new(output)))
        };
        Self(options.python.as_ref().and_then(start))
    }

    /// Sends a line and returns the answer.
    pub fn ask(&mut self, line: &Value) -> Option<Value> {
        let (_, input, output) = self.0.as_mut()?;
        writeln!(input, "{line}").ok()?;
        let mut answer = String::new();
        output.read_line(&mut answer).ok()?;
        serde_json::from_str(&answer).ok()
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        if let Some((mut child, input, _)) = self.0.take() {
            drop(input);
            let _ = child.wait(); // it ends with its input
        }
    }
}

fn load(path: PathBuf) -> Array2<f32> {
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run with --peer and --scripts", path.display()));
    let file = npyz::NpyFile::new(&bytes[..]).unwrap();
    let shape = file.shape().to_vec();
    Array2::from_shape_vec((shape[0] as usize, shape[1] as usize), file.into_vec().unwrap()).unwrap()
}

/// Wall and processor seconds of one call. Processor time is more stable on a busy machine.
#[derive(Clone, Copy)]
pub struct RunTime {
    /// Wall time.
    pub wall: f64,
    /// Processor time of all threads.
    pub processor: f64,
}

/// Calls `job` and returns its result and its time.
pub fn timed<T>(job: impl FnOnce() -> T) -> (T, RunTime) {
    let (clock, before) = (Instant::now(), processor_seconds());
    let result = job();
    (result, RunTime { wall: clock.elapsed().as_secs_f64(), processor: processor_seconds() - before })
}

/// Returns the processor time of all threads of this process on Linux, and zero elsewhere.
fn processor_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let run = |path: PathBuf| {
        std::fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse::<f64>().ok()
    };
    tasks.filter_map(|task| run(task.path())).sum::<f64>() * 1e-9
}

/// Times by name, in the order of their first run. The first name is this crate.
#[derive(Default)]
pub struct TimingTable(Vec<(String, Vec<RunTime>)>);

impl TimingTable {
    /// Adds one time.
    pub fn add(&mut self, name: &str, time: RunTime) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, times)) => times.push(time),
            None => self.0.push((name.to_owned(), vec![time])),
        }
    }

    /// Prints the medians so far and their ratios to the first name.
    pub fn print(&self) {
        let middle = |times: &[RunTime]| {
            let of = |part: fn(&RunTime) -> f64| median(&times.iter().map(part).collect::<Vec<_>>());
            (of(|t| t.wall), of(|t| t.processor))
        };
        let Some((_, ours)) = self.0.first() else { return };
        let (wall, processor) = middle(ours);
        for (name, times) in &self.0 {
            let (w, p) = middle(times);
            println!(
                "    {name}: {w:.4} s, processor {p:.4} s; ratio {:.2}, of processor time {:.2} ({} runs)",
                w / wall,
                p / processor,
                times.len()
            );
        }
    }
}

/// Returns the median, the upper one of an even number of values.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
