//! The cycle aligner: for each modality a map onto the reference and a map back, started from ridge
//! regressions and trained to invert each other.
//!
//! The reference is the anchor where the recipe names one, else the last modality; its items keep their own
//! space. The terms of the training are regression on pairs, cycle consistency both ways, a hinge against
//! images that collapse, and a penalty on the Jacobian. Maps that align badly can still be cycle consistent.
//! So the trained pair is returned only if its recall is also as high as that of the ridge pair.

mod fit;
mod model;
mod pair;
mod parameters;
mod start;

use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};

pub use parameters::CycleParameters;

/// Maps onto a reference and back that invert each other.
#[derive(Debug)]
pub struct CycleAligner;

impl Aligner for CycleAligner {
    const ID: &'static str = "cycle";
    const DOC: &'static str =
        "Maps onto a reference modality and back that invert each other, started from ridge regressions.";

    type Parameters = CycleParameters;

    fn fit(
        items: &TrainingItems<'_>,
        parameters: CycleParameters,
        services: &Services<'_>,
    ) -> Result<Learned> {
        fit::fit(items, parameters, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [CycleAligner] }
