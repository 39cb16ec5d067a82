//! Times a run's merged model, its parts run one after the other, and both in Python's onnxruntime, for 1 and
//! 32 rows.
//!
//! `cargo bench -p chiasm-runtime --profile dev --bench merged -- --run RUN [--peer PYTHON] [--threads N]
//! [--rounds N] [--length T]`. The rounds alternate, with a pause and an unmeasured run before each: the
//! threads of a session keep spinning for a while after a run and would slow down the next one. The ratio is
//! that of medians. Free axes except the first have length T; floats are a small ramp, integers are 1.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chiasm_graph::{DType, Dim, Graph, Port, Tensor};
use chiasm_runtime::{Engine, EngineSearch, Session, SessionOptions};

/// The pause before every round, and the calls per round.
const PAUSE: Duration = Duration::from_millis(20);
const CALLS: u32 = 5;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let arguments: BTreeMap<&str, &str> =
        words.chunks_exact(2).map(|two| (two[0].as_str(), two[1].as_str())).collect();
    let Some(run) = arguments.get("--run").map(PathBuf::from) else {
        say("skipped: name a run folder with --run");
        return Ok(());
    };
    let number =
        |name: &str, otherwise: usize| arguments.get(name).and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let (threads, rounds, length) = (number("--threads", 2), number("--rounds", 60), number("--length", 16));
    let engine = Engine::open(&EngineSearch::from_environment(None))?;
    let options = SessionOptions { threads, ..SessionOptions::default() };
    let merged = Graph::load(run.join("model.onnx"))?;
    let whole = engine.session(&merged, &options)?;
    let staged = Staged::open(&run, engine, &options)?;
    for rows in [1, 32] {
        let inputs: Vec<(String, Tensor)> = merged
            .inputs()
            .iter()
            .map(|port| Ok((port.name.clone(), probe(port, rows, length)?)))
            .collect::<Fallible<_>>()?;
        let inputs: Vec<(&str, &Tensor)> =
            inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut peer = arguments
            .get("--peer")
            .map(|python| Peer::start(python, &run, rows, length, threads))
            .transpose()?;
        let mut times: [Vec<f64>; 4] = Default::default();
        for _ in 0..rounds {
            times[0].push(timed(|| whole.run(&inputs).map(drop).map_err(Into::into))?);
            times[1].push(timed(|| staged.run(&inputs))?);
            if let Some(peer) = &mut peer {
                let [merged, staged] = peer.round()?;
                times[2].push(merged);
                times[3].push(staged);
            }
        }
        let ms = times.map(|times| 1e3 * median(times));
        say(&format!(
            "{rows} row(s): merged {:.3} ms, staged {:.3} ms: {:.3} of it",
            ms[0],
            ms[1],
            ms[0] / ms[1]
        ));
        if peer.is_some() {
            say(&format!(
                "  Python: merged {:.3} ms ({:.2} of ours), staged {:.3} ms ({:.2})",
                ms[2],
                ms[2] / ms[0],
                ms[3],
                ms[3] / ms[0]
            ));
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a bench reports")]
fn say(text: &str) {
    println!("{text}");
}

/// Returns the mean seconds of a call.
fn timed(mut work: impl FnMut() -> Fallible<()>) -> Fallible<f64> {
    std::thread::sleep(PAUSE);
    work()?;
    let clock = Instant::now();
    for _ in 0..CALLS {
        work()?;
    }
    Ok(clock.elapsed().as_secs_f64() / f64::from(CALLS))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The parts of a run, each in its own session.
struct Staged {
    towers: Vec<(String, Session, Session)>,
    fusion: Option<Session>,
}

impl Staged {
    fn open(run: &Path, engine: &Engine, options: &SessionOptions) -> Fallible<Self> {
        let mut towers = Vec::new();
        let mut files: Vec<PathBuf> = std::fs::read_dir(run.join("encoders"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Fallible<_>>()?;
        files.sort();
        for file in files {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let encoder = engine.session(&Graph::load(&file)?, options)?;
            let head = Graph::load(run.join(format!("aligner/{name}.onnx")))?;
            towers.push((name, encoder, engine.session(&head, options)?));
        }
        let path = run.join("fusion.onnx");
        let fusion = path.is_file().then(|| {
            let graph = Graph::load(&path)?;
            let names: Vec<String> = graph.outputs().into_iter().map(|port| port.name).collect();
            let kept: Vec<&str> =
                names.iter().map(String::as_str).filter(|n| !n.starts_with("attention.")).collect();
            Ok::<_, Box<dyn std::error::Error>>(engine.session(&graph.extract(&kept)?, options)?)
        });
        Ok(Self { towers, fusion: fusion.transpose()? })
    }

    fn run(&self, inputs: &[(&str, &Tensor)]) -> Fallible<()> {
        let mut seen: Vec<(String, Tensor)> = Vec::new();
        for (name, encoder, head) in &self.towers {
            let own: Vec<(&str, &Tensor)> = inputs
                .iter()
                .copied()
                .filter(|(input, _)| encoder.inputs().iter().any(|port| port.name == *input))
                .collect();
            let outputs = encoder.run(&own)?;
            let pooled = format!("{name}/pooled");
            for (output, tensor) in outputs {
                if output == pooled {
                    let (_, z) = head.run(&[(&pooled, &tensor)])?.remove(0);
                    seen.push((format!("{name}.pooled"), z));
                } else {
                    seen.push((output.replace('/', "."), tensor));
                }
            }
        }
        if let Some(fusion) = &self.fusion {
            let wanted = |name: &str| fusion.inputs().iter().any(|port| port.name == name);
            let given: Vec<(&str, &Tensor)> = seen
                .iter()
                .map(|(name, tensor)| (name.as_str(), tensor))
                .filter(|(name, _)| wanted(name))
                .collect();
            fusion.run(&given)?;
        }
        Ok(())
    }
}

/// Python's onnxruntime in a child process: a line on its input starts a round, and it answers with two
/// times.
struct Peer {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Peer {
    fn start(python: &str, run: &Path, rows: usize, length: usize, threads: usize) -> Fallible<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer_merged.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(run)
            .args([rows, length, threads].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = BufReader::new(child.stdout.take().ok_or("no pipe from Python")?);
        Ok(Self { child, answers })
    }

    fn round(&mut self) -> Fallible<[f64; 2]> {
        let pipe = self.child.stdin.as_mut().ok_or("no pipe to Python")?;
        writeln!(pipe)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let times: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        times.try_into().map_err(|_| format!("Python answered {line:?}").into())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Best effort: the child may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn probe(port: &Port, rows: usize, length: usize) -> Fallible<Tensor> {
    let dims = port.dims.as_ref().ok_or("an input without a rank")?;
    let axis = |(axis, dim): (usize, &Dim)| dim.fixed().unwrap_or(if axis == 0 { rows } else { length });
    let shape: Vec<usize> = dims.iter().enumerate().map(axis).collect();
    let count: usize = shape.iter().product();
    Ok(match port.dtype {
        DType::F32 => Tensor::f32(&shape, (0..count).map(|i| (i % 17) as f32 / 17.0).collect())?,
        DType::I64 => Tensor::i64(&shape, vec![1; count])?,
        other => Tensor::zeros(other, &shape)?,
    })
}
