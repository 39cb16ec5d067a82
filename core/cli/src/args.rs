//! The command-line arguments: all commands and flags.

mod compare;
mod eval;
mod inspect;
mod measure;
mod merge_weights;
mod model;
mod plugin;
mod recipe;
mod serve;
mod study;
mod transport;

pub use compare::CompareArgs;
pub use eval::EvalArgs;
pub use inspect::InspectArgs;
pub use measure::MeasureArgs;
pub use merge_weights::{MergeWeightsArgs, WeightMethod};
pub use model::ModelCommand;
pub use plugin::{IsolationArg, PluginCommand, PluginKindArg, PolicyArg};
pub use recipe::RecipeArgs;
pub use serve::ServeArgs;
pub use study::{AblateArgs, MetricArg, TuneArgs};
pub use transport::{CostKind, Extension, TransportArgs, TransportSolver};

use chiasm_pipeline::Shard;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Merge frozen encoders into one multimodal ONNX model.
#[derive(Debug, Parser)]
#[command(name = "chiasm", version, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalOptions,
    #[command(subcommand)]
    pub command: CliCommand,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct GlobalOptions {
    /// Format of the results on stdout; everything else is printed on stderr.
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
    /// ONNX Runtime library to use instead of searching for one.
    #[arg(long, global = true, value_name = "PATH")]
    pub engine: Option<PathBuf>,
    /// Device for graphs; cuda fails if CUDA is not available, auto reports what it chose.
    #[arg(long, global = true, value_enum, default_value_t = DeviceArg::Cpu)]
    pub device: DeviceArg,
    /// Number of threads, at most one for each core [default: all cores].
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// Plugin file or folder, searched before all others (repeatable).
    #[arg(long = "plugin", global = true, value_name = "PATH")]
    pub plugins: Vec<PathBuf>,
    /// Which plugins run in processes of their own: auto takes those that are neither locked nor signed.
    #[arg(long, global = true, value_enum, default_value_t = IsolationArg::Auto, hide_short_help = true)]
    pub isolate: IsolationArg,
    /// Which plugins may run [default: locked if there is a chiasm.lock, else any].
    #[arg(long, global = true, value_enum, hide_short_help = true)]
    pub plugin_policy: Option<PolicyArg>,
    /// Seconds that a plugin in its own process may work without a sign of life [default: 600].
    #[arg(long, global = true, value_name = "SECONDS", hide_short_help = true)]
    pub plugin_timeout: Option<f64>,
    /// Memory that a plugin in its own process may use, in GiB [default: that of the machine].
    #[arg(long, global = true, value_name = "GIB", hide_short_help = true)]
    pub plugin_memory: Option<f64>,
    /// Folder of model cards, searched before all others (repeatable).
    #[arg(long, global = true, value_name = "DIR")]
    pub models: Vec<PathBuf>,
    /// Use a run although the plugin of an adapter has changed since its fit.
    #[arg(long, global = true)]
    pub allow_changed: bool,
    /// Print only results and errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    Table,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceArg {
    Cpu,
    Cuda,
    Auto,
}

#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Show which parts are installed, which are missing, and how to install them.
    Doctor {
        /// Show one part only.
        #[arg(long, value_enum)]
        only: Option<DoctorPart>,
    },
    /// Install ONNX Runtime.
    #[command(subcommand)]
    Engine(EngineCommand),
    /// List, check, lock, sign and create plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Add, list, inspect, change and remove model cards.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Write recipes.
    #[command(subcommand)]
    Recipe(RecipeCommand),
    /// Explain a key of a recipe, a plugin, a check or a measure: what it takes, its default, what it does.
    Explain {
        /// The name, or a topic: recipe, card, plugins, checks, measures, transport, page. Without one, the
        /// topics are listed.
        name: Option<String>,
    },
    /// Check a recipe, run its encoders on a few items, and summarise it.
    Plan(RecipeArgs),
    /// Fit a recipe: embed, align, fuse, merge, measure and check. Writes a run folder with one merged
    /// model.onnx.
    Fit {
        #[command(flatten)]
        recipe: RecipeArgs,
        /// Run folder to write.
        #[arg(short = 'o', long = "output", value_name = "RUN")]
        output: PathBuf,
        #[command(flatten)]
        flags: FitFlags,
    },
    /// Measure retrieval with a run's merged model on its test rows, for every pair of modalities.
    Eval(EvalArgs),
    /// Write one HTML page about a run: what was merged, whether to trust it, metrics, examples, checks; and
    /// beside it a table of its test items, REPORT.parquet. Or about a comparison: which row is best, by how
    /// much, and whether to trust it. Or about a tuning or an ablation. It needs no network.
    Report {
        /// Run folder, or folder of `chiasm compare -o`, `chiasm tune -o` or `chiasm ablate -o`.
        #[arg(value_name = "RUN|COMPARISON")]
        run: PathBuf,
        /// HTML file to write.
        #[arg(short = 'o', long = "output", value_name = "REPORT.html")]
        output: PathBuf,
    },
    /// Compare every file of a run folder with the digest that the fit recorded. Exits with 1 if one differs.
    Verify {
        /// Run folder.
        run: PathBuf,
    },
    /// Show what is in an ONNX file, a run folder, a model card or a plugin, without running anything.
    Inspect(InspectArgs),
    /// Check the geometry of the maps of a run, or of any ONNX file: rank, folds, inverses, coverage. Exits
    /// with 1 if a check fails or could not be made.
    Check(CheckArgs),
    /// Measure the similarity, distance and shape of two files of vectors.
    Measure(MeasureArgs),
    /// Compare runs and variants of recipes on the same test rows, with p-values; fit what is missing.
    Compare(CompareArgs),
    /// Search for better values of keys of a recipe, by Bayesian optimisation on validation rows.
    Tune(TuneArgs),
    /// Take a recipe apart: each term off, baselines, fewer pairs, other values, other encoders.
    Ablate(AblateArgs),
    /// Solve optimal transport between two sets of points, or for a given cost matrix.
    Transport(Box<TransportArgs>),
    /// Run raw items through a run's merged model. Each modality is an optional flag, e.g. --image a.jpg.
    Run {
        #[command(flatten)]
        run: RunArgs,
        /// Draw the fusion's attention over the images into this SVG file; the weights are also in the
        /// outputs.
        #[arg(long, value_name = "SVG")]
        attention: Option<PathBuf>,
        /// Run this part of the rows of --input only: 2/8 is the second of eight. It needs -o OUT.parquet.
        #[arg(long, value_name = "NUMBER/COUNT", requires = "input")]
        shard: Option<Shard>,
    },
    /// Find the test items of a run with the highest scores for raw items of other modalities, e.g. --text
    /// cat.
    Search {
        #[command(flatten)]
        run: RunArgs,
        /// Modality to search [default: the other one, if the run has two].
        #[arg(long = "in", value_name = "MODALITY")]
        among: Option<String>,
        /// Number of results.
        #[arg(long, default_value_t = 5)]
        top: usize,
        /// Also write the images found, side by side, into this PNG file.
        #[arg(long, value_name = "PNG")]
        strip: Option<PathBuf>,
    },
    /// Serve runs over HTTP: inference (Open Inference Protocol v2), embeddings as OpenAI's, exact search,
    /// metrics, and a page to try it.
    Serve(ServeArgs),
    /// Merge the weights of encoders of one architecture into one model.
    MergeWeights(MergeWeightsArgs),
    /// Copy a run's model in another layout, and compare its outputs with the run.
    Export {
        /// Run folder.
        run: PathBuf,
        #[command(flatten)]
        args: ExportArgs,
        /// Folder to write.
        #[arg(short = 'o', long = "output", value_name = "DIR")]
        output: PathBuf,
    },
}

/// What `chiasm export` writes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The files.
    #[arg(long, value_enum, default_value_t = LayoutArg::Onnx)]
    pub layout: LayoutArg,
    /// Store the weights in fewer bits, and measure the metrics on the test rows before and after.
    #[arg(long, value_enum, value_name = "BITS")]
    pub weights: Option<WeightsArg>,
    /// Keep the first N coordinates of the vectors, scaled to length one, and measure the metrics on the test
    /// rows before and after.
    #[arg(long, value_name = "N")]
    pub dimensions: Option<usize>,
    /// Write the models in this version of the ai.onnx operator set, 11 to 28. Operators that mean the same
    /// in it are kept, others are rewritten where that is possible, or refused.
    #[arg(long, value_name = "N")]
    pub opset: Option<i64>,
    /// Put the preparation of items into the models: that of pictures, which are then taken as they are
    /// decoded, u8 [batch, height, width, 3], and that of texts with a WordPiece tokenizer, which are then
    /// taken one at a time, as a tensor of one string that is cut off at a null character. Only models of
    /// texts need more than ONNX Runtime: the operators of onnxruntime-extensions.
    #[arg(long, value_name = "KIND", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    pub with_preprocessing: Option<PreparedArg>,
}

impl CliCommand {
    /// Returns whether embeddings, checkpoints or fits of the command are kept when it is stopped.
    pub fn resumes(&self) -> bool {
        matches!(
            self,
            Self::Plan(_)
                | Self::Fit { .. }
                | Self::Eval(_)
                | Self::Report { .. }
                | Self::Compare(_)
                | Self::Tune(_)
                | Self::Ablate(_)
                | Self::Run { .. }
                | Self::Search { .. }
                | Self::Export { .. }
        )
    }
}

/// The storage of the weights of an export. The computation remains in single precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WeightsArg {
    /// 16-bit floats: half the size.
    Fp16,
    /// 8-bit integers with one scale per output channel: a quarter of the size.
    Int8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DoctorPart {
    Engine,
    Devices,
    Plugins,
    Models,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PreparedArg {
    /// Pictures, and texts where operators can say their preparation.
    All,
    /// Pictures only.
    Image,
    /// Texts only; those that operators cannot prepare are refused.
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LayoutArg {
    /// The merged model and its preprocessing.
    Onnx,
    /// One model per modality.
    Towers,
    /// A model repository of NVIDIA Triton with dynamic batching.
    Triton,
    /// A folder for each modality, which AutoTokenizer and AutoImageProcessor of transformers open.
    Hf,
    /// A folder that SentenceTransformer opens: one module, and one model per modality.
    SentenceTransformers,
    /// A folder for each modality, for transformers.js.
    #[value(name = "transformers.js")]
    TransformersJs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ToolArg {
    Pip,
    Uv,
    Npm,
}

/// The switches of `chiasm fit`.
#[derive(Debug, Args)]
pub struct FitFlags {
    /// Skip items that cannot be read, and report them.
    #[arg(long)]
    pub skip_bad: bool,
    /// Fit even if the run folder exists and is up to date.
    #[arg(long)]
    pub force: bool,
    /// End with exit code 0 although a check could not be made (UNKNOWN): checks.allow_unknown=true.
    #[arg(long)]
    pub allow_unknown: bool,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Run folder, or an .onnx file with one float input [n, d] and one output [n, o].
    #[arg(value_name = "RUN|GRAPH.onnx", required_unless_present = "explain")]
    pub subject: Option<PathBuf>,
    /// Print what a check computes, e.g. rank, or what all of them do, and check nothing.
    #[arg(long, value_name = "KEY", num_args = 0..=1, default_missing_value = "all")]
    pub explain: Option<String>,
    /// For a file: the points to check it at, floats [n, d].
    #[arg(long, value_name = "POINTS.npy")]
    pub at: Option<PathBuf>,
    /// For a file: its inverse, z to x. Round trips are checked in both directions.
    #[arg(long, value_name = "INVERSE.onnx", requires = "at")]
    pub inverse: Option<PathBuf>,
    /// For a file: the target points [m, o] that its images should cover.
    #[arg(long, value_name = "TARGETS.npy", requires = "at")]
    pub onto: Option<PathBuf>,
    /// End with exit code 0 although a check could not be made (UNKNOWN): checks.allow_unknown=true.
    #[arg(long)]
    pub allow_unknown: bool,
    /// Set a key of the checks: checks.rank_tolerance=1e-6, checks.condition_number.fail=100 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Run folder.
    pub run: PathBuf,
    /// JSONL or Parquet file of raw items, with one column per modality. Parquet needs -o OUT.parquet.
    #[arg(long, value_name = "ROWS")]
    pub input: Option<PathBuf>,
    /// Write the outputs into this file instead of printing them: .npz; or .parquet, for an --input of any
    /// length, which is run in blocks that are kept if the command is stopped.
    #[arg(short = 'o', long = "output", value_name = "OUT")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum EngineCommand {
    /// Install the pinned official build of ONNX Runtime with pip, uv or npm, and verify its SHA-256.
    Install {
        /// Install the build with CUDA.
        #[arg(long)]
        cuda: bool,
        /// Tool to download with [default: the first one found].
        #[arg(long, value_enum)]
        tool: Option<ToolArg>,
    },
}

#[derive(Debug, Subcommand)]
pub enum RecipeCommand {
    /// Write a recipe with comments for some models or files of vectors.
    New {
        /// Names of models (`chiasm model list`) or files of vectors, two or more: MODEL, FILE.npy,
        /// MODALITY=MODEL.
        #[arg(required = true, num_args = 2.., value_name = "[MODALITY=]MODEL|FILE")]
        sources: Vec<String>,
        /// Data file with a column for each modality: .jsonl, .csv, .tsv or .parquet.
        #[arg(long, value_name = "FILE")]
        pairs: Option<PathBuf>,
        /// Id of the aligner.
        #[arg(long, default_value = "cca")]
        aligner: String,
        /// Recipe to write; it must not exist.
        #[arg(short = 'o', long = "output", default_value = "recipe.toml", value_name = "RECIPE.toml")]
        output: PathBuf,
    },
}
