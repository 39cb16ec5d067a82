//! What the systems that map into a shared space have in common.

use chiasm_kit::heads::{HeadMethod, HeadParameters, fit_heads};
use chiasm_kit::terms::TermWeights;
use chiasm_plugin::parameters::read;
use chiasm_plugin::{Error, Learned, Parameters, Result, Services, TrainingItems};

/// Parameters of a system: the weights of its terms, and those of its architecture.
pub(crate) trait SystemParameters: Parameters {
    /// The weights of the system's terms.
    fn weights(&self) -> TermWeights;

    /// The parameters of the architecture.
    fn heads(&mut self) -> &mut HeadParameters;
}

/// Fits a system. Its chosen parameters keep the weights as they were given.
pub(crate) fn fit_system<P: SystemParameters>(
    [id, title]: [&'static str; 2],
    items: &TrainingItems<'_>,
    mut parameters: P,
    services: &Services<'_>,
) -> Result<Learned> {
    let given = parameters.heads().clone();
    let method = HeadMethod { id, title, weights: parameters.weights() };
    let terms = given.terms;
    let mut learned = fit_heads(&method, items, given, services)?;
    let chosen: HeadParameters =
        read(&learned.parameters).map_err(|error| Error::other(error.to_string()))?;
    *parameters.heads() = HeadParameters { terms, ..chosen };
    learned.parameters = parameters.to_json();
    Ok(learned)
}
