//! Branch-free elementary functions in single precision, which the compiler vectorises.
//!
//! Largest errors against double precision, over the ranges in the tests: `exp` and `log` 2 units in the last
//! place; `erf`, `tanh` and `sigmoid` 2e-7 absolute. NaN propagates; infinities give the mathematical limits.

/// `a b + c`, fused where the processor supports it.
#[inline(always)]
pub(crate) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `e^x`: 0 below the smallest normal number, infinity above 3.4027e38, just short of the largest.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    const HIGH: f32 = 88.722_8;
    const LOW: f32 = -87.33;
    let y = if x > HIGH { HIGH } else { x };
    let y = if y < LOW { LOW } else { y };
    let result = power::<FMA>(y);
    let result = if x > HIGH { f32::INFINITY } else { result };
    if x < LOW { 0.0 } else { result }
}

/// `e^x` for `-87.33 <= x <= 88.7228`: `2^n e^r` with `|r| <= ln 2 / 2`, `e^r` by a polynomial of degree 6
/// (Cephes, expf).
#[inline(always)]
fn power<const FMA: bool>(x: f32) -> f32 {
    // Adding this rounds to an integer n, stored in the lowest bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(n, -0.693_359_4, x);
    let r = fma::<FMA>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    p = fma::<FMA>(p, r, 1.398_2e-3);
    p = fma::<FMA>(p, r, 8.333_452e-3);
    p = fma::<FMA>(p, r, 4.166_579_6e-2);
    p = fma::<FMA>(p, r, 1.666_666_5e-1);
    p = fma::<FMA>(p, r, 0.5);
    p = fma::<FMA>(p, r * r, r) + 1.0;
    // n is added to the exponent; in this range the result is a normal number.
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// `ln x`: from the exponent, and from the mantissa by a polynomial (Cephes, logf).
#[inline(always)]
pub(crate) fn log<const FMA: bool>(x: f32) -> f32 {
    let bits = x.to_bits();
    // The mantissa in [sqrt(1/2), sqrt(2)).
    let shifted = bits.wrapping_sub(0x3f35_04f3);
    let exponent = ((shifted as i32) >> 23) as f32;
    let mantissa = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(0x3f35_04f3));
    let m = mantissa - 1.0;
    let square = m * m;
    let mut p = 7.037_683_6e-2;
    p = fma::<FMA>(p, m, -1.151_461e-1);
    p = fma::<FMA>(p, m, 1.167_699_8e-1);
    p = fma::<FMA>(p, m, -1.242_014_1e-1);
    p = fma::<FMA>(p, m, 1.424_932_3e-1);
    p = fma::<FMA>(p, m, -1.666_805_7e-1);
    p = fma::<FMA>(p, m, 2.000_071_5e-1);
    p = fma::<FMA>(p, m, -2.499_999_4e-1);
    p = fma::<FMA>(p, m, 3.333_333e-1);
    let mut y = p * m * square;
    y = fma::<FMA>(exponent, -2.121_944_4e-4, y);
    y = fma::<FMA>(square, -0.5, y);
    let y = fma::<FMA>(exponent, 0.693_359_4, m + y);
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x < 0.0 || x.is_nan() { f32::NAN } else { y }
}

/// The error function: an odd polynomial near 0, `1 - e^-p(|x|)` elsewhere.
#[inline(always)]
pub(super) fn erf<const FMA: bool>(x: f32) -> f32 {
    let t = x.abs();
    let t = if t > 3.925_724_8 { 3.925_724_8 } else { t };
    let s = t * t;
    let mut near = -5.991_049_7e-4;
    near = fma::<FMA>(near, s, 4.993_396e-3);
    near = fma::<FMA>(near, s, -2.676_673_4e-2);
    near = fma::<FMA>(near, s, 1.128_180_25e-1);
    near = fma::<FMA>(near, s, -3.761_248_6e-1);
    near = fma::<FMA>(near, s, 1.283_791_5e-1);
    near = fma::<FMA>(near, t, t);
    let mut far = 1.729_489_3e-5;
    far = fma::<FMA>(far, t, -3.832_086_8e-4);
    far = fma::<FMA>(far, t, 3.883_934_4e-3);
    far = fma::<FMA>(far, t, -2.425_456_e-2);
    far = fma::<FMA>(far, t, 1.067_778_5e-1);
    far = fma::<FMA>(far, t, 6.348_467e-1);
    far = fma::<FMA>(far, t, 1.287_175_1e-1);
    far = fma::<FMA>(far, t, t);
    let far = 1.0 - power::<FMA>(-far);
    let magnitude = if t > 0.921_875 { far } else { near };
    magnitude.copysign(x)
}

/// Hyperbolic tangent: `1 - 2 / (e^2|x| + 1)`, and an odd polynomial near 0, where digits would cancel.
#[inline(always)]
pub(super) fn tanh<const FMA: bool>(x: f32) -> f32 {
    let t = x.abs();
    // Above 10 it is 1 to the last bit.
    let t = if t > 10.0 { 10.0 } else { t };
    let s = t * t;
    let mut near = -5.704_988_7e-3;
    near = fma::<FMA>(near, s, 2.063_909e-2);
    near = fma::<FMA>(near, s, -5.373_971_5e-2);
    near = fma::<FMA>(near, s, 1.333_144_2e-1);
    near = fma::<FMA>(near, s, -3.333_328e-1);
    let near = fma::<FMA>(near * s, t, t);
    let far = 1.0 - 2.0 / (power::<FMA>(t + t) + 1.0);
    let magnitude = if t < 0.625 { near } else { far };
    magnitude.copysign(x)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

#[cfg(test)]
mod tests {
    /// Returns the largest error against a reference in double precision, over a dense grid.
    fn worst(f: fn(f32) -> f32, reference: fn(f64) -> f64, range: (f32, f32), relative: bool) -> f64 {
        let count = 200_000;
        let mut worst = 0.0_f64;
        for i in 0..=count {
            let x = range.0 + (range.1 - range.0) * i as f32 / count as f32;
            let (got, expected) = (f64::from(f(x)), reference(f64::from(x)));
            let scale = if relative { expected.abs().max(1e-30) } else { 1.0 };
            worst = worst.max((got - expected).abs() / scale);
        }
        worst
    }

    /// The error function by its series (Abramowitz and Stegun 7.1.6), which converges everywhere.
    fn erf(x: f64) -> f64 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-18 {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
    }

    #[test]
    fn functions_agree_with_double_precision() {
        // 2.4e-7 is two units in the last place.
        assert!(worst(super::exp::<true>, f64::exp, (-87.0, 88.0), true) < 2.4e-7);
        assert!(worst(super::exp::<false>, f64::exp, (-87.0, 88.0), true) < 2.4e-7);
        assert!(worst(super::log::<true>, f64::ln, (1e-6, 0.9), true) < 2.4e-7);
        assert!(worst(super::log::<false>, f64::ln, (1.1, 1e6), true) < 2.4e-7);
        assert!(worst(super::log::<true>, f64::ln, (0.9, 1.1), false) < 2.4e-7);
        assert!(worst(super::erf::<true>, erf, (-5.0, 5.0), false) < 2e-7);
        assert!(worst(super::tanh::<true>, f64::tanh, (-10.0, 10.0), false) < 2e-7);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert!(worst(super::sigmoid::<true>, sigmoid, (-30.0, 30.0), false) < 2e-7);
    }

    #[test]
    fn infinities_nan_and_the_ends_of_the_range_are_exact() {
        let (exp, log) = (super::exp::<true>, super::log::<true>);
        assert_eq!((exp(f32::NEG_INFINITY), exp(f32::INFINITY), exp(0.0)), (0.0, f32::INFINITY, 1.0));
        assert_eq!((log(0.0), log(f32::INFINITY), log(1.0)), (f32::NEG_INFINITY, f32::INFINITY, 0.0));
        assert!(log(-1.0).is_nan());
        // Near the largest and smallest exponents the relative error is 2e-6, since x itself is rounded that
        // much there.
        for (from, to) in [(88.7_f32, 88.722_8), (-87.329, -87.3)] {
            let mut x = from;
            while x <= to {
                let exact = f64::from(x).exp();
                assert!((f64::from(exp(x)) / exact - 1.0).abs() < 2e-6, "{x}: {}", exp(x));
                x = x.next_up();
            }
        }
        assert_eq!((exp(88.73), exp(-87.34)), (f32::INFINITY, 0.0));
        for f in [exp, log, super::erf::<true>, super::tanh::<true>, super::sigmoid::<true>] {
            assert!(f(f32::NAN).is_nan());
        }
        assert_eq!((super::erf::<true>(-30.0), super::tanh::<true>(30.0)), (-1.0, 1.0));
        assert_eq!((super::sigmoid::<true>(-200.0), super::sigmoid::<true>(200.0)), (0.0, 1.0));
    }
}
