//! Every measure of two clouds from one call, each beside its permutation null.
//!
//! A measure that does not apply (other widths, other counts, no labels, degenerate input) is left out with
//! its reason; the rest goes on. Measures that look at a sample say how many rows that was.

use ndarray::{Array2, ArrayView2};
use serde::Serialize;
use std::collections::BTreeMap;

use crate::case::Case;
use crate::catalogue::{CATALOGUE, Measure, Shuffle, Tail};
use crate::notes::notes;
use crate::random::Random;
use crate::real::Real;
use crate::{Error, Result};

/// The largest clouds that exact transport takes.
const EXACT_ROWS: usize = 5000;

/// What to measure and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// Keys or names of measures; all where there are none.
    pub only: Vec<String>,
    /// Neighbours.
    pub k: usize,
    /// Permutations of the null; 0 leaves it out.
    pub null: usize,
    /// Of samples, directions, ties and permutations.
    pub seed: u64,
    /// A label for each row of both clouds.
    pub labels: Option<Vec<usize>>,
    /// Threads; 0 means all.
    pub threads: usize,
}

impl Default for Request {
    fn default() -> Self {
        Self { only: Vec::new(), k: 10, null: 0, seed: 0, labels: None, threads: 0 }
    }
}

/// One measure's result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The value.
    pub value: f64,
    /// Its unit; nothing for a pure number.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub unit: &'static str,
    /// Rows of each cloud that were looked at.
    pub rows: [usize; 2],
    /// Beside chance.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub null: Option<Null>,
}

/// A value beside its permutation null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Null {
    /// `(1 + permutations at least as remarkable) / (1 + permutations)` (Phipson and Smyth 2010).
    pub p_value: f64,
    /// `(value - mean) / deviation` of the permutations; none where these do not vary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z: Option<f64>,
    /// Mean of the permutations.
    pub null_mean: f64,
    /// Which end counts as remarkable.
    pub tail: Tail,
    /// How many permutations there were.
    pub permutations: usize,
}

/// All that was measured, and what was not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Results by key.
    pub measures: BTreeMap<String, Found>,
    /// Reasons by key.
    pub skipped: BTreeMap<String, String>,
    /// What is odd about the clouds: repeated rows, constant columns.
    pub notes: Vec<String>,
}

/// Measures `x [n, a]` and `y [m, b]`; `watch(key, step, steps)` hears of every step.
///
/// # Errors
/// When a cloud has fewer than two rows, a value is not finite, a measure asked for does not exist, or labels
/// are not one a row.
pub fn measure<T: Real>(
    x: ArrayView2<'_, T>,
    y: ArrayView2<'_, T>,
    request: &Request,
    watch: &(dyn Fn(&str, usize, usize) + Sync),
) -> Result<Report> {
    crate::cloud::survey(0, x, 2)?;
    crate::cloud::survey(1, y, 2)?;
    if let Some(labels) = &request.labels {
        crate::same("labels (one for each row)", x.nrows(), labels.len())?;
    }
    let wanted = wanted(request)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(request.threads).build();
    let (x, y) = (x.to_owned(), y.to_owned());
    let run = || run(x, y, &wanted, request, watch);
    match pool {
        Ok(pool) => Ok(pool.install(run)),
        Err(_) => Ok(run()), // no threads of our own to be had: those of the process serve
    }
}

fn wanted(request: &Request) -> Result<Vec<&'static Measure>> {
    let named = |m: &Measure, word: &str| word == m.key(request.k) || word == m.name.trim_end_matches('@');
    if let Some(unknown) = request.only.iter().find(|word| !CATALOGUE.iter().any(|m| named(m, word))) {
        let keys: Vec<String> = CATALOGUE.iter().map(|m| m.key(request.k)).collect();
        return Err(Error::Setting {
            what: "measure",
            expected: format!("one of {}", keys.join(", ")),
            got: unknown.clone(),
        });
    }
    let chosen = |m: &&Measure| request.only.is_empty() || request.only.iter().any(|word| named(m, word));
    Ok(CATALOGUE.iter().filter(chosen).collect())
}

fn run<T: Real>(
    x: Array2<T>,
    y: Array2<T>,
    wanted: &[&Measure],
    request: &Request,
    watch: &(dyn Fn(&str, usize, usize) + Sync),
) -> Report {
    let rows = x.nrows().max(y.nrows());
    let whole = Case::new(x, y, request.labels.clone(), request.k, request.seed);
    let mut samples: BTreeMap<usize, Case<T>> = BTreeMap::new();
    let notes = [notes(0, whole.x.view()), notes(1, whole.y.view())].concat();
    let mut report = Report { measures: BTreeMap::new(), skipped: BTreeMap::new(), notes };
    for measure in wanted {
        let key = measure.key(request.k);
        watch(&key, 0, request.null + 1);
        if let Some(reason) = refused(measure, &whole, request) {
            report.skipped.insert(key, reason);
            continue;
        }
        let case = if measure.rows < rows {
            samples.entry(measure.rows).or_insert_with(|| whole.sampled(measure.rows))
        } else {
            &whole
        };
        match found(measure, case, request, &|step| watch(&key, step, request.null + 1)) {
            Ok(found) => report.measures.insert(key, found).map(|_| ()),
            Err(error) => report.skipped.insert(key, error.to_string()).map(|_| ()),
        };
    }
    report
}

/// Why a measure does not apply to these clouds.
fn refused<T: Real>(measure: &Measure, case: &Case<T>, request: &Request) -> Option<String> {
    let ((n, a), (m, b)) = (case.x.dim(), case.y.dim());
    if measure.shuffle == Shuffle::Labels && request.labels.is_none() {
        Some("it needs labels (--labels labels.npy)".into())
    } else if measure.common && a != b {
        Some(format!(
            "it needs one common space, but the widths are {a} and {b}: map one cloud into the other's space"
        ))
    } else if measure.paired && n != m {
        Some(format!("it needs paired rows, but there are {n} and {m}"))
    } else if measure.name == "w2_exact" && n.max(m) > EXACT_ROWS {
        Some(format!(
            "exact transport takes at most {EXACT_ROWS} rows, here are {}: see sinkhorn_divergence",
            n.max(m)
        ))
    } else {
        None
    }
}

fn found<T: Real>(
    measure: &Measure,
    case: &Case<T>,
    request: &Request,
    step: &dyn Fn(usize),
) -> Result<Found> {
    let value = finite(case.value(measure)?)?;
    step(1);
    let one_space = case.x.ncols() == case.y.ncols();
    let possible = match measure.shuffle {
        Shuffle::Nothing => false,
        Shuffle::Membership => one_space, // rows can change sides only where both sides are one space
        Shuffle::Pairs | Shuffle::Labels => true,
    };
    let null = if request.null > 0 && possible {
        let mut random = Random::new(request.seed ^ 0x006e_756c_6c00);
        let mut values = Vec::with_capacity(request.null);
        for draw in 0..request.null {
            values.push(finite(case.shuffled(measure.shuffle, &mut random).value(measure)?)?);
            step(draw + 2);
        }
        Some(beside(value, &values, measure.tail))
    } else {
        None
    };
    Ok(Found { value, unit: measure.unit, rows: [case.x.nrows(), case.y.nrows()], null })
}

fn finite(value: f64) -> Result<f64> {
    if value.is_finite() { Ok(value) } else { Err(Error::NoConvergence("measure (its value is not finite)")) }
}

fn beside(value: f64, null: &[f64], tail: Tail) -> Null {
    let n = null.len() as f64;
    // Sums in another order: nearer than this is as remarkable.
    let slack = 1e-12 * value.abs();
    let extreme = null.iter().filter(|v| match tail {
        Tail::Greater => **v >= value - slack,
        Tail::Less => **v <= value + slack,
    });
    let p_value = (1 + extreme.count()) as f64 / (1.0 + n);
    let mean = null.iter().sum::<f64>() / n;
    let deviation = (null.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)).sqrt();
    let z = (deviation > slack).then(|| (value - mean) / deviation);
    Null { p_value, z, null_mean: mean, tail, permutations: null.len() }
}
