//! ONNX Runtime: engine discovery and install, sessions, devices, batching. The only room that names `ort`.
//!
//! The engine is a shared library that is found at run time and never linked or downloaded behind the user's
//! back: [`Search`] finds it, [`install`] brings it, [`Engine`] starts it once per process. An [`Engine`]
//! loads models as [`Session`]s, which check their inputs before the engine sees them, and [`embed()`] runs
//! many items through one.
//!
//! ```no_run
//! # fn main() -> Result<(), chiasm_runtime::Error> {
//! use chiasm_runtime::{Device, Engine, Search, SessionOptions};
//! let engine = Engine::open(&Search::from_environment(None))?;
//! let model = std::path::Path::new("encoder.onnx");
//! let session = engine.session(model, &SessionOptions { device: Device::Auto, ..Default::default() })?;
//! println!("runs on {}: {}", session.device_used(), session.device_reason());
//! # Ok(()) }
//! ```

mod attempt;
mod batch;
mod cuda;
mod discover;
mod embed;
mod engine;
mod error;
mod install;
mod library;
mod pointwise;
mod product;
mod session;
mod stepper;
mod value;

pub use attempt::{Attempt, Outcome};
pub use batch::{ItemInput, Limits};
pub use cuda::{CUDA_FOLDER_VARIABLE, CudaLibraries};
pub use discover::{Found, Search, cache_folder};
pub use embed::{EmbedOptions, Embedded, OnBad, Report, Sink, embed, embed_all};
pub use engine::{Device, Engine, Model, SessionOptions};
pub use error::{Error, MEND, MEND_CUDA, Result};
pub use install::{InstallOptions, Installed, Tool, install};
pub use session::Session;
pub use stepper::{State, Stepper};

/// The oldest ONNX Runtime that can serve: 1.20.
pub const MINIMUM_MINOR_VERSION: u32 = ort::MINOR_VERSION;

/// A number of threads as given, or every core for 0.
pub fn threads(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        n => n,
    }
}
