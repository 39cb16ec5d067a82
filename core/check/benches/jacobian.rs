//! Times the Jacobians and all singular values of a 384-1024-384 GELU map at 64 points, and compares with
//! `torch.func` and JAX.
//!
//! `cargo bench -p chiasm-check --profile dev --bench jacobian -- --peer PYTHON --scripts DIR [--rounds N]`,
//! where DIR holds the peers' `jacobian.py`. Rounds of ours and of each peer alternate on two threads, so
//! that other work on the machine affects both; medians are compared. The singular values are compared with
//! PyTorch's in double precision.

use chiasm_check::{CheckSettings, JacobianSpectra, LearnedMap, SphereConstraints};
use chiasm_graph::{Builder, DType, Dim, Graph, Tensor};
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};
use ndarray::Array2;
use std::{collections::BTreeMap, path::Path, process::Command, time::Instant};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const PEERS: [&str; 4] = ["torch_jacrev", "torch_jacfwd", "jax_jacrev", "jax_jacfwd"];
const THREADS: usize = 2;

fn main() -> Fallible<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let given: BTreeMap<&str, &str> =
        words.chunks(2).filter_map(|pair| Some((pair.first()?.as_str(), pair.get(1)?.as_str()))).collect();
    let (Some(python), Some(scripts)) = (given.get("--peer"), given.get("--scripts")) else {
        say("skipped: give --peer PYTHON --scripts DIR (the folder of the peers' jacobian.py)");
        return Ok(());
    };
    let rounds = given.get("--rounds").map_or(Ok(3), |rounds| rounds.parse::<usize>())?;
    let folder = tempfile::tempdir()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer_jacobian.py");
    let made = Command::new(python).arg(script).arg(scripts).arg(folder.path()).output()?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into_owned().into());
    }
    let read = |name: &str| array(&folder.path().join(format!("{name}.npy")));
    let (x, exact) = (read("x")?, read("singular")?);
    let graph = mlp(&read("w1")?, &read("w2")?)?;
    let engine = Engine::open(&EngineSearch::from_environment(None))?;
    let options = SessionOptions { threads: THREADS, ..SessionOptions::default() };
    let map = LearnedMap::open(&graph, engine, &options)?;
    let jacobians = map.jacobians()?;
    let x = x.mapv(|v| v as f32);
    let ours =
        || JacobianSpectra::at(&jacobians, x.view(), SphereConstraints::default(), &CheckSettings::default());
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut spectra = ours()?;
    for _ in 0..rounds {
        for peer in PEERS {
            let clock = Instant::now();
            spectra = ours()?;
            times.entry("ours").or_default().push(clock.elapsed().as_secs_f64());
            let clock = Instant::now();
            jacobians.each(x.view(), &|_| (), |_, _| Ok(()))?;
            times.entry("ours, Jacobians alone").or_default().push(clock.elapsed().as_secs_f64());
            times.entry(peer).or_default().push(seconds(python, scripts, peer)?);
        }
    }
    report(times, &spectra, &exact);
    Ok(())
}

fn report(times: BTreeMap<&str, Vec<f64>>, spectra: &JacobianSpectra, exact: &Array2<f64>) {
    let medians: BTreeMap<&str, f64> = times.into_iter().map(|(who, times)| (who, median(times))).collect();
    for (who, seconds) in &medians {
        say(&format!("{who:>22}  {seconds:.3} s  {:.2} times ours", seconds / medians["ours"]));
    }
    let best = PEERS.iter().map(|peer| medians[peer]).fold(f64::INFINITY, f64::min);
    say(&format!("best peer / ours: {:.2}", best / medians["ours"]));
    let mut off = 0.0f64;
    for (got, exact) in spectra.singular_values.iter().zip(exact.outer_iter()) {
        for (got, value) in got.iter().zip(exact) {
            off = off.max((f64::from(*got) - value).abs() / exact[0]);
        }
    }
    say(&format!("largest difference to PyTorch in double precision: {off:.1e} of the largest value"));
}

fn mlp(w1: &Array2<f64>, w2: &Array2<f64>) -> Fallible<Graph> {
    let mut b = Builder::new("mlp");
    let x = b.input("x", DType::F32, &[Dim::named("batch"), w1.ncols().into()])?;
    let layer = |b: &mut Builder, x, w: &Array2<f64>| -> Fallible<_> {
        let columns: Vec<f32> = w.t().iter().map(|v| *v as f32).collect();
        let w = b.constant("w", Tensor::f32(&[w.ncols(), w.nrows()], columns)?);
        Ok(b.matmul(x, &w))
    };
    let hidden = layer(&mut b, &x, w1)?;
    let hidden = b.gelu(&hidden);
    let z = layer(&mut b, &hidden, w2)?;
    b.output("z", &z, DType::F32, &[Dim::named("batch"), w2.nrows().into()]);
    Ok(b.finish()?)
}

/// Returns the peer's own median of three runs after one warm-up.
fn seconds(python: &str, scripts: &str, peer: &str) -> Fallible<f64> {
    let script = Path::new(scripts).join("jacobian.py");
    let threads = THREADS.to_string();
    let output = Command::new(python)
        .arg(script)
        .args(["--impl", peer, "--part", "all", "--threads", &threads, "--reps", "3"])
        .output()?;
    let line: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("{peer}: {e}: {}", String::from_utf8_lossy(&output.stderr)))?;
    line["t_median_s"].as_f64().ok_or_else(|| format!("{peer} said {line}").into())
}

fn array(path: &Path) -> Fallible<Array2<f64>> {
    let bytes = std::fs::read(path)?;
    let npy = npyz::NpyFile::new(bytes.as_slice())?;
    let shape = (npy.shape()[0] as usize, npy.shape()[1] as usize);
    let values: Vec<f64> = match npy.try_data::<f64>() {
        Ok(values) => values.collect::<Result<_, _>>()?,
        Err(npy) => npy.into_vec::<f32>()?.into_iter().map(f64::from).collect(),
    };
    Ok(Array2::from_shape_vec(shape, values)?)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[expect(clippy::print_stdout, reason = "a bench reports on standard output")]
fn say(line: &str) {
    println!("{line}");
}
