//! Making a card for a local model: ports from its graph, meaning from the adapter that recognises them.

use super::{
    card::{Card, ModelStore, user_models},
    encoder::Encoder,
    hub::Address,
};
use crate::{
    base::{digest::sha256_of, error::Error, problem::Problem, workbench::Workbench},
    recipe::tree,
};
use chiasm_graph::{Graph, Port};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What `model add` is told.
#[derive(Debug, Clone)]
pub struct AddOptions {
    /// The ONNX file: a path, or an address on the Hugging Face hub, `hf:ORG/NAME@REVISION/PATH.onnx` (the
    /// revision may be left out).
    pub path: PathBuf,
    /// The name recipes will use; the file's stem unless said.
    pub name: Option<String>,
    /// The adapter; the one that recognises the ports unless said.
    pub adapter: Option<String>,
    /// The models folder to write into; the user's own unless said.
    pub into: Option<PathBuf>,
    /// The model's licence.
    pub licence: String,
    /// `key=value` changes to the card.
    pub overrides: Vec<String>,
}

/// A card that was written, and why it says what it says.
#[derive(Debug)]
pub struct Added {
    /// The card.
    pub card: Card,
    /// Where it was written.
    pub path: PathBuf,
    /// The adapter's reasons and what it could not know.
    pub reason: String,
}

/// Writes the card of a local model.
///
/// # Errors
/// When the file is no ONNX model, no adapter recognises it, or a card of that name is there already.
pub fn add(options: &AddOptions, bench: &Workbench) -> Result<Added, Error> {
    let address = Address::parse(&options.path.to_string_lossy())?;
    let fetched = address.as_ref().map(Address::fetch).transpose()?;
    let given = fetched.as_ref().map_or(&options.path, |f| &f.model);
    let path = std::path::absolute(given).map_err(|e| Error::io("find", given, e))?;
    let graph = Graph::load(&path).map_err(|e| {
        Problem::new("chiasm::model::graph", e.to_string()).help("give the path of an .onnx file")
    })?;
    let sha256 = sha256_of(&path).map_err(|e| Error::io("read", &path, e))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = options.name.clone().unwrap_or(stem);
    let folder = options.into.clone().or_else(user_models).ok_or_else(|| {
        Error::input("chiasm::model::folder", "the user's models folder is not known", "name one with --into")
    })?;
    let target = folder.join(&name).join("card.toml");
    if target.exists() {
        let message = format!("there is a card at {} already", target.display());
        return Err(Error::input(
            "chiasm::model::exists",
            message,
            "choose another --name, or remove that card",
        ));
    }
    let companions = fetched.map(|f| f.companions).unwrap_or_default();
    let beside = bring(&companions, &target)?;
    let directory = if beside { target.parent() } else { path.parent() };
    let directory = directory.unwrap_or(Path::new(""));
    let (adapter, draft) = recognise(&graph, &path, directory, options.adapter.as_deref(), bench)?;
    let card = json!({
        "name": name,
        "adapter": adapter,
        "model": path,
        "sha256": sha256,
        "licence": options.licence,
        "source": address.map(source).unwrap_or_default(),
        "ports": draft.ports,
        "preprocessing": draft.preprocessing,
    });
    let card: Card = serde_json::from_value(card)
        .map_err(|e| Error::Internal(format!("the draft of {adapter:?} is not a card: {e}")))?;
    let card = with_overrides(card, &options.overrides)?;
    write(&card, &target)?;
    Ok(Added { card, path: target, reason: draft.reason })
}

/// Where a hub model is from, in words.
fn source(address: Address) -> String {
    let Address { repository, revision, file } = address;
    format!("{repository} ({revision}) of the Hugging Face hub, {file}")
}

/// Copies what came with a hub model beside its card, where adapters look first; whether there was anything.
fn bring(companions: &[PathBuf], card: &Path) -> Result<bool, Error> {
    let folder = card.parent().unwrap_or(Path::new(""));
    for companion in companions {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        let target = folder.join(companion.file_name().unwrap_or_default());
        std::fs::copy(companion, &target).map_err(|e| Error::io("copy", companion, e))?;
    }
    Ok(!companions.is_empty())
}

fn recognise(
    graph: &Graph,
    path: &Path,
    directory: &Path,
    wanted: Option<&str>,
    bench: &Workbench,
) -> Result<(String, chiasm_host::Draft), Error> {
    let ids: Vec<String> = match wanted {
        Some(id) => vec![id.to_owned()],
        None => bench.host.ids("adapter").into_iter().map(str::to_owned).collect(),
    };
    let signature = chiasm_host::Signature::of(graph);
    for id in &ids {
        if let Some(draft) = bench.host.adapter(id)?.draft(&signature, directory)? {
            return Ok((id.clone(), draft));
        }
    }
    let list = |ports: Vec<Port>| ports.iter().map(Port::to_string).collect::<Vec<_>>().join(", ");
    let message = format!(
        "no adapter recognises {} (in {}; out {}); asked: {}",
        path.display(),
        list(graph.inputs()),
        list(graph.outputs()),
        ids.join(", ")
    );
    let help = "write models/<name>/card.toml by hand, or bring a plugin with an adapter for it";
    Err(Error::input("chiasm::model::not_recognised", message, help))
}

fn with_overrides(card: Card, overrides: &[String]) -> Result<Card, Error> {
    let text =
        toml::to_string(&card).map_err(|e| Error::Internal(format!("a card that is not TOML: {e}")))?;
    let (mut table, _) = tree::parse("card.toml", &text)?;
    for assignment in overrides {
        tree::set(&mut table, assignment)?;
    }
    let value = tree::Value::Table(table).to_json();
    serde_json::from_value(value).map_err(|e| {
        Error::input(
            "chiasm::model::card",
            format!("with --set, this is not a card: {e}"),
            "look at the keys of --set",
        )
    })
}

fn write(card: &Card, target: &Path) -> Result<(), Error> {
    let text = toml::to_string(card).map_err(|e| Error::Internal(format!("a card that is not TOML: {e}")))?;
    let folder = target.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    let temporary = target.with_extension("tmp");
    std::fs::write(&temporary, text).map_err(|e| Error::io("write", &temporary, e))?;
    std::fs::rename(&temporary, target).map_err(|e| Error::io("move", &temporary, e))
}

/// A card, its files and its model's ports, as JSON.
///
/// # Errors
/// When there is no such card, or its model cannot be read.
pub fn inspect(name: &str, store: &ModelStore, bench: &Workbench) -> Result<serde_json::Value, Error> {
    let encoder = Encoder::of_model(name, store, bench)?;
    let card = encoder.card.as_ref();
    Ok(json!({
        "name": name,
        "card": card.map(|c| &c.card_path),
        "model": card.map(|c| &c.model_path),
        "sha256": card.map(|c| &c.card.sha256),
        "licence": encoder.licence(),
        "source": card.map(|c| &c.card.source),
        "adapter": encoder.adapter_id,
        "takes": encoder.takes,
        "inputs": encoder.input_ports(),
        "tokens": encoder.token_type(),
        "pooled": encoder.pooled_dim,
        "opset": encoder.graph.opset(),
        "weight_bytes": encoder.graph.weight_bytes(),
        "preprocessing": encoder.spec.preprocessing,
    }))
}
