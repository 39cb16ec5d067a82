//! What is served, where, and within which limits.

use crate::tls::TlsFiles;
use chiasm_pipeline::Error;
use std::{net::IpAddr, net::Ipv4Addr, path::PathBuf, time::Duration};

/// A run folder and the name of its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedRun {
    /// The name in URLs and requests.
    pub name: String,
    /// The run folder.
    pub folder: PathBuf,
}

impl ServedRun {
    /// Parses `FOLDER` or `NAME=FOLDER`. Without a name, the model is called as the folder.
    ///
    /// # Errors
    /// If the name has other characters than letters, digits, `-`, `_` and `.`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (name, folder) = match text.split_once('=') {
            Some((name, folder)) => (name.to_owned(), PathBuf::from(folder)),
            None => {
                let folder = PathBuf::from(text);
                let whole = std::path::absolute(&folder).map_err(|e| Error::io("find", &folder, e))?;
                (whole.file_name().unwrap_or_default().to_string_lossy().into_owned(), folder)
            }
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(allowed) || name.ends_with(TENSORS) {
            let message = format!("{name:?} cannot be the name of a model");
            let help = "name it with letters, digits, -, _ and ., not ending in .onnx: NAME=FOLDER";
            return Err(Error::input("chiasm::serve::name", message, help));
        }
        Ok(Self { name, folder })
    }
}

/// The end of the name of the model that takes the tensors of `model.onnx`.
pub const TENSORS: &str = ".onnx";

/// What is served, where, and within which limits.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The runs.
    pub runs: Vec<ServedRun>,
    /// Files of vectors to search instead of the test items, by the name of the model.
    pub indexes: Vec<(String, PathBuf)>,
    /// The address to listen on.
    pub host: IpAddr,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The workers of a run, each with a copy of what it runs; 0 takes one per thread, at most 4.
    pub workers: usize,
    /// The most items that are run together. More than 64 only if they take at most 50 ms.
    pub max_batch: usize,
    /// How long a worker waits for a batch to fill. At 0 it takes what is there.
    pub max_delay: Duration,
    /// The most items of a run that wait or are run; a request with more of them is refused.
    pub max_queue: usize,
    /// The largest body of a request, in bytes.
    pub max_body: usize,
    /// The most bytes of bodies of all requests together.
    pub max_bodies: usize,
    /// How long a body may take to arrive, and how long an answer may take after that.
    pub timeout: Duration,
    /// How long accepted requests may take after a signal to stop.
    pub drain: Duration,
    /// The key that requests must have, as `Authorization: Bearer KEY`.
    pub api_key: Option<String>,
    /// The certificate and its key: the server then speaks HTTPS only.
    pub tls: Option<TlsFiles>,
    /// How often the manifests of the runs are looked at.
    pub watch: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            runs: Vec::new(),
            indexes: Vec::new(),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8080,
            workers: 0,
            max_batch: 1024,
            max_delay: Duration::ZERO,
            max_queue: 2048,
            max_body: 32 << 20,
            max_bodies: 256 << 20,
            timeout: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            api_key: None,
            tls: None,
            watch: Duration::from_secs(1),
        }
    }
}
