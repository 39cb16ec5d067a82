//! A loaded model that takes and returns named tensors.
//!
//! Inputs are checked against the model's ports before the engine sees them, so the error about a wrong
//! tensor names the port, the expected type and the given one. The engine reads inputs in place; outputs are
//! copied once. A batch of no rows is answered without the engine, since many operators refuse empty tensors.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chiasm_graph::{Dim, Port, Tensor, TensorRef};
use ort::session::{OutputSelector, RunOptions, SessionInputValue};

use crate::subnormals::SubnormalsAsZero;
use crate::value::{copy_out, input_view};
use crate::{Error, Result};

/// A loaded model. Threads can share it; runs on one replica wait for each other.
#[derive(Debug)]
pub struct Session {
    name: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    pub(crate) replicas: Vec<Replica>,
    device: &'static str,
    reason: String,
}

/// One copy of the model in the engine. `ort` allows one run at a time on each.
#[derive(Debug)]
pub(crate) struct Replica {
    session: Mutex<ort::session::Session>,
    subnormals_as_zero: bool,
}

impl Replica {
    pub(crate) fn new(session: ort::session::Session, subnormals_as_zero: bool) -> Self {
        Self { session: Mutex::new(session), subnormals_as_zero }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ort::session::Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what a run on this thread must keep until it ends.
    fn begin_run(&self) -> Option<SubnormalsAsZero> {
        self.subnormals_as_zero.then(SubnormalsAsZero::begin)
    }
}

impl Session {
    pub(crate) fn new(
        name: String,
        inputs: Vec<Port>,
        outputs: Vec<Port>,
        replicas: Vec<Replica>,
        device: &'static str,
        reason: String,
    ) -> Self {
        Self { name, inputs, outputs, replicas, device, reason }
    }

    /// Returns the model's file, or its graph's name in quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the model's inputs.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// Returns the model's outputs.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Returns the device it runs on: `cpu`, `cuda`, or `cuda+cpu` when some operators stay on the processor.
    pub fn device_used(&self) -> &'static str {
        self.device
    }

    /// Returns why it runs there, in one sentence.
    pub fn device_reason(&self) -> &str {
        &self.reason
    }

    /// How many batches can run side by side.
    pub fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// Runs the model and returns every output, in the model's order.
    ///
    /// # Errors
    /// [`Error::Input`] for tensors that do not fit; [`Error::Run`] when the engine fails.
    pub fn run(&self, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>> {
        let all: Vec<&str> = self.outputs.iter().map(|o| o.name.as_str()).collect();
        self.run_outputs(inputs, &all)
    }

    /// Computes only the named outputs and returns them in the order of `outputs`.
    ///
    /// # Errors
    /// Those of [`Session::run`], and [`Error::Output`] for a name that the model does not have.
    pub fn run_outputs(&self, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Result<Vec<(String, Tensor)>> {
        self.run_on_replica(0, inputs, outputs)
    }

    /// [`Session::run_outputs`] on a replica of the caller's choice (taken modulo their number).
    ///
    /// # Errors
    /// Those of [`Session::run_outputs`].
    pub fn run_on_replica(
        &self,
        replica: usize,
        inputs: &[(&str, &Tensor)],
        outputs: &[&str],
    ) -> Result<Vec<(String, Tensor)>> {
        let views: Vec<(&str, TensorRef<'_>)> =
            inputs.iter().map(|(name, tensor)| (*name, TensorRef::from(*tensor))).collect();
        self.check(&views)?;
        let ports = outputs.iter().map(|name| self.output(name)).collect::<Result<Vec<_>>>()?;
        if inputs.iter().any(|(_, tensor)| tensor.shape().first() == Some(&0)) {
            return self.run_empty(inputs, &ports);
        }
        let failed = |e: ort::Error| Error::Run { model: self.name.clone(), reason: e.to_string() };
        let mut values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            values.push((Cow::Borrowed(*name), input_view(tensor).map_err(failed)?));
        }
        let wanted = ports.iter().fold(OutputSelector::no_default(), |all, port| all.with(&port.name));
        let options = RunOptions::new().map_err(failed)?.with_outputs(wanted);
        let replica = &self.replicas[replica % self.replicas.len()];
        let mut session = replica.lock();
        let running = replica.begin_run();
        let results = session.run_with_options(values, &options);
        drop(running);
        let results = results.map_err(failed)?;
        ports
            .iter()
            .zip(results.values())
            .map(|(port, value)| {
                let tensor = copy_out(&value, port.dtype).map_err(|reason| Error::Run {
                    model: self.name.clone(),
                    reason: format!("output \"{}\": {reason}", port.name),
                })?;
                Ok((port.name.clone(), tensor))
            })
            .collect()
    }

    /// Returns the output port of this name.
    pub(crate) fn output(&self, name: &str) -> Result<&Port> {
        self.outputs.iter().find(|port| port.name == name).ok_or_else(|| Error::Output {
            model: self.name.clone(),
            port: name.to_owned(),
            known: self.outputs.iter().map(|o| o.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// Checks that these are the model's inputs, each once and of the port's type.
    pub(crate) fn check(&self, inputs: &[(&str, TensorRef<'_>)]) -> Result<()> {
        let fail = |port: &str, expected: String, got: String| {
            Err(Error::Input { model: self.name.clone(), port: port.to_owned(), expected, got })
        };
        for (index, (name, _)) in inputs.iter().enumerate() {
            if !self.inputs.iter().any(|port| port.name == *name) {
                let known = self.inputs.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
                return fail(name, format!("one of the model's inputs ({known})"), "an unknown name".into());
            }
            if inputs[..index].iter().any(|(earlier, _)| earlier == name) {
                return fail(name, "each input once".into(), "the same name twice".into());
            }
        }
        for port in &self.inputs {
            match inputs.iter().find(|(name, _)| port.name == *name) {
                None => return fail(&port.name, port.type_text(), "no tensor of that name".into()),
                Some((_, tensor)) if !fits(port, tensor) => {
                    return fail(
                        &port.name,
                        port.type_text(),
                        format!("{}{:?}", tensor.dtype(), tensor.shape()),
                    );
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Returns empty outputs for inputs without rows, where the ports determine their shape.
    fn run_empty(&self, inputs: &[(&str, &Tensor)], outputs: &[&Port]) -> Result<Vec<(String, Tensor)>> {
        let mut lengths: BTreeMap<&str, usize> = BTreeMap::new();
        for port in &self.inputs {
            let tensor = inputs.iter().find(|(name, _)| port.name == *name).map(|(_, t)| *t);
            for (dim, length) in port.dims.iter().flatten().zip(tensor.iter().flat_map(|t| t.shape())) {
                if let Dim::Named(name) = dim {
                    lengths.insert(name, *length);
                }
            }
        }
        let length = |dim: &Dim| match dim {
            Dim::Fixed(length) => Some(*length),
            Dim::Named(name) => lengths.get(name.as_str()).copied(),
            Dim::Unknown => None,
        };
        outputs
            .iter()
            .map(|port| {
                let lengths = |dims: &Vec<Dim>| dims.iter().map(length).collect();
                let shape: Option<Vec<usize>> = port.dims.as_ref().and_then(lengths);
                match shape {
                    Some(shape) if shape.contains(&0) => {
                        Ok((port.name.clone(), Tensor::zeros(port.dtype, &shape)?))
                    }
                    _ => Err(Error::Run {
                        model: self.name.clone(),
                        reason: format!(
                            "a batch of no rows was given, and the shape of output {port} cannot be derived \
                             from it"
                        ),
                    }),
                }
            })
            .collect()
    }
}

/// Whether a tensor has the port's element type, its number of axes, and the lengths that it fixes.
fn fits(port: &Port, tensor: &TensorRef<'_>) -> bool {
    let axes = |dims: &Vec<Dim>| {
        dims.len() == tensor.shape().len()
            && dims
                .iter()
                .zip(tensor.shape())
                .all(|(dim, length)| dim.fixed().is_none_or(|fixed| fixed == *length))
    };
    port.dtype == tensor.dtype() && port.dims.as_ref().is_none_or(axes)
}
