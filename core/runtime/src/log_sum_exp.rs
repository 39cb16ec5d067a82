//! The kernel of `chiasm.LogSumExp`: `ln(sum(e^x))` over the rows or the columns of a matrix.
//!
//! It is `m + ln(sum(e^(x - m)))` with the largest element m, which neither overflows nor underflows. The
//! work is split by size only, and the parts of a column are joined in their order, so that the result does
//! not depend on the number of threads. A row or column of `-inf` gives `-inf`, NaN gives NaN.

use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use crate::guarded::{guarded, guarded_pieces};
use crate::parts::Parts;
use crate::pointwise::math::exp;
use crate::vectorised::{InstructionSet, Vectorised};

/// The operator's name in messages.
const NAME: &str = "chiasm.LogSumExp";
/// The number of elements per piece of work.
const PIECE: usize = 32 * 1024;
/// The most pieces; each has buffers for the columns.
const PIECES: usize = 32;
/// Partial maxima and sums of a row, so that the compiler uses vector instructions.
const LANES: usize = 16;

pub(crate) struct LogSumExpOperator;

impl Operator for LogSumExpOperator {
    type Kernel<'attr> = LogSumExpKernel;

    fn name(&self) -> &str {
        chiasm_graph::fuse::LOG_SUM_EXP
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<LogSumExpKernel> {
        let int = |name: &str| context.get::<i64>(name).unwrap_or(1);
        let level = InstructionSet::detect();
        Ok(LogSumExpKernel { over_rows: int("axis") == 0, keep: int("keepdims") != 0, level })
    }
}

/// The kernel of one node.
pub(crate) struct LogSumExpKernel {
    /// Whether it sums over the rows, for each column.
    over_rows: bool,
    /// Whether the summed axis is kept with length one.
    keep: bool,
    level: InstructionSet,
}

impl Kernel for LogSumExpKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        guarded(NAME, || self.reduce(context))
    }
}

impl LogSumExpKernel {
    fn reduce(&self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new(format!("{NAME}: a value is missing"));
        let x = context.input(0)?.ok_or_else(missing)?;
        let (shape, x) = x.try_extract_tensor::<f32>()?;
        let [rows, columns] = shape.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect::<Vec<_>>()[..]
        else {
            return Err(ort::Error::new(format!("{NAME}: expected a matrix, got shape {shape:?}")));
        };
        let shape: Vec<i64> = match (self.over_rows, self.keep) {
            (true, true) => vec![1, columns as i64],
            (true, false) => vec![columns as i64],
            (false, true) => vec![rows as i64, 1],
            (false, false) => vec![rows as i64],
        };
        let mut y = context.output(0, shape)?.ok_or_else(missing)?;
        let (_, y) = y.try_extract_tensor_mut::<f32>()?;
        if x.is_empty() {
            y.fill(f32::NEG_INFINITY);
            return Ok(());
        }
        let pieces = (x.len() / PIECE).clamp(1, PIECES.min(rows));
        let each = |run: &(dyn Fn(usize) + Sync + Send)| guarded_pieces(NAME, context, pieces, run);
        match self.over_rows {
            true => self.columns(x, columns, pieces, y, each),
            false => self.rows(x, columns, pieces, y, each),
        }
    }

    /// One result for each row.
    fn rows(
        &self,
        x: &[f32],
        columns: usize,
        pieces: usize,
        y: &mut [f32],
        each: impl FnOnce(&(dyn Fn(usize) + Sync + Send)) -> ort::Result<()>,
    ) -> ort::Result<()> {
        let parts = Parts::new(y, pieces);
        each(&|piece| {
            let (from, to) = parts.bounds(piece);
            // SAFETY: each piece runs once.
            #[expect(unsafe_code, reason = "see above")]
            let own = unsafe { parts.part(piece) };
            self.level.run(Rows { x: &x[from * columns..to * columns], columns, y: own });
        })
    }

    /// One result for each column: each piece takes some of the rows.
    fn columns(
        &self,
        x: &[f32],
        columns: usize,
        pieces: usize,
        y: &mut [f32],
        each: impl FnOnce(&(dyn Fn(usize) + Sync + Send)) -> ort::Result<()>,
    ) -> ort::Result<()> {
        let rows = x.len() / columns;
        // The largest elements of each piece, then its sums.
        let mut partial = vec![0.0_f32; pieces * 2 * columns];
        let parts = Parts::new(&mut partial, pieces);
        each(&|piece| {
            let (from, to) = (rows * piece / pieces, rows * (piece + 1) / pieces);
            // SAFETY: each piece runs once.
            #[expect(unsafe_code, reason = "see above")]
            let (most, sums) = unsafe { parts.part(piece) }.split_at_mut(columns);
            self.level.run(Columns { x: &x[from * columns..to * columns], most, sums });
        })?;
        for (column, y) in y.iter_mut().enumerate() {
            let of = |piece: usize| {
                (partial[piece * 2 * columns + column], partial[(piece * 2 + 1) * columns + column])
            };
            let most = (0..pieces).map(|piece| of(piece).0).fold(f32::NEG_INFINITY, larger);
            let sum: f32 = (0..pieces).map(of).map(|(own, sum)| sum * (own - shift(most)).exp()).sum();
            *y = joined(most, sum);
        }
        Ok(())
    }
}

/// The reduction of some rows to one number each.
struct Rows<'a> {
    x: &'a [f32],
    columns: usize,
    y: &'a mut [f32],
}

impl Vectorised for Rows<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        rows::<FMA>(self.x, self.columns, self.y);
    }
}

/// The reduction of some rows to the largest element of each column and a sum.
struct Columns<'a> {
    x: &'a [f32],
    most: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Vectorised for Columns<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        columns::<FMA>(self.x, self.most, self.sums);
    }
}

/// One result for each row.
#[inline(always)]
fn rows<const FMA: bool>(x: &[f32], columns: usize, y: &mut [f32]) {
    for (row, y) in x.chunks_exact(columns).zip(y) {
        let (blocks, rest) = row.as_chunks::<LANES>();
        let mut most = [f32::NEG_INFINITY; LANES];
        for block in blocks {
            for lane in 0..LANES {
                most[lane] = larger(most[lane], block[lane]);
            }
        }
        let most = most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger);
        let by = shift(most);
        let mut sums = [0.0_f32; LANES];
        for block in blocks {
            for lane in 0..LANES {
                sums[lane] += exp::<FMA>(block[lane] - by);
            }
        }
        let rest: f32 = rest.iter().map(|value| exp::<FMA>(value - by)).sum();
        *y = joined(most, sums.iter().sum::<f32>() + rest);
    }
}

/// The largest element of each column, and the sums of `e^(x - largest)`.
#[inline(always)]
fn columns<const FMA: bool>(x: &[f32], most: &mut [f32], sums: &mut [f32]) {
    most.fill(f32::NEG_INFINITY);
    sums.fill(0.0);
    for row in x.chunks_exact(most.len()) {
        most.iter_mut().zip(row).for_each(|(most, value)| *most = larger(*most, *value));
    }
    for row in x.chunks_exact(most.len()) {
        for ((sum, value), most) in sums.iter_mut().zip(row).zip(&*most) {
            *sum += exp::<FMA>(value - shift(*most));
        }
    }
}

/// The larger of two numbers; NaN if the new one is NaN, or the old one was.
#[inline(always)]
fn larger(old: f32, new: f32) -> f32 {
    if old > new || old.is_nan() { old } else { new }
}

/// What is subtracted from the exponents: the largest of them, if it is a number.
#[inline(always)]
fn shift(most: f32) -> f32 {
    if most.abs() < f32::INFINITY { most } else { 0.0 }
}

/// The logarithm of the sum of exponentials that were shifted by the largest.
#[inline(always)]
fn joined(most: f32, sum: f32) -> f32 {
    if most.abs() < f32::INFINITY { most + sum.ln() } else { most }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both directions on one thread, by columns in this number of pieces.
    fn reduced(x: &[f32], width: usize, pieces: usize) -> (Vec<f32>, Vec<f32>) {
        let level = InstructionSet::detect();
        let (mut by_row, mut by_column) = (vec![0.0; x.len() / width], vec![0.0; width]);
        let kernel = LogSumExpKernel { over_rows: true, keep: false, level };
        let all = |run: &(dyn Fn(usize) + Sync + Send)| {
            (0..pieces).for_each(run);
            Ok(())
        };
        kernel.rows(x, width, pieces, &mut by_row, all).unwrap();
        kernel.columns(x, width, pieces, &mut by_column, all).unwrap();
        (by_row, by_column)
    }

    /// The definition in double precision.
    fn exact(values: impl Iterator<Item = f32> + Clone) -> f64 {
        let most = values.clone().fold(f32::NEG_INFINITY, f32::max);
        f64::from(most) + values.map(|v| (f64::from(v) - f64::from(most)).exp()).sum::<f64>().ln()
    }

    /// Tolerance: the elementary functions are accurate to 2 units in the last place, and the sums of
    /// hundreds of numbers lose a few more: 1e-6 of the result or of one.
    #[test]
    fn logarithms_of_sums_agree_with_double_precision() {
        for (rows, width, scale) in [(37, 45, 1.0), (64, 128, 30.0), (3, 1, 1e30), (1, 700, 200.0)] {
            let at = |i: usize| ((i * 7919 % 2003) as f32 / 1001.0 - 1.0) * scale;
            let x: Vec<f32> = (0..rows * width).map(at).collect();
            let (by_row, by_column) = reduced(&x, width, rows.min(5));
            let close = |got: f32, want: f64| (f64::from(got) - want).abs() <= 1e-6 * want.abs().max(1.0);
            for (row, got) in by_row.iter().enumerate() {
                let want = exact(x[row * width..(row + 1) * width].iter().copied());
                assert!(close(*got, want), "row {row}: {got}, expected {want}");
            }
            for (column, got) in by_column.iter().enumerate() {
                let want = exact(x.iter().skip(column).step_by(width).copied());
                assert!(close(*got, want), "column {column}: {got}, expected {want}");
            }
        }
    }

    #[test]
    fn infinities_and_nan_give_the_mathematical_limits() {
        let (low, high, nan) = (f32::NEG_INFINITY, f32::INFINITY, f32::NAN);
        let x = [low, 0.0, low, low, nan, 1.0, high, 2.0, 3.0, low, 4.0, nan];
        let (by_row, by_column) = reduced(&x, 2, 3);
        assert_eq!((by_row[0], by_row[1], by_row[3]), (0.0, low, high));
        assert!(by_row[2].is_nan() && by_row[5].is_nan() && by_column.iter().all(|value| value.is_nan()));
        assert_eq!(reduced(&[low; 6], 3, 2), (vec![low; 2], vec![low; 3]));
    }
}
