//! What is asked of the images as a cloud: do they reach the target, do they tell anything of their points,
//! and can labels still be read off rows that were sent there and back?

use chiasm_geometry::coverage::coverage;
use chiasm_geometry::information::{mutual_information, mutual_information_ceiling, principal_coordinates};
use chiasm_geometry::random::Random;
use ndarray::{Array2, ArrayView2, Axis};

use crate::cloud::{Cloud, spread, unit};
use crate::settings::Limits;
use crate::verdict::Findings;
use crate::{Result, Settings};

/// Rows of the information check: its cost grows with their square, and it is made once per shuffle.
const INFORMATION_ROWS: usize = 400;
/// Below this many rows chance alone often tells more than a good map does.
const LEAST_ROWS: usize = 50;
/// Nats by which chance must be exceeded: more than rounding makes of nothing.
const EXCEED: f64 = 1e-9;
/// Leading principal coordinates of each side; neighbour estimates of information fade with more.
const COORDINATES: usize = 3;
/// Shuffles: the map's information must exceed that of every one, so chance passes once in twenty.
const SHUFFLES: usize = 19;

/// Labels of the held-out points, and labelled rows to learn to read them from.
#[derive(Debug, Clone)]
pub struct Labels<'a> {
    /// The class of each held-out point.
    pub labels: Vec<usize>,
    /// Rows `[m, d]` that were not held out.
    pub training: ArrayView2<'a, f32>,
    /// Their labels.
    pub training_labels: Vec<usize>,
}

/// Judges how much of the target's neighbourhoods images reach.
pub(crate) fn surjectivity(
    findings: &mut Findings<'_>,
    cloud: &Cloud,
    targets: Option<&Array2<f64>>,
    neighbours: usize,
) -> Result<()> {
    let Some(targets) = targets else {
        findings.skip("surjectivity", "no cloud of targets was given");
        return Ok(());
    };
    if targets.nrows() <= neighbours {
        findings.skip("surjectivity", format!("{} targets have no {neighbours} neighbours", targets.nrows()));
        return Ok(());
    }
    let reached = coverage(cloud.z.view(), targets.view(), neighbours)?;
    let alike = 1.0 - 0.5f64.powi(neighbours as i32);
    findings.judge(
        "surjectivity",
        reached,
        format!(
            "images reach the {neighbours}-neighbourhoods of {:.0} % of the targets; \
             a second sample of them would reach about {:.0} %",
            100.0 * reached,
            100.0 * alike
        ),
    );
    Ok(())
}

/// Judges whether images tell their points apart better than images of other points do.
pub(crate) fn information(findings: &mut Findings<'_>, cloud: &Cloud, settings: &Settings) -> Result<()> {
    let rows = spread(cloud.x.nrows(), INFORMATION_ROWS);
    let (n, neighbours) = (rows.len(), settings.neighbours);
    if n < LEAST_ROWS {
        findings
            .skip("information", format!("{n} points are too few to estimate it, {LEAST_ROWS} are needed"));
        return Ok(());
    }
    let leading =
        |cloud: &Array2<f64>| principal_coordinates(cloud.select(Axis(0), &rows).view(), COORDINATES);
    let (x, z) = (leading(&cloud.x)?, leading(&cloud.z)?);
    let told = mutual_information(x.view(), z.view(), neighbours)?;
    let mut random = Random::new(settings.seed);
    let mut chance = 0.0f64;
    for _ in 0..SHUFFLES {
        let shuffled = z.select(Axis(0), &random.permutation(n));
        chance = chance.max(mutual_information(x.view(), shuffled.view(), neighbours)?);
    }
    let own = settings.limits("information");
    let limits = Limits { warn: own.warn.or(Some(chance + EXCEED)), fail: own.fail };
    findings.judge_by(
        "information",
        told,
        limits,
        format!(
            "z tells {told:.2} nats of x (Kraskov 2004, {neighbours} neighbours, {COORDINATES} principal \
             coordinates each; \
             shuffled pairs at most {chance:.2}, {n} points can show {:.2})",
            mutual_information_ceiling(n, neighbours)
        ),
    );
    Ok(())
}

/// Judges whether labels survive the way there and back: nearest class mean, fitted on the rows themselves.
pub(crate) fn probe(
    findings: &mut Findings<'_>,
    labels: Option<&Labels<'_>>,
    home: Option<&Array2<f64>>,
    cloud: &Cloud,
) {
    let (Some(labels), Some(home)) = (labels, home) else {
        let reason = if labels.is_none() { "no labels were given" } else { "there is no way back" };
        findings.skip("probe", reason);
        return;
    };
    let means = class_means(&unit(&labels.training.mapv(f64::from)), &labels.training_labels);
    let own: Vec<usize> = cloud.rows.iter().filter_map(|&row| labels.labels.get(row).copied()).collect();
    let (plain, rebuilt) = (accuracy(&means, &cloud.x, &own), accuracy(&means, home, &own));
    findings.judge(
        "probe",
        rebuilt / plain.max(f64::MIN_POSITIVE),
        format!(
            "nearest class means read {:.1} % of the labels off reconstructed rows, {:.1} % off the rows \
             themselves",
            100.0 * rebuilt,
            100.0 * plain
        ),
    );
}

/// The mean of each class, one row a class.
fn class_means(rows: &Array2<f64>, labels: &[usize]) -> Array2<f64> {
    let classes = labels.iter().max().map_or(0, |most| most + 1);
    let mut sums = Array2::zeros((classes, rows.ncols()));
    let mut counts = vec![0.0f64; classes];
    for (row, &label) in rows.outer_iter().zip(labels) {
        sums.row_mut(label).scaled_add(1.0, &row);
        counts[label] += 1.0;
    }
    for (mut sum, count) in sums.outer_iter_mut().zip(counts) {
        sum /= count.max(1.0);
    }
    sums
}

/// Share of rows whose nearest class mean is that of their label; rows count by direction.
fn accuracy(means: &Array2<f64>, rows: &Array2<f64>, labels: &[usize]) -> f64 {
    let rows = unit(rows);
    let right = rows.outer_iter().zip(labels).filter(|(row, label)| {
        let far = |class: usize| (&means.row(class) - row).mapv(|v| v * v).sum();
        let nearest = (0..means.nrows()).min_by(|&a, &b| far(a).total_cmp(&far(b)));
        nearest == Some(**label)
    });
    right.count() as f64 / labels.len().max(1) as f64
}
