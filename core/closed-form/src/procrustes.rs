//! Orthogonal Procrustes between the leading axes of both sides.
//!
//! Both sides are reduced to their first k principal coordinates, brought to length one, and the source is turned onto
//! the target by R = U Vᵀ of AᵀB = U S Vᵀ, which minimises |A R - B| over all orthogonal R (Schoenemann 1966). The
//! shape of each side is kept: distances within k coordinates are those of the encoder.

use chiasm_geometry::linalg::{Svd, product, thin_svd};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::basis::{columns, unit_rows};
use crate::error::check;
use crate::pairs::estimator;
use crate::search::{Beat, Half, Look, Method, axes, criterion, curves, open, search};
use crate::{Conduct, Curve, Fitted, Pairs, Result};

const DIMENSIONS: [usize; 10] = [8, 16, 32, 48, 64, 96, 128, 192, 256, 384];
const QUICK: [usize; 3] = [32, 64, 128];

/// Parameters of Procrustes, not checked yet; whatever is absent is chosen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcrustesParams(Procrustes);

/// Checked parameters of Procrustes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Procrustes {
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
    /// Principal coordinates kept of each side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
}

estimator!(ProcrustesParams, Procrustes);

impl Procrustes {
    fn check(&self) -> Result<()> {
        check("dimensions", &self.dimensions, "at least 1", |&k| k > 0)
    }

    /// Fits on paired rows.
    ///
    /// # Errors
    /// When a side does not vary, blocks do not add up, or the caller asked to stop.
    pub fn fit_with(&self, pairs: Pairs<'_>, conduct: Conduct<'_>) -> Result<Fitted<ProcrustesParams>> {
        self.check()?;
        let look = |side, blocks| Look { side, blocks, kernel: None };
        let looks =
            [look("source", self.source_blocks.as_deref()), look("target", self.target_blocks.as_deref())];
        let candidates = [curves(self.source_curve), curves(self.target_curve)];
        let found = search(self, pairs, looks, &candidates, conduct)?;
        let limit = axes(pairs.rows()).max(self.dimensions.unwrap_or(0));
        let [source, target] = open(pairs, looks, found.curves, limit)?;
        let k = found.ranked[0].min(source.basis.rank()).min(target.basis.rank());
        let turn = rotation(&source.coordinates, &target.coordinates, k)?;
        let rank = target.basis.rank();
        let fitted = Self {
            source_curve: Some(found.curves[0]),
            target_curve: Some(found.curves[1]),
            source_blocks: self.source_blocks.clone(),
            target_blocks: self.target_blocks.clone(),
            dimensions: Some(k),
        };
        let lift = |rank: usize, turn: &Array2<f64>| {
            let mut out = Array2::zeros((rank, k));
            out.slice_axis_mut(ndarray::Axis(0), ndarray::Slice::from(..k)).assign(turn);
            out
        };
        let first = lift(source.basis.rank(), &turn);
        Ok(Fitted {
            source: source.side(&first)?,
            target: target.side(&lift(rank, &Array2::eye(k)))?,
            parameters: fitted.into(),
            report: found.report,
        })
    }
}

impl Method for Procrustes {
    type Setting = usize;

    fn candidates(&self, ranks: [usize; 2], quick: bool) -> Vec<usize> {
        let rank = ranks[0].min(ranks[1]).max(1);
        let list: &[usize] = if quick { &QUICK } else { &DIMENSIONS };
        let mut sizes: Vec<usize> = list.iter().copied().filter(|&k| k <= rank).collect();
        if sizes.is_empty() {
            sizes.push(rank);
        }
        self.dimensions.map_or(sizes, |k| vec![k])
    }

    fn scores(&self, source: &Half, target: &Half, candidates: &[usize], beat: Beat<'_>) -> Result<Vec<f64>> {
        candidates
            .iter()
            .map(|&k| {
                beat()?;
                let k = k.min(source.basis.rank()).min(target.basis.rank());
                let turned = product(&columns(&source.test, k), &rotation(&source.train, &target.train, k)?)?;
                criterion(&unit_rows(turned), &unit_rows(columns(&target.test, k).to_owned()))
            })
            .collect()
    }
}

/// The orthogonal `[k, k]` that turns unit rows of the first k source coordinates onto the target's.
fn rotation(source: &Array2<f64>, target: &Array2<f64>, k: usize) -> Result<Array2<f64>> {
    let unit = |coordinates: &Array2<f64>| unit_rows(columns(coordinates, k).to_owned());
    polar(product(&unit(source).t(), &unit(target))?.view())
}

/// The orthogonal matrix nearest to a square one.
pub(crate) fn polar(matrix: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
    let Svd { u, v, .. } = thin_svd(matrix)?;
    Ok(product(&u, &v.t())?)
}
