//! Random numbers that depend only on the seed, a purpose and a position, so that a resumed training draws
//! the same ones.
//!
//! SplitMix64 (Steele, Lea and Flood 2014) hashes a counter: number `i` of a stream needs no number before
//! it.

use chiasm_objective::NoiseDistribution;

/// Pairs of values that are drawn together.
const PAIRS: usize = 256;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// One stream of random bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RandomStream(u64);

impl RandomStream {
    /// Returns the stream of a seed for a purpose, such as `[SHUFFLE, epoch]` or `[NOISE, step, port]`.
    pub fn new(seed: u64, purpose: &[u64]) -> Self {
        Self(purpose.iter().fold(mix(seed), |key, part| mix(key.wrapping_add(GOLDEN) ^ mix(*part))))
    }

    /// Returns the 64 bits at a position.
    fn bits(self, at: u64) -> u64 {
        mix(self.0.wrapping_add(at.wrapping_add(1).wrapping_mul(GOLDEN)))
    }

    /// Returns a uniform permutation of `0..n` (Fisher and Yates).
    pub fn permutation(self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            let below = (u128::from(self.bits(i as u64)) * (i as u128 + 1)) >> 64;
            order.swap(i, usize::try_from(below).unwrap_or(i));
        }
        order
    }

    /// Fills values with independent draws.
    pub fn fill(self, draw: NoiseDistribution, values: &mut [f32]) {
        match draw {
            NoiseDistribution::Normal => self.normal(values),
            NoiseDistribution::Uniform => self.each(values, unit),
            NoiseDistribution::Sign => self.each(values, |bits| if bits >> 31 == 0 { 1.0 } else { -1.0 }),
            NoiseDistribution::Mask { keep } => {
                #[expect(clippy::cast_possible_truncation, reason = "a mask is f32")]
                let kept = (1.0 / keep) as f32;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "keep is in (0, 1]"
                )]
                let last = ((keep * 4_294_967_296.0) as u64).max(1) - 1;
                self.each(values, |bits| if u64::from(bits) <= last { kept } else { 0.0 });
            }
        }
    }

    /// Draws two values from the two halves of each 64 bits. The bits of a block are drawn first, so that the
    /// compiler uses vector instructions for the values.
    #[expect(clippy::cast_possible_truncation, reason = "takes one half of the bits")]
    fn each(self, values: &mut [f32], value: impl Fn(u32) -> f32) {
        for (block, values) in values.chunks_mut(2 * PAIRS).enumerate() {
            let mut halves = [0_u32; 2 * PAIRS];
            for (at, pair) in halves.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let bits = self.bits((block * PAIRS + at) as u64);
                *pair = [bits as u32, (bits >> 32) as u32];
            }
            values.iter_mut().zip(&halves).for_each(|(place, half)| *place = value(*half));
        }
    }

    /// Draws normal numbers, from 64 bits for each two of them.
    fn normal(self, values: &mut [f32]) {
        for (block, values) in values.chunks_mut(2 * PAIRS).enumerate() {
            let bits: [u64; PAIRS] = std::array::from_fn(|at| self.bits((block * PAIRS + at) as u64));
            chiasm_runtime::normal(&bits, values);
        }
    }
}

fn mix(value: u64) -> u64 {
    let mut z = value;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Returns the upper 24 bits as a number in `[0, 1)`, which `f32` represents exactly.
fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 / 16_777_216.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(draw: NoiseDistribution) -> Vec<f32> {
        let mut values = vec![0.0; 200_001];
        RandomStream::new(5, &[7, 1]).fill(draw, &mut values);
        values
    }

    fn moments(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        (mean, values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n)
    }

    /// 200,001 draws: the standard error of each mean is below 0.0045 and of each variance below 0.009; five
    /// standard errors are allowed.
    #[test]
    fn draws_have_the_moments_of_their_distributions() {
        for (draw, mean, variance) in [
            (NoiseDistribution::Normal, 0.0, 1.0),
            (NoiseDistribution::Uniform, 0.5, 1.0 / 12.0),
            (NoiseDistribution::Sign, 0.0, 1.0),
            (NoiseDistribution::Mask { keep: 0.8 }, 1.0, 0.25),
            (NoiseDistribution::Mask { keep: 1.0 }, 1.0, 0.0),
        ] {
            let (got_mean, got_variance) = moments(&draws(draw));
            assert!((got_mean - mean).abs() < 0.022, "{draw:?}: mean {got_mean}");
            assert!((got_variance - variance).abs() < 0.045, "{draw:?}: variance {got_variance}");
        }
        assert!(draws(NoiseDistribution::Sign).iter().all(|v| v.abs() == 1.0));
        assert!(draws(NoiseDistribution::Mask { keep: 0.8 }).iter().all(|v| *v == 0.0 || *v == 1.25));
        assert!(draws(NoiseDistribution::Uniform).iter().all(|v| (0.0..1.0).contains(v)));
    }

    #[test]
    fn streams_differ_by_seed_and_purpose_and_repeat() {
        let of = |seed, purpose: &[u64]| RandomStream::new(seed, purpose).permutation(50);
        let all = [of(1, &[1, 2]), of(2, &[1, 2]), of(1, &[2, 1]), of(1, &[1]), of(1, &[1, 3])];
        for (i, one) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|other| other != one));
            let mut sorted = one.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..50));
        }
        assert_eq!(all[0], of(1, &[1, 2]));
    }
}
