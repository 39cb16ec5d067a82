//! A finished run, opened: raw inputs through its merged model, its metrics measured again, its held-out items searched.
//!
//! Only the run folder is needed (and, for measuring and searching, the data its recipe names).

mod run;

use crate::{
    Error, Recipe, Workbench,
    checks::{self, Checked, OwnedSide, inverse_kind, stored_spans},
    compose::fused_output,
    data::{Pairs, Split},
    embed::means,
    encoder::Raw,
    evaluate::{Embedded, Metrics, metrics},
    folder::{Manifest, ModalityManifest, read_manifest},
    fuse::{Found, answer},
    plan::{read_items, source_and_target},
    problem::Problems,
    recipe::Select,
    score::{Question, TaskMetrics},
    task::{TaskPlan, Truth},
    write::{INVERSE, LOCK, Lock},
};
use chiasm_graph::{Graph, Storage};
use chiasm_host::{Adapter, HostError, ModelInput, Takes};
use ndarray::Array2;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A run whose adapters are open.
pub struct Opened<'a> {
    /// What the run says of itself.
    pub manifest: Manifest,
    folder: PathBuf,
    modalities: Vec<Modality>,
    /// How the weights of its graphs are stored, when not as fitted.
    storage: Option<Storage>,
    bench: &'a Workbench,
}

struct Modality {
    name: String,
    takes: Takes,
    /// The adapter of each encoder, its inputs, and what the merged model calls them.
    encoders: Vec<(Adapter, Vec<ModelInput>, BTreeMap<String, String>)>,
}

/// The outputs for some raw inputs: output name to one row an input.
pub type Outputs = BTreeMap<String, Array2<f32>>;

impl<'a> Opened<'a> {
    /// Opens a run folder.
    ///
    /// # Errors
    /// When it is no run, or an adapter it needs is not there.
    pub fn open(run: &Path, bench: &'a Workbench) -> Result<Self, Error> {
        let manifest = read_manifest(run)?;
        let modalities: Result<Vec<Modality>, Error> =
            manifest.modalities.iter().map(|m| open_modality(run, m, bench)).collect();
        Ok(Self { modalities: modalities?, manifest, folder: run.to_path_buf(), storage: None, bench })
    }

    /// The same run with the weights of all its graphs stored in fewer bits.
    #[must_use]
    pub fn stored_as(mut self, storage: Storage) -> Self {
        self.storage = Some(storage);
        self
    }

    /// What the raw inputs of a modality are.
    ///
    /// # Errors
    /// When the run has no such modality.
    pub fn takes(&self, modality: &str) -> Result<Takes, Error> {
        Ok(self.modality(modality)?.takes)
    }

    /// Measures the run again on the held-out rows of its data.
    ///
    /// # Errors
    /// When the data is not there any more, or an item cannot be read.
    pub fn measure(&self) -> Result<Metrics, Error> {
        let (recipe, pairs) = self.data()?;
        let rows = self.usable(&pairs, Split::Test);
        let mut sides = Vec::new();
        let mut plain = Vec::new();
        for modality in &self.modalities {
            let pooled = self.pooled(modality, &recipe, &pairs, &rows)?;
            let head = self.part(&format!("aligner/{}.onnx", modality.name))?;
            let z = format!("{}/z", modality.name);
            let embeds = crate::compose::embeds(&modality.name);
            let outputs = self.head(&head, modality, pooled)?;
            let banked = outputs.get(&embeds).cloned().unwrap_or_default();
            plain.push(outputs.get(&z).cloned().unwrap_or_else(|| banked.clone()));
            sides.push(banked);
        }
        let names = [0, 1].map(|i| self.modalities[i].name.clone());
        let test = Embedded { names: names.clone(), sides: pair(sides)? };
        let plain = Embedded { names, sides: pair(plain)? };
        let mut metrics = metrics(&test, &plain, self.manifest.seed)?;
        metrics.task = self.task_metrics(&recipe, &pairs, &rows, &plain)?;
        Ok(metrics)
    }

    /// How well the fusion answers its task, when it has one.
    fn task_metrics(
        &self,
        recipe: &Recipe,
        pairs: &Pairs,
        rows: &[usize],
        plain: &Embedded,
    ) -> Result<Option<TaskMetrics>, Error> {
        let known = self.manifest.task.as_ref();
        let task = TaskPlan::check(recipe, pairs, &|name| self.takes(name).ok(), known);
        let task = task.map_err(Problems::from)?;
        let Some(task) = task else { return Ok(None) };
        let others = match &task.truth {
            Truth::Items { modality, items } => {
                let modality = self.modality(modality)?;
                let own: Vec<&Vec<Raw>> = rows.iter().map(|row| &items[*row]).collect();
                let flat: Vec<Vec<&Raw>> =
                    own.iter().flat_map(|items| items.iter().map(|raw| vec![raw])).collect();
                let pooled = self.pooled_items(modality, &flat)?;
                let z = self.head(&self.map(&modality.name)?, modality, pooled)?.into_values().next();
                Some(Found::new(z.unwrap_or_default(), own.iter().map(|items| items.len()).collect()))
            }
            _ => None,
        };
        let items: Vec<Vec<Vec<Raw>>> =
            self.modalities.iter().map(|m| self.items(m, recipe, pairs)).collect::<Result<_, _>>()?;
        let output = fused_output(answer(Some(&task.task)));
        let answers = |hidden: Option<usize>| {
            let seen: Vec<usize> = (0..self.modalities.len()).filter(|side| hidden != Some(*side)).collect();
            let modalities: Vec<&Modality> = seen.iter().map(|side| &self.modalities[*side]).collect();
            let graph = self.fused_graph(&modalities, false)?;
            let graph = graph.extract(&[&output]).map_err(Error::graph("the answers of the merged model"))?;
            let given: Vec<Vec<&Raw>> =
                rows.iter().map(|row| seen.iter().map(|side| &items[*side][*row][0]).collect()).collect();
            let mut outputs = self.batches(&graph, &modalities, &given, &[&output], "answer")?;
            Ok(outputs.remove(&output).unwrap_or_default())
        };
        let question = Question {
            task: &task,
            rows,
            names: &plain.names,
            pooled: &plain.sides,
            others: others.as_ref(),
            seed: self.manifest.seed,
        };
        question.score(&answers).map(Some)
    }

    /// Checks the run's maps on the held-out rows of its data; `overrides` are `--set` assignments of `checks.*`.
    ///
    /// # Errors
    /// When the data is not there any more, an item cannot be read, or an assignment is not understood.
    pub fn check(&self, overrides: &[String]) -> Result<Checked, Error> {
        let (recipe, pairs) = self.data_with(overrides)?;
        let (test, train) = (self.usable(&pairs, Split::Test), self.usable(&pairs, Split::Train));
        let kind = inverse_kind(&self.folder)?;
        let inverse = kind.map(|kind| Ok::<_, Error>((self.part(INVERSE)?, kind))).transpose()?;
        let spans = stored_spans(&self.folder)?;
        let mut sides = Vec::new();
        for modality in &self.modalities {
            let map = self.map(&modality.name)?;
            let rows = self.pooled(modality, &recipe, &pairs, &test)?;
            let images = self.head(&map, modality, rows.clone())?.into_values().next().unwrap_or_default();
            let labelled = match recipe.labels_of(&pairs) {
                Some(labels) => Some((labels, self.pooled(modality, &recipe, &pairs, &train)?)),
                None => None,
            };
            let spanned = spans.get(&modality.name).copied();
            sides.push(OwnedSide { name: modality.name.clone(), map, rows, images, labelled, spanned });
        }
        let [first, second] = sides.as_slice() else {
            return Err(Error::Internal("a run without two modalities".to_owned()));
        };
        let mut both = [first.borrowed(&test, &train), second.borrowed(&test, &train)];
        both[0].inverse = inverse.as_ref().map(|(graph, kind)| (graph, *kind));
        checks::sides(&both, &recipe.check_settings(), self.bench)
    }

    /// A modality's map without its bank: `<modality>/pooled` to z.
    fn map(&self, modality: &str) -> Result<Graph, Error> {
        let head = self.part(&format!("aligner/{modality}.onnx"))?;
        let z = format!("{modality}/z");
        let before_bank = head.outputs().iter().any(|port| port.name == z);
        let output = if before_bank { z } else { crate::compose::embeds(modality) };
        head.extract(&[&output]).map_err(Error::graph(format!("the map of {modality:?}")))
    }

    /// The held-out items of the other modality nearest to one raw input: (item, score), best first.
    ///
    /// # Errors
    /// When the data is not there any more, or an item cannot be read.
    pub fn search(&self, modality: &str, query: &Raw, top: usize) -> Result<Vec<(Raw, f32)>, Error> {
        let (recipe, pairs) = self.data()?;
        let other = self
            .modalities
            .iter()
            .find(|m| m.name != modality)
            .ok_or_else(|| Error::Internal("a run with one modality".to_owned()))?;
        let question = self.embed(self.modality(modality)?, std::slice::from_ref(query))?;
        let rows = self.items(other, &recipe, &pairs)?;
        let items: Vec<Raw> = self
            .usable(&pairs, Split::Test)
            .into_iter()
            .filter_map(|row| rows[row].first().cloned())
            .collect();
        let gallery = self.embed(other, &items)?;
        let scores = gallery.dot(&question.row(0));
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        Ok(order.into_iter().take(top).map(|i| (items[i].clone(), scores[i])).collect())
    }

    fn modality(&self, name: &str) -> Result<&Modality, Error> {
        self.modalities.iter().find(|m| m.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.modalities.iter().map(|m| m.name.as_str()).collect();
            let help = format!("its modalities are {}", names.join(", "));
            Error::input("chiasm::run::modality", format!("the run has no modality {name:?}"), help)
        })
    }

    /// The rows of a split but for those that were skipped as unreadable.
    fn usable(&self, pairs: &Pairs, split: Split) -> Vec<usize> {
        let skipped = |row: &usize| self.manifest.rows.skipped.contains(&pairs.ids[*row]);
        pairs.rows_of(split).into_iter().filter(|row| !skipped(row)).collect()
    }

    /// The recipe of the run and its pairs.
    fn data(&self) -> Result<(Recipe, Pairs), Error> {
        self.data_with(&[])
    }

    /// The same, with more assignments.
    fn data_with(&self, overrides: &[String]) -> Result<(Recipe, Pairs), Error> {
        let read = |name: &str| {
            let path = self.folder.join(name);
            std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))
        };
        let lock: Lock = serde_json::from_str(&read(LOCK)?)
            .map_err(|e| Error::Internal(format!("{LOCK} of {}: {e}", self.folder.display())))?;
        let overrides = [&lock.overrides[..], overrides].concat();
        let recipe = Recipe::parse("recipe.toml", read("recipe.toml")?, lock.folder, &overrides)?;
        let pairs = match recipe.read_pairs() {
            Some(pairs) => pairs?,
            None => Pairs::by_position(self.rows()?, &recipe.inputs()),
        };
        Ok((recipe, pairs))
    }

    /// Rows of the files of vectors.
    fn rows(&self) -> Result<u64, Error> {
        let adapters = self.modalities.iter().flat_map(|m| &m.encoders);
        let rows: Result<Vec<Option<u64>>, HostError> =
            adapters.map(|(adapter, ..)| adapter.rows()).collect();
        Ok(rows?.into_iter().flatten().min().unwrap_or_default())
    }

    fn items(&self, modality: &Modality, recipe: &Recipe, pairs: &Pairs) -> Result<Vec<Vec<Raw>>, Error> {
        source_and_target(recipe).map_err(Problems::from)?;
        let encoder = recipe.encoders.iter().find(|e| e.modality.value == modality.name);
        let encoder = encoder.ok_or_else(|| Error::Internal(format!("no recipe for {:?}", modality.name)))?;
        let mut problems = Problems::default();
        let items = read_items(encoder, modality.takes, pairs, &mut problems);
        Ok(problems.or(Some(items))?)
    }

    /// Pooled vectors of some rows: of the first item, or the mean over all.
    fn pooled(
        &self,
        modality: &Modality,
        recipe: &Recipe,
        pairs: &Pairs,
        rows: &[usize],
    ) -> Result<Array2<f32>, Error> {
        let items = self.items(modality, recipe, pairs)?;
        let select = recipe.encoders.iter().find(|e| e.modality.value == modality.name).map(|e| e.select);
        let wanted: Vec<&[Raw]> = rows.iter().map(|&row| items[row].as_slice()).collect();
        let flat: Vec<Vec<&Raw>> = wanted.iter().flat_map(|row| row.iter().map(|raw| vec![raw])).collect();
        let all = self.pooled_items(modality, &flat)?;
        if select != Some(Select::Mean) {
            return Ok(all);
        }
        Ok(means(&all, wanted.iter().map(|raw| raw.len())))
    }

    /// Pooled vectors of raw items of one modality.
    fn pooled_items(&self, modality: &Modality, items: &[Vec<&Raw>]) -> Result<Array2<f32>, Error> {
        let name = format!("{}/pooled", modality.name);
        let graph = self.part(&format!("encoders/{}.onnx", modality.name))?;
        let graph =
            graph.extract(&[&name]).map_err(Error::graph(format!("the encoders of {:?}", modality.name)))?;
        let mut outputs =
            self.batches(&graph, &[modality], items, &[&name], &format!("embed {}", modality.name))?;
        Ok(outputs.remove(&name).unwrap_or_default())
    }

    fn part(&self, name: &str) -> Result<Graph, Error> {
        let path = self.folder.join(name);
        let graph = Graph::load(&path).map_err(Error::graph(path.display().to_string()))?;
        Ok(match self.storage {
            Some(storage) => graph.stored_as(storage),
            None => graph,
        })
    }

    fn head(&self, graph: &Graph, modality: &Modality, pooled: Array2<f32>) -> Result<Outputs, Error> {
        let internal = |e: chiasm_graph::Error| Error::Internal(e.to_string());
        let shape = [pooled.nrows(), pooled.ncols()];
        let tensor = chiasm_graph::Tensor::f32(&shape, pooled.into_iter().collect()).map_err(internal)?;
        let input = format!("{}/pooled", modality.name);
        let outputs = self.bench.session(graph)?.run(&[(&input, &tensor)])?;
        outputs.into_iter().map(|(name, tensor)| Ok((name, matrix(tensor)?))).collect()
    }
}

fn open_modality(run: &Path, manifest: &ModalityManifest, bench: &Workbench) -> Result<Modality, Error> {
    let mut encoders = Vec::new();
    let mut takes = Takes::Text;
    for encoder in &manifest.encoders {
        let kind = bench.host.adapter(&encoder.adapter)?;
        takes = kind.takes()?;
        let mut spec = encoder.spec.clone();
        if spec.directory.as_os_str().is_empty() {
            spec.directory = run.join(&encoder.folder);
        }
        let adapter = kind.open(&spec, &bench.services("opening an adapter"))?;
        let inputs = adapter.inputs().to_vec();
        encoders.push((adapter, inputs, encoder.inputs.clone()));
    }
    Ok(Modality { name: manifest.name.clone(), takes, encoders })
}

fn matrix(tensor: chiasm_graph::Tensor) -> Result<Array2<f32>, Error> {
    let internal = |e: String| Error::Internal(format!("an output that is no matrix: {e}"));
    let rows = tensor.shape().first().copied().unwrap_or_default();
    let width = tensor.shape().iter().skip(1).product();
    let values = tensor.into_f32().map_err(|e| internal(e.to_string()))?;
    Array2::from_shape_vec((rows, width), values).map_err(|e| internal(e.to_string()))
}

fn pair(sides: Vec<Array2<f32>>) -> Result<[Array2<f32>; 2], Error> {
    sides.try_into().map_err(|_| Error::Internal("a run without two modalities".to_owned()))
}
