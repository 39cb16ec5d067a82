//! Raw items of a benchmark: pictures, captions, recordings and a table of measurements.
//!
//! The factors, the views and the manifolds are those of [`super`]. Instead of a random network, each
//! modality renders the coordinates of its manifold. With w = sqrt(q) c, whose entries are near N(0, 1), and
//! t = 1 / (1 + exp(-1.702 w)), which is nearly uniform in (0, 1) (Bowling et al. 2009), the first six
//! coordinates are on a plane:
//!
//! | | picture | caption | sound |
//! |---|---|---|---|
//! | 1 | horizontal place | one of 3 columns | pitch of the first tone |
//! | 2 | vertical place | one of 3 rows | pitch of the second tone |
//! | 3 | size | one of 3 sizes | loudness of the second tone |
//! | 4 | hue | one of 8 colours | rate of the tremolo |
//! | 5 | one of 8 shapes | one of 8 shapes | number of pulses, 1 to 8 |
//! | 6 | shade behind the object | one of 3 shades | loudness of the hum |
//! | then | paleness, brightness, frame, four corners | wording | gain, decay, vibrato, hiss |
//!
//! The table has all coordinates as numbers. Noise is added to the pixels (64 grey levels for a noise of 1),
//! to the coordinates that the caption's writer sees, to the samples (relative to their root mean square) and
//! to the measurements (relative to their standard deviation).

mod caption;
mod picture;
pub(crate) mod sound;
mod write;

pub use write::{RawReport, write_raw};

use super::factors::ModalityFactors;
use super::settings::{BenchmarkSettings, MODALITIES};
use crate::rng::Rng;

/// The numbers of shared and private factors; each of them has its place in a raw item.
pub(crate) const FACTORS: [usize; 2] = [6, 4];

/// What a renderer needs to know of an item.
pub(crate) struct RawItem {
    /// The coordinates on the manifold, each near N(0, 1).
    pub coordinates: Vec<f64>,
    /// The standard deviation of the noise.
    pub noise: f64,
    /// The random stream of the noise.
    pub rng: Rng,
}

impl RawItem {
    /// Places what a modality sees of a row on its manifold.
    pub(crate) fn of(settings: &BenchmarkSettings, row: usize, modality: usize, shared: &[f64]) -> Self {
        let seen = ModalityFactors::of(settings, row, modality, shared);
        let unit = (settings.factors() as f64).sqrt();
        let point = settings.geometries[modality].embed(settings.curvature, &seen.all());
        // Another seed than that of the factors, so that the streams are independent.
        let stream = (row * MODALITIES.len() + modality) as u64;
        let rng = Rng::of(settings.seed ^ 0x7261_775f_6e6f_6973, stream);
        let coordinates = point.into_iter().map(|c| unit * c).collect();
        Self { coordinates, noise: settings.noise, rng }
    }

    /// Returns a coordinate as a number in (0, 1), or 1/2 if there is no such coordinate.
    pub(crate) fn share(&self, at: usize) -> f64 {
        self.coordinates.get(at).map_or(0.5, |w| share(*w))
    }

    /// Returns one of `count` equal parts of (0, 1).
    pub(crate) fn choice(&self, at: usize, count: usize) -> usize {
        part(self.share(at), count)
    }

    /// Returns the item with noise in its coordinates.
    pub(crate) fn blurred(mut self) -> Self {
        for w in &mut self.coordinates {
            *w += self.noise * self.rng.normal();
        }
        self
    }
}

/// The logistic approximation of the standard normal distribution function.
fn share(w: f64) -> f64 {
    1.0 / (1.0 + (-1.702 * w).exp())
}

/// Returns which of `count` equal parts of (0, 1) holds the number.
fn part(share: f64, count: usize) -> usize {
    ((share * count as f64) as usize).min(count - 1)
}
