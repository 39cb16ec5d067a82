//! A run, opened: what was measured when it was fitted is measured again through the same code.
//!
//! Only the run folder is needed; for measuring, checking and searching also the data that its recipe names.
//! Every file is compared with the digest that the manifest recorded before anything is read from it.

use super::{
    check::{Checked, Items as CheckItems, RowLabels, check_maps},
    files::{self, FUSION, LEARNED, LOCK, LearnedFile, Lock, MODEL, Manifest, ModalityManifest, RECIPE},
    graphs::{EncoderPlace, Head, cut_encoder},
    model::{Aligned, Model},
};
use crate::{
    base::{digest::sha256_of, error::Error, workbench::Workbench},
    catalog::{
        dataset::Split,
        encoder::{Encoder, Recorded},
    },
    embed::{Embedded, Request},
    plan::{
        Modality,
        data::{Column, Data},
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
    sync::OnceLock,
};

/// A run whose files were verified and whose adapters are open.
pub struct Run<'a> {
    /// What the run says of itself.
    pub manifest: Manifest,
    pub(super) folder: PathBuf,
    /// The modalities, their encoders cut out of the merged model.
    pub(super) modalities: Vec<Modality>,
    /// `model.onnx`.
    pub(super) merged: Graph,
    /// What follows the encoders.
    pub(super) model: Model,
    /// What the aligner chose and noted.
    pub(super) learned: LearnedFile,
    pub(super) bench: &'a Workbench,
    recipe: Recipe,
    data: OnceLock<Data>,
    held_out: OnceLock<HeldOut>,
    /// How the weights of its graphs are stored, when not as fitted.
    storage: Option<Storage>,
}

/// The outputs for some raw items: output name to one row an item.
pub type Outputs = BTreeMap<String, Array2<f32>>;

/// Held-out items, before and after their heads.
pub(super) struct HeldOut {
    pub embedded: Vec<Embedded>,
    pub aligned: Vec<Aligned>,
}

impl<'a> Run<'a> {
    /// Opens a run folder.
    ///
    /// # Errors
    /// When it is no run, a file of it is missing or was changed, or an adapter it needs is not there.
    pub fn open(folder: &Path, bench: &'a Workbench) -> Result<Self, Error> {
        Self::open_stored(folder, None, bench)
    }

    /// The same run with the weights of all its graphs stored in fewer bits.
    ///
    /// # Errors
    /// As [`Run::open`].
    pub fn open_stored(folder: &Path, storage: Option<Storage>, bench: &'a Workbench) -> Result<Self, Error> {
        let manifest = files::read_manifest(folder)?;
        manifest.verify(folder)?;
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
        let model = Model { heads, inverses, fusion, task: manifest.task.clone() };
        let modalities = (manifest.modalities.iter())
            .map(|modality| {
                let encoder = recipe.encoder(&modality.name);
                let rules = encoder.map(|e| [e.items.value, e.train_items.value]).unwrap_or_default();
                let source = Source { folder, merged: &merged, storage };
                open_modality(&source, modality, rules, &model.token_ports(&modality.name), bench)
            })
            .collect::<Result<_, _>>()?;
        let folder = folder.to_path_buf();
        let (data, held_out) = (OnceLock::new(), OnceLock::new());
        Ok(Self {
            manifest,
            folder,
            modalities,
            merged,
            model,
            learned,
            bench,
            recipe,
            data,
            held_out,
            storage,
        })
    }

    /// The names of the run's modalities, in order.
    pub fn names(&self) -> Vec<&str> {
        self.modalities.iter().map(|modality| modality.name.as_str()).collect()
    }

    /// What the raw items of a modality are.
    ///
    /// # Errors
    /// When the run has no such modality.
    pub fn takes(&self, modality: &str) -> Result<Takes, Error> {
        let at = self.place(modality)?;
        Ok(self.modalities[at].encoders.first().map_or(Takes::Row, |encoder| encoder.takes))
    }

    /// The place of a modality.
    ///
    /// # Errors
    /// When the run has no such modality.
    pub fn place(&self, modality: &str) -> Result<usize, Error> {
        self.modalities.iter().position(|own| own.name == modality).ok_or_else(|| {
            let help = format!("its modalities are {}", self.names().join(", "));
            Error::input("chiasm::run::modality", format!("the run has no modality {modality:?}"), help)
        })
    }

    /// Checks the run's maps on the held-out items of its data; `overrides` are `--set` assignments of
    /// `checks.*`.
    ///
    /// # Errors
    /// When the data is not there any more, an item cannot be read, or an assignment is not understood.
    pub fn check(&self, overrides: &[String]) -> Result<Checked, Error> {
        let checks: ChecksRecipe = read_recipe(&self.folder, overrides)?.checks;
        let data = self.data()?;
        let held_out = self.held_out()?;
        let train = match &checks.labels {
            Some(_) => self.embed(data, &data.dataset.rows_of(Split::Train), true)?,
            None => Vec::new(),
        };
        let labels = checks.labels.as_ref().map(|column| RowLabels::new(data.dataset.values(&column.value)));
        let items = CheckItems {
            test: &held_out.embedded,
            aligned: &held_out.aligned,
            spanned: &self.learned.spanned,
            labelled: labels.map(|labels| (labels, train.as_slice())),
        };
        let settings = CheckSettings { seed: self.manifest.seed, ..checks.settings };
        check_maps(&self.model, &items, &settings, self.bench)
    }

    /// The run's data, without the items that the fit skipped; read once.
    ///
    /// # Errors
    /// When it is not there any more, or is not what the recipe says.
    pub(super) fn data(&self) -> Result<&Data, Error> {
        if let Some(data) = self.data.get() {
            return Ok(data);
        }
        let columns: Vec<Column<'_>> = self.modalities.iter().map(Column::of).collect();
        let data = Data::read(&self.recipe, &columns, self.manifest.task.as_ref())?;
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

    /// Tells when the data file is not the one that the run was fitted on: what is measured then is today's
    /// file.
    fn note_changed_data(&self) -> Result<(), Error> {
        let Some(file) = &self.recipe.data.pairs else { return Ok(()) };
        let path = self.recipe.path(&file.value);
        let digest = sha256_of(&path).map_err(|e| Error::io("read", &path, e))?;
        if self.manifest.inputs.get("pairs").is_some_and(|fitted| *fitted != digest) {
            self.bench.reporter.note(&format!(
                "{} changed since the fit: its rows may not be those that were held out",
                path.display()
            ));
        }
        Ok(())
    }

    /// The held-out items; embedded once.
    pub(super) fn held_out(&self) -> Result<&HeldOut, Error> {
        if let Some(held_out) = self.held_out.get() {
            return Ok(held_out);
        }
        let data = self.data()?;
        let embedded = self.embed(data, &data.dataset.rows_of(Split::Test), false)?;
        let aligned = self.model.align_all(&embedded, self.bench)?;
        Ok(self.held_out.get_or_init(|| HeldOut { embedded, aligned }))
    }

    /// The items of some rows through the encoders.
    pub(super) fn embed(&self, data: &Data, rows: &[usize], training: bool) -> Result<Vec<Embedded>, Error> {
        let request = Request {
            modalities: &self.modalities,
            items: &data.items,
            ids: &data.dataset.ids,
            tokens: &|name| self.model.reads_tokens(name),
            skip_bad: false,
            training,
        };
        Ok(request.embed(rows, self.bench)?.0)
    }

    /// The recipe that the run was fitted from.
    pub(super) fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// A graph of the run.
    pub(super) fn part(&self, name: &str) -> Result<Graph, Error> {
        load(&self.folder, name, self.storage)
    }
}

fn load(folder: &Path, name: &str, storage: Option<Storage>) -> Result<Graph, Error> {
    let path = folder.join(name);
    let graph = Graph::load(&path).map_err(Error::graph(path.display().to_string()))?;
    Ok(match storage {
        Some(storage) => graph.stored_as(storage),
        None => graph,
    })
}

/// The recipe of a run, with more assignments.
fn read_recipe(folder: &Path, more: &[String]) -> Result<Recipe, Error> {
    let lock: Lock = files::read_json(folder, LOCK)?;
    let path = folder.join(RECIPE);
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    let overrides = [&lock.overrides[..], more].concat();
    Ok(Recipe::parse(RECIPE, text, lock.folder, &overrides)?)
}

/// Where the encoders of a run come from.
struct Source<'a> {
    folder: &'a Path,
    merged: &'a Graph,
    storage: Option<Storage>,
}

fn open_modality(
    source: &Source<'_>,
    manifest: &ModalityManifest,
    [rule, train_rule]: [ItemRule; 2],
    ports: &[&str],
    bench: &Workbench,
) -> Result<Modality, Error> {
    let mut encoders = Vec::new();
    for (at, recorded) in manifest.encoders.iter().enumerate() {
        let mut spec = recorded.spec.clone();
        if spec.directory.as_os_str().is_empty() {
            spec.directory = source.folder.join(&recorded.folder);
        } else {
            check_vectors(&spec, &recorded.identity, bench)?;
        }
        let alone = manifest.encoders.len() == 1;
        let place = EncoderPlace { name: &recorded.name, alone, inputs: &recorded.inputs };
        let ports = if at == 0 { ports } else { &[] };
        let graph = cut_encoder(source.merged, &manifest.name, &place, ports)?;
        // what differs from the fit, narrow weights or a mask in place of tokens, has entries of its own in
        // the cache
        let mut identity = recorded.identity.clone();
        if let Some(storage) = source.storage {
            identity.push_str(&format!(" {}", storage.as_str()));
        }
        if ports == ["mask"] {
            identity.push_str(" mask");
        }
        let recorded = Recorded {
            adapter: &recorded.adapter,
            graph,
            identity: &identity,
            pooled_dim: recorded.pooled,
            token_dim: if ports == ["mask"] { Some(1) } else { recorded.tokens },
        };
        encoders.push(Encoder::of_run(recorded, spec, bench)?);
    }
    Ok(Modality { name: manifest.name.clone(), rule, train_rule, encoders })
}

/// Refuses a file of vectors, which a run does not hold, that is not the one it was fitted on.
fn check_vectors(spec: &EncoderSpec, identity: &str, bench: &Workbench) -> Result<(), Error> {
    let file = spec.preprocessing["vectors"].as_str().unwrap_or_default();
    let path = spec.directory.join(file);
    if Encoder::of_vectors(&path, bench)?.identity == identity {
        return Ok(());
    }
    let message = format!("{} is not the file of vectors that the run was fitted on", path.display());
    Err(Error::input("chiasm::run::vectors", message, "bring the file back, or fit the run again"))
}
