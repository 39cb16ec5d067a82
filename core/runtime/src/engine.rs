//! The started engine: one per process, and the maker of sessions.
//!
//! ONNX Runtime allows one environment in a process, so it is kept in a `OnceLock` for good. It is started
//! quiet and without telemetry: its errors come back as values, and `ORT_LOG` (verbose, info, warning, error)
//! opens its own log.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};

use chiasm_graph::{Builder, DType, Dim, Error as GraphError, Graph};
use ort::environment::Environment;
use ort::ep::{CUDA, ExecutionProvider, cuda::ConvAlgorithmSearch};
use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use crate::cuda::CudaLibraries;
use crate::error::MEND_CUDA;
use crate::session::Lane;
use crate::{Error, Found, Result, Search, Session};

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU, or an error that says what is missing.
    Cuda,
    /// CUDA where it works, else the processor; the session says which and why.
    Auto,
}

impl Device {
    /// The name that the command line takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Cpu, Self::Cuda, Self::Auto]
            .into_iter()
            .find(|device| device.as_str() == name)
            .ok_or_else(|| format!("unknown device \"{name}\"; known are cpu, cuda and auto"))
    }
}

/// How a session runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionOptions {
    /// Where.
    pub device: Device,
    /// Processor threads in all; 0 takes every core.
    pub threads: usize,
    /// Copies of the model that run batches side by side, each with its share of the threads; 0 and 1 make
    /// one.
    ///
    /// One copy with all threads answers a single run fastest. One copy per thread embeds many batches
    /// fastest, since no operator then waits for another thread; see [`SessionOptions::batches`].
    pub lanes: usize,
    /// On the processor, element-wise neighbours of a graph in memory run as one pass
    /// ([`chiasm_graph::fuse`]).
    ///
    /// For graphs of our own making (training steps, Jacobians): the engine knows better what to do with an
    /// encoder.
    pub fuse: bool,
}

impl SessionOptions {
    /// For [`crate::embed`]: one single-threaded copy of the model per thread.
    pub fn batches(device: Device, threads: usize) -> Self {
        let threads = crate::threads(threads);
        Self { device, threads, lanes: threads, fuse: false }
    }
}

/// A model to load.
#[derive(Debug, Clone, Copy)]
pub enum Model<'a> {
    /// A graph in memory; above 2 GiB it takes the way through a temporary file.
    Graph(&'a Graph),
    /// A file; weights beside it are followed.
    Path(&'a Path),
}

impl<'a> From<&'a Graph> for Model<'a> {
    fn from(graph: &'a Graph) -> Self {
        Self::Graph(graph)
    }
}

impl<'a> From<&'a Path> for Model<'a> {
    fn from(path: &'a Path) -> Self {
        Self::Path(path)
    }
}

/// The ONNX Runtime of this process.
#[derive(Debug)]
pub struct Engine {
    environment: Environment,
    found: Found,
}

static ENGINE: OnceLock<Engine> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

impl Engine {
    /// Finds an engine and starts it.
    ///
    /// # Errors
    /// Those of [`Search::find`] and [`Engine::start`].
    pub fn open(search: &Search) -> Result<&'static Self> {
        Self::start(search.find()?)
    }

    /// Starts the engine, or returns it when this process already runs it.
    ///
    /// # Errors
    /// [`Error::Start`] when the library does not load, [`Error::AlreadyStarted`] when another one runs.
    pub fn start(found: Found) -> Result<&'static Self> {
        let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = ENGINE.get() {
            if running.found.path != found.path {
                return Err(Error::AlreadyStarted { running: running.found.path.clone(), asked: found.path });
            }
            return Ok(running);
        }
        let fail = |reason: String| Error::Start { place: found.how, path: found.path.clone(), reason };
        let builder = ort::init_from(&found.path).map_err(|e| fail(e.to_string()))?;
        let environment =
            builder.with_name("chiasm").with_telemetry(false).build().map_err(|e| fail(e.to_string()))?;
        if std::env::var_os("ORT_LOG").is_none() {
            environment.set_log_level(LogLevel::Fatal);
        }
        let engine = Self { environment, found };
        engine.make_operators_known()?;
        Ok(ENGINE.get_or_init(|| engine))
    }

    /// Makes the process's first session with our operators, while nobody else makes one.
    ///
    /// ONNX Runtime keeps one table of domains per process, and the first session with a new domain writes it
    /// without a lock: of two first sessions made at once one was refused, or the process died.
    fn make_operators_known(&self) -> Result<()> {
        let mut b = Builder::new("first");
        let x = b.input("x", DType::F32, &[Dim::Fixed(1)])?;
        let y = b.relu(&x);
        b.output("y", &y, DType::F32, &[Dim::Fixed(1)]);
        self.session(&b.finish()?, &SessionOptions { fuse: true, threads: 1, ..SessionOptions::default() })?;
        Ok(())
    }

    /// Where the engine was found, and its version.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Whether sessions can be made on CUDA; otherwise what is missing.
    ///
    /// # Errors
    /// One sentence, for `chiasm doctor`.
    pub fn cuda(&self) -> Result<(), String> {
        if !CUDA::is_available().unwrap_or(false) {
            return Err(format!("{} is a build without CUDA", self.found.path.display()));
        }
        self.builder(1)
            .and_then(with_cuda)
            .map(drop)
            .map_err(|e| CudaLibraries::search().complaint().unwrap_or_else(|| e.to_string()))
    }

    /// Loads a model.
    ///
    /// # Errors
    /// A file that is no sound model, a model the engine refuses, a device that is not there.
    pub fn session<'a>(&self, model: impl Into<Model<'a>>, options: &SessionOptions) -> Result<Session> {
        let model = model.into();
        let source = Source::read(model)?;
        let on_cpu = || match model {
            Model::Graph(graph) if options.fuse => {
                let fused = graph.fused();
                self.lanes(&Source::read(Model::Graph(&fused))?, options)
            }
            _ => self.lanes(&source, options),
        };
        let (lanes, device, reason) =
            match options.device {
                Device::Cpu => (on_cpu()?, CPU, "cpu was asked for".to_owned()),
                Device::Cuda => {
                    let (lane, device) = self
                        .cuda_lane(&source, options)
                        .map_err(|reason| Error::Device { asked: "cuda", reason, mend: self.mend_cuda() })?;
                    (vec![lane], device, "cuda was asked for".to_owned())
                }
                Device::Auto => match self.cuda_lane(&source, options) {
                    Ok((lane, device)) => (vec![lane], device, "CUDA works here".to_owned()),
                    Err(reason) => (on_cpu()?, CPU, format!("CUDA cannot be used: {reason}")),
                },
            };
        Ok(Session::new(source.name, source.inputs, source.outputs, lanes, device, reason))
    }

    fn lanes(&self, source: &Source<'_>, options: &SessionOptions) -> Result<Vec<Lane>> {
        let threads = crate::threads(options.threads);
        // Copies of a large model cost memory, and its operators are large enough to share.
        let lanes = if source.weight_bytes > LARGE { 1 } else { options.lanes.clamp(1, threads) };
        (0..lanes)
            .map(|lane| {
                let share = threads / lanes + usize::from(lane < threads % lanes);
                let builder = self.builder(share).map_err(|e| source.refused(&e))?;
                let mut builder =
                    builder.with_quant_qdq(!source.weights_only_quantised).map_err(|e| source.refused(&e))?;
                if options.fuse {
                    let domain = crate::pointwise::domain().map_err(|e| source.refused(&e))?;
                    builder = builder.with_operators(domain).map_err(|e| source.refused(&e))?;
                }
                source.commit(&mut builder).map_err(|e| source.refused(&e)).map(Lane::new)
            })
            .collect()
    }

    /// A session on CUDA and how much of it is there, or what is missing.
    fn cuda_lane(
        &self,
        source: &Source<'_>,
        options: &SessionOptions,
    ) -> Result<(Lane, &'static str), String> {
        if !CUDA::is_available().unwrap_or(false) {
            return Err(format!("{} is a build without CUDA", self.found.path.display()));
        }
        let libraries = CudaLibraries::search();
        libraries.preload();
        let explain = |e: ort::Error| match libraries.complaint() {
            Some(complaint) => format!("{complaint} (ONNX Runtime says: {e})"),
            None => e.to_string(),
        };
        let builder = || {
            let builder = self.builder(crate::threads(options.threads))?;
            Ok::<_, ort::Error>(with_cuda(builder)?.with_quant_qdq(!source.weights_only_quantised)?)
        };
        // First with the CPU forbidden: a session made so runs on the GPU whole. Else part of it runs on the
        // CPU.
        let whole = builder().map_err(explain)?.with_disable_cpu_fallback().map_err(|e| explain(e.into()))?;
        if let Ok(session) = source.commit(&mut { whole }) {
            return Ok((Lane::new(session), CUDA_WHOLE));
        }
        let session = builder().and_then(|mut b| source.commit(&mut b)).map_err(explain)?;
        Ok((Lane::new(session), CUDA_PART))
    }

    fn mend_cuda(&self) -> String {
        match CUDA::is_available() {
            Ok(true) => "supply what is missing, or run with --device cpu".to_owned(),
            _ => MEND_CUDA.to_owned(),
        }
    }

    fn builder(&self, threads: usize) -> Result<SessionBuilder, ort::Error> {
        Ok(ort::session::Session::builder(&self.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(threads)?
            .with_deterministic_compute(true)?)
    }
}

/// Above this many bytes of weights a model is held once, whatever was asked.
const LARGE: u64 = 512 << 20;
const CPU: &str = "cpu";
const CUDA_WHOLE: &str = "cuda";
/// Some operators have no CUDA kernel, or work on shapes, which ONNX Runtime keeps on the CPU.
const CUDA_PART: &str = "cuda+cpu";

fn with_cuda(builder: SessionBuilder) -> Result<SessionBuilder, ort::Error> {
    // Full f32 products, so that the GPU's results stand beside the CPU's; and no exhaustive search per new
    // shape, since batches differ in shape.
    let cuda = CUDA::default().with_tf32(false).with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic);
    Ok(builder.with_execution_providers([cuda.build().error_on_failure()])?)
}

/// A model that was read and checked, ready for the engine.
struct Source<'a> {
    name: String,
    inputs: Vec<chiasm_graph::Port>,
    outputs: Vec<chiasm_graph::Port>,
    weight_bytes: u64,
    /// Weights are stored in few bits and widened by `DequantizeLinear`, while the activations stay floats.
    ///
    /// Left to itself the engine then widens the weights of a convolution anew at every run (2.3 times slower
    /// on MobileNetV2), and computes a matrix product in 8 bits, activations too (0.005 off on unit vectors
    /// of MiniLM). Without its treatment of quantised models the weights are widened once, at load, and
    /// results are exact to 1e-6.
    weights_only_quantised: bool,
    content: Content<'a>,
}

enum Content<'a> {
    Bytes(Vec<u8>),
    File(&'a Path),
    /// The folder is kept until the session is made.
    Temporary(tempfile::TempDir),
}

const TEMPORARY: &str = "model.onnx";

impl<'a> Source<'a> {
    fn read(model: Model<'a>) -> Result<Self> {
        match model {
            Model::Graph(graph) => Ok(Self::new(format!("\"{}\"", graph.name()), graph, content(graph)?)),
            Model::Path(path) => {
                let graph = Graph::load(path)?;
                Ok(Self::new(path.display().to_string(), &graph, Content::File(path)))
            }
        }
    }

    fn new(name: String, graph: &Graph, content: Content<'a>) -> Self {
        let operators = graph.op_types();
        let quantises =
            ["QuantizeLinear", "DynamicQuantizeLinear"].iter().any(|o| operators.contains_key(*o));
        Self {
            name,
            inputs: graph.inputs(),
            outputs: graph.outputs(),
            weight_bytes: graph.weight_bytes(),
            weights_only_quantised: operators.contains_key("DequantizeLinear") && !quantises,
            content,
        }
    }

    fn commit(&self, builder: &mut SessionBuilder) -> Result<ort::session::Session, ort::Error> {
        match &self.content {
            Content::Bytes(bytes) => builder.commit_from_memory(bytes),
            Content::File(path) => builder.commit_from_file(path),
            Content::Temporary(folder) => builder.commit_from_file(folder.path().join(TEMPORARY)),
        }
    }

    fn refused(&self, error: &dyn fmt::Display) -> Error {
        Error::Model { model: self.name.clone(), reason: error.to_string() }
    }
}

fn content<'a>(graph: &Graph) -> Result<Content<'a>> {
    match graph.to_bytes() {
        Ok(bytes) => Ok(Content::Bytes(bytes)),
        Err(GraphError::TooLarge { .. }) => {
            let folder = tempfile::tempdir().map_err(Error::io("make a folder in", std::env::temp_dir()))?;
            graph.save(folder.path().join(TEMPORARY))?;
            Ok(Content::Temporary(folder))
        }
        Err(error) => Err(error.into()),
    }
}
