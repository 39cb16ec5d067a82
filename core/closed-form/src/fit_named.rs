//! The methods that are fitted from moments, by name.

use serde_json::Value;

use crate::cca::CcaParams;
use crate::ridge::RidgeParams;
use crate::{Error, FitContext, FitExport, FromMoments, Moments, Result};

/// Fits the method of this name, `cca` or `ridge`, with parameters that are a JSON object.
///
/// # Errors
/// As [`FromMoments::fit_moments`], and when the method has another name or no such parameter.
pub fn fit_named(
    method: &str,
    parameters: &Value,
    moments: &Moments,
    anchor: Option<usize>,
    context: FitContext<'_>,
) -> Result<FitExport> {
    fn fitted<P: FromMoments>(
        parameters: &Value,
        moments: &Moments,
        anchor: Option<usize>,
        context: FitContext<'_>,
    ) -> Result<FitExport> {
        let names: Vec<&str> = moments.views().iter().map(|view| view.name.as_str()).collect();
        chiasm_parameters::read::<P>(parameters)?.fit_moments(moments, anchor, context)?.export(&names)
    }
    match method {
        "cca" => fitted::<CcaParams>(parameters, moments, anchor, context),
        "ridge" => fitted::<RidgeParams>(parameters, moments, anchor, context),
        _ => Err(Error::data("method to fit from moments", "cca or ridge", format!("`{method}`"))),
    }
}
