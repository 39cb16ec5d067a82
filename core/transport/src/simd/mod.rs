//! The hot loops, each compiled for AVX-512, for AVX2 with FMA, and for the baseline. The version is chosen
//! at run time.
//!
//! The loops are plain Rust that the compiler vectorises for the wider instruction set. The only intrinsic is
//! the prefetch. `FMA` is false in the baseline of x86, where a fused multiply-add would be a library call.

/// Number of columns after which a single-precision sum is added to a double-precision one. Keeps the
/// rounding error near 1e-7 for any row length.
const SEGMENT: usize = 1024;
/// Lanes of a sum: one AVX-512 register or two AVX2 registers.
const LANES: usize = 16;
/// Rows that a sweep handles together, so that the scaling vectors are read once per four rows.
pub(crate) const ROWS: usize = 4;

/// Defines `fn name(args)`, which runs `body::<FMA>(args)` compiled for the widest instruction set of the
/// machine.
macro_rules! dispatch {
    ($(#[$doc:meta])* $name:ident = $body:ident ( $($arg:ident : $ty:ty),* ) $(-> $ret:ty)?) => {
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { $body::<true>($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { $body::<true>($($arg),*) }
                match instruction_set() {
                    // SAFETY: `instruction_set` has detected every instruction set that this function
                    // enables.
                    InstructionSet::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    InstructionSet::Avx2 => return unsafe { avx2($($arg),*) },
                    InstructionSet::Baseline => {}
                }
            }
            $body::<{ cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    };
}

mod double;

pub(crate) use double::{magnitudes, min_reduced, places_below, range, two_least, wide_distance, wide_dot};

#[cfg(target_arch = "x86_64")]
enum InstructionSet {
    Avx512,
    Avx2,
    Baseline,
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn instruction_set() -> InstructionSet {
    let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let wide = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (wide && fma, fma) {
        (true, _) => InstructionSet::Avx512,
        (_, true) => InstructionSet::Avx2,
        _ => InstructionSet::Baseline,
    }
}

dispatch! {
    /// Returns `sum_j row[j] w[j]` for four rows.
    dots = dots_body(rows: [&[f32]; ROWS], w: &[f32]) -> [f64; ROWS]
}
dispatch! {
    /// Computes `t[j] += sum_r z[r] rows[r][j]`, and prefetches `ahead`, the memory that is needed next.
    add_scaled = add_scaled_body(rows: [&[f32]; ROWS], z: [f32; ROWS], t: &mut [f32], ahead: &[f32])
}
dispatch! {
    /// Computes `row[j] = exp(row[j] + alpha + beta[j])`, with zero below e^-80.
    exp_shifted = exp_shifted_body(row: &mut [f32], alpha: f32, beta: &[f32])
}
dispatch! {
    /// Returns `max_j (row[j] + beta[j])`.
    max_shifted = max_shifted_body(row: &[f32], beta: &[f32]) -> f32
}
dispatch! {
    /// Adds `row[j] + alpha` to the running log-sum-exp `(top[j], sum[j])` of every column.
    log_add = log_add_body(row: &[f32], alpha: f32, top: &mut [f32], sum: &mut [f32])
}
dispatch! {
    /// Turns inner products into negative distances: `row[j] = -scale sqrt(max(0, p + q[j] - 2 row[j]))`.
    negative_distances = negative_distances_body(row: &mut [f32], p: f32, q: &[f32], scale: f32)
}
dispatch! {
    /// Returns `sum_j row[j] w[j]` and `sum_j row[j] w[j] ln row[j]`, with 0 ln 0 = 0.
    entropy = entropy_body(row: &[f32], w: &[f32]) -> (f64, f64)
}

#[inline(always)]
fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Returns e^x for |x| < 87 with a relative error below 2e-7 (Cody-Waite reduction, polynomial from Cephes).
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer in the low bits
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(n, -0.693_359_4, x);
    let r = fma::<FMA>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = fma::<FMA>(p, r, c);
    }
    let y = fma::<FMA>(p, r * r, r) + 1.0;
    let power = (shifted.to_bits() << 23).wrapping_add(0x3f80_0000);
    y * f32::from_bits(power)
}

/// Returns ln x for positive normal x with a relative error below 2e-7 (polynomial from Cephes).
#[inline(always)]
fn log<const FMA: bool>(x: f32) -> f32 {
    let bits = x.to_bits();
    let half = bits.wrapping_sub(0x3f35_04f3); // sqrt(1/2)
    let exponent = (half as i32) >> 23;
    let m = f32::from_bits((half & 0x007f_ffff) + 0x3f35_04f3) - 1.0;
    let e = exponent as f32;
    let mut p = 7.037_683_6e-2;
    for c in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_4e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = fma::<FMA>(p, m, c);
    }
    let z = m * m;
    let y = fma::<FMA>(p * m, z, e * -2.121_944_4e-4);
    let y = fma::<FMA>(z, -0.5, y);
    fma::<FMA>(e, 0.693_359_4, m + y)
}

/// Computes one multiply-add in all lanes.
#[inline(always)]
fn accumulate<const FMA: bool>(sum: &mut [f32; LANES], x: &[f32; LANES], w: &[f32; LANES]) {
    for l in 0..LANES {
        sum[l] = fma::<FMA>(x[l], w[l], sum[l]);
    }
}

#[inline(always)]
fn dots_body<const FMA: bool>(rows: [&[f32]; ROWS], w: &[f32]) -> [f64; ROWS] {
    let mut total = [0.0; ROWS];
    for start in (0..w.len()).step_by(SEGMENT) {
        let end = (start + SEGMENT).min(w.len());
        let (w, w_rest) = w[start..end].as_chunks::<LANES>();
        let [a, b, c, d] = rows.map(|row| row[start..end].as_chunks::<LANES>());
        let [mut p, mut q, mut r, mut s] = [[0.0_f32; LANES]; ROWS];
        for ((((w, a), b), c), d) in w.iter().zip(a.0).zip(b.0).zip(c.0).zip(d.0) {
            accumulate::<FMA>(&mut p, a, w);
            accumulate::<FMA>(&mut q, b, w);
            accumulate::<FMA>(&mut r, c, w);
            accumulate::<FMA>(&mut s, d, w);
        }
        for ((total, sum), rest) in total.iter_mut().zip([p, q, r, s]).zip([a.1, b.1, c.1, d.1]) {
            *total += sum.iter().map(|&s| f64::from(s)).sum::<f64>();
            *total += rest.iter().zip(w_rest).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum::<f64>();
        }
    }
    total
}

#[inline(always)]
fn add_scaled_body<const FMA: bool>(rows: [&[f32]; ROWS], z: [f32; ROWS], t: &mut [f32], ahead: &[f32]) {
    const STRIDE: usize = 64; // columns per step: four rows of it are 16 cache lines
    let [a, b, c, d] = rows.map(|row| row[..t.len()].chunks(STRIDE));
    let mut next = ahead.chunks(ROWS * STRIDE);
    for ((((t, a), b), c), d) in t.chunks_mut(STRIDE).zip(a).zip(b).zip(c).zip(d) {
        prefetch(next.next().unwrap_or_default());
        for ((((t, a), b), c), d) in t.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            let low = fma::<FMA>(z[0], *a, z[1] * b);
            let high = fma::<FMA>(z[2], *c, z[3] * d);
            *t += low + high;
        }
    }
}

#[inline(always)]
fn prefetch(memory: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in memory.chunks(16) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch affects only the cache.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = memory;
}

/// Exponents below this give zero, which is far below the resolution of a single-precision sum of order one.
const FLOOR: f32 = -80.0;

#[inline(always)]
fn exp_shifted_body<const FMA: bool>(row: &mut [f32], alpha: f32, beta: &[f32]) {
    for (x, &b) in row.iter_mut().zip(beta) {
        let e = *x + (alpha + b);
        let y = exp::<FMA>(e.clamp(FLOOR, -FLOOR));
        *x = if e < FLOOR { 0.0 } else { y };
    }
}

#[inline(always)]
fn max_shifted_body<const FMA: bool>(row: &[f32], beta: &[f32]) -> f32 {
    let mut top = [f32::NEG_INFINITY; LANES];
    let (rows, betas) = (row.chunks_exact(LANES), beta.chunks_exact(LANES));
    let rest =
        rows.remainder().iter().zip(betas.remainder()).fold(f32::NEG_INFINITY, |m, (&x, &b)| m.max(x + b));
    for (row, beta) in rows.zip(betas) {
        for l in 0..LANES {
            let x = row[l] + beta[l];
            top[l] = if x > top[l] { x } else { top[l] };
        }
    }
    top.into_iter().fold(rest, f32::max)
}

#[inline(always)]
fn log_add_body<const FMA: bool>(row: &[f32], alpha: f32, top: &mut [f32], sum: &mut [f32]) {
    for ((&x, top), sum) in row.iter().zip(top).zip(sum) {
        let x = x + alpha;
        let new = if x > *top { x } else { *top };
        let kept = *sum * exp::<FMA>((*top - new).max(FLOOR));
        *sum = kept + exp::<FMA>((x - new).max(FLOOR));
        *top = new;
    }
}

#[inline(always)]
fn negative_distances_body<const FMA: bool>(row: &mut [f32], p: f32, q: &[f32], scale: f32) {
    for (x, &q) in row.iter_mut().zip(q) {
        *x = -scale * fma::<FMA>(*x, -2.0, p + q).max(0.0).sqrt();
    }
}

#[inline(always)]
fn entropy_body<const FMA: bool>(row: &[f32], w: &[f32]) -> (f64, f64) {
    let (mut mass, mut entropy) = (0.0, 0.0);
    for (row, w) in row.chunks(SEGMENT).zip(w.chunks(SEGMENT)) {
        let ((row, row_rest), (w, w_rest)) = (row.as_chunks::<LANES>(), w.as_chunks::<LANES>());
        let mut masses = [0.0_f32; LANES];
        let mut entropies = [0.0_f32; LANES];
        for (x, w) in row.iter().zip(w) {
            for l in 0..LANES {
                let p = x[l] * w[l];
                masses[l] += p;
                entropies[l] = fma::<FMA>(p, log::<FMA>(x[l].max(f32::MIN_POSITIVE)), entropies[l]);
            }
        }
        for (&x, &w) in row_rest.iter().zip(w_rest) {
            mass += f64::from(x * w);
            entropy += f64::from(x * w * log::<FMA>(x.max(f32::MIN_POSITIVE)));
        }
        mass += masses.iter().map(|&s| f64::from(s)).sum::<f64>();
        entropy += entropies.iter().map(|&s| f64::from(s)).sum::<f64>();
    }
    (mass, entropy)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding to single precision costs 2^-24 of a value, and the polynomials about as much again.
    #[test]
    fn exponentials_and_logarithms_are_accurate_to_single_precision() {
        for i in -780..780 {
            let x = i as f32 * 0.1017;
            let mut e = [x];
            exp_shifted(&mut e, 0.0, &[0.0]);
            let want = f64::from(x).exp();
            assert!((f64::from(e[0]) / want - 1.0).abs() < 3e-7, "exp({x}) = {}", e[0]);
            let want = f64::from(e[0]).ln();
            let back = log::<false>(e[0]);
            assert!((f64::from(back) - want).abs() < 2e-7 * want.abs().max(1.0), "ln({}) = {back}", e[0]);
        }
    }

    #[test]
    fn sums_agree_with_double_precision_for_any_length() {
        for n in [1, 5, 16, 63, 64, 65, 1024, 1025, 3000] {
            let rows: Vec<Vec<f32>> =
                (0..4).map(|r| (0..n).map(|j| ((r * 7 + j) % 13) as f32 * 0.3).collect()).collect();
            let w: Vec<f32> = (0..n).map(|j| ((j * 5) % 11) as f32 * 0.01 + 0.1).collect();
            let rows: [&[f32]; 4] = std::array::from_fn(|r| rows[r].as_slice());
            let got = dots(rows, &w);
            let mut t = vec![1.0_f32; n];
            add_scaled(rows, [0.5, 1.0, -2.0, 0.25], &mut t, &[]);
            for r in 0..4 {
                let want: f64 = rows[r].iter().zip(&w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                assert!((got[r] - want).abs() <= 1e-6 * want.abs(), "{n}: {} {want}", got[r]);
            }
            for j in 0..n {
                let want = 1.0 + 0.5 * rows[0][j] + rows[1][j] - 2.0 * rows[2][j] + 0.25 * rows[3][j];
                assert!((t[j] - want).abs() < 1e-5);
            }
            let (mut dot, mut distance) = (0.0, 0.0);
            for (&x, &y) in rows[1].iter().zip(&w) {
                dot += f64::from(x) * f64::from(y);
                distance += (f64::from(x) - f64::from(y)).abs();
            }
            assert!((wide_dot(rows[1], &w) - dot).abs() <= 1e-14 * dot);
            assert!((wide_distance(rows[1], &w) - distance).abs() <= 1e-14 * distance);
            let top = max_shifted(rows[2], &w);
            let want = rows[2].iter().zip(&w).map(|(x, w)| x + w).fold(f32::MIN, f32::max);
            assert_eq!(top, want);
        }
    }

    #[test]
    fn very_negative_exponents_give_zero_and_huge_ones_stay_finite() {
        let mut row = vec![-500.0, 0.0, 500.0, f32::NEG_INFINITY];
        exp_shifted(&mut row, 0.0, &[0.0; 4]);
        assert_eq!(row[0], 0.0);
        assert_eq!(row[1], 1.0);
        assert!(row[2].is_finite());
        assert_eq!(row[3], 0.0);
    }
}
