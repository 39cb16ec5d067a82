//! The processes of a plugin, and calls to them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use chiasm_abi::stable::RErr;
use chiasm_abi::{Code, NamedTensor, PluginError, Reply};

use super::channel::{Channel, WaitClock};
use super::message::{Answer, ToHost, ToWorker, failure};
use super::process::{PluginProcess, ProcessEnd, lock};
use super::serve::serve;
use super::tensors::{Body, Tensors};
use crate::calls::CallContext;
use crate::crashes::CrashRecords;
use crate::{HostError, HostOptions, IsolationLimits, PluginTag, WorkerCommand};

/// What is needed to start a process for a plugin, and the current process.
pub(crate) struct PluginSource {
    pub(super) tag: Arc<PluginTag>,
    /// The sealed copy of the library, and its digest in hexadecimal.
    library: (OwnedFd, String),
    command: WorkerCommand,
    limits: IsolationLimits,
    crashes: Option<CrashRecords>,
    current: Mutex<Option<Arc<PluginProcess>>>,
}

/// The answer of a call with its tensors, or the plugin's error.
type CallResult = Result<(Answer, Body), PluginError>;

impl PluginSource {
    /// Returns the source of a plugin's processes. `library` is the sealed copy of the library and its
    /// digest.
    pub(crate) fn new(
        tag: &Arc<PluginTag>,
        library: (OwnedFd, String),
        command: &WorkerCommand,
        options: &HostOptions,
    ) -> Self {
        let (tag, command) = (Arc::clone(tag), command.clone());
        let crashes = options.crashes.clone();
        Self { tag, library, command, limits: options.limits, crashes, current: Mutex::default() }
    }

    /// Returns the current process. Starts one if there is none, or if the last one ended.
    pub(super) fn process(&self) -> Result<Arc<PluginProcess>, HostError> {
        let mut current = lock(&self.current);
        if let Some(process) = current.as_ref().filter(|process| !process.is_stopped()) {
            return Ok(Arc::clone(process));
        }
        let process = Arc::new(self.new_process()?);
        *current = Some(Arc::clone(&process));
        Ok(process)
    }

    /// Returns the current process, if it runs.
    pub(super) fn running(&self) -> Option<Arc<PluginProcess>> {
        lock(&self.current).clone().filter(|process| !process.is_stopped())
    }

    /// Starts a process beside the current one.
    pub(super) fn new_process(&self) -> Result<PluginProcess, HostError> {
        PluginProcess::start(&self.command, &self.tag, self.library.0.as_fd(), &self.limits).inspect_err(
            |e| {
                if e.code == Code::CRASHED {
                    self.record(&e.message)
                }
            },
        )
    }

    /// Remembers a crash.
    fn record(&self, what: &str) {
        if let Some(crashes) = &self.crashes {
            crashes.add(&self.tag, &self.library.1, what);
        }
    }

    /// Makes one call. `read` takes what it needs from the answer; the tensors are gone afterwards.
    pub(super) fn call<'t, T>(
        &self,
        process: &PluginProcess,
        request: &ToWorker,
        tensors: impl Into<Tensors<'t>>,
        context: Option<CallContext<'_, '_>>,
        read: impl FnOnce(Answer, &[NamedTensor<'_>]) -> Reply<T>,
    ) -> Reply<T> {
        let mut silent = WaitClock::start();
        let mut stop_since: Option<Instant> = None;
        let exchange = || -> io::Result<(Channel, CallResult)> {
            let mut channel = process.channel()?;
            let kept = channel.send(request, tensors, 0)?;
            loop {
                let received = channel.receive::<ToHost>(|| {
                    if context.is_some_and(|context| (context.stop_requested)()) {
                        let since = *stop_since.get_or_insert_with(Instant::now);
                        if since.elapsed() >= self.limits.stop {
                            return Err(io::ErrorKind::Interrupted.into());
                        }
                    }
                    if silent.waited() >= self.limits.silence {
                        Err(io::ErrorKind::TimedOut.into())
                    } else {
                        Ok(())
                    }
                })?;
                match received.head {
                    ToHost::Answer(answer) => return Ok((channel, Ok((answer, received.body)))),
                    ToHost::Failure(failure) => return Ok((channel, Err(failure.into()))),
                    ToHost::Service(call) => {
                        serve(&mut channel, call, &received.body, context.map(|c| c.services), kept)?;
                    }
                }
                silent = WaitClock::start();
            }
        };
        match exchange() {
            Ok((channel, Ok((answer, body)))) => {
                let value = match body.tensors() {
                    Ok(tensors) => read(answer, &tensors),
                    Err(e) => RErr(failure(Code::OTHER, e.to_string())),
                };
                process.give_back(channel);
                value
            }
            Ok((channel, Err(error))) => {
                process.give_back(channel);
                RErr(error)
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => RErr(failure(Code::INVALID, e.to_string())),
            Err(e) if stop_since.is_some() => {
                process.end(&e);
                RErr(failure(Code::CANCELLED, "stopped as asked; its process did not stop by itself"))
            }
            Err(e) => RErr(self.crashed(process, &e)),
        }
    }

    /// Ends a process that failed, and returns the error of the call. A process that was ended from outside
    /// says nothing about its plugin, and is no crash of it.
    fn crashed(&self, process: &PluginProcess, error: &io::Error) -> PluginError {
        let ProcessEnd { what, by_others } = process.end(error);
        if by_others {
            let help = "another program ended it, or the system for lack of memory; try again";
            return failure(Code::CRASHED, format!("its process {what}: {help}"));
        }
        self.record(&format!("its process {what}"));
        let remedy = match error.kind() {
            io::ErrorKind::TimedOut => format!(
                " (after {} s; --plugin-timeout SECONDS allows more)",
                self.limits.silence.as_secs_f64()
            ),
            _ => ": a fault of the plugin; report it to its author, or use another version".to_owned(),
        };
        failure(Code::CRASHED, format!("its process {what}{remedy}"))
    }
}
