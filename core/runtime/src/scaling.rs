//! The kernel of `chiasm.Scaling`: the alternate scaling of a matrix to given row and column sums.
//!
//! `u = a / max(K v, tiny)`, `v = c / max(K' u, tiny)`, a number of times (Sinkhorn and Knopp 1967). As one
//! node it reads the matrix once a step: as soon as the scaling of a row is known, the row is added to the
//! sums of the columns, while it is in the first-level cache. The rows are split by size only, and the sums
//! are added in the order of the parts, so that the result does not depend on the number of threads.

use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use crate::guarded::{guarded, guarded_pieces};
use crate::parts::Parts;
use crate::pointwise::math::fma;
use crate::vectorised::{InstructionSet, Vectorised};

/// The operator's name in messages.
const NAME: &str = "chiasm.Scaling";
/// The number of elements per piece of work. A piece takes about ten microseconds, of which waking another
/// thread takes some.
const PIECE: usize = 128 * 1024;
/// The most pieces; each has sums of the columns.
const PIECES: usize = 32;
/// Partial sums of a row, so that the compiler uses vector instructions.
const LANES: usize = 16;
/// Rows whose steps are computed together, so that additions do not wait for each other.
const ROWS: usize = 4;

pub(crate) struct ScalingOperator;

impl Operator for ScalingOperator {
    type Kernel<'attr> = ScalingKernel;

    fn name(&self) -> &str {
        chiasm_graph::fuse::SCALING
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        // The matrix, the sums of the rows and of the columns, and the first scaling of the columns.
        (0..4).map(|_| OperatorInput::required(TensorElementType::Float32))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        (0..2).map(|_| OperatorOutput::required(TensorElementType::Float32))
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<ScalingKernel> {
        let steps = context.get::<i64>("steps").unwrap_or(0);
        let tiny = context.get::<f32>("tiny").unwrap_or(0.0);
        let steps = usize::try_from(steps).ok().filter(|steps| *steps > 0);
        let steps = steps.ok_or_else(|| ort::Error::new(format!("{NAME}: expected a number of steps")))?;
        Ok(ScalingKernel { steps, tiny, level: InstructionSet::detect() })
    }
}

/// The kernel of one node.
pub(crate) struct ScalingKernel {
    steps: usize,
    /// Below this a sum counts as this.
    tiny: f32,
    level: InstructionSet,
}

impl Kernel for ScalingKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        guarded(NAME, || self.outputs(context))
    }
}

/// A matrix of this many columns, and the sums that its rows and columns are scaled to.
struct Problem<'a> {
    kernel: &'a [f32],
    columns: usize,
    of_rows: &'a [f32],
    of_columns: &'a [f32],
}

impl ScalingKernel {
    fn outputs(&self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new(format!("{NAME}: a value is missing"));
        let input = |at: usize| context.input(at)?.ok_or_else(missing);
        let [kernel, a, c, v] = [input(0)?, input(1)?, input(2)?, input(3)?];
        let (shape, kernel) = kernel.try_extract_tensor::<f32>()?;
        let [a, c, v] = [&a, &c, &v].map(|value| value.try_extract_tensor::<f32>().map(|(_, data)| data));
        let (a, c, v) = (a?, c?, v?);
        if shape[..] != [a.len() as i64, c.len() as i64] || v.len() != c.len() {
            let lengths = (a.len(), c.len(), v.len());
            return Err(ort::Error::new(format!("{NAME}: a matrix {shape:?} does not fit sums {lengths:?}")));
        }
        let mut first = context.output(0, [a.len() as i64, 1])?.ok_or_else(missing)?;
        let mut second = context.output(1, [c.len() as i64, 1])?.ok_or_else(missing)?;
        let (_, u) = first.try_extract_tensor_mut::<f32>()?;
        let (_, scaled) = second.try_extract_tensor_mut::<f32>()?;
        scaled.copy_from_slice(v);
        let problem = Problem { kernel, columns: c.len(), of_rows: a, of_columns: c };
        self.scale(&problem, u, scaled, |pieces, run| match pieces {
            1 => {
                run(0);
                Ok(())
            }
            _ => guarded_pieces(NAME, context, pieces, run),
        })
    }

    /// Scales `u` and `v`, from the given `v`. `each` runs pieces of work.
    fn scale(
        &self,
        problem: &Problem<'_>,
        u: &mut [f32],
        v: &mut [f32],
        each: impl Fn(usize, &(dyn Fn(usize) + Sync + Send)) -> ort::Result<()>,
    ) -> ort::Result<()> {
        let columns = problem.columns;
        if problem.kernel.is_empty() {
            // All sums are zero.
            for (scaling, weights) in [(u, problem.of_rows), (v, problem.of_columns)] {
                scaling
                    .iter_mut()
                    .zip(weights)
                    .for_each(|(one, weight)| *one = weight / at_least(0.0, self.tiny));
            }
            return Ok(());
        }
        let pieces = (problem.kernel.len() / PIECE).clamp(1, PIECES);
        let mut partial = vec![0.0_f32; pieces * columns];
        let level = self.level;
        for _ in 0..self.steps {
            let (own_u, sums) = (Parts::new(u, pieces), Parts::new(&mut partial, pieces));
            let scaling = &*v;
            each(pieces, &|piece| {
                let (from, to) = own_u.bounds(piece);
                // SAFETY: each piece runs once.
                #[expect(unsafe_code, reason = "see above")]
                let (u, sums) = unsafe { (own_u.part(piece), sums.part(piece)) };
                level.run(ScaledRows {
                    kernel: &problem.kernel[from * columns..to * columns],
                    weights: &problem.of_rows[from..to],
                    scaling,
                    tiny: self.tiny,
                    u,
                    sums,
                });
            })?;
            for (column, (v, weight)) in v.iter_mut().zip(problem.of_columns).enumerate() {
                let sum = partial.iter().skip(column).step_by(columns).sum();
                *v = weight / at_least(sum, self.tiny);
            }
        }
        Ok(())
    }
}

/// A step for some rows: their scalings, and what they add to the sums of the columns.
struct ScaledRows<'a> {
    kernel: &'a [f32],
    weights: &'a [f32],
    scaling: &'a [f32],
    tiny: f32,
    u: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Vectorised for ScaledRows<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let columns = self.scaling.len();
        let sums = &mut self.sums[..columns];
        sums.fill(0.0);
        let (fours, rest) = self.kernel.split_at(self.weights.len() / ROWS * ROWS * columns);
        let scaled = |weight: &f32, sum: f32| weight / at_least(sum, self.tiny);
        let (weights, more_weights) = self.weights.as_chunks::<ROWS>();
        let (u, more_u) = self.u.as_chunks_mut::<ROWS>();
        for ((rows, weights), u) in fours.chunks_exact(ROWS * columns).zip(weights).zip(u) {
            let rows: [&[f32]; ROWS] = std::array::from_fn(|at| &rows[at * columns..(at + 1) * columns]);
            let products = dots::<FMA>(rows, self.scaling);
            *u = std::array::from_fn(|at| scaled(&weights[at], products[at]));
            let [a, b, c, d] = rows;
            for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *sum += fma::<FMA>(u[0], *a, u[1] * b) + fma::<FMA>(u[2], *c, u[3] * d);
            }
        }
        for ((row, weight), u) in rest.chunks_exact(columns).zip(more_weights).zip(more_u) {
            *u = scaled(weight, dots::<FMA>([row; ROWS], self.scaling)[0]);
            sums.iter_mut().zip(row).for_each(|(sum, entry)| *sum = fma::<FMA>(*entry, *u, *sum));
        }
    }
}

/// The products of four rows with the same vector.
#[inline(always)]
fn dots<const FMA: bool>(rows: [&[f32]; ROWS], vector: &[f32]) -> [f32; ROWS] {
    let (blocks, end) = vector.as_chunks::<LANES>();
    let [a, b, c, d] = rows.map(|row| row.as_chunks::<LANES>());
    let [mut p, mut q, mut r, mut s] = [[0.0_f32; LANES]; ROWS];
    for ((((v, a), b), c), d) in blocks.iter().zip(a.0).zip(b.0).zip(c.0).zip(d.0) {
        for lane in 0..LANES {
            p[lane] = fma::<FMA>(a[lane], v[lane], p[lane]);
            q[lane] = fma::<FMA>(b[lane], v[lane], q[lane]);
            r[lane] = fma::<FMA>(c[lane], v[lane], r[lane]);
            s[lane] = fma::<FMA>(d[lane], v[lane], s[lane]);
        }
    }
    let rest = [a.1, b.1, c.1, d.1].map(|row| row.iter().zip(end).map(|(x, v)| x * v).sum::<f32>());
    let lanes = [p, q, r, s].map(total);
    std::array::from_fn(|at| lanes[at] + rest[at])
}

/// The sum of the lanes, halves by halves.
#[inline(always)]
fn total(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The larger of a sum and a limit; NaN stays.
#[inline(always)]
fn at_least(sum: f32, limit: f32) -> f32 {
    if sum < limit { limit } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_without_columns_or_rows_has_sums_of_zero() {
        let scaling = ScalingKernel { steps: 3, tiny: 0.5, level: InstructionSet::detect() };
        let none = |_: usize, _: &(dyn Fn(usize) + Sync + Send)| Ok(());
        let (mut u, mut v) = ([f32::NAN; 2], [f32::NAN; 0]);
        let problem = Problem { kernel: &[], columns: 0, of_rows: &[1.0, 2.0], of_columns: &[] };
        scaling.scale(&problem, &mut u, &mut v, none).unwrap();
        assert_eq!(u, [2.0, 4.0]);
        let problem = Problem { kernel: &[], columns: 2, of_rows: &[], of_columns: &[1.0, 2.0] };
        let (mut u, mut v) = ([f32::NAN; 0], [f32::NAN; 2]);
        scaling.scale(&problem, &mut u, &mut v, none).unwrap();
        assert_eq!(v, [2.0, 4.0]);
    }

    /// Tolerance: 60 steps in single precision against double precision; sums of some hundred positive
    /// numbers have relative errors of about 1e-6, which the steps do not enlarge.
    #[test]
    fn scalings_agree_with_double_precision() {
        for (n, m) in [(5, 3), (40, 70), (600, 700)] {
            let kernel: Vec<f32> = (0..n * m).map(|i| (-((i * 7919 % 2003) as f32) / 400.0).exp()).collect();
            let weights = |count: usize| -> Vec<f32> {
                (0..count).map(|i| (1 + i % 3) as f32 / count as f32).collect()
            };
            let (a, c) = (weights(n), weights(m));
            let scaling = ScalingKernel { steps: 60, tiny: 1e-30, level: InstructionSet::detect() };
            let problem = Problem { kernel: &kernel, columns: m, of_rows: &a, of_columns: &c };
            let (mut u, mut v) = (vec![0.0; n], c.clone());
            let all = |pieces: usize, run: &(dyn Fn(usize) + Sync + Send)| {
                (0..pieces).for_each(run);
                Ok(())
            };
            scaling.scale(&problem, &mut u, &mut v, all).unwrap();

            let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
            let (k, a, c) = (wide(&kernel), wide(&a), wide(&c));
            let (mut x, mut y) = (vec![0.0; n], c.clone());
            for _ in 0..60 {
                for i in 0..n {
                    x[i] = a[i] / (0..m).map(|j| k[i * m + j] * y[j]).sum::<f64>();
                }
                for j in 0..m {
                    y[j] = c[j] / (0..n).map(|i| k[i * m + j] * x[i]).sum::<f64>();
                }
            }
            let far = |got: &[f32], want: &[f64]| {
                got.iter()
                    .zip(want)
                    .map(|(got, want)| (f64::from(*got) / want - 1.0).abs())
                    .fold(0.0, f64::max)
            };
            assert!(far(&u, &x) < 1e-5 && far(&v, &y) < 1e-5, "{n} x {m}: {} {}", far(&u, &x), far(&v, &y));
        }
    }
}
