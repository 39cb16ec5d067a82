//! The files beside the cards of a run's encoders.

use super::{prepared, prepared::Prepared};
use crate::{
    base::error::Error,
    run::{
        draft::DraftFolder,
        model_card::{EncoderFacts, TransformersPreparation},
    },
};
use chiasm_graph::Port;
use std::path::Path;

/// Writes the files beside each card of a draft, and notes in each encoder how they are used or why there are
/// none. `run` is the folder with the cards, `ports` are the inputs of the run's model, and `place` returns
/// where a folder of a card lies in the draft, if it does. An encoder whose items the model prepares itself
/// gets no files.
///
/// # Errors
/// If a file cannot be written.
pub fn write_beside_cards(
    encoders: &mut [EncoderFacts<'_>],
    run: &Path,
    ports: &[Port],
    draft: &DraftFolder,
    place: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Error> {
    for encoder in encoders.iter_mut().filter(|encoder| !encoder.raw) {
        let Some(folder) = encoder.folder.as_deref().and_then(place) else { continue };
        let made = exact(encoder, run, ports).and_then(|made| unclaimed(made, &draft.folder().join(&folder)));
        if let Ok(made) = &made {
            for (file, content) in &made.files {
                draft.write(&format!("{folder}/{file}"), content)?;
            }
        }
        encoder.transformers = Some(made.map(described));
    }
    Ok(())
}

/// Returns how the items of an encoder are prepared, if what the files make are the inputs of its model.
fn exact(encoder: &EncoderFacts<'_>, run: &Path, ports: &[Port]) -> Result<Prepared, String> {
    let port = |merged: &String| ports.iter().find(|port| port.name == *merged).cloned();
    let inputs: Vec<(String, Port)> =
        encoder.inputs.iter().filter_map(|(own, merged)| Some((own.clone(), port(merged)?))).collect();
    let made = prepared(encoder, &inputs, run)?;
    if made.ports.iter().any(|form| form.rearranged) {
        return Err("they make pixels with the axes batch, channel, row and column and the channels red, \
                    green and blue, and the model takes others"
            .to_owned());
    }
    Ok(made)
}

/// Returns an error if a file of the card's own has the name and another content.
fn unclaimed(made: Prepared, folder: &Path) -> Result<Prepared, String> {
    for (file, content) in &made.files {
        if std::fs::read(folder.join(file)).is_ok_and(|own| own != *content) {
            return Err(format!("the card has a file `{file}` of its own"));
        }
    }
    Ok(made)
}

fn described(made: Prepared) -> TransformersPreparation {
    let features = made.ports.into_iter().map(|form| (form.name, form.port.name));
    TransformersPreparation {
        class: made.class,
        call: made.python.last().cloned().unwrap_or_default(),
        features: features.collect(),
        note: made.note,
    }
}
