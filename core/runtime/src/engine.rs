//! Starts the engine, one per process, and creates sessions.
//!
//! ONNX Runtime allows one environment per process, so a `OnceLock` keeps it until the process ends. It
//! starts without telemetry and without a log: its errors are returned as values. `ORT_LOG` (verbose, info,
//! warning, error) turns its own log on.

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
use crate::error::INSTALL_CUDA_COMMAND;
use crate::session::Replica;
use crate::{EngineSearch, Error, FoundEngine, Result, Session};

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The CPU.
    #[default]
    Cpu,
    /// An NVIDIA GPU; an error says what is missing.
    Cuda,
    /// CUDA where it works, otherwise the CPU; [`Session::device_reason`] says why.
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

/// How a session runs: its device, threads and replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionOptions {
    /// The device.
    pub device: Device,
    /// CPU threads over all replicas; 0 takes every core.
    pub threads: usize,
    /// Copies of the model that run batches in parallel, each with its share of the threads; 0 and 1 make
    /// one.
    ///
    /// One replica with all threads is fastest for a single run. One replica per thread is fastest for many
    /// batches, since no operator then waits for another thread; see [`SessionOptions::batches`].
    pub replicas: usize,
    /// On the CPU, fuse adjacent element-wise operators of a graph in memory into one pass
    /// ([`chiasm_graph::fuse`]).
    ///
    /// For generated graphs (training steps, Jacobians); the engine's own optimisations serve an encoder
    /// better.
    pub fuse: bool,
    /// Take numbers below 1.2e-38 (subnormal ones) as zero: runs of encoders with masked tokens are faster by
    /// up to an eighth. Data whose values are all so small become zero.
    pub subnormals_as_zero: bool,
}

impl SessionOptions {
    /// Options for [`crate::embed()`]: one single-threaded replica per thread, and subnormal numbers as zero.
    pub fn batches(device: Device, threads: usize) -> Self {
        let threads = crate::threads(threads);
        Self { device, threads, replicas: threads, fuse: false, subnormals_as_zero: true }
    }
}

/// A model to load: a graph in memory or a file.
#[derive(Debug, Clone, Copy)]
pub enum ModelSource<'a> {
    /// A graph in memory; above 2 GiB it is passed through a temporary file.
    Graph(&'a Graph),
    /// A file; external weights beside it are loaded too.
    Path(&'a Path),
}

impl<'a> From<&'a Graph> for ModelSource<'a> {
    fn from(graph: &'a Graph) -> Self {
        Self::Graph(graph)
    }
}

impl<'a> From<&'a Path> for ModelSource<'a> {
    fn from(path: &'a Path) -> Self {
        Self::Path(path)
    }
}

/// The ONNX Runtime of this process, which creates [`Session`]s.
#[derive(Debug)]
pub struct Engine {
    environment: Environment,
    found: FoundEngine,
}

static ENGINE: OnceLock<Engine> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

impl Engine {
    /// Finds an engine and starts it.
    ///
    /// # Errors
    /// Those of [`EngineSearch::find`] and [`Engine::start`].
    pub fn open(search: &EngineSearch) -> Result<&'static Self> {
        Self::start(search.find()?)
    }

    /// Starts the engine, or returns it when this process already runs it.
    ///
    /// # Errors
    /// [`Error::Start`] when the library does not load, [`Error::AlreadyStarted`] when another one runs.
    pub fn start(found: FoundEngine) -> Result<&'static Self> {
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

    /// Creates the process's first session with our operators before any other session.
    ///
    /// ONNX Runtime keeps one table of domains per process, and the first session with a new domain writes it
    /// without a lock: of two first sessions created at once, one was refused or the process crashed.
    fn make_operators_known(&self) -> Result<()> {
        let mut b = Builder::new("first");
        let x = b.input("x", DType::F32, &[Dim::Fixed(1)])?;
        let y = b.relu(&x);
        b.output("y", &y, DType::F32, &[Dim::Fixed(1)]);
        self.session(&b.finish()?, &SessionOptions { fuse: true, threads: 1, ..SessionOptions::default() })?;
        Ok(())
    }

    /// Returns where the engine was found, and its version.
    pub fn found(&self) -> &FoundEngine {
        &self.found
    }

    /// Checks that sessions can run on CUDA.
    ///
    /// # Errors
    /// One sentence that says what is missing; `chiasm doctor` prints it.
    pub fn cuda(&self) -> Result<(), String> {
        if !CUDA::is_available().unwrap_or(false) {
            return Err(format!("{} is a build without CUDA", self.found.path.display()));
        }
        self.builder(1, &SessionOptions::default())
            .and_then(with_cuda)
            .map(drop)
            .map_err(|e| CudaLibraries::search().missing_message().unwrap_or_else(|| e.to_string()))
    }

    /// Loads a model as a session.
    ///
    /// # Errors
    /// [`Error::Graph`] for an invalid model file, [`Error::Model`] for a model that the engine refuses,
    /// [`Error::Device`] for a device that is not available.
    pub fn session<'a>(
        &self,
        model: impl Into<ModelSource<'a>>,
        options: &SessionOptions,
    ) -> Result<Session> {
        let model = model.into();
        let source = LoadedModel::read(model)?;
        let on_cpu = || match model {
            ModelSource::Graph(graph) if options.fuse => {
                let fused = match crate::product::engine_is_faster() {
                    true => graph.fused_without_products(),
                    false => graph.fused(),
                };
                self.replicas(&LoadedModel::read(ModelSource::Graph(&fused))?, options)
            }
            _ => self.replicas(&source, options),
        };
        let (replicas, device, reason) =
            match options.device {
                Device::Cpu => (on_cpu()?, CPU, "cpu was asked for".to_owned()),
                Device::Cuda => {
                    let (replica, device) = self
                        .cuda_lane(&source, options)
                        .map_err(|reason| Error::Device { asked: "cuda", reason, fix: self.cuda_fix() })?;
                    (vec![replica], device, "cuda was asked for".to_owned())
                }
                Device::Auto => match self.cuda_lane(&source, options) {
                    Ok((replica, device)) => (vec![replica], device, "CUDA works here".to_owned()),
                    Err(reason) => (on_cpu()?, CPU, format!("CUDA cannot be used: {reason}")),
                },
            };
        Ok(Session::new(source.name, source.inputs, source.outputs, replicas, device, reason))
    }

    fn replicas(&self, source: &LoadedModel<'_>, options: &SessionOptions) -> Result<Vec<Replica>> {
        let threads = crate::threads(options.threads);
        // Copies of a large model cost memory, and its operators are large enough to use all threads.
        let replicas = if source.weight_bytes > LARGE { 1 } else { options.replicas.clamp(1, threads) };
        (0..replicas)
            .map(|replica| {
                let share = threads / replicas + usize::from(replica < threads % replicas);
                let builder = self.builder(share, options).map_err(|e| source.refused(&e))?;
                let mut builder =
                    builder.with_quant_qdq(!source.weights_only_quantised).map_err(|e| source.refused(&e))?;
                if options.fuse {
                    let domain = crate::pointwise::domain().map_err(|e| source.refused(&e))?;
                    builder = builder.with_operators(domain).map_err(|e| source.refused(&e))?;
                }
                let session = source.commit(&mut builder).map_err(|e| source.refused(&e))?;
                Ok(Replica::new(session, options.subnormals_as_zero))
            })
            .collect()
    }

    /// Creates a replica on CUDA. Returns it with its device (all of it on the GPU, or part of it on the
    /// CPU), or says what is missing.
    fn cuda_lane(
        &self,
        source: &LoadedModel<'_>,
        options: &SessionOptions,
    ) -> Result<(Replica, &'static str), String> {
        if !CUDA::is_available().unwrap_or(false) {
            return Err(format!("{} is a build without CUDA", self.found.path.display()));
        }
        let libraries = CudaLibraries::search();
        libraries.preload();
        let explain = |e: ort::Error| match libraries.missing_message() {
            Some(missing_message) => format!("{missing_message} (ONNX Runtime says: {e})"),
            None => e.to_string(),
        };
        let builder = || {
            let builder = self.builder(crate::threads(options.threads), options)?;
            Ok::<_, ort::Error>(with_cuda(builder)?.with_quant_qdq(!source.weights_only_quantised)?)
        };
        // First with CPU fallback disabled: such a session runs entirely on the GPU. If that fails, part of
        // it runs on the CPU.
        let whole = builder().map_err(explain)?.with_disable_cpu_fallback().map_err(|e| explain(e.into()))?;
        if let Ok(session) = source.commit(&mut { whole }) {
            return Ok((Replica::new(session, options.subnormals_as_zero), CUDA_WHOLE));
        }
        let session = builder().and_then(|mut b| source.commit(&mut b)).map_err(explain)?;
        Ok((Replica::new(session, options.subnormals_as_zero), CUDA_PART))
    }

    fn cuda_fix(&self) -> String {
        match CUDA::is_available() {
            Ok(true) => "install what is missing, or run with --device cpu".to_owned(),
            _ => INSTALL_CUDA_COMMAND.to_owned(),
        }
    }

    fn builder(&self, threads: usize, options: &SessionOptions) -> Result<SessionBuilder, ort::Error> {
        // This is for the threads that the engine starts; the caller's own is up to `Session`.
        let subnormals_as_zero = if options.subnormals_as_zero { "1" } else { "0" };
        Ok(ort::session::Session::builder(&self.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(threads)?
            .with_intra_op_spinning(threads > 1 && !crate::load::is_shared(threads))?
            .with_deterministic_compute(true)?
            .with_config_entry("session.set_denormal_as_zero", subnormals_as_zero)?
            .with_config_entry("optimization.constant_folding_max_output_size_in_bytes", MAX_FOLDED)?)
    }
}

/// A node that makes a larger constant from the weights, in bytes, is evaluated at each run and not at load.
const MAX_FOLDED: &str = "2147483648";
/// Above this many bytes of weights a model has one replica, whatever the options say.
const LARGE: u64 = 512 << 20;
const CPU: &str = "cpu";
const CUDA_WHOLE: &str = "cuda";
/// Some operators have no CUDA kernel, or compute shapes, which ONNX Runtime keeps on the CPU.
const CUDA_PART: &str = "cuda+cpu";

fn with_cuda(builder: SessionBuilder) -> Result<SessionBuilder, ort::Error> {
    // Full f32 products, so that results on the GPU agree with those on the CPU; and no exhaustive search for
    // each new shape, since batches differ in shape.
    let cuda = CUDA::default().with_tf32(false).with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic);
    Ok(builder.with_execution_providers([cuda.build().error_on_failure()])?)
}

/// A model that was read and checked, to be passed to the engine.
struct LoadedModel<'a> {
    name: String,
    inputs: Vec<chiasm_graph::Port>,
    outputs: Vec<chiasm_graph::Port>,
    weight_bytes: u64,
    /// Whether the weights are stored in few bits and widened by `DequantizeLinear`, with float activations.
    ///
    /// By default the engine then widens the weights of a convolution at every run (2.3 times slower on
    /// MobileNetV2) and computes matrix products in 8 bits, activations included (0.005 off on unit vectors
    /// of MiniLM). With its handling of quantised models turned off, the weights are widened once, at load,
    /// and results are exact to 1e-6.
    weights_only_quantised: bool,
    content: Content<'a>,
}

enum Content<'a> {
    Bytes(Vec<u8>),
    File(&'a Path),
    /// The folder is kept until the session exists.
    Temporary(tempfile::TempDir),
}

const TEMPORARY: &str = "model.onnx";

impl<'a> LoadedModel<'a> {
    fn read(model: ModelSource<'a>) -> Result<Self> {
        match model {
            ModelSource::Graph(graph) => {
                Ok(Self::new(format!("\"{}\"", graph.name()), graph, content(graph)?))
            }
            ModelSource::Path(path) => {
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
