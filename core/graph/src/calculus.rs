//! Derivatives of graphs as graphs: forward mode, reverse mode, Jacobians.
//!
//! Why graph to graph: what is checked or trained is then run by the same engine as what is exported, on any
//! device, and holds for any map, whoever learned it. Each operator has one small rule (rules.rs). Forward
//! mode carries many directions at once, as one more axis in front; a sensitivity may stay thin (tape.rs).
//! The result is pruned: values that nothing needs are dropped and equal ones computed once, so that a
//! gradient costs about three times the function (Griewank and Walther 2008, section 3.3: at most four).
//! Refused: operators without a rule, ranks that the graph does not tell, derivatives by integers.

mod region;
mod rule;
mod tape;

use std::collections::{HashMap, HashSet};

use crate::{DType, Dim, Error, Graph, OPSET, Port, Result, Tensor, Value, operators, shapes, weight};

use region::Regions;

pub(crate) use rule::{Factor, Flows, Rule, Terms, shifted};
pub(crate) use tape::{Call, Tape};

/// Sensitivities by the value they belong to.
type Flowing = HashMap<String, Value>;

impl Graph {
    /// Forward mode: what small movements of the inputs do to the outputs, for several directions at once.
    ///
    /// Adds for each input port `x` named in `wrt` the input `tangent/x` `[directions, ..axes of x]`, and for
    /// each floating-point output `y` the output `tangent/y` `[directions, ..axes of y]`: the Jacobian times
    /// that tangent.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a name that is no input, [`Error::NoDerivative`] for an operator without a
    /// rule.
    pub fn jvp(&self, wrt: &[&str]) -> Result<Self> {
        let graph = self.differentiable(wrt)?;
        let mut tape = tape_of(&graph);
        let mut tangents = Flowing::new();
        for name in wrt {
            let value = tape.directions_input(&format!("tangent/{name}"), &Value::named(name))?;
            tangents.insert((*name).to_owned(), value);
        }
        let any = tangents.get(wrt[0]).cloned().unwrap_or_else(Value::none);
        forward(&graph, &mut tape, &mut tangents)?;
        for port in graph.outputs() {
            let value = Value::named(&port.name);
            if tape.is_float(&value) {
                let tangent = match tangents.get(&port.name) {
                    Some(tangent) => tape.full_tangent(tangent, &value)?,
                    None => tape.no_tangent(&any, &value)?,
                };
                tape.output(&format!("tangent/{}", port.name), &tangent, &port, Some("directions".into()));
            }
        }
        Ok(tape.build.finish()?.simplified())
    }

    /// Reverse mode: what each input owes to the outputs.
    ///
    /// Adds for each output `y` named in `of` the input `cotangent/y`, shaped as `y`, and for each input port
    /// `x` named in `wrt` the output `gradient/x`, shaped as `x`: the transposed Jacobian times the
    /// cotangents.
    ///
    /// # Errors
    /// As [`Graph::jvp`].
    pub fn vjp(&self, of: &[&str], wrt: &[&str]) -> Result<Self> {
        let graph = self.differentiable(wrt)?;
        let mut tape = tape_of(&graph);
        let mut cotangents = Flowing::new();
        for name in of {
            graph.output(name)?;
            let value = tape.input_like(&format!("cotangent/{name}"), &Value::named(name))?;
            cotangents.insert((*name).to_owned(), value);
        }
        gradients(&graph, tape, cotangents, wrt)
    }

    /// The gradient of a scalar output: adds for each input port `x` named in `wrt` the output `gradient/x`,
    /// shaped as `x`.
    ///
    /// # Errors
    /// As [`Graph::jvp`], and [`Error::Unsupported`] when `loss` has axes.
    pub fn gradient(&self, loss: &str, wrt: &[&str]) -> Result<Self> {
        let graph = self.differentiable(wrt)?;
        graph.output(loss)?;
        let mut tape = tape_of(&graph);
        let value = Value::named(loss);
        let dims = tape.dims(&value)?;
        if dims.iter().any(|length| length.fixed() != Some(1)) {
            return Err(Error::Unsupported(format!(
                "the gradient of `{loss}` was asked for, which is no scalar; sum it first, or use `vjp`"
            )));
        }
        let one = tape.number(1.0, &value)?;
        gradients(&graph, tape, HashMap::from([(loss.to_owned(), one)]), wrt)
    }

    /// The Jacobian of output `y[n, o]` by input `x[n, d]`, row by row, in one run.
    ///
    /// Adds the output `jacobian/y` `[d, n, o]`: its element `(j, i, k)` is the derivative of `y[i, k]` by
    /// `x[i, j]`. Rows must not depend on each other, as those of a map do not.
    ///
    /// # Errors
    /// As [`Graph::jvp`], and [`Error::Unsupported`] when `x` has another rank or a free width.
    pub fn jacobian(&self, x: &str, y: &str) -> Result<Self> {
        let graph = self.differentiable(&[x])?;
        let port = graph.output(y)?;
        let width = match graph.input(x)?.dims.as_deref() {
            Some([_, Dim::Fixed(width)]) => *width,
            _ => {
                return Err(Error::Unsupported(format!(
                    "a Jacobian takes an input [n, d] of fixed width d, got {}",
                    graph.input(x)?
                )));
            }
        };
        let mut tape = tape_of(&graph);
        let value = Value::named(x);
        // The same directions at every point: thin, so that a linear first layer is applied once and not at
        // each point.
        let seeds = tape.units(width, &value)?;
        let mut tangents = HashMap::from([(x.to_owned(), seeds.clone())]);
        forward(&graph, &mut tape, &mut tangents)?;
        let value = Value::named(y);
        let tangent = match tangents.get(y) {
            Some(tangent) => tape.full_tangent(tangent, &value)?,
            None => tape.no_tangent(&seeds, &value)?,
        };
        tape.output(&format!("jacobian/{y}"), &tangent, &port, Some(width.into()));
        Ok(tape.build.finish()?.simplified())
    }

    /// The graph with weights made input ports, so that they can be trained or swapped; [`Graph::bound`] is
    /// the way back.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a name that is no weight.
    pub fn lifted(&self, weights: &[&str]) -> Result<Self> {
        let mut lifted = self.clone();
        for name in weights {
            let tensor = self.weight(name)?;
            let dims: Vec<Dim> = tensor.shape().iter().copied().map(Dim::Fixed).collect();
            if lifted.weights.remove(*name).is_some() {
                lifted.graph.input.push(Port::new(*name, tensor.dtype(), &dims).to_proto());
            }
        }
        Ok(lifted)
    }

    /// The graph with input ports made weights.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a name that is no input, [`Error::Tensor`] for a tensor that does not fit the
    /// port.
    pub fn bound(&self, values: &[(&str, Tensor)]) -> Result<Self> {
        let mut bound = self.clone();
        for (name, tensor) in values {
            let port = self.input(name)?;
            let dims = port.dims.clone().unwrap_or_else(|| vec![Dim::Unknown; tensor.shape().len()]);
            let fits = |(dim, length): (&Dim, &usize)| dim.fixed().is_none_or(|fixed| fixed == *length);
            if port.dtype != tensor.dtype()
                || dims.len() != tensor.shape().len()
                || !dims.iter().zip(tensor.shape()).all(fits)
            {
                return Err(Error::Tensor(format!(
                    "for `{port}` is {} of shape {:?}",
                    tensor.dtype(),
                    tensor.shape()
                )));
            }
            bound.graph.input.retain(|input| input.name != *name);
            bound.weights.insert((*name).to_owned(), std::sync::Arc::new(weight::to_proto(tensor)));
        }
        Ok(bound)
    }

    /// This graph in an opset that derivatives can be written in, once the inputs are known to be floating
    /// point.
    fn differentiable(&self, wrt: &[&str]) -> Result<Self> {
        if wrt.is_empty() {
            return Err(Error::Unsupported("a derivative by nothing: name at least one input".to_owned()));
        }
        for name in wrt {
            let port = self.input(name)?;
            if !matches!(port.dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16) {
                return Err(Error::Unsupported(format!(
                    "a derivative by `{port}`, which is not floating point"
                )));
            }
        }
        if self.opset() < OPSET { self.upgraded(OPSET) } else { Ok(self.clone()) }
    }
}

impl Call {
    /// The derivative rule of this node's operator; an error if there is none.
    fn rule(&self) -> Result<Rule> {
        if !self.node.domain.is_empty() {
            return Err(self.refuse("its domain is not ai.onnx"));
        }
        let rule = operators::of(&self.node).and_then(|operator| operator.derivative);
        rule.ok_or_else(|| self.refuse("no rule for this operator"))
    }
}

/// A tape that continues a graph.
fn tape_of(graph: &Graph) -> Tape {
    Tape::new(graph, shapes::infer(graph), shapes::infer_node)
}

/// Carries tangents through every node.
fn forward(graph: &Graph, tape: &mut Tape, tangents: &mut Flowing) -> Result<()> {
    for node in &graph.graph.node {
        let call = Call::new(node.clone());
        let moving: Vec<Option<Value>> =
            call.inputs.iter().map(|x| tangents.get(x.name()).cloned()).collect();
        if call.is_stopped() || moving.iter().all(Option::is_none) {
            continue;
        }
        let outputs = match call.rule()? {
            Rule::Zero => Vec::new(),
            Rule::Elementwise(factor) => {
                let rank = tape.rank(&call.y())?;
                let mut terms = Vec::new();
                for (input, tangent) in moving.iter().enumerate() {
                    let Some(tangent) = tangent else { continue };
                    let own = tape.rank(&call.x(input))?;
                    let tangent = tape.aligned(tangent, own, rank);
                    let factor = factor(tape, &call, input)?;
                    terms.push(Some(tape.scaled(&tangent, factor)));
                }
                vec![tape.total(terms)]
            }
            Rule::Reduction(weight) => {
                let Some(Some(tangent)) = moving.first() else { continue };
                let axes = tape.reduced_axes(&call)?;
                let tangent = tape.full_along(tangent, &call.x(0), &axes)?;
                let weight = weight(tape, &call)?;
                let weighted = tape.scaled(&tangent, weight);
                let axes: Vec<i64> = axes.iter().map(|axis| axis + 1).collect();
                let keep = call.int("keepdims", 1) != 0;
                vec![Some(if axes.is_empty() {
                    weighted
                } else {
                    tape.build.reduce_sum(&weighted, &axes, keep)
                })]
            }
            Rule::Formulas { forward, .. } => forward(tape, &call, &moving)?,
        };
        for (y, tangent) in call.outputs.iter().zip(outputs) {
            if let Some(tangent) = tangent {
                tangents.insert(y.name().to_owned(), tangent);
            }
        }
    }
    Ok(())
}

/// Carries cotangents back through every node that lies between `wrt` and an output that has one; names the
/// results.
fn gradients(graph: &Graph, mut tape: Tape, mut cotangents: Flowing, wrt: &[&str]) -> Result<Graph> {
    let moving = moving(graph, &mut tape, wrt);
    let mut regions = Regions::of(graph, &mut tape, &moving);
    for node in graph.graph.node.iter().rev() {
        let call = Call::new(node.clone());
        let reaches = |x: &Value| moving.contains(x.name());
        let owed: Vec<Option<Value>> =
            call.outputs.iter().map(|y| cotangents.get(y.name()).cloned()).collect();
        if call.is_stopped() || owed.iter().all(Option::is_none) || !call.inputs.iter().any(reaches) {
            continue;
        }
        if let (Some(source), Some(Some(cotangent))) = (regions.beyond(&call.y()), owed.first()) {
            let flow = regions.carried(&mut tape, &call.y(), cotangent)?;
            add(&mut tape, &mut cotangents, &source, flow);
            continue;
        }
        let flows = match call.rule()? {
            Rule::Zero => Vec::new(),
            Rule::Elementwise(factor) => {
                let Some(Some(cotangent)) = owed.first() else { continue };
                let mut flows = Vec::new();
                for (input, x) in call.inputs.iter().enumerate() {
                    flows.push(if reaches(x) {
                        let factor = factor(&mut tape, &call, input)?;
                        let scaled = tape.scaled(cotangent, factor);
                        Some(tape.sum_to(&scaled, &call.y(), x)?)
                    } else {
                        None
                    });
                }
                flows
            }
            Rule::Reduction(weight) => {
                let Some(Some(cotangent)) = owed.first() else { continue };
                let axes = tape.reduced_axes(&call)?;
                let weight = weight(&mut tape, &call)?;
                // Thin along the reduced axes: each element gets its weight times the same number.
                let cotangent = tape.full(cotangent, &call.y())?;
                let spread = tape.with_reduced_axes(&call, &cotangent, &axes);
                vec![Some(tape.scaled(&spread, weight))]
            }
            Rule::Formulas { reverse, .. } => reverse(&mut tape, &call, &owed)?,
        };
        for (x, flow) in call.inputs.iter().zip(flows) {
            if let Some(flow) = flow.filter(|_| reaches(x)) {
                add(&mut tape, &mut cotangents, x.name(), flow);
            }
        }
    }
    for name in wrt {
        let value = Value::named(name);
        let gradient = match cotangents.get(*name) {
            Some(gradient) => tape.full(gradient, &value)?,
            None => tape.zeros(&value)?,
        };
        let port = graph.input(name)?;
        tape.output(&format!("gradient/{name}"), &gradient, &port, None);
    }
    Ok(tape.build.finish()?.simplified())
}

/// Adds to what a value owes.
fn add(tape: &mut Tape, cotangents: &mut Flowing, name: &str, flow: Value) {
    let sum = match cotangents.remove(name) {
        Some(before) => tape.build.add(&before, &flow),
        None => flow,
    };
    cotangents.insert(name.to_owned(), sum);
}

/// The values that move when the inputs named do.
fn moving(graph: &Graph, tape: &mut Tape, wrt: &[&str]) -> HashSet<String> {
    let mut moving: HashSet<String> = wrt.iter().map(|name| (*name).to_owned()).collect();
    for node in &graph.graph.node {
        let call = Call::new(node.clone());
        if !call.is_stopped() && call.inputs.iter().any(|x| moving.contains(x.name())) {
            let float = |y: &&Value| !y.name().is_empty() && tape.is_float(y);
            let outputs: Vec<String> =
                call.outputs.iter().filter(float).map(|y| y.name().to_owned()).collect();
            moving.extend(outputs);
        }
    }
    moving
}
