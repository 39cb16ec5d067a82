//! The command line: every verb and flag, in one place.

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

/// Options every verb takes.
#[derive(Debug, Args)]
pub struct GlobalOptions {
    /// How results are printed on stdout; everything else goes to stderr.
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
    /// The ONNX Runtime library to use, before any that would be found.
    #[arg(long, global = true, value_name = "PATH")]
    pub engine: Option<PathBuf>,
    /// Where graphs run: cuda fails when CUDA is not there, auto says what it chose.
    #[arg(long, global = true, value_enum, default_value_t = DeviceArg::Cpu)]
    pub device: DeviceArg,
    /// Threads to compute with [default: all].
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// A plugin file or folder, before any that would be found (repeatable).
    #[arg(long = "plugin", global = true, value_name = "PATH")]
    pub plugins: Vec<PathBuf>,
    /// A folder of model cards, before any that would be found (repeatable).
    #[arg(long, global = true, value_name = "DIR")]
    pub models: Vec<PathBuf>,
    /// Say nothing but results and errors.
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
    /// Say what is there, what is missing, and the command that mends it.
    Doctor {
        /// Look at one thing only.
        #[arg(long, value_enum)]
        only: Option<DoctorPart>,
    },
    /// Bring ONNX Runtime.
    #[command(subcommand)]
    Engine(EngineCommand),
    /// Look at plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Add and look at encoders.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Check a whole recipe and show what it would do, before anything is embedded.
    Plan(RecipeArgs),
    /// Embed, align, fuse, check and export: a recipe becomes a run folder with one merged model.onnx.
    Fit {
        #[command(flatten)]
        recipe: RecipeArgs,
        /// The run folder to make.
        #[arg(short = 'o', long = "output", value_name = "RUN")]
        output: PathBuf,
        /// Leave out items that cannot be read, and say which.
        #[arg(long)]
        skip_bad: bool,
        /// Make the run again even when it is there and up to date.
        #[arg(long)]
        force: bool,
    },
    /// Measure a run's merged model on its held-out rows, from each modality to each other one.
    Eval {
        /// The run folder.
        run: PathBuf,
    },
    /// Check what the maps of a run, or of any ONNX file, do to the geometry: rank, folds, inverses, reach.
    Check(CheckArgs),
    /// Measure two files of vectors: how alike they are, how far apart, of what shape.
    Measure(MeasureArgs),
    /// Fit a recipe in several variants and compare them: held-out test and cross-validation.
    Compare {
        #[command(flatten)]
        recipe: RecipeArgs,
        /// A key and its values: align.plugin=procrustes,cca (repeatable; every combination is fitted).
        #[arg(long, value_name = "KEY=A,B,...")]
        swap: Vec<String>,
        /// Folds of the cross-validation (row mod N); 0 leaves it out.
        #[arg(long, default_value_t = 5)]
        folds: usize,
        /// Leave out items that cannot be read, and say which.
        #[arg(long)]
        skip_bad: bool,
    },
    /// Solve optimal transport between two clouds of points, or for a given cost matrix.
    Transport(TransportArgs),
    /// Push raw inputs through a run's merged model; each modality of the run is a flag, e.g. --image a.jpg, and may be left out.
    Run {
        #[command(flatten)]
        run: RunArgs,
        /// Draw where the fusion looked, over the pictures, into this SVG; the shares are also among the outputs.
        #[arg(long, value_name = "SVG")]
        attention: Option<PathBuf>,
    },
    /// Find the run's held-out items nearest to a raw item of another modality.
    Search {
        #[command(flatten)]
        run: RunArgs,
        /// The modality to search [default: the other one, in a run of two].
        #[arg(long = "in", value_name = "MODALITY")]
        among: Option<String>,
        /// How many to show.
        #[arg(long, default_value_t = 5)]
        top: usize,
        /// Also write the pictures found side by side into this PNG.
        #[arg(long, value_name = "PNG")]
        strip: Option<PathBuf>,
    },
    /// Copy a run's model in another layout, and prove it in a fresh session.
    Export {
        /// The run folder.
        run: PathBuf,
        /// onnx: the merged model and its preprocessing; towers: one model per modality.
        #[arg(long, value_enum, default_value_t = LayoutArg::Onnx)]
        layout: LayoutArg,
        /// Store the weights in fewer bits, and measure on the run's held-out rows what that costs.
        #[arg(long, value_enum, value_name = "BITS")]
        weights: Option<WeightsArg>,
        /// The folder to write.
        #[arg(short = 'o', long = "output", value_name = "DIR")]
        output: PathBuf,
    },
}

/// How an export stores its weights; it computes in single precision all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WeightsArg {
    /// Floats of 16 bits: half the file.
    Fp16,
    /// Integers of 8 bits, a scale for each output channel: a quarter of the file.
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
pub enum LayoutArg {
    Onnx,
    Towers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ToolArg {
    Pip,
    Uv,
    Npm,
}

#[derive(Debug, Args)]
pub struct RecipeArgs {
    /// The recipe (TOML).
    pub recipe: PathBuf,
    /// Change a key of the recipe: encoders.image.model=squeezenet11 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A run folder, or an .onnx file with one float input [n, d] and one output [n, o].
    #[arg(value_name = "RUN|GRAPH.onnx")]
    pub subject: PathBuf,
    /// The points at which a file is checked: float rows [n, d].
    #[arg(long, value_name = "POINTS.npy")]
    pub at: Option<PathBuf>,
    /// The way back of a file, z to x: round trips are checked both ways.
    #[arg(long, value_name = "INVERSE.onnx", requires = "at")]
    pub inverse: Option<PathBuf>,
    /// The rows [m, o] that a file's images should reach.
    #[arg(long, value_name = "TARGETS.npy", requires = "at")]
    pub onto: Option<PathBuf>,
    /// Change a setting: checks.rank_tolerance=1e-6, checks.condition_number.fail=100 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Settings that a solver does not have are refused, not ignored.
#[derive(Debug, Args)]
pub struct TransportArgs {
    /// The source: float rows [n, d].
    #[arg(value_name = "X.npy", required_unless_present = "cost_matrix")]
    pub source: Option<PathBuf>,
    /// The target: float rows [m, d]; gw takes any width.
    #[arg(value_name = "Y.npy", required_unless_present = "cost_matrix")]
    pub target: Option<PathBuf>,
    /// emd is exact; gw and fgw (Gromov-Wasserstein, and fused with a linear cost) compare inner distances, the largest scaled to one.
    #[arg(long, value_enum, default_value_t = Solver::Sinkhorn)]
    pub solver: Solver,
    /// Weight of the entropy in units of the cost: <P, C> + E KL(P | a b^T), POT's `reg`. gw and fgw without it solve exactly
    /// linearised problems.
    #[arg(long, value_name = "E", conflicts_with = "eps_scale", allow_negative_numbers = true)]
    pub eps: Option<f64>,
    /// The same as a share of the mean cost [default: 0.05].
    #[arg(long, value_name = "S")]
    pub eps_scale: Option<f64>,
    /// What moving from a point to another costs (for gw: the inner distances) [default: sqeuclidean].
    #[arg(long, value_enum, conflicts_with = "cost_matrix")]
    pub cost: Option<CostKind>,
    /// The cost as a matrix [n, m] (for fgw: the linear part).
    #[arg(long, value_name = "C.npy")]
    pub cost_matrix: Option<PathBuf>,
    /// The source's weights, one a point; equal, with sum one, when not given.
    #[arg(long, value_name = "W.npy")]
    pub a: Option<PathBuf>,
    /// The target's weights, one a point.
    #[arg(long, value_name = "W.npy")]
    pub b: Option<PathBuf>,
    /// Stop at this L1 error of the marginals relative to the mass (gw, fgw: mass moved by a step; lowrank, gw
    /// with --rank: fall of the cost).
    #[arg(long, value_name = "T")]
    pub tolerance: Option<f64>,
    /// The most iterations (emd: pivots).
    #[arg(long, value_name = "N")]
    pub iterations: Option<usize>,
    /// The longest time.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600.0)]
    pub time_limit: f64,
    /// unbalanced: weight of the penalties R KL(P 1 | a) + R KL(P^T 1 | b), POT's `reg_m`.
    #[arg(long, value_name = "R")]
    pub rho: Option<f64>,
    /// partial: the mass to move.
    #[arg(long, value_name = "M")]
    pub mass: Option<f64>,
    /// fgw: (1 - A) <P, C> + A GW(P), as in POT [default: 0.5].
    #[arg(long, value_name = "A")]
    pub alpha: Option<f64>,
    /// Latent points through which all mass goes: memory linear in the points. lowrank [default: 50]; gw, which without it
    /// holds matrices of all pairs of points.
    #[arg(long, value_name = "R")]
    pub rank: Option<usize>,
    /// gw, fgw: starting plans, the best is kept; always the same ones [default: 1].
    #[arg(long, value_name = "N")]
    pub starts: Option<usize>,
    /// sinkhorn: also the debiased Sinkhorn divergence of both clouds.
    #[arg(long)]
    pub debias: bool,
    /// Write the plan [n, m]; with --rank or lowrank also its two factors, into an .npz.
    #[arg(short = 'o', long = "output", value_name = "PLAN.npy")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Solver {
    Emd,
    Sinkhorn,
    Unbalanced,
    Partial,
    Gw,
    Fgw,
    Lowrank,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CostKind {
    Sqeuclidean,
    Euclidean,
    Cosine,
}

#[derive(Debug, Args)]
pub struct MeasureArgs {
    /// Float rows [n, a].
    #[arg(value_name = "A.npy")]
    pub first: PathBuf,
    /// Float rows [m, b]; row i belongs to row i of A where a measure needs pairs.
    #[arg(value_name = "B.npy")]
    pub second: PathBuf,
    /// Measure these only: cka_linear,mutual_knn [default: all that apply].
    #[arg(long, value_name = "KEY,...", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Permutations to compare with: adds p_value and z.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub null: usize,
    /// A whole number for each row: adds silhouette and nmi.
    #[arg(long, value_name = "LABELS.npy")]
    pub labels: Option<PathBuf>,
    /// Of samples, directions and permutations.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Neighbours.
    #[arg(short, long, default_value_t = 10)]
    pub k: usize,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The run folder.
    pub run: PathBuf,
    /// Rows of raw inputs: a JSONL file with a column per modality.
    #[arg(long, value_name = "ROWS.jsonl")]
    pub input: Option<PathBuf>,
    /// Write the embeddings into this .npz instead of printing them.
    #[arg(short = 'o', long = "output", value_name = "OUT.npz")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum EngineCommand {
    /// Bring the pinned official build of ONNX Runtime through your own pip, uv or npm, checked by sha256.
    Install {
        /// The build with CUDA.
        #[arg(long)]
        cuda: bool,
        /// Which tool fetches it [default: the first there is].
        #[arg(long, value_enum)]
        tool: Option<ToolArg>,
    },
}

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List the plugins found, also those shadowed or refused.
    List,
    /// Read one plugin file's manifest without running its code.
    Inspect {
        /// The file.
        path: PathBuf,
    },
    /// Explain how an id was looked up: every place, and why each file was taken or not.
    Why {
        /// The id, e.g. cca.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Make a card for a local .onnx, its ports read from the graph.
    Add {
        /// The ONNX file: a path, or `hf:ORG/NAME@REVISION/PATH.onnx` (with the feature `hub`).
        path: PathBuf,
        /// The name recipes will use [default: the file's name].
        #[arg(long)]
        name: Option<String>,
        /// The adapter [default: the one that recognises the ports].
        #[arg(long)]
        adapter: Option<String>,
        /// The models folder to write the card into [default: the user's own].
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// The model's licence, for the card.
        #[arg(long, default_value = "")]
        licence: String,
        /// Set a key of the card: preprocessing.mean=[0.5,0.5,0.5] (repeatable).
        #[arg(long = "set", value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// List the cards found.
    List,
    /// Show a card and its model's ports.
    Inspect {
        /// The card's name.
        name: String,
    },
}
