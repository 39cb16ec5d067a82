//! One encoder, opened: its card, its adapter, and its graph with the outputs `tokens`, `mask` and `pooled`.

use super::{
    card::{FoundCard, ModelStore},
    raw::Raw,
    tail::with_tail,
};
use crate::base::{
    digest::{Key, hex, sha256_of},
    error::Error,
    problem::Problem,
    workbench::Workbench,
};
use chiasm_graph::{Graph, Port, Tensor};
use chiasm_host::{Adapter, EncoderSpec, HostError, ModelInput, Signature, Takes};
use serde_json::json;
use std::path::{Path, PathBuf};

/// An encoder that can run.
pub struct Encoder {
    /// Its name: the card's, or the file's.
    pub name: String,
    /// What its adapter takes.
    pub takes: Takes,
    /// The rows there are, for a file of vectors.
    pub rows: Option<u64>,
    /// The tensors its adapter makes.
    pub inputs: Vec<ModelInput>,
    /// Model and tail: outputs `tokens`, `mask` and `pooled`.
    pub graph: Graph,
    /// Width of its pooled vectors.
    pub pooled_dim: usize,
    /// Width of its tokens' vectors, where the graph states it.
    pub token_dim: Option<usize>,
    /// What its adapter was opened with.
    pub spec: EncoderSpec,
    /// The adapter's id.
    pub adapter_id: String,
    /// Its card; none for a file of vectors.
    pub card: Option<FoundCard>,
    /// Files that its adapter needs besides the model: name in the folder, and where.
    pub files: Vec<(String, PathBuf)>,
    /// Digest of the model with its external weights, the card's tables, the files beside it and the tail.
    pub identity: String,
    adapter: Adapter,
    adapter_sha256: String,
}

/// An encoder as a run recorded it.
pub struct Recorded<'a> {
    /// The adapter's id.
    pub adapter: &'a str,
    /// Its graph, cut out of the merged model, with the ports of [`Encoder::graph`].
    pub graph: Graph,
    /// [`Encoder::identity`] when it was fitted.
    pub identity: &'a str,
    /// Width of its pooled vectors.
    pub pooled_dim: usize,
    /// Width of its tokens' vectors.
    pub token_dim: Option<usize>,
}

/// What an encoder is opened from, beside its specification.
struct Source<'a> {
    name: &'a str,
    adapter: &'a str,
    /// The model; without one the adapter's tail is the whole encoder.
    model: Option<&'a Graph>,
    files: Vec<(String, PathBuf)>,
}

impl Encoder {
    /// The encoder of a card.
    ///
    /// # Errors
    /// When the card, the model, the adapter or a port is missing or not right.
    pub fn of_model(name: &str, store: &ModelStore, bench: &Workbench) -> Result<Self, Problem> {
        let found = store.find(name)?;
        let sha256 = file_digest(&found.model_path)?;
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
        let mut identity = Key::default();
        identity.add(&sha256).add(spec.ports.to_string()).add(spec.preprocessing.to_string());
        // the file's own digest does not cover weights that are kept in files beside it
        model.weight_hashes().values().for_each(|hash| {
            identity.add(hash);
        });
        for (_, path) in &files {
            identity.add(file_digest(path)?);
        }
        let source = Source { name, adapter: &found.card.adapter, model: Some(&model), files };
        let mut opened = Self::open(source, spec, identity, bench).map_err(|p| {
            p.help(format!(
                "the card is {}; the model's ports: {}",
                found.card_path.display(),
                listed(&model)
            ))
        })?;
        opened.card = Some(found);
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
        let mut identity = Key::default();
        identity.add(sha256);
        let source = Source { name: &stem, adapter: "vector", model: None, files: Vec::new() };
        Self::open(source, spec, identity, bench)
    }

    /// An encoder of a finished run.
    ///
    /// # Errors
    /// When the adapter is not there or refuses the specification.
    pub fn of_run(recorded: Recorded<'_>, spec: EncoderSpec, bench: &Workbench) -> Result<Self, Error> {
        let Recorded { adapter: adapter_id, graph, identity, pooled_dim, token_dim } = recorded;
        let Opened { takes, inputs, rows, adapter, sha256 } = Opened::of(adapter_id, &spec, bench)?;
        Ok(Self {
            name: spec.name.clone(),
            takes,
            rows,
            inputs,
            graph,
            pooled_dim,
            token_dim,
            spec,
            adapter_id: adapter_id.to_owned(),
            card: None,
            files: Vec::new(),
            identity: identity.to_owned(),
            adapter,
            adapter_sha256: sha256,
        })
    }

    /// Opens the adapter and puts its tail behind the model.
    fn open(
        source: Source<'_>,
        spec: EncoderSpec,
        mut identity: Key,
        bench: &Workbench,
    ) -> Result<Self, Problem> {
        let name = source.name;
        let plugin = |e: HostError| Problem::new("chiasm::model::adapter", e.to_string());
        let opened = Opened::of(source.adapter, &spec, bench).map_err(plugin)?;
        let Opened { takes, inputs, rows, adapter, sha256 } = opened;
        let tail = adapter.tail().map_err(plugin)?;
        let ports = |e: Error| Problem::new("chiasm::model::ports", e.to_string());
        let graph = match source.model {
            Some(model) => with_tail(name, model, &tail).map_err(ports)?,
            None => tail.clone(),
        };
        check_inputs(name, &graph, &inputs)?;
        let pooled_dim = pooled_dim(name, &graph)?;
        let token_dim = graph.output("tokens").ok().and_then(|port| port.fixed(-1));
        identity.add(tail.to_text());
        Ok(Self {
            name: name.to_owned(),
            takes,
            rows,
            inputs,
            graph,
            pooled_dim,
            token_dim,
            spec,
            adapter_id: source.adapter.to_owned(),
            card: None,
            files: source.files,
            identity: identity.finish(),
            adapter,
            adapter_sha256: sha256,
        })
    }

    /// One raw item as the model's inputs, without a batch axis.
    ///
    /// # Errors
    /// When the item cannot be read; the message names it.
    pub fn prepare(&self, raw: &Raw) -> Result<Vec<Tensor>, HostError> {
        self.adapter.prepare(raw.item())
    }

    /// Digest of everything that its vectors depend on, but the items, the engine and the device.
    pub fn key(&self) -> Key {
        let mut key = Key::default();
        key.add(&self.identity).add(&self.adapter_id).add(&self.adapter_sha256);
        key
    }

    /// Width of its tokens.
    ///
    /// # Errors
    /// When the graph has none, or leaves that axis free.
    pub fn tokens_dim(&self) -> Result<usize, Error> {
        self.token_dim.ok_or_else(|| {
            let message = format!("the width of the tokens of {:?} is not known", self.name);
            Error::input("chiasm::model::ports", message, "export the model with that axis fixed")
        })
    }

    /// The type of its tokens in words.
    pub fn token_type(&self) -> String {
        self.graph.output("tokens").map_or_else(|_| "none".to_owned(), |port| port.type_text())
    }

    /// Its input ports in words.
    pub fn input_ports(&self) -> Vec<String> {
        self.graph.inputs().iter().map(Port::to_string).collect()
    }

    /// The licence that its card states; empty without a card.
    pub fn licence(&self) -> String {
        self.card.as_ref().map(|found| found.card.licence.clone()).unwrap_or_default()
    }
}

/// An adapter that was opened, with what it says of itself.
struct Opened {
    takes: Takes,
    inputs: Vec<ModelInput>,
    rows: Option<u64>,
    adapter: Adapter,
    /// Digest of its library.
    sha256: String,
}

impl Opened {
    fn of(id: &str, spec: &EncoderSpec, bench: &Workbench) -> Result<Self, HostError> {
        let kind = bench.host.adapter(id)?;
        let takes = kind.takes()?;
        let adapter = kind.open(spec, &bench.services("opening an adapter", 0))?;
        let (inputs, rows) = (adapter.inputs().to_vec(), adapter.rows()?);
        Ok(Self { takes, inputs, rows, adapter, sha256: hex(kind.sha256()) })
    }
}

fn file_digest(path: &Path) -> Result<String, Problem> {
    sha256_of(path).map_err(|e| {
        Problem::new("chiasm::model::file", format!("cannot read {}: {e}", path.display()))
            .help("bring the file again, or look at its permissions")
    })
}

fn pooled_dim(name: &str, graph: &Graph) -> Result<usize, Problem> {
    let code = "chiasm::model::ports";
    let pooled = graph.output("pooled").map_err(|e| Problem::new(code, format!("model {name:?}: {e}")))?;
    pooled.fixed(-1).ok_or_else(|| {
        let message = format!("the width of the pooled vectors of {name:?} is not known: {pooled}");
        Problem::new(code, message).help("export the model with that axis fixed")
    })
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
fn companions(preprocessing: &serde_json::Value, found: &FoundCard) -> Vec<(String, PathBuf)> {
    let values = preprocessing.as_object().into_iter().flat_map(|o| o.values());
    let names = values.filter_map(|v| v.as_str()).filter(|s| !s.is_empty());
    names
        .filter_map(|name| {
            let path = folders(found).map(|f| f.join(name)).find(|p| p.is_file())?;
            Some((name.to_owned(), path))
        })
        .collect()
}

fn folders(found: &FoundCard) -> impl Iterator<Item = &Path> {
    [&found.card_path, &found.model_path].into_iter().filter_map(|p| p.parent())
}

/// The folder the adapter looks in: where its files are, else the card's.
fn directory_of(files: &[(String, PathBuf)], found: &FoundCard) -> PathBuf {
    let of_file = files.first().and_then(|(name, path)| path.ancestors().nth(Path::new(name).iter().count()));
    let folder = of_file.or(found.card_path.parent()).unwrap_or(Path::new(""));
    folder.to_path_buf()
}

fn listed(model: &Graph) -> String {
    let list = |ports: Vec<Port>| ports.iter().map(Port::to_string).collect::<Vec<_>>().join(", ");
    format!("in {}; out {}", list(model.inputs()), list(model.outputs()))
}
