//! Checks of the images as a cloud: how much of the target they cover, the mutual information with their
//! points, and whether a probe predicts labels from reconstructed rows.

use chiasm_geometry::coverage::coverage;
use chiasm_geometry::information::{mutual_information, mutual_information_ceiling, principal_coordinates};
use chiasm_geometry::neighbour_overlap::mutual_knn;
use chiasm_geometry::neighbours::Neighbours;
use chiasm_geometry::random::Random;
use ndarray::{Array2, ArrayView2, Axis};

use crate::cloud::{PointCloud, unit};
use crate::rows::evenly_spaced;
use crate::settings::CheckLimits;
use crate::verdict::CheckLog;
use crate::{CheckSettings, Result};

/// The most rows of the information check: its cost grows with their square, and it runs once per shuffle.
const INFORMATION_ROWS: usize = 400;
/// With fewer rows, shuffled pairs often have more information than the pairs of a good map.
const LEAST_ROWS: usize = 50;
/// The nats by which the information must exceed that of shuffled pairs; larger than rounding errors.
const EXCEED: f64 = 1e-9;
/// Leading principal coordinates of each side; neighbour estimates of information degrade with more.
const COORDINATES: usize = 3;
/// The number of shuffles. The map's information must exceed that of all, a permutation test at level 1/20.
const SHUFFLES: usize = 19;

/// Labels of the held-out points, and labelled training rows for the probe.
#[derive(Debug, Clone)]
pub struct ProbeLabels<'a> {
    /// The class of each held-out point.
    pub labels: Vec<usize>,
    /// Rows `[m, d]` that were not held out.
    pub training: ArrayView2<'a, f32>,
    /// Their labels.
    pub training_labels: Vec<usize>,
}

/// Checks which fraction of the targets have an image in their neighbourhood.
pub(crate) fn surjectivity(
    log: &mut CheckLog<'_>,
    cloud: &PointCloud,
    targets: Option<&Array2<f64>>,
    neighbours: usize,
) -> Result<()> {
    let Some(targets) = targets else {
        log.skip("surjectivity", "no cloud of targets was given");
        return Ok(());
    };
    if targets.nrows() <= neighbours {
        log.too_few("surjectivity", format!("{} targets have no {neighbours} neighbours", targets.nrows()));
        return Ok(());
    }
    let reached = coverage(cloud.z.view(), targets.view(), neighbours)?;
    let alike = 1.0 - 0.5f64.powi(neighbours as i32);
    log.record(
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

/// Checks which share of each point's nearest neighbours are also nearest neighbours of its image, the mutual
/// k-nearest-neighbour score of points and images. Distances are Euclidean.
pub(crate) fn neighbours(log: &mut CheckLog<'_>, cloud: &PointCloud, settings: &CheckSettings) -> Result<()> {
    let (n, k) = (cloud.x.nrows(), settings.neighbours);
    if n < LEAST_ROWS.max(k + 2) {
        log.too_few("neighbours", format!("chance alone keeps many neighbours of {n} points"));
        return Ok(());
    }
    let near = |cloud: &Array2<f64>, salt| Neighbours::new(cloud.view(), k, salt);
    let kept = mutual_knn(&near(&cloud.x, 0)?, &near(&cloud.z, 1)?)?;
    log.record(
        "neighbours",
        kept,
        format!(
            "images keep {:.0} % of the {k} nearest neighbours of their points; by chance it is {:.1} %",
            100.0 * kept,
            100.0 * k as f64 / (n - 1) as f64
        ),
    );
    Ok(())
}

/// Checks whether images have more information about their points than shuffled images have.
pub(crate) fn information(
    log: &mut CheckLog<'_>,
    cloud: &PointCloud,
    settings: &CheckSettings,
) -> Result<()> {
    let rows = evenly_spaced(cloud.x.nrows(), INFORMATION_ROWS);
    let (n, neighbours) = (rows.len(), settings.neighbours);
    if n < LEAST_ROWS {
        log.too_few("information", format!("{n} points are too few to estimate it; {LEAST_ROWS} are needed"));
        return Ok(());
    }
    let leading =
        |cloud: &Array2<f64>| principal_coordinates(cloud.select(Axis(0), &rows).view(), COORDINATES);
    let (x, z) = (leading(&cloud.x)?, leading(&cloud.z)?);
    let own = mutual_information(x.view(), z.view(), neighbours)?;
    let mut random = Random::new(settings.seed);
    let mut chance = 0.0f64;
    for _ in 0..SHUFFLES {
        let shuffled = z.select(Axis(0), &random.permutation(n));
        chance = chance.max(mutual_information(x.view(), shuffled.view(), neighbours)?);
    }
    let set = settings.limits("information");
    let limits = CheckLimits { warn: set.warn.or(Some(chance + EXCEED)), fail: set.fail };
    log.record_with(
        "information",
        own,
        limits,
        format!(
            "x and z share {own:.2} nats (Kraskov 2004, {neighbours} neighbours, {COORDINATES} principal \
             coordinates each); shuffled pairs share at most {chance:.2}, and {n} points can show {:.2}",
            mutual_information_ceiling(n, neighbours)
        ),
    );
    Ok(())
}

/// Checks whether a probe (nearest class mean, fitted on the rows themselves) predicts labels from rows that
/// were mapped and inverted.
pub(crate) fn probe(
    log: &mut CheckLog<'_>,
    labels: Option<&ProbeLabels<'_>>,
    reconstructed: Option<&Array2<f64>>,
    cloud: &PointCloud,
) {
    let (Some(labels), Some(reconstructed)) = (labels, reconstructed) else {
        let reason = if labels.is_none() { "no labels were given" } else { "there is no inverse" };
        log.skip("probe", reason);
        return;
    };
    let means = class_means(&unit(&labels.training.mapv(f64::from)), &labels.training_labels);
    let own: Vec<usize> = cloud.rows.iter().filter_map(|&row| labels.labels.get(row).copied()).collect();
    let (plain, rebuilt) = (accuracy(&means, &cloud.x, &own), accuracy(&means, reconstructed, &own));
    log.record(
        "probe",
        rebuilt / plain.max(f64::MIN_POSITIVE),
        format!(
            "the nearest class mean predicts {:.1} % of the labels from reconstructed rows, {:.1} % from \
             the rows themselves",
            100.0 * rebuilt,
            100.0 * plain
        ),
    );
}

/// Returns the mean of each class, `[classes, d]`.
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

/// Returns the fraction of rows, scaled to length one, whose nearest class mean is that of their label.
fn accuracy(means: &Array2<f64>, rows: &Array2<f64>, labels: &[usize]) -> f64 {
    let rows = unit(rows);
    let right = rows.outer_iter().zip(labels).filter(|(row, label)| {
        let far = |class: usize| (&means.row(class) - row).mapv(|v| v * v).sum();
        let nearest = (0..means.nrows()).min_by(|&a, &b| far(a).total_cmp(&far(b)));
        nearest == Some(**label)
    });
    right.count() as f64 / labels.len().max(1) as f64
}
