//! Validates an objective: finds its weights, ports and terms, or the first thing that is wrong with it.

use std::collections::HashSet;

use chiasm_graph::{DType, Dim, Graph, Port, Tensor};
use chiasm_objective::{LOSS, Objective, RandomInput, VALIDATION};

use crate::{Error, Result};

/// The prefix of the trainer's own ports; objectives may not use it.
pub(crate) const CONTROL: &str = "control/";

/// A valid objective.
pub(crate) struct CheckedObjective {
    /// The graph with its weights as inputs.
    pub lifted: Graph,
    /// The part of it that a training step computes.
    pub forward: Graph,
    pub weights: Vec<UpdatedWeight>,
    pub random: Vec<RandomInput>,
    pub after: Option<Graph>,
    /// The inputs that take rows.
    pub ports: Vec<Port>,
    /// The outputs of a training step, the loss first.
    pub terms: Vec<String>,
    /// The output that scores the validation rows.
    pub score: &'static str,
}

/// A weight that changes during a training.
pub(crate) struct UpdatedWeight {
    pub name: String,
    pub first: Tensor,
    /// Whether the optimizer updates it; otherwise only `after` does.
    pub trained: bool,
    pub decay: bool,
}

impl CheckedObjective {
    pub fn read(objective: &Objective) -> Result<Self> {
        read(objective).map_err(|problem| match problem {
            ObjectiveProblem::Invalid(reason) => {
                Error::Objective { name: objective.graph.name().to_owned(), reason }
            }
            ObjectiveProblem::Graph(error) => Error::Graph(error),
        })
    }

    /// Returns the names of the weights that the optimizer updates.
    pub fn trained(&self) -> Vec<&str> {
        self.weights.iter().filter(|w| w.trained).map(|w| w.name.as_str()).collect()
    }

    /// Returns the shape of a random port for a batch of `batch` rows.
    pub fn shape(&self, port: &Port, batch: usize) -> Vec<usize> {
        let dims = port.dims.iter().flatten();
        dims.map(|dim| dim.fixed().unwrap_or(batch)).collect()
    }
}

enum ObjectiveProblem {
    Invalid(String),
    Graph(chiasm_graph::Error),
}

impl From<String> for ObjectiveProblem {
    fn from(reason: String) -> Self {
        Self::Invalid(reason)
    }
}

impl From<chiasm_graph::Error> for ObjectiveProblem {
    fn from(error: chiasm_graph::Error) -> Self {
        Self::Graph(error)
    }
}

fn read(objective: &Objective) -> Result<CheckedObjective, ObjectiveProblem> {
    let graph = &objective.graph;
    let terms = terms(graph)?;
    let has_validation = graph.outputs().iter().any(|port| port.name == VALIDATION);
    let mut weights = trained(objective)?;
    weights.extend(rewritten(objective, &weights)?);
    let is_random = |name: &str| objective.random.iter().any(|random| random.port == name);
    let ports: Vec<Port> = graph.inputs().into_iter().filter(|port| !is_random(&port.name)).collect();
    let batch = batch_axes(&ports)?;
    for random in &objective.random {
        check_random(graph, random, &batch)?;
    }
    let own = graph.inputs().into_iter().map(|port| port.name).chain(terms.iter().cloned());
    if let Some(name) = own.chain(weights.iter().map(|w| w.name.clone())).find(|n| n.starts_with(CONTROL)) {
        return Err(format!(
            "the name `{name}` begins with `{CONTROL}`, which is reserved for the trainer; rename it"
        )
        .into());
    }
    let names: Vec<&str> = weights.iter().map(|w| w.name.as_str()).collect();
    let lifted = graph.lifted(&names)?;
    let forward = lifted.extract(&terms.iter().map(String::as_str).collect::<Vec<_>>())?;
    if let Some(unused) = weights.iter().find(|w| w.trained && forward.input(&w.name).is_err()) {
        return Err(
            format!("its loss does not depend on the weight `{}`; do not train it", unused.name).into()
        );
    }
    Ok(CheckedObjective {
        lifted,
        forward,
        random: objective.random.clone(),
        after: objective.after.clone(),
        score: if has_validation { VALIDATION } else { LOSS },
        weights,
        ports,
        terms,
    })
}

/// Returns the outputs of a step, the loss first; every output must be a scalar.
fn terms(graph: &Graph) -> Result<Vec<String>, ObjectiveProblem> {
    let outputs = graph.outputs();
    for port in &outputs {
        if port.dtype != DType::F32 || port.dims.as_ref().is_none_or(|dims| !dims.is_empty()) {
            return Err(format!("its outputs must be scalars f32[], got {port}").into());
        }
    }
    if !outputs.iter().any(|port| port.name == LOSS) {
        let names = outputs.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(format!("it has no output `{LOSS}`; it has: {names}").into());
    }
    let others = outputs.into_iter().map(|port| port.name).filter(|name| name != LOSS && name != VALIDATION);
    Ok(std::iter::once(LOSS.to_owned()).chain(others).collect())
}

fn trained(objective: &Objective) -> Result<Vec<UpdatedWeight>, ObjectiveProblem> {
    if objective.trainable.is_empty() {
        return Err("it names no weight to train".to_owned().into());
    }
    let mut seen = HashSet::new();
    objective
        .trainable
        .iter()
        .map(|trainable| {
            let first = objective.graph.weight(&trainable.name)?;
            if first.dtype() != DType::F32 || first.is_empty() {
                let got = format!("{}{:?}", first.dtype(), first.shape());
                return Err(
                    format!("the weight `{}` is {got}; only f32 can be trained", trainable.name).into()
                );
            }
            if !seen.insert(&trainable.name) {
                return Err(format!("the weight `{}` is named twice", trainable.name).into());
            }
            Ok(UpdatedWeight { name: trainable.name.clone(), first, trained: true, decay: trainable.decay })
        })
        .collect()
}

/// Returns the weights that only `after` updates. Its inputs must be weights, its outputs their next values.
fn rewritten(
    objective: &Objective,
    trained: &[UpdatedWeight],
) -> Result<Vec<UpdatedWeight>, ObjectiveProblem> {
    let Some(after) = &objective.after else { return Ok(Vec::new()) };
    let outputs: Vec<String> = after.outputs().into_iter().map(|port| port.name).collect();
    let mut found = Vec::new();
    for name in &outputs {
        let weight = name.strip_prefix("next/");
        let weight =
            weight.ok_or_else(|| format!("its `after` has the output `{name}`; expected `next/<weight>`"))?;
        if !trained.iter().any(|w| w.name == weight) {
            let first = objective.graph.weight(weight)?;
            found.push(UpdatedWeight { name: weight.to_owned(), first, trained: false, decay: false });
        }
    }
    for port in after.inputs() {
        if !trained.iter().chain(&found).any(|w| w.name == port.name) {
            return Err(format!(
                "its `after` reads `{}`, a weight that is neither trained nor rewritten",
                port.name
            )
            .into());
        }
    }
    Ok(found)
}

/// Returns the names of the first axes of the batch ports.
fn batch_axes(ports: &[Port]) -> Result<HashSet<String>, ObjectiveProblem> {
    if ports.is_empty() {
        return Err("it has no input that takes rows".to_owned().into());
    }
    ports
        .iter()
        .map(|port| match port.dims.as_ref().and_then(|dims| dims.first()) {
            Some(Dim::Named(name)) => Ok(name.clone()),
            _ => {
                Err(format!("its input {port} must have a free, named first axis: the rows of a batch")
                    .into())
            }
        })
        .collect()
}

fn check_random(
    graph: &Graph,
    random: &RandomInput,
    batch: &HashSet<String>,
) -> Result<(), ObjectiveProblem> {
    let port = graph.input(&random.port)?;
    let known = |dim: &Dim| match dim {
        Dim::Fixed(_) => true,
        Dim::Named(name) => batch.contains(name),
        Dim::Unknown => false,
    };
    if port.dtype != DType::F32 || !port.dims.as_ref().is_some_and(|dims| dims.iter().all(known)) {
        return Err(
            format!("its random input {port} must be f32, its axes fixed or as long as the batch").into()
        );
    }
    if let chiasm_objective::NoiseDistribution::Mask { keep } = random.draw
        && !(keep > 0.0 && keep <= 1.0)
    {
        return Err(format!(
            "the mask `{}` keeps with probability {keep}; expected above 0, at most 1",
            random.port
        )
        .into());
    }
    Ok(())
}
