//! What every stage uses: errors, digests, the cache, .npy files, progress, and the environment.

pub mod cache;
pub mod digest;
pub mod environment;
pub mod error;
pub mod error_report;
pub mod measure;
pub mod memory;
pub mod npy;
pub mod paths;
pub mod plugins;
pub mod problem;
pub mod relative_path;
pub mod reporter;
pub mod training;
pub mod visible;
pub mod whole_file;
pub mod wrapped;
