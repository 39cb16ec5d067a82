//! All measures of two clouds in one call, with permutation nulls.
//!
//! A measure that does not apply (different widths or numbers of rows, no labels, degenerate input) is
//! skipped with a reason. The result of each measure states how many rows it used.
//!
//! ```
//! use chiasm_geometry::measure::{MeasureOptions, measure};
//! let x = ndarray::Array2::from_shape_fn((40, 3), |(i, j)| ((i * (2 * j + 3)) % 17) as f64);
//! let narrow = x.slice(ndarray::s![.., ..2]);
//! let options = MeasureOptions::new().only(["mutual_knn", "w2_exact"]).k(5).null(9);
//! let report = measure(x.view(), narrow, &options, &|_, _, _| {})?;
//! assert_eq!(report.measures["mutual_knn@5"].rows, [40, 40]);
//! assert!(report.skipped["w2_exact"].contains("one common space"));
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use ndarray::{Array2, ArrayView2};
use serde::Serialize;
use std::collections::BTreeMap;

use crate::catalogue::{CATALOGUE, Measure, NullTail, Shuffle};
use crate::cloud_notes::notes;
use crate::cloud_pair::CloudPair;
use crate::random::Random;
use crate::real::Real;
use crate::{Error, Result};

/// Maximum number of rows for exact transport.
const EXACT_ROWS: usize = 5000;

/// What to measure, and how.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct MeasureOptions {
    /// Keys or names of the measures; empty for all.
    pub only: Vec<String>,
    /// Number of nearest neighbours; `None` for 10. A number that was set and is too large for the rows is an
    /// error; the default skips the measures that need more rows.
    pub k: Option<usize>,
    /// Number of permutations of the null; 0 (the default) computes no null.
    pub null: usize,
    /// Seed of samples, directions, ties and permutations (0).
    pub seed: u64,
    /// One label per paired row, for the measures of labels.
    pub labels: Option<Vec<usize>>,
    /// Number of threads; 0 (the default) uses all.
    pub threads: usize,
}

impl MeasureOptions {
    /// Creates the default options: all measures, without nulls and labels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects measures by key or name.
    pub fn only<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.only = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the number of nearest neighbours.
    pub fn k(mut self, k: usize) -> Self {
        self.k = Some(k);
        self
    }

    fn neighbours(&self) -> usize {
        self.k.unwrap_or(10)
    }

    /// Sets the number of permutations of the null.
    pub fn null(mut self, permutations: usize) -> Self {
        self.null = permutations;
        self
    }

    /// Sets the seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the labels of the paired rows.
    pub fn labels(mut self, labels: Option<Vec<usize>>) -> Self {
        self.labels = labels;
        self
    }

    /// Sets the number of threads.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }
}

/// The result of one measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MeasuredValue {
    /// The value.
    pub value: f64,
    /// The unit; empty for a pure number.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub unit: &'static str,
    /// Number of rows of each cloud that were used.
    pub rows: [usize; 2],
    /// Comparison with the permutation null.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub null: Option<MeasureNull>,
}

/// Comparison of a value with its permutation null.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MeasureNull {
    /// `(1 + permutations that are more extreme) / (1 + permutations)` (Phipson and Smyth 2010). Ties are
    /// ordered at random, by the seed, so that p-values are uniform under the null hypothesis; if all
    /// permutations tie, it is 1.
    pub p_value: f64,
    /// `(value - mean) / standard deviation` of the permutations; `None` if they do not vary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z: Option<f64>,
    /// Mean over the permutations; `None` if they exchange blocks, which have fewer rows than the clouds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null_mean: Option<f64>,
    /// What was permuted.
    pub permuted: &'static str,
    /// The tail that counts as extreme.
    pub tail: NullTail,
    /// Number of permutations.
    pub permutations: usize,
}

/// Results of all measures.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MeasureReport {
    /// Results by key.
    pub measures: BTreeMap<String, MeasuredValue>,
    /// Reasons of skipped measures by key.
    pub skipped: BTreeMap<String, String>,
    /// Remarks on the clouds: repeated rows, constant columns.
    pub notes: Vec<String>,
}

/// Computes the measures of `x [n, a]` and `y [m, b]`, in double precision whatever the type of the clouds.
///
/// `watch(key, step, steps)` is called after every step of every measure.
///
/// # Errors
/// When a cloud has fewer than two rows, a value is not finite, a selected measure does not exist, or the
/// number of labels differs from the number of rows.
pub fn measure<T: Real>(
    x: ArrayView2<'_, T>,
    y: ArrayView2<'_, T>,
    options: &MeasureOptions,
    watch: &(dyn Fn(&str, usize, usize) + Sync),
) -> Result<MeasureReport> {
    crate::cloud::cloud_stats(0, x, 2)?;
    crate::cloud::cloud_stats(1, y, 2)?;
    if let Some(labels) = &options.labels {
        crate::same("labels (one for each row)", x.nrows(), labels.len())?;
    }
    let selected = selected(options)?;
    let most = x.nrows().min(y.nrows()) - 1;
    if let Some(k) =
        options.k.filter(|k| selected.iter().any(|m| m.uses_neighbours()) && !(1..=most).contains(k))
    {
        let expected = format!("1 to {most} (the number of rows minus one)");
        return Err(Error::Setting { what: "neighbours k", expected, got: k.to_string() });
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build();
    let (x, y) = (x.mapv(Into::<f64>::into), y.mapv(Into::<f64>::into));
    let run = || run(x, y, &selected, options, watch);
    match pool {
        Ok(pool) => Ok(pool.install(run)),
        Err(_) => Ok(run()), // without a pool of its own, use the global one
    }
}

/// Returns the measures that the options select.
fn selected(options: &MeasureOptions) -> Result<Vec<&'static Measure>> {
    let named =
        |m: &Measure, word: &str| word == m.key(options.neighbours()) || word == m.name.trim_end_matches('@');
    if let Some(unknown) = options.only.iter().find(|word| !CATALOGUE.iter().any(|m| named(m, word))) {
        let keys: Vec<String> = CATALOGUE.iter().map(|m| m.key(options.neighbours())).collect();
        return Err(Error::Setting {
            what: "measure",
            expected: format!("one of {}", keys.join(", ")),
            got: unknown.clone(),
        });
    }
    let chosen = |m: &&Measure| options.only.is_empty() || options.only.iter().any(|word| named(m, word));
    Ok(CATALOGUE.iter().filter(chosen).collect())
}

/// Computes the selected measures, on samples where a measure limits the rows.
fn run(
    x: Array2<f64>,
    y: Array2<f64>,
    selected: &[&Measure],
    options: &MeasureOptions,
    watch: &(dyn Fn(&str, usize, usize) + Sync),
) -> MeasureReport {
    let rows = x.nrows().max(y.nrows());
    let whole = CloudPair::new(x, y, options.labels.clone(), options.neighbours(), options.seed);
    let mut samples: BTreeMap<usize, CloudPair<f64>> = BTreeMap::new();
    let notes = [notes(0, whole.x.view()), notes(1, whole.y.view())].concat();
    let mut report = MeasureReport { measures: BTreeMap::new(), skipped: BTreeMap::new(), notes };
    for measure in selected {
        let key = measure.key(options.neighbours());
        watch(&key, 0, options.null + 1);
        if let Some(reason) = skip_reason(measure, &whole, options) {
            report.skipped.insert(key, reason);
            continue;
        }
        let pair = if measure.rows < rows {
            samples.entry(measure.rows).or_insert_with(|| whole.sampled(measure.rows))
        } else {
            &whole
        };
        match measured(measure, pair, options, &|step| watch(&key, step, options.null + 1)) {
            Ok(measured) => report.measures.insert(key, measured).map(|_| ()),
            Err(error) => report.skipped.insert(key, error.to_string()).map(|_| ()),
        };
    }
    report
}

/// Returns why a measure does not apply to these clouds, if so.
fn skip_reason(measure: &Measure, pair: &CloudPair<f64>, options: &MeasureOptions) -> Option<String> {
    let ((n, a), (m, b)) = (pair.x.dim(), pair.y.dim());
    if measure.shuffle == Shuffle::Labels && options.labels.is_none() {
        Some("it needs labels (--labels labels.npy)".into())
    } else if measure.common && a != b {
        Some(format!(
            "it needs one common space, but the widths are {a} and {b}: map one cloud into the other's space"
        ))
    } else if measure.paired && n != m {
        Some(format!("it needs paired rows, but the clouds have {n} and {m} rows"))
    } else if measure.name == "w2_exact" && n.max(m) > EXACT_ROWS {
        Some(format!(
            "exact transport takes at most {EXACT_ROWS} rows, got {}: use sinkhorn_divergence",
            n.max(m)
        ))
    } else {
        None
    }
}

/// Computes a measure and its permutation null.
fn measured(
    measure: &Measure,
    pair: &CloudPair<f64>,
    options: &MeasureOptions,
    step: &dyn Fn(usize),
) -> Result<MeasuredValue> {
    let value = finite(pair.value(measure)?)?;
    step(1);
    let null = match measure.shuffle {
        _ if options.null == 0 => None,
        Shuffle::Nothing => None,
        Shuffle::Blocks => block_null(measure, pair, options, step)?,
        Shuffle::Membership | Shuffle::Pairs | Shuffle::Labels => {
            let mut random = Random::new(options.seed ^ NULL_SEED);
            let mut values = Vec::with_capacity(options.null);
            for draw in 0..options.null {
                values.push(finite(pair.shuffled(measure.shuffle, &mut random).value(measure)?)?);
                step(draw + 2);
            }
            Some(compare_with_null(
                value,
                &values,
                measure.tail,
                permuted(measure.shuffle, pair),
                &mut random,
            ))
        }
    };
    Ok(MeasuredValue { value, unit: measure.unit, rows: [pair.x.nrows(), pair.y.nrows()], null })
}

/// Distinguishes the random numbers of the null from those of the measures.
const NULL_SEED: u64 = 0x006e_756c_6c00;
/// Number of blocks of each cloud.
const BLOCKS: usize = 8;
/// The smallest number of rows of a block. Fewer rows rarely form a loop.
const BLOCK_ROWS: usize = 4;
const LOOP_ROWS: usize = 15;

/// Compares blocks of rows of both clouds: those of one distribution are exchangeable, whatever their spaces.
/// Returns `None` if there are too few rows. Paired blocks, which hold the same items, are exchanged with
/// each other and are not compared.
fn block_null(
    measure: &Measure,
    pair: &CloudPair<f64>,
    options: &MeasureOptions,
    step: &dyn Fn(usize),
) -> Result<Option<MeasureNull>> {
    let least = if measure.name == "persistence_bottleneck_h1" { LOOP_ROWS } else { BLOCK_ROWS };
    let count = BLOCKS.min(pair.x.nrows().min(pair.y.nrows()) / least);
    if count < 3 {
        return Ok(None);
    }
    let mut random = Random::new(options.seed ^ NULL_SEED);
    let blocks = pair.blocks(count, &mut random);
    let all = blocks.len();
    let paired = pair.is_paired();
    let mut apart = Array2::zeros((all, all));
    for i in 0..all {
        for j in (0..i).filter(|j| !(paired && i == j + count)) {
            let both = CloudPair::new(
                blocks[i].clone(),
                blocks[j].clone(),
                None,
                options.neighbours(),
                options.seed,
            );
            apart[[i, j]] = finite(both.value(measure)?)?;
        }
        step(1 + i * options.null / all);
    }
    let statistic = |second: &[bool]| {
        let (mut sums, mut counts) = ([0.0; 2], [0.0; 2]);
        for i in 0..all {
            for j in (0..i).filter(|j| !(paired && i == j + count)) {
                let place = usize::from(second[i] != second[j]);
                sums[place] += apart[[i, j]];
                counts[place] += 1.0;
            }
        }
        sums[1] / counts[1] - sums[0] / counts[0]
    };
    let own: Vec<bool> = (0..all).map(|i| i >= count).collect();
    let draw = |random: &mut Random| -> Vec<bool> {
        if paired {
            let swaps: Vec<bool> = (0..count).map(|_| random.uniform() < 0.5).collect();
            (0..all).map(|i| own[i] != swaps[i % count]).collect()
        } else {
            random.permutation(all).into_iter().map(|i| own[i]).collect()
        }
    };
    let values: Vec<f64> = (0..options.null).map(|_| statistic(&draw(&mut random))).collect();
    step(options.null + 1);
    let found = compare_with_null(
        statistic(&own),
        &values,
        measure.tail,
        permuted(measure.shuffle, pair),
        &mut random,
    );
    Ok(Some(MeasureNull { null_mean: None, ..found }))
}

/// Returns what the null of a measure permutes.
fn permuted(shuffle: Shuffle, pair: &CloudPair<f64>) -> &'static str {
    match (shuffle, pair.is_paired()) {
        (Shuffle::Pairs, _) => "pairing of the rows",
        (Shuffle::Membership, true) => "sides of each pair",
        (Shuffle::Membership, false) => "rows pooled",
        (Shuffle::Blocks, true) => "sides of each pair of blocks",
        (Shuffle::Blocks, false) => "blocks pooled",
        (Shuffle::Labels, _) => "labels",
        (Shuffle::Nothing, _) => "nothing",
    }
}

fn finite(value: f64) -> Result<f64> {
    if value.is_finite() { Ok(value) } else { Err(Error::NoConvergence("measure (its value is not finite)")) }
}

fn compare_with_null(
    value: f64,
    null: &[f64],
    tail: NullTail,
    permuted: &'static str,
    random: &mut Random,
) -> MeasureNull {
    let n = null.len() as f64;
    // Values that differ by less are equal up to the order of summation.
    let slack = 1e-12 * value.abs();
    let beyond = |v: &&f64| match tail {
        NullTail::Greater => **v > value + slack,
        NullTail::Less => **v < value - slack,
    };
    let tied = null.iter().filter(|v| (**v - value).abs() <= slack).count();
    let ahead = if tied == null.len() { tied } else { (random.uniform() * (tied + 1) as f64) as usize };
    let p_value = (1 + null.iter().filter(beyond).count() + ahead) as f64 / (1.0 + n);
    let mean = null.iter().sum::<f64>() / n;
    let deviation = (null.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)).sqrt();
    let z = (deviation > slack).then(|| (value - mean) / deviation);
    MeasureNull { p_value, z, null_mean: Some(mean), permuted, tail, permutations: null.len() }
}
