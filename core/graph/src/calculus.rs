//! Automatic differentiation of graphs: Jacobian-vector products, vector-Jacobian products, Jacobians.
//!
//! A derivative is itself a graph, so that the engine that runs a map also runs its derivatives, on every
//! device. The rule of each operator is in its row of [`crate::operators`]. Forward mode carries several
//! directions at once, as an extra first axis. The result is simplified: unused values are dropped and equal
//! ones computed once, so that a gradient costs about three times the function (the bound is four: Griewank
//! and Walther 2008, section 3.3). Errors: operators without a rule, values of unknown rank where the rank is
//! needed, and derivatives with respect to integers.

mod region;
mod rule;
mod tape;

use std::collections::{HashMap, HashSet};

use crate::{Dim, Error, Graph, OPSET, Port, Result, Tensor, Value, operators, shapes, weight};

use region::Regions;

pub(crate) use rule::{DerivativeRule, Factor, RuleResult, Sensitivities, shifted};
pub(crate) use tape::{Tape, TapeNode};

/// Tangents or cotangents by the name of the value they belong to.
type SensitivityMap = HashMap<String, Value>;

impl Graph {
    /// Returns the graph with Jacobian-vector products (forward mode), for several directions at once.
    ///
    /// Adds for each input port `x` named in `wrt` the input `tangent/x` `[directions, ..axes of x]`, and for
    /// each floating-point output `y` the output `tangent/y` `[directions, ..axes of y]`: the Jacobian times
    /// that tangent.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a name that is no input, [`Error::NoDerivative`] for an operator without a
    /// rule, [`Error::Unsupported`] for inputs that are not floating point and values whose rank is unknown.
    pub fn jvp(&self, wrt: &[&str]) -> Result<Self> {
        let graph = self.differentiable(wrt)?;
        let mut tape = tape_of(&graph);
        let mut tangents = SensitivityMap::new();
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

    /// Returns the graph with vector-Jacobian products (reverse mode).
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
        let mut cotangents = SensitivityMap::new();
        for name in of {
            graph.output(name)?;
            let value = tape.input_like(&format!("cotangent/{name}"), &Value::named(name))?;
            cotangents.insert((*name).to_owned(), value);
        }
        gradients(&graph, tape, cotangents, wrt)
    }

    /// Returns the graph with the gradient of a scalar output: for each input port `x` named in `wrt` the
    /// output `gradient/x`, shaped as `x`.
    ///
    /// ```
    /// use chiasm_graph::{Builder, DType, Dim};
    ///
    /// let mut b = Builder::new("squares");
    /// let x = b.input("x", DType::F32, &[Dim::Fixed(4)])?;
    /// let squares = b.mul(&x, &x);
    /// let loss = b.reduce_sum(&squares, &[0], false);
    /// b.output("loss", &loss, DType::F32, &[]);
    /// let step = b.finish()?.gradient("loss", &["x"])?;
    /// assert_eq!(step.output("gradient/x")?.to_string(), "gradient/x f32[4]");
    /// # Ok::<(), chiasm_graph::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Graph::jvp`], and [`Error::Unsupported`] if `loss` has more than one element.
    pub fn gradient(&self, loss: &str, wrt: &[&str]) -> Result<Self> {
        let graph = self.differentiable(wrt)?;
        graph.output(loss)?;
        let mut tape = tape_of(&graph);
        let value = Value::named(loss);
        let dims = tape.dims(&value)?;
        if dims.iter().any(|length| length.fixed() != Some(1)) {
            return Err(Error::Unsupported(format!(
                "a gradient needs a scalar output, and `{loss}` has axes; sum it first, or use `vjp`"
            )));
        }
        let one = tape.number(1.0, &value)?;
        gradients(&graph, tape, HashMap::from([(loss.to_owned(), one)]), wrt)
    }

    /// Returns the graph with the Jacobian of output `y[n, o]` with respect to input `x[n, d]`, row by row.
    ///
    /// Adds the output `jacobian/y` `[d, n, o]`: its element `(j, i, k)` is the derivative of `y[i, k]` with
    /// respect to `x[i, j]`. Each row of `y` must depend on the same row of `x` only.
    ///
    /// # Errors
    /// As [`Graph::jvp`], and [`Error::Unsupported`] if `x` is not `[n, d]` with fixed `d`.
    pub fn jacobian(&self, x: &str, y: &str) -> Result<Self> {
        let graph = self.differentiable(&[x])?;
        let port = graph.output(y)?;
        let width = match graph.input(x)?.dims.as_deref() {
            Some([_, Dim::Fixed(width)]) => *width,
            _ => {
                return Err(Error::Unsupported(format!(
                    "a Jacobian needs an input [n, d] of fixed width d, got {}",
                    graph.input(x)?
                )));
            }
        };
        let mut tape = tape_of(&graph);
        let value = Value::named(x);
        // The directions are the same for every row, so they have length 1 along n: a linear first layer is
        // applied to them once, not once per row.
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

    /// Returns the graph with weights turned into input ports, so that they can be trained or exchanged;
    /// [`Graph::bound`] is the inverse.
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

    /// Returns the graph with input ports turned into weights.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a name that is no input, [`Error::Tensor`] for a tensor whose type or shape
    /// does not match the port.
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
                    "for the input `{port}` has type {} and shape {:?}",
                    tensor.dtype(),
                    tensor.shape()
                )));
            }
            bound.graph.input.retain(|input| input.name != *name);
            bound.weights.insert((*name).to_owned(), std::sync::Arc::new(weight::to_proto(tensor)));
        }
        Ok(bound)
    }

    /// The graph in an opset that derivatives can be written in, without branches that are never taken, after
    /// a check that the inputs are floating point.
    fn differentiable(&self, wrt: &[&str]) -> Result<Self> {
        if wrt.is_empty() {
            return Err(Error::Unsupported(
                "a derivative needs at least one input to differentiate by, got none".to_owned(),
            ));
        }
        for name in wrt {
            let port = self.input(name)?;
            if !port.dtype.is_float() {
                return Err(Error::Unsupported(format!(
                    "`{port}` is not floating point, so nothing can be differentiated with respect to it"
                )));
            }
        }
        let graph = self.with_known_branches();
        if graph.opset() < OPSET { graph.upgraded(OPSET) } else { Ok(graph) }
    }
}

impl TapeNode {
    /// The derivative rule of this node's operator; an error if there is none.
    fn rule(&self) -> Result<DerivativeRule> {
        if !self.proto.domain.is_empty() {
            return Err(self.refuse("its domain is not ai.onnx"));
        }
        let rule = operators::of(&self.proto).and_then(|operator| operator.derivative);
        rule.ok_or_else(|| self.refuse("no rule for this operator"))
    }
}

/// A tape that continues a graph.
fn tape_of(graph: &Graph) -> Tape {
    Tape::new(graph, shapes::infer(graph), shapes::infer_node)
}

/// Computes the tangents of every node's outputs, in topological order.
fn forward(graph: &Graph, tape: &mut Tape, tangents: &mut SensitivityMap) -> Result<()> {
    for node in &graph.graph.node {
        let node = TapeNode::new(node.clone());
        let of_inputs: Vec<Option<Value>> =
            node.inputs.iter().map(|x| tangents.get(x.name()).cloned()).collect();
        if node.is_stopped() || !node.uses(|x| tangents.contains_key(x)) {
            continue;
        }
        let outputs = match node.rule()? {
            DerivativeRule::Zero => Vec::new(),
            DerivativeRule::Elementwise(factor) => {
                let rank = tape.rank(&node.y())?;
                let mut terms = Vec::new();
                for (input, tangent) in of_inputs.iter().enumerate() {
                    let Some(tangent) = tangent else { continue };
                    let own = tape.rank(&node.x(input))?;
                    let tangent = tape.aligned(tangent, own, rank);
                    let factor = factor(tape, &node, input)?;
                    terms.push(Some(tape.scaled(&tangent, factor)));
                }
                vec![tape.total(terms)]
            }
            DerivativeRule::Reduction(weight) => {
                let Some(Some(tangent)) = of_inputs.first() else { continue };
                let axes = tape.reduced_axes(&node)?;
                let tangent = tape.full_along(tangent, &node.x(0), &axes)?;
                let weight = weight(tape, &node)?;
                let weighted = tape.scaled(&tangent, weight);
                let axes: Vec<i64> = axes.iter().map(|axis| axis + 1).collect();
                let keep = node.int("keepdims", 1) != 0;
                vec![Some(if axes.is_empty() {
                    weighted
                } else {
                    tape.build.reduce_sum(&weighted, &axes, keep)
                })]
            }
            DerivativeRule::Formulas { forward, .. } => forward(tape, &node, &of_inputs)?,
        };
        for (y, tangent) in node.outputs.iter().zip(outputs) {
            if let Some(tangent) = tangent {
                tangents.insert(y.name().to_owned(), tangent);
            }
        }
    }
    Ok(())
}

/// Computes cotangents from the outputs back to `wrt`, in reverse topological order, and adds the gradients
/// as outputs.
fn gradients(graph: &Graph, mut tape: Tape, mut cotangents: SensitivityMap, wrt: &[&str]) -> Result<Graph> {
    let dependent = dependent_values(graph, &mut tape, wrt);
    let mut regions = Regions::of(graph, &mut tape, &dependent);
    for node in graph.graph.node.iter().rev() {
        let node = TapeNode::new(node.clone());
        let depends = |x: &Value| dependent.contains(x.name());
        let of_outputs: Vec<Option<Value>> =
            node.outputs.iter().map(|y| cotangents.get(y.name()).cloned()).collect();
        if node.is_stopped()
            || of_outputs.iter().all(Option::is_none)
            || !node.uses(|x| dependent.contains(x))
        {
            continue;
        }
        if let (Some(source), Some(Some(cotangent))) = (regions.source_of(&node.y()), of_outputs.first()) {
            let term = regions.cotangent_of_source(&mut tape, &node.y(), cotangent)?;
            add(&mut tape, &mut cotangents, &source, term);
            continue;
        }
        let terms = match node.rule()? {
            DerivativeRule::Zero => Vec::new(),
            DerivativeRule::Elementwise(factor) => {
                let Some(Some(cotangent)) = of_outputs.first() else { continue };
                let mut terms = Vec::new();
                for (input, x) in node.inputs.iter().enumerate() {
                    terms.push(if depends(x) {
                        let factor = factor(&mut tape, &node, input)?;
                        let scaled = tape.scaled(cotangent, factor);
                        Some(tape.sum_to(&scaled, &node.y(), x)?)
                    } else {
                        None
                    });
                }
                terms
            }
            DerivativeRule::Reduction(weight) => {
                let Some(Some(cotangent)) = of_outputs.first() else { continue };
                let axes = tape.reduced_axes(&node)?;
                let weight = weight(&mut tape, &node)?;
                // Left with length 1 along the reduced axes: each element's cotangent is its weight times
                // this.
                let cotangent = tape.full(cotangent, &node.y())?;
                let spread = tape.with_reduced_axes(&node, &cotangent, &axes);
                vec![Some(tape.scaled(&spread, weight))]
            }
            DerivativeRule::Formulas { reverse, .. } => reverse(&mut tape, &node, &of_outputs)?,
        };
        for (x, term) in node.inputs.iter().zip(terms) {
            if let Some(term) = term.filter(|_| depends(x)) {
                add(&mut tape, &mut cotangents, x.name(), term);
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

/// Adds a term to the cotangent of a value.
fn add(tape: &mut Tape, cotangents: &mut SensitivityMap, name: &str, term: Value) {
    let sum = match cotangents.remove(name) {
        Some(before) => tape.build.add(&before, &term),
        None => term,
    };
    cotangents.insert(name.to_owned(), sum);
}

/// The values that depend on the inputs named.
fn dependent_values(graph: &Graph, tape: &mut Tape, wrt: &[&str]) -> HashSet<String> {
    let mut dependent: HashSet<String> = wrt.iter().map(|name| (*name).to_owned()).collect();
    for node in &graph.graph.node {
        let node = TapeNode::new(node.clone());
        if !node.is_stopped() && node.uses(|x| dependent.contains(x)) {
            let float = |y: &&Value| !y.name().is_empty() && tape.is_float(y);
            let outputs: Vec<String> =
                node.outputs.iter().filter(float).map(|y| y.name().to_owned()).collect();
            dependent.extend(outputs);
        }
    }
    dependent
}
