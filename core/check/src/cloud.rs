//! The points that a map is checked on, with their images and distances.

use chiasm_geometry::spectrum::singular_values;
use chiasm_geometry::squared_distances;
use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::map::LearnedMap;
use crate::rows::evenly_spaced;
use crate::{Error, Result};

/// The most points used: the number of pairwise distances grows with their square.
pub(crate) const MAX_POINTS: usize = 1024;

/// Points, their images, and the distances between points.
pub(crate) struct PointCloud {
    /// The row numbers of these points among the given ones.
    pub(crate) rows: Vec<usize>,
    /// The points in single precision, as the map takes them.
    pub(crate) x32: Array2<f32>,
    /// The points.
    pub(crate) x: Array2<f64>,
    /// Their images.
    pub(crate) z: Array2<f64>,
    /// The points minus their mean.
    pub(crate) centred: Array2<f64>,
    /// The distances between points.
    pub(crate) distances: Array2<f64>,
}

impl PointCloud {
    /// Takes points `[n, d]` (evenly spaced ones, when there are too many) and computes their images.
    pub(crate) fn new(map: &LearnedMap<'_>, points: ArrayView2<'_, f32>) -> Result<Self> {
        if points.nrows() == 0 {
            return Err(Error::Points {
                what: "points",
                expected: "at least one".into(),
                got: "none".into(),
            });
        }
        let rows = evenly_spaced(points.nrows(), MAX_POINTS);
        let x32 = points.select(Axis(0), &rows);
        if let Some(row) = x32.outer_iter().position(|row| row.iter().any(|v| !v.is_finite())) {
            let got = format!("NaN or infinity in row {row}");
            return Err(Error::Points { what: "points", expected: "finite numbers".into(), got });
        }
        let z = map.apply(x32.view())?.mapv(f64::from);
        if z.ncols() == 0 || z.nrows() != x32.nrows() {
            let (expected, got) = (format!("[{}, o]", x32.nrows()), format!("{:?}", z.dim()));
            return Err(Error::Points { what: "the map's images", expected, got });
        }
        if let Some(row) = z.outer_iter().position(|row| row.iter().any(|v| !v.is_finite())) {
            let got = format!("NaN or infinity for point {row}");
            return Err(Error::Points { what: "the map's images", expected: "finite numbers".into(), got });
        }
        let x = x32.mapv(f64::from);
        let centred = centred(&x);
        // The differences of centred rows lose fewer digits.
        let distances = squared_distances(centred.view(), centred.view())?.mapv_into(f64::sqrt);
        Ok(Self { rows, x32, x, z, centred, distances })
    }

    /// Returns the number of dimensions in which the points vary: their rank when there are more points than
    /// dimensions, otherwise the number of inputs that are not constant (few points span few dimensions
    /// whatever the data).
    pub(crate) fn spanned(&self) -> Result<usize> {
        let (n, d) = self.x.dim();
        let spreads = match n {
            0 | 1 => return Ok(d),
            _ if n > d => singular_values(self.centred.view())?,
            _ => self.centred.map_axis(Axis(0), |column| column.dot(&column).sqrt()),
        };
        Ok(count_varying(&spreads))
    }

    /// Returns whether each input varies.
    pub(crate) fn varying(&self) -> Vec<bool> {
        let spreads = self.centred.map_axis(Axis(0), |column| column.dot(&column).sqrt());
        let widest = spreads.iter().copied().fold(0.0, f64::max);
        spreads.iter().map(|spread| *spread > CONSTANT * widest).collect()
    }

    /// Returns the nearest point that does not coincide with this one.
    pub(crate) fn nearest(&self, place: usize) -> Option<usize> {
        let floor = COINCIDENT * self.scale();
        let others = self.distances.row(place).into_iter().copied().enumerate();
        let distinct = others.filter(|(other, d)| *other != place && *d > floor);
        distinct.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(other, _)| other)
    }

    /// Returns the median distance between points, estimated from a sample of pairs.
    pub(crate) fn scale(&self) -> f64 {
        let n = self.x.nrows();
        let sample: Vec<f64> = (1..n).map(|i| self.distances[[i, (i * 7 + 3) % i]]).collect();
        if sample.is_empty() { 1.0 } else { median(&sample) }
    }
}

/// Points do not vary in a direction whose spread is below this fraction of the widest.
const CONSTANT: f64 = 1e-4;
/// Returns the number of spreads that are not negligible.
pub(crate) fn count_varying(spreads: &Array1<f64>) -> usize {
    let widest = spreads.iter().copied().fold(0.0, f64::max);
    spreads.iter().filter(|spread| **spread > CONSTANT * widest).count()
}

/// Points nearer than this fraction of the median distance coincide.
const COINCIDENT: f64 = 1e-6;

/// Returns rows minus their mean.
pub(crate) fn centred(rows: &Array2<f64>) -> Array2<f64> {
    let mean = rows.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(rows.ncols()));
    rows - &mean
}

/// Returns rows scaled to length one (zero stays zero).
pub(crate) fn unit(rows: &Array2<f64>) -> Array2<f64> {
    let mut unit = rows.clone();
    for mut row in unit.outer_iter_mut() {
        let length = row.dot(&row).sqrt();
        if length > 0.0 {
            row /= length;
        }
    }
    unit
}

/// Returns the median; NaN of an empty slice.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}
