//! The cycle aligner: for each modality a map onto the reference and a map back, started from ridge
//! regressions and trained to invert each other.
//!
//! The reference is the anchor where the recipe names one, else the last modality; its items keep their own
//! space. The terms of the training are regression on pairs, cycle consistency both ways, a hinge against
//! images that collapse, and a penalty on the Jacobian. Cycle consistency is easily reached by maps that
//! align badly. It therefore is checked but not optimised alone: the trained pair is returned only when it
//! also finds as well as the ridge pair.

mod fit;
mod model;
mod pair;
mod settings;
mod start;

use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};

pub use settings::Settings;

/// Maps onto a reference and back that invert each other.
#[derive(Debug)]
pub struct Cycle;

impl Aligner for Cycle {
    const ID: &'static str = "cycle";
    const DOC: &'static str =
        "Maps onto a reference modality and back that invert each other, started from ridge regressions.";

    type Parameters = Settings;

    fn fit(items: &TrainingItems<'_>, settings: Settings, services: &Services<'_>) -> Result<Learned> {
        fit::fit(items, settings, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [Cycle] }
