//! The baseline that learns no pairing: every modality is centred on its mean, and nothing else is learned.
//!
//! z = normalise(x - mean), shorter vectors padded with zeros. Which items belong together is not used, so
//! retrieval is at chance unless the encoders share coordinates already; what a method scores above this is
//! what it learned.
//!
//! ```
//! use chiasm_closed_form::mean_vector::MeanVector;
//! use linfa::prelude::*;
//! use ndarray::Array2;
//!
//! let x = Array2::from_shape_fn((30, 6), |(i, j)| ((i * (2 * j + 3)) as f64).sin());
//! let y = Array2::from_shape_fn((30, 4), |(i, j)| ((i * (2 * j + 3)) as f64).cos());
//! let fitted = MeanVector::params().fit(&Dataset::new(x, y))?;
//! assert_eq!(fitted.maps[1].output_dim(), 6);
//! # Ok::<(), chiasm_closed_form::Error>(())
//! ```

use chiasm_parameters::Parameters;
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::features::FeatureSpec;
use crate::fitted::estimator;
use crate::sample::{selected, weights};
use crate::{Curve, FitContext, Fitted, Map, Result, Views};

/// Parameters of the mean vector: there are none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, Parameters)]
#[serde(default, deny_unknown_fields)]
pub struct MeanVectorParams {}

/// The maps of a fit, and how they were found.
pub type MeanVector = Fitted<MeanVectorParams>;

estimator!(MeanVectorParams);

impl MeanVectorParams {
    /// Fits on items; which belongs to which does not matter.
    ///
    /// # Errors
    /// Never, for views that were checked.
    fn fit_with(&self, views: &Views<'_>, _: FitContext<'_>) -> Result<MeanVector> {
        let width = views.all().iter().map(|view| view.items.ncols()).max().unwrap_or(0);
        let places = views.training();
        let mut maps = Vec::new();
        for ((view, spec), places) in views.all().iter().zip(FeatureSpec::linear(views)).zip(&places) {
            let items = view.items.select(Axis(0), places);
            let rows: Vec<usize> = selected(&view.rows, places);
            let features = spec.fit(Curve::Unit, items.view(), 0)?;
            let values = features.features(items.view())?;
            let mean = match weights(&rows) {
                None => values.sum_axis(Axis(0)) / values.nrows() as f64,
                Some(weights) => weights.dot(&values) / weights.sum(),
            };
            let d = items.ncols();
            let padded = || Array2::from_shape_fn((d, width), |(i, j)| f64::from(u8::from(i == j)));
            maps.push(Map::new(features, mean, (d < width).then(padded)));
        }
        Ok(Fitted { maps, parameters: self.clone(), report: None, unpaired: None })
    }
}
