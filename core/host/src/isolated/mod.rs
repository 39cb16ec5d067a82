//! Plugins in processes of their own. A crash, a hang or an endless allocation ends that process, and is an
//! error of one call in the host.
//!
//! The process runs the same program as the host ([`WorkerCommand`]), which calls [`run_worker`]. It receives
//! the sealed copy of the library, loads it as the host would, and serves calls. A call occupies one
//! connection ([`channel`]); calls from several threads use several. The services that a plugin uses during
//! a call are requests on the same connection in the other direction. Tensors are in memory that both
//! processes map ([`memory`]).

mod adapter;
mod channel;
mod client;
mod memory;
mod message;
mod process;
mod remote_services;
mod serve;
mod source;
mod tensors;
mod worker;

pub(crate) use client::IsolatedPlugin;
pub(crate) use source::PluginSource;
pub use worker::run_worker;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The command that starts a process for a plugin. The program must call [`run_worker`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its name in lists of processes.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Environment variables to set.
    pub variables: Vec<(OsString, OsString)>,
}

impl WorkerCommand {
    /// Returns the command that starts the running program with one argument.
    pub fn same_program(argument: &str) -> Self {
        Self {
            // Not the path of the program: it may have been replaced since this process started.
            program: PathBuf::from("/proc/self/exe"),
            name: "chiasm-plugin".to_owned(),
            arguments: vec![argument.into()],
            variables: Vec::new(),
        }
    }
}

/// The limits of the process of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsolationLimits {
    /// The longest time without a message from the plugin during a call, such as its progress. The time that
    /// the host's services take is not counted.
    pub silence: Duration,
    /// The time that it has to end a call after the user asked to stop.
    pub stop: Duration,
    /// The largest size of its memory, in bytes; `None` for no limit.
    pub memory: Option<u64>,
}

impl Default for IsolationLimits {
    /// Ten minutes, five seconds to stop, and as much memory as the machine has.
    fn default() -> Self {
        Self { silence: Duration::from_secs(600), stop: Duration::from_secs(5), memory: total_memory() }
    }
}

/// Returns the memory of the machine in bytes, if the system tells.
fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
