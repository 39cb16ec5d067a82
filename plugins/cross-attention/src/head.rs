//! The task head: maps a fused row to the task's answer, and computes its loss.

use chiasm_kit::{LayerBuilder, WeightInit, terms};
use chiasm_plugin::graph::Value;
use chiasm_plugin::ndarray::{ArrayView1, ArrayView2, Axis};
use chiasm_plugin::{Error, Result, Task, TaskKind};

use crate::parameters::{CrossAttentionParameters, FusionMode};

/// Below this length a vector counts as zero.
const TINY: f32 = 1e-12;

/// The task head at the end of the graph.
#[derive(Debug, Clone)]
pub(crate) struct TaskHead {
    kind: TaskKind,
    /// Columns of the target.
    columns: usize,
    /// Mean and deviation of each column that holds numbers.
    scale: Option<[Vec<f32>; 2]>,
}

/// Computes the mean and standard deviation of a column, in double precision because squares overflow single
/// precision. A constant column has deviation 1.
#[expect(clippy::cast_possible_truncation, reason = "both lie within the column's range")]
fn mean_and_deviation(column: ArrayView1<'_, f32>) -> (f32, f32) {
    let column = column.mapv(f64::from);
    let largest = column.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    let (mean, deviation) = (column.mean().unwrap_or_default(), column.std(0.0));
    let changes = deviation > 1e-9 * largest && (deviation as f32).is_normal();
    (mean as f32, if changes { deviation as f32 } else { 1.0 })
}

impl TaskHead {
    /// Creates the head of a task, given its target `[n, columns]`.
    pub(crate) fn new(task: &Task, target: ArrayView2<'_, f32>) -> Result<Self> {
        let (rows, columns) = target.dim();
        if rows < 2 || columns == 0 || (task.has_logits() && columns != task.labels.len()) {
            let expected = if task.has_logits() { task.labels.len().to_string() } else { "some".to_owned() };
            let message =
                format!("expected at least 2 rows and {expected} columns, got {rows} and {columns}");
            return Err(Error::invalid(format!("`target`: {message}")));
        }
        if let Some(row) = target.outer_iter().position(|row| row.iter().any(|x| !x.is_finite())) {
            return Err(Error::invalid(format!(
                "`target`: expected finite numbers, got NaN or infinity in row {row}"
            )));
        }
        let scale = (task.kind == TaskKind::Regression).then(|| {
            let (mean, deviation) = target.axis_iter(Axis(1)).map(mean_and_deviation).unzip();
            [mean, deviation]
        });
        Ok(Self { kind: task.kind, columns, scale })
    }

    /// Length of an answer.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Whether the answer may start as the sum of the aligned vectors.
    pub(crate) fn corrects(&self) -> bool {
        self.kind == TaskKind::Retrieval
    }

    /// The answer to fused rows of this width, `[batch, columns]`: logits, numbers in their own units, or
    /// unit vectors.
    ///
    /// Where there is a `sum`, the answer is the sum and a correction that starts at zero.
    pub(crate) fn answer(
        &self,
        layers: &mut LayerBuilder<'_>,
        parameters: &CrossAttentionParameters,
        fused: &Value,
        width: usize,
        sum: Option<&Value>,
    ) -> Value {
        let mut raw = match parameters.mode {
            FusionMode::Late => layers.linear("head", fused, width, self.columns),
            _ => layers.feed_forward("head", fused, [width, parameters.hidden, self.columns]),
        };
        if let Some(sum) = sum {
            let gain = layers.weight("head/gain", &[self.columns], WeightInit::Constant(0.0));
            raw = layers.b.mul(&raw, &gain);
            raw = layers.b.add(&raw, sum);
        }
        match (&self.scale, self.kind) {
            (Some(scale), _) => {
                let [mean, deviation] = scale.each_ref().map(|numbers| layers.numbers(numbers));
                let spread = layers.b.mul(&raw, &deviation);
                layers.b.add(&spread, &mean)
            }
            (None, TaskKind::Retrieval) => layers.b.l2_normalise(&raw, -1, TINY),
            (None, _) => raw,
        }
    }

    /// The loss: cross-entropy, that of each label, the squared error in deviations, or InfoNCE.
    pub(crate) fn loss(
        &self,
        layers: &mut LayerBuilder<'_>,
        parameters: &CrossAttentionParameters,
        answer: &Value,
        target: &Value,
    ) -> Value {
        match self.kind {
            TaskKind::Classification => cross_entropy(layers, answer, target),
            TaskKind::MultiLabel => {
                let all = layers.b.op("Softplus", &[answer], &[]);
                let right = layers.b.mul(answer, target);
                let loss = layers.b.sub(&all, &right);
                terms::mean(&mut layers.b, &loss)
            }
            TaskKind::Regression => {
                let mut difference = layers.b.sub(answer, target);
                if let Some([_, deviation]) = &self.scale {
                    let deviation = layers.numbers(deviation);
                    difference = layers.b.div(&difference, &deviation);
                }
                let squares = layers.b.mul(&difference, &difference);
                terms::mean(&mut layers.b, &squares)
            }
            TaskKind::Retrieval => {
                #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
                let first = parameters.temperature.ln() as f32;
                let temperature = layers.weight("log_temperature", &[], WeightInit::Constant(first));
                let target = layers.b.l2_normalise(target, -1, TINY);
                terms::infonce(&mut layers.b, answer, &target, &temperature, None)
            }
        }
    }

    /// The loss of distillation: that of the labels, and the cross-entropy of the softened logits with the
    /// teacher's probabilities, by their weights.
    #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
    pub(crate) fn distilled(
        &self,
        layers: &mut LayerBuilder<'_>,
        parameters: &CrossAttentionParameters,
        loss: &Value,
        [answer, probabilities]: [&Value; 2],
    ) -> Value {
        let (weight, temperature) = (parameters.teacher_weight, parameters.teacher_temperature);
        let softened = layers.b.mul_scalar(answer, temperature.recip() as f32);
        let soft = cross_entropy(layers, &softened, probabilities);
        let soft = layers.b.mul_scalar(&soft, (weight * temperature * temperature) as f32);
        let hard = layers.b.mul_scalar(loss, (1.0 - weight) as f32);
        layers.b.add(&hard, &soft)
    }
}

/// The mean cross-entropy of logits with probabilities of classes, both `[batch, classes]`.
fn cross_entropy(layers: &mut LayerBuilder<'_>, logits: &Value, probabilities: &Value) -> Value {
    let axes: &[i64] = &[-1];
    let all = layers.b.op("ReduceLogSumExp", &[logits], &[("axes", axes.into()), ("keepdims", 0.into())]);
    let right = layers.b.mul(logits, probabilities);
    let right = layers.b.reduce_sum(&right, &[-1], false);
    let loss = layers.b.sub(&all, &right);
    terms::mean(&mut layers.b, &loss)
}
