//! Raw inputs through a run: all of its modalities, or any of them.

use super::{Modality, Opened, Outputs};
use crate::{
    Error,
    compose::{Tower, embeds, merged},
    encoder::Raw,
    fuse::reads_tokens,
    reporter::Steps,
    write::{FUSION, MODEL},
};
use chiasm_graph::{DType, Dim, Graph, Port, Tensor};
use chiasm_host::HostError;
use chiasm_runtime::{EmbedOptions, ItemInput, Sink, embed};
use ndarray::Array2;
use std::collections::BTreeMap;

impl Opened<'_> {
    /// Raw inputs through the merged model, any of its modalities: their embeddings; and what the fusion makes of them when they are given
    /// equally often (input i of one belongs to input i of the others) and those that are not given may be absent.
    ///
    /// With `looks` also where the fusion's attention went, `<modality>_attention` `[n, T]`, zero beyond the last token.
    ///
    /// # Errors
    /// When an input cannot be read, the engine refuses, or there is no attention to show.
    pub fn run(&self, inputs: &BTreeMap<String, Vec<Raw>>, looks: bool) -> Result<Outputs, Error> {
        let count = |m: &&Modality| inputs.get(&m.name).map_or(0, Vec::len);
        let given: Vec<&Modality> = self.modalities.iter().filter(|m| count(m) > 0).collect();
        let together = given.windows(2).all(|two| count(&two[0]) == count(&two[1]));
        if !together && self.manifest.fused.is_some() {
            let counts: Vec<String> = given.iter().map(|m| format!("{} of {}", count(m), m.name)).collect();
            let message =
                format!("fusing takes as many raw inputs of each modality, got {}", counts.join(" and "));
            if looks {
                return Err(Error::input("chiasm::run::counts", message, "give each input its partner"));
            }
            self.bench.reporter.note(&format!("{message}: each is embedded alone"));
        }
        if together && self.manifest.fused.is_some() && (looks || self.may_be_absent(&given)?) {
            let graph = self.fused_graph(&given, looks)?;
            if looks && graph.outputs().iter().all(|port| !port.name.ends_with("_attention")) {
                let help =
                    "attention is what decoder, one-way, two-way, gated and latent of `cross-attention` have";
                return Err(Error::input(
                    "chiasm::run::attention",
                    "the fusion of this run shows no attention",
                    help,
                ));
            }
            return self.all_outputs(&graph, &given, inputs);
        }
        let model = self.part(MODEL)?;
        if together && given.len() == self.modalities.len() {
            return self.all_outputs(&model, &given, inputs);
        }
        let mut outputs = Outputs::new();
        for modality in given {
            let part = model.extract(&[&embeds(&modality.name)]);
            let part = part.map_err(Error::graph("a part of the merged model"))?;
            outputs.extend(self.all_outputs(&part, &[modality], inputs)?);
        }
        Ok(outputs)
    }

    /// The embeddings of raw inputs of one modality.
    pub(super) fn embed(&self, modality: &Modality, items: &[Raw]) -> Result<Array2<f32>, Error> {
        let name = embeds(&modality.name);
        let part = self.part(MODEL)?.extract(&[&name]).map_err(Error::graph("a part of the merged model"))?;
        let rows: Vec<Vec<&Raw>> = items.iter().map(|item| vec![item]).collect();
        let mut outputs = self.batches(&part, &[modality], &rows, &[&name], "run")?;
        Ok(outputs.remove(&name).unwrap_or_default())
    }

    /// Whether some modalities are missing, and the fusion is told so by their masks.
    fn may_be_absent(&self, given: &[&Modality]) -> Result<bool, Error> {
        let mut missing =
            self.modalities.iter().filter(|m| given.iter().all(|own| own.name != m.name)).peekable();
        if missing.peek().is_none() || given.is_empty() {
            return Ok(false);
        }
        let fusion = self.part(FUSION)?;
        Ok(missing.all(|modality| reads_tokens(&fusion, &modality.name)))
    }

    /// The merged model of these modalities alone, put together from the run's parts.
    pub(super) fn fused_graph(&self, given: &[&Modality], looks: bool) -> Result<Graph, Error> {
        let towers: Vec<Tower> = (given.iter())
            .map(|modality| {
                let name = &modality.name;
                let (encoders, head) = (format!("encoders/{name}.onnx"), format!("aligner/{name}.onnx"));
                Ok(Tower { modality: name.clone(), encoders: self.part(&encoders)?, head: self.part(&head)? })
            })
            .collect::<Result<_, Error>>()?;
        merged(&towers, Some(&self.part(FUSION)?), looks)
    }

    fn all_outputs(
        &self,
        graph: &Graph,
        modalities: &[&Modality],
        inputs: &BTreeMap<String, Vec<Raw>>,
    ) -> Result<Outputs, Error> {
        let names: Vec<String> = graph.outputs().into_iter().map(|port| port.name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.batches(graph, modalities, &transpose(modalities, inputs), &names, "run")
    }

    /// Rows of raw inputs, one item a modality, through a graph in batches. Ports of absent modalities get one token that is not there.
    pub(super) fn batches(
        &self,
        graph: &Graph,
        modalities: &[&Modality],
        rows: &[Vec<&Raw>],
        outputs: &[&str],
        stage: &str,
    ) -> Result<Outputs, Error> {
        let session = self.bench.session_for_batches(graph)?;
        let is_input = |name: &String| session.inputs().iter().any(|port| port.name == *name);
        let mut inputs: Vec<ItemInput> = (modalities.iter().flat_map(|m| &m.encoders))
            .flat_map(|(_, inputs, names)| {
                inputs.iter().filter_map(|i| Some((names.get(&i.name)?.clone(), i)))
            })
            .filter(|(name, _)| is_input(name))
            .map(|(name, i)| ItemInput { name, dtype: i.dtype, dims: i.dims.clone(), pad: i.pad })
            .collect();
        let absent: Vec<(ItemInput, Tensor)> = session
            .inputs()
            .iter()
            .filter(|port| port.name.starts_with("fuse/"))
            .map(nothing)
            .collect::<Result<_, _>>()?;
        inputs.extend(absent.iter().map(|(input, _)| input.clone()));
        let prepare = |row: usize| -> Result<Vec<Tensor>, HostError> {
            let mut tensors = Vec::new();
            for (modality, raw) in modalities.iter().zip(&rows[row]) {
                for (adapter, inputs, names) in &modality.encoders {
                    let made = adapter.prepare(raw.item())?;
                    let kept =
                        inputs.iter().zip(made).filter(|(i, _)| names.get(&i.name).is_some_and(is_input));
                    tensors.extend(kept.map(|(_, tensor)| tensor));
                }
            }
            tensors.extend(absent.iter().map(|(_, tensor)| tensor.clone()));
            Ok(tensors)
        };
        let steps = Steps::begin(&*self.bench.reporter, stage, rows.len());
        let options = EmbedOptions { threads: self.bench.threads, limits: None };
        let none = vec![Vec::new(); rows.len()];
        let mut rows_of = RowsOf {
            outputs: outputs.iter().map(|name| ((*name).to_owned(), none.clone())).collect(),
            steps,
            before: 0,
        };
        match embed(&session, rows.len(), &inputs, outputs, &options, prepare, &mut rows_of) {
            Err(chiasm_runtime::Error::Item { index, reason }) => {
                let shown: Vec<String> = rows[index].iter().map(|raw| raw.shown()).collect();
                let message = format!("cannot read {}: {reason}", shown.join(" and "));
                return Err(Error::input("chiasm::run::unreadable_item", message, "give another input"));
            }
            other => other?,
        };
        Ok(rows_of.outputs.into_iter().map(|(name, rows)| (name, padded(rows))).collect())
    }
}

/// What an absent modality's port of the fusion gets: zeros, one token long.
fn nothing(port: &Port) -> Result<(ItemInput, Tensor), Error> {
    let free = |dim: &Dim| dim.fixed().unwrap_or(1);
    let shape: Vec<usize> = port.dims.iter().flatten().skip(1).map(free).collect();
    let dims = shape.iter().copied().map(Some).collect();
    let tensor = Tensor::zeros(DType::F32, &shape).map_err(|e| Error::Internal(e.to_string()))?;
    Ok((ItemInput { name: port.name.clone(), dtype: DType::F32, dims, pad: 0.0 }, tensor))
}

/// Keeps every row of every output, however long.
struct RowsOf<'a> {
    outputs: BTreeMap<String, Vec<Vec<f32>>>,
    steps: Steps<'a>,
    before: usize,
}

impl Sink for RowsOf<'_> {
    fn batch(&mut self, rows: &[usize], outputs: Vec<(String, Tensor)>) -> Result<(), String> {
        for (name, tensor) in outputs {
            let kept = self.outputs.get_mut(&name).ok_or_else(|| format!("`{name}` was not asked for"))?;
            let width = tensor.shape().iter().skip(1).product::<usize>();
            let values = tensor.as_f32().ok_or_else(|| format!("`{name}` is {}, not f32", tensor.dtype()))?;
            for (row, values) in rows.iter().zip(values.chunks_exact(width.max(1))) {
                kept[*row] = values.to_vec();
            }
        }
        Ok(())
    }

    fn progress(&mut self, done: usize, _: usize) -> bool {
        self.steps.add(done - self.before);
        self.before = done;
        true
    }
}

/// Rows as a matrix as wide as the longest, zero beyond a row's end.
fn padded(rows: Vec<Vec<f32>>) -> Array2<f32> {
    let width = rows.iter().map(Vec::len).max().unwrap_or_default();
    let mut all = Array2::zeros((rows.len(), width));
    for (mut to, from) in all.outer_iter_mut().zip(rows) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from);
    }
    all
}

/// Row i: the i-th item of each modality.
fn transpose<'r>(modalities: &[&Modality], inputs: &'r BTreeMap<String, Vec<Raw>>) -> Vec<Vec<&'r Raw>> {
    let columns: Vec<&Vec<Raw>> = modalities.iter().filter_map(|m| inputs.get(&m.name)).collect();
    let rows = columns.iter().map(|c| c.len()).min().unwrap_or_default();
    (0..rows).map(|row| columns.iter().map(|column| &column[row]).collect()).collect()
}
