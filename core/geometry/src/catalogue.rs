//! The catalogue of measures: what each one needs, its unit, its permutation null, and how many rows it uses.
//!
//! ```
//! use chiasm_geometry::catalogue::CATALOGUE;
//! let measure = CATALOGUE.iter().find(|measure| measure.name == "mutual_knn@").unwrap();
//! assert!(measure.paired);
//! assert_eq!(measure.key(10), "mutual_knn@10");
//! ```

use crate::descriptions::DESCRIPTIONS;

/// What a permutation null shuffles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shuffle {
    /// The pairing of the rows of both clouds.
    Pairs,
    /// Which of the two clouds each row belongs to: paired rows are exchanged with each other, unpaired rows
    /// are pooled.
    Membership,
    /// Which of the two clouds each block of rows belongs to. The statistic is the mean of the measure over
    /// pairs of blocks from different clouds, minus that over pairs from one cloud. Blocks need no common
    /// space.
    Blocks,
    /// Which label each row has.
    Labels,
    /// Nothing: the measure has no permutation null.
    Nothing,
}

/// The tail of the null distribution that counts as extreme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NullTail {
    /// Values at least as large as the measured one.
    Greater,
    /// Values at most as large as the measured one.
    Less,
}

/// One measure of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Measure {
    /// The name. If it ends in `@`, the number of neighbours follows.
    pub name: &'static str,
    /// The unit; empty for a pure number.
    pub unit: &'static str,
    /// Whether rows must be paired, so that both clouds need the same number of rows.
    pub paired: bool,
    /// Whether both clouds must lie in one space, so that they need the same width.
    pub common: bool,
    /// What the permutation null shuffles.
    pub shuffle: Shuffle,
    /// The tail of the null distribution that counts as extreme.
    pub tail: NullTail,
    /// Maximum number of rows; larger clouds are sampled.
    pub rows: usize,
}

impl Measure {
    /// Returns what the measure is, in one sentence.
    pub fn about(&self) -> &'static str {
        DESCRIPTIONS.iter().find(|(name, _)| *name == self.name).map_or("", |(_, what)| what)
    }

    /// Returns the number of rows from which the clouds are sampled, in words.
    pub fn sample(&self) -> String {
        if self.rows == ALL { "all".to_owned() } else { self.rows.to_string() }
    }

    /// Returns whether the measure uses nearest neighbours, whose number can be set.
    pub fn uses_neighbours(&self) -> bool {
        let others = [
            "hausdorff_knn",
            "geodesic_distortion",
            "curvature_mismatch",
            "covariance_log_euclidean",
            "covariance_affine_invariant",
            "intrinsic_dimension_a",
            "intrinsic_dimension_b",
            "mutual_information_ksg",
        ];
        self.name.ends_with('@') || others.contains(&self.name)
    }

    /// Returns the name, with the number of neighbours where it belongs to it.
    pub fn key(&self, k: usize) -> String {
        if self.name.ends_with('@') { format!("{}{k}", self.name) } else { self.name.to_owned() }
    }
}

const ALL: usize = usize::MAX;

/// A measure of paired rows.
const fn paired(
    name: &'static str,
    unit: &'static str,
    common: bool,
    tail: NullTail,
    rows: usize,
) -> Measure {
    Measure { name, unit, paired: true, common, shuffle: Shuffle::Pairs, tail, rows }
}

/// A measure of two samples of one space.
const fn samples(name: &'static str, unit: &'static str, rows: usize) -> Measure {
    let (shuffle, tail) = (Shuffle::Membership, NullTail::Greater);
    Measure { name, unit, paired: false, common: true, shuffle, tail, rows }
}

/// A measure of two samples of different spaces.
const fn spaces(name: &'static str, unit: &'static str, rows: usize) -> Measure {
    let (shuffle, tail) = (Shuffle::Blocks, NullTail::Greater);
    Measure { name, unit, paired: false, common: false, shuffle, tail, rows }
}

/// A measure of one cloud.
const fn single(name: &'static str) -> Measure {
    let (shuffle, tail) = (Shuffle::Nothing, NullTail::Greater);
    Measure { name, unit: "dimensions", paired: false, common: false, shuffle, tail, rows: ALL }
}

/// A measure of labelled rows.
const fn labelled(name: &'static str) -> Measure {
    let (shuffle, tail) = (Shuffle::Labels, NullTail::Greater);
    Measure { name, unit: "", paired: true, common: true, shuffle, tail, rows: 2500 }
}

/// All measures, in the order in which they are computed.
pub const CATALOGUE: &[Measure] = &[
    paired("cka_linear", "", false, NullTail::Greater, ALL),
    paired("cka_linear_unbiased", "", false, NullTail::Greater, ALL),
    paired("cka_rbf", "", false, NullTail::Greater, 10_000),
    paired("cka_rbf_unbiased", "", false, NullTail::Greater, 10_000),
    paired("svcca", "", false, NullTail::Greater, ALL),
    paired("mutual_knn@", "", false, NullTail::Greater, ALL),
    paired("neighbourhood_jaccard@", "", false, NullTail::Greater, ALL),
    paired("trustworthiness@", "", false, NullTail::Greater, 5000),
    paired("continuity@", "", false, NullTail::Greater, 5000),
    paired("procrustes_residual", "", false, NullTail::Less, ALL),
    samples("w2_exact", "length", ALL),
    samples("sinkhorn_divergence", "length squared", 5000),
    samples("sliced_w2", "length", ALL),
    samples("bures_w2", "length", ALL),
    samples("mmd2_rbf", "", ALL),
    samples("mmd2_rbf_biased", "", ALL),
    spaces("gw", "mean distance of each cloud", 500),
    paired("hausdorff_knn", "mean distance to the k-th neighbour", false, NullTail::Less, 2000),
    paired("geodesic_distortion", "", false, NullTail::Less, 2000),
    paired("curvature_mismatch", "", false, NullTail::Less, 2000),
    paired("covariance_log_euclidean", "log ratio", true, NullTail::Less, 2000),
    paired("covariance_affine_invariant", "log ratio", true, NullTail::Less, 2000),
    spaces("persistence_bottleneck_h0", "mean distance of each cloud", 200),
    spaces("persistence_bottleneck_h1", "mean distance of each cloud", 200),
    single("intrinsic_dimension_a"),
    single("intrinsic_dimension_b"),
    paired("mutual_information_ksg", "nats", false, NullTail::Greater, 1000),
    samples("modality_gap", "radius of the unit sphere", ALL),
    paired("foscttm", "", true, NullTail::Less, 20_000),
    labelled("silhouette"),
    labelled("nmi"),
];
