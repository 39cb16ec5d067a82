//! Deterministic mutations of an input: the same seed always gives the same bytes.

/// Random numbers (SplitMix64; Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct RandomNumbers(u64);

impl RandomNumbers {
    /// Returns the sequence that begins with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number of 64 random bits.
    pub fn next_bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next_bits() % end.max(1) as u64) as usize
    }
}

/// Numbers at which readers err: lengths, counts and offsets at the ends of their ranges.
const EDGES: [u64; 10] =
    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];

/// Changes an input in one to four places, and keeps it below `longest` bytes. `other` is another input, of
/// which a part may be inserted.
///
/// ```
/// use chiasm_fuzz::mutation::{RandomNumbers, mutate};
///
/// let mutated = |seed| mutate(b"seed", b"other", 64, &mut RandomNumbers::new(seed));
/// assert_eq!(mutated(1), mutated(1));
/// assert!((0..9).any(|seed| mutated(seed) != b"seed"));
/// ```
pub fn mutate(input: &[u8], other: &[u8], longest: usize, random: &mut RandomNumbers) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(8) {
            0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            2 if !bytes.is_empty() => bytes[at] = random.next_bits() as u8,
            3 => overwrite(&mut bytes[at..], random),
            4 => bytes.truncate(at),
            5 => {
                let end = (at + random.below(16)).min(bytes.len());
                drop(bytes.drain(at..end));
            }
            6 => {
                let end = (at + random.below(16)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, part));
            }
            _ => {
                let from = random.below(other.len());
                let end = (from + random.below(32)).min(other.len());
                drop(bytes.splice(at..at, other[from..end].iter().copied()));
            }
        }
    }
    bytes.truncate(longest);
    bytes
}

/// Writes a number from [`EDGES`] over one, two, four or eight bytes.
fn overwrite(bytes: &mut [u8], random: &mut RandomNumbers) {
    let number = EDGES[random.below(EDGES.len())];
    let width = 1 << random.below(4);
    let number = if random.below(2) == 0 { number.to_le_bytes() } else { number.swap_bytes().to_le_bytes() };
    bytes.iter_mut().take(width).zip(number).for_each(|(byte, new)| *byte = new);
}
