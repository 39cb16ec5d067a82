//! A benchmark whose factors are known: vectors of two to four modalities that observe common factors.
//!
//! For row i and modality m, with the settings of [`BenchmarkSettings`]:
//!
//! ```text
//! s ~ N(0, I)                               shared factors, `latents.npy`
//! v_mj = ρ_j s_j + sqrt(1 - ρ_j²) e_mj      what m sees of factor j; ρ_j is its coupling
//! p_m ~ N(0, I)                             private factors, `private.npy`
//! c_m = g_m([v_m, p_m])                     a point on the manifold of m, see [`Geometry`]
//! x_m = standardise(B_m sin(A_m c_m + b_m)) + σ ε
//! ```
//!
//! Two views of a factor have the correlation ρ_j². The label of a row is the signs of its first three shared
//! factors.
//!
//! [`write_raw`] renders the same factors as pictures, captions, recordings and measurements instead.
//!
//! Row i does not depend on the number of rows. The arithmetic is that of 64-bit floats with the sines and
//! logarithms of the platform, so that files of different machines may differ by rounding.
//!
//! ```
//! use world::benchmark::{BenchmarkCeilings, BenchmarkSettings};
//! let settings = BenchmarkSettings { coupling: 0.8, coupling_spread: 0.0, ..Default::default() };
//! settings.check()?;
//! let r2 = BenchmarkCeilings::of(&settings).latent_r2;
//! assert!((r2.one_modality - 0.64).abs() < 1e-12 && r2.all_modalities > r2.one_modality);
//! # Ok::<(), world::Error>(())
//! ```

mod factors;
mod manifold;
mod network;
mod oracle;
mod raw;
mod settings;
mod write;

pub(crate) use raw::sound;
pub(crate) use write::write_text;

pub use factors::BenchmarkSplit;
pub use manifold::Geometry;
pub use oracle::{BenchmarkCeilings, OneOrAll, OracleRetrieval};
pub use raw::{RawReport, write_raw};
pub use settings::{BenchmarkSettings, MODALITIES};
pub use write::{BenchmarkReport, ModalityReport, write_benchmark};
