//! Procrustes on rows that are not kept, which are read twice.
//!
//! [`Moments`] give the principal axes of each modality. The rotations need more: the sum over rows of a bᵀ,
//! a and b the first k coordinates of the row's items, each scaled to length one. The scaling is no function
//! of moments, so the rows are read once more, and [`SecondPass`] sums these products. How rows are split and
//! in which order they come changes the sums by rounding errors only.
//!
//! ```
//! use chiasm_closed_form::{FitContext, Moments, SecondPass, SummedView, procrustes::ProcrustesParams};
//! use ndarray::Array2;
//!
//! let x = Array2::from_shape_fn((300, 6), |(i, j)| ((i * (2 * j + 3)) as f32).sin());
//! let y = Array2::from_shape_fn((300, 4), |(i, j)| ((i * (2 * j + 3)) as f32).cos());
//! let views = vec![SummedView::new("image", 6), SummedView::new("text", 4)];
//! let mut moments = Moments::new(views, None, 0)?;
//! moments.update(&[x.view(), y.view()])?;
//! let parameters = ProcrustesParams { dimensions: Some(3), ..Default::default() };
//! let mut pass = SecondPass::new(&parameters, &moments, None, FitContext::default())?;
//! pass.update(&[x.view(), y.view()])?;
//! assert_eq!(pass.fit()?.maps[0].output_dim(), 3);
//! # Ok::<(), chiasm_closed_form::Error>(())
//! ```

use chiasm_geometry::linalg::{product, unit_rows};
use chiasm_parameters::{Parameters, PerModality};
use ndarray::{Array1, Array2, ArrayView2, Axis, Slice};
use rayon::prelude::*;

use crate::basis::{Basis, columns};
use crate::features::{FeatureMap, FeatureSpec};
use crate::moments::{CHUNK, check_rows};
use crate::per_modality::resolve;
use crate::procrustes::{Crosses, DimensionSearch, Procrustes, ProcrustesParams, TURNS, rotations};
use crate::sample::axes;
use crate::search::{SearchReport, curves, search};
use crate::source::{Source, sampled, views};
use crate::views::pairs;
use crate::{Error, FitContext, Fitted, Map, Moments, Result, SummedView};

/// The sums of products over rows that Procrustes needs beside the moments of the same rows.
#[derive(Debug, Clone)]
pub struct SecondPass {
    views: Vec<SummedView>,
    /// The transform of each modality; its mean; its first k axes `[width, k]`.
    modalities: Vec<(FeatureMap, Array1<f64>, Array2<f64>)>,
    reference: usize,
    parameters: ProcrustesParams,
    report: Option<SearchReport>,
    /// The number of rows of the moments.
    expected: u64,
    count: u64,
    /// `[k, k]` for each pair of modalities, in the order of [`pairs`].
    sums: Vec<Array2<f64>>,
}

impl SecondPass {
    /// The second pass over the rows of these moments, before any row is read. Parameters that are not given
    /// are chosen by cross-validation on the rows that the moments sampled; `anchor` is the place of the
    /// anchor, as in [`crate::Views::new`].
    ///
    /// # Errors
    /// When a parameter is out of range, a curve was not summed, a modality does not vary, or the caller
    /// asked to stop.
    pub fn new(
        parameters: &ProcrustesParams,
        moments: &Moments,
        anchor: Option<usize>,
        context: FitContext<'_>,
    ) -> Result<Self> {
        parameters.check()?;
        let sampled = sampled(moments)?;
        let sample = views(moments, &sampled, anchor)?;
        let source = Source::of_moments(&sample, moments);
        let names = sample.names();
        let specs = FeatureSpec::linear(&sample);
        let candidates = source.curves(curves(&resolve("curve", parameters.curve.as_ref(), &names)?))?;
        let sizes = DimensionSearch {
            dimensions: parameters.dimensions,
            reference: sample.reference(),
            rows: usize::try_from(moments.count()).unwrap_or(usize::MAX),
        };
        let found = search(&sizes, &sample, &specs, &candidates, context)?;
        let least = parameters.dimensions.unwrap_or(0);
        let parts = source.summary(&specs, &found.curves, |rows| axes(rows).max(least))?.into_parts();
        let k = parts.iter().map(|(_, basis)| basis.rank()).min().unwrap_or(1).min(found.ranked[0]);
        let cut = |(features, basis): (FeatureMap, Basis)| {
            (features, basis.mean, columns(&basis.axes, k).to_owned())
        };
        Ok(Self {
            views: moments.views().to_vec(),
            modalities: parts.into_iter().map(cut).collect(),
            reference: sample.reference(),
            parameters: ProcrustesParams {
                curve: Some(PerModality::each(&names, &found.curves)),
                dimensions: Some(k),
            },
            report: found.report,
            expected: moments.count(),
            count: 0,
            sums: pairs(sample.count()).map(|_| Array2::zeros((k, k))).collect(),
        })
    }

    /// As [`SecondPass::new`], with parameters that are a JSON object.
    ///
    /// # Errors
    /// As there, and when Procrustes has no such parameter.
    pub fn of_json(
        parameters: &serde_json::Value,
        moments: &Moments,
        anchor: Option<usize>,
        context: FitContext<'_>,
    ) -> Result<Self> {
        Self::new(&chiasm_parameters::read(parameters)?, moments, anchor, context)
    }

    /// Adds a batch of rows, as [`Moments::update`] does.
    ///
    /// # Errors
    /// As there. Nothing is added then.
    pub fn update(&mut self, items: &[ArrayView2<'_, f32>]) -> Result<()> {
        check_rows(&self.views, items)?;
        let rows = items[0].nrows();
        let chunks: Vec<usize> = (0..rows.div_ceil(CHUNK)).collect();
        // as many chunks at once as there are threads, added in their order: the threads do not show
        for group in chunks.chunks(rayon::current_num_threads().max(1)) {
            let products = |&at: &usize| {
                let part = Slice::from(at * CHUNK..rows.min((at + 1) * CHUNK));
                self.products(items.iter().map(|items| items.slice_axis(Axis(0), part)))
            };
            let parts: Vec<Vec<Array2<f64>>> = group.par_iter().map(products).collect::<Result<_>>()?;
            parts.iter().for_each(|part| self.add(part));
        }
        self.count += rows as u64;
        Ok(())
    }

    /// Adds the rows of another second pass, which was begun with the same moments and parameters.
    ///
    /// # Errors
    /// When it was begun with others.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let begun = |pass: &Self| -> Vec<Vec<f64>> {
            pass.modalities.iter().map(|(_, mean, _)| mean.to_vec()).collect()
        };
        let same = self.views == other.views
            && self.parameters == other.parameters
            && self.reference == other.reference
            && begun(self) == begun(other);
        if !same {
            let got = "one of other moments, parameters or anchor";
            return Err(Error::data("second pass to merge", "one of the same moments and parameters", got));
        }
        self.add(&other.sums);
        self.count += other.count;
        Ok(())
    }

    /// The number of rows that were read again.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The parameters, with those that were chosen.
    pub fn parameters(&self) -> &ProcrustesParams {
        &self.parameters
    }

    /// The sums `[k, k]` of each pair of modalities one after the other, to send them to another process.
    pub fn sums(&self) -> Vec<f64> {
        self.sums.iter().flatten().copied().collect()
    }

    /// The same pass with these sums of `count` rows, as [`SecondPass::sums`] returns them.
    ///
    /// # Errors
    /// When there are more or fewer of them, or one is not finite.
    pub fn with_sums(mut self, count: u64, sums: &[f64]) -> Result<Self> {
        let expected: usize = self.sums.iter().map(Array2::len).sum();
        if sums.len() != expected || sums.iter().any(|sum| !sum.is_finite()) {
            let expected = format!("{expected} finite numbers");
            return Err(Error::data("sums of a second pass", expected, format!("{} numbers", sums.len())));
        }
        self.sums.iter_mut().flatten().zip(sums).for_each(|(own, sum)| *own = *sum);
        self.count = count;
        Ok(self)
    }

    /// Fits the rotations.
    ///
    /// # Errors
    /// When the second reading gave more or fewer rows than the first one.
    pub fn fit(self) -> Result<Procrustes> {
        if self.count != self.expected {
            let expected = format!("the {} rows of the first one", self.expected);
            return Err(Error::data("the second reading of the rows", expected, self.count.to_string()));
        }
        let rows = usize::try_from(self.count).unwrap_or(usize::MAX);
        let k = self.sums.first().map_or(0, Array2::nrows);
        let count = self.modalities.len();
        let mut crosses: Crosses = vec![vec![(Array2::zeros((k, k)), rows); count]; count];
        for ((a, b), sum) in pairs(count).zip(self.sums) {
            crosses[b][a].0.assign(&sum.t());
            crosses[a][b].0 = sum;
        }
        let rotations = rotations(&crosses, self.reference, TURNS)?;
        let map = |((features, mean, axes), rotation): ((_, _, Array2<f64>), &Array2<f64>)| {
            Ok(Map::new(features, mean, Some(product(&axes, rotation)?)))
        };
        let maps = self.modalities.into_iter().zip(&rotations).map(map).collect::<Result<Vec<Map>>>()?;
        Ok(Fitted { maps, parameters: self.parameters, report: self.report, unpaired: None })
    }

    /// The sums over a few rows.
    fn products<'a>(&self, items: impl Iterator<Item = ArrayView2<'a, f32>>) -> Result<Vec<Array2<f64>>> {
        let leading = |((features, mean, axes), items): (&(FeatureMap, _, Array2<f64>), _)| {
            let centred = features.features(items)? - mean;
            Ok(unit_rows(product(&centred, axes)?))
        };
        let all: Vec<Array2<f64>> = self.modalities.iter().zip(items).map(leading).collect::<Result<_>>()?;
        pairs(all.len()).map(|(a, b)| Ok(product(&all[a].t(), &all[b])?)).collect()
    }

    fn add(&mut self, sums: &[Array2<f64>]) {
        self.sums.iter_mut().zip(sums).for_each(|(own, sum)| *own += sum);
    }
}
