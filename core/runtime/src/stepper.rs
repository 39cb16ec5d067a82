//! Runs a model repeatedly, feeding some outputs back as the next inputs: a training step, an iteration.
//!
//! The state and the bound data stay on the session's device; only the inputs given to a step and its outputs
//! are transferred. The state has two sets of buffers: a step reads one and writes the other, since an output
//! written over an input would be read by later nodes. On the processor the bound data is read in place; it
//! is copied only to a GPU.

use std::fmt;

use chiasm_graph::{Tensor, TensorRef};
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::IoBinding;
use ort::value::DynTensor;

use crate::value::{bound_view, copy_out, element_type, owned_value};
use crate::{Error, Result, Session};

/// A value that one step passes to the next.
#[derive(Debug, Clone)]
pub struct StateVariable {
    /// The input that receives it.
    pub input: String,
    /// The output with its next value.
    pub output: String,
    /// Its initial value: floats, or integers of 32 or 64 bits.
    pub first: Tensor,
}

/// A session with bound data and a state, made by [`Session::stepper`].
pub struct Stepper<'d> {
    session: Session,
    binding: IoBinding,
    fixed: Vec<BoundData<'d>>,
    state: Vec<StateVariable>,
    current: Vec<DynTensor>,
    /// Buffers on the device that the next step may write; `None` before the second step.
    spare: Option<Vec<DynTensor>>,
    /// Whether `current` are such buffers; otherwise they are the initial values.
    resident: bool,
}

/// Bound data: the caller's memory, and the engine's value over that memory or over a copy on the GPU.
struct BoundData<'d> {
    name: String,
    view: TensorRef<'d>,
    value: DynTensor,
}

impl fmt::Debug for Stepper<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stepper")
            .field("session", &self.session)
            .field("state", &self.state.len())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Binds the data that every step reads and the state that every step replaces. The remaining inputs are
    /// given to each step.
    ///
    /// # Errors
    /// [`Error::Output`] for a state's output that the model does not have; [`Error::Run`] when the engine
    /// runs out of memory.
    pub fn stepper<'d>(
        self,
        fixed: &[(&str, TensorRef<'d>)],
        state: Vec<StateVariable>,
    ) -> Result<Stepper<'d>> {
        let failed = |e: ort::Error| Error::Run { model: self.name().to_owned(), reason: e.to_string() };
        let mut binding = self.replicas[0].lock().create_binding().map_err(failed)?;
        let host = memory(AllocationDevice::CPU).map_err(failed)?;
        for output in self.outputs().iter().filter(|port| !state.iter().any(|s| s.output == port.name)) {
            binding.bind_output_to_device(&output.name, &host).map_err(failed)?;
        }
        for StateVariable { output, .. } in &state {
            self.output(output)?;
        }
        let on_device = |(name, view): &(&str, TensorRef<'d>)| {
            // SAFETY: the stepper unbinds its inputs after every step and does not outlive 'd.
            #[expect(unsafe_code, reason = "see above")]
            let value = unsafe { bound_view(*view) }?;
            let value = if on_gpu(&self) { value.to(AllocationDevice::CUDA, 0)? } else { value };
            Ok(BoundData { name: (*name).to_owned(), view: *view, value })
        };
        let fixed = fixed.iter().map(on_device).collect::<Result<_, _>>().map_err(failed)?;
        let current =
            state.iter().map(|s| owned_value(s.first.clone())).collect::<Result<_, _>>().map_err(failed)?;
        Ok(Stepper { session: self, binding, fixed, state, current, spare: None, resident: false })
    }
}

impl Stepper<'_> {
    /// Runs one step: replaces the state and returns the other outputs, in the model's order.
    ///
    /// # Errors
    /// [`Error::Input`] for tensors that do not fit; [`Error::Run`] when the engine fails. The state is then
    /// unchanged.
    pub fn step(&mut self, given: &[(&str, TensorRef<'_>)]) -> Result<Vec<(String, Tensor)>> {
        self.check(given)?;
        let mut next = match self.spare.take() {
            Some(spare) => spare,
            None => self.buffers().map_err(|e| self.failed(&e))?,
        };
        let outcome = self.run(given, &mut next);
        self.binding.clear_inputs();
        let outputs = outcome.map_err(|reason| self.failed(&reason))?;
        let old = std::mem::replace(&mut self.current, next);
        self.spare = self.resident.then_some(old);
        self.resident = true;
        Ok(outputs)
    }

    /// Returns a copy of the state, by input name.
    ///
    /// # Errors
    /// [`Error::Run`] when it cannot be copied from the device.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let read = |(state, value): (&StateVariable, &DynTensor)| {
            let dtype = state.first.dtype();
            let copy = if value.memory_info().is_cpu_accessible() {
                copy_out(value, dtype)
            } else {
                let host = value.to(AllocationDevice::CPU, 0).map_err(|e| self.failed(&e))?;
                copy_out(&host, dtype)
            };
            Ok((state.input.clone(), copy.map_err(|reason| self.failed(&reason))?))
        };
        self.state.iter().zip(&self.current).map(read).collect()
    }

    /// Returns the session that it runs.
    pub fn session(&self) -> &Session {
        &self.session
    }

    fn check(&self, given: &[(&str, TensorRef<'_>)]) -> Result<()> {
        let states = self.state.iter().map(|s| (s.input.as_str(), TensorRef::from(&s.first)));
        let fixed = self.fixed.iter().map(|f| (f.name.as_str(), f.view));
        let all: Vec<(&str, TensorRef<'_>)> = states.chain(fixed).chain(given.iter().copied()).collect();
        self.session.check(&all)
    }

    fn run(
        &mut self,
        given: &[(&str, TensorRef<'_>)],
        next: &mut [DynTensor],
    ) -> Result<Vec<(String, Tensor)>, String> {
        let text = |e: ort::Error| e.to_string();
        let binding = &mut self.binding;
        for fixed in &self.fixed {
            binding.bind_input(&fixed.name, &fixed.value).map_err(text)?;
        }
        for ((state, now), next) in self.state.iter().zip(&self.current).zip(next) {
            binding.bind_input(&state.input, now).map_err(text)?;
            binding.bind_output(&state.output, next).map_err(text)?;
        }
        for (name, view) in given {
            // SAFETY: `step` unbinds all inputs before it returns, and `given` is borrowed until then.
            #[expect(unsafe_code, reason = "see above")]
            let value = unsafe { bound_view(*view) }.map_err(text)?;
            binding.bind_input(*name, &value).map_err(text)?;
        }
        let mut session = self.session.replicas[0].lock();
        let results = session.run_binding(binding).map_err(text)?;
        let taken =
            self.session.outputs().iter().filter(|port| !self.state.iter().any(|s| s.output == port.name));
        taken
            .map(|port| {
                let value = results
                    .get(&port.name)
                    .ok_or_else(|| format!("the engine returned no output \"{}\"", port.name))?;
                let tensor =
                    copy_out(value, port.dtype).map_err(|e| format!("output \"{}\": {e}", port.name))?;
                Ok((port.name.clone(), tensor))
            })
            .collect()
    }

    /// Allocates buffers for the whole state on the session's device.
    fn buffers(&self) -> Result<Vec<DynTensor>, ort::Error> {
        let allocator = if on_gpu(&self.session) {
            Allocator::new(&self.session.replicas[0].lock(), memory(AllocationDevice::CUDA)?)?
        } else {
            Allocator::default()
        };
        let buffer =
            |s: &StateVariable| DynTensor::new(&allocator, element_type(s.first.dtype())?, s.first.shape());
        self.state.iter().map(buffer).collect()
    }

    fn failed(&self, reason: &dyn fmt::Display) -> Error {
        Error::Run { model: self.session.name().to_owned(), reason: reason.to_string() }
    }
}

fn on_gpu(session: &Session) -> bool {
    session.device_used() != "cpu"
}

fn memory(device: AllocationDevice<'static>) -> Result<MemoryInfo<'static>, ort::Error> {
    MemoryInfo::new(device, 0, AllocatorType::Device, MemoryType::Default)
}
