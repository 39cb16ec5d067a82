//! The kernel of `chiasm.Pointwise`: a fused chain of element-wise operators, run block by block on the CPU.
//!
//! ONNX Runtime runs each element-wise operator as a separate pass over memory. A training step has dozens of
//! them, so the graph fuses them ([`chiasm_graph::fuse`]), and this kernel applies all instructions to a
//! block of 256 elements while the block is in the first-level cache. The work is split into pieces by its
//! size only, and partial sums are added in the order of the pieces, so the result does not depend on the
//! number of threads. Inputs that do not cover one shape as the program says are an error of the run.

mod block;
pub(crate) mod math;
mod plan;

use chiasm_graph::fuse::{Broadcast, DOMAIN, OPERATOR, Program, ProgramOutput, Summation};
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType;

use crate::guarded::{guarded, guarded_pieces};
use crate::vectorised::InstructionSet;
use block::Extent;
use plan::RegisterPlan;

/// Returns the domain of our operators, to be registered with a session.
pub(crate) fn domain() -> ort::Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)?
        .add(PointwiseOperator)?
        .add(crate::product::ProductOperator)?
        .add(crate::log_sum_exp::LogSumExpOperator)?
        .add(crate::scaling::ScalingOperator)
}

/// The operator's name in messages.
const NAME: &str = "chiasm.Pointwise";

struct PointwiseOperator;

impl Operator for PointwiseOperator {
    type Kernel<'attr> = PointwiseKernel;

    fn name(&self) -> &str {
        OPERATOR
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::variadic(1).homogenous(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::variadic(1).homogenous(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<PointwiseKernel> {
        let ints = |name: &str| context.get::<Vec<i64>>(name).unwrap_or_default();
        let constants = context.get::<Vec<f32>>("constants").unwrap_or_default();
        let program = Program::read(&ints("inputs"), &constants, &ints("instructions"), &ints("outputs"));
        let program = program
            .ok_or_else(|| ort::Error::new("chiasm.Pointwise: its attributes are not a valid program"))?;
        guarded(NAME, || Ok(PointwiseKernel::new(program)))
    }
}

/// The kernel of one fused node.
struct PointwiseKernel {
    program: Program,
    plan: RegisterPlan,
    level: InstructionSet,
}

/// The number of elements per piece of work.
const PIECE: usize = 16 * 1024;
/// The most pieces; each has a buffer for its column sums.
const PIECES: usize = 32;

impl Kernel for PointwiseKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        guarded(NAME, || self.compute_outputs(context))
    }
}

impl PointwiseKernel {
    fn new(program: Program) -> Self {
        Self { plan: RegisterPlan::new(&program), program, level: InstructionSet::detect() }
    }

    fn compute_outputs(&self, context: &ComputeContext) -> ort::Result<()> {
        let mut shape: Option<Vec<i64>> = None;
        let mut inputs = Vec::with_capacity(self.program.inputs.len());
        for (at, broadcast) in self.program.inputs.iter().enumerate() {
            let missing = || ort::Error::new(format!("{NAME}: input {at} is missing"));
            let value = context.input(at)?.ok_or_else(missing)?;
            let (own, data) = value.try_extract_tensor::<f32>()?;
            if *broadcast == Broadcast::Full && shape.is_none() {
                shape = Some(own.to_vec());
            }
            inputs.push((data.as_ptr(), data.len()));
        }
        let shape = shape.ok_or_else(|| ort::Error::new("chiasm.Pointwise: no input has the full shape"))?;
        let extent = self.checked_extent(&shape, &inputs).map_err(ort::Error::new)?;
        let mut outputs = Vec::with_capacity(self.program.outputs.len());
        for (at, output) in self.program.outputs.iter().enumerate() {
            let mut value = context.output(at, output_shape(output, &shape))?;
            let (_, data) = match &mut value {
                Some(value) => value.try_extract_tensor_mut::<f32>()?,
                None => return Err(ort::Error::new(format!("{NAME}: output {at} is missing"))),
            };
            outputs.push(data.as_mut_ptr());
        }
        let pieces =
            |count: usize, piece: &(dyn Fn(usize) + Sync)| guarded_pieces(NAME, context, count, piece);
        // SAFETY: the inputs cover the extent, and the outputs have the shapes of `output_shape`.
        #[expect(unsafe_code, reason = "see above")]
        unsafe {
            self.run(&extent, &inputs, &outputs, pieces)
        }
    }

    /// Returns the rows and columns of a shape, which the inputs cover as the program says.
    fn checked_extent(&self, shape: &[i64], inputs: &[(*const f32, usize)]) -> Result<Extent, String> {
        let extent = self.extent(shape)?;
        self.check(inputs, &extent)?;
        Ok(extent)
    }

    /// Returns the shape as rows and columns; one row when nothing depends on rows.
    fn extent(&self, shape: &[i64]) -> Result<Extent, String> {
        let length = |dims: &[i64]| {
            let mut lengths = dims.iter().map(|n| usize::try_from(*n).unwrap_or(0));
            let count = lengths.try_fold(1_usize, usize::checked_mul);
            count.ok_or_else(|| format!("{NAME}: shape {shape:?} is larger than memory"))
        };
        let rowwise =
            self.program.inputs.iter().any(|input| matches!(input, Broadcast::Tail | Broadcast::Column))
                || self.program.outputs.iter().any(|output| output.summation != Summation::None);
        match shape.split_last() {
            Some((last, lead)) if rowwise => {
                let (rows, columns) = (length(lead)?, length(&[*last])?);
                // With either length 0 there are no elements, however large the other one is.
                length(&[rows as i64, columns as i64])?;
                Ok(Extent { rows, columns })
            }
            _ => Ok(Extent { rows: 1, columns: length(shape)? }),
        }
    }

    fn check(&self, inputs: &[(*const f32, usize)], extent: &Extent) -> Result<(), String> {
        for (at, (broadcast, (_, length))) in self.program.inputs.iter().zip(inputs).enumerate() {
            let fits = match broadcast {
                Broadcast::Full => *length == extent.rows * extent.columns,
                Broadcast::Tail => *length > 0 && length.is_multiple_of(extent.columns.max(1)),
                Broadcast::Column => *length == extent.rows,
                Broadcast::Scalar => *length == 1,
            };
            if !fits && extent.rows * extent.columns > 0 {
                return Err(format!(
                    "{NAME}: input {at} has {length} elements, which do not cover {} rows of {} as \
                     {broadcast:?}",
                    extent.rows, extent.columns
                ));
            }
        }
        Ok(())
    }

    /// Computes the outputs. `each` is called with the number of pieces of work, and runs them all.
    ///
    /// # Safety
    /// The inputs cover the extent as the program says, and the outputs have the length that it says.
    #[expect(unsafe_code, reason = "see above")]
    unsafe fn run<E>(
        &self,
        extent: &Extent,
        inputs: &[(*const f32, usize)],
        outputs: &[*mut f32],
        each: impl FnOnce(usize, &(dyn Fn(usize) + Sync)) -> Result<(), E>,
    ) -> Result<(), E> {
        let size = extent.rows * extent.columns;
        // One piece sums a whole row, so a single row with sums is not split.
        let whole = extent.rows == 1 && !self.plan.row_sums.is_empty();
        let pieces = if whole { 1 } else { (size / PIECE).clamp(1, PIECES) };
        let sums = self.program.outputs.iter().filter(|output| output.summation == Summation::Column).count();
        let mut partial = vec![0.0_f32; pieces * sums * extent.columns];
        let run = block::PointwiseRun::new(
            &self.program,
            &self.plan,
            *extent,
            pieces,
            inputs,
            outputs,
            &mut partial,
        );
        if size > 0 {
            let level = self.level;
            // SAFETY: the caller guarantees the lengths, and every piece runs once.
            each(pieces, &|piece| level.run(unsafe { run.piece_of(piece) }))?;
        } else {
            // Without elements no piece runs, and a sum over a row of no elements is 0.
            for (_, output) in &self.plan.row_sums {
                // SAFETY: a row sum has one element for each row, and nothing else writes it.
                unsafe { std::slice::from_raw_parts_mut(outputs[*output], extent.rows) }.fill(0.0);
            }
        }
        let columns = self
            .program
            .outputs
            .iter()
            .zip(outputs)
            .filter(|(output, _)| output.summation == Summation::Column);
        for (number, (_, output)) in columns.enumerate() {
            // SAFETY: a column sum has one element per column, and nothing else writes it.
            let whole = unsafe { std::slice::from_raw_parts_mut(*output, extent.columns) };
            whole.fill(0.0);
            for piece in 0..pieces {
                let from = (piece * sums + number) * extent.columns;
                whole.iter_mut().zip(&partial[from..]).for_each(|(sum, part)| *sum += part);
            }
        }
        Ok(())
    }
}

/// Runs a fused program on one thread and without the engine: for tests. `full` is the shape, and `inputs`
/// the elements of each input. Returns the elements of each output.
///
/// # Errors
/// If the inputs do not cover the shape as the program says.
#[doc(hidden)]
pub fn run_program(program: &Program, full: &[i64], inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>, String> {
    if inputs.len() != program.inputs.len() || full.iter().any(|length| *length < 0) {
        return Err(format!("expected {} inputs and a shape, got {}", program.inputs.len(), inputs.len()));
    }
    let kernel = PointwiseKernel::new(program.clone());
    let inputs: Vec<_> = inputs.iter().map(|values| (values.as_ptr(), values.len())).collect();
    let extent = kernel.checked_extent(full, &inputs)?;
    let length = |output| output_shape(output, full).iter().product::<i64>() as usize;
    let mut outputs: Vec<Vec<f32>> =
        program.outputs.iter().map(|output| vec![f32::NAN; length(output)]).collect();
    let places: Vec<*mut f32> = outputs.iter_mut().map(|values| values.as_mut_ptr()).collect();
    // SAFETY: the extent was checked, and the outputs were made with the shapes of `output_shape`.
    #[expect(unsafe_code, reason = "see above")]
    let ran = unsafe {
        kernel.run(&extent, &inputs, &places, |pieces, piece| {
            (0..pieces).for_each(piece);
            Ok::<(), String>(())
        })
    };
    ran.map(|()| outputs)
}

/// Returns the shape of an output, given the shape that the node runs over.
fn output_shape(output: &ProgramOutput, shape: &[i64]) -> Vec<i64> {
    let rank = shape.len();
    let summed = |at: usize| match output.summation {
        Summation::None => false,
        Summation::Row => at + 1 == rank,
        Summation::Column => at + 1 < rank,
    };
    let length = |(at, length): (usize, &i64)| match summed(at) {
        false => Some(*length),
        true => output.keep.then_some(1),
    };
    shape.iter().enumerate().filter_map(length).collect()
}
