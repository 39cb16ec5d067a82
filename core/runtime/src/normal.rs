//! Normal numbers from random bits, many at once (Box and Muller 1958).
//!
//! Two uniform numbers u and v give two independent normal ones, `sqrt(-2 ln(1 - u)) (cos 2πv, sin 2πv)`. The
//! logarithm, the cosine and the sine are polynomials (Cephes, logf and sinf) without branches, so that the
//! compiler uses vector instructions, and without fused operations, so that every processor gives the same
//! numbers. Their error is below 1e-6.

use crate::pointwise::math::log;
use crate::vectorised::{InstructionSet, Vectorised};

/// Pairs that are computed together, so that their intermediate numbers stay in the first-level cache.
const PAIRS: usize = 64;

/// Turns random bits, 64 for each two numbers, into independent standard normal numbers.
///
/// Numbers that `bits` are too few for are left as they are. The result is the same on every processor.
///
/// ```
/// let mut values = [0.0; 3];
/// chiasm_runtime::normal(&[0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210], &mut values);
/// assert!(values.iter().all(|value| value.is_finite() && *value != 0.0));
/// ```
pub fn normal(bits: &[u64], values: &mut [f32]) {
    InstructionSet::detect().run(Draws { bits, values });
}

struct Draws<'a> {
    bits: &'a [u64],
    values: &'a mut [f32],
}

impl Vectorised for Draws<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (bits, values) in self.bits.chunks(PAIRS).zip(self.values.chunks_mut(2 * PAIRS)) {
            let mut block = [0; PAIRS];
            block[..bits.len()].copy_from_slice(bits);
            let count = values.len().min(2 * bits.len());
            let (cosines, sines) = pairs(&block);
            for (place, pair) in values[..count].chunks_mut(2).zip(cosines.iter().zip(&sines)) {
                place[0] = *pair.0;
                if let Some(second) = place.get_mut(1) {
                    *second = *pair.1;
                }
            }
        }
    }
}

/// The two numbers of each pair.
#[inline(always)]
fn pairs(bits: &[u64; PAIRS]) -> ([f32; PAIRS], [f32; PAIRS]) {
    let (mut cosines, mut sines) = ([0.0_f32; PAIRS], [0.0_f32; PAIRS]);
    for (at, bits) in bits.iter().enumerate() {
        // 24 bits each, which a single-precision number represents exactly.
        let (first, second) = ((bits >> 8) as u32 & 0x00ff_ffff, (bits >> 40) as u32);
        let radius = (-2.0 * log::<false>((0x0100_0000 - first) as f32 / 16_777_216.0)).sqrt();
        let (cosine, sine) = cos_sin(second);
        cosines[at] = radius * cosine;
        sines[at] = radius * sine;
    }
    (cosines, sines)
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
            let mut got = [f32::NAN; 2 * PAIRS];
            normal(&bits, &mut got);
            for (at, bits) in bits.iter().enumerate() {
                let unit = |bits: u64| (bits & 0xff_ffff) as f64 / 16_777_216.0;
                let (u, v) = (unit(bits >> 8), unit(bits >> 40));
                let (radius, angle) = ((-2.0 * (1.0 - u).ln()).sqrt(), std::f64::consts::TAU * v);
                for (got, want) in
                    [(got[2 * at], radius * angle.cos()), (got[2 * at + 1], radius * angle.sin())]
                {
                    worst = worst.max((f64::from(got) - want).abs() / want.abs().max(1.0));
                }
            }
        }
        assert!(worst < 1e-6, "{worst:e}");
        let mut few = [7.0; 5];
        normal(&[1, 2], &mut few);
        assert!(few[..4].iter().all(|value| *value != 7.0) && few[4] == 7.0, "{few:?}");
    }
}
