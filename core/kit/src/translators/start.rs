//! The start of training: ridge regressions onto the reference, and principal coordinates of every modality.

use crate::comparison::with_context;
use crate::{ItemSubset, apply, plugin_error};
use chiasm_closed_form::ridge::{Ridge, RidgeParams};
use chiasm_closed_form::{Curve, Method, PrincipalProjection, View, Views};
use chiasm_geometry::linalg::{product, symmetric_eigen};
use chiasm_plugin::ndarray::{Array2, Axis};
use chiasm_plugin::{Error, PerModality, Result, Services};
use std::collections::BTreeMap;

use super::parameters::TranslatorParameters;

/// The modalities, regressed onto the reference, in principal coordinates.
#[derive(Debug)]
pub(super) struct TranslatorStart {
    pub names: Vec<String>,
    /// The place of the modality that the others are mapped onto.
    pub reference: usize,
    pub projections: Vec<PrincipalProjection>,
    /// Coordinates of the training items of each modality.
    pub coordinates: Vec<Array2<f32>>,
    /// The curve of each modality.
    pub curves: BTreeMap<String, Curve>,
    /// The ridge of each modality's regression onto the reference; none for the reference.
    ridges: BTreeMap<String, f64>,
}

impl TranslatorStart {
    /// Regressions onto the last of the views or their anchor, with ridges and curves chosen unless given,
    /// and projections over the training items.
    pub(super) fn fit(
        views: &Views<'_>,
        training: &ItemSubset<'_>,
        parameters: &TranslatorParameters,
        services: &Services<'_>,
    ) -> Result<Self> {
        let reference = views.reference();
        let anchored = Views::new(views.all().to_vec(), Some(reference), views.validation().to_vec());
        let ridges: BTreeMap<String, f64> = (views.names().into_iter())
            .filter_map(|name| Some((name.to_owned(), parameters.ridges.as_ref()?.get(name)?[0])))
            .collect();
        let given = RidgeParams {
            ridge: (!ridges.is_empty()).then_some(PerModality::Each(ridges)),
            curve: parameters.curve_of(&views.names()),
            ..RidgeParams::default()
        };
        let fitted = fit_ridge(&anchored.map_err(plugin_error)?, given, services)?;
        let (mut projections, mut coordinates) = (Vec::new(), Vec::new());
        for (map, items) in fitted.maps.iter().zip(&training.items) {
            let projection = PrincipalProjection::new(map, items.view()).map_err(plugin_error)?;
            let graph = projection.graph().map_err(plugin_error)?;
            coordinates.push(apply(services, &graph, items.view())?);
            projections.push(projection);
        }
        let names: Vec<String> = views.names().into_iter().map(str::to_owned).collect();
        let curves = names.iter().zip(&fitted.maps);
        let curves = curves.map(|(name, map)| (name.clone(), map.curve())).collect();
        let others = names.iter().enumerate().filter(|(at, _)| *at != reference);
        let ridges = others.map(|(_, name)| Ok((name.clone(), ridge_of(&fitted.parameters, name)?)));
        let ridges = ridges.collect::<Result<_>>()?;
        Ok(Self { names, reference, projections, coordinates, curves, ridges })
    }

    /// The ridge of the regression of a modality onto the reference.
    pub(super) fn ridge_onto_reference(&self, name: &str) -> Result<f64> {
        let ridge = self.ridges.get(name).copied();
        ridge.ok_or_else(|| Error::other(format!("`{name}` is not mapped onto the reference")))
    }

    /// The ridge of the regression from the reference onto a modality, chosen unless given.
    pub(super) fn back_ridge(
        &self,
        views: &Views<'_>,
        modality: usize,
        parameters: &TranslatorParameters,
        services: &Services<'_>,
    ) -> Result<f64> {
        let name = &self.names[modality];
        if let Some([_, back]) = parameters.ridges.as_ref().and_then(|ridges| ridges.get(name)) {
            return Ok(*back);
        }
        let pair = pair_views(views, self.reference, modality, Some(1))?;
        let curves =
            pair.names().into_iter().filter_map(|name| Some((name.to_owned(), *self.curves.get(name)?)));
        let given = RidgeParams::default().curve(PerModality::Each(curves.collect()));
        ridge_of(&fit_ridge(&pair, given, services)?.parameters, &self.names[self.reference])
    }
}

/// Returns views of two of the modalities.
pub(super) fn pair_views<'a>(
    views: &Views<'a>,
    first: usize,
    second: usize,
    anchor: Option<usize>,
) -> Result<Views<'a>> {
    let pair: Vec<View<'a>> = [first, second].map(|at| views.all()[at].clone()).to_vec();
    Views::new(pair, anchor, views.validation().to_vec()).map_err(plugin_error)
}

fn fit_ridge(views: &Views<'_>, parameters: RidgeParams, services: &Services<'_>) -> Result<Ridge> {
    with_context(services, |context| parameters.fit_views(views, context))
}

/// The ridge that a fit chose for a modality.
fn ridge_of(chosen: &RidgeParams, name: &str) -> Result<f64> {
    let ridge = chosen.ridge.as_ref().and_then(|ridge| ridge.get(name)).copied();
    ridge.ok_or_else(|| Error::other(format!("the ridge regression returned no ridge of `{name}`")))
}

/// Ridge regression between principal coordinates of weighted examples, without an intercept: (UᵀWU + n r c₁
/// I)⁻¹ UᵀWV, with n the sum of the weights and c₁ the top variance of U.
pub(super) fn regression(
    from: &Array2<f64>,
    to: &Array2<f64>,
    weights: &[f32],
    ridge: f64,
) -> Result<Array2<f64>> {
    let mut weighted = from.clone();
    for (mut row, weight) in weighted.axis_iter_mut(Axis(0)).zip(weights) {
        row *= f64::from(*weight);
    }
    let n: f64 = weights.iter().copied().map(f64::from).sum();
    let gram = product(&weighted.t(), from)? / n;
    let eigen = symmetric_eigen(gram.view())?;
    let top = eigen.values.first().copied().unwrap_or(1.0).max(f64::MIN_POSITIVE);
    let shrunk = eigen.values.mapv(|value| 1.0 / (n * (value.max(0.0) + ridge * top)));
    let projected = product(&eigen.vectors.t(), &product(&weighted.t(), to)?)?;
    Ok(product(&eigen.vectors, &(projected * &shrunk.insert_axis(Axis(1))))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The normal equations hold for the solution, to rounding in double precision.
    #[test]
    fn the_regression_solves_the_normal_equations() {
        let u = Array2::from_shape_fn((9, 3), |(i, j)| ((2 * i + 3 * j) as f64).sin() * (j + 1) as f64);
        let v = Array2::from_shape_fn((9, 2), |(i, j)| ((i + 5 * j) as f64).cos());
        let weights: Vec<f32> = (0..9).map(|i| if i < 3 { 1.0 / 3.0 } else { 1.0 }).collect();
        let solved = regression(&u, &v, &weights, 0.2).unwrap();
        let weighted = &u * &Array2::from_shape_fn((9, 1), |(i, _)| f64::from(weights[i]));
        let n: f64 = weights.iter().copied().map(f64::from).sum();
        let gram = weighted.t().dot(&u) / n;
        let top = symmetric_eigen(gram.view()).unwrap().values[0];
        let residual = gram.dot(&solved) + &solved * (0.2 * top) - weighted.t().dot(&v) / n;
        assert!(residual.iter().all(|x| x.abs() < 1e-12), "{residual}");
    }
}
