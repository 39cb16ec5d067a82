//! The layouts that Hugging Face's libraries open: one folder for each modality, with `onnx/model.onnx`,
//! `config.json` and the files that say how items are prepared.
//!
//! The model takes what those libraries make: `input_ids` and the like as i64, and `pixel_values` of channels
//! first, red, green, blue. Where the encoder takes something else, nodes before it change the one into the
//! other. What the files cannot say is left out of the folder, with the key of the card that it is about.

use super::{
    hugging_face_program::Program,
    layout::{Consumer, ExportedModel, Layout, towers},
};
use crate::{
    base::error::Error,
    run::{
        draft::DraftFolder,
        graphs::embeds,
        hugging_face::{Prepared, prepared as prepared_items, pretty},
        model_card::{CardFacts, EncoderFacts, plain},
        port_form::with_forms,
    },
};
use chiasm_graph::Graph;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The layout that a library opens.
pub struct HuggingFace(pub Program);

impl Layout for HuggingFace {
    fn models(&self, facts: &CardFacts<'_>, model: &Graph) -> Result<Vec<ExportedModel>, Error> {
        models(facts, model)
    }

    fn place(&self, _: &str) -> Option<String> {
        None
    }

    fn write(
        &self,
        facts: &mut CardFacts<'_>,
        models: &[ExportedModel],
        draft: &DraftFolder,
    ) -> Result<Consumer, Error> {
        if matches!(self.0, Program::JavaScript) {
            check_sizes(models, draft)?;
        }
        write(facts, models, draft, self.0)
    }
}

/// Returns an error for weights in a file of their own, which a browser cannot load.
fn check_sizes(models: &[ExportedModel], draft: &DraftFolder) -> Result<(), Error> {
    let mut models = models.iter();
    let Some(made) = models.find(|made| draft.folder().join(format!("{}.data", made.file)).exists()) else {
        return Ok(());
    };
    let message = format!("{}: the weights have more than 2 GiB, which a browser cannot load", made.file);
    Err(Error::input("chiasm::export::size", message, "use --weights fp16 or int8"))
}

/// Returns the model of each modality, with the ports of the libraries.
fn models(facts: &CardFacts<'_>, model: &Graph) -> Result<Vec<ExportedModel>, Error> {
    let mut models = towers(facts, model, &|name| format!("{name}/onnx/model.onnx"))?;
    for made in &mut models {
        let Ok(prepared) = prepared(made, facts) else { continue };
        made.forms = prepared.ports;
        let output = embeds(made.modality.as_deref().unwrap_or_default());
        let whole = with_forms(model, &made.forms)?;
        made.graph = whole.extract(&[&output]).map_err(Error::graph(made.file.clone()))?;
    }
    let reasons = models.iter().map(|made| Some((made, prepared(made, facts).err()?)));
    let Some(reasons) = reasons.collect::<Option<Vec<_>>>() else { return Ok(models) };
    let reason = |(made, reason): &(&ExportedModel, String)| {
        format!("{}: {reason}", made.modality.as_deref().unwrap_or_default())
    };
    let message = format!(
        "the files of this layout cannot say how the items of any modality are prepared: {}",
        reasons.iter().map(reason).collect::<Vec<_>>().join("; ")
    );
    Err(Error::input("chiasm::export::preparation", message, "use --layout onnx or towers"))
}

/// Returns how the items of a model are prepared, or why that cannot be said.
fn prepared(made: &ExportedModel, facts: &CardFacts<'_>) -> Result<Prepared, String> {
    let own: Vec<&EncoderFacts<'_>> =
        facts.encoders.iter().filter(|encoder| Some(encoder.modality) == made.modality.as_deref()).collect();
    let [encoder] = own[..] else {
        return Err(format!("it has {} encoders, and a folder holds the preparation of one", own.len()));
    };
    prepared_items(encoder, &made.inputs_of(encoder), facts.folder)
}

/// Writes the files of all modalities.
fn write(
    facts: &mut CardFacts<'_>,
    models: &[ExportedModel],
    draft: &DraftFolder,
    program: Program,
) -> Result<Consumer, Error> {
    let (mut files, mut left_out, mut all) = (Vec::new(), BTreeMap::new(), Vec::new());
    for made in models {
        let name = made.modality.clone().unwrap_or_default();
        let width = made.graph.outputs().first().and_then(|port| port.fixed(-1));
        let mut own = vec![("config.json", pretty(&configuration(&name, width)))];
        match prepared(made, facts).and_then(|prepared| program.can_say(prepared)) {
            Ok(prepared) => {
                own.extend(prepared.files.iter().cloned());
                all.push((name.clone(), prepared));
            }
            Err(reason) => {
                left_out.insert(name.clone(), format!("the preparation of its items is left out: {reason}"));
            }
        }
        for (file, content) in own {
            let file = format!("{name}/{file}");
            draft.write(&file, content)?;
            files.push(file);
        }
    }
    let mut text = program.text(&all);
    for (name, reason) in &left_out {
        text.push_str(&format!("\n{}: {}.\n", plain(name), plain(reason)));
    }
    for encoder in &mut facts.encoders {
        encoder.folder = None;
        let Some((_, prepared)) = all.iter().find(|(name, _)| *name == encoder.modality) else { continue };
        for port in encoder.inputs.values_mut() {
            let form = prepared.ports.iter().find(|form| form.port.name == *port);
            form.into_iter().for_each(|form| port.clone_from(&form.name));
        }
    }
    Ok(Consumer { what: program.what().to_owned(), program: Some(text), left_out, files })
}

/// The configuration of a model. No class of the libraries has this type: they open the model as it is.
fn configuration(name: &str, width: Option<usize>) -> Value {
    json!({
        "model_type": "chiasm",
        "modality": name,
        "output": embeds(name),
        "hidden_size": width,
        "transformers.js_config": { "dtype": "fp32" },
    })
}
