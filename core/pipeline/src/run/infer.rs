//! Running raw items of any of the modalities through a run.

use super::{
    graphs::{Tower, embeds, extract_encoders, merged},
    model::token_ports,
    open::{Run, RunOutputs},
};
use crate::{
    base::{error::Error, reporter::StageProgress},
    catalog::raw::RawItem,
};
use chiasm_graph::{DType, Dim, Graph, Port, Tensor};
use chiasm_host::HostError;
use chiasm_runtime::{BatchReceiver, EmbedOptions, EmbedRequest, ItemInput, embed};
use ndarray::Array2;
use std::collections::BTreeMap;

/// Raw items by modality. If all modalities have the same number of items, item i of each belongs to one row.
pub type RawInputs = BTreeMap<String, Vec<RawItem>>;

impl Run<'_> {
    /// Runs raw items through the merged model. Returns the embeddings of every given modality, and the
    /// outputs of the fusion if all given modalities have the same number of items and the fusion supports
    /// absent ones.
    ///
    /// With `attention`, it also returns the attention weights of the fusion, `<modality>_attention` `[n,
    /// T]`, which are zero after the last token.
    ///
    /// # Errors
    /// If an item cannot be read, the engine fails, or the fusion has no attention output.
    pub fn run(&self, inputs: &RawInputs, attention: bool) -> Result<RunOutputs, Error> {
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
            let message = format!(
                "the fusion needs the same number of raw items of each modality, got {}",
                counts.join(" and ")
            );
            if attention {
                let help = "give the same number of items of each modality";
                return Err(Error::input("chiasm::run::counts", message, help));
            }
            self.env.reporter.note(&format!("{message}: each modality is only embedded"));
        }
        if together && self.manifest.fused.is_some() && (attention || self.may_be_absent(&given)) {
            let graph = self.fused_graph(&given, attention)?;
            if attention && graph.outputs().iter().all(|port| !port.name.ends_with("_attention")) {
                let help = "use `cross-attention` with the mode decoder, one-way, two-way, gated or latent";
                let message = "the fusion of this run has no attention output";
                return Err(Error::input("chiasm::run::attention", message, help));
            }
            return self.all_outputs(&graph, &given, inputs);
        }
        if together && given.len() == self.modalities.len() {
            return self.all_outputs(&self.merged, &given, inputs);
        }
        let mut outputs = RunOutputs::new();
        for at in given {
            let part = self.merged.extract(&[&embeds(&self.modalities[at].name)]);
            let part = part.map_err(Error::graph("a part of the merged model"))?;
            outputs.extend(self.all_outputs(&part, &[at], inputs)?);
        }
        Ok(outputs)
    }

    /// Returns whether modalities are missing and the fusion supports that, because it reads their masks.
    fn may_be_absent(&self, given: &[usize]) -> bool {
        let mut missing = (0..self.modalities.len()).filter(|at| !given.contains(at)).peekable();
        if missing.peek().is_none() || given.is_empty() {
            return false;
        }
        let Some(fusion) = &self.model.fusion else { return false };
        missing.all(|at| !token_ports(fusion, &self.modalities[at].name).is_empty())
    }

    /// Joins the merged model of the given modalities from the parts of the run.
    fn fused_graph(&self, given: &[usize], attention: bool) -> Result<Graph, Error> {
        let Some(fusion) = &self.model.fusion else {
            return Err(Error::Internal("the model has no fusion".to_owned()));
        };
        let mut towers = Vec::new();
        for at in given {
            let head = self.model.heads[*at].clone();
            let ports = token_ports(fusion, &head.modality);
            towers.push(Tower { encoders: extract_encoders(&self.merged, &head.modality, &ports)?, head });
        }
        merged(&towers, Some(fusion), attention)
    }

    fn all_outputs(&self, graph: &Graph, given: &[usize], inputs: &RawInputs) -> Result<RunOutputs, Error> {
        let names: Vec<String> = graph.outputs().into_iter().map(|port| port.name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let columns: Vec<&[RawItem]> = (given.iter())
            .filter_map(|at| inputs.get(&self.modalities[*at].name))
            .map(Vec::as_slice)
            .collect();
        self.batches(graph, given, &columns, &names)
    }

    /// Runs raw items, one column per given modality, through a graph in batches. Ports of absent modalities
    /// get one masked token.
    fn batches(
        &self,
        graph: &Graph,
        given: &[usize],
        columns: &[&[RawItem]],
        outputs: &[&str],
    ) -> Result<RunOutputs, Error> {
        let session = self.env.session_for_batches(graph)?;
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
        let steps = StageProgress::begin(&*self.env.reporter, "run", count);
        let options = EmbedOptions { threads: self.env.threads, limits: None };
        let none = vec![Vec::new(); count];
        let outputs_of = outputs.iter().map(|name| ((*name).to_owned(), none.clone())).collect();
        let mut rows_of = OutputCollector { outputs: outputs_of, steps, before: 0 };
        let request = EmbedRequest { items: count, inputs: &inputs, outputs, options };
        match embed(&session, &request, prepare, &mut rows_of) {
            Err(chiasm_runtime::Error::Item { index, reason }) => {
                let shown: Vec<String> = columns.iter().map(|column| column[index].describe()).collect();
                let message = format!("cannot read {}: {reason}", shown.join(" and "));
                return Err(Error::input("chiasm::run::unreadable_item", message, "give another item"));
            }
            other => other?,
        };
        Ok(rows_of.outputs.into_iter().map(|(name, rows)| (name, padded(rows))).collect())
    }
}

/// Returns the value for a port of an absent modality: zeros of length one.
fn masked(port: &Port) -> Result<(ItemInput, Tensor), Error> {
    let free = |dim: &Dim| dim.fixed().unwrap_or(1);
    let shape: Vec<usize> = port.dims.iter().flatten().skip(1).map(free).collect();
    let dims = shape.iter().copied().map(Some).collect();
    let tensor = Tensor::zeros(DType::F32, &shape).map_err(|e| Error::Internal(e.to_string()))?;
    Ok((ItemInput { name: port.name.clone(), dtype: DType::F32, dims, pad: None }, tensor))
}

/// Collects the rows of every output. Rows may have different lengths.
struct OutputCollector<'a> {
    outputs: BTreeMap<String, Vec<Vec<f32>>>,
    steps: StageProgress<'a>,
    before: usize,
}

impl BatchReceiver for OutputCollector<'_> {
    fn batch(&mut self, rows: &[usize], outputs: Vec<(String, Tensor)>) -> Result<(), String> {
        for (name, tensor) in outputs {
            let kept = self.outputs.get_mut(&name).ok_or_else(|| format!("unexpected output `{name}`"))?;
            let width = tensor.shape().iter().skip(1).product::<usize>();
            let values = tensor.as_f32().ok_or_else(|| format!("`{name}` is {}, not f32", tensor.dtype()))?;
            for (row, values) in rows.iter().zip(values.chunks_exact(width.max(1))) {
                kept[*row] = values.to_vec();
            }
        }
        Ok(())
    }

    fn progress(&mut self, done: usize, _: usize) -> bool {
        let go_on = self.steps.add(done - self.before);
        self.before = done;
        go_on
    }
}

/// Returns rows as a matrix, padded with zeros to the longest.
fn padded(rows: Vec<Vec<f32>>) -> Array2<f32> {
    let width = rows.iter().map(Vec::len).max().unwrap_or_default();
    let mut all = Array2::zeros((rows.len(), width));
    for (mut to, from) in all.outer_iter_mut().zip(rows) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from);
    }
    all
}
