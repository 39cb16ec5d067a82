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
    /// rounding error of the norms become zero.
    fn squared_distances(products: &'a mut [T], own: &'a [T], others: &'a [T]) -> (), |_| {
        let (nothing, rounding) = (T::of(0.0), T::of(8.0 * T::EPSILON));
        for (row, &own) in products.chunks_exact_mut(others.len()).zip(own) {
            for (value, &square) in row.iter_mut().zip(others) {
                let norms = own + square;
                let distance = norms + *value;
                *value = if distance > rounding * norms { distance } else { nothing };
            }
        }
    }
}

widest! {
    /// Returns `Σ exp(s_ij - own_i - others_j)` over the products `s` in row-major order. Exponents that
    /// rounding made positive are set to zero.
    fn sum_of_exponentials(products: &'a [T], own: &'a [T], others: &'a [T]) -> f64, |fused| {
        let mut total = 0.0;
        for (row, &own) in products.chunks_exact(others.len()).zip(own) {
            for (segment, others) in row.chunks(SEGMENT).zip(others.chunks(SEGMENT)) {
                let (lanes, rest) = segment.as_chunks::<LANES>();
                let (other_lanes, other_rest) = others.as_chunks::<LANES>();
                let mut sums = [T::of(0.0); LANES];
                for (lane, others) in lanes.iter().zip(other_lanes) {
                    for l in 0..LANES {
                        sums[l] += exp_of_at_most_zero(lane[l] - own - others[l], fused);
                    }
                }
                let rest = rest.iter().zip(other_rest);
                let rest = rest.map(|(&s, &other)| exp_of_at_most_zero(s - own - other, fused));
                total += sums.into_iter().chain(rest).map(Into::<f64>::into).sum::<f64>();
            }
        }
        total
    }
}

#[inline(always)]
fn exp_of_at_most_zero<T: Real>(x: T, fused: bool) -> T {
    (if x < T::of(0.0) { x } else { T::of(0.0) }).exp_of_negative(fused)
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
                (0..width).map(|j| f64::from(j % 11) * 0.3).collect(),
            );
            let each = |f: fn(f64, f64) -> f64| {
                own.iter().flat_map(|x| others.iter().map(move |y| f(*x, *y))).collect()
            };
            let (products, squares): (Vec<f64>, Vec<f64>) =
                (each(|x, y| -2.0 * x * y), each(|x, y| (x - y).powi(2)));
            let want = squares.iter().map(|d| (-0.5 * d).exp()).sum::<f64>();
            let norms = |points: &[f64]| points.iter().map(|p| p * p).collect::<Vec<_>>();
            let (own, others) = (norms(&own), norms(&others));
            let half = |values: &[f64], factor: f64| values.iter().map(|v| v * factor).collect::<Vec<_>>();
            let (scaled, near, far) = (half(&products, -0.5), half(&own, 0.5), half(&others, 0.5));
            let got = sum_of_exponentials(&scaled, &near, &far);
            assert!((got / want - 1.0).abs() < 1e-12);
            let narrow = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<_>>();
            let got = sum_of_exponentials(&narrow(&scaled), &narrow(&near), &narrow(&far));
            assert!((got / want - 1.0).abs() < 1e-6);
            let mut products = narrow(&products);
            squared_distances(&mut products, &narrow(&own), &narrow(&others));
            assert!(products.iter().zip(&squares).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5));
        }
    }
}
