//! The host's side: calls of a plugin that runs in another process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use chiasm_abi::stable::{RErr, ROk, RResult, RSlice, RStr, RString, TD_Opaque};
use chiasm_abi::{
    AdapterBox, AdapterObject_TO, Code, DataType, FitJob, NamedBytes, NamedTensor, Outcome, PluginError,
    Reply, ServicesRef, TensorView, TrainJob,
};

use super::adapter::RemoteAdapter;
use super::channel::{Body, Channel};
use super::message::{Answer, ServiceCall, ToHost, ToWorker, failure};
use super::process::{PluginProcess, lock};
use crate::calls::{CallContext, ComponentKind, PluginCalls, Question};
use crate::{HostError, IsolationLimits, PluginTag, WorkerCommand};

/// A plugin in a process of its own. A process that crashed is replaced at the next call.
pub(crate) struct IsolatedPlugin {
    shared: Arc<PluginSource>,
}

/// What is needed to start a process for a plugin, and the current process.
pub(super) struct PluginSource {
    tag: Arc<PluginTag>,
    library: OwnedFd,
    command: WorkerCommand,
    limits: IsolationLimits,
    current: Mutex<Option<Arc<PluginProcess>>>,
}

impl IsolatedPlugin {
    /// Starts the process and loads the library in it; `library` is its sealed copy.
    pub(crate) fn start(
        tag: &Arc<PluginTag>,
        library: OwnedFd,
        command: WorkerCommand,
        limits: IsolationLimits,
    ) -> Result<Self, HostError> {
        let source =
            PluginSource { tag: Arc::clone(tag), library, command, limits, current: Mutex::default() };
        source.process().map_err(|e| e.of(tag))?;
        Ok(Self { shared: Arc::new(source) })
    }

    fn call<T>(
        &self,
        request: &ToWorker,
        tensors: &[NamedTensor<'_>],
        context: Option<CallContext<'_, '_>>,
        read: impl FnOnce(Answer, &[NamedTensor<'_>]) -> Reply<T>,
    ) -> Reply<T> {
        match self.shared.process() {
            Ok(process) => self.shared.call(&process, request, tensors, context, read),
            Err(e) => RErr(failure(e.code, e.message)),
        }
    }
}

impl PluginSource {
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

    /// Starts a process beside the current one.
    pub(super) fn new_process(&self) -> Result<PluginProcess, HostError> {
        PluginProcess::start(&self.command, &self.tag, self.library.as_fd(), &self.limits)
    }

    /// Makes one call. `read` takes what it needs from the answer; the tensors are gone afterwards.
    pub(super) fn call<T>(
        &self,
        process: &PluginProcess,
        request: &ToWorker,
        tensors: &[NamedTensor<'_>],
        context: Option<CallContext<'_, '_>>,
        read: impl FnOnce(Answer, &[NamedTensor<'_>]) -> Reply<T>,
    ) -> Reply<T> {
        let mut last_sign = Instant::now();
        let mut stop_since: Option<Instant> = None;
        let mut exchange = || -> io::Result<(Channel, Result<(Answer, Body), PluginError>)> {
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
                    let silent = last_sign.elapsed() >= self.limits.silence;
                    if silent { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
                })?;
                match received.head {
                    ToHost::Answer(answer) => return Ok((channel, Ok((answer, received.body)))),
                    ToHost::Failure(failure) => return Ok((channel, Err(failure.into()))),
                    ToHost::Service(call) => {
                        serve(&mut channel, call, &received.body, context.map(|c| c.services), kept)?;
                    }
                }
                last_sign = Instant::now();
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

    /// Ends a process that failed, and returns the error of the call.
    fn crashed(&self, process: &PluginProcess, error: &io::Error) -> PluginError {
        let what = process.end(error);
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

/// Answers a request to a service.
fn serve(
    channel: &mut Channel,
    call: ServiceCall,
    received: &Body,
    services: Option<&ServicesRef<'_>>,
    kept: usize,
) -> io::Result<()> {
    let Some(services) = services else {
        return Err(io::Error::other("it used a service of the host outside a fit or an opening"));
    };
    let mut reply = |outcome: Result<Answer, PluginError>, tensors: &[NamedTensor<'_>]| {
        let message = match outcome {
            Ok(answer) => ToWorker::Served(answer),
            Err(error) => ToWorker::NotServed(error.into()),
        };
        channel.send(&message, tensors, kept).map(|_| ())
    };
    let flag = |outcome: RResult<bool, PluginError>| {
        outcome.into_result().map(|go_on| Answer::number(u64::from(go_on)))
    };
    match call {
        ServiceCall::Log { level, message } => {
            services.log(level, message.as_str().into());
            Ok(())
        }
        ServiceCall::Progress { done, total } => reply(flag(services.progress(done, total)), &[]),
        ServiceCall::Seed => reply(Ok(Answer::number(services.seed())), &[]),
        ServiceCall::Threads => reply(Ok(Answer::number(services.threads())), &[]),
        ServiceCall::Run => {
            let tensors = received.tensors()?;
            let (graph, inputs) =
                tensors.split_first().ok_or_else(|| io::Error::other("it sent no graph"))?;
            let graph = copied(graph)?;
            match services.run(RSlice::from_slice(&graph), RSlice::from_slice(inputs)) {
                ROk(outputs) => {
                    let named: Vec<NamedTensor<'_>> = outputs
                        .iter()
                        .map(|one| NamedTensor { name: one.name.as_rstr(), tensor: one.tensor.view() })
                        .collect();
                    reply(Ok(Answer::default()), &named)
                }
                RErr(error) => reply(Err(error), &[]),
            }
        }
        ServiceCall::Train { specification, graphs, training } => {
            let tensors = received.tensors()?;
            let parts = tensors.split_at_checked(graphs).and_then(|(graphs, rows)| {
                rows.split_at_checked(training).map(|(training, validation)| (graphs, training, validation))
            });
            let (graphs, training, validation) =
                parts.ok_or_else(|| io::Error::other("it sent fewer tensors than it announced"))?;
            let bytes: Vec<Vec<u8>> = graphs.iter().map(copied).collect::<io::Result<_>>()?;
            let shapes: Vec<[i64; 1]> = bytes.iter().map(|bytes| [bytes.len() as i64]).collect();
            let graphs: Vec<NamedTensor<'_>> = graphs
                .iter()
                .zip(bytes.iter().zip(&shapes))
                .map(|(graph, (bytes, shape))| NamedTensor {
                    name: graph.name,
                    tensor: TensorView::of_bytes(bytes, DataType::of(1, 8), shape),
                })
                .collect();
            let job = TrainJob {
                graphs: RSlice::from_slice(&graphs),
                training: RSlice::from_slice(training),
                validation: RSlice::from_slice(validation),
                specification: specification.as_str().into(),
            };
            match services.train(job) {
                ROk(outcome) => {
                    let named: Vec<NamedTensor<'_>> = outcome
                        .weights
                        .iter()
                        .map(|one| NamedTensor { name: one.name.as_rstr(), tensor: one.tensor.view() })
                        .collect();
                    reply(Ok(Answer::text(outcome.report)), &named)
                }
                RErr(error) => reply(Err(error), &[]),
            }
        }
    }
}

/// Copies the bytes of a tensor to this process's own memory.
pub(super) fn copied(tensor: &NamedTensor<'_>) -> io::Result<Vec<u8>> {
    tensor.tensor.bytes().map(|(bytes, _)| bytes.to_vec()).map_err(io::Error::other)
}

/// Returns named bytes as a tensor; `shape` holds their number.
pub(super) fn bytes_tensor<'a>(name: &'a str, bytes: &'a [u8], shape: &'a mut [i64; 1]) -> NamedTensor<'a> {
    // No slice has more than `i64::MAX` bytes.
    *shape = [i64::try_from(bytes.len()).unwrap_or(i64::MAX)];
    NamedTensor { name: name.into(), tensor: TensorView::of_bytes(bytes, DataType::of(1, 8), shape) }
}

impl PluginCalls for IsolatedPlugin {
    fn offers(&self, kind: ComponentKind) -> bool {
        self.shared.process().is_ok_and(|process| process.components.contains(&kind))
    }

    fn ask(&self, question: Question, id: RStr<'_>, argument: RStr<'_>) -> Reply<RString> {
        let request = ToWorker::Ask { question, id: id.to_string(), argument: argument.to_string() };
        self.call(&request, &[], None, |answer, _| ROk(answer.text.into()))
    }

    fn draft(&self, id: RStr<'_>, signature: RStr<'_>, directory: &[u8]) -> Reply<RString> {
        let request = ToWorker::Draft { id: id.to_string(), signature: signature.to_string() };
        let mut shape = [0];
        let directory = bytes_tensor("directory", directory, &mut shape);
        self.call(&request, &[directory], None, |answer, _| ROk(answer.text.into()))
    }

    fn open(&self, id: RStr<'_>, spec: RStr<'_>, context: CallContext<'_, '_>) -> Reply<AdapterBox> {
        let adapter = RemoteAdapter::open(&self.shared, id.as_str(), spec.as_str(), context);
        adapter.map_or_else(RErr, |adapter| ROk(AdapterObject_TO::from_value(adapter, TD_Opaque)))
    }

    fn fit(&self, kind: ComponentKind, job: FitJob<'_>, context: CallContext<'_, '_>) -> Reply<Outcome> {
        let request = ToWorker::Fit {
            kind,
            id: job.id.to_string(),
            parameters: job.parameters.to_string(),
            context: job.context.to_string(),
        };
        self.call(&request, job.data.as_slice(), Some(context), |answer, tensors| {
            let graph = |tensor: &NamedTensor<'_>| {
                let bytes = copied(tensor).map_err(|e| failure(Code::OTHER, e.to_string()))?;
                Ok(NamedBytes { name: tensor.name.into(), bytes: bytes.into() })
            };
            let graphs: Result<Vec<NamedBytes>, PluginError> = tensors.iter().map(graph).collect();
            graphs.map(|graphs| Outcome { graphs: graphs.into(), report: answer.text.into() }).into()
        })
    }

    fn quiesce(&self) {
        if let Ok(process) = self.shared.process() {
            let _ = self.shared.call(&process, &ToWorker::Quiesce, &[], None, |_, _| ROk(()));
        }
    }
}
