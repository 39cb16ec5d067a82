//! The interpreter: all instructions over one block of a row, then the next block.
//!
//! The loops are plain Rust over slices; the same code is compiled for three widths of vector instructions
//! and chosen when the session opens, so that one binary serves every processor.

use chiasm_graph::fuse::{Broadcast, Operation, Program};

use super::math::{erf, exp, log, sigmoid, tanh};
use super::plan::{Place, Plan};

/// Elements of a block: a register is 1 KiB, and a few dozen fit the first-level cache.
pub(super) const BLOCK: usize = 256;

/// A value of every element of a block, on the boundary of a cache line: a vector that lies on two costs
/// twice.
#[derive(Clone)]
#[repr(align(64))]
struct Register([f32; BLOCK]);

/// Rows and columns of what a node runs over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// The vector instructions that the processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Those that every processor of the kind has.
    Base,
    /// 256 bits with fused products.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let wide = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if wide && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                return Self::Avx512;
            }
            if wide {
                return Self::Avx2;
            }
        }
        Self::Base
    }
}

/// One run of a fused node, shared by the threads that share its work.
pub(super) struct Task<'a> {
    program: &'a Program,
    plan: &'a Plan,
    area: Area,
    pieces: usize,
    inputs: &'a [(*const f32, usize)],
    outputs: &'a [*mut f32],
    /// Sums of columns: piece by piece, sum by sum.
    partial: *mut f32,
}

// SAFETY: the pieces of a task read the inputs and write disjoint parts of the outputs and of the partial
// sums.
#[expect(unsafe_code, reason = "see above")]
unsafe impl Sync for Task<'_> {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "see above")]
unsafe impl Send for Task<'_> {}

impl<'a> Task<'a> {
    pub(super) fn new(
        program: &'a Program,
        plan: &'a Plan,
        area: Area,
        pieces: usize,
        inputs: &'a [(*const f32, usize)],
        outputs: &'a [*mut f32],
        partial: &mut [f32],
    ) -> Self {
        Self { program, plan, area, pieces, inputs, outputs, partial: partial.as_mut_ptr() }
    }

    /// Runs one piece: a share of the rows, or of the columns of a single row.
    ///
    /// # Safety
    /// The inputs cover the area as the program says, the outputs are as long as it says, and no other call
    /// runs this piece.
    #[expect(unsafe_code, reason = "see above")]
    pub(super) unsafe fn run(&self, level: Level, piece: usize) {
        // SAFETY: the caller's promise; the level was detected on this processor.
        unsafe {
            match level {
                Level::Base => self.piece::<false>(piece),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => self.piece_avx2(piece),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => self.piece_avx512(piece),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    #[expect(unsafe_code, reason = "for a processor that has these instructions")]
    unsafe fn piece_avx2(&self, piece: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.piece::<true>(piece) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
    #[expect(unsafe_code, reason = "for a processor that has these instructions")]
    unsafe fn piece_avx512(&self, piece: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.piece::<true>(piece) }
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "the caller's promise")]
    unsafe fn piece<const FMA: bool>(&self, piece: usize) {
        let share = |length: usize| (length * piece / self.pieces, length * (piece + 1) / self.pieces);
        let (rows, columns) = match self.area.rows {
            1 => ((0, 1), share(self.area.columns)),
            rows => (share(rows), (0, self.area.columns)),
        };
        let mut registers = vec![Register([0.0; BLOCK]); self.plan.registers];
        let mut fill = |register: usize, value: f32| registers[register].0.fill(value);
        self.plan.constants.iter().for_each(|(register, value)| fill(*register, *value));
        // SAFETY: a scalar input has one element.
        self.plan
            .scalars
            .iter()
            .for_each(|(register, input)| fill(*register, unsafe { *self.inputs[*input].0 }));
        let sums = self.plan.column_sums.len() * self.area.columns;
        let mut totals = vec![0.0_f32; self.plan.row_sums.len()];
        for row in rows.0..rows.1 {
            for (register, input) in &self.plan.columns {
                // SAFETY: a column has one element a row.
                let value = unsafe { *self.inputs[*input].0.add(row) };
                registers[*register].0.fill(value);
            }
            let mut from = columns.0;
            totals.fill(0.0);
            while from < columns.1 {
                let length = BLOCK.min(columns.1 - from);
                let at = At { row, from, length, registers: registers.as_mut_ptr().cast() };
                // SAFETY: the block lies in this piece's part of the area.
                unsafe {
                    self.steps::<FMA>(&at);
                    for ((place, _), total) in self.plan.row_sums.iter().zip(&mut totals) {
                        *total += sum(std::slice::from_raw_parts(self.address(*place, &at), length));
                    }
                    for (number, place) in self.plan.column_sums.iter().enumerate() {
                        let values = std::slice::from_raw_parts(self.address(*place, &at), length);
                        let start = piece * sums + number * self.area.columns + from;
                        let into = std::slice::from_raw_parts_mut(self.partial.add(start), length);
                        into.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                    }
                }
                from += length;
            }
            for ((_, output), total) in self.plan.row_sums.iter().zip(&totals) {
                // SAFETY: a sum over rows has one element a row.
                unsafe { *self.outputs[*output].add(row) = *total };
            }
        }
    }

    /// Where a value lies for this block.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the caller's promise")]
    unsafe fn address(&self, place: Place, at: &At) -> *mut f32 {
        let offset = at.row * self.area.columns + at.from;
        // SAFETY: inputs and outputs cover the area, and every register has a block.
        unsafe {
            match place {
                Place::Register(register) => at.registers.add(register * BLOCK),
                Place::Output(output) => self.outputs[output].add(offset),
                Place::Input(input) => {
                    let (data, length) = self.inputs[input];
                    let offset = match self.program.inputs[input] {
                        Broadcast::Tail => (at.row * self.area.columns) % length + at.from,
                        _ => offset,
                    };
                    data.add(offset).cast_mut()
                }
            }
        }
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "the caller's promise")]
    unsafe fn steps<const FMA: bool>(&self, at: &At) {
        for step in &self.plan.steps {
            // SAFETY: a result never lies where an operand of its instruction does: outputs are nobody's
            // operand before they are written, and registers are freed after the instruction that uses them
            // last.
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
struct At {
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
        // Not-a-number passes, as in ONNX Runtime.
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

/// A sum in 16 strands, which the compiler keeps in one vector.
#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let mut strands = [0.0_f32; 16];
    let whole = values.chunks_exact(16);
    let rest: f32 = whole.remainder().iter().sum();
    for chunk in whole {
        strands.iter_mut().zip(chunk).for_each(|(strand, value)| *strand += value);
    }
    strands.iter().sum::<f32>() + rest
}
