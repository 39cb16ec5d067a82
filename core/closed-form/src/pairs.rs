//! What goes into a fit and what comes out.

use chiasm_geometry::linalg::finite;
use linfa::DatasetBase;
use ndarray::{ArrayBase, ArrayView2, Data, Ix2};

use crate::{Error, Report, Result, Side};

/// Checked training rows: row `i` of the source belongs to row `i` of the target.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    pub(crate) source: ArrayView2<'a, f32>,
    pub(crate) target: ArrayView2<'a, f32>,
}

impl<'a> Pairs<'a> {
    /// Pairs from `source [n, dA]` and `target [n, dB]`.
    ///
    /// # Errors
    /// When the row counts differ, there are fewer than two rows or no columns, or a value is not finite.
    pub fn new(source: ArrayView2<'a, f32>, target: ArrayView2<'a, f32>) -> Result<Self> {
        let (n, m) = (source.nrows(), target.nrows());
        if n != m {
            let got = format!("{n} source rows and {m} target rows");
            return Err(Error::data("paired rows", "as many on both sides", got));
        }
        if n < 2 {
            return Err(Error::data("paired rows", "at least 2", n.to_string()));
        }
        for (what, side) in [("source rows", source), ("target rows", target)] {
            if side.ncols() == 0 {
                return Err(Error::data(what, "at least 1 column", "0"));
            }
            finite(what, side.mapv(f64::from).view())?;
        }
        Ok(Self { source, target })
    }

    /// Pairs from a linfa data set: records are the source, targets the target.
    ///
    /// # Errors
    /// As [`Pairs::new`].
    pub fn of<S: Data<Elem = f32>>(
        dataset: &'a DatasetBase<ArrayBase<S, Ix2>, ArrayBase<S, Ix2>>,
    ) -> Result<Self> {
        Self::new(dataset.records.view(), dataset.targets.view())
    }

    /// Number of pairs.
    pub fn rows(&self) -> usize {
        self.source.nrows()
    }
}

/// How a fit is to be carried out; no part of what is fitted but the seed.
#[derive(Clone, Copy)]
pub struct Conduct<'a> {
    /// Seed of the inner folds and of subsamples.
    pub seed: u64,
    /// Told how much is done of how much; `false` asks to stop.
    pub progress: &'a (dyn Fn(u64, u64) -> bool + Sync),
}

impl Default for Conduct<'_> {
    fn default() -> Self {
        Self { seed: 0, progress: &|_, _| true }
    }
}

/// Two maps into a shared space and how they were found.
#[derive(Clone, Debug)]
pub struct Fitted<P> {
    /// The map of source rows.
    pub source: Side,
    /// The map of target rows.
    pub target: Side,
    /// Everything chosen: fitting with these searches nothing and gives the same bits.
    pub parameters: P,
    /// How the choice was made; `None` when nothing was left to choose.
    pub report: Option<Report>,
}

/// Implements linfa's two traits for a method: the check of its parameters and the fit.
macro_rules! estimator {
    ($params:ident, $valid:ident) => {
        impl linfa::ParamGuard for $params {
            type Checked = $valid;
            type Error = $crate::Error;

            fn check_ref(&self) -> $crate::Result<&$valid> {
                self.0.check()?;
                Ok(&self.0)
            }

            fn check(self) -> $crate::Result<$valid> {
                self.0.check()?;
                Ok(self.0)
            }
        }

        impl<S: ndarray::Data<Elem = f32>>
            linfa::traits::Fit<
                ndarray::ArrayBase<S, ndarray::Ix2>,
                ndarray::ArrayBase<S, ndarray::Ix2>,
                $crate::Error,
            > for $valid
        {
            type Object = $crate::Fitted<$params>;

            fn fit(
                &self,
                dataset: &linfa::DatasetBase<
                    ndarray::ArrayBase<S, ndarray::Ix2>,
                    ndarray::ArrayBase<S, ndarray::Ix2>,
                >,
            ) -> $crate::Result<Self::Object> {
                self.fit_with($crate::Pairs::of(dataset)?, $crate::Conduct::default())
            }
        }

        impl $crate::Method for $params {
            fn fit_pairs(
                self,
                pairs: $crate::Pairs<'_>,
                conduct: $crate::Conduct<'_>,
            ) -> $crate::Result<$crate::Fitted<Self>> {
                linfa::ParamGuard::check(self)?.fit_with(pairs, conduct)
            }
        }

        impl From<$valid> for $params {
            fn from(values: $valid) -> Self {
                Self(values)
            }
        }
    };
}
pub(crate) use estimator;
