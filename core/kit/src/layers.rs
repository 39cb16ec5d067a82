//! A builder of graphs whose layers take their weights, by name, from a store.
//!
//! The trained graph and the exported graph of a network are built by the same code. It asks the store for
//! each weight by name: the first request draws the weight, later requests return it, trained or not. Two
//! requests in one graph give one weight. As with [`Builder`], errors are reported by
//! [`LayerBuilder::finish`].

use std::collections::BTreeMap;

use chiasm_geometry::random::Random;
use chiasm_plugin::graph::{Builder, Graph, Tensor, Value};
use chiasm_plugin::{Error, Result};

/// Added to the variance in layer normalisation.
const NORM_EPSILON: f32 = 1e-5;

/// How a weight is initialised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WeightInit {
    /// Every element is this.
    Constant(f32),
    /// Normal, with this standard deviation.
    Normal(f64),
}

/// The weights of a network, in the order in which they were first requested.
#[derive(Debug, Clone)]
pub struct WeightStore {
    random: Random,
    named: Vec<(String, Tensor)>,
}

impl WeightStore {
    /// Creates a store without weights; they are drawn from this seed when they are requested.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), named: Vec::new() }
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.named.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Number of elements of all weights.
    pub fn count(&self) -> usize {
        self.named.iter().map(|(_, tensor)| tensor.shape().iter().product::<usize>()).sum()
    }

    /// Replaces the values by trained ones.
    ///
    /// # Errors
    /// When one is missing or has another shape.
    pub fn load(&mut self, trained: &[(String, Tensor)]) -> Result<()> {
        for (name, own) in &mut self.named {
            let found = trained.iter().find(|(other, _)| other == name).map(|(_, tensor)| tensor);
            match found {
                Some(new) if new.shape() == own.shape() => *own = new.clone(),
                Some(new) => return Err(other_shape(name, own.shape(), new.shape())),
                None => return Err(Error::other(format!("the training returned no weight `{name}`"))),
            }
        }
        Ok(())
    }

    /// The weight of this name, drawn when it is new.
    fn get(&mut self, name: &str, shape: &[usize], init: WeightInit) -> Result<Tensor> {
        if let Some((_, tensor)) = self.named.iter().find(|(own, _)| own == name) {
            let fits = tensor.shape() == shape;
            return if fits { Ok(tensor.clone()) } else { Err(other_shape(name, tensor.shape(), shape)) };
        }
        let count = shape.iter().product();
        let values = match init {
            WeightInit::Constant(value) => vec![value; count],
            #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
            WeightInit::Normal(deviation) => {
                (0..count).map(|_| (deviation * self.random.normal()) as f32).collect()
            }
        };
        let tensor = Tensor::f32(shape, values)?;
        self.named.push((name.to_owned(), tensor.clone()));
        Ok(tensor)
    }
}

fn other_shape(name: &str, expected: &[usize], got: &[usize]) -> Error {
    Error::other(format!("the weight `{name}`: expected shape {expected:?}, got {got:?}"))
}

/// A graph under construction whose layers take their weights from a store.
#[derive(Debug)]
pub struct LayerBuilder<'w> {
    /// The graph so far.
    pub b: Builder,
    weights: &'w mut WeightStore,
    placed: BTreeMap<String, Value>,
    /// The attention weights of every attention so far, by its name.
    pub(crate) attention: BTreeMap<String, Value>,
    error: Option<Error>,
}

impl<'w> LayerBuilder<'w> {
    /// An empty graph of this name over these weights.
    pub fn new(name: &str, weights: &'w mut WeightStore) -> Self {
        Self {
            b: Builder::new(name),
            weights,
            placed: BTreeMap::new(),
            attention: BTreeMap::new(),
            error: None,
        }
    }

    /// The finished graph.
    ///
    /// # Errors
    /// The first error of a layer or of the builder.
    pub fn finish(self) -> Result<Graph> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.b.finish()?),
        }
    }

    /// A weight by name.
    pub fn weight(&mut self, name: &str, shape: &[usize], init: WeightInit) -> Value {
        match self.weights.get(name, shape, init) {
            Err(error) => self.fail(error),
            Ok(tensor) => match self.placed.get(name) {
                Some(value) => value.clone(),
                None => {
                    let value = self.b.constant(name, tensor);
                    self.placed.insert(name.to_owned(), value.clone());
                    value
                }
            },
        }
    }

    /// A row of numbers that are not trained.
    pub fn numbers(&mut self, numbers: &[f32]) -> Value {
        match Tensor::f32(&[numbers.len()], numbers.to_vec()) {
            Ok(tensor) => self.b.constant("numbers", tensor),
            Err(error) => self.fail(error.into()),
        }
    }

    /// `x W + b` over the last axis: `<name>/weight [input, output]`, drawn as Glorot and Bengio (2010) do,
    /// and `<name>/bias`.
    pub fn linear(&mut self, name: &str, x: &Value, input: usize, output: usize) -> Value {
        let deviation = (2.0 / (input + output).max(1) as f64).sqrt();
        let weight = self.weight(&format!("{name}/weight"), &[input, output], WeightInit::Normal(deviation));
        let bias = self.weight(&format!("{name}/bias"), &[output], WeightInit::Constant(0.0));
        self.b.linear(x, &weight, Some(&bias))
    }

    /// Layer normalisation over the last axis: `<name>/scale` and `<name>/shift`, `[width]`.
    pub fn norm(&mut self, name: &str, x: &Value, width: usize) -> Value {
        let scale = self.weight(&format!("{name}/scale"), &[width], WeightInit::Constant(1.0));
        let shift = self.weight(&format!("{name}/shift"), &[width], WeightInit::Constant(0.0));
        self.b.layer_norm(x, &scale, &shift, NORM_EPSILON)
    }

    /// `linear(gelu(linear(x)))`, `<name>/in` and `<name>/out`: `[.., input]` to `[.., output]`.
    pub fn feed_forward(&mut self, name: &str, x: &Value, [input, hidden, output]: [usize; 3]) -> Value {
        let inner = self.linear(&format!("{name}/in"), x, input, hidden);
        let inner = self.b.gelu(&inner);
        self.linear(&format!("{name}/out"), &inner, hidden, output)
    }

    /// Records the first error for [`LayerBuilder::finish`].
    pub fn fail(&mut self, error: Error) -> Value {
        self.error.get_or_insert(error);
        Value::none()
    }
}
