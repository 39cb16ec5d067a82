//! Moments as bytes, to send them to another process or to keep them in a file.
//!
//! A line of JSON (modalities, curve, seed, number of rows and of sampled rows) is followed by little-endian
//! numbers: the mean and the lower triangle of the scatter in double precision, then the sampled rows in
//! single precision.

use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::moments::{Moments, SummedView};
use crate::{Curve, Error, Result};

/// The format of the bytes.
const FORMAT: &str = "chiasm-moments-1";

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    views: Vec<SummedView>,
    curve: Option<Curve>,
    seed: u64,
    count: u64,
    sampled: usize,
}

impl Moments {
    /// The moments as bytes, which [`Moments::from_bytes`] reads.
    ///
    /// # Errors
    /// When the header cannot be written, which would be a defect of this crate.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let header = Header {
            format: FORMAT.to_owned(),
            views: self.views.clone(),
            curve: self.curve,
            seed: self.sample.seed,
            count: self.count,
            sampled: self.sample.len(),
        };
        let mut out = serde_json::to_vec(&header).map_err(|error| damaged(error.to_string()))?;
        out.push(b'\n');
        let lower = self.scatter.outer_iter().enumerate();
        let lower = lower.flat_map(|(at, row)| row.into_iter().take(at + 1));
        self.mean.iter().chain(lower).for_each(|value| out.extend(value.to_le_bytes()));
        self.sample.rows().flatten().for_each(|value| out.extend(value.to_le_bytes()));
        Ok(out)
    }

    /// Reads moments.
    ///
    /// # Errors
    /// When the bytes are damaged or of another format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let end = bytes.iter().position(|&byte| byte == b'\n').ok_or_else(|| damaged("no header"))?;
        let header: Header =
            serde_json::from_slice(&bytes[..end]).map_err(|error| damaged(error.to_string()))?;
        if header.format != FORMAT {
            return Err(Error::data("format of moments", FORMAT, header.format));
        }
        if header.count < header.sampled as u64 {
            return Err(damaged(format!("{} rows and a sample of {}", header.count, header.sampled)));
        }
        let numbers = &bytes[end + 1..];
        let expected = size(&header).ok_or_else(|| damaged("a header with sizes that are too large"))?;
        if numbers.len() != expected {
            return Err(damaged(format!("{} bytes of numbers where {expected} belong", numbers.len())));
        }
        let mut moments = Self::new(header.views, header.curve, header.seed)?;
        let features = moments.mean.len();
        let doubles = (features + features * (features + 1) / 2) * size_of::<f64>();
        let (sums, sampled) = numbers.split_at(doubles);
        let mut sums = sums.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
        let mean = Array1::from_iter(sums.by_ref().take(features));
        let mut scatter = Array2::zeros((features, features));
        for row in 0..features {
            for (column, value) in (0..=row).zip(sums.by_ref()) {
                scatter[[row, column]] = value;
                scatter[[column, row]] = value;
            }
        }
        if mean.iter().chain(&scatter).any(|value| !value.is_finite()) {
            return Err(damaged("sums that are not finite"));
        }
        let width = moments.views.iter().map(SummedView::width).sum();
        let values: Vec<f32> = sampled.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        values.chunks_exact(width).for_each(|row| moments.sample.insert(row.to_vec()));
        (moments.count, moments.mean, moments.scatter) = (header.count, mean, scatter);
        Ok(moments)
    }
}

/// The number of bytes that follow a header.
fn size(header: &Header) -> Option<usize> {
    let mut width = 0_usize;
    for block in header.views.iter().flat_map(|view| &view.blocks) {
        width = width.checked_add(*block)?;
    }
    let features = width.checked_mul(if header.curve.is_some() { 1 } else { 2 })?;
    let triangle = features.checked_mul(features.checked_add(1)?)? / 2;
    let doubles = features.checked_add(triangle)?.checked_mul(size_of::<f64>())?;
    doubles.checked_add(width.checked_mul(header.sampled)?.checked_mul(size_of::<f32>())?)
}

fn damaged(got: impl Into<String>) -> Error {
    Error::data("serialised moments", "bytes as `Moments::to_bytes` writes them", got)
}
