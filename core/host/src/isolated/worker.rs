//! The process of a plugin: it loads the library and serves calls until the host is gone.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chiasm_abi::stable::{RErr, ROk, ROption, RSlice};
use chiasm_abi::{
    AdapterBox, Code, FitJob, Item, ItemKind, NamedTensor, PluginError, Reply, borrow_services,
};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::channel::{Channel, Received};
use super::message::{Answer, NewChannel, Start, Started, ToHost, ToWorker, failure};
use super::process::lock;
use super::remote_services::RemoteServices;
use super::tensors::{bytes_tensor, copied};
use crate::PluginTag;
use crate::calls::{CallContext, ComponentKind, PluginCalls};
use crate::library::SealedLibrary;

/// The stack of a thread that serves calls, in bytes. In the host a plugin may run on the main thread, whose
/// stack has 8 MiB.
const STACK: usize = 16 << 20;

/// Serves the host that started this process, over the socket at its standard input. It returns when the host
/// closes the socket or ends.
pub fn run_worker() -> ExitCode {
    match serve_host() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve_host() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // The plugin must not read the messages of the host.
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    // The host may be suspended for as long as the user likes.
    let mut control = Channel::new(socket, Duration::MAX)?;
    let mut first = control.receive::<Start>(|| Ok(()))?;
    let copy = first.descriptor.take().ok_or_else(|| io::Error::other("no library was sent"))?;
    let Start { id, version, path, memory } = first.head;
    // No core file is written for a crash.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    if memory.is_some() {
        let _ = setrlimit(Resource::As, Rlimit { current: memory, maximum: memory });
    }
    let tag = Arc::new(PluginTag { id, version, path });
    let plugin = match SealedLibrary::received(copy).and_then(|library| library.load(&tag)) {
        Ok(plugin) => plugin,
        Err(e) => {
            let refused = Started::Refused { code: e.code.0, message: e.message, detail: e.detail };
            control.send(&refused, &[], 0)?;
            return Ok(());
        }
    };
    let kinds = [ComponentKind::Adapter, ComponentKind::Aligner, ComponentKind::Fusion];
    let offered = kinds.into_iter().filter(|kind| plugin.offers(*kind)).collect();
    control.send(&Started::Loaded(offered), &[], 0)?;
    let objects = Arc::new(OpenAdapters::default());
    loop {
        let mut message = match control.receive::<NewChannel>(|| Ok(())) {
            Ok(message) => message,
            // Threads of the plugin may still run: `exit` ends them.
            Err(_) => std::process::exit(0),
        };
        let Some(socket) = message.descriptor.take() else { continue };
        let channel = Channel::new(UnixStream::from(socket), Duration::MAX)?;
        let (plugin, objects) = (Arc::clone(&plugin), Arc::clone(&objects));
        let thread = std::thread::Builder::new().name("chiasm-call".into()).stack_size(STACK);
        // Without a thread the channel is closed, which is an error of the call.
        let _ = thread.spawn(move || serve_calls(channel, &*plugin, &objects));
    }
}

/// The adapters that are open in this process.
#[derive(Default)]
struct OpenAdapters {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<AdapterBox>>>,
}

impl OpenAdapters {
    fn insert(&self, adapter: AdapterBox) -> u64 {
        let object = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.open).insert(object, Arc::new(adapter));
        object
    }

    fn get(&self, object: u64) -> Result<Arc<AdapterBox>, PluginError> {
        let found = lock(&self.open).get(&object).cloned();
        found.ok_or_else(|| failure(Code::OTHER, format!("no adapter {object} is open")))
    }
}

/// Serves the calls of one connection, one after the other, until the host closes it.
fn serve_calls(mut channel: Channel, plugin: &dyn PluginCalls, objects: &OpenAdapters) {
    while let Ok(received) = channel.receive::<ToWorker>(|| Ok(())) {
        if serve_call(&mut channel, received, plugin, objects).is_err() {
            return;
        }
    }
}

fn serve_call(
    channel: &mut Channel,
    received: Received<ToWorker>,
    plugin: &dyn PluginCalls,
    objects: &OpenAdapters,
) -> io::Result<()> {
    let tensors = received.body.tensors()?;
    match received.head {
        ToWorker::Ask { question, id, argument } => {
            let text = plugin.ask(question, id.as_str().into(), argument.as_str().into());
            reply(channel, text, |text, send| send(Answer::text(text), &[]))
        }
        ToWorker::Draft { id, signature } => {
            let directory = tensors.first().map(copied).transpose()?.unwrap_or_default();
            let text = plugin.draft(id.as_str().into(), signature.as_str().into(), &directory);
            reply(channel, text, |text, send| send(Answer::text(text), &[]))
        }
        ToWorker::Open { id, spec } => {
            let opened = with_context(channel, |context| {
                plugin.open(id.as_str().into(), spec.as_str().into(), context)
            });
            reply(channel, opened, |adapter, send| send(Answer::number(objects.insert(adapter)), &[]))
        }
        ToWorker::Fit { kind, id, parameters, context } => {
            let job = FitJob {
                id: id.as_str().into(),
                data: RSlice::from_slice(&tensors),
                parameters: parameters.as_str().into(),
                context: context.as_str().into(),
            };
            let outcome = with_context(channel, |context| plugin.fit(kind, job, context));
            reply(channel, outcome, |outcome, send| {
                let mut shapes = vec![[0]; outcome.graphs.len()];
                let graphs: Vec<NamedTensor<'_>> = outcome
                    .graphs
                    .iter()
                    .zip(&mut shapes)
                    .map(|(graph, shape)| bytes_tensor(&graph.name, &graph.bytes, shape))
                    .collect();
                send(Answer::text(outcome.report.clone()), &graphs)
            })
        }
        request @ (ToWorker::AdapterInputs { .. }
        | ToWorker::AdapterRows { .. }
        | ToWorker::AdapterTail { .. }
        | ToWorker::AdapterHead { .. }
        | ToWorker::Prepare { .. }) => serve_adapter(channel, request, &tensors, objects),
        ToWorker::Close { object } => {
            drop(lock(&objects.open).remove(&object));
            reply(channel, ROk(()), |(), send| send(Answer::default(), &[]))
        }
        ToWorker::Quiesce => {
            plugin.quiesce();
            reply(channel, ROk(()), |(), send| send(Answer::default(), &[]))
        }
        ToWorker::Served(_) | ToWorker::NotServed(_) => Err(io::Error::other("no service was asked for")),
    }
}

/// Serves a call of an open adapter.
fn serve_adapter(
    channel: &mut Channel,
    request: ToWorker,
    tensors: &[NamedTensor<'_>],
    objects: &OpenAdapters,
) -> io::Result<()> {
    match request {
        ToWorker::AdapterInputs { object } => {
            let text = ask(objects, object, |adapter| adapter.inputs());
            reply(channel, text, |text, send| send(Answer::text(text), &[]))
        }
        ToWorker::AdapterRows { object } => {
            let rows = ask(objects, object, |adapter| adapter.rows());
            reply(channel, rows, |rows, send| send(Answer::number(rows.into_option()), &[]))
        }
        ToWorker::AdapterTail { object } => {
            let graph = ask(objects, object, |adapter| adapter.tail());
            reply(channel, graph, |graph, send| {
                send(Answer::default(), &[bytes_tensor("tail", &graph, &mut [0])])
            })
        }
        ToWorker::AdapterHead { object } => {
            let graph = ask(objects, object, |adapter| adapter.head());
            reply(channel, graph, |graph, send| match graph {
                ROption::RSome(graph) => send(Answer::default(), &[bytes_tensor("head", &graph, &mut [0])]),
                ROption::RNone => send(Answer::default(), &[]),
            })
        }
        ToWorker::Prepare { object, kind, row } => {
            let bytes = tensors.first().map(copied).transpose()?.unwrap_or_default();
            let item = Item { kind: ItemKind(kind), bytes: RSlice::from_slice(&bytes), row };
            let prepared = ask(objects, object, |adapter| adapter.prepare(item));
            reply(channel, prepared, |prepared, send| {
                let views: Vec<NamedTensor<'_>> = prepared
                    .iter()
                    .map(|tensor| NamedTensor { name: "".into(), tensor: tensor.view() })
                    .collect();
                send(Answer::default(), &views)
            })
        }
        _ => Err(io::Error::other("expected a call of an adapter")),
    }
}

fn ask<T>(objects: &OpenAdapters, object: u64, call: impl FnOnce(&AdapterBox) -> Reply<T>) -> Reply<T> {
    match objects.get(object) {
        Ok(adapter) => call(&adapter),
        Err(e) => RErr(e),
    }
}

fn with_context<T>(channel: &mut Channel, call: impl FnOnce(CallContext<'_, '_>) -> Reply<T>) -> Reply<T> {
    let services = RemoteServices::new(channel);
    let borrowed = borrow_services(&services);
    call(CallContext { services: &borrowed, stop_requested: &|| false, files: &[] })
}

/// Sends the result of a call: its error, or the value in the form that `give` sends.
fn reply<T>(
    channel: &mut Channel,
    outcome: Reply<T>,
    give: impl FnOnce(T, &mut dyn FnMut(Answer, &[NamedTensor<'_>]) -> io::Result<()>) -> io::Result<()>,
) -> io::Result<()> {
    let failed = match outcome {
        ROk(value) => {
            let mut send = |answer: Answer, tensors: &[NamedTensor<'_>]| {
                channel.send(&ToHost::Answer(answer), tensors, 0).map(|_| ())
            };
            match give(value, &mut send) {
                // A tensor that cannot be read was not sent.
                Err(e) if e.kind() == io::ErrorKind::InvalidInput => failure(Code::OTHER, e.to_string()),
                sent => return sent,
            }
        }
        RErr(error) => error,
    };
    channel.send(&ToHost::Failure(failed.into()), &[], 0).map(|_| ())
}
