//! What every stage uses: errors with places, digests, the cache, arrays in files, progress, and the
//! workbench.

pub mod cache;
pub mod digest;
pub mod error;
pub mod measure;
pub mod npy;
pub mod problem;
pub mod reporter;
pub mod training;
pub mod workbench;
