//! What a linear method is fitted from: rows in memory, or sums over rows that were not kept.

use chiasm_geometry::linalg::product;
use ndarray::{Array1, Array2};

use crate::basis::Basis;
use crate::crosses::CrossCovariances;
use crate::features::{FeatureMap, FeatureSpec};
use crate::moments::Moments;
use crate::prepared::prepare;
use crate::sample::RowMeans;
use crate::{Curve, Error, FitContext, Fitted, Map, Method, Result, View, Views};

/// A method that can be fitted from [`Moments`].
pub trait FromMoments: Method {
    /// Fits on all rows that were summed. Parameters that are not given are chosen by cross-validation on
    /// the rows that the moments sampled. `anchor` is as in [`Views::new`].
    ///
    /// # Errors
    /// As [`Method::fit_views`], and when a curve is given that was not summed.
    fn fit_moments(
        self,
        moments: &Moments,
        anchor: Option<usize>,
        context: FitContext<'_>,
    ) -> Result<Fitted<Self>>;
}

/// Implements [`FromMoments`] by the method `fit_from` of the parameters, which takes a [`Source`].
macro_rules! of_moments {
    ($params:ident) => {
        impl $crate::FromMoments for $params {
            fn fit_moments(
                self,
                moments: &$crate::Moments,
                anchor: Option<usize>,
                context: $crate::FitContext<'_>,
            ) -> $crate::Result<$crate::Fitted<Self>> {
                chiasm_parameters::Parameters::check(&self)?;
                let sampled = $crate::source::sampled(moments)?;
                let views = $crate::source::views(moments, &sampled, anchor)?;
                self.fit_from(&$crate::source::Source::of_moments(&views, moments), context)
            }
        }
    };
}
pub(crate) use of_moments;

/// Rows in memory, or a sample of rows and the moments of all.
pub(crate) struct Source<'a, 'v> {
    /// The rows that parameters are chosen on.
    pub(crate) views: &'a Views<'v>,
    moments: Option<&'a Moments>,
}

/// All that the maps of a linear method depend on.
pub(crate) struct Summary {
    features: Vec<FeatureMap>,
    pub(crate) bases: Vec<Basis>,
    pub(crate) crosses: CrossCovariances,
}

impl<'a, 'v> Source<'a, 'v> {
    pub(crate) fn of(views: &'a Views<'v>) -> Self {
        Self { views, moments: None }
    }

    pub(crate) fn of_moments(sample: &'a Views<'v>, moments: &'a Moments) -> Self {
        Self { views: sample, moments: Some(moments) }
    }

    /// The curves to try for each modality: those of `wanted` whose sums there are.
    pub(crate) fn curves(&self, wanted: Vec<Vec<Curve>>) -> Result<Vec<Vec<Curve>>> {
        let Some(moments) = self.moments else { return Ok(wanted) };
        let known = |list: Vec<Curve>| -> Result<Vec<Curve>> {
            let wanted = list[0];
            let found: Vec<Curve> =
                list.into_iter().filter(|curve| moments.curves().contains(curve)).collect();
            if found.is_empty() {
                let expected = format!("{}, the curve of the moments", moments.curves()[0]);
                return Err(Error::data("parameter `curve`", expected, wanted.to_string()));
            }
            Ok(found)
        };
        wanted.into_iter().map(known).collect()
    }

    /// The statistics of all training rows, with at most `limit(number of rows)` axes of each modality.
    pub(crate) fn summary(
        &self,
        specs: &[FeatureSpec<'_>],
        curves: &[Curve],
        limit: impl Fn(usize) -> usize + Sync,
    ) -> Result<Summary> {
        if let Some(moments) = self.moments {
            let rows = usize::try_from(moments.count()).unwrap_or(usize::MAX);
            return Summary::of_moments(moments, specs, curves, (rows, limit(rows)));
        }
        let prepared = prepare(self.views, specs, curves, limit)?;
        let (mut means, mut features, mut bases) = (Vec::new(), Vec::new(), Vec::new());
        for view in prepared {
            means.push(RowMeans::of(view.coordinates, &view.rows));
            features.push(view.features);
            bases.push(view.basis);
        }
        Ok(Summary { features, bases, crosses: CrossCovariances::of(&means, self.views.anchor())? })
    }
}

impl Summary {
    fn of_moments(
        moments: &Moments,
        specs: &[FeatureSpec<'_>],
        curves: &[Curve],
        (rows, limit): (usize, usize),
    ) -> Result<Self> {
        let (mut features, mut bases) = (Vec::new(), Vec::new());
        for (at, (spec, &curve)) in specs.iter().zip(curves).enumerate() {
            let scatter = moments.scatter((at, curve), (at, curve))?;
            let mean = moments.mean(at, curve)?;
            bases.push(Basis::of_scatter(spec.name, mean, scatter.view(), rows, limit)?);
            features.push(spec.linear_map(curve));
        }
        let covariance = |a: usize, b: usize| -> Result<Array2<f64>> {
            let scatter = moments.scatter((a, curves[a]), (b, curves[b]))?;
            let turned = product(&product(&bases[a].axes.t(), &scatter)?, &bases[b].axes)?;
            Ok(turned / rows as f64)
        };
        let crosses = CrossCovariances::complete(curves.len(), rows, covariance)?;
        Ok(Self { features, bases, crosses })
    }

    /// The variances of each modality.
    pub(crate) fn variances(&self) -> Vec<&Array1<f64>> {
        self.bases.iter().map(|basis| &basis.variances).collect()
    }

    /// The features and the basis of each modality.
    pub(crate) fn into_parts(self) -> Vec<(FeatureMap, Basis)> {
        self.features.into_iter().zip(self.bases).collect()
    }

    /// The maps with these weights `[r, k]` of the coordinates of each modality; one without weights keeps
    /// its centred features.
    pub(crate) fn maps(self, weights: impl IntoIterator<Item = Option<Array2<f64>>>) -> Result<Vec<Map>> {
        let map = |((features, basis), weights): ((FeatureMap, Basis), Option<Array2<f64>>)| {
            let weights = weights.map(|weights| product(&basis.axes, &weights)).transpose()?;
            Ok(Map::new(features, basis.mean, weights))
        };
        self.features.into_iter().zip(self.bases).zip(weights).map(map).collect()
    }
}

/// The sampled items of each modality.
pub(crate) fn sampled(moments: &Moments) -> Result<Vec<Array2<f32>>> {
    let sampled = moments.sampled();
    let rows = sampled.first().map_or(0, Array2::nrows);
    if rows < 2 {
        let got = format!("{} rows, {rows} of them distinct", moments.count());
        return Err(Error::data("moments", "those of at least 2 distinct rows", got));
    }
    Ok(sampled)
}

/// The views of sampled items.
pub(crate) fn views<'a>(
    moments: &Moments,
    sampled: &'a [Array2<f32>],
    anchor: Option<usize>,
) -> Result<Views<'a>> {
    let view = |(view, items): (&crate::SummedView, &'a Array2<f32>)| View {
        name: view.name.clone(),
        blocks: view.blocks.clone(),
        items: items.view(),
        rows: (0..items.nrows()).collect(),
    };
    Views::new(moments.views().iter().zip(sampled).map(view).collect(), anchor, Vec::new())
}
