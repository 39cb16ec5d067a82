//! An opened encoder: its card, its adapter, and its graph with the outputs `tokens`, `mask` and `pooled`.

use super::{
    adapted::adapted,
    card::{ModelStore, ResolvedCard},
    companions::{Companion, companions},
    inner,
    joined::{check_inputs, listed, pooled_dim, with_head, with_tail},
    raw::RawItem,
    text_ports::check_no_text,
};
use crate::base::{
    digest::{KeyHasher, hex, model_digest, sha256_of},
    environment::Environment,
    error::Error,
    problem::Problem,
};
use chiasm_graph::{Graph, Port, Tensor};
use chiasm_host::{AdapterInstance, EncoderSpec, HostError, LEFT_OUT, ModelInput, Signature, Takes};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// An opened encoder.
pub struct Encoder {
    /// The name of its card, or the stem of its file of vectors.
    pub name: String,
    /// The kind of raw item that its adapter takes.
    pub takes: Takes,
    /// The number of rows, for a file of vectors.
    pub rows: Option<u64>,
    /// The input tensors that its adapter produces.
    pub inputs: Vec<ModelInput>,
    /// The model joined with the adapter's head, if it has one, and tail. Its outputs are `tokens`, `mask`
    /// and `pooled`.
    pub graph: Graph,
    /// Width of the pooled vectors.
    pub pooled_dim: usize,
    /// Width of the token vectors, if the graph fixes it.
    pub token_dim: Option<usize>,
    /// The specification that its adapter was opened with.
    pub spec: EncoderSpec,
    /// The id of the adapter.
    pub adapter_id: String,
    /// The card; `None` for a file of vectors.
    pub card: Option<ResolvedCard>,
    /// Files that the adapter needs besides the model.
    pub files: Vec<Companion>,
    /// Digest of the model with its external weights, the card's tables, the files above and the tail.
    pub identity: String,
    /// SHA-256 of the plugin's file with the adapter.
    pub adapter_sha256: String,
    adapter: AdapterInstance,
    /// The place of [`LEFT_OUT`] among the tensors of the adapter.
    left_out: Option<usize>,
}

/// An encoder as recorded in a run folder.
pub struct RecordedEncoder<'a> {
    /// The id of the adapter.
    pub adapter: &'a str,
    /// The graph, extracted from the merged model, with the ports of [`Encoder::graph`].
    pub graph: Graph,
    /// The value of [`Encoder::identity`] during the fit.
    pub identity: &'a str,
    /// Width of the pooled vectors.
    pub pooled_dim: usize,
    /// Width of the token vectors.
    pub token_dim: Option<usize>,
}

/// What an encoder is opened from, besides its specification.
struct EncoderSource<'a> {
    name: &'a str,
    adapter: &'a str,
    /// The model; if `None`, the adapter's tail is the whole encoder.
    model: Option<&'a Graph>,
    files: Vec<Companion>,
}

impl Encoder {
    /// Opens the encoder of the card called `name`.
    ///
    /// # Errors
    /// If the card, the model, the adapter or a port is missing or invalid.
    pub fn of_model(name: &str, store: &ModelStore, env: &Environment) -> Result<Self, Problem> {
        Self::of_found(store.find(name)?, env)
    }

    /// Opens the encoder of a card.
    ///
    /// # Errors
    /// As [`Encoder::of_model`].
    pub(super) fn of_found(found: ResolvedCard, env: &Environment) -> Result<Self, Problem> {
        let loaded = Graph::load_with_files(&found.model_path);
        let weights = loaded.as_ref().map_or(&[][..], |(_, weights)| weights);
        let sha256 =
            model_digest(&found.model_path, weights).map_err(|e| unreadable(&found.model_path, &e))?;
        if sha256 != found.card.sha256 {
            return Err(another_file(&found, weights, &sha256, loaded.as_ref().err()));
        }
        let (model, _) = loaded.map_err(|e| {
            Problem::new("chiasm::model::graph", e.to_string()).help("copy or export the file again")
        })?;
        check_no_text(&model)?;
        Self::of_card(found, model, env)
    }

    /// Opens the encoder of a card, whose digest is that of the file `model` was read from.
    ///
    /// # Errors
    /// If the adapter or a port is missing, or the adapter refuses the card.
    pub fn of_card(found: ResolvedCard, model: Graph, env: &Environment) -> Result<Self, Problem> {
        let name = found.card.name.as_str();
        let preprocessing = json!(found.card.preprocessing);
        let (directory, files) = companions(&found)?;
        let about = |p: Problem, model: &Graph| {
            let (card, ports) = (found.card_path.display(), listed(model));
            p.or_help(format!("the card is {card}; the model's ports: {ports}"))
        };
        let (model, ports) = adapted(name, model.clone(), &found.card.ports).map_err(|p| about(p, &model))?;
        let Signature { inputs, outputs, .. } = Signature::of(&model);
        let spec = EncoderSpec {
            name: name.to_owned(),
            directory,
            inputs,
            outputs,
            inner: inner::tensors(&model, &ports),
            ports: json!(ports),
            preprocessing,
        };
        let mut identity = KeyHasher::default();
        identity
            .add(&found.card.sha256)
            .add(json!(found.card.ports).to_string())
            .add(spec.preprocessing.to_string());
        for file in &files {
            identity.add(sha256_of(&file.path).map_err(|e| unreadable(&file.path, &e))?);
        }
        let source = EncoderSource { name, adapter: &found.card.adapter, model: Some(&model), files };
        let mut opened = Self::open(source, spec, identity, env).map_err(|p| about(p, &model))?;
        opened.card = Some(found);
        Ok(opened)
    }

    /// Opens a file of vectors as an encoder. `member` is its array or column, if it has several.
    ///
    /// # Errors
    /// If the file cannot be read or does not hold vectors.
    pub fn of_vectors(path: &Path, member: Option<&str>, env: &Environment) -> Result<Self, Problem> {
        let code = "chiasm::model::vectors";
        let path =
            std::path::absolute(path).map_err(|e| Problem::new(code, format!("{}: {e}", path.display())))?;
        let sha256 = sha256_of(&path)
            .map_err(|e| Problem::new(code, format!("cannot read {}: {e}", path.display())))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let mut preprocessing = json!({ "vectors": file });
        if let Some(member) = member {
            preprocessing["member"] = json!(member);
        }
        let spec = EncoderSpec {
            name: stem.clone(),
            directory: path.parent().unwrap_or(Path::new("/")).to_path_buf(),
            ports: json!({}),
            preprocessing,
            ..EncoderSpec::default()
        };
        let mut identity = KeyHasher::default();
        identity.add(sha256);
        if let Some(member) = member {
            identity.add(member);
        }
        let source = EncoderSource { name: &stem, adapter: "vector", model: None, files: Vec::new() };
        Self::open(source, spec, identity, env)
    }

    /// Opens an encoder of a finished run.
    ///
    /// # Errors
    /// If the adapter is missing or refuses the specification.
    pub fn of_run(
        recorded: RecordedEncoder<'_>,
        spec: EncoderSpec,
        env: &Environment,
    ) -> Result<Self, Error> {
        let RecordedEncoder { adapter: adapter_id, graph, identity, pooled_dim, token_dim } = recorded;
        let OpenedAdapter { takes, inputs, rows, adapter, sha256, left_out } =
            OpenedAdapter::of(adapter_id, &spec, env)?;
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
            left_out,
        })
    }

    /// Opens this encoder again, so that its items are corrupted as the table `corruption` says. Adapters
    /// read it as the key `corruption` of `[preprocessing]`.
    ///
    /// # Errors
    /// If the adapter refuses the table.
    pub fn corrupted(&self, corruption: &Value, env: &Environment) -> Result<Self, HostError> {
        let mut spec = self.spec.clone();
        spec.preprocessing["corruption"] = corruption.clone();
        let opened = OpenedAdapter::of(&self.adapter_id, &spec, env)?;
        Ok(Self {
            name: format!("{}, corrupted", self.name),
            takes: self.takes,
            rows: opened.rows,
            inputs: opened.inputs,
            graph: self.graph.clone(),
            pooled_dim: self.pooled_dim,
            token_dim: self.token_dim,
            spec,
            adapter_id: self.adapter_id.clone(),
            card: None,
            files: Vec::new(),
            identity: format!("{} {corruption}", self.identity),
            adapter: opened.adapter,
            adapter_sha256: opened.sha256,
            left_out: opened.left_out,
        })
    }

    /// Opens the adapter and joins the model with its tail.
    fn open(
        source: EncoderSource<'_>,
        spec: EncoderSpec,
        mut identity: KeyHasher,
        env: &Environment,
    ) -> Result<Self, Problem> {
        let name = source.name;
        let plugin = |e: HostError| Problem::new("chiasm::model::adapter", e.to_string());
        let opened = OpenedAdapter::of(source.adapter, &spec, env).map_err(plugin)?;
        let OpenedAdapter { takes, inputs, rows, adapter, sha256, left_out } = opened;
        let tail = adapter.tail().map_err(plugin)?;
        let ports = |e: Error| Problem::new("chiasm::model::ports", e.to_string());
        let graph = match (source.model, adapter.head()) {
            (Some(model), Some(head)) => {
                let model = with_head(name, head, model).map_err(ports)?;
                with_tail(name, &model, &tail, &inputs).map_err(ports)?
            }
            (Some(model), None) => with_tail(name, model, &tail, &inputs).map_err(ports)?,
            (None, _) => tail.clone(),
        };
        check_inputs(name, &graph, &inputs)?;
        let pooled_dim = pooled_dim(name, &graph)?;
        let token_dim = graph.output("tokens").ok().and_then(|port| port.fixed(-1));
        identity.add(tail.to_text());
        if let Some(head) = adapter.head() {
            identity.add(head.to_text());
        }
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
            left_out,
        })
    }

    /// Returns the model's inputs for one raw item, without a batch axis.
    ///
    /// # Errors
    /// If the item cannot be read. The message names it.
    pub fn prepare(&self, raw: &RawItem) -> Result<Vec<Tensor>, HostError> {
        self.prepare_counted(raw).map(|(tensors, _)| tensors)
    }

    /// Returns the model's inputs for one raw item as [`Encoder::prepare`] does, and how much of the item did
    /// not fit, such as the number of tokens.
    ///
    /// # Errors
    /// As [`Encoder::prepare`].
    pub fn prepare_counted(&self, raw: &RawItem) -> Result<(Vec<Tensor>, u64), HostError> {
        let mut tensors = self.adapter.prepare(raw.item())?;
        let count = self.left_out.filter(|at| *at < tensors.len()).map(|at| tensors.remove(at));
        let count = count.and_then(|count| u64::try_from(*count.as_i64()?.first()?).ok());
        Ok((tensors, count.unwrap_or(0)))
    }

    /// Returns the digest of everything that its vectors depend on, except the items, the engine and the
    /// device.
    pub fn key(&self) -> KeyHasher {
        let mut key = KeyHasher::default();
        key.add(&self.identity).add(&self.adapter_id).add(&self.adapter_sha256);
        key
    }

    /// Returns the width of the token vectors.
    ///
    /// # Errors
    /// If the graph has no tokens, or does not fix that axis.
    pub fn tokens_dim(&self) -> Result<usize, Error> {
        self.token_dim.ok_or_else(|| {
            let message = format!("the width of the token vectors of {:?} is unknown", self.name);
            Error::input("chiasm::model::ports", message, "export the model with a fixed last axis")
        })
    }

    /// Returns the type of the `tokens` output as text.
    pub fn token_type(&self) -> String {
        self.graph.output("tokens").map_or_else(|_| "none".to_owned(), |port| port.type_text())
    }

    /// Returns the input ports as text.
    pub fn input_ports(&self) -> Vec<String> {
        self.graph.inputs().iter().map(Port::to_string).collect()
    }

    /// Returns the licence on the card, or an empty string if there is no card.
    pub fn licence(&self) -> String {
        self.card.as_ref().map(|found| found.card.licence.clone()).unwrap_or_default()
    }
}

/// An opened adapter with its properties.
struct OpenedAdapter {
    takes: Takes,
    inputs: Vec<ModelInput>,
    rows: Option<u64>,
    adapter: AdapterInstance,
    /// Digest of its library.
    sha256: String,
    /// The place of [`LEFT_OUT`] among its tensors.
    left_out: Option<usize>,
}

impl OpenedAdapter {
    fn of(id: &str, spec: &EncoderSpec, env: &Environment) -> Result<Self, HostError> {
        let kind = env.host.adapter(id)?;
        let takes = kind.takes()?;
        let adapter = kind.open(spec, &env.services("opening an adapter", 0))?;
        let (mut inputs, rows) = (adapter.inputs().to_vec(), adapter.rows()?);
        let left_out = inputs.iter().position(|input| input.name == LEFT_OUT);
        left_out.into_iter().for_each(|at| drop(inputs.remove(at)));
        Ok(Self { takes, inputs, rows, adapter, sha256: hex(kind.sha256()), left_out })
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new("chiasm::model::file", format!("cannot read {}: {error}", path.display()))
        .help("copy the file again, or check its permissions")
}

/// The problem that a model, with its files of weights, has another digest than its card. `unread` is why it
/// cannot be read, if it cannot.
fn another_file(
    found: &ResolvedCard,
    weights: &[PathBuf],
    sha256: &str,
    unread: Option<&chiasm_graph::Error>,
) -> Problem {
    let unread = unread.map(|error| format!(" (it cannot be read: {error})")).unwrap_or_default();
    let files: Vec<String> = weights.iter().map(|file| format!(" with {}", file.display())).collect();
    let message = format!(
        "{}{} is not the file that its card describes: sha256 expected {}, got {sha256}{unread}",
        found.model_path.display(),
        files.concat(),
        found.card.sha256
    );
    Problem::new("chiasm::model::sha256", message).help(format!(
        "restore the file, or, if the change is intended, update sha256 in {}",
        found.card_path.display()
    ))
}
