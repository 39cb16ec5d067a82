//! An adapter that is open in another process.

use std::sync::{Arc, Mutex};

use chiasm_abi::stable::{RErr, ROk, ROption, RResult, RSlice, RStr, RString, RVec};
use chiasm_abi::{
    AdapterObject, Code, Item, NamedOwned, NamedTensor, OwnedTensor, PluginError, Reply, Services,
    borrow_services,
};

use super::message::{Answer, ToWorker, failure};
use super::process::{PluginProcess, lock};
use super::source::PluginSource;
use super::tensors::{bytes_tensor, copied, owned};
use crate::calls::CallContext;

/// An adapter in the process of its plugin. After a crash it is opened again in a new process.
pub(super) struct RemoteAdapter {
    source: Arc<PluginSource>,
    id: String,
    spec: String,
    /// The seed and the number of threads that the adapter was opened with.
    settings: (u64, u64),
    current: Mutex<OpenAdapter>,
    /// Held by the item that is tried again in a process of its own.
    retry: Mutex<()>,
}

/// An adapter that is open in a process. Dropping it closes it there.
#[derive(Clone)]
struct OpenAdapter {
    process: Arc<PluginProcess>,
    object: u64,
}

impl RemoteAdapter {
    pub(super) fn open(
        source: &Arc<PluginSource>,
        id: &str,
        spec: &str,
        context: CallContext<'_, '_>,
    ) -> Result<Self, PluginError> {
        let settings = (context.services.seed(), context.services.threads());
        let process = source.process().map_err(|e| failure(e.code, e.message))?;
        let current = open(source, process, id, spec, context)?;
        Ok(Self {
            source: Arc::clone(source),
            id: id.to_owned(),
            spec: spec.to_owned(),
            settings,
            current: Mutex::new(current),
            retry: Mutex::new(()),
        })
    }

    /// Returns the open adapter. It is opened again if its process ended.
    fn current(&self) -> Result<OpenAdapter, PluginError> {
        let mut current = lock(&self.current);
        if current.process.is_stopped() {
            let process = self.source.process().map_err(|e| failure(e.code, e.message))?;
            *current = self.reopen(process)?;
        }
        Ok(current.clone())
    }

    fn reopen(&self, process: Arc<PluginProcess>) -> Result<OpenAdapter, PluginError> {
        let settings = ReopenSettings { seed: self.settings.0, threads: self.settings.1 };
        let services = borrow_services(&settings);
        let context = CallContext { services: &services, stop_requested: &|| false, files: &[] };
        open(&self.source, process, &self.id, &self.spec, context)
    }

    fn ask<T>(
        &self,
        request: impl Fn(u64) -> ToWorker,
        read: impl FnOnce(Answer, &[NamedTensor<'_>]) -> Reply<T>,
    ) -> Reply<T> {
        match self.current() {
            Ok(open) => self.source.call(&open.process, &request(open.object), &[], None, read),
            Err(e) => RErr(e),
        }
    }

    fn prepare_in(&self, open: &OpenAdapter, item: Item<'_>) -> Reply<RVec<OwnedTensor>> {
        let request = ToWorker::Prepare { object: open.object, kind: item.kind.0, row: item.row };
        let mut shape = [0];
        let bytes = bytes_tensor("item", item.bytes.as_slice(), &mut shape);
        self.source.call(&open.process, &request, &[bytes], None, |_, tensors| {
            tensors.iter().map(owned).collect::<Result<Vec<_>, _>>().map(RVec::from).into()
        })
    }
}

impl AdapterObject for RemoteAdapter {
    fn inputs(&self) -> Reply<RString> {
        self.ask(|object| ToWorker::AdapterInputs { object }, |answer, _| ROk(answer.text.into()))
    }

    /// Prepares an item. If the process crashes, other items may have been in it, so this one is tried once
    /// more in a process of its own: only the item that causes the crash fails.
    fn prepare(&self, item: Item<'_>) -> Reply<RVec<OwnedTensor>> {
        let open = match self.current() {
            Ok(open) => open,
            Err(e) => return RErr(e),
        };
        match self.prepare_in(&open, item) {
            RErr(error) if error.code == Code::CRASHED => {
                let _alone = lock(&self.retry);
                let process = self.source.new_process().map(Arc::new);
                let own = process.map_err(|e| failure(e.code, e.message)).and_then(|p| self.reopen(p));
                match own {
                    Ok(own) => self.prepare_in(&own, item),
                    Err(_) => RErr(error),
                }
            }
            other => other,
        }
    }

    fn rows(&self) -> Reply<ROption<u64>> {
        self.ask(|object| ToWorker::AdapterRows { object }, |answer, _| ROk(answer.number.into()))
    }

    fn tail(&self) -> Reply<RVec<u8>> {
        self.ask(
            |object| ToWorker::AdapterTail { object },
            |_, tensors| match tensors {
                [graph] => {
                    copied(graph).map(RVec::from).map_err(|e| failure(Code::OTHER, e.to_string())).into()
                }
                _ => RErr(failure(Code::OTHER, "it returned no tail")),
            },
        )
    }

    fn head(&self) -> Reply<ROption<RVec<u8>>> {
        self.ask(
            |object| ToWorker::AdapterHead { object },
            |_, tensors| {
                let graph = tensors.first().map(copied).transpose();
                graph
                    .map(|bytes| bytes.map(RVec::from).into())
                    .map_err(|e| failure(Code::OTHER, e.to_string()))
                    .into()
            },
        )
    }
}

impl Drop for RemoteAdapter {
    fn drop(&mut self) {
        let open = lock(&self.current).clone();
        if !open.process.is_stopped() {
            let close = ToWorker::Close { object: open.object };
            let _: Reply<()> = self.source.call(&open.process, &close, &[], None, |_, _| ROk(()));
        }
    }
}

fn open(
    source: &PluginSource,
    process: Arc<PluginProcess>,
    id: &str,
    spec: &str,
    context: CallContext<'_, '_>,
) -> Result<OpenAdapter, PluginError> {
    let request = ToWorker::Open { id: id.to_owned(), spec: spec.to_owned() };
    let object = source.call(&process, &request, &[], Some(context), |answer, _| {
        answer.number.ok_or_else(|| failure(Code::OTHER, "it returned no adapter")).into()
    });
    object.into_result().map(|object| OpenAdapter { process, object })
}

/// The services of an adapter that is opened again, when those of its first opening are gone.
struct ReopenSettings {
    seed: u64,
    threads: u64,
}

impl Services for ReopenSettings {
    fn log(&self, _: u8, _: RStr<'_>) {}

    fn progress(&self, _: u64, _: u64) -> RResult<bool, PluginError> {
        ROk(true)
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn threads(&self) -> u64 {
        self.threads
    }

    fn run(
        &self,
        _: RSlice<'_, u8>,
        _: RSlice<'_, NamedTensor<'_>>,
    ) -> RResult<RVec<NamedOwned>, PluginError> {
        RErr(failure(Code::HOST, "no graph can be run while an adapter is opened again after a crash"))
    }
}
