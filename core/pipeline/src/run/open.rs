//! Opening a run folder. A fit measures its own results through an opened run as well.
//!
//! Running and exporting need only the run folder. Measuring, checking and searching also need the data that
//! the recipe names. All files are compared with the digests in the manifest when the run is opened.

use super::{
    check::{CheckInputs, RowLabels, RunChecks, check_maps},
    files::{
        self, EncoderManifest, FUSION, LEARNED, LOCK, LearnedFile, MODEL, ModalityManifest, RECIPE,
        RecipeLock, RunManifest,
    },
    graphs::{EncoderPlace, Head, extract_encoder},
    model::{AlignedItems, LearnedModel},
};
use crate::{
    base::{
        digest::{hex, sha256_of},
        environment::Environment,
        error::Error,
        problem::did_you_mean,
    },
    catalog::{
        companions::{file_of, texts},
        dataset::Split,
        encoder::{Encoder, RecordedEncoder},
    },
    embed::{EmbedRequest, EmbeddedItems},
    plan::{
        ModalityEncoders,
        data::{ModalityColumn, RecipeData},
    },
    recipe::{Recipe, checks::ChecksRecipe, encoders::ItemRule},
};
use chiasm_check::CheckSettings;
use chiasm_graph::{Graph, Storage};
use chiasm_host::{EncoderSpec, Inverse, Takes};
use ndarray::Array2;
use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

/// An opened run: its files were verified and its adapters are open.
pub struct Run<'a> {
    /// The manifest.
    pub manifest: RunManifest,
    pub(super) folder: PathBuf,
    /// The modalities, with encoders extracted from the merged model.
    pub(super) modalities: Arc<Vec<ModalityEncoders>>,
    /// The merged model, `model.onnx`.
    pub(super) merged: Graph,
    /// The heads, inverses and fusion.
    pub(super) model: LearnedModel,
    /// The parameters that the aligner chose, and its notes.
    pub(super) learned: LearnedFile,
    pub(super) env: &'a Environment,
    recipe: Recipe,
    data: OnceLock<RecipeData>,
    held_out: OnceLock<HeldOut>,
    /// The storage of the weights of all graphs; `None` for that of the fit.
    storage: Option<Storage>,
}

/// The outputs for some raw items: a matrix per output name, with one row per item.
pub type RunOutputs = BTreeMap<String, Array2<f32>>;

/// The test items, embedded and aligned.
pub(super) struct HeldOut {
    pub embedded: Vec<EmbeddedItems>,
    pub aligned: Vec<AlignedItems>,
}

impl<'a> Run<'a> {
    /// Opens a run folder.
    ///
    /// # Errors
    /// If it is not a run folder, a file is missing or was changed, or an adapter is missing.
    pub fn open(folder: &Path, env: &'a Environment) -> Result<Self, Error> {
        Self::open_stored(folder, None, env)
    }

    /// Opens a run folder. If `storage` is given, the weights of all graphs are converted to it.
    ///
    /// # Errors
    /// As [`Run::open`].
    pub fn open_stored(folder: &Path, storage: Option<Storage>, env: &'a Environment) -> Result<Self, Error> {
        let manifest = files::read_manifest(folder)?;
        manifest.verify(folder)?;
        note_engine(&manifest, env)?;
        let recipe = read_recipe(folder, &[])?;
        let learned: LearnedFile = files::read_json(folder, LEARNED)?;
        let part = |name: &str| load(folder, name, storage);
        let merged = part(MODEL)?;
        let fusion = manifest.fused.as_ref().map(|_| part(FUSION)).transpose()?;
        let (mut heads, mut inverses) = (Vec::new(), Vec::new());
        for modality in &manifest.modalities {
            let name = &modality.name;
            heads.push(Head { modality: name.clone(), graph: part(&files::head(name))? });
            let kind = learned.inverses.get(name);
            let inverse =
                kind.map(|kind| Ok::<_, Error>(Inverse { graph: part(&files::inverse(name))?, kind: *kind }));
            inverses.push(inverse.transpose()?);
        }
        let model = LearnedModel { heads, inverses, fusion, task: manifest.task.clone() };
        let modalities = (manifest.modalities.iter())
            .map(|modality| {
                let encoder = recipe.encoder(&modality.name);
                let rules = encoder.map(|e| [e.items.value, e.train_items.value]).unwrap_or_default();
                let source = RunSource { folder, merged: &merged, storage };
                open_modality(&source, modality, rules, &model.token_ports(&modality.name), env)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let folder = folder.to_path_buf();
        let (data, held_out) = (OnceLock::new(), OnceLock::new());
        Ok(Self {
            manifest,
            folder,
            modalities: Arc::new(modalities),
            merged,
            model,
            learned,
            env,
            recipe,
            data,
            held_out,
            storage,
        })
    }

    /// Returns the names of the modalities, in order.
    pub fn names(&self) -> Vec<&str> {
        self.modalities.iter().map(|modality| modality.name.as_str()).collect()
    }

    /// Returns the kind of raw item that a modality takes.
    ///
    /// # Errors
    /// If the run has no such modality.
    pub fn takes(&self, modality: &str) -> Result<Takes, Error> {
        let at = self.place(modality)?;
        Ok(self.modalities[at].encoders.first().map_or(Takes::Row, |encoder| encoder.takes))
    }

    /// Returns the index of a modality.
    ///
    /// # Errors
    /// If the run has no such modality.
    pub fn place(&self, modality: &str) -> Result<usize, Error> {
        self.modalities.iter().position(|own| own.name == modality).ok_or_else(|| {
            let help = did_you_mean(modality, self.names());
            let help = help.unwrap_or_else(|| format!("its modalities are {}", self.names().join(", ")));
            Error::input("chiasm::run::modality", format!("the run has no modality {modality:?}"), help)
        })
    }

    /// Checks the maps of the run on its test items. `overrides` are `--set` assignments of `checks.*`.
    ///
    /// # Errors
    /// If the data or an item cannot be read, or an assignment is invalid.
    pub fn check(&self, overrides: &[String]) -> Result<RunChecks, Error> {
        let checks: ChecksRecipe = read_recipe(&self.folder, overrides)?.checks;
        let data = self.data()?;
        let held_out = self.held_out()?;
        let train = match &checks.labels {
            Some(_) => self.embed(data, &data.dataset.rows_of(Split::Train), true)?,
            None => Vec::new(),
        };
        let labels = checks.labels.as_ref().map(|column| RowLabels::new(data.dataset.values(&column.value)));
        let items = CheckInputs {
            test: &held_out.embedded,
            aligned: &held_out.aligned,
            spanned: &self.learned.spanned,
            labelled: labels.map(|labels| (labels, train.as_slice())),
        };
        let settings = CheckSettings { seed: self.manifest.seed, ..checks.settings };
        check_maps(&self.model, &items, &settings, self.env)
    }

    /// Returns the data of the run, without the items that the fit skipped. It is read once.
    ///
    /// # Errors
    /// If it cannot be read, or does not match the recipe.
    pub fn data(&self) -> Result<&RecipeData, Error> {
        if let Some(data) = self.data.get() {
            return Ok(data);
        }
        let columns: Vec<ModalityColumn<'_>> = self.modalities.iter().map(ModalityColumn::of).collect();
        let data = RecipeData::read(&self.recipe, &columns, self.manifest.task.as_ref())?;
        self.note_changed_data()?;
        let skipped: HashSet<(&str, &str, usize)> = self
            .manifest
            .rows
            .skipped
            .iter()
            .map(|s| (s.row.as_str(), s.modality.as_str(), s.item))
            .collect();
        let left_out = |row: &str, modality: &str, item: usize| skipped.contains(&(row, modality, item));
        let data = if skipped.is_empty() { data } else { data.without(&self.names(), &left_out) };
        Ok(self.data.get_or_init(|| data))
    }

    /// Reports if the data file has changed since the fit. The current file is used in any case.
    fn note_changed_data(&self) -> Result<(), Error> {
        let Some(file) = &self.recipe.data.pairs else { return Ok(()) };
        let path = self.recipe.path(&file.value);
        let digest = sha256_of(&path).map_err(|e| Error::io("read", &path, e))?;
        if self.manifest.inputs.get("pairs").is_some_and(|fitted| *fitted != digest) {
            self.env.reporter.note(&format!(
                "{} has changed since the fit: its test rows may be different ones",
                path.display()
            ));
        }
        Ok(())
    }

    /// Returns the test items. They are embedded once.
    pub(super) fn held_out(&self) -> Result<&HeldOut, Error> {
        if let Some(held_out) = self.held_out.get() {
            return Ok(held_out);
        }
        let data = self.data()?;
        let embedded = self.embed(data, &data.dataset.rows_of(Split::Test), false)?;
        let aligned = self.model.align_all(&embedded, self.env)?;
        Ok(self.held_out.get_or_init(|| HeldOut { embedded, aligned }))
    }

    /// Embeds the items of some rows.
    pub(super) fn embed(
        &self,
        data: &RecipeData,
        rows: &[usize],
        training: bool,
    ) -> Result<Vec<EmbeddedItems>, Error> {
        let request = EmbedRequest {
            modalities: &self.modalities,
            items: &data.items,
            ids: &data.dataset.ids,
            tokens: &|name| self.model.token_ports(name).contains(&"tokens"),
            skip_bad: false,
            training,
        };
        Ok(request.embed(rows, self.env)?.0)
    }

    /// Returns the recipe of the run.
    pub(super) fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Loads a graph of the run.
    pub(super) fn part(&self, name: &str) -> Result<Graph, Error> {
        load(&self.folder, name, self.storage)
    }
}

/// Reports if ONNX Runtime is another one than during the fit. That is no error: the merged model runs
/// wherever ONNX runs.
fn note_engine(manifest: &RunManifest, env: &Environment) -> Result<(), Error> {
    let (fitted, now) = (&manifest.engine, env.engine_identity()?);
    let changed = |digest: &String| Ok::<_, Error>(*digest != env.engine_digest()?);
    let what = if now != *fitted {
        format!("with {fitted}, and this is {now}")
    } else if manifest.inputs.get("engine").map(changed).transpose()? == Some(true) {
        format!("with another file of {fitted}")
    } else {
        return Ok(());
    };
    env.reporter.note(&format!("the run was fitted {what}: outputs may differ in their last digits"));
    Ok(())
}

fn load(folder: &Path, name: &str, storage: Option<Storage>) -> Result<Graph, Error> {
    let path = files::path_in(folder, name)?;
    let graph = Graph::load(&path).map_err(Error::graph(path.display().to_string()))?;
    Ok(match storage {
        Some(storage) => graph.stored_as(storage),
        None => graph,
    })
}

/// Reads the recipe of a run and applies further `--set` assignments.
///
/// # Errors
/// If a file cannot be read, or the recipe or an assignment is invalid.
pub(super) fn read_recipe(folder: &Path, more: &[String]) -> Result<Recipe, Error> {
    let lock: RecipeLock = files::read_json(folder, LOCK)?;
    let path = files::path_in(folder, RECIPE)?;
    let bytes = chiasm_host::read_file(&path, files::MAX_TEXT).map_err(|e| Error::io("read", &path, e))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let overrides = [&lock.overrides[..], more].concat();
    Ok(Recipe::parse(RECIPE, text, lock.folder, &overrides)?)
}

/// The run folder and merged model that encoders are opened from.
struct RunSource<'a> {
    folder: &'a Path,
    merged: &'a Graph,
    storage: Option<Storage>,
}

fn open_modality(
    source: &RunSource<'_>,
    manifest: &ModalityManifest,
    [rule, train_rule]: [ItemRule; 2],
    ports: &[&str],
    env: &Environment,
) -> Result<ModalityEncoders, Error> {
    let mut encoders = Vec::new();
    for (at, recorded) in manifest.encoders.iter().enumerate() {
        let mut spec = recorded.spec.clone();
        match &recorded.folder {
            Some(folder) if spec.directory.as_os_str().is_empty() => {
                let whole = source.folder.join(folder.as_str());
                spec.directory = folder.beneath(source.folder).map_err(|e| Error::io("read", &whole, e))?;
                check_files(&spec)?;
            }
            _ => check_vectors(recorded, env)?,
        }
        check_adapter(recorded, env)?;
        let alone = manifest.encoders.len() == 1;
        let place = EncoderPlace { name: &recorded.name, alone, inputs: &recorded.inputs };
        let ports = if at == 0 { ports } else { &[] };
        let graph = extract_encoder(source.merged, &manifest.name, &place, ports)?;
        // Encoders with other weights than those of the fit have their own entries in the cache.
        let mut identity = recorded.identity.clone();
        if let Some(storage) = source.storage {
            identity.push_str(&format!(" {}", storage.as_str()));
        }
        let recorded = RecordedEncoder {
            adapter: &recorded.adapter,
            graph,
            identity: &identity,
            pooled_dim: recorded.pooled,
            token_dim: recorded.tokens.filter(|_| ports.contains(&"tokens")),
        };
        encoders.push(Encoder::of_run(recorded, spec, env)?);
    }
    Ok(ModalityEncoders { name: manifest.name.clone(), rule, train_rule, encoders })
}

/// Returns an error if a specification names a file outside the encoder's folder.
fn check_files(spec: &EncoderSpec) -> Result<(), Error> {
    for text in texts(&spec.preprocessing, &spec.ports) {
        file_of(text, &spec.directory).map_err(|what| {
            let message = format!("the encoder {:?}: {what}", spec.name);
            Error::input("chiasm::run::damaged", message, "fit the run again")
        })?;
    }
    Ok(())
}

/// Returns an error if the adapter is another file than during the fit, unless that is allowed.
fn check_adapter(recorded: &EncoderManifest, env: &Environment) -> Result<(), Error> {
    let adapter = env.host.adapter(&recorded.adapter)?;
    let (now, fitted) = (hex(adapter.sha256()), &recorded.adapter_sha256);
    // Runs of earlier versions have no digest.
    if now == *fitted || fitted.is_empty() || env.allow_changed {
        return Ok(());
    }
    let message = format!(
        "the adapter {:?} of the encoder {:?} has changed since the fit, so items may be prepared in another \
         way: sha256 expected {fitted}, got {now} of {}",
        recorded.adapter,
        recorded.name,
        adapter.plugin().path.display()
    );
    let help = "restore the plugin (`--plugin PATH`), fit the run again, or accept it with --allow-changed";
    Err(Error::input("chiasm::run::changed_plugin", message, help))
}

/// Returns an error if the file of vectors has changed since the fit. It is not part of the run folder.
fn check_vectors(recorded: &EncoderManifest, env: &Environment) -> Result<(), Error> {
    let spec = &recorded.spec;
    let text = |key| spec.preprocessing.get(key).and_then(serde_json::Value::as_str);
    let keys = spec.preprocessing.as_object().map_or(0, serde_json::Map::len);
    let file = text("vectors").filter(|_| keys == 1 + usize::from(text("member").is_some()));
    let (Some(file), "vector") = (file, recorded.adapter.as_str()) else {
        let message = format!("the encoder {:?} is neither in the run folder nor vectors", recorded.name);
        return Err(Error::input("chiasm::run::damaged", message, "fit the run again"));
    };
    let path = spec.directory.join(file);
    if Encoder::of_vectors(&path, text("member"), env)?.identity == recorded.identity {
        return Ok(());
    }
    let message = format!("{} is not the file of vectors that the run was fitted on", path.display());
    Err(Error::input("chiasm::run::vectors", message, "restore the file, or fit the run again"))
}
