//! A residual network over a linear map: `(S + D) x + W₂ gelu(W₁ x + b₁) + b₂`.
//!
//! S is a closed form's matrix and is not trained; D and W₂ are zero at first, so the network starts as the
//! closed form. Weight decay pulls D, and with it the linear path, back to S (L2-SP; Li, Grandvalet and
//! Davoine 2018), and the residual to zero.
//!
//! Spectral normalisation (Miyato et al. 2018) bounds the largest singular value of W₁ and W₂ after every
//! step, or of S + D in a network without hidden units, by one step of the power iteration, whose vector is
//! carried from step to step.

use chiasm_geometry::random::Random;
use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_plugin::ndarray::Array2;
use chiasm_plugin::{Error, Result};

/// Share of a random vector added to a power iteration at each step. Without it the iteration would stay at
/// zero after a matrix of zeros.
const RESEED: f32 = 1e-3;

/// Widths of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkShape {
    /// Columns of a row.
    pub input: usize,
    /// Hidden units; 0 for the linear path alone.
    pub hidden: usize,
    /// Columns of its output.
    pub output: usize,
}

/// A network's weights, by name: `<name>/start` (S), `/delta` (D), `/in`, `/in_bias`, `/out`, `/out_bias`.
#[derive(Debug, Clone)]
pub struct Network {
    name: String,
    shape: NetworkShape,
    weights: Vec<(String, Tensor)>,
}

impl Network {
    /// A network that equals its start, `[input, output]`, until it is trained.
    ///
    /// # Errors
    /// Never, for a start that fits in memory.
    pub fn new(name: &str, start: &Array2<f64>, hidden: usize, seed: u64) -> Result<Self> {
        let (input, output) = start.dim();
        let shape = NetworkShape { input, hidden, output };
        #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
        let narrow = |x: f64| x as f32;
        let mut random = Random::new(seed);
        let spread = (input as f64).sqrt().recip();
        let first = (0..input * hidden).map(|_| narrow(spread * random.normal())).collect();
        let zeros = |shape: &[usize]| Tensor::f32(shape, vec![0.0; shape.iter().product()]);
        let mut weights = vec![
            ("start", Tensor::f32(&[input, output], start.iter().copied().map(narrow).collect())?),
            ("delta", zeros(&[input, output])?),
        ];
        if hidden > 0 {
            weights.push(("in", Tensor::f32(&[input, hidden], first)?));
            weights.push(("in_bias", zeros(&[hidden])?));
            weights.push(("out", zeros(&[hidden, output])?));
            weights.push(("out_bias", zeros(&[output])?));
        }
        let weights = weights.into_iter().map(|(part, tensor)| (format!("{name}/{part}"), tensor)).collect();
        Ok(Self { name: name.to_owned(), shape, weights })
    }

    /// Its widths.
    pub fn shape(&self) -> NetworkShape {
        self.shape
    }

    /// Names of the weights that are trained.
    pub fn trainable(&self) -> impl Iterator<Item = &str> {
        self.weights.iter().skip(1).map(|(name, _)| name.as_str())
    }

    /// Names of all its weights.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.weights.iter().map(|(name, _)| name.as_str())
    }

    /// Names and values of all its weights, the start first.
    pub fn weights(&self) -> &[(String, Tensor)] {
        &self.weights
    }

    /// Adds the weights to a graph.
    pub fn bind(&self, b: &mut Builder) -> BoundNetwork {
        let weights = self.weights.iter().map(|(name, tensor)| b.constant(name, tensor.clone())).collect();
        BoundNetwork { weights, input_scale: 1.0 }
    }

    /// Replaces its weights by trained ones of the same names.
    ///
    /// # Errors
    /// When one is missing.
    pub fn load(&mut self, trained: &[(String, Tensor)]) -> Result<()> {
        for (name, tensor) in self.weights.iter_mut().skip(1) {
            let found = trained.iter().find(|(other, _)| other == name);
            let (_, new) =
                found.ok_or_else(|| Error::other(format!("the training returned no weight `{name}`")))?;
            *tensor = new.clone();
        }
        Ok(())
    }

    /// The first vectors of the power iteration, `<layer>/power`: weights of the objective's graph that only
    /// [`Network::spectral_norm`] uses.
    ///
    /// # Errors
    /// Never, for layers that fit in memory.
    pub fn power_vectors(&self, seed: u64) -> Result<Vec<(String, Tensor)>> {
        let mut random = Random::new(seed);
        #[expect(clippy::cast_possible_truncation, reason = "graphs compute in 32 bits")]
        let mut vector = |length: usize| {
            let values = (0..length).map(|_| (random.normal() / (length as f64).sqrt()) as f32).collect();
            Tensor::f32(&[length, 1], values)
        };
        self.layers().map(|(name, layer)| Ok((format!("{name}/power"), vector(layer.shape()[1])?))).collect()
    }

    /// The layers that spectral normalisation bounds.
    fn layers(&self) -> impl Iterator<Item = &(String, Tensor)> {
        let bounded: &[&str] = if self.shape.hidden > 0 { &["in", "out"] } else { &["delta"] };
        let bounded: Vec<String> = bounded.iter().map(|part| format!("{}/{part}", self.name)).collect();
        self.weights.iter().filter(move |(name, _)| bounded.contains(name))
    }

    /// Adds the bound to an objective's `after` graph, with layers and vectors as inputs by name and as
    /// outputs `next/<name>`.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn spectral_norm(&self, b: &mut Builder, limit: f32, powers: &[(String, Tensor)]) -> Result<()> {
        for ((name, layer), (power, fresh)) in self.layers().zip(powers) {
            let trained = port(b, name, layer)?;
            let start = (self.shape.hidden == 0).then(|| b.constant("start", self.weights[0].1.clone()));
            let w = start.as_ref().map_or(trained.clone(), |start| b.add(&trained, start));
            let right = port(b, power, fresh)?;
            let forth = b.matmul(&w, &right);
            let left = b.l2_normalise(&forth, 0, crate::LEAST_LENGTH);
            let transposed = b.transpose(&w, &[1, 0]);
            let back = b.matmul(&transposed, &left);
            let squares = b.mul(&back, &back);
            let sum = b.reduce_sum(&squares, &[0, 1], false);
            let largest = b.sqrt(&sum);
            let over = b.mul_scalar(&largest, limit.recip());
            let over = b.max_scalar(&over, 1.0);
            let next = b.div(&w, &over);
            let next = start.as_ref().map_or(next.clone(), |start| b.sub(&next, start));
            b.output(&format!("next/{name}"), &next, DType::F32, &lengths(layer));
            let right = b.l2_normalise(&back, 0, crate::LEAST_LENGTH);
            let random = b.constant("random", fresh.clone());
            let share = b.mul_scalar(&random, RESEED);
            let right = b.add(&right, &share);
            b.output(&format!("next/{power}"), &right, DType::F32, &lengths(fresh));
        }
        Ok(())
    }

    /// The trained network as a graph: `input` f32 `[batch, input]` to `output` f32 `[batch, output]`.
    ///
    /// # Errors
    /// When the graph does not verify, which would be a defect of this crate.
    pub fn graph(&self, input: &str, output: &str) -> Result<Graph> {
        let mut b = Builder::new(self.name.clone());
        let x = b.input(input, DType::F32, &[Dim::named("batch"), self.shape.input.into()])?;
        let z = self.bind(&mut b).forward(&mut b, &x, None);
        b.output(output, &z, DType::F32, &[Dim::named("batch"), self.shape.output.into()]);
        Ok(b.finish()?)
    }
}

/// A network whose weights are in a graph.
#[derive(Debug, Clone)]
pub struct BoundNetwork {
    /// Empty for the identity.
    weights: Vec<Value>,
    input_scale: f32,
}

/// The values of a network at some rows.
#[derive(Debug, Clone)]
pub struct NetworkValues {
    /// `[rows, output]`.
    pub output: Value,
    /// The hidden units before their activation, `[rows, hidden]`; `None` in a network without them.
    pub hidden: Option<Value>,
}

impl NetworkValues {
    /// The values at some of the rows, which `select` takes from each.
    pub fn at(&self, mut select: impl FnMut(&Value) -> Value) -> Self {
        Self { output: select(&self.output), hidden: self.hidden.as_ref().map(select) }
    }
}

impl BoundNetwork {
    /// The map that multiplies its input by `scale`.
    pub fn scaling(scale: f32) -> Self {
        Self { weights: Vec::new(), input_scale: scale }
    }

    /// This network behind a multiplication of its input by `scale`.
    #[must_use]
    pub fn with_input_scale(&self, scale: f32) -> Self {
        Self { weights: self.weights.clone(), input_scale: scale }
    }

    fn scaled(&self, b: &mut Builder, x: &Value) -> Value {
        if self.input_scale == 1.0 { x.clone() } else { b.mul_scalar(x, self.input_scale) }
    }

    /// The output for rows `[batch, input]`; `mask [batch, hidden]` multiplies the hidden units (dropout).
    pub fn forward(&self, b: &mut Builder, x: &Value, mask: Option<&Value>) -> Value {
        self.evaluate(b, x, mask).output
    }

    /// [`BoundNetwork::forward`] with the values that its derivative reads.
    pub fn evaluate(&self, b: &mut Builder, x: &Value, mask: Option<&Value>) -> NetworkValues {
        let x = self.scaled(b, x);
        let linear_only = |output| NetworkValues { output, hidden: None };
        let [start, delta, rest @ ..] = self.weights.as_slice() else { return linear_only(x) };
        let linear = b.add(start, delta);
        let linear = b.matmul(&x, &linear);
        let [inner, inner_bias, outer, outer_bias] = rest else { return linear_only(linear) };
        let hidden = b.linear(&x, inner, Some(inner_bias));
        let active = b.gelu(&hidden);
        let active = mask.map_or(active.clone(), |mask| b.mul(&active, mask));
        let more = b.linear(&active, outer, Some(outer_bias));
        NetworkValues { output: b.add(&linear, &more), hidden: Some(hidden) }
    }

    /// The derivative of the output along `direction [batch, input]`, at the rows where the network has these
    /// values: a Jacobian-vector product for each row, `[batch, output]`.
    pub fn directional(&self, b: &mut Builder, values: &NetworkValues, direction: &Value) -> Value {
        let direction = self.scaled(b, direction);
        let [start, delta, rest @ ..] = self.weights.as_slice() else { return direction };
        let linear = b.add(start, delta);
        let linear = b.matmul(&direction, &linear);
        let ([inner, _, outer, _], Some(hidden)) = (rest, &values.hidden) else { return linear };
        // gelu'(h) = Phi(h) + h phi(h)
        let scaled = b.mul_scalar(hidden, std::f32::consts::FRAC_1_SQRT_2);
        let erf = b.erf(&scaled);
        let distribution = b.add_scalar(&erf, 1.0);
        let distribution = b.mul_scalar(&distribution, 0.5);
        let squares = b.mul(&scaled, &scaled);
        let squares = b.neg(&squares);
        let density = b.exp(&squares);
        let density = b.mul(&density, hidden);
        let density = b.mul_scalar(&density, (2.0 * std::f32::consts::PI).sqrt().recip());
        let slope = b.add(&distribution, &density);
        let tangent = b.matmul(&direction, inner);
        let tangent = b.mul(&tangent, &slope);
        let more = b.matmul(&tangent, outer);
        b.add(&linear, &more)
    }

    /// The output of its start alone.
    pub fn start(&self, b: &mut Builder, x: &Value) -> Value {
        let x = self.scaled(b, x);
        self.weights.first().map_or(x.clone(), |start| b.matmul(&x, start))
    }
}

fn lengths(tensor: &Tensor) -> Vec<Dim> {
    tensor.shape().iter().map(|&length| length.into()).collect()
}

fn port(b: &mut Builder, name: &str, like: &Tensor) -> Result<Value> {
    Ok(b.input(name, DType::F32, &lengths(like))?)
}
