//! What a layout of an export is.

use crate::{
    base::error::Error,
    run::{
        draft::DraftFolder,
        graphs::embeds,
        model_card::{CardFacts, EncoderFacts},
        port_form::PortForm,
    },
};
use chiasm_graph::{Graph, Port};
use std::{collections::BTreeMap, path::Path};

/// A model of an export.
pub struct ExportedModel {
    /// Its file, relative to the folder of the export.
    pub file: String,
    /// The modality that it embeds; `None` for the whole model.
    pub modality: Option<String>,
    /// Its graph.
    pub graph: Graph,
    /// Its inputs in the run's model.
    pub inputs: Vec<Port>,
    /// Those that are others here.
    pub forms: Vec<PortForm>,
}

impl ExportedModel {
    /// A model with the ports of the run.
    pub fn new(file: String, modality: Option<String>, graph: Graph) -> Self {
        Self { file, modality, inputs: graph.inputs(), graph, forms: Vec::new() }
    }

    /// Returns the inputs of an encoder that the model has, with their own names.
    pub fn inputs_of(&self, encoder: &EncoderFacts<'_>) -> Vec<(String, Port)> {
        let port = |merged: &String| self.inputs.iter().find(|port| port.name == *merged).cloned();
        encoder.inputs.iter().filter_map(|(own, merged)| Some((own.clone(), port(merged)?))).collect()
    }

    /// Writes the model into the folder of the export.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(&self.file);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        self.graph.save(&path).map_err(Error::graph(format!("writing {}", self.file)))?;
        Ok(())
    }
}

/// What the export says of the program that opens it.
#[derive(Default)]
pub struct Consumer {
    /// What the export is, in whole sentences.
    pub what: String,
    /// How it is opened, as Markdown; `None` for the program that runs the models with ONNX Runtime.
    pub program: Option<String>,
    /// What is left out, by modality, and why.
    pub left_out: BTreeMap<String, String>,
    /// The files that the layout wrote.
    pub files: Vec<String>,
}

/// A layout.
pub trait Layout {
    /// Returns the models of an export.
    ///
    /// # Errors
    /// If a part cannot be extracted, or the layout cannot hold the run.
    fn models(&self, facts: &CardFacts<'_>, model: &Graph) -> Result<Vec<ExportedModel>, Error>;

    /// Returns where a file of the run's preprocessing lies in the export, if it does.
    fn place(&self, name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    /// Writes the files beside the models, and adapts what the model card says of the encoders.
    ///
    /// # Errors
    /// If a file cannot be written.
    fn write(
        &self,
        facts: &mut CardFacts<'_>,
        models: &[ExportedModel],
        draft: &DraftFolder,
    ) -> Result<Consumer, Error>;
}

/// Returns the part of a model that embeds each modality, in the file that `file` names.
///
/// # Errors
/// If a part cannot be extracted.
pub fn towers(
    facts: &CardFacts<'_>,
    model: &Graph,
    file: &dyn Fn(&str) -> String,
) -> Result<Vec<ExportedModel>, Error> {
    let tower = |name: String| {
        let graph = model.extract(&[&embeds(&name)]).map_err(Error::graph(format!("the tower {name:?}")))?;
        Ok(ExportedModel::new(file(&name), Some(name), graph))
    };
    facts.modalities().into_iter().map(tower).collect()
}
