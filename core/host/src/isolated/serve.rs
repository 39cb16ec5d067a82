//! The host's side of the services that a plugin in another process uses.

use std::io;

use chiasm_abi::stable::{RResult, RSlice, RVec};
use chiasm_abi::{NamedOwned, NamedTensor, PluginError, ServicesRef, TrainJob, TrainOutcome};

use super::channel::Channel;
use super::message::{Answer, ServiceCall, ToWorker};
use super::tensors::{Body, bytes_tensor, copied};

/// Answers a request to a service.
pub(super) fn serve(
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
            let outputs = run(services, received)?;
            match &outputs {
                Ok(outputs) => reply(Ok(Answer::default()), &views(outputs)),
                Err(error) => reply(Err(error.clone()), &[]),
            }
        }
        ServiceCall::Train { specification, graphs, training } => {
            match train(services, received, &specification, graphs, training)? {
                Ok(outcome) => {
                    let TrainOutcome { weights, report } = outcome;
                    reply(Ok(Answer::text(report)), &views(&weights))
                }
                Err(error) => reply(Err(error), &[]),
            }
        }
    }
}

fn views(tensors: &[NamedOwned]) -> Vec<NamedTensor<'_>> {
    tensors.iter().map(|one| NamedTensor { name: one.name.as_rstr(), tensor: one.tensor.view() }).collect()
}

/// Runs a graph. The tensors of the message are the graph and its inputs.
fn run(services: &ServicesRef<'_>, received: &Body) -> io::Result<Result<RVec<NamedOwned>, PluginError>> {
    let tensors = received.tensors()?;
    let (graph, inputs) = tensors.split_first().ok_or_else(|| io::Error::other("it sent no graph"))?;
    let graph = copied(graph)?;
    Ok(services.run(RSlice::from_slice(&graph), RSlice::from_slice(inputs)).into_result())
}

/// Runs a training. The tensors of the message are the graphs, the training rows and the validation rows.
fn train(
    services: &ServicesRef<'_>,
    received: &Body,
    specification: &str,
    graphs: usize,
    training: usize,
) -> io::Result<Result<TrainOutcome, PluginError>> {
    let tensors = received.tensors()?;
    let parts = tensors.split_at_checked(graphs).and_then(|(graphs, rows)| {
        rows.split_at_checked(training).map(|(training, validation)| (graphs, training, validation))
    });
    let (graphs, training, validation) =
        parts.ok_or_else(|| io::Error::other("it sent fewer tensors than it announced"))?;
    // The rows are read in place. The graphs are parsed, so they are copied first.
    let bytes: Vec<Vec<u8>> = graphs.iter().map(copied).collect::<io::Result<_>>()?;
    let mut shapes = vec![[0]; bytes.len()];
    let graphs: Vec<NamedTensor<'_>> = graphs
        .iter()
        .zip(bytes.iter().zip(&mut shapes))
        .map(|(graph, (bytes, shape))| bytes_tensor(graph.name.as_str(), bytes, shape))
        .collect();
    let job = TrainJob {
        graphs: RSlice::from_slice(&graphs),
        training: RSlice::from_slice(training),
        validation: RSlice::from_slice(validation),
        specification: specification.into(),
    };
    Ok(services.train(job).into_result())
}
