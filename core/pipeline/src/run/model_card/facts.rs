//! What a model card is written from: the files of a run folder, and the models that the card describes.

use crate::{
    base::{digest::sha256_of, error::Error},
    catalog::card::{ModelCard, read_card},
    recipe::Recipe,
    run::{
        evaluate::Metrics,
        files::{CHECKS, LEARNED, LearnedFile, RunManifest, path_in, read_json},
        pipeline_svg::DrawnEncoder,
        prove::Proof,
    },
};
use chiasm_graph::{Graph, Port};
use chiasm_host::EncoderSpec;
use serde::{Deserialize, de::DeserializeOwned};
use std::{collections::BTreeMap, path::Path};

/// What is known of a run.
pub struct CardFacts<'a> {
    /// The folder of the run.
    pub folder: &'a Path,
    pub manifest: &'a RunManifest,
    pub recipe: &'a Recipe,
    pub encoders: Vec<EncoderFacts<'a>>,
    pub metrics: Metrics,
    pub checks: ChecksFile,
    pub learned: LearnedFile,
    /// Whether the card may show the plots beside it: the drawing of the model and, if there is one, that of
    /// the sweeps over corrupted and missing items.
    pub plots: Plots,
}

/// The plots in the folder of a card.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plots {
    /// The drawing of the merged model.
    pub drawing: bool,
    /// The sweeps over corrupted and missing items.
    pub robustness: bool,
}

/// What is known of an encoder.
pub struct EncoderFacts<'a> {
    pub modality: &'a str,
    /// The name of its card, or the stem of its file of vectors.
    pub name: &'a str,
    pub adapter: &'a str,
    /// `None` for a file of vectors.
    pub card: Option<ModelCard>,
    /// The folder of its card, relative to that of the model card.
    pub folder: Option<String>,
    /// The name of each input in the merged model, by its name in the encoder.
    pub inputs: BTreeMap<String, String>,
    pub spec: &'a EncoderSpec,
    pub pooled: usize,
    /// Whether the model takes items as they are: decoded pictures, or texts.
    pub raw: bool,
    /// How `transformers` prepares its items from the files beside its card, or why there are none. `None` if
    /// the folder of the model card has no such files.
    pub transformers: Option<Result<TransformersPreparation, String>>,
}

/// How `transformers` prepares the items of an encoder.
pub struct TransformersPreparation {
    /// The class that opens the folder.
    pub class: &'static str,
    /// The line of Python that makes `features` of `item`.
    pub call: String,
    /// The name of each feature, and of the model's input that takes it.
    pub features: Vec<(String, String)>,
    /// What else a reader must know.
    pub note: Option<&'static str>,
}

impl EncoderFacts<'_> {
    /// Returns its name and the licence on its card.
    pub fn licensed(&self) -> (&str, Option<&str>) {
        (self.name, self.card.as_ref().map(|card| card.licence.as_str()))
    }

    /// Returns what a drawing shows of it.
    pub fn drawn(&self) -> DrawnEncoder<'_> {
        DrawnEncoder { modality: self.modality, name: self.name, adapter: self.adapter, pooled: self.pooled }
    }

    /// Returns the table `[preprocessing]` of its card, or what is not known in it.
    pub fn table<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_value(self.spec.preprocessing.clone())
            .map_err(|error| format!("its table [preprocessing] has {}", error.to_string().replace('`', "'")))
    }
}

/// A model that a card describes.
pub struct CardModel {
    /// Its name in the folder of the card.
    pub file: String,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// The size of its weights in bytes.
    pub weight_bytes: u64,
    /// The SHA-256 of the model's files, by name.
    pub digests: Vec<(String, String)>,
}

/// The part of `checks.json` that a card repeats.
#[derive(Deserialize)]
pub struct ChecksFile {
    pub failed: Vec<String>,
    #[serde(default)]
    pub unknown: Vec<String>,
    pub merged: Proof,
    pub maps: Vec<CheckedMap>,
}

/// The checks of a map.
#[derive(Deserialize)]
pub struct CheckedMap {
    pub map: String,
    pub checks: Vec<CheckSentence>,
}

/// A check in words.
#[derive(Deserialize)]
pub struct CheckSentence {
    pub name: String,
    pub verdict: String,
    pub meaning: String,
}

impl<'a> CardFacts<'a> {
    /// Reads the checks and the cards of the run in `folder`, whose metrics are given. The card shows no
    /// plots yet.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read(
        folder: &'a Path,
        manifest: &'a RunManifest,
        recipe: &'a Recipe,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        Ok(Self {
            folder,
            manifest,
            recipe,
            encoders: encoders(folder, manifest)?,
            metrics,
            checks: read_json(folder, CHECKS)?,
            learned: read_json(folder, LEARNED)?,
            plots: Plots::default(),
        })
    }

    /// Returns the names of the modalities, in order.
    pub fn modalities(&self) -> Vec<String> {
        self.manifest.modalities.iter().map(|modality| modality.name.clone()).collect()
    }

    /// Returns the name of the data file without its folder.
    pub fn data(&self) -> Option<String> {
        let pairs = self.recipe.data.pairs.as_ref()?;
        Some(Path::new(&pairs.value).file_name()?.to_string_lossy().into_owned())
    }
}

/// Reads the encoders of a run, with their cards.
///
/// # Errors
/// If a card cannot be read.
pub fn encoders<'a>(folder: &Path, manifest: &'a RunManifest) -> Result<Vec<EncoderFacts<'a>>, Error> {
    let mut encoders = Vec::new();
    for modality in &manifest.modalities {
        for encoder in &modality.encoders {
            let card = match &encoder.folder {
                Some(own) => Some(read_card(&path_in(folder, &format!("{own}/card.toml"))?)?),
                None => None,
            };
            encoders.push(EncoderFacts {
                modality: &modality.name,
                name: &encoder.name,
                adapter: &encoder.adapter,
                card,
                folder: encoder.folder.as_ref().map(|folder| folder.as_str().to_owned()),
                inputs: encoder.inputs.clone(),
                spec: &encoder.spec,
                pooled: encoder.pooled,
                raw: false,
                transformers: None,
            });
        }
    }
    Ok(encoders)
}

/// Returns the encoders and their licences, each once. A licence that is not stated is empty.
pub fn licences<'a>(encoders: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Vec<(String, String)> {
    let mut parts: Vec<(String, String)> = Vec::new();
    for (name, licence) in encoders {
        let part = (name.to_owned(), licence.unwrap_or_default().to_owned());
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts
}

impl CardModel {
    /// Describes the model in the file `file` of `folder`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn of(folder: &Path, file: &str, graph: &Graph) -> Result<Self, Error> {
        let data = format!("{file}.data");
        let names = [file.to_owned(), data].into_iter().filter(|name| folder.join(name).is_file());
        let digest = |name: String| {
            let path = folder.join(&name);
            let digest = sha256_of(&path).map_err(|e| Error::io("read", &path, e))?;
            Ok((name, digest))
        };
        Ok(Self {
            file: file.to_owned(),
            inputs: graph.inputs(),
            outputs: graph.outputs(),
            weight_bytes: graph.weight_bytes(),
            digests: names.map(digest).collect::<Result<_, Error>>()?,
        })
    }
}
