//! The mlp aligner: two networks into a shared space, begun as the canonical correlations and held against every closed form.
//!
//! Each network is a residual one over its side's principal coordinates and starts as the map of `cca`. It is trained with noise
//! that stands for the ridge which cross-validation found for the start (Bishop 1995): without it a network on a few hundred
//! pairs learns them by heart within ten steps. Some networks from different seeds are averaged, perhaps with the start, and a
//! fifth of the training rows says whether that beats the start, which is delivered otherwise.

mod deliver;
mod fit;
mod model;
mod settings;

use chiasm_plugin::{Aligner, Inputs, Json, Learned, Parameter, Result, Services};

/// Two networks into a shared space.
#[derive(Debug)]
pub struct Mlp;

impl Aligner for Mlp {
    const ID: &'static str = "mlp";
    const DOC: &'static str = "Networks into a shared space, begun as canonical correlations.";

    fn parameters() -> Vec<Parameter> {
        settings::parameters()
    }

    fn fit(data: &Inputs<'_>, parameters: &Json, services: &Services<'_>) -> Result<Learned> {
        fit::fit(data, parameters, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [Mlp] }
