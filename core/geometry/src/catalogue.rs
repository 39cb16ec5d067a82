//! The measures by name: what each needs, its unit, what its permutation null does, how many rows it looks
//! at.

/// What a permutation null shuffles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shuffle {
    /// Which row of the second cloud belongs to which of the first.
    Pairs,
    /// Which of the two clouds a row belongs to.
    Membership,
    /// Which label belongs to which row.
    Labels,
    /// Nothing: no permutation says what chance would be.
    Nothing,
}

/// Which end of the null is the remarkable one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tail {
    /// Values as large as the one found.
    Greater,
    /// Values as small as the one found.
    Less,
}

/// One measure of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// Its name; those that end in `@` are followed by the number of neighbours.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Rows belong to each other, so both clouds need as many.
    pub paired: bool,
    /// Both clouds lie in one space, so both need one width.
    pub common: bool,
    /// What its null shuffles.
    pub shuffle: Shuffle,
    /// Which end of the null counts.
    pub tail: Tail,
    /// The most rows it looks at; more are sampled with the seed.
    pub rows: usize,
}

impl Measure {
    /// The name with the number of neighbours in it.
    pub fn key(&self, k: usize) -> String {
        if self.name.ends_with('@') { format!("{}{k}", self.name) } else { self.name.to_owned() }
    }
}

const ALL: usize = usize::MAX;

const fn paired(name: &'static str, unit: &'static str, common: bool, tail: Tail, rows: usize) -> Measure {
    Measure { name, unit, paired: true, common, shuffle: Shuffle::Pairs, tail, rows }
}

const fn samples(name: &'static str, unit: &'static str, rows: usize) -> Measure {
    let (shuffle, tail) = (Shuffle::Membership, Tail::Greater);
    Measure { name, unit, paired: false, common: true, shuffle, tail, rows }
}

const fn spaces(name: &'static str, unit: &'static str, rows: usize) -> Measure {
    let (shuffle, tail) = (Shuffle::Membership, Tail::Greater);
    Measure { name, unit, paired: false, common: false, shuffle, tail, rows }
}

const fn alone(name: &'static str) -> Measure {
    let (shuffle, tail) = (Shuffle::Nothing, Tail::Greater);
    Measure { name, unit: "dimensions", paired: false, common: false, shuffle, tail, rows: ALL }
}

const fn labelled(name: &'static str) -> Measure {
    let (shuffle, tail) = (Shuffle::Labels, Tail::Greater);
    Measure { name, unit: "", paired: true, common: true, shuffle, tail, rows: 2500 }
}

/// Every measure, in the order of the report.
pub const CATALOGUE: &[Measure] = &[
    paired("cka_linear", "", false, Tail::Greater, ALL),
    paired("cka_linear_unbiased", "", false, Tail::Greater, ALL),
    paired("cka_rbf", "", false, Tail::Greater, 10_000),
    paired("cka_rbf_unbiased", "", false, Tail::Greater, 10_000),
    paired("svcca", "", false, Tail::Greater, ALL),
    paired("mutual_knn@", "", false, Tail::Greater, ALL),
    paired("neighbourhood_jaccard@", "", false, Tail::Greater, ALL),
    paired("procrustes_residual", "", false, Tail::Less, ALL),
    samples("w2_exact", "length", ALL),
    samples("sinkhorn_divergence", "length squared", 5000),
    samples("sliced_w2", "length", ALL),
    samples("bures_w2", "length", ALL),
    samples("mmd2_rbf", "", ALL),
    samples("mmd2_rbf_biased", "", ALL),
    spaces("gw", "mean distance of each cloud", 500),
    paired("hausdorff_knn", "mean distance to the k-th neighbour", false, Tail::Less, 2000),
    paired("geodesic_distortion", "", false, Tail::Less, 2000),
    paired("curvature_mismatch", "", false, Tail::Less, 2000),
    paired("covariance_log_euclidean", "log ratio", true, Tail::Less, 2000),
    paired("covariance_affine_invariant", "log ratio", true, Tail::Less, 2000),
    spaces("persistence_bottleneck_h0", "mean distance of each cloud", 200),
    spaces("persistence_bottleneck_h1", "mean distance of each cloud", 200),
    alone("intrinsic_dimension_a"),
    alone("intrinsic_dimension_b"),
    paired("mutual_information_ksg", "nats", false, Tail::Greater, 1000),
    samples("modality_gap", "radius of the unit sphere", ALL),
    paired("foscttm", "", true, Tail::Less, 20_000),
    labelled("silhouette"),
    labelled("nmi"),
];
