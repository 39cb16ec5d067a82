//! The points that a map is checked on, their images, and their distances.

use chiasm_geometry::spectrum::{distances, singular_values};
use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::map::LearnedMap;
use crate::{Error, Result};

/// Rows looked at: pairwise distances grow with their square.
pub(crate) const MOST: usize = 1024;

/// Points, images and the distances between points.
pub(crate) struct PointCloud {
    /// Which of the given points these are.
    pub(crate) rows: Vec<usize>,
    /// The points as the map takes them.
    pub(crate) x32: Array2<f32>,
    /// The points.
    pub(crate) x: Array2<f64>,
    /// Their images.
    pub(crate) z: Array2<f64>,
    /// The points less their mean.
    pub(crate) centred: Array2<f64>,
    /// Distances between points.
    pub(crate) apart: Array2<f64>,
}

impl PointCloud {
    /// The points `[n, d]` (of many, those spread evenly) and their images.
    pub(crate) fn new(map: &LearnedMap<'_>, points: ArrayView2<'_, f32>) -> Result<Self> {
        if points.nrows() == 0 {
            return Err(Error::Points {
                what: "points",
                expected: "at least one".into(),
                got: "none".into(),
            });
        }
        let rows = spread(points.nrows(), MOST);
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
        // differences of centred rows lose fewer digits
        let apart = distances(centred.view(), centred.view())?;
        Ok(Self { rows, x32, x, z, centred, apart })
    }

    /// Dimensions in which the points vary: their rank when there are more points than dimensions, else the
    /// inputs that are not constant (fewer points span fewer dimensions whatever the data is like).
    pub(crate) fn spanned(&self) -> Result<usize> {
        let (n, d) = self.x.dim();
        let spreads = match n {
            0 | 1 => return Ok(d),
            _ if n > d => singular_values(self.centred.view())?,
            _ => self.centred.map_axis(Axis(0), |column| column.dot(&column).sqrt()),
        };
        Ok(moving(&spreads))
    }

    /// The nearest other point that is not the same.
    pub(crate) fn nearest(&self, place: usize) -> Option<usize> {
        let floor = SAME * self.scale();
        let others = self.apart.row(place).into_iter().copied().enumerate();
        let distinct = others.filter(|(other, d)| *other != place && *d > floor);
        distinct.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(other, _)| other)
    }

    /// The median distance between points.
    pub(crate) fn scale(&self) -> f64 {
        let n = self.x.nrows();
        let sample: Vec<f64> = (1..n).map(|i| self.apart[[i, (i * 7 + 3) % i]]).collect();
        if sample.is_empty() { 1.0 } else { median(&sample) }
    }
}

/// Directions in which points spread less than this share of the widest one are still.
const STILL: f64 = 1e-4;
/// How many of some spreads are not still.
pub(crate) fn moving(spreads: &Array1<f64>) -> usize {
    let widest = spreads.iter().copied().fold(0.0, f64::max);
    spreads.iter().filter(|spread| **spread > STILL * widest).count()
}

/// Points nearer than this share of the median distance are one.
pub(crate) const SAME: f64 = 1e-6;

/// At most `wanted` of `n` places, evenly spread.
pub(crate) fn spread(n: usize, wanted: usize) -> Vec<usize> {
    let wanted = wanted.min(n);
    (0..wanted).map(|i| i * n / wanted.max(1)).collect()
}

/// Rows less their mean.
pub(crate) fn centred(rows: &Array2<f64>) -> Array2<f64> {
    let mean = rows.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(rows.ncols()));
    rows - &mean
}

/// Rows of length one (zero stays zero).
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

/// The median; NaN of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}
