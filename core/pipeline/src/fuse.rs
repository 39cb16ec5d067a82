//! The fusion of a run: fitted on what it reads of the training rows, asked for held-out rows, with modalities hidden or not.

use crate::{
    Error, Plan, Workbench,
    embed::{Tokens, means},
    maps::{Clouds, Maps, view},
    recipe::PluginRecipe,
    score::{Question, TaskMetrics},
    task::TaskPlan,
};
use chiasm_graph::{Graph, Tensor};
use chiasm_host::{Data, FusionSpec, Modality, Task};
use ndarray::{Array2, Axis, Slice};
use serde_json::Value;

/// Rows that go through the fusion at once.
const BATCH: usize = 256;
/// Below this length a vector counts as zero.
const TINY: f32 = 1e-12;

/// A fusion that was fitted.
#[derive(Debug, Clone)]
pub struct Fusion {
    /// From `<modality>.pooled`, `.tokens` and `.mask` to `fused`, perhaps `logits` and `attention.<modality>`.
    pub graph: Graph,
    /// What the plugin says of it.
    pub notes: Value,
    /// What it was trained for.
    pub task: Option<Task>,
}

/// Some rows as a fusion sees them.
struct Cases {
    /// The modalities.
    pub names: [String; 2],
    /// Their aligned vectors.
    pub pooled: [Array2<f32>; 2],
    /// Their tokens, for a fusion that reads them.
    tokens: [Option<Tokens>; 2],
    /// For retrieval what is to be found.
    pub others: Option<Found>,
}

/// Items to be found: aligned unit vectors, and how many of them belong to each row, in order.
pub(crate) struct Found {
    /// `[items, k]`.
    pub items: Array2<f32>,
    /// Items of each row.
    pub counts: Vec<usize>,
}

impl Found {
    /// Aligned vectors, brought to unit length.
    pub fn new(mut items: Array2<f32>, counts: Vec<usize>) -> Self {
        for mut row in items.rows_mut() {
            let length = row.dot(&row).sqrt().max(TINY);
            row.mapv_inplace(|x| x / length);
        }
        Self { items, counts }
    }

    /// The mean of each row's items: what the fused vector should be near to.
    fn target(&self) -> Array2<f32> {
        means(&self.items, self.counts.iter().copied())
    }
}

impl Cases {
    /// These rows of the clouds, through the maps.
    fn of(clouds: &Clouds, rows: &[usize], maps: &Maps, bench: &Workbench) -> Result<Self, Error> {
        let aligned = maps.apply(&clouds.select(rows), bench)?;
        let tokens = clouds.tokens.each_ref().map(|tokens| tokens.as_ref().map(|tokens| tokens.select(rows)));
        let others = match &clouds.others {
            None => None,
            Some(others) => {
                let (items, counts) = others.of(rows);
                Some(Found::new(maps.apply_one(others.side, &items, bench)?, counts))
            }
        };
        Ok(Self { names: aligned.names, pooled: aligned.sides, tokens, others })
    }

    fn target(&self, task: Option<&TaskPlan>, rows: &[usize]) -> Option<Array2<f32>> {
        let task = task?;
        task.target(rows).or_else(|| self.others.as_ref().map(Found::target))
    }

    fn count(&self) -> usize {
        self.pooled[0].nrows()
    }
}

impl Fusion {
    /// Fits the plan's fusion on these rows; `None` when the recipe has none.
    ///
    /// # Errors
    /// When the fusion refuses or fails; the error names the plugin.
    pub(crate) fn fit(
        plan: &Plan,
        clouds: &Clouds,
        rows: &[usize],
        maps: &Maps,
        bench: &Workbench,
    ) -> Result<Option<Self>, Error> {
        let Some(recipe) = &plan.recipe.fuse else { return Ok(None) };
        let cases = Cases::of(clouds, rows, maps, bench)?;
        let target = cases.target(plan.task.as_ref(), rows);
        Self::learn(recipe, &cases, plan.task.as_ref(), target.as_ref(), bench).map(Some)
    }

    fn learn(
        recipe: &PluginRecipe,
        cases: &Cases,
        task: Option<&TaskPlan>,
        target: Option<&Array2<f32>>,
        bench: &Workbench,
    ) -> Result<Self, Error> {
        let mut modalities = Vec::new();
        let mut data: Vec<(&str, Data<'_>)> = Vec::new();
        let ports = cases
            .names
            .each_ref()
            .map(|name| ["pooled", "tokens", "mask"].map(|port| format!("{name}.{port}")));
        for (side, [pooled_port, tokens_port, mask_port]) in ports.iter().enumerate() {
            let (pooled, tokens) = (&cases.pooled[side], &cases.tokens[side]);
            data.push((pooled_port, view(pooled)));
            if let Some(Tokens { values, mask }) = tokens {
                data.push((tokens_port, Data::f32(values.shape(), values.as_slice().unwrap_or_default())));
                data.push((mask_port, view(mask)));
            }
            let token_dim = tokens.as_ref().map(|tokens| tokens.values.len_of(Axis(2)));
            modalities.push(Modality {
                name: cases.names[side].clone(),
                pooled_dim: pooled.ncols(),
                token_dim,
            });
        }
        data.extend(target.map(|target| ("target", view(target))));
        let task = task.map(|plan| plan.task.clone());
        let spec = FusionSpec { modalities, task: task.clone() };
        let services = bench.services(&format!("fuse ({})", recipe.id.value));
        let fused = bench.host.fusion(&recipe.id.value)?.fit(&spec, &data, &recipe.to_json(), &services)?;
        Ok(Self { graph: fused.graph, notes: fused.notes, task })
    }

    /// Whether it reads tokens or masks of this modality, beside pooled vectors.
    pub(crate) fn reads_tokens(&self, modality: &str) -> bool {
        reads_tokens(&self.graph, modality)
    }

    /// How well it answers the plan's task on some rows; `None` without a task.
    pub(crate) fn score(
        &self,
        plan: &Plan,
        clouds: &Clouds,
        rows: &[usize],
        maps: &Maps,
        bench: &Workbench,
    ) -> Result<Option<TaskMetrics>, Error> {
        let Some(task) = &plan.task else { return Ok(None) };
        let cases = Cases::of(clouds, rows, maps, bench)?;
        let question = Question {
            task,
            rows,
            names: &cases.names,
            pooled: &cases.pooled,
            others: cases.others.as_ref(),
            seed: plan.recipe.seed,
        };
        question.score(&|hidden| self.answers(&cases, hidden, bench)).map(Some)
    }

    /// The answers to some rows, with one modality hidden or none: logits, or fused vectors for retrieval.
    fn answers(&self, cases: &Cases, hidden: Option<usize>, bench: &Workbench) -> Result<Array2<f32>, Error> {
        let output = answer(self.task.as_ref());
        let internal = |e: chiasm_graph::Error| Error::Internal(e.to_string());
        let graph = self.graph.extract(&[output]).map_err(internal)?;
        let session = bench.session(&graph)?;
        let wanted: Vec<String> = graph.inputs().into_iter().map(|port| port.name).collect();
        let mut all: Option<Array2<f32>> = None;
        for start in (0..cases.count()).step_by(BATCH) {
            let rows = Slice::from(start..(start + BATCH).min(cases.count()));
            let mut inputs: Vec<(String, Tensor)> = Vec::new();
            for side in 0..2 {
                let name = &cases.names[side];
                let mut give = |port: &str, shape: &[usize], values: Vec<f32>| -> Result<(), Error> {
                    let port = format!("{name}.{port}");
                    if wanted.contains(&port) {
                        inputs.push((port, Tensor::f32(shape, values).map_err(internal)?));
                    }
                    Ok(())
                };
                let pooled = cases.pooled[side].slice_axis(Axis(0), rows);
                give("pooled", pooled.shape(), pooled.iter().copied().collect())?;
                if let Some(Tokens { values, mask }) = &cases.tokens[side] {
                    let (values, mask) = (values.slice_axis(Axis(0), rows), mask.slice_axis(Axis(0), rows));
                    let seen = f32::from(u8::from(hidden != Some(side)));
                    give("tokens", values.shape(), values.iter().copied().collect())?;
                    give("mask", mask.shape(), mask.iter().map(|there| there * seen).collect())?;
                }
            }
            let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
            let (_, tensor) = session.run(&inputs)?.remove(0);
            let width = tensor.shape().last().copied().unwrap_or_default();
            let values = tensor.into_f32().map_err(internal)?;
            let all = all.get_or_insert_with(|| Array2::zeros((cases.count(), width)));
            let mut part = all.slice_axis_mut(Axis(0), rows);
            part.iter_mut().zip(values).for_each(|(to, from)| *to = from);
        }
        Ok(all.unwrap_or_default())
    }
}

/// The output that answers a task: `logits`, or `fused` where the vector itself is the answer.
pub(crate) fn answer(task: Option<&Task>) -> &'static str {
    if task.is_some_and(Task::has_logits) { "logits" } else { "fused" }
}

/// Whether a fused graph reads tokens or masks of this modality.
pub(crate) fn reads_tokens(graph: &Graph, modality: &str) -> bool {
    ["tokens", "mask"].iter().any(|port| graph.input(&format!("{modality}.{port}")).is_ok())
}
