//! One encoder, opened: its card, its adapter, and its graph with the standard ports.

use crate::{
    Error, Workbench,
    cache::Key,
    card::{Encoder, ModelStore, sha256_of},
    compose,
    plan::EncoderReport,
    problem::Problem,
};
use chiasm_graph::{Graph, Port, Tensor};
use chiasm_host::{Adapter, EncoderSpec, HostError, Item, ModelInput, Signature, Takes};
use serde_json::json;
use std::path::{Path, PathBuf};

/// One raw item of a modality.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Raw {
    /// A file.
    Path(PathBuf),
    /// A text.
    Text(String),
    /// A row of a file of vectors.
    Row(usize),
}

impl Raw {
    /// What `written` in a table means to an adapter; relative paths start at `folder`.
    ///
    /// # Errors
    /// What was expected, for something that should be a row number and is not.
    pub fn read(written: &str, takes: Takes, folder: &Path) -> Result<Self, String> {
        let no_row = |_| format!("expected a row number of its vectors, got {written:?}");
        Ok(match takes {
            Takes::Path => Self::Path(folder.join(written)),
            Takes::Text => Self::Text(written.to_owned()),
            Takes::Row => Self::Row(written.parse().map_err(no_row)?),
        })
    }

    pub(crate) fn item(&self) -> Item<'_> {
        match self {
            Self::Path(path) => Item::Path(path),
            Self::Text(text) => Item::Text(text),
            Self::Row(row) => Item::Row(*row),
        }
    }

    /// The file, when it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Text(_) | Self::Row(_) => None,
        }
    }

    /// How the item is called in messages; a path in the working folder is shown from there.
    pub fn shown(&self) -> String {
        match self {
            Self::Path(path) => {
                let here = std::env::current_dir().unwrap_or_default();
                path.strip_prefix(here).unwrap_or(path).display().to_string()
            }
            Self::Text(text) => format!("{text:?}"),
            Self::Row(row) => format!("row {row}"),
        }
    }
}

/// An encoder that can run.
pub struct EncoderPlan {
    /// Its name: the card's, or the file's.
    pub name: String,
    /// What its adapter takes.
    pub takes: Takes,
    /// The rows there are, for a file of vectors.
    pub rows: Option<u64>,
    /// The tensors its adapter makes.
    pub inputs: Vec<ModelInput>,
    /// Model and tail: outputs tokens, mask, pooled.
    pub graph: Graph,
    /// Width of its pooled vectors.
    pub pooled_dim: usize,
    /// What its adapter was opened with.
    pub spec: EncoderSpec,
    /// The adapter's id.
    pub adapter_id: String,
    /// Its card; none for a file of vectors.
    pub card: Option<Encoder>,
    /// Files that its adapter needs besides the model: name in the folder, and where.
    pub files: Vec<(String, PathBuf)>,
    /// Hash of all that its numbers depend on, but the items.
    pub key: Key,
    adapter: Adapter,
}

impl EncoderPlan {
    /// The encoder of a card.
    ///
    /// # Errors
    /// When the card, the model, the adapter or a port is not there or not right.
    pub fn of_model(name: &str, store: &ModelStore, bench: &Workbench) -> Result<Self, Problem> {
        let found = store.find(name)?;
        let sha256 = sha256_of(&found.model_path).map_err(|e| {
            Problem::new("chiasm::model::file", format!("cannot read {}: {e}", found.model_path.display()))
        })?;
        if sha256 != found.card.sha256 {
            let message = format!(
                "{} is not the file its card describes: sha256 expected {}, got {sha256}",
                found.model_path.display(),
                found.card.sha256
            );
            return Err(Problem::new("chiasm::model::sha256", message).help(format!(
                "bring the right file, or, if it changed on purpose, set sha256 in {}",
                found.card_path.display()
            )));
        }
        let model = Graph::load(&found.model_path).map_err(|e| {
            Problem::new("chiasm::model::graph", e.to_string())
                .help("bring the file again, or export it anew")
        })?;
        let preprocessing = json!(found.card.preprocessing);
        let files = companions(&preprocessing, &found);
        let directory = directory_of(&files, &found);
        let Signature { inputs, outputs, .. } = Signature::of(&model);
        let ports = json!(found.card.ports);
        let spec = EncoderSpec { name: name.to_owned(), directory, inputs, outputs, ports, preprocessing };
        let mut key = Key::default();
        key.add(&sha256).add(spec.ports.to_string()).add(spec.preprocessing.to_string());
        let card = found.card.clone();
        let mut opened = Self::open(name, &card.adapter, spec, Some(&model), key, bench).map_err(|p| {
            p.help(format!(
                "the card is {}; the model's ports: {}",
                found.card_path.display(),
                listed(&model)
            ))
        })?;
        for (_, path) in &files {
            let hash = sha256_of(path).map_err(|e| {
                Problem::new("chiasm::model::file", format!("cannot read {}: {e}", path.display()))
            })?;
            opened.key.add(hash);
        }
        opened.card = Some(found);
        opened.files = files;
        Ok(opened)
    }

    /// A file of vectors as an encoder.
    ///
    /// # Errors
    /// When the file cannot be read or holds no vectors.
    pub fn of_vectors(path: &Path, bench: &Workbench) -> Result<Self, Problem> {
        let code = "chiasm::model::vectors";
        let path =
            std::path::absolute(path).map_err(|e| Problem::new(code, format!("{}: {e}", path.display())))?;
        let sha256 = sha256_of(&path)
            .map_err(|e| Problem::new(code, format!("cannot read {}: {e}", path.display())))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let spec = EncoderSpec {
            name: stem.clone(),
            directory: path.parent().unwrap_or(Path::new("/")).to_path_buf(),
            ports: json!({}),
            preprocessing: json!({ "vectors": file }),
            ..EncoderSpec::default()
        };
        let mut key = Key::default();
        key.add(sha256);
        Self::open(&stem, "vector", spec, None, key, bench)
    }

    /// Opens the adapter and puts its tail behind the model; without a model the tail is the whole encoder.
    fn open(
        name: &str,
        adapter_id: &str,
        spec: EncoderSpec,
        model: Option<&Graph>,
        mut key: Key,
        bench: &Workbench,
    ) -> Result<Self, Problem> {
        let plugin = |e: HostError| Problem::new("chiasm::model::adapter", e.to_string());
        let kind = bench.host.adapter(adapter_id).map_err(plugin)?;
        let takes = kind.takes().map_err(plugin)?;
        let adapter = kind.open(&spec, &bench.services("opening an adapter")).map_err(plugin)?;
        let inputs = adapter.inputs().to_vec();
        let rows = adapter.rows().map_err(plugin)?;
        let tail = adapter.tail().map_err(plugin)?;
        let ports = |e: Error| Problem::new("chiasm::model::ports", e.to_string());
        let graph = match model {
            Some(model) => compose::encoder(name, model, &tail).map_err(ports)?,
            None => tail.clone(),
        };
        check_inputs(name, &graph, &inputs)?;
        let pooled = graph
            .output("pooled")
            .map_err(|e| Problem::new("chiasm::model::ports", format!("model {name:?}: {e}")))?;
        let pooled_dim = pooled.fixed(-1).ok_or_else(|| {
            let message = format!("the width of the pooled vectors of {name:?} is not known: {pooled}");
            Problem::new("chiasm::model::ports", message)
        })?;
        key.add(adapter_id).add(kind.sha256()).add(tail.to_text());
        Ok(Self {
            name: name.to_owned(),
            takes,
            rows,
            inputs,
            graph,
            pooled_dim,
            spec,
            adapter_id: adapter_id.to_owned(),
            card: None,
            files: Vec::new(),
            key,
            adapter,
        })
    }

    /// One raw item as the model's inputs, without a batch axis.
    ///
    /// # Errors
    /// When the item cannot be read; the message names it.
    pub fn prepare(&self, raw: &Raw) -> Result<Vec<Tensor>, HostError> {
        self.adapter.prepare(raw.item())
    }

    /// Width of its tokens; `None` when they are not wanted.
    pub(crate) fn tokens_dim(&self, wanted: bool) -> Result<Option<usize>, Error> {
        if !wanted {
            return Ok(None);
        }
        let port =
            self.graph.output("tokens").map_err(Error::graph(format!("the tokens of {:?}", self.name)))?;
        port.fixed(-1).map(Some).ok_or_else(|| {
            let message = format!("the width of the tokens of {:?} is not known: {port}", self.name);
            Error::input("chiasm::model::ports", message, "export the model with that axis fixed")
        })
    }

    pub(crate) fn report(&self, modality: &str, items: usize) -> EncoderReport {
        let tokens = self.graph.output("tokens").map_or_else(|_| "none".to_owned(), |p| p.type_text());
        EncoderReport {
            modality: modality.to_owned(),
            name: self.name.clone(),
            adapter: self.adapter_id.clone(),
            inputs: self.graph.inputs().iter().map(Port::to_string).collect(),
            tokens,
            pooled: self.pooled_dim,
            opset: self.graph.opset(),
            weight_bytes: self.graph.weight_bytes(),
            items,
            licence: self.card.as_ref().map(|c| c.card.licence.clone()).unwrap_or_default(),
        }
    }
}

fn check_inputs(name: &str, graph: &Graph, made: &[ModelInput]) -> Result<(), Problem> {
    for port in graph.inputs() {
        if made.iter().all(|m| m.name != port.name) {
            let made = made.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(", ");
            let message = format!("model {name:?} wants an input {port}; its adapter makes {made}");
            return Err(Problem::new("chiasm::model::ports", message));
        }
    }
    Ok(())
}

/// Files beside the card or the model that `[preprocessing]` names, such as a tokenizer: part of the encoder.
fn companions(preprocessing: &serde_json::Value, found: &Encoder) -> Vec<(String, PathBuf)> {
    let values = preprocessing.as_object().into_iter().flat_map(|o| o.values());
    let names = values.filter_map(|v| v.as_str()).filter(|s| !s.is_empty());
    names
        .filter_map(|name| {
            let path = folders(found).map(|f| f.join(name)).find(|p| p.is_file())?;
            Some((name.to_owned(), path))
        })
        .collect()
}

fn folders(found: &Encoder) -> impl Iterator<Item = &Path> {
    [&found.card_path, &found.model_path].into_iter().filter_map(|p| p.parent())
}

/// The folder the adapter looks in: where its files are, else the card's.
fn directory_of(files: &[(String, PathBuf)], found: &Encoder) -> PathBuf {
    let of_file = files.first().and_then(|(name, path)| path.ancestors().nth(Path::new(name).iter().count()));
    let folder = of_file.or(found.card_path.parent()).unwrap_or(Path::new(""));
    folder.to_path_buf()
}

fn listed(model: &Graph) -> String {
    let list = |ports: Vec<Port>| ports.iter().map(Port::to_string).collect::<Vec<_>>().join(", ");
    format!("in {}; out {}", list(model.inputs()), list(model.outputs()))
}
