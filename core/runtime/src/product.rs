//! The kernel of `chiasm.Product`: a matrix product whose operands may be transposed.
//!
//! ONNX Runtime's own product reads and writes its result once per 128 terms of a sum; the sums of a training
//! step have a thousand terms and more. faer's kernels keep their part of the result in registers and caches
//! for longer. The result is split into parts by size only, so that it does not depend on the number of
//! threads. Operands that are not matrices, or whose inner lengths differ, are an error of the run.
//!
//! On processors of Intel with AVX-512 the products are left to ONNX Runtime: there, on matrices of the sizes
//! of a training step, it reaches 300 to 357 GFLOP/s on two cores (256 to 280 with the first operand
//! transposed), faer 220 to 280, and PyTorch's MKL 290 to 390 (Xeon of the Sapphire Rapids kind).

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use crate::guarded::{guarded, guarded_pieces};
#[cfg(target_arch = "x86_64")]
use crate::vectorised::InstructionSet;

/// The number of multiplications per piece of a large product.
const PIECE: usize = 1 << 24;
/// The number of multiplications per piece of a smaller one, which is split into at most `FEW` pieces: to
/// start a piece on another thread takes as long as some ten thousand multiplications.
const SMALL_PIECE: usize = 1 << 22;
const FEW: usize = 4;

/// The operator's name in messages.
const NAME: &str = "chiasm.Product";

/// Whether ONNX Runtime's own products are faster than this kernel on this processor.
pub(crate) fn engine_is_faster() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let vendor = raw_cpuid::CpuId::new().get_vendor_info();
        vendor.is_some_and(|vendor| vendor.as_str() == "GenuineIntel")
            && InstructionSet::detect() == InstructionSet::Avx512
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

pub(crate) struct ProductOperator;

impl Operator for ProductOperator {
    type Kernel<'attr> = ProductKernel;

    fn name(&self) -> &str {
        chiasm_graph::fuse::PRODUCT
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [
            OperatorInput::required(TensorElementType::Float32),
            OperatorInput::required(TensorElementType::Float32),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<ProductKernel> {
        let flag = |name: &str| context.get::<i64>(name).unwrap_or(0) != 0;
        Ok(ProductKernel { a: flag("transA"), b: flag("transB") })
    }
}

/// The kernel of one node: which operands are transposed.
pub(crate) struct ProductKernel {
    a: bool,
    b: bool,
}

impl Kernel for ProductKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        guarded(NAME, || self.product(context))
    }
}

impl ProductKernel {
    fn product(&self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new("chiasm.Product: an operand is missing");
        let (a, b) = (context.input(0)?.ok_or_else(missing)?, context.input(1)?.ok_or_else(missing)?);
        let (a, b) = (matrix(a.try_extract_tensor::<f32>()?)?, matrix(b.try_extract_tensor::<f32>()?)?);
        let a = if self.a { a.transpose() } else { a };
        let b = if self.b { b.transpose() } else { b };
        if a.ncols() != b.nrows() {
            return Err(ort::Error::new(format!(
                "chiasm.Product: expected equal inner lengths, got [{}, {}] times [{}, {}]",
                a.nrows(),
                a.ncols(),
                b.nrows(),
                b.ncols()
            )));
        }
        let (rows, columns) = (a.nrows(), b.ncols());
        let mut value = context.output(0, [rows as i64, columns as i64])?.ok_or_else(missing)?;
        let (_, data) = value.try_extract_tensor_mut::<f32>()?;
        if data.is_empty() {
            return Ok(());
        }
        let result = ResultMemory { data: data.as_mut_ptr(), columns };
        let (over_rows, over_columns) = grid(rows, columns, a.ncols());
        let share = |length: usize, piece: usize, of: usize| (length * piece / of, length * (piece + 1) / of);
        guarded_pieces(NAME, context, over_rows * over_columns, |piece| {
            let r = share(rows, piece / over_columns, over_rows);
            let c = share(columns, piece % over_columns, over_columns);
            let (a, b) = (a.subrows(r.0, r.1 - r.0), b.subcols(c.0, c.1 - c.0));
            // SAFETY: the pieces are disjoint parts of the result, which has `rows * columns` elements.
            #[expect(unsafe_code, reason = "see above")]
            let into = unsafe { result.part(r, c) };
            matmul(into, Accum::Replace, a, b, 1.0, Par::Seq);
        })
    }
}

/// The numbers of parts into which the rows and the columns of a result are split. A part packs its share of
/// both operands, so the parts are nearly square.
fn grid(rows: usize, columns: usize, inner: usize) -> (usize, usize) {
    let work = rows.saturating_mul(columns).saturating_mul(inner.max(1));
    // A power of two divides evenly among as many threads.
    let pieces = (work / PIECE).max((work / SMALL_PIECE).min(FEW)).clamp(1, 64).next_power_of_two();
    let (mut over_rows, mut over_columns) = (1, 1);
    while over_rows * over_columns < pieces {
        match rows / over_rows >= columns / over_columns {
            true => over_rows *= 2,
            false => over_columns *= 2,
        }
    }
    (over_rows, over_columns)
}

/// The memory of a row-major result.
struct ResultMemory {
    data: *mut f32,
    columns: usize,
}

// SAFETY: each thread writes a disjoint part.
#[expect(unsafe_code, reason = "see above")]
unsafe impl Sync for ResultMemory {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "see above")]
unsafe impl Send for ResultMemory {}

impl ResultMemory {
    /// Returns some rows and columns as a writable matrix.
    ///
    /// # Safety
    /// They lie in the result, and no other reference to them exists.
    #[expect(unsafe_code, reason = "see above")]
    unsafe fn part(&self, rows: (usize, usize), columns: (usize, usize)) -> MatMut<'_, f32> {
        // SAFETY: the caller guarantees it.
        unsafe {
            let start = self.data.add(rows.0 * self.columns + columns.0);
            MatMut::from_raw_parts_mut(
                start,
                rows.1 - rows.0,
                columns.1 - columns.0,
                self.columns as isize,
                1,
            )
        }
    }
}

fn matrix<'v>((shape, data): (&ort::value::Shape, &'v [f32])) -> ort::Result<MatRef<'v, f32>> {
    match shape.iter().map(|length| usize::try_from(*length).unwrap_or(0)).collect::<Vec<_>>()[..] {
        [rows, columns] if rows.checked_mul(columns) == Some(data.len()) => {
            Ok(MatRef::from_row_major_slice(data, rows, columns))
        }
        _ => Err(ort::Error::new(format!("chiasm.Product: expected a matrix, got shape {shape:?}"))),
    }
}
