//! The hot loops over distance matrices, compiled for the widest vectors of the machine.
//!
//! The loops are plain Rust. [`pulp`] compiles them for several instruction sets and chooses at run time.

use pulp::{Arch, Simd, WithSimd};

use crate::real::Real;

/// Number of partial sums: two AVX2 registers in single precision.
const LANES: usize = 16;
/// Number of terms after which a single-precision sum is added to an `f64` one: 32 per lane, which keeps the
/// rounding error near 1e-7.
const SEGMENT: usize = 32 * LANES;

/// Defines a function whose body is compiled for the widest vectors of the machine. `fused` tells the body
/// whether a fused multiply-add is one instruction; otherwise it would be a library call. Do not use a
/// closure instead: if its call is not inlined, its body is compiled for the baseline.
macro_rules! widest {
    (
        $(#[$doc:meta])*
        fn $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $ret:ty, |$fused:pat_param| $body:block
    ) => {
        $(#[$doc])*
        pub(crate) fn $name<'a, T: Real>($($arg: $ty),*) -> $ret {
            struct KernelCall<'a, T> { $($arg: $ty),* }
            impl<T: Real> WithSimd for KernelCall<'_, T> {
                type Output = $ret;
                #[inline(always)]
                fn with_simd<S: Simd>(self, _: S) -> $ret {
                    let Self { $($arg),* } = self;
                    let $fused = !S::IS_SCALAR;
                    $body
                }
            }
            Arch::new().dispatch(KernelCall { $($arg),* })
        }
    };
}

widest! {
    /// Turns inner products `-2 <x_i, y_j>` into squared distances, given the squared norms. Values below the
    /// share [`Real::EXPANDED`] of the norms, which have lost digits, become -1. Returns whether there are
    /// any.
    fn expand_squares(products: &'a mut [T], own: &'a [T], others: &'a [T]) -> bool, |_| {
        let (lost, share) = (T::of(-1.0), T::of(T::EXPANDED));
        let mut least = T::of(0.0);
        for (row, &own) in products.chunks_exact_mut(others.len()).zip(own) {
            for (value, &square) in row.iter_mut().zip(others) {
                let norms = own + square;
                let distance = norms + *value;
                *value = if distance > share * norms { distance } else { lost };
                least = if *value < least { *value } else { least };
            }
        }
        least < T::of(0.0)
    }
}

widest! {
    /// Returns `factor² Σ (a_i - b_i)²`, with the differences and the sum in `f64`.
    fn squared_difference(a: &'a [T], b: &'a [T], factor: f64) -> f64, |_| {
        let ((lanes, rest), (other_lanes, other_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        let square = |a: T, b: T| {
            let (a, b): (f64, f64) = (a.into(), b.into());
            let difference = (a - b) * factor;
            difference * difference
        };
        let mut sums = [0.0; LANES];
        for (lane, others) in lanes.iter().zip(other_lanes) {
            for l in 0..LANES {
                sums[l] += square(lane[l], others[l]);
            }
        }
        let rest: f64 = rest.iter().zip(other_rest).map(|(&a, &b)| square(a, b)).sum();
        sums.iter().sum::<f64>() + rest
    }
}

widest! {
    /// Returns `Σ exp(-gamma s)` over squared distances `s >= 0`.
    fn sum_of_exponentials(squares: &'a [T], gamma: T) -> f64, |fused| {
        let mut total = 0.0;
        for segment in squares.chunks(SEGMENT) {
            let (lanes, rest) = segment.as_chunks::<LANES>();
            let mut sums = [T::of(0.0); LANES];
            for lane in lanes {
                for l in 0..LANES {
                    sums[l] += (-gamma * lane[l]).exp_of_negative(fused);
                }
            }
            let rest = rest.iter().map(|&square| (-gamma * square).exp_of_negative(fused));
            total += sums.into_iter().chain(rest).map(Into::<f64>::into).sum::<f64>();
        }
        total
    }
}

widest! {
    /// Adds the differences of rows to the first row to the column sums, and updates the largest magnitudes.
    fn accumulate_rows(rows: &'a [T], first: &'a [T], sums: &'a mut [f64], tops: &'a mut [T]) -> (), |_| {
        for row in rows.chunks_exact(first.len()) {
            for (((&value, &first), sum), top) in row.iter().zip(first).zip(&mut *sums).zip(&mut *tops) {
                let (wide, origin): (f64, f64) = (value.into(), first.into());
                *sum += wide - origin;
                let size = if value < T::of(0.0) { -value } else { value };
                *top = if size > *top { size } else { *top };
            }
        }
    }
}

widest! {
    /// Subtracts the mean from rows, multiplies them by `factor`, and appends their squared lengths to a
    /// list.
    fn centre(
        rows: &'a [T],
        mean: &'a [f64],
        factor: f64,
        out: &'a mut [T],
        squares: &'a mut Vec<f64>,
    ) -> (), |_| {
        for (row, out) in rows.chunks_exact(mean.len()).zip(out.chunks_exact_mut(mean.len())) {
            for ((out, &value), mean) in out.iter_mut().zip(row).zip(mean) {
                let wide: f64 = value.into();
                *out = T::of((wide - mean) * factor);
            }
            let (lanes, rest) = out.as_chunks::<LANES>();
            let mut sums = [0.0; LANES];
            for lane in lanes {
                for l in 0..LANES {
                    let wide: f64 = lane[l].into();
                    sums[l] += wide * wide;
                }
            }
            let mut total: f64 = sums.iter().sum();
            for &value in rest {
                let wide: f64 = value.into();
                total += wide * wide;
            }
            squares.push(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference computes the distances in `f64` from points on a line.
    #[test]
    fn kernels_agree_with_double_precision_for_any_width() {
        for width in [1, 15, 16, 17, 511, 513, 700] {
            let (own, others): (Vec<f64>, Vec<f64>) = (
                (0..3).map(|i| f64::from(i) * 0.4).collect(),
                (0..width).map(|j| (j % 11) as f64 * 0.3).collect(),
            );
            let each = |f: fn(f64, f64) -> f64| {
                own.iter().flat_map(|x| others.iter().map(move |y| f(*x, *y))).collect()
            };
            let (products, squares): (Vec<f64>, Vec<f64>) =
                (each(|x, y| -2.0 * x * y), each(|x, y| (x - y).powi(2)));
            let want = squares.iter().map(|d| (-0.5 * d).exp()).sum::<f64>();
            let norms = |points: &[f64]| points.iter().map(|p| p * p).collect::<Vec<_>>();
            let got = sum_of_exponentials(&squares, 0.5);
            assert!((got / want - 1.0).abs() < 1e-12);
            let narrow = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<_>>();
            let got = sum_of_exponentials(&narrow(&squares), 0.5);
            assert!((got / want - 1.0).abs() < 1e-6);
            let (want, got) = (4.0 * squares[..width].iter().sum::<f64>(), vec![0.0; width]);
            assert!((squared_difference(&others, &got, 2.0) - want).abs() <= 1e-12 * want);
            let (own, others) = (norms(&own), norms(&others));
            let mut products = narrow(&products);
            let some = expand_squares(&mut products, &narrow(&own), &narrow(&others));
            // A distance of zero is always computed again.
            assert!(some && products[0] == -1.0);
            let kept = products.iter().zip(&squares).filter(|(a, _)| **a != -1.0);
            assert!(kept.into_iter().all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5));
        }
    }
}
