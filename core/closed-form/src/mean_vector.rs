//! The honest floor: both clouds are moved onto one mean, and nothing else is learned.
//!
//! z = normalise(x - mean), the shorter side padded with zeros. The pairing is not used, so retrieval is at chance
//! unless the two encoders share coordinates already; what a method scores above this is what it learned.

use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::pairs::estimator;
use crate::search::Look;
use crate::side::Side;
use crate::{Conduct, Curve, Fitted, Pairs, Result};

/// Parameters of the mean vector, not checked yet.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MeanVectorParams(MeanVector);

/// Checked parameters of the mean vector.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeanVector {
    /// Widths of the encoders whose outputs stand side by side in a source row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_blocks: Option<Vec<usize>>,
    /// Widths of the encoders whose outputs stand side by side in a target row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_blocks: Option<Vec<usize>>,
}

estimator!(MeanVectorParams, MeanVector);

impl MeanVector {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Fits on rows; which belongs to which does not matter.
    ///
    /// # Errors
    /// When blocks do not add up.
    pub fn fit_with(&self, pairs: Pairs<'_>, _: Conduct<'_>) -> Result<Fitted<MeanVectorParams>> {
        let width = pairs.source.ncols().max(pairs.target.ncols());
        let side = |side, blocks, rows: ndarray::ArrayView2<'_, f32>| -> Result<Side> {
            let lens = Look { side, blocks, kernel: None }.open(Curve::Unit, rows, 0)?;
            let features = lens.features(rows)?;
            let mean = features.sum_axis(Axis(0)) / rows.nrows() as f64;
            let padded =
                || Array2::from_shape_fn((rows.ncols(), width), |(i, j)| f64::from(u8::from(i == j)));
            let weights = (rows.ncols() < width).then(padded);
            Ok(Side::new(lens, mean, weights))
        };
        Ok(Fitted {
            source: side("source", self.source_blocks.as_deref(), pairs.source)?,
            target: side("target", self.target_blocks.as_deref(), pairs.target)?,
            parameters: self.clone().into(),
            report: None,
        })
    }
}
