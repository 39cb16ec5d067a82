//! The arguments of `chiasm serve`.

use chiasm_serve::ServedRun;
use clap::Args;
use std::{net::IpAddr, path::PathBuf};

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Run folders. A model is called as its folder, or NAME=FOLDER.
    #[arg(required = true, value_name = "[NAME=]RUN", value_parser = run)]
    pub runs: Vec<ServedRun>,
    /// Address to listen on: 0.0.0.0 for all networks of the machine.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Search the vectors of this file instead of the test items of the run: .npy, or .parquet as `chiasm
    /// run -o` writes it (repeatable, for several runs).
    #[arg(long = "index", value_name = "[NAME=]FILE")]
    pub indexes: Vec<String>,
    /// Copies of each run that work side by side [default: one per thread, at most 4].
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub workers: usize,
    /// Most items that are run together. More than 64 only if they take at most 50 ms.
    #[arg(long, default_value_t = 1024, value_name = "ITEMS")]
    pub max_batch: usize,
    /// Milliseconds to wait for a batch to fill; at 0 a worker takes what is there.
    #[arg(long, default_value_t = 0.0, value_name = "MS")]
    pub max_delay_ms: f64,
    /// Most items that wait; further requests are refused with 429.
    #[arg(long, default_value_t = 2048, value_name = "ITEMS")]
    pub max_queue: usize,
    /// Largest body of a request, in MiB.
    #[arg(long, default_value_t = 32.0, value_name = "MIB")]
    pub max_body: f64,
    /// Memory for the bodies of all requests together, in MiB.
    #[arg(long, default_value_t = 256.0, value_name = "MIB")]
    pub max_bodies: f64,
    /// Seconds that a body may take to arrive, and that an answer may take after that.
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    pub timeout: f64,
    /// Seconds that accepted requests may take after SIGTERM or Ctrl-C.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub drain: f64,
    /// File with the key that requests must have: `Authorization: Bearer KEY`.
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Serve HTTPS with the certificate in this file (PEM; further ones up to a trusted authority follow it).
    /// SIGHUP reads it again.
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// File with the private key of that certificate (PEM, without a password).
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

fn run(text: &str) -> Result<ServedRun, String> {
    ServedRun::parse(text).map_err(|error| error.to_string())
}
