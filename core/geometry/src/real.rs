//! The floating-point types of clouds.

use chiasm_transport::Coordinate;
use faer::traits::RealField;
use ndarray::NdFloat;

/// A floating-point type of a cloud: `f32` or `f64`.
pub trait Real: RealField + NdFloat + Coordinate {
    /// Rounds to this type.
    fn of(value: f64) -> Self;
    /// Returns `e^x` for `x <= 0` in this type's precision. Set `fused` if the machine has a fused
    /// multiply-add.
    fn exp_of_negative(self, fused: bool) -> Self;
    /// Distance from one to the next larger number of this type.
    const EPSILON: f64;
    /// The smallest squared distance, as a share of the squared norms, that is taken from the matrix product;
    /// smaller ones are computed from the differences of the rows.
    const EXPANDED: f64;
}

// Called for every value of a cloud; calls that are not inlined would keep the loops from vectorising.
impl Real for f32 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as Self
    }
    #[inline(always)]
    fn exp_of_negative(self, fused: bool) -> Self {
        exp_of_negative(self, fused)
    }
    const EPSILON: f64 = Self::EPSILON as f64;
    const EXPANDED: f64 = 1e-2;
}

impl Real for f64 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn exp_of_negative(self, _: bool) -> Self {
        self.exp()
    }
    const EPSILON: f64 = Self::EPSILON;
    const EXPANDED: f64 = 1e-6;
}

/// Returns `e^x` for `x <= 0` with a relative error below 3e-7, and zero below e^-80 (Cody-Waite reduction,
/// polynomial from Cephes).
#[inline(always)]
fn exp_of_negative(x: f32, fused: bool) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer in the low bits
    const FLOOR: f32 = -80.0;
    let add = |a: f32, b: f32, c: f32| if fused { a.mul_add(b, c) } else { a * b + c };
    let kept = if x > FLOOR { x } else { FLOOR };
    let shifted = add(kept, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = add(n, 2.121_944_4e-4, add(n, -0.693_359_4, kept));
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = add(p, r, c);
    }
    let y = add(p, r * r, r) + 1.0;
    let power = (shifted.to_bits() << 23).wrapping_add(0x3f80_0000);
    if x > FLOOR { y * f32::from_bits(power) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding to single precision costs 2^-24 of a value, and the polynomial about as much again.
    #[test]
    fn exponentials_are_accurate_to_single_precision() {
        for fused in [false, true] {
            for i in 0..8000 {
                let x = i as f32 * -0.009_97;
                let want = f64::from(x).exp();
                let got = f64::from(exp_of_negative(x, fused));
                assert!((got / want - 1.0).abs() < 3e-7, "exp({x}) = {got}");
            }
            assert_eq!([-200.0, f32::NEG_INFINITY].map(|x| exp_of_negative(x, fused)), [0.0, 0.0]);
            assert_eq!(exp_of_negative(0.0, fused), 1.0);
        }
    }
}
