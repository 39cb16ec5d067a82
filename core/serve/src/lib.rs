//! Serves runs over HTTP: inference in KServe's Open Inference Protocol, embeddings in the form of OpenAI,
//! exact search, metrics, and a page for people.
//!
//! Every run has a queue and some workers. A request puts its items into the queue; a worker takes what is
//! waiting, up to [`ServeOptions::max_batch`] items of the same modalities, and runs them together. When
//! requests of one small item have come one after the other for a while, the thread that reads the next one
//! also runs it. The queue is bounded: a request that does not fit is answered with 429. A run folder that
//! changes is loaded beside the old one, which answers what it has accepted, so that no request fails.
//!
//! ```no_run
//! use chiasm_pipeline::{Environment, SilentReporter};
//! use chiasm_serve::{ServeOptions, ServedRun, serve};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), chiasm_pipeline::Error> {
//! let env = Environment::discover(Arc::new(SilentReporter));
//! let runs = vec![ServedRun::parse("runs/first")?];
//! serve(&ServeOptions { runs, ..ServeOptions::default() }, &env, &|address| eprintln!("http://{address}"))
//! # }
//! ```

mod api_error;
mod auth;
mod body;
mod index;
mod items;
mod job;
mod metrics;
mod model;
mod network;
mod options;
mod queue;
mod registry;
mod routes;
mod server;
mod state;
mod tls;
mod worker;

pub use options::{ServeOptions, ServedRun};
pub use server::serve;
pub use tls::TlsFiles;
