//! The host's side: calls of a plugin that runs in another process.

use std::sync::Arc;

use chiasm_abi::stable::{RErr, ROk, RStr, RString, TD_Opaque};
use chiasm_abi::{
    AdapterBox, AdapterObject_TO, Code, FitJob, NamedBytes, NamedTensor, Outcome, PluginError, Reply,
};

use super::adapter::RemoteAdapter;
use super::message::{Answer, ToWorker, failure};
use super::source::PluginSource;
use super::tensors::{Tensors, bytes_tensor, copied};
use crate::HostError;
use crate::calls::{CallContext, ComponentKind, PluginCalls, Question};

/// A plugin in a process of its own. A process that crashed is replaced at the next call.
pub(crate) struct IsolatedPlugin {
    shared: Arc<PluginSource>,
}

impl IsolatedPlugin {
    /// Starts the process and loads the library in it.
    pub(crate) fn start(source: PluginSource) -> Result<Self, HostError> {
        source.process().map_err(|e| e.of(&source.tag))?;
        Ok(Self { shared: Arc::new(source) })
    }

    fn call<'t, T>(
        &self,
        request: &ToWorker,
        tensors: impl Into<Tensors<'t>>,
        context: Option<CallContext<'_, '_>>,
        read: impl FnOnce(Answer, &[NamedTensor<'_>]) -> Reply<T>,
    ) -> Reply<T> {
        match self.shared.process() {
            Ok(process) => self.shared.call(&process, request, tensors, context, read),
            Err(e) => RErr(failure(e.code, e.message)),
        }
    }
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
        let tensors = Tensors { views: job.data.as_slice(), files: context.files };
        self.call(&request, tensors, Some(context), |answer, tensors| {
            let graph = |tensor: &NamedTensor<'_>| {
                let bytes = copied(tensor).map_err(|e| failure(Code::OTHER, e.to_string()))?;
                Ok(NamedBytes { name: tensor.name.into(), bytes: bytes.into() })
            };
            let graphs: Result<Vec<NamedBytes>, PluginError> = tensors.iter().map(graph).collect();
            graphs.map(|graphs| Outcome { graphs: graphs.into(), report: answer.text.into() }).into()
        })
    }

    fn quiesce(&self) {
        if let Some(process) = self.shared.running() {
            let _ = self.shared.call(&process, &ToWorker::Quiesce, &[], None, |_, _| ROk(()));
        }
    }
}
