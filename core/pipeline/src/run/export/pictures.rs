//! Models that take pictures as they are decoded, and resize and normalise them.

use super::{layout::ExportedModel, picture_graph::picture_graph};
use crate::{
    base::error::Error,
    run::{
        model_card::{CardFacts, EncoderFacts, ImageTable},
        port_form::{PortForm, with_forms},
    },
};

/// Puts the preparation of pictures in front of the encoders of pictures of each model.
///
/// # Errors
/// If no model has such an encoder, or a preparation cannot be written as operators.
pub fn with_pictures(models: &mut [ExportedModel], facts: &mut CardFacts<'_>) -> Result<(), Error> {
    for made in &mut *models {
        let of_model = |encoder: &&EncoderFacts<'_>| {
            encoder.adapter == "image" && made.modality.as_deref().is_none_or(|own| own == encoder.modality)
        };
        let forms = facts.encoders.iter().filter(of_model).map(|encoder| {
            form(encoder, made).map_err(|reason| {
                let message = format!("--with-preprocessing: encoders.{}: {reason}", encoder.modality);
                Error::input("chiasm::export::preprocessing", message, "leave --with-preprocessing out")
            })
        });
        made.forms = forms.collect::<Result<_, _>>()?;
        made.graph = with_forms(&made.graph, &made.forms)?;
    }
    if models.iter().all(|made| made.forms.is_empty()) {
        let message = "--with-preprocessing: no encoder of the run reads pictures";
        return Err(Error::input("chiasm::export::preprocessing", message, "leave --with-preprocessing out"));
    }
    for encoder in facts.encoders.iter_mut().filter(|encoder| encoder.adapter == "image") {
        let name = input(encoder.modality);
        encoder.inputs.values_mut().for_each(|there| there.clone_from(&name));
        encoder.raw = true;
    }
    Ok(())
}

/// The input for the pictures of a modality.
fn input(modality: &str) -> String {
    format!("{modality}_picture")
}

/// The pictures in place of an encoder's pixels, or why they cannot be.
fn form(encoder: &EncoderFacts<'_>, made: &ExportedModel) -> Result<PortForm, String> {
    let [(_, port)] = &made.inputs_of(encoder)[..] else {
        return Err("its model reads more than the pixels".to_owned());
    };
    let head = picture_graph(&encoder.table::<ImageTable>()?, port.dtype)?;
    Ok(PortForm::made(port, &input(encoder.modality), head))
}
