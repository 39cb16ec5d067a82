//! The interpreter: applies all instructions to one block of a row, then to the next block.
//!
//! The loops are plain Rust over slices, which are compiled for three widths of vector instructions
//! ([`crate::vectorised`]).

use chiasm_graph::fuse::{Broadcast, Operation, Program};

use crate::vectorised::Vectorised;

use super::math::{erf, exp, log, sigmoid, tanh};
use super::plan::{Location, RegisterPlan};

/// The elements of a block. A register is 1 KiB, and a few dozen fit the first-level cache.
pub(super) const BLOCK: usize = 256;

/// One value for every element of a block, aligned to a cache line: a vector that crosses two lines costs
/// twice as much.
#[derive(Clone)]
#[repr(align(64))]
struct Register([f32; BLOCK]);

/// The rows and columns that a node runs over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// One run of a fused node, shared by the threads that compute its pieces.
pub(super) struct PointwiseRun<'a> {
    program: &'a Program,
    plan: &'a RegisterPlan,
    extent: Extent,
    pieces: usize,
    inputs: &'a [(*const f32, usize)],
    outputs: &'a [*mut f32],
    /// Partial column sums, `[pieces, sums, columns]`.
    partial: *mut f32,
}

// SAFETY: the pieces read the inputs and write disjoint parts of the outputs and of the partial sums.
#[expect(unsafe_code, reason = "see above")]
unsafe impl Sync for PointwiseRun<'_> {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "see above")]
unsafe impl Send for PointwiseRun<'_> {}

/// One piece of a run: a share of the rows, or of the columns of a single row.
pub(super) struct PointwisePiece<'r, 'a> {
    run: &'r PointwiseRun<'a>,
    piece: usize,
}

impl Vectorised for PointwisePiece<'_, '_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        // SAFETY: whoever made the piece guarantees it.
        #[expect(unsafe_code, reason = "see above")]
        unsafe {
            self.run.piece::<FMA>(self.piece);
        }
    }
}

impl<'a> PointwiseRun<'a> {
    /// Returns a piece.
    ///
    /// # Safety
    /// The inputs cover the extent as the program says, the outputs have the length that it says, and the
    /// piece is run once.
    #[expect(unsafe_code, reason = "see above")]
    pub(super) unsafe fn piece_of(&self, piece: usize) -> PointwisePiece<'_, 'a> {
        PointwisePiece { run: self, piece }
    }

    pub(super) fn new(
        program: &'a Program,
        plan: &'a RegisterPlan,
        extent: Extent,
        pieces: usize,
        inputs: &'a [(*const f32, usize)],
        outputs: &'a [*mut f32],
        partial: &mut [f32],
    ) -> Self {
        Self { program, plan, extent, pieces, inputs, outputs, partial: partial.as_mut_ptr() }
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "the caller guarantees it")]
    unsafe fn piece<const FMA: bool>(&self, piece: usize) {
        let share = |length: usize| (length * piece / self.pieces, length * (piece + 1) / self.pieces);
        let (rows, columns) = match self.extent.rows {
            1 => ((0, 1), share(self.extent.columns)),
            rows => (share(rows), (0, self.extent.columns)),
        };
        let mut registers = vec![Register([0.0; BLOCK]); self.plan.registers];
        let mut fill = |register: usize, value: f32| registers[register].0.fill(value);
        self.plan.constants.iter().for_each(|(register, value)| fill(*register, *value));
        // SAFETY: a scalar input has one element.
        self.plan
            .scalars
            .iter()
            .for_each(|(register, input)| fill(*register, unsafe { *self.inputs[*input].0 }));
        let sums = self.plan.column_sums.len() * self.extent.columns;
        let mut totals = vec![0.0_f32; self.plan.row_sums.len()];
        for row in rows.0..rows.1 {
            for (register, input) in &self.plan.columns {
                // SAFETY: a column has one element per row.
                let value = unsafe { *self.inputs[*input].0.add(row) };
                registers[*register].0.fill(value);
            }
            let mut from = columns.0;
            totals.fill(0.0);
            while from < columns.1 {
                let length = BLOCK.min(columns.1 - from);
                let at = Block { row, from, length, registers: registers.as_mut_ptr().cast() };
                // SAFETY: the block lies in this piece's part of the extent.
                unsafe {
                    self.steps::<FMA>(&at);
                    for ((place, _), total) in self.plan.row_sums.iter().zip(&mut totals) {
                        *total += sum(std::slice::from_raw_parts(self.address(*place, &at), length));
                    }
                    for (number, place) in self.plan.column_sums.iter().enumerate() {
                        let values = std::slice::from_raw_parts(self.address(*place, &at), length);
                        let start = piece * sums + number * self.extent.columns + from;
                        let into = std::slice::from_raw_parts_mut(self.partial.add(start), length);
                        into.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                    }
                }
                from += length;
            }
            for ((_, output), total) in self.plan.row_sums.iter().zip(&totals) {
                // SAFETY: a row sum has one element per row.
                unsafe { *self.outputs[*output].add(row) = *total };
            }
        }
    }

    /// Returns the address of a value for this block.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the caller guarantees it")]
    unsafe fn address(&self, place: Location, at: &Block) -> *mut f32 {
        let offset = at.row * self.extent.columns + at.from;
        // SAFETY: inputs and outputs cover the extent, and every register has one block.
        unsafe {
            match place {
                Location::Register(register) => at.registers.add(register * BLOCK),
                Location::Output(output) => self.outputs[output].add(offset),
                Location::Input(input) => {
                    let (data, length) = self.inputs[input];
                    let offset = match self.program.inputs[input] {
                        Broadcast::Tail => (at.row * self.extent.columns) % length + at.from,
                        _ => offset,
                    };
                    data.add(offset).cast_mut()
                }
            }
        }
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "the caller guarantees it")]
    unsafe fn steps<const FMA: bool>(&self, at: &Block) {
        for step in &self.plan.steps {
            // SAFETY: a result never shares memory with an operand of its instruction: outputs are no
            // operands before they are written, and a register is freed only after the instruction that last
            // uses it.
            let (a, b, c, into) = unsafe {
                let read =
                    |place| std::slice::from_raw_parts(self.address(place, at).cast_const(), at.length);
                let into = std::slice::from_raw_parts_mut(self.address(step.result, at), at.length);
                (read(step.operands[0]), read(step.operands[1]), read(step.operands[2]), into)
            };
            operate::<FMA>(step.operation, a, b, c, into);
        }
    }
}

/// A block: `length` elements of a row.
struct Block {
    row: usize,
    from: usize,
    length: usize,
    registers: *mut f32,
}

#[inline(always)]
fn operate<const FMA: bool>(operation: Operation, a: &[f32], b: &[f32], c: &[f32], into: &mut [f32]) {
    let truth = |holds: bool| f32::from(u8::from(holds));
    match operation {
        Operation::Add => two(a, b, into, |x, y| x + y),
        Operation::Sub => two(a, b, into, |x, y| x - y),
        Operation::Mul => two(a, b, into, |x, y| x * y),
        Operation::Div => two(a, b, into, |x, y| x / y),
        // NaN propagates, as in ONNX Runtime.
        Operation::Max => two(a, b, into, |x, y| if x > y || x.is_nan() { x } else { y }),
        Operation::Min => two(a, b, into, |x, y| if x < y || x.is_nan() { x } else { y }),
        Operation::Neg => one(a, into, |x| -x),
        Operation::Sqrt => one(a, into, f32::sqrt),
        Operation::Exp => one(a, into, exp::<FMA>),
        Operation::Log => one(a, into, log::<FMA>),
        Operation::Abs => one(a, into, f32::abs),
        Operation::Sign => one(a, into, |x| truth(x > 0.0) - truth(x < 0.0)),
        Operation::Erf => one(a, into, erf::<FMA>),
        Operation::Tanh => one(a, into, tanh::<FMA>),
        Operation::Sigmoid => one(a, into, sigmoid::<FMA>),
        Operation::Relu => one(a, into, |x| if x < 0.0 { 0.0 } else { x }),
        Operation::Reciprocal => one(a, into, |x| 1.0 / x),
        Operation::Where => {
            for (((into, a), b), c) in into.iter_mut().zip(a).zip(b).zip(c) {
                *into = if *a == 0.0 { *c } else { *b };
            }
        }
        Operation::Equal => two(a, b, into, |x, y| truth(x == y)),
        Operation::Greater => two(a, b, into, |x, y| truth(x > y)),
        Operation::Less => two(a, b, into, |x, y| truth(x < y)),
        Operation::GreaterOrEqual => two(a, b, into, |x, y| truth(x >= y)),
        Operation::LessOrEqual => two(a, b, into, |x, y| truth(x <= y)),
        Operation::Not => one(a, into, |x| truth(x == 0.0)),
        Operation::And => two(a, b, into, |x, y| x * y),
        Operation::Or => two(a, b, into, |x, y| if x > y { x } else { y }),
        Operation::Copy => into.copy_from_slice(a),
    }
}

#[inline(always)]
fn one(a: &[f32], into: &mut [f32], f: impl Fn(f32) -> f32) {
    for (into, a) in into.iter_mut().zip(a) {
        *into = f(*a);
    }
}

#[inline(always)]
fn two(a: &[f32], b: &[f32], into: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    for ((into, a), b) in into.iter_mut().zip(a).zip(b) {
        *into = f(*a, *b);
    }
}

/// Sums in 16 independent accumulators, which the compiler keeps in one vector.
#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let mut accumulators = [0.0_f32; 16];
    let whole = values.chunks_exact(16);
    let rest: f32 = whole.remainder().iter().sum();
    for chunk in whole {
        accumulators.iter_mut().zip(chunk).for_each(|(sum, value)| *sum += value);
    }
    accumulators.iter().sum::<f32>() + rest
}
