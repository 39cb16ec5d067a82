//! Normal numbers from random bits, many at once (Box and Muller 1958).
//!
//! Two uniform numbers u and v give two independent normal ones, `sqrt(-2 ln(1 - u)) (cos 2πv, sin 2πv)`. The
//! logarithm, the cosine and the sine are polynomials (Cephes, logf and sinf) without branches, so that the
//! compiler uses vector instructions, and without fused operations, so that every processor gives the same
//! numbers. Their error is below 1e-6.

/// Pairs that are computed together.
pub(crate) const PAIRS: usize = 64;

/// Turns 64 random bits for each pair into normal numbers: first the cosines of all pairs, then the sines.
pub(crate) fn normal(bits: &[u64; PAIRS]) -> [f32; 2 * PAIRS] {
    let (mut cosines, mut sines) = ([0.0_f32; PAIRS], [0.0_f32; PAIRS]);
    for (at, bits) in bits.iter().enumerate() {
        // 24 bits each, which a single-precision number represents exactly.
        let (first, second) = ((bits >> 8) as u32 & 0x00ff_ffff, (bits >> 40) as u32);
        let radius = (-2.0 * log((0x0100_0000 - first) as f32 / 16_777_216.0)).sqrt();
        let (cosine, sine) = cos_sin(second);
        cosines[at] = radius * cosine;
        sines[at] = radius * sine;
    }
    let mut values = [0.0; 2 * PAIRS];
    values[..PAIRS].copy_from_slice(&cosines);
    values[PAIRS..].copy_from_slice(&sines);
    values
}

/// The natural logarithm of a positive normal number.
#[inline(always)]
fn log(x: f32) -> f32 {
    // The mantissa in [sqrt(1/2), sqrt(2)).
    let shifted = x.to_bits().wrapping_sub(0x3f35_04f3);
    let exponent = (shifted.cast_signed() >> 23) as f32;
    let m = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(0x3f35_04f3)) - 1.0;
    let square = m * m;
    let mut p = 7.037_683_6e-2;
    for coefficient in [
        -1.151_461e-1,
        1.167_699_8e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_7e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = p * m + coefficient;
    }
    exponent * 0.693_359_4 + (m + (p * m * square - exponent * 2.121_944_4e-4 - 0.5 * square))
}

/// The cosine and the sine of `2π turn / 2^24`, for a turn below 2^24.
#[inline(always)]
fn cos_sin(turn: u32) -> (f32, f32) {
    // The nearest quarter of a turn, and the angle from there, at most an eighth.
    let quarter = (turn + 0x0020_0000) >> 22;
    let rest = (turn.cast_signed() - (quarter << 22).cast_signed()) as f32;
    let x = rest * (std::f32::consts::TAU / 16_777_216.0);
    let square = x * x;
    let sine = ((-1.951_529_6e-4 * square + 8.332_161e-3) * square - 1.666_665_5e-1) * square * x + x;
    let cosine = ((2.443_315_7e-5 * square - 1.388_731_6e-3) * square + 4.166_664_6e-2) * square * square
        - 0.5 * square
        + 1.0;
    // Each quarter turns (cos, sin) into (-sin, cos).
    let odd = quarter & 1 == 1;
    let (a, b) = if odd { (sine, cosine) } else { (cosine, sine) };
    let sign = |negative: u32, value: f32| f32::from_bits(value.to_bits() ^ (negative << 31));
    (sign((quarter >> 1 ^ quarter) & 1, a), sign((quarter >> 1) & 1, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tolerance: the stated 1e-6, of a number or of one.
    #[test]
    fn numbers_are_those_of_the_formula_in_double_precision() {
        let mut state = 0x1234_5678_9abc_def0_u64;
        let mut worst = 0.0_f64;
        for round in 0..2000 {
            let bits: [u64; PAIRS] = std::array::from_fn(|at| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                match (round, at) {
                    (0, 0) => 0,
                    (0, 1) => u64::MAX,
                    (0, 2..6) => (at as u64 - 2) << 62,
                    _ => state ^ (state >> 31),
                }
            });
            let got = normal(&bits);
            for (at, bits) in bits.iter().enumerate() {
                let unit = |bits: u64| (bits & 0xff_ffff) as f64 / 16_777_216.0;
                let (u, v) = (unit(bits >> 8), unit(bits >> 40));
                let (radius, angle) = ((-2.0 * (1.0 - u).ln()).sqrt(), std::f64::consts::TAU * v);
                for (got, want) in [(got[at], radius * angle.cos()), (got[PAIRS + at], radius * angle.sin())]
                {
                    worst = worst.max((f64::from(got) - want).abs() / want.abs().max(1.0));
                }
            }
        }
        assert!(worst < 1e-6, "{worst:e}");
    }
}
