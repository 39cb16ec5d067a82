//! Random data that depend only on a seed.

use crate::BorrowedArray;

/// A sequence of random numbers (Steele, Lea and Flood 2014, SplitMix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number that is nearly normal: the sum of twelve uniform ones, less six.
    pub(super) fn normal(&mut self) -> f32 {
        let uniform = |bits: u64| (bits >> 40) as f32 / (1_u64 << 24) as f32;
        (0..12).map(|_| uniform(self.next())).sum::<f32>() - 6.0
    }
}

/// Two modalities whose rows are linear functions of three common numbers, with noise.
pub(super) struct Pairs {
    pub(super) names: [&'static str; 2],
    pub(super) widths: [usize; 2],
    pub(super) values: [Vec<f32>; 2],
    pub(super) rows: Vec<i64>,
}

impl Pairs {
    pub(super) fn new(seed: u64, rows: usize, widths: [usize; 2]) -> Self {
        let mut random = Random::new(seed);
        let maps = widths.map(|width| (0..3 * width).map(|_| random.normal()).collect::<Vec<f32>>());
        let mut values = [Vec::new(), Vec::new()];
        for _ in 0..rows {
            let common = [random.normal(), random.normal(), random.normal()];
            for ((values, map), width) in values.iter_mut().zip(&maps).zip(widths) {
                for column in 0..width {
                    let exact: f32 = (0..3).map(|i| common[i] * map[i * width + column]).sum();
                    values.push(exact + 0.1 * random.normal());
                }
            }
        }
        Self { names: ["first", "second"], widths, values, rows: (0..).take(rows).collect() }
    }

    /// Returns the arrays of a fit of an aligner, with names from [`Pairs::array_names`].
    pub(super) fn arrays<'a>(&'a self, names: &'a [String; 4]) -> Vec<(&'a str, BorrowedArray<'a>)> {
        let mut arrays = Vec::new();
        for at in 0..2 {
            let shape = [self.rows.len(), self.widths[at]];
            arrays.push((names[2 * at].as_str(), BorrowedArray::f32(&shape, &self.values[at])));
            arrays.push((names[2 * at + 1].as_str(), BorrowedArray::i64(&[self.rows.len()], &self.rows)));
        }
        arrays
    }

    pub(super) fn array_names(&self) -> [String; 4] {
        let [first, second] = self.names;
        [
            format!("{first}.pooled"),
            format!("{first}.row"),
            format!("{second}.pooled"),
            format!("{second}.row"),
        ]
    }
}
