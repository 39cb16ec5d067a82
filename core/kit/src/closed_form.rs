//! Closed forms as aligners.

use chiasm_closed_form::{Method, Views};
use chiasm_plugin::{Inverse, Learned, ModalityCount, Result, Services, TrainingItems};

use crate::comparison::with_context;
use crate::{inverse_kind, plugin_error, views};

/// Fits a closed form on the training items of an aligner: the complete body of `Aligner::fit`.
///
/// # Errors
/// When the items cannot be fitted, a parameter is out of range, or the host asked to stop.
pub fn fit_method<M: Method>(
    items: &TrainingItems<'_>,
    parameters: M,
    services: &Services<'_>,
) -> Result<Learned> {
    let views: Views<'_> = views(items)?;
    let fitted = with_context(services, |context| parameters.fit_views(&views, context))?;
    let export = fitted.export(&views.names()).map_err(plugin_error)?;
    let inverse = |inverse: chiasm_closed_form::MapInverse| Inverse {
        kind: inverse_kind(inverse.kind),
        graph: inverse.graph,
    };
    Ok(Learned {
        maps: export.maps,
        inverses: export.inverses.into_iter().map(|one| one.map(inverse)).collect(),
        parameters: export.parameters,
        notes: export.notes,
    })
}

/// Returns the number of modalities that a closed form takes, for `Aligner::takes`.
pub fn modality_count<M: Method>() -> ModalityCount {
    ModalityCount { least: 2, most: M::MOST_MODALITIES }
}
