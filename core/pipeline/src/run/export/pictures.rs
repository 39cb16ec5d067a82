//! Models that take pictures as they are decoded, and resize and normalise them.

use super::{form::PortForm, form::with_forms, layout::ExportedModel, picture_graph::picture_graph};
use crate::{
    base::error::Error,
    run::model_card::{CardFacts, EncoderFacts, ImageTable},
};
use chiasm_graph::DType;

/// Puts the preparation of pictures in front of the encoders of pictures of each model.
///
/// # Errors
/// If no model has such an encoder, or a preparation cannot be written as operators.
pub fn with_pictures(models: &mut [ExportedModel], facts: &mut CardFacts<'_>) -> Result<(), Error> {
    for made in &mut *models {
        let of_model = |encoder: &&EncoderFacts<'_>| {
            encoder.adapter == "image" && made.modality.as_deref().is_none_or(|own| own == encoder.modality)
        };
        let forms = facts.encoders.iter().filter(of_model).map(|encoder| form(encoder, made));
        let forms: Vec<PortForm> = forms.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        if !forms.is_empty() {
            made.graph = with_forms(&made.graph, &forms)?;
            made.forms = forms;
        }
    }
    if models.iter().all(|made| made.forms.is_empty()) {
        let message = "--with-preprocessing: no encoder of the run reads pictures";
        return Err(Error::input("chiasm::export::pictures", message, "leave --with-preprocessing out"));
    }
    for encoder in facts.encoders.iter_mut().filter(|encoder| encoder.adapter == "image") {
        let name = input(encoder.modality);
        encoder.inputs.values_mut().for_each(|there| there.clone_from(&name));
        encoder.decoded_only = true;
    }
    Ok(())
}

/// The input for the pictures of a modality.
fn input(modality: &str) -> String {
    format!("{modality}_picture")
}

/// The pictures in place of an encoder's pixels; `None` if the model does not have this encoder.
fn form(encoder: &EncoderFacts<'_>, made: &ExportedModel) -> Result<Option<PortForm>, Error> {
    let refused = |reason: String| {
        let message = format!("--with-preprocessing: encoders.{}: {reason}", encoder.modality);
        Error::input("chiasm::export::pictures", message, "leave --with-preprocessing out")
    };
    let mut ports = encoder.inputs.values().filter_map(|name| made.graph.input(name).ok());
    let (Some(port), None) = (ports.next(), ports.next()) else {
        return if encoder.inputs.len() < 2 {
            Ok(None)
        } else {
            Err(refused("it has several inputs".into()))
        };
    };
    let table: ImageTable = serde_json::from_value(encoder.spec.preprocessing.clone())
        .map_err(|error| refused(format!("its table is not known: {error}")))?;
    let head = picture_graph(&table, port.dtype).map_err(refused)?;
    Ok(Some(PortForm { head: Some(head), ..PortForm::named(&port, &input(encoder.modality), DType::U8) }))
}
