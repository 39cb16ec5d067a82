//! From an item to the features that a linear method sees.

use ndarray::{Array2, ArrayView2, Axis};

use crate::kernel::RadialKernel;
use crate::sample::subset;
use crate::transform::{Curve, Transform};
use crate::{Result, View, Views};

/// How the features of one modality are made, but for the curve.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FeatureSpec<'a> {
    pub(crate) name: &'a str,
    pub(crate) blocks: &'a [usize],
    pub(crate) kernel: Option<Landmarks<'a>>,
}

/// The landmarks of a kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Landmarks<'a> {
    pub(crate) widths: &'a [f64],
    pub(crate) most: usize,
    pub(crate) seed: u64,
}

/// The transform of an item and, for a kernel method, the kernel features behind it.
#[derive(Debug, Clone)]
pub(crate) struct FeatureMap {
    pub(crate) transform: Transform,
    pub(crate) kernel: Option<RadialKernel>,
}

impl<'a> FeatureSpec<'a> {
    /// The features of linear methods, for every modality.
    pub(crate) fn linear(views: &'a Views<'_>) -> Vec<Self> {
        let spec = |view: &'a View<'_>| Self { name: &view.name, blocks: &view.blocks, kernel: None };
        views.all().iter().map(spec).collect()
    }

    /// The feature map of training items, with at most `limit` features of a kernel.
    pub(crate) fn fit(self, curve: Curve, items: ArrayView2<'_, f32>, limit: usize) -> Result<FeatureMap> {
        let Some(Landmarks { widths, most, seed }) = self.kernel else { return Ok(self.linear_map(curve)) };
        let transform = Transform::new(curve, self.blocks);
        let chosen = subset(items.nrows(), most, seed);
        let landmarks = transform.apply(items.select(Axis(0), &chosen).view());
        Ok(FeatureMap { transform, kernel: Some(RadialKernel::fit(landmarks, widths, limit)?) })
    }
}

impl FeatureSpec<'_> {
    /// The feature map without a kernel.
    pub(crate) fn linear_map(self, curve: Curve) -> FeatureMap {
        FeatureMap { transform: Transform::new(curve, self.blocks), kernel: None }
    }
}

impl FeatureMap {
    /// Features of items, not centred yet.
    pub(crate) fn features(&self, items: ArrayView2<'_, f32>) -> Result<Array2<f64>> {
        let items = self.transform.apply(items);
        match &self.kernel {
            Some(kernel) => kernel.features(&items),
            None => Ok(items),
        }
    }
}
