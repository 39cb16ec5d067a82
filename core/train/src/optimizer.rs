//! Builds optimizers as graphs: gradients and weights in, next weights and next state out.
//!
//! What changes from step to step (step size, bias corrections) are scalar inputs, computed here in 64 bits.
//! Each element-wise pass costs memory traffic, so Adam's moving averages are stored unscaled, `M = m / (1 -
//! beta1)` and `V = v / (1 - beta2)`, and the scalars include their corrections:
//!
//! ```text
//! M' = beta1 M + g      V' = beta2 V + g^2      w' = (1 - r decay) w - s M' / (sqrt(V') + e)
//! s = r c1 / sqrt(c2)   e = epsilon / sqrt(c2)  ci = (1 - beta_i) / (1 - beta_i^t)
//! ```

use chiasm_graph::{Attr, Builder, DType, Dim, Graph, Result, Tensor, Value};
use chiasm_objective::{Optimizer, TrainingOptions};
use chiasm_runtime::StateVariable;

use crate::checked_objective::{CONTROL, UpdatedWeight};

/// The output with the norm of the whole gradient before clipping; present when the gradient is clipped.
pub(crate) const GRADIENT_NORM: &str = "gradient_norm";

/// An optimizer's graph and its state besides the weights.
pub(crate) struct OptimizerGraph {
    /// Inputs: `<weight>`, `gradient/<weight>`, states, controls. Outputs: `next/<weight>`, next states, and
    /// the norm when the gradient is clipped.
    pub graph: Graph,
    pub state: Vec<StateVariable>,
}

/// Returns the scalar inputs of step `at` of `steps`, counted from 0, by name.
pub(crate) fn controls(options: &TrainingOptions, at: u64, steps: u64) -> Vec<(String, f32)> {
    let rate = options.rate(at, steps);
    let mut step = rate;
    let mut scalars = vec![("keep", 1.0 - rate * options.weight_decay)];
    if let Optimizer::AdamW { beta1, beta2, epsilon } = options.optimizer {
        let taken = i32::try_from(at + 1).unwrap_or(i32::MAX);
        let correction = |beta: f64| (1.0 - beta) / (1.0 - beta.powi(taken));
        let root = correction(beta2).sqrt();
        step = rate * correction(beta1) / root;
        scalars.push(("epsilon", epsilon / root));
    }
    scalars.push(("step", step));
    #[expect(clippy::cast_possible_truncation, reason = "the graph computes in 32 bits")]
    scalars.into_iter().map(|(name, value)| (format!("{CONTROL}{name}"), value as f32)).collect()
}

/// Builds the optimizer of the options for these weights.
pub(crate) fn update(weights: &[UpdatedWeight], options: &TrainingOptions) -> Result<OptimizerGraph> {
    let mut builder = OptimizerBuilder { b: Builder::new("update"), state: Vec::new() };
    let trained: Vec<&UpdatedWeight> = weights.iter().filter(|weight| weight.trained).collect();
    let mut gradients = Vec::new();
    for weight in &trained {
        gradients.push(builder.input(&format!("gradient/{}", weight.name), weight.first.shape())?);
    }
    if let Some(max_norm) = options.clip {
        builder.clip(&mut gradients, max_norm);
    }
    let decays = options.weight_decay != 0.0 && trained.iter().any(|weight| weight.decay);
    let keep = if decays { Some(builder.control("keep")?) } else { None };
    let step = builder.control("step")?;
    let epsilon = match options.optimizer {
        Optimizer::AdamW { .. } => Some(builder.control("epsilon")?),
        Optimizer::Sgd { .. } | Optimizer::Lion { .. } => None,
    };
    for (weight, gradient) in trained.iter().zip(&gradients) {
        let shape = weight.first.shape();
        let value = builder.input(&weight.name, shape)?;
        let kept = match &keep {
            Some(keep) if weight.decay => builder.b.mul(&value, keep),
            _ => value,
        };
        let direction = builder.direction(&options.optimizer, weight, gradient, epsilon.as_ref())?;
        let change = builder.b.mul(&direction, &step);
        let next = builder.b.sub(&kept, &change);
        builder.output(&format!("next/{}", weight.name), &next, shape);
    }
    Ok(OptimizerGraph { graph: builder.b.finish()?, state: builder.state })
}

struct OptimizerBuilder {
    b: Builder,
    state: Vec<StateVariable>,
}

impl OptimizerBuilder {
    fn input(&mut self, name: &str, shape: &[usize]) -> Result<Value> {
        self.b.input(name, DType::F32, &fixed(shape))
    }

    fn output(&mut self, name: &str, value: &Value, shape: &[usize]) {
        self.b.output(name, value, DType::F32, &fixed(shape));
    }

    fn control(&mut self, name: &str) -> Result<Value> {
        self.input(&format!("{CONTROL}{name}"), &[])
    }

    /// Clips the norm of the whole gradient as PyTorch's `clip_grad_norm_` does (1e-6 keeps the quotient
    /// finite).
    fn clip(&mut self, gradients: &mut [Value], max_norm: f64) {
        let once = [("keepdims", Attr::Int(0))];
        let squares: Vec<Value> =
            gradients.iter().map(|gradient| self.b.op("ReduceSumSquare", &[gradient], &once)).collect();
        let sum = self.b.op("Sum", &squares.iter().collect::<Vec<_>>(), &[]);
        let norm = self.b.sqrt(&sum);
        self.output(GRADIENT_NORM, &norm, &[]);
        let divisor = self.b.add_scalar(&norm, 1e-6);
        #[expect(clippy::cast_possible_truncation, reason = "the graph computes in 32 bits")]
        let max_norm = self.b.scalar(max_norm as f32);
        let factor = self.b.div(&max_norm, &divisor);
        let one = self.b.scalar(1.0);
        let factor = self.b.op("Min", &[&factor, &one], &[]);
        gradients.iter_mut().for_each(|gradient| *gradient = self.b.mul(gradient, &factor));
    }

    /// Returns the update direction, which the step size multiplies.
    fn direction(
        &mut self,
        optimizer: &Optimizer,
        weight: &UpdatedWeight,
        gradient: &Value,
        epsilon: Option<&Value>,
    ) -> Result<Value> {
        match *optimizer {
            Optimizer::AdamW { beta1, beta2, .. } => {
                let mean = self.decayed("mean", weight, beta1, gradient)?;
                let square = self.b.mul(gradient, gradient);
                let squares = self.decayed("square", weight, beta2, &square)?;
                let mut root = self.b.sqrt(&squares);
                if let Some(epsilon) = epsilon {
                    root = self.b.add(&root, epsilon);
                }
                Ok(self.b.div(&mean, &root))
            }
            Optimizer::Sgd { momentum: 0.0 } => Ok(gradient.clone()),
            Optimizer::Sgd { momentum } => self.decayed("mean", weight, momentum, gradient),
            Optimizer::Lion { beta1, beta2 } => self.lion(weight, beta1, beta2, gradient),
        }
    }

    /// Adds the state `s' = decay s + new` and returns its next value.
    fn decayed(&mut self, kind: &str, weight: &UpdatedWeight, decay: f64, new: &Value) -> Result<Value> {
        let old = self.state_input(kind, weight)?;
        let decayed = self.scaled(&old, decay);
        let next = self.b.add(&decayed, new);
        self.state_output(kind, weight, &next);
        Ok(next)
    }

    fn lion(&mut self, weight: &UpdatedWeight, beta1: f64, beta2: f64, gradient: &Value) -> Result<Value> {
        let old = self.state_input("mean", weight)?;
        let [decayed, new] = [self.scaled(&old, beta1), self.scaled(gradient, 1.0 - beta1)];
        let mixed = self.b.add(&decayed, &new);
        let [decayed, new] = [self.scaled(&old, beta2), self.scaled(gradient, 1.0 - beta2)];
        let next = self.b.add(&decayed, &new);
        self.state_output("mean", weight, &next);
        Ok(self.b.sign(&mixed))
    }

    fn state_input(&mut self, kind: &str, weight: &UpdatedWeight) -> Result<Value> {
        let (input, output) = names(kind, weight);
        let value = self.input(&input, weight.first.shape())?;
        let first = Tensor::zeros(DType::F32, weight.first.shape())?;
        self.state.push(StateVariable { input, output, first });
        Ok(value)
    }

    fn state_output(&mut self, kind: &str, weight: &UpdatedWeight, value: &Value) {
        self.output(&names(kind, weight).1, value, weight.first.shape());
    }

    #[expect(clippy::cast_possible_truncation, reason = "the graph computes in 32 bits")]
    fn scaled(&mut self, value: &Value, factor: f64) -> Value {
        self.b.mul_scalar(value, factor as f32)
    }
}

/// Returns the input and the output of a state.
fn names(kind: &str, weight: &UpdatedWeight) -> (String, String) {
    let input = format!("{CONTROL}{kind}/{}", weight.name);
    let output = format!("next/{input}");
    (input, output)
}

fn fixed(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|length| Dim::Fixed(*length)).collect()
}
