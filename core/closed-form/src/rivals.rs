//! The closed forms that a learned map is held against, fitted on the same rows with their own defaults.

use chiasm_graph::Graph;
use serde_json::{Value, json};

use crate::mean_vector::MeanVectorParams;
use crate::procrustes::ProcrustesParams;
use crate::ridge::RidgeParams;
use crate::{Conduct, Error, Method, Pairs, Result};

/// A closed form's two maps.
#[derive(Debug, Clone)]
pub struct Rival {
    /// What a recipe calls it.
    pub name: &'static str,
    /// `x` to `z`.
    pub source: Graph,
    /// `y` to `z`.
    pub target: Graph,
}

/// Fits the mean vector, Procrustes and ridge, everything chosen inside the rows; `blocks` are the widths of each side's
/// encoders.
///
/// # Errors
/// When the rows cannot be fitted or the caller asked to stop.
pub fn rivals(pairs: Pairs<'_>, blocks: [Option<&[usize]>; 2], conduct: Conduct<'_>) -> Result<Vec<Rival>> {
    fn fit<P: Method>(
        name: &'static str,
        parameters: Value,
        pairs: Pairs<'_>,
        conduct: Conduct<'_>,
    ) -> Result<Rival> {
        let read: P = serde_json::from_value(parameters).map_err(|e| {
            Error::data(format!("parameters of {name}"), "those of the method", e.to_string())
        })?;
        let fitted = read.fit_pairs(pairs, conduct)?;
        Ok(Rival { name, source: fitted.source.graph("x")?, target: fitted.target.graph("y")? })
    }
    let given = json!({ "source_blocks": blocks[0], "target_blocks": blocks[1] });
    Ok(vec![
        fit::<MeanVectorParams>("mean-vector", given.clone(), pairs, conduct)?,
        fit::<ProcrustesParams>("procrustes", given.clone(), pairs, conduct)?,
        fit::<RidgeParams>("ridge", given, pairs, conduct)?,
    ])
}
