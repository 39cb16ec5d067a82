//! Creating a card for an ONNX file. The adapter that recognises the graph's ports drafts its tables.

use super::{
    adapted::parts,
    card::{ModelCard, ModelStore, ResolvedCard, user_models},
    card_keys::check_keys,
    companions::{file_of, replace_texts, texts},
    encoder::Encoder,
    hub::HubAddress,
    text_ports::check_no_text,
};
use crate::{
    base::{
        digest::model_digest,
        environment::Environment,
        error::Error,
        problem::{Problem, Problems},
        relative_path::{RelativePath, check_name},
        whole_file::write_file,
    },
    recipe::tree,
};
use chiasm_graph::{Graph, Port};
use chiasm_host::{Draft, Host};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Options of [`add_model`].
#[derive(Debug, Clone)]
pub struct AddModelOptions {
    /// The ONNX file or the folder of a model: a path, or an address on the Hugging Face hub,
    /// `hf:ORG/NAME[@REVISION]/PATH.onnx`.
    pub path: PathBuf,
    /// The name of the card. Default: that of the folder, or the stem of the file's name.
    pub name: Option<String>,
    /// The id of the adapter. Default: the one that recognises the ports.
    pub adapter: Option<String>,
    /// The models folder to write into. Default: the user's models folder.
    pub into: Option<PathBuf>,
    /// The model's licence.
    pub licence: String,
    /// `key=value` assignments that change the card.
    pub overrides: Vec<String>,
}

/// A card that [`add_model`] wrote.
#[derive(Debug)]
pub struct AddedModel {
    /// The card.
    pub card: ModelCard,
    /// The path of the card.
    pub path: PathBuf,
    /// How the adapter chose the values, and what it could not determine.
    pub reason: String,
}

/// Returns the model's file in a folder: `model.onnx`, there or in its folder `onnx`, or else the only one.
fn model_in(folder: &Path) -> Result<PathBuf, Error> {
    let places = [folder.to_path_buf(), folder.join("onnx")];
    if let Some(model) = places.iter().map(|place| place.join("model.onnx")).find(|path| path.is_file()) {
        return Ok(model);
    }
    let files = places.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten().flatten();
    let is_model = |path: &PathBuf| path.extension().is_some_and(|own| own == "onnx") && path.is_file();
    let mut models: Vec<PathBuf> = files.map(|entry| entry.path()).filter(is_model).collect();
    models.sort();
    match models.as_slice() {
        [model] => Ok(model.clone()),
        [] => Err(Error::input(
            "chiasm::model::folder",
            format!("there is no .onnx file in {} or its folder onnx", folder.display()),
            "export the model first, for example with `optimum-cli export onnx`",
        )),
        several => {
            let names: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
            Err(Error::input(
                "chiasm::model::folder",
                format!("{} holds several models: {}", folder.display(), names.join(", ")),
                "give the path of one of them",
            ))
        }
    }
}

/// The error that a file holds several encoders and none was chosen.
fn several_encoders(path: &Path, found: &[(String, Draft, Vec<Port>)]) -> Error {
    let list = |ports: &[Port]| ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
    let parts: Vec<String> =
        found.iter().map(|(id, _, inputs)| format!("{id} (inputs {})", list(inputs))).collect();
    Error::input(
        "chiasm::model::several",
        format!("{} holds {} encoders: {}", path.display(), found.len(), parts.join("; ")),
        "add one card for each, with --adapter ID and --name NAME",
    )
}

/// Writes a card for an ONNX file.
///
/// # Errors
/// If the file is not an ONNX model, no adapter recognises it, or a card of that name exists.
pub fn add_model(options: &AddModelOptions, env: &Environment) -> Result<AddedModel, Error> {
    let address = HubAddress::parse(&options.path.to_string_lossy())?;
    let fetched = address.as_ref().map(HubAddress::fetch).transpose()?;
    let given = fetched.as_ref().map_or(&options.path, |f| &f.model);
    let given = std::path::absolute(given).map_err(|e| Error::io("find", given, e))?;
    let path = if given.is_dir() { model_in(&given)? } else { given.clone() };
    let (graph, weights) = Graph::load_with_files(&path).map_err(|e| {
        Problem::new("chiasm::model::graph", e.to_string()).help("give the path of an .onnx file")
    })?;
    check_no_text(&graph)?;
    let sha256 = model_digest(&path, &weights).map_err(|e| Error::io("read", &path, e))?;
    // A folder is usually called like its model, and the file model.onnx.
    let stem = if given.is_dir() { given.file_name() } else { path.file_stem() };
    let stem = stem.unwrap_or_default().to_string_lossy().to_lowercase();
    let name = options.name.clone().unwrap_or(stem);
    check_name(&name).map_err(|what| {
        Error::input("chiasm::model::name", format!("the card: {what}"), "give another name with --name")
    })?;
    let folder = options.into.clone().or_else(user_models).ok_or_else(|| {
        let message = "there is no user's models folder: neither XDG_DATA_HOME nor HOME is set";
        Error::input("chiasm::model::folder", message, "give a folder with --into")
    })?;
    let target = folder.join(&name).join("card.toml");
    if target.exists() {
        let message = format!("the card {} already exists", target.display());
        return Err(Error::input(
            "chiasm::model::exists",
            message,
            format!("choose another --name, or remove that card with `chiasm model remove {name}`"),
        ));
    }
    let companions = fetched.map(|f| f.companions).unwrap_or_default();
    let beside = copy_companions(&companions, &target)?;
    let directory = if beside { &target } else { &path }.parent().unwrap_or(Path::new(""));
    let (adapter, mut draft) = recognise(&graph, &path, directory, options.adapter.as_deref(), env)?;
    decided(&draft, &options.overrides)?;
    gather(&mut draft, directory, &target)?;
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
    let card: ModelCard = serde_json::from_value(card)
        .map_err(|e| Error::Internal(format!("the draft of {adapter:?} is not a valid card: {e}")))?;
    let card = with_overrides(card, &options.overrides, &env.host)?;
    let found = ResolvedCard { card, card_path: target, model_path: path };
    let reason = opened(&found, graph, draft.reason, options.overrides.is_empty(), env)?;
    let ResolvedCard { card, card_path, .. } = found;
    write(&card, &card_path)?;
    Ok(AddedModel { card, path: card_path, reason })
}

/// Opens the encoder of a new card. If that fails and the card is a draft, what is missing is a file such
/// as the tokenizer: it is added to the reason.
fn opened(
    found: &ResolvedCard,
    graph: Graph,
    mut reason: String,
    drafted: bool,
    env: &Environment,
) -> Result<String, Error> {
    match Encoder::of_card(found.clone(), graph, env) {
        Ok(_) => Ok(reason),
        Err(problem) if drafted => {
            reason.push_str(&format!("\nthe card cannot be used yet: {problem}; CHECK"));
            Ok(reason)
        }
        Err(problem) => Err(problem.into()),
    }
}

/// Describes the origin of a hub model.
fn source(address: HubAddress) -> String {
    let HubAddress { repository, revision, file } = address;
    format!("{repository} ({revision}) of the Hugging Face hub, {file}")
}

/// Copies the companion files of a hub model into the card's folder, which adapters search first. Returns
/// whether there are any.
fn copy_companions(companions: &[(String, PathBuf)], card: &Path) -> Result<bool, Error> {
    for (name, companion) in companions {
        let target = card.with_file_name(name);
        let folder = target.parent().unwrap_or(Path::new(""));
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        std::fs::copy(companion, &target).map_err(|e| Error::io("copy", companion, e))?;
    }
    Ok(!companions.is_empty())
}

/// Copies the files of a draft into the card's folder if one of them is outside the model's folder, where a
/// card may not name it: models in a folder such as `onnx` have their tokenizer one folder up.
fn gather(draft: &mut Draft, directory: &Path, card: &Path) -> Result<(), Error> {
    let named = texts(&draft.preprocessing, &draft.ports);
    if named.iter().all(|text| file_of(text, directory).is_ok()) {
        return Ok(());
    }
    let mut copied = Vec::new();
    for text in named {
        let (path, below) = (directory.join(text), text.trim_start_matches("../"));
        if let Some(name) = RelativePath::new(below).ok().filter(|_| path.is_file()) {
            copied.push((name.as_str().to_owned(), path));
        }
    }
    copy_companions(&copied, card)?;
    let (Draft { preprocessing, ports, .. }, copied) = (draft, &copied);
    replace_texts(preprocessing, ports, &|text| {
        let is_of = |(_, path): &&(String, PathBuf)| *path == directory.join(text);
        copied.iter().find(is_of).map(|(name, _)| name.clone())
    });
    Ok(())
}

fn recognise(
    graph: &Graph,
    path: &Path,
    directory: &Path,
    wanted: Option<&str>,
    env: &Environment,
) -> Result<(String, Draft), Error> {
    let ids: Vec<String> = match wanted {
        Some(id) => vec![id.to_owned()],
        None => env.host.ids("adapter").into_iter().map(str::to_owned).collect(),
    };
    let signature = chiasm_host::Signature::of(graph);
    let mut found = Vec::new();
    for part in parts(graph) {
        let signature = chiasm_host::Signature::of(&part);
        for id in &ids {
            if let Some(draft) = env.host.adapter(id)?.draft(&signature, directory)? {
                found.push((id.clone(), draft, part.inputs()));
                break;
            }
        }
    }
    match found.as_slice() {
        [] => {}
        [(id, draft, _)] => return Ok((id.clone(), draft.clone())),
        several => return Err(several_encoders(path, several)),
    }
    for id in &ids {
        if let Some(draft) = env.host.adapter(id)?.draft(&signature, directory)? {
            return Ok((id.clone(), draft));
        }
    }
    let list = |ports: Vec<Port>| ports.iter().map(Port::to_string).collect::<Vec<_>>().join(", ");
    let message = format!(
        "no adapter recognises {} (inputs {}; outputs {}); tried: {}",
        path.display(),
        list(graph.inputs()),
        list(graph.outputs()),
        ids.join(", ")
    );
    let help = "write models/NAME/card.toml by hand (`chiasm explain card` lists its keys), or install a \
                plugin with an adapter for it";
    Err(Error::input("chiasm::model::not_recognised", message, help))
}

/// Returns an error if the draft leaves a key to the user that no `--set` assignment sets.
fn decided(draft: &Draft, overrides: &[String]) -> Result<(), Problems> {
    let set: Vec<&str> =
        overrides.iter().filter_map(|one| one.split_once('=')).map(|(key, _)| key.trim()).collect();
    let mut problems = Problems::default();
    for undecided in draft.undecided.iter().filter(|undecided| !set.contains(&undecided.key.as_str())) {
        let problem = Problem::new("chiasm::model::undecided", undecided.reason.clone());
        problems.push(problem.help(format!("set the key with --set '{}=...'", undecided.key)));
    }
    problems.or(Some(()))
}

fn with_overrides(card: ModelCard, overrides: &[String], host: &Host) -> Result<ModelCard, Error> {
    let text =
        toml::to_string(&card).map_err(|e| Error::Internal(format!("cannot format a card as TOML: {e}")))?;
    let (mut table, _) = tree::parse("card.toml", &text)?;
    for assignment in overrides {
        tree::set(&mut table, assignment)?;
    }
    check_keys(&table, host)?;
    let value = tree::TomlValue::Table(table).to_json();
    serde_json::from_value(value).map_err(|e| {
        Error::input(
            "chiasm::model::card",
            format!("with the --set assignments, the card is invalid: {e}"),
            "check the keys and values of --set",
        )
    })
}

fn write(card: &ModelCard, target: &Path) -> Result<(), Error> {
    let text =
        toml::to_string(card).map_err(|e| Error::Internal(format!("cannot format a card as TOML: {e}")))?;
    let folder = target.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    write_file(target, text.as_bytes())
}

/// Returns a card, its files and the ports of its model, as JSON.
///
/// # Errors
/// If there is no such card, or its model cannot be opened.
pub fn inspect_model(name: &str, store: &ModelStore, env: &Environment) -> Result<serde_json::Value, Error> {
    let encoder = Encoder::of_model(name, store, env)?;
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
