//! Ridge regression of one side on the other, in whichever direction serves better.
//!
//! With A the centred regressors and B the centred responses, W = (AᵀA + n r w₁ I)⁻¹ AᵀB, the ridge r relative to the
//! regressors' top variance w₁ (Hoerl and Kennard 1970). The score is the cosine between prediction and response. Since
//! cosine after regression favours the side that is predicted (hubs gather on the regressed side), both directions are
//! tried.

use chiasm_geometry::linalg::product;
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::basis::unit_rows;
use crate::error::check;
use crate::pairs::estimator;
use crate::search::{Beat, Half, Look, Method, Opened, criterion, curves, open, search};
use crate::side::Side;
use crate::{Conduct, Curve, Fitted, Pairs, Result};

const RIDGES: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
const QUICK: [f64; 3] = [0.01, 0.1, 1.0];

/// Which side is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The target from the source; the shared space is the target's.
    SourceToTarget,
    /// The source from the target; the shared space is the source's.
    TargetToSource,
}

/// Parameters of ridge regression, not checked yet; whatever is absent is chosen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RidgeParams(Ridge);

/// Checked parameters of ridge regression.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ridge {
    /// What source rows go through first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_curve: Option<Curve>,
    /// What target rows go through first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_curve: Option<Curve>,
    /// Widths of the encoders whose outputs stand side by side in a source row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_blocks: Option<Vec<usize>>,
    /// Widths of the encoders whose outputs stand side by side in a target row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_blocks: Option<Vec<usize>>,
    /// Which side is predicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Ridge relative to the top variance of the regressors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ridge: Option<f64>,
}

estimator!(RidgeParams, Ridge);

impl Ridge {
    fn check(&self) -> Result<()> {
        check("ridge", &self.ridge, "a number from 0 to 1000", |r| (0.0..=1000.0).contains(r))
    }

    /// Fits on paired rows.
    ///
    /// # Errors
    /// When a side does not vary, blocks do not add up, or the caller asked to stop.
    pub fn fit_with(&self, pairs: Pairs<'_>, conduct: Conduct<'_>) -> Result<Fitted<RidgeParams>> {
        self.check()?;
        let look = |side, blocks| Look { side, blocks, kernel: None };
        let looks =
            [look("source", self.source_blocks.as_deref()), look("target", self.target_blocks.as_deref())];
        let candidates = [curves(self.source_curve), curves(self.target_curve)];
        let found = search(self, pairs, looks, &candidates, conduct)?;
        let (direction, ridge) = found.ranked[0];
        // every axis: the prediction then reaches the whole space of the other side, and can be undone
        let [source, target] = open(pairs, looks, found.curves, usize::MAX)?;
        let (source, target) = match direction {
            Direction::SourceToTarget => predict(source, target, ridge)?,
            Direction::TargetToSource => {
                let (target, source) = predict(target, source, ridge)?;
                (source, target)
            }
        };
        let fitted = Self {
            source_curve: Some(found.curves[0]),
            target_curve: Some(found.curves[1]),
            source_blocks: self.source_blocks.clone(),
            target_blocks: self.target_blocks.clone(),
            direction: Some(direction),
            ridge: Some(ridge),
        };
        Ok(Fitted { source, target, parameters: fitted.into(), report: found.report })
    }
}

impl Method for Ridge {
    type Setting = (Direction, f64);

    fn candidates(&self, _ranks: [usize; 2], quick: bool) -> Vec<(Direction, f64)> {
        let both = [Direction::SourceToTarget, Direction::TargetToSource];
        let directions = self.direction.map_or(both.to_vec(), |d| vec![d]);
        let ridges = self.ridge.map_or(if quick { QUICK.to_vec() } else { RIDGES.to_vec() }, |r| vec![r]);
        directions.into_iter().flat_map(|d| ridges.iter().map(move |&r| (d, r))).collect()
    }

    fn scores(
        &self,
        source: &Half,
        target: &Half,
        candidates: &[(Direction, f64)],
        beat: Beat<'_>,
    ) -> Result<Vec<f64>> {
        candidates
            .iter()
            .map(|&(direction, ridge)| {
                beat()?;
                let (from, to) = match direction {
                    Direction::SourceToTarget => (source, target),
                    Direction::TargetToSource => (target, source),
                };
                let weights = weights(&from.basis.variances, &from.train, &to.train, ridge)?;
                let predicted = product(&from.test, &weights)?;
                criterion(&unit_rows(predicted), &unit_rows(to.test.clone()))
            })
            .collect()
    }
}

/// The regressor's side and the response's, which keeps its own coordinates.
fn predict(from: Opened, to: Opened, ridge: f64) -> Result<(Side, Side)> {
    let inner = weights(&from.basis.variances, &from.coordinates, &to.coordinates, ridge)?;
    // responses go back from principal coordinates to the encoder's own: the shared space is that encoder's, centred
    let outer = product(&inner, &to.basis.axes.t())?;
    Ok((from.side(&outer)?, Side::new(to.lens, to.basis.mean, None)))
}

/// (w + ridge w₁)⁻¹ E[a bᵀ] in principal coordinates.
fn weights(
    variances: &ndarray::Array1<f64>,
    from: &Array2<f64>,
    to: &Array2<f64>,
    ridge: f64,
) -> Result<Array2<f64>> {
    let shrunk = variances.mapv(|w| w + ridge * variances[0]).insert_axis(Axis(1));
    Ok(product(&from.t(), to)? / from.nrows() as f64 / &shrunk)
}
