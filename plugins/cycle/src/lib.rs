//! The cycle aligner: a map there and a map back, begun as ridge regressions and trained to undo each other.
//!
//! The seed of this is neural geometry warping: regression on pairs, cycle consistency both ways, a hinge against images that
//! fall together, a penalty on the Jacobian. Cycle consistency is easy to have while alignment is poor, so it is a check
//! and never the score: the trained pair is delivered only when it also finds as well as the ridge pair.

mod fit;
mod model;
mod pair;
mod settings;

use chiasm_plugin::{Aligner, Inputs, Json, Learned, Parameter, Result, Services};

/// Maps there and back that undo each other.
#[derive(Debug)]
pub struct Cycle;

impl Aligner for Cycle {
    const ID: &'static str = "cycle";
    const DOC: &'static str = "A map there and a map back that undo each other, begun as ridge regressions.";

    fn parameters() -> Vec<Parameter> {
        settings::parameters()
    }

    fn fit(data: &Inputs<'_>, parameters: &Json, services: &Services<'_>) -> Result<Learned> {
        fit::fit(data, parameters, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [Cycle] }
