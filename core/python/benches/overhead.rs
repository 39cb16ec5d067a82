//! The seconds of calls of the Python package, and of the same work called from Rust, run alternately on the
//! same data with the same plugins and engine. Processor time is that of the calling process, without that of
//! the plugin's.
//!
//! ```text
//! cargo bench -p chiasm-python --profile dev --bench overhead -- --peer PYTHON [--only NAME] [--rounds N]
//! ```
//!
//! PYTHON is an interpreter in which the package is installed, of the same profile: `backend.py --built`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

#[path = "../../transport/benches/peers/mod.rs"]
mod peers;

use chiasm_geometry::measure::{MeasureOptions, measure};
use chiasm_graph::Tensor;
use chiasm_host::{
    AlignModality, AlignSpec, BorrowedArray, Host, HostOptions, Learned, PluginSearch, WorkerCommand,
};
use chiasm_pipeline::{Cache, Environment, SilentReporter, TrainingLog, crash_records, plugin_lock};
use chiasm_runtime::{Device, EngineSearch, Session};
use chiasm_transport::{Cost, Sinkhorn, SolverLimits, exact};
use ndarray::{Array2, ArrayView2};
use peers::{BenchOptions, PeerProcess, timed};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ROWS: usize = 10_000;
const WIDTH: usize = 768;
/// The number of points of the transport problems.
const POINTS: usize = 2_000;

/// The environment that the package uses: its plugins and its engine, with all cores.
fn environment(package: &Path, engine: Option<PathBuf>) -> Environment {
    let mut search = PluginSearch::from_environment(Vec::new());
    search.executable_dir = Some(package.to_owned());
    let worker = WorkerCommand {
        program: package.join("chiasm"),
        name: "chiasm-plugin".to_owned(),
        arguments: vec!["plugin-process".into()],
        variables: Vec::new(),
    };
    let options = HostOptions {
        lock: plugin_lock().unwrap(),
        crashes: crash_records(),
        worker: Some(worker),
        ..HostOptions::default()
    };
    Environment {
        host: Host::with_options(&search, options),
        models: Vec::new(),
        search: EngineSearch::from_environment(engine),
        device: Device::Cpu,
        threads: 0,
        cache: Cache::of_user(),
        reporter: Arc::new(SilentReporter),
        trainings: TrainingLog::default(),
        allow_changed: false,
    }
}

/// The data of all calls.
struct Work {
    env: Environment,
    views: [Array2<f32>; 2],
    wide: [Array2<f64>; 2],
    rows: Vec<i64>,
    tensor: Tensor,
    /// The map of the second view.
    session: Session,
    costs: Array2<f64>,
    weights: Vec<f64>,
}

impl Work {
    fn new(paths: &Value) -> Self {
        let data = Path::new(paths["data"].as_str().unwrap());
        let read = |name: &str| std::fs::read(data.join(name)).unwrap();
        let view = |name: &str| {
            let values = read(name).as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            Array2::from_shape_vec((ROWS, WIDTH), values).unwrap()
        };
        let costs = read("costs").as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
        let views = [view("x"), view("y")];
        let engine = paths["engine"].as_str().map(PathBuf::from);
        let env = environment(Path::new(paths["package"].as_str().unwrap()), engine);
        let rows: Vec<i64> = (0..ROWS as i64).collect();
        let learned = fit(&env, &views, &rows);
        Self {
            session: env.session(&learned.maps[1]).unwrap(),
            tensor: Tensor::f32(&[ROWS, WIDTH], views[1].iter().copied().collect()).unwrap(),
            wide: [views[0].mapv(f64::from), views[1].mapv(f64::from)],
            costs: Array2::from_shape_vec((POINTS, POINTS), costs).unwrap(),
            weights: vec![1.0 / POINTS as f64; POINTS],
            views,
            env,
            rows,
        }
    }

    /// Makes a call, and returns a number of its result.
    fn call(&self, name: &str) -> f64 {
        match name {
            "Ridge.fit" => {
                let map = &fit(&self.env, &self.views, &self.rows).maps[1];
                let first = Tensor::f32(&[1, WIDTH], self.views[1].row(0).to_vec()).unwrap();
                image(&self.env.session(map).unwrap(), &first)
            }
            "Ridge.transform" => image(&self.session, &self.tensor),
            "measure" => {
                let options = MeasureOptions::new().only(&["cka_linear".to_owned()]);
                let [x, y] = self.wide.each_ref().map(Array2::view);
                let report = measure(x, y, &options, &|_, _, _| {}).unwrap();
                serde_json::to_value(&report).unwrap()["measures"]["cka_linear"]["value"].as_f64().unwrap()
            }
            "ot.sinkhorn" => sinkhorn(self.costs.view(), &self.weights),
            "ot.emd" => {
                let limits = SolverLimits::new(100_000);
                let found = exact(self.costs.view(), &self.weights, &self.weights, &limits).unwrap();
                found.plan().row(0).fold(0.0, |most: f64, &mass| most.max(mass))
            }
            other => unreachable!("no call {other}"),
        }
    }
}

fn fit(env: &Environment, views: &[Array2<f32>; 2], rows: &[i64]) -> Learned {
    let names = ["view0", "view1"];
    let modality = |name: &str| AlignModality { name: name.into(), dim: WIDTH, blocks: vec![WIDTH] };
    let spec = AlignSpec { modalities: names.map(modality).to_vec(), anchor: None };
    let ports = names.map(|name| [format!("{name}.pooled"), format!("{name}.row")]);
    let mut data: Vec<(&str, BorrowedArray<'_>)> = Vec::new();
    for ([pooled, row], view) in ports.iter().zip(views) {
        data.push((pooled, BorrowedArray::f32(&[ROWS, WIDTH], view.as_slice().unwrap())));
        data.push((row, BorrowedArray::i64(&[ROWS], rows)));
    }
    let parameters = json!({"ridge": 0.1, "onto": "view0", "curve": "unit"});
    let services = env.services("align (ridge)", 0);
    env.host.aligner("ridge").unwrap().fit(&spec, &data, &parameters, &services).unwrap()
}

/// Maps rows, and returns the first number of the first image.
fn image(session: &Session, rows: &Tensor) -> f64 {
    let found = session.run_outputs(&[("x", rows)], &["z"]).unwrap().remove(0).1;
    f64::from(found.into_f32().unwrap()[0])
}

fn sinkhorn(costs: ArrayView2<'_, f64>, weights: &[f64]) -> f64 {
    let cost = Cost::matrix64(costs).unwrap();
    let coupling =
        Sinkhorn::new(0.5).iterations(1000).tolerance(1e-6).solve(&cost, weights, weights).unwrap();
    f64::from(coupling.into_plan()[[0, 0]])
}

fn main() {
    let options = BenchOptions::read();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/overhead.py");
    let mut python = PeerProcess::start(&options, script);
    let shape = json!({"rows": ROWS, "width": WIDTH, "points": POINTS});
    let Some(paths) = python.ask(&shape) else {
        println!("--peer PYTHON must name an interpreter with the package");
        return;
    };
    let work = Work::new(&paths);
    println!("{ROWS} rows of {WIDTH}; transport of {POINTS} points; the fastest of {} runs", options.rounds);
    for name in ["Ridge.fit", "Ridge.transform", "measure", "ot.sinkhorn", "ot.emd"] {
        if !options.wants(name) {
            continue;
        }
        let mut fastest = [[f64::INFINITY; 2]; 2];
        // the first round starts processes and sessions, and is not counted
        for round in 0..=options.rounds {
            let (value, time) = timed(|| work.call(name));
            let answer = python.ask(&json!({"call": name})).unwrap();
            let of = |key: &str| answer[key].as_f64().unwrap();
            assert!((value - of("value")).abs() <= 1e-6 * value.abs(), "{name}: {value}, {}", of("value"));
            let times = [[time.wall, time.processor], [of("seconds"), of("processor")]];
            for (best, time) in fastest.iter_mut().flatten().zip(times.iter().flatten()) {
                *best = if round == 0 { *best } else { best.min(*time) };
            }
        }
        let [[wall, processor], [python_wall, python_processor]] = fastest;
        println!(
            "    {name}: Rust {wall:.4} s, processor {processor:.4} s; Python {python_wall:.4} s, processor \
             {python_processor:.4} s; ratio {:.3}, of processor time {:.3}",
            python_wall / wall,
            python_processor / processor
        );
    }
}
