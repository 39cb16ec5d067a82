//! Running raw items of any of the modalities through a run.

use super::{
    graphs::{Tower, embeds, extract_encoders, merged},
    model::token_ports,
    open::{Run, RunOutputs},
    session::{RunSession, SessionThreads},
};
use crate::{base::error::Error, catalog::raw::RawItem};
use chiasm_graph::Graph;
use chiasm_runtime::{Session, SessionOptions};
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
        if together && attention && self.manifest.fused.is_some() {
            let graph = self.fused_graph(&given, true)?;
            if graph.outputs().iter().all(|port| !port.name.ends_with("_attention")) {
                let help = "use `cross-attention` with the mode decoder, one-way, two-way, gated or latent";
                let message = "the fusion of this run has no attention output";
                return Err(Error::input("chiasm::run::attention", message, help));
            }
            return self.outputs(&graph, given, inputs);
        }
        if together && let Some(graph) = self.joint_graph(&given)? {
            return self.outputs(&graph, given, inputs);
        }
        let mut outputs = RunOutputs::new();
        for at in given {
            outputs.extend(self.outputs(&self.tower(at)?, vec![at], inputs)?);
        }
        Ok(outputs)
    }

    /// Loads what raw items of these modalities need, to run many of them: the tower of one modality; or that
    /// of each with the fusion, if there is one and it supports that the other modalities are absent.
    ///
    /// # Errors
    /// If the run has no such modality, or the engine cannot load the graph.
    pub fn session(&self, modalities: &[&str], threads: SessionThreads) -> Result<RunSession, Error> {
        let mut given = modalities.iter().map(|name| self.place(name)).collect::<Result<Vec<_>, _>>()?;
        given.sort_unstable();
        given.dedup();
        let graph = match self.joint_graph(&given)? {
            Some(graph) => graph,
            None => {
                let outputs: Vec<String> =
                    given.iter().map(|at| embeds(&self.modalities[*at].name)).collect();
                self.part_of_merged(&outputs.iter().map(String::as_str).collect::<Vec<_>>())?
            }
        };
        RunSession::open(self, given, &graph, threads)
    }

    /// Returns the merged model, `model.onnx`.
    pub fn model(&self) -> &Graph {
        &self.merged
    }

    /// Loads the part of the merged model that computes these outputs, to run tensors through it on one copy
    /// with this many threads.
    ///
    /// # Errors
    /// If the model has no such output, or the engine cannot load the part.
    pub fn tensor_session(&self, outputs: &[&str], threads: usize) -> Result<Session, Error> {
        let options = SessionOptions { device: self.env.device, threads, ..SessionOptions::default() };
        Ok(self.env.engine()?.session(&self.part_of_merged(outputs)?, &options)?)
    }

    /// Returns the graph of all outputs for these modalities; `None` if the model cannot join them.
    fn joint_graph(&self, given: &[usize]) -> Result<Option<Graph>, Error> {
        if self.manifest.fused.is_some() && self.may_be_absent(given) {
            return self.fused_graph(given, false).map(Some);
        }
        Ok((given.len() == self.modalities.len()).then(|| self.merged.clone()))
    }

    fn tower(&self, at: usize) -> Result<Graph, Error> {
        self.part_of_merged(&[&embeds(&self.modalities[at].name)])
    }

    fn part_of_merged(&self, outputs: &[&str]) -> Result<Graph, Error> {
        self.merged.extract(outputs).map_err(Error::graph("a part of the merged model"))
    }

    fn outputs(&self, graph: &Graph, given: Vec<usize>, inputs: &RawInputs) -> Result<RunOutputs, Error> {
        let columns: Vec<&[RawItem]> = (given.iter())
            .filter_map(|at| inputs.get(&self.modalities[*at].name))
            .map(Vec::as_slice)
            .collect();
        RunSession::open(self, given, graph, SessionThreads::OneEach)?.run_all(&columns)
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
}
