//! The layouts of an export: which models there are, under which names, and the files beside them.

use super::{
    hugging_face::HuggingFace,
    hugging_face_program::Program,
    layout::{Consumer, ExportedModel, Layout, towers},
    sentence_transformers::SentenceTransformers,
    triton::Triton,
};
use crate::{
    base::error::Error,
    run::{draft::DraftFolder, files::MODEL, model_card::CardFacts},
};
use chiasm_graph::Graph;

/// The layout of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportLayout {
    /// The merged model as one file.
    Merged,
    /// One model per modality, e.g. to embed items for a search index.
    Towers,
    /// A model repository of NVIDIA Triton: one model per modality, and the whole one if it has more outputs.
    Triton,
    /// Folders that Hugging Face's `transformers` opens, one per modality.
    HuggingFace,
    /// The same for transformers.js.
    TransformersJs,
    /// A folder that sentence-transformers opens.
    SentenceTransformers,
}

impl ExportLayout {
    pub(super) fn layout(self) -> &'static dyn Layout {
        match self {
            Self::Merged => &Merged,
            Self::Towers => &Towers,
            Self::Triton => &Triton,
            Self::HuggingFace => &HuggingFace(Program::Python),
            Self::TransformersJs => &HuggingFace(Program::JavaScript),
            Self::SentenceTransformers => &SentenceTransformers,
        }
    }
}

/// The merged model as one file.
struct Merged;

impl Layout for Merged {
    fn models(&self, _: &CardFacts<'_>, model: &Graph) -> Result<Vec<ExportedModel>, Error> {
        Ok(vec![ExportedModel::new(MODEL.to_owned(), None, model.clone())])
    }

    fn write(&self, _: &mut CardFacts<'_>, _: &[ExportedModel], _: &DraftFolder) -> Result<Consumer, Error> {
        let what = "This is an export of a Chiasm run: the whole model in one file.".to_owned();
        Ok(Consumer { what, ..Consumer::default() })
    }
}

/// One model per modality.
struct Towers;

impl Layout for Towers {
    fn models(&self, facts: &CardFacts<'_>, model: &Graph) -> Result<Vec<ExportedModel>, Error> {
        towers(facts, model, &|name| format!("{name}.onnx"))
    }

    fn write(&self, _: &mut CardFacts<'_>, _: &[ExportedModel], _: &DraftFolder) -> Result<Consumer, Error> {
        let what =
            "This is an export of a Chiasm run: one file for each modality, for example to embed items \
                    for a search index. There is no fusion in it."
                .to_owned();
        Ok(Consumer { what, ..Consumer::default() })
    }
}
