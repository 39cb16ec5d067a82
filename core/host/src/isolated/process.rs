//! The process of a plugin: start, channels, end.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::channel::Channel;
use super::message::{NewChannel, Start, Started};
use crate::calls::ComponentKind;
use crate::{HostError, IsolationLimits, Phase, PluginTag, WorkerCommand};
use chiasm_abi::Code;

/// How much is kept of the end of what a plugin prints, in bytes.
const KEPT_OUTPUT: usize = 4096;
/// The longest time for starting a process and loading its library.
const START_TIME: Duration = Duration::from_secs(60);
/// The longest time for a process to end by itself after its connection broke.
const END_TIME: Duration = Duration::from_secs(2);

/// The longest time for what a process printed to arrive after it ended.
const OUTPUT_TIME: Duration = Duration::from_millis(200);

/// A process that runs one plugin.
pub(super) struct PluginProcess {
    child: Mutex<Child>,
    control: Mutex<Channel>,
    idle: Mutex<Vec<Channel>>,
    /// The end of what the plugin prints. It is shown only if the process crashes.
    output: Arc<Mutex<Vec<u8>>>,
    reader: Mutex<Option<JoinHandle<()>>>,
    stopped: AtomicBool,
    /// How long it may take to read a message.
    patience: Duration,
    pub(super) components: Vec<ComponentKind>,
}

impl PluginProcess {
    /// Starts a process and loads the library in it.
    pub(super) fn start(
        command: &WorkerCommand,
        tag: &PluginTag,
        library: BorrowedFd<'_>,
        limits: &IsolationLimits,
    ) -> Result<Self, HostError> {
        let (child, control, output) = spawn(command, limits.silence).map_err(|e| {
            let message = format!("cannot start a process for it with {}: {e}", command.program.display());
            HostError::new(Code::OTHER, Phase::Load, message)
        })?;
        let kept = Arc::new(Mutex::new(Vec::new()));
        let reader = std::thread::Builder::new().name("plugin-output".into()).spawn({
            let kept = Arc::clone(&kept);
            move || keep_end(output, &kept)
        });
        let mut process = Self {
            child: Mutex::new(child),
            control: Mutex::new(control),
            idle: Mutex::default(),
            output: kept,
            reader: Mutex::new(reader.ok()),
            stopped: AtomicBool::new(false),
            patience: limits.silence,
            components: Vec::new(),
        };
        let start = Start {
            id: tag.id.clone(),
            version: tag.version.clone(),
            path: tag.path.clone(),
            memory: limits.memory,
        };
        let deadline = Instant::now() + START_TIME.min(limits.silence);
        let wait = || match Instant::now() < deadline {
            true => Ok(()),
            false => Err(io::ErrorKind::TimedOut.into()),
        };
        let mut control = lock(&process.control);
        let reply = control.send_descriptor(&start, library).and_then(|()| control.receive::<Started>(wait));
        drop(control);
        match reply.map(|reply| reply.head) {
            Ok(Started::Loaded(components)) => process.components = components,
            Ok(Started::Refused { code, message, detail }) => {
                let error = HostError::new(Code(code), Phase::Load, message);
                return Err(error.with_detail(detail.unwrap_or_default()));
            }
            Err(e) => {
                let ProcessEnd { what, by_others } = process.end(&e);
                let code = if by_others { Code::OTHER } else { Code::CRASHED };
                return Err(HostError::new(code, Phase::Load, format!("its process {what}")));
            }
        }
        Ok(process)
    }

    /// Returns a channel for one call.
    pub(super) fn channel(&self) -> io::Result<Channel> {
        if let Some(channel) = lock(&self.idle).pop() {
            return Ok(channel);
        }
        let (ours, theirs) = UnixStream::pair()?;
        lock(&self.control).send_descriptor(&NewChannel, theirs.as_fd())?;
        Channel::new(ours, self.patience)
    }

    /// Takes a channel back after a call.
    pub(super) fn give_back(&self, channel: Channel) {
        lock(&self.idle).push(channel);
    }

    /// Returns whether the process was stopped after a failure.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Ends the process after a failure of its connection, and returns what happened.
    pub(super) fn end(&self, error: &io::Error) -> ProcessEnd {
        self.stopped.store(true, Ordering::Release);
        let mut child = lock(&self.child);
        let closed = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
        );
        let status = if closed { wait(&mut child, END_TIME) } else { None };
        if let Some(status) = status {
            let printed = self.last_line();
            let printed = printed.map_or_else(String::new, |line| format!(", after it printed `{line}`"));
            let by_others = status.signal().is_some_and(|signal| OF_OTHERS.contains(&signal));
            return ProcessEnd { what: format!("{}{printed}", describe(status)), by_others };
        }
        kill(&mut child);
        let what = match error.kind() {
            io::ErrorKind::TimedOut => "gave no sign of life and was stopped".to_owned(),
            _ if closed => "closed its connection and was stopped".to_owned(),
            _ => format!("sent an invalid message and was stopped: {error}"),
        };
        ProcessEnd { what, by_others: false }
    }

    /// Stops the process.
    pub(super) fn kill(&self) {
        self.stopped.store(true, Ordering::Release);
        kill(&mut lock(&self.child));
    }

    /// Returns the last line that the plugin printed, after its process ended.
    fn last_line(&self) -> Option<String> {
        let reader = lock(&self.reader).take();
        let started = Instant::now();
        // A program that the plugin started may hold the pipe open for ever.
        while reader.as_ref().is_some_and(|reader| !reader.is_finished()) && started.elapsed() < OUTPUT_TIME {
            std::thread::sleep(Duration::from_millis(1));
        }
        let text = String::from_utf8_lossy(&lock(&self.output)).into_owned();
        // Rust ends a message with notes about backtraces.
        let line =
            text.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.starts_with("note:"))?;
        Some(line.chars().filter(|c| !c.is_control()).take(200).collect())
    }
}

impl Drop for PluginProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts the process, and returns its connection and what it prints.
fn spawn(command: &WorkerCommand, patience: Duration) -> io::Result<(Child, Channel, io::PipeReader)> {
    let (ours, theirs) = UnixStream::pair()?;
    let (output, input) = io::pipe()?;
    let child = Command::new(&command.program)
        .arg0(&command.name)
        .args(&command.arguments)
        .envs(command.variables.iter().map(|(name, value)| (name, value)))
        .env("RUST_BACKTRACE", "0") // only the last line is shown
        .stdin(OwnedFd::from(theirs))
        .stdout(input.try_clone()?)
        .stderr(input)
        .process_group(0) // a Ctrl-C is for the host, which then stops this process
        .spawn()?;
    Ok((child, Channel::new(ours, patience)?, output))
}

/// Reads what a plugin prints until its process ends, and keeps the last bytes.
fn keep_end(mut output: io::PipeReader, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0; KEPT_OUTPUT];
    while let Ok(count @ 1..) = output.read(&mut buffer) {
        let mut kept = lock(kept);
        kept.extend_from_slice(&buffer[..count]);
        let excess = kept.len().saturating_sub(KEPT_OUTPUT);
        kept.drain(..excess);
    }
}

/// The signals by which a process is ended from outside: HUP, INT, KILL and TERM.
const OF_OTHERS: [i32; 4] = [1, 2, 9, 15];

/// How a process ended.
pub(super) struct ProcessEnd {
    /// The rest of a sentence that begins with "its process".
    pub(super) what: String,
    /// Whether another program, or the system for lack of memory, ended it.
    pub(super) by_others: bool,
}

/// Ends a process and those that it started.
fn kill(child: &mut Child) {
    // A process that was waited for has left its number to others.
    if let Ok(None) = child.try_wait() {
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn wait(child: &mut Child, at_most: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    while started.elapsed() < at_most {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(_) => return None,
        }
    }
    None
}

fn describe(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return match status.code() {
            Some(code) => format!("ended with exit code {code}"),
            None => format!("ended: {status}"),
        };
    };
    let name = match signal {
        4 => " (illegal instruction)",
        6 => " (abort)",
        7 => " (bus error)",
        8 => " (arithmetic error)",
        9 => " (kill)",
        11 => " (segmentation fault)",
        _ => "",
    };
    format!("was ended by signal {signal}{name}")
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
