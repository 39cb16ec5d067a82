//! Raw items through a run: all of its modalities, or any of them.

use super::{
    graphs::{Tower, cut_encoders, embeds, merged},
    model::{reads_tokens, token_ports},
    open::{Outputs, Run},
};
use crate::{
    base::{error::Error, reporter::Steps},
    catalog::raw::Raw,
};
use chiasm_graph::{DType, Dim, Graph, Port, Tensor};
use chiasm_host::HostError;
use chiasm_runtime::{BatchReceiver, EmbedOptions, EmbedRequest, ItemInput, embed};
use ndarray::Array2;
use std::collections::BTreeMap;

/// The raw items of some modalities: item i of one belongs to item i of the others where there are equally
/// many.
pub type Inputs = BTreeMap<String, Vec<Raw>>;

impl Run<'_> {
    /// Raw items through the merged model: the embeddings of every modality that is given; and what the
    /// fusion makes of them when they are given equally often and those that are not given may be absent.
    ///
    /// With `attention` also the shares of the fusion's attention, `<modality>_attention` `[n, T]`, zero
    /// beyond the last token.
    ///
    /// # Errors
    /// When an item cannot be read, the engine refuses, or there is no attention to show.
    pub fn run(&self, inputs: &Inputs, attention: bool) -> Result<Outputs, Error> {
        let count = |name: &str| inputs.get(name).map_or(0, Vec::len);
        let given: Vec<usize> =
            (0..self.modalities.len()).filter(|at| count(&self.modalities[*at].name) > 0).collect();
        let together = given
            .windows(2)
            .all(|two| count(&self.modalities[two[0]].name) == count(&self.modalities[two[1]].name));
        if !together && self.manifest.fused.is_some() {
            let counts: Vec<String> = (given.iter())
                .map(|at| &self.modalities[*at].name)
                .map(|name| format!("{} of {name}", count(name)))
                .collect();
            let message =
                format!("fusing takes as many raw items of each modality, got {}", counts.join(" and "));
            if attention {
                return Err(Error::input("chiasm::run::counts", message, "give each item its partner"));
            }
            self.bench.reporter.note(&format!("{message}: each is embedded alone"));
        }
        if together && self.manifest.fused.is_some() && (attention || self.may_be_absent(&given)) {
            let graph = self.fused_graph(&given, attention)?;
            if attention && graph.outputs().iter().all(|port| !port.name.ends_with("_attention")) {
                let help =
                    "attention is what decoder, one-way, two-way, gated and latent of `cross-attention` have";
                let message = "the fusion of this run shows no attention";
                return Err(Error::input("chiasm::run::attention", message, help));
            }
            return self.all_outputs(&graph, &given, inputs);
        }
        if together && given.len() == self.modalities.len() {
            return self.all_outputs(&self.merged, &given, inputs);
        }
        let mut outputs = Outputs::new();
        for at in given {
            let part = self.merged.extract(&[&embeds(&self.modalities[at].name)]);
            let part = part.map_err(Error::graph("a part of the merged model"))?;
            outputs.extend(self.all_outputs(&part, &[at], inputs)?);
        }
        Ok(outputs)
    }

    /// Whether some modalities are missing, and the fusion is told so by their masks.
    fn may_be_absent(&self, given: &[usize]) -> bool {
        let mut missing = (0..self.modalities.len()).filter(|at| !given.contains(at)).peekable();
        if missing.peek().is_none() || given.is_empty() {
            return false;
        }
        let Some(fusion) = &self.model.fusion else { return false };
        missing.all(|at| reads_tokens(fusion, &self.modalities[at].name))
    }

    /// The merged model of these modalities alone, put together from the run's parts.
    fn fused_graph(&self, given: &[usize], attention: bool) -> Result<Graph, Error> {
        let Some(fusion) = &self.model.fusion else {
            return Err(Error::Internal("no fusion to join".to_owned()));
        };
        let mut towers = Vec::new();
        for at in given {
            let head = self.model.heads[*at].clone();
            let ports = token_ports(fusion, &head.modality);
            towers.push(Tower { encoders: cut_encoders(&self.merged, &head.modality, &ports)?, head });
        }
        merged(&towers, Some(fusion), attention)
    }

    fn all_outputs(&self, graph: &Graph, given: &[usize], inputs: &Inputs) -> Result<Outputs, Error> {
        let names: Vec<String> = graph.outputs().into_iter().map(|port| port.name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let columns: Vec<&[Raw]> = (given.iter())
            .filter_map(|at| inputs.get(&self.modalities[*at].name))
            .map(Vec::as_slice)
            .collect();
        self.batches(graph, given, &columns, &names)
    }

    /// Raw items, one column a modality, through a graph in batches. Ports of absent modalities get one token
    /// that is masked.
    fn batches(
        &self,
        graph: &Graph,
        given: &[usize],
        columns: &[&[Raw]],
        outputs: &[&str],
    ) -> Result<Outputs, Error> {
        let session = self.bench.session_for_batches(graph)?;
        let is_input = |name: &String| session.inputs().iter().any(|port| port.name == *name);
        // of every encoder of the given modalities, the inputs that this graph has, by the merged model's
        // names
        let mut inputs: Vec<ItemInput> = Vec::new();
        let mut kept: Vec<Vec<Vec<bool>>> = Vec::new();
        for at in given {
            let recorded = &self.manifest.modalities[*at].encoders;
            let mut of_modality = Vec::new();
            for (encoder, recorded) in self.modalities[*at].encoders.iter().zip(recorded) {
                let names: Vec<Option<&String>> = (encoder.inputs.iter())
                    .map(|i| recorded.inputs.get(&i.name).filter(|name| is_input(name)))
                    .collect();
                inputs.extend(encoder.inputs.iter().zip(&names).filter_map(|(i, name)| {
                    let name = (*name)?.clone();
                    Some(ItemInput { name, dtype: i.dtype, dims: i.dims.clone(), pad: i.pad })
                }));
                of_modality.push(names.iter().map(Option::is_some).collect());
            }
            kept.push(of_modality);
        }
        let absent = session.inputs().iter().filter(|port| port.name.starts_with("fuse/")).map(masked);
        let absent: Vec<(ItemInput, Tensor)> = absent.collect::<Result<_, _>>()?;
        inputs.extend(absent.iter().map(|(input, _)| input.clone()));
        let prepare = |row: usize| -> Result<Vec<Tensor>, HostError> {
            let mut tensors = Vec::new();
            for ((at, column), kept) in given.iter().zip(columns).zip(&kept) {
                for (encoder, kept) in self.modalities[*at].encoders.iter().zip(kept) {
                    let made = encoder.prepare(&column[row])?;
                    tensors.extend(made.into_iter().zip(kept).filter_map(|(t, keep)| keep.then_some(t)));
                }
            }
            tensors.extend(absent.iter().map(|(_, tensor)| tensor.clone()));
            Ok(tensors)
        };
        let count = columns.iter().map(|column| column.len()).min().unwrap_or_default();
        let steps = Steps::begin(&*self.bench.reporter, "run", count);
        let options = EmbedOptions { threads: self.bench.threads, limits: None };
        let none = vec![Vec::new(); count];
        let outputs_of = outputs.iter().map(|name| ((*name).to_owned(), none.clone())).collect();
        let mut rows_of = RowsOf { outputs: outputs_of, steps, before: 0 };
        let request = EmbedRequest { items: count, inputs: &inputs, outputs, options };
        match embed(&session, &request, prepare, &mut rows_of) {
            Err(chiasm_runtime::Error::Item { index, reason }) => {
                let shown: Vec<String> = columns.iter().map(|column| column[index].shown()).collect();
                let message = format!("cannot read {}: {reason}", shown.join(" and "));
                return Err(Error::input("chiasm::run::unreadable_item", message, "give another item"));
            }
            other => other?,
        };
        Ok(rows_of.outputs.into_iter().map(|(name, rows)| (name, padded(rows))).collect())
    }
}

/// What an absent modality's port of the fusion gets: zeros, one token long.
fn masked(port: &Port) -> Result<(ItemInput, Tensor), Error> {
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

impl BatchReceiver for RowsOf<'_> {
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
