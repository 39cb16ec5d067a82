//! A finished run, opened: raw inputs through its merged model, its metrics measured again, its held-out items searched.
//!
//! Only the run folder is needed (and, for measuring and searching, the data its recipe names).

use crate::{
    Error, Recipe, Workbench,
    checks::{self, Checked, OwnedSide, inverse_kind, stored_spans},
    data::{Pairs, Split},
    encoder::Raw,
    evaluate::{Embedded, Metrics, metrics},
    folder::{Manifest, ModalityManifest, read_manifest},
    plan::{read_items, source_and_target},
    problem::Problems,
    recipe::Select,
    reporter::Steps,
    write::{INVERSE, LOCK, Lock, MODEL},
};
use chiasm_graph::Graph;
use chiasm_host::{Adapter, HostError, ModelInput, Takes};
use chiasm_runtime::{EmbedOptions, ItemInput, OnBad, embed_all};
use ndarray::{Array2, Axis, Slice};
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
        Ok(Self { modalities: modalities?, manifest, folder: run.to_path_buf(), bench })
    }

    /// What the raw inputs of a modality are.
    ///
    /// # Errors
    /// When the run has no such modality.
    pub fn takes(&self, modality: &str) -> Result<Takes, Error> {
        Ok(self.modality(modality)?.takes)
    }

    /// Raw inputs through the merged model: the embeddings of each modality given, and the fused ones when every
    /// modality is given equally often (input i of one belongs to input i of the others).
    ///
    /// # Errors
    /// When an input cannot be read, or the engine refuses.
    pub fn run(&self, inputs: &BTreeMap<String, Vec<Raw>>) -> Result<Outputs, Error> {
        let path = self.folder.join(MODEL);
        let model = Graph::load(&path).map_err(Error::graph(path.display().to_string()))?;
        let mut outputs = Outputs::new();
        let counts: Vec<usize> =
            self.modalities.iter().map(|m| inputs.get(&m.name).map_or(0, Vec::len)).collect();
        let together = counts.iter().all(|&c| c > 0 && c == counts[0]);
        let groups: Vec<(Vec<&Modality>, Vec<String>)> = if together {
            vec![(self.modalities.iter().collect(), model.outputs().into_iter().map(|p| p.name).collect())]
        } else {
            (self.modalities.iter().filter(|m| inputs.contains_key(&m.name)))
                .map(|m| (vec![m], vec![crate::compose::embeds(&m.name)]))
                .collect()
        };
        for (modalities, names) in groups {
            let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
            let part = model.extract(&wanted).map_err(Error::graph("a part of the merged model"))?;
            let rows: Vec<Vec<&Raw>> = transpose(&modalities, inputs);
            outputs.extend(self.batches(&part, &modalities, &rows, &wanted, "run")?);
        }
        Ok(outputs)
    }

    /// Measures the run again on the held-out rows of its data.
    ///
    /// # Errors
    /// When the data is not there any more, or an item cannot be read.
    pub fn measure(&self) -> Result<Metrics, Error> {
        let (recipe, pairs) = self.data()?;
        let rows = pairs.rows_of(Split::Test);
        let rows: Vec<usize> =
            rows.into_iter().filter(|&r| !self.manifest.rows.skipped.contains(&pairs.ids[r])).collect();
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
        metrics(&test, &Embedded { names, sides: pair(plain)? }, self.manifest.seed)
    }

    /// Checks the run's maps on the held-out rows of its data; `overrides` are `--set` assignments of `checks.*`.
    ///
    /// # Errors
    /// When the data is not there any more, an item cannot be read, or an assignment is not understood.
    pub fn check(&self, overrides: &[String]) -> Result<Checked, Error> {
        let (recipe, pairs) = self.data_with(overrides)?;
        let usable = |split| -> Vec<usize> {
            let skipped = |row: &usize| self.manifest.rows.skipped.contains(&pairs.ids[*row]);
            pairs.rows_of(split).into_iter().filter(|row| !skipped(row)).collect()
        };
        let (test, train) = (usable(Split::Test), usable(Split::Train));
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
        let question = self.run(&BTreeMap::from([(modality.to_owned(), vec![query.clone()])]))?;
        let items: Vec<Raw> = (self.items(other, &recipe, &pairs)?.into_iter().zip(&pairs.splits))
            .filter(|(_, split)| **split == Split::Test)
            .filter_map(|(row, _)| row.into_iter().next())
            .collect();
        let gallery = self.run(&BTreeMap::from([(other.name.clone(), items.clone())]))?;
        let one = |outputs: Outputs| outputs.into_values().next().unwrap_or_default();
        let (question, gallery) = (one(question), one(gallery));
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
        let columns = recipe.columns();
        let split = recipe.data.split.as_ref().map_or("split", |s| s.value.as_str());
        let pairs = match &recipe.data.pairs {
            Some(file) => Pairs::read(&recipe.path(&file.value), &columns, split)?,
            None => Pairs::by_position(self.rows()?, &columns),
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
        let graph = self.part(&format!("encoders/{}.onnx", modality.name))?;
        let name = format!("{}/pooled", modality.name);
        let mut outputs =
            self.batches(&graph, &[modality], &flat, &[&name], &format!("embed {}", modality.name))?;
        let all = outputs.remove(&name).unwrap_or_default();
        if select != Some(Select::Mean) {
            return Ok(all);
        }
        let mut start = 0;
        let mut means = Array2::zeros((rows.len(), all.ncols()));
        for (row, raw) in wanted.iter().enumerate() {
            let part = all.slice_axis(Axis(0), Slice::from(start..start + raw.len()));
            start += raw.len();
            part.mean_axis(Axis(0)).into_iter().for_each(|mean| means.row_mut(row).assign(&mean));
        }
        Ok(means)
    }

    fn part(&self, name: &str) -> Result<Graph, Error> {
        let path = self.folder.join(name);
        Graph::load(&path).map_err(Error::graph(path.display().to_string()))
    }

    fn head(&self, graph: &Graph, modality: &Modality, pooled: Array2<f32>) -> Result<Outputs, Error> {
        let internal = |e: chiasm_graph::Error| Error::Internal(e.to_string());
        let shape = [pooled.nrows(), pooled.ncols()];
        let tensor = chiasm_graph::Tensor::f32(&shape, pooled.into_iter().collect()).map_err(internal)?;
        let input = format!("{}/pooled", modality.name);
        let outputs = self.bench.session(graph)?.run(&[(&input, &tensor)])?;
        outputs.into_iter().map(|(name, tensor)| Ok((name, matrix(tensor)?))).collect()
    }

    /// Rows of raw inputs, one item a modality, through a graph in batches.
    fn batches(
        &self,
        graph: &Graph,
        modalities: &[&Modality],
        rows: &[Vec<&Raw>],
        outputs: &[&str],
        stage: &str,
    ) -> Result<Outputs, Error> {
        let session = self.bench.session_for_batches(graph)?;
        let is_input = |name: &String| session.inputs().iter().any(|port| port.name == *name);
        let inputs: Vec<ItemInput> = (modalities.iter().flat_map(|m| &m.encoders))
            .flat_map(|(_, inputs, names)| {
                inputs.iter().filter_map(|i| Some((names.get(&i.name)?.clone(), i)))
            })
            .filter(|(name, _)| is_input(name))
            .map(|(name, i)| ItemInput { name, dtype: i.dtype, dims: i.dims.clone(), pad: i.pad })
            .collect();
        let prepare = |row: usize| -> Result<Vec<chiasm_graph::Tensor>, HostError> {
            let mut tensors = Vec::new();
            for (modality, raw) in modalities.iter().zip(&rows[row]) {
                for (adapter, inputs, names) in &modality.encoders {
                    let made = adapter.prepare(raw.item())?;
                    let kept =
                        inputs.iter().zip(made).filter(|(i, _)| names.get(&i.name).is_some_and(is_input));
                    tensors.extend(kept.map(|(_, tensor)| tensor));
                }
            }
            Ok(tensors)
        };
        let steps = Steps::begin(&*self.bench.reporter, stage, rows.len());
        let mut before = 0;
        let mut on_progress = |done: usize, _: usize| {
            steps.add(done - before);
            before = done;
            true
        };
        let options = EmbedOptions { threads: self.bench.threads, limits: None };
        let mut on_bad = |_: usize, _: &str| OnBad::Abort;
        let embedded = embed_all(
            &session,
            rows.len(),
            &inputs,
            outputs,
            &options,
            prepare,
            &mut on_bad,
            &mut on_progress,
        );
        let embedded = match embedded {
            Err(chiasm_runtime::Error::Item { index, reason }) => {
                let shown: Vec<String> = rows[index].iter().map(|raw| raw.shown()).collect();
                let message = format!("cannot read {}: {reason}", shown.join(" and "));
                return Err(Error::input("chiasm::run::unreadable_item", message, "give another input"));
            }
            other => other?,
        };
        embedded.outputs.into_iter().map(|(name, tensor)| Ok((name, matrix(tensor)?))).collect()
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

/// Row i: the i-th item of each modality.
fn transpose<'r>(modalities: &[&Modality], inputs: &'r BTreeMap<String, Vec<Raw>>) -> Vec<Vec<&'r Raw>> {
    let columns: Vec<&Vec<Raw>> = modalities.iter().filter_map(|m| inputs.get(&m.name)).collect();
    let rows = columns.iter().map(|c| c.len()).min().unwrap_or_default();
    (0..rows).map(|row| columns.iter().map(|column| &column[row]).collect()).collect()
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
