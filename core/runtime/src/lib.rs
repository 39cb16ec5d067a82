//! ONNX Runtime: engine discovery and install, sessions, devices, batching. The only crate that names `ort`.
//!
//! The engine is a shared library. It is found at run time; it is never linked, and never downloaded without
//! being asked for. [`EngineSearch`] finds it, [`install()`] installs it, [`Engine`] starts it once per
//! process and loads models as [`Session`]s, which check their inputs before the engine sees them, and
//! [`embed()`] runs many items through one.
//!
//! ```no_run
//! # fn main() -> Result<(), chiasm_runtime::Error> {
//! use chiasm_runtime::{Device, Engine, EngineSearch, SessionOptions};
//! let engine = Engine::open(&EngineSearch::from_environment(None))?;
//! let model = std::path::Path::new("encoder.onnx");
//! let session = engine.session(model, &SessionOptions { device: Device::Auto, ..Default::default() })?;
//! println!("runs on {}: {}", session.device_used(), session.device_reason());
//! # Ok(()) }
//! ```

mod batch;
mod cuda;
mod discover;
mod embed;
mod engine;
mod error;
mod guarded;
mod install;
mod library;
mod load;
mod log_sum_exp;
mod normal;
mod parts;
mod pointwise;
mod product;
mod python;
mod scaling;
mod searched_place;
mod session;
mod stepper;
mod subnormals;
mod value;
mod vectorised;

pub use batch::{BatchLimits, ItemInput};
pub use cuda::{CUDA_FOLDER_VARIABLE, CudaLibraries};
pub use discover::{ASKED_PYTHON, EngineSearch, FoundEngine, cache_folder};
pub use embed::{
    BadItemPolicy, BatchReceiver, EmbedOptions, EmbedReport, EmbedRequest, EmbeddedItems, embed, embed_all,
};
pub use engine::{Device, Engine, ModelSource, SessionOptions};
pub use error::{Error, INSTALL_COMMAND, INSTALL_CUDA_COMMAND, Result};
pub use install::{InstallOptions, InstalledEngine, PackageTool, install};
pub use normal::normal;
#[doc(hidden)]
pub use pointwise::run_program;
pub use searched_place::{PlaceStatus, SearchedPlace};
pub use session::Session;
pub use stepper::{StateVariable, Stepper};

/// The oldest minor version of ONNX Runtime 1 that is supported: 1.20.
pub const MINIMUM_MINOR_VERSION: u32 = ort::MINOR_VERSION;

/// Returns the number of threads asked for; 0 gives the number of cores.
pub fn threads(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        n => n,
    }
}
