//! The services of the host, as a plugin in another process sees them.

use std::io;
use std::sync::Mutex;

use chiasm_abi::stable::{RErr, ROk, RResult, RSlice, RStr, RVec};
use chiasm_abi::{Code, NamedOwned, NamedTensor, PluginError, Services, TrainJob, TrainOutcome};

use super::channel::Channel;
use super::message::{Answer, ServiceCall, ToHost, ToWorker, failure};
use super::process::lock;
use super::tensors::{Body, bytes_tensor, owned};

/// The services during one call. Requests of several threads of the plugin are sent one after the other.
pub(super) struct RemoteServices<'a> {
    channel: Mutex<&'a mut Channel>,
}

impl<'a> RemoteServices<'a> {
    pub(super) fn new(channel: &'a mut Channel) -> Self {
        Self { channel: Mutex::new(channel) }
    }

    /// Sends a request and reads its answer with `read`.
    fn request<T>(
        &self,
        call: ServiceCall,
        tensors: &[NamedTensor<'_>],
        read: impl FnOnce(Answer, &Body) -> io::Result<Result<T, PluginError>>,
    ) -> Result<T, PluginError> {
        let mut channel = lock(&self.channel);
        let exchange = || {
            channel.send(&ToHost::Service(call), tensors, 0)?;
            let received = channel.receive::<ToWorker>(|| Ok(()))?;
            match received.head {
                ToWorker::Served(answer) => read(answer, &received.body),
                ToWorker::NotServed(failure) => Ok(Err(failure.into())),
                _ => Err(io::Error::other("the host sent an unexpected message")),
            }
        };
        exchange().unwrap_or_else(|e| Err(failure(Code::HOST, format!("the host cannot be reached: {e}"))))
    }
}

fn named(received: &Body) -> io::Result<Result<RVec<NamedOwned>, PluginError>> {
    let give = |one: &NamedTensor<'_>| Ok(NamedOwned { name: one.name.into(), tensor: owned(one)? });
    Ok(received.tensors()?.iter().map(give).collect::<Result<Vec<_>, _>>().map(RVec::from))
}

impl Services for RemoteServices<'_> {
    fn log(&self, level: u8, message: RStr<'_>) {
        let call = ServiceCall::Log { level, message: message.to_string() };
        let _ = lock(&self.channel).send(&ToHost::Service(call), &[], 0);
    }

    fn progress(&self, done: u64, total: u64) -> RResult<bool, PluginError> {
        let call = ServiceCall::Progress { done, total };
        self.request(call, &[], |answer, _| Ok(Ok(answer.number == Some(1)))).into()
    }

    fn seed(&self) -> u64 {
        self.request(ServiceCall::Seed, &[], |answer, _| Ok(Ok(answer.number))).ok().flatten().unwrap_or(0)
    }

    fn threads(&self) -> u64 {
        self.request(ServiceCall::Threads, &[], |answer, _| Ok(Ok(answer.number))).ok().flatten().unwrap_or(1)
    }

    fn run(
        &self,
        graph: RSlice<'_, u8>,
        inputs: RSlice<'_, NamedTensor<'_>>,
    ) -> RResult<RVec<NamedOwned>, PluginError> {
        let mut shape = [0];
        let mut tensors = vec![bytes_tensor("graph", graph.as_slice(), &mut shape)];
        tensors.extend(inputs.iter().copied());
        self.request(ServiceCall::Run, &tensors, |_, received| named(received)).into()
    }

    fn train(&self, job: TrainJob<'_>) -> RResult<TrainOutcome, PluginError> {
        let tensors: Vec<NamedTensor<'_>> =
            job.graphs.iter().chain(job.training.iter()).chain(job.validation.iter()).copied().collect();
        let call = ServiceCall::Train {
            specification: job.specification.to_string(),
            graphs: job.graphs.len(),
            training: job.training.len(),
        };
        let trained = self.request(call, &tensors, |answer, received| {
            Ok(named(received)?.map(|weights| TrainOutcome { weights, report: answer.text.into() }))
        });
        match trained {
            Ok(outcome) => ROk(outcome),
            Err(error) => RErr(error),
        }
    }
}
