//! The closed forms that a trained map is compared with, fitted on the same items with their own defaults.

use chiasm_graph::Graph;

use crate::mean_vector::MeanVectorParams;
use crate::procrustes::ProcrustesParams;
use crate::ridge::RidgeParams;
use crate::{FitContext, Map, Method, Result, Views};

/// The maps of a closed form.
#[derive(Debug, Clone)]
pub struct Baseline {
    /// The method's name in a recipe.
    pub name: &'static str,
    /// The map of each modality, `x` to `z`.
    pub maps: Vec<Graph>,
}

/// Fits the mean vector, Procrustes and ridge, with all parameters chosen from the training items.
///
/// # Errors
/// When the items cannot be fitted or the caller asked to stop.
pub fn baselines(views: &Views<'_>, context: FitContext<'_>) -> Result<Vec<Baseline>> {
    fn fit<P: Method + Default>(
        name: &'static str,
        views: &Views<'_>,
        context: FitContext<'_>,
    ) -> Result<Baseline> {
        let fitted = P::default().fit_views(views, context)?;
        Ok(Baseline { name, maps: fitted.maps.iter().map(Map::graph).collect::<Result<_>>()? })
    }
    Ok(vec![
        fit::<MeanVectorParams>("mean-vector", views, context)?,
        fit::<ProcrustesParams>("procrustes", views, context)?,
        fit::<RidgeParams>("ridge", views, context)?,
    ])
}
