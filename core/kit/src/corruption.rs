//! Corruption of raw items: noise, blur, lost words. It is part of preparing an item, so that every kind of
//! raw item is corrupted where it is decoded.
//!
//! A recipe asks for corruption of training or of test items. The pipeline then opens an encoder's adapter a
//! second time, with the key `corruption` in [`chiasm_plugin::EncoderSpec::preprocessing`]. An adapter reads
//! the key as an optional [`Corruption`] with an enumeration of the kinds that it knows. An adapter without
//! corruption refuses the key.
//!
//! ```
//! use chiasm_kit::corruption::Corruption;
//!
//! #[derive(serde::Deserialize)]
//! #[serde(rename_all = "lowercase")]
//! enum Kind {
//!     Noise,
//! }
//!
//! let table = serde_json::json!({ "kind": "noise", "strength": 0.5, "seed": 7 });
//! let corruption: Corruption<Kind> = serde_json::from_value(table)?;
//! corruption.check(10.0)?;
//! let mut samples = vec![1.0; 4];
//! let mut random = corruption.random(b"the content of the item");
//! corruption.add_noise(&mut samples, |_| 1.0, &mut random);
//! assert!(samples.iter().all(|sample| *sample != 1.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;

pub use chiasm_geometry::random::Random;
use serde::Deserialize;

/// How items are corrupted: the value of `corruption` in `[preprocessing]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corruption<Kind> {
    /// The kind of corruption.
    pub kind: Kind,
    /// Its strength, in a unit that the kind defines. With 0, items stay as they are.
    pub strength: f64,
    /// The seed. An item is corrupted in the same way whenever seed and content are the same.
    #[serde(default)]
    pub seed: u64,
    /// Words that a word may be exchanged with. Only for texts.
    #[serde(default)]
    pub synonyms: BTreeMap<String, Vec<String>>,
}

impl<Kind> Corruption<Kind> {
    /// Checks that the strength is in `0..=largest`.
    ///
    /// # Errors
    /// A message with the expected range and the given strength.
    pub fn check(&self, largest: f64) -> Result<(), String> {
        if (0.0..=largest).contains(&self.strength) {
            return Ok(());
        }
        Err(format!("corruption: expected a strength of 0 to {largest}, got {}", self.strength))
    }

    /// Returns the generator of random numbers for an item with this content.
    pub fn random(&self, content: &[u8]) -> Random {
        // FNV-1a (Fowler, Noll and Vo), 64 bits.
        let hash = content.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Random::new(hash ^ Random::new(self.seed).next_u64())
    }

    /// Adds Gaussian noise to every value. Its standard deviation is the strength times `unit` of the index
    /// of the value.
    pub fn add_noise(&self, values: &mut [f32], unit: impl Fn(usize) -> f64, random: &mut Random) {
        for (at, value) in values.iter_mut().enumerate() {
            let noise = self.strength * unit(at) * random.normal();
            #[expect(clippy::cast_possible_truncation, reason = "values are single precision")]
            let noise = noise as f32;
            *value += noise;
        }
    }

    /// Returns whether something happens whose probability is the strength.
    pub fn happens(&self, random: &mut Random) -> bool {
        random.uniform() < self.strength
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corruption(seed: u64) -> Corruption<()> {
        Corruption { kind: (), strength: 0.25, seed, synonyms: BTreeMap::new() }
    }

    #[test]
    fn the_numbers_of_an_item_depend_on_seed_and_content_only() {
        let first = |seed, content: &[u8]| corruption(seed).random(content).next_u64();
        assert_eq!(first(1, b"a"), first(1, b"a"));
        let all = [first(1, b"a"), first(2, b"a"), first(1, b"b"), first(0, b""), first(1, b"")];
        assert!((0..5).all(|i| (0..i).all(|j| all[i] != all[j])), "{all:?}");
    }

    /// Tolerance: five standard errors of 40,000 draws, 5 / sqrt(2 * 40,000) = 1.8 % of the deviation and
    /// 5 / 200 = 2.5 % for the mean; 5 sqrt(0.25 * 0.75 / 40,000) = 0.011 for the share.
    #[test]
    fn noise_has_the_strength_times_the_unit_and_events_have_the_probability() {
        let (noisy, mut random) = (corruption(3), corruption(3).random(b"item"));
        let mut values = vec![0.0_f32; 80_000];
        noisy.add_noise(&mut values, |at| if at < 40_000 { 1.0 } else { 8.0 }, &mut random);
        for (part, sigma) in [(&values[..40_000], 0.25), (&values[40_000..], 2.0)] {
            let count = part.len() as f64;
            let mean = part.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
            let deviation = (part.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count).sqrt();
            assert!(
                mean.abs() < 0.025 * sigma && (deviation / sigma - 1.0).abs() < 0.018,
                "{mean} {deviation}"
            );
        }
        let share = (0..40_000).filter(|_| noisy.happens(&mut random)).count() as f64 / 40_000.0;
        assert!((share - 0.25).abs() < 0.011, "{share}");
    }

    #[test]
    fn a_strength_outside_the_range_is_refused_with_both() {
        assert!(corruption(0).check(1.0).is_ok());
        let message = corruption(0).check(0.1).unwrap_err();
        assert!(message.contains("0 to 0.1") && message.contains("0.25"), "{message}");
        assert!(Corruption { strength: f64::NAN, ..corruption(0) }.check(1.0).is_err());
    }
}
