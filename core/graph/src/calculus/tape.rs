//! The tape: the graph being differentiated, to which the nodes of the derivative are appended.
//!
//! A sensitivity (a tangent or a cotangent) may be *thin*: it has length 1 along an axis where the value it
//! belongs to is longer, and is broadcast there. This saves passes over memory (the gradient of a mean is one
//! number). A rule that needs every element calls [`Tape::full`] or [`Tape::full_tangent`].

use onnx_protobuf::NodeProto;

use crate::{
    Attr, Builder, DType, Dim, Error, Graph, Port, Result, Tensor, Value,
    builder::STOPPED,
    shapes::{Facts, Length, resolve_axis},
    walk::{self, attribute, node_name},
};

/// A graph under differentiation.
pub(crate) struct Tape {
    /// The graph so far; rules append their nodes here.
    pub(crate) build: Builder,
    facts: Facts,
    /// How many nodes of `build` are in `facts`.
    followed: usize,
    /// Infers what is known of a node's outputs. Passed in, because the operator table, which the inference
    /// uses, holds rules that use this type.
    infer_node: fn(&mut Facts, &NodeProto),
}

/// One node of the graph that is differentiated, with its inputs and outputs as values.
pub(crate) struct TapeNode {
    pub(crate) proto: NodeProto,
    pub(crate) inputs: Vec<Value>,
    pub(crate) outputs: Vec<Value>,
}

impl TapeNode {
    pub(crate) fn new(node: NodeProto) -> Self {
        let values = |names: &[String]| names.iter().map(|name| Value::named(name)).collect();
        Self { inputs: values(&node.input), outputs: values(&node.output), proto: node }
    }

    /// The first output.
    pub(crate) fn y(&self) -> Value {
        self.outputs.first().cloned().unwrap_or_else(Value::none)
    }

    /// An input; [`Value::none`] if it is left out.
    pub(crate) fn x(&self, number: usize) -> Value {
        self.inputs.get(number).cloned().unwrap_or_else(Value::none)
    }

    /// An integer attribute.
    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        attribute(&self.proto, name).map_or(default, |attribute| attribute.i)
    }

    /// A float attribute.
    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        attribute(&self.proto, name).map_or(default, |attribute| attribute.f)
    }

    /// A list of integers that is an attribute.
    pub(crate) fn ints(&self, name: &str) -> Option<Vec<i64>> {
        attribute(&self.proto, name).map(|attribute| attribute.ints.clone())
    }

    /// A text attribute; empty if it is left out.
    pub(crate) fn text(&self, name: &str) -> String {
        attribute(&self.proto, name)
            .map_or_else(String::new, |attribute| String::from_utf8_lossy(&attribute.s).into_owned())
    }

    /// Whether the node uses a value for which the test holds, as an input or inside a subgraph.
    pub(crate) fn uses(&self, test: impl Fn(&str) -> bool) -> bool {
        let mut found = false;
        walk::uses(&self.proto, &mut |name| found |= test(name));
        found
    }

    /// Whether the node stops derivatives ([`Builder::stop_gradient`]).
    pub(crate) fn is_stopped(&self) -> bool {
        self.proto.doc_string == STOPPED
    }

    /// The error for a node that cannot be differentiated.
    pub(crate) fn refuse(&self, reason: impl Into<String>) -> Error {
        Error::NoDerivative {
            operator: self.proto.op_type.clone(),
            node: node_name(&self.proto).to_owned(),
            reason: reason.into(),
        }
    }
}

impl Tape {
    /// A tape that continues a graph with these facts.
    pub(crate) fn new(graph: &Graph, facts: Facts, infer_node: fn(&mut Facts, &NodeProto)) -> Self {
        Self { facts, build: Builder::continuing(graph), followed: graph.graph.node.len(), infer_node }
    }

    /// The axes of a value; an error if its rank is unknown.
    pub(crate) fn dims(&mut self, value: &Value) -> Result<Vec<Length>> {
        self.catch_up();
        self.facts.of(value.name()).dims.ok_or_else(|| {
            Error::Unsupported(format!(
                "a derivative needs the rank of `{}`, which cannot be inferred from the graph; \
                 export the model with the shapes of its inner values (`value_info`)",
                value.name()
            ))
        })
    }

    /// The number of axes of a value.
    pub(crate) fn rank(&mut self, value: &Value) -> Result<usize> {
        Ok(self.dims(value)?.len())
    }

    /// The element type of a value; 32-bit float if it is unknown.
    pub(crate) fn dtype(&mut self, value: &Value) -> DType {
        self.catch_up();
        self.facts.of(value.name()).dtype.unwrap_or(DType::F32)
    }

    /// Whether a value is floating point, so that it has derivatives.
    pub(crate) fn is_float(&mut self, value: &Value) -> bool {
        self.dtype(value).is_float()
    }

    /// The integers of a small constant.
    pub(crate) fn ints(&mut self, value: &Value) -> Option<Vec<i64>> {
        self.catch_up();
        self.facts.known_elements(value.name())
    }

    /// The axes that a reduction removes, none of them negative.
    pub(crate) fn reduced_axes(&mut self, node: &TapeNode) -> Result<Vec<i64>> {
        let rank = self.rank(&node.x(0))?;
        let axes = self.facts.reduced_axes(&node.proto, rank);
        let axes =
            axes.ok_or_else(|| node.refuse("its axes are computed by the graph, expected constants"))?;
        Ok(axes.into_iter().map(|axis| axis as i64).collect())
    }

    /// A value with the axes of a reduction's output, with the reduced axes put back with length 1.
    pub(crate) fn with_reduced_axes(&mut self, node: &TapeNode, value: &Value, axes: &[i64]) -> Value {
        if node.int("keepdims", 1) != 0 || axes.is_empty() {
            value.clone()
        } else {
            self.build.unsqueeze(value, axes)
        }
    }

    /// Adds an input with a free axis in front of the axes of `like`.
    pub(crate) fn directions_input(&mut self, name: &str, like: &Value) -> Result<Value> {
        let (dims, dtype) = (self.dims(like)?, self.dtype(like));
        let ports = self.port_dims(like, dims.len());
        let directions = self.facts.symbol("directions");
        let value = self.build.input(name, dtype, &[vec!["directions".into()], ports].concat())?;
        self.facts.set_input(name, dtype, [vec![directions], dims].concat());
        Ok(value)
    }

    /// Adds an input with the type and axes of another value.
    pub(crate) fn input_like(&mut self, name: &str, like: &Value) -> Result<Value> {
        let (dims, dtype) = (self.dims(like)?, self.dtype(like));
        let ports = self.port_dims(like, dims.len());
        let value = self.build.input(name, dtype, &ports)?;
        self.facts.set_input(name, dtype, dims);
        Ok(value)
    }

    fn port_dims(&self, like: &Value, rank: usize) -> Vec<Dim> {
        self.build.port_dims(like.name()).unwrap_or_else(|| vec![Dim::Unknown; rank])
    }

    /// A scalar of the element type of `like`.
    pub(crate) fn number(&mut self, number: f64, like: &Value) -> Result<Value> {
        let dtype = self.dtype(like);
        self.build.number(number, dtype)
    }

    /// The lengths of a value's axes as a tensor, which is a constant if all are known.
    pub(crate) fn shape(&mut self, value: &Value) -> Result<Value> {
        let dims: Option<Vec<i64>> = self.dims(value)?.into_iter().map(Length::fixed).collect();
        Ok(match dims {
            Some(dims) => self.build.ints("shape", &dims),
            None => self.build.shape(value),
        })
    }

    /// The shape of a value with the first axis of `tangent`, the directions, in front.
    pub(crate) fn shape_with_directions(&mut self, tangent: &Value, value: &Value) -> Result<Value> {
        let whole = self.build.shape(tangent);
        let zero = self.build.ints("first", &[0]);
        let directions = self.build.gather(&whole, &zero, 0);
        let shape = self.shape(value)?;
        Ok(self.build.concat(&[&directions, &shape], 0))
    }

    /// A cotangent expanded to the shape of the value it belongs to.
    pub(crate) fn full(&mut self, cotangent: &Value, of: &Value) -> Result<Value> {
        if self.dims(cotangent)? == self.dims(of)? {
            return Ok(cotangent.clone());
        }
        let shape = self.shape(of)?;
        Ok(self.build.expand(cotangent, &shape))
    }

    /// A tangent expanded to the shape of the value it belongs to, for every direction.
    pub(crate) fn full_tangent(&mut self, tangent: &Value, of: &Value) -> Result<Value> {
        if self.dims(tangent)?.get(1..) == Some(&self.dims(of)?[..]) {
            return Ok(tangent.clone());
        }
        let shape = self.shape(of)?;
        let one = self.build.ints("one", &[1]);
        let shape = self.build.concat(&[&one, &shape], 0);
        Ok(self.build.expand(tangent, &shape))
    }

    /// A tangent expanded along these axes of the value it belongs to.
    pub(crate) fn full_along(&mut self, tangent: &Value, of: &Value, axes: &[i64]) -> Result<Value> {
        let (thin, whole) = (self.dims(tangent)?, self.dims(of)?);
        let same =
            |axis: &i64| resolve_axis(*axis, whole.len()).is_some_and(|at| thin.get(at + 1) == whole.get(at));
        if axes.iter().all(same) { Ok(tangent.clone()) } else { self.full_tangent(tangent, of) }
    }

    /// A tangent of a value of rank `from` as one of rank `to`: axes of length 1 are inserted after the
    /// directions.
    pub(crate) fn aligned(&mut self, tangent: &Value, from: usize, to: usize) -> Value {
        let axes: Vec<i64> = (1..=to.saturating_sub(from) as i64).collect();
        if axes.is_empty() { tangent.clone() } else { self.build.unsqueeze(tangent, &axes) }
    }

    /// The cotangent of an operand that was broadcast, from the cotangent of the result: the sum over the
    /// axes along which the operand is shorter.
    pub(crate) fn sum_to(&mut self, cotangent: &Value, result: &Value, operand: &Value) -> Result<Value> {
        let (whole, own) = (self.dims(result)?, self.dims(operand)?);
        if whole == own {
            return Ok(cotangent.clone());
        }
        let given = self.dims(cotangent)?;
        if given == own {
            // Thin along exactly the axes to be summed: the sum is a product with the number of elements.
            if let Some(count) = ratio(&whole, &own) {
                let count = self.number(count, cotangent)?;
                return Ok(self.build.mul(cotangent, &count));
            }
        }
        let cotangent = self.full(cotangent, result)?;
        let lead = whole.len().saturating_sub(own.len());
        let known =
            |at: usize| at < lead || own[at - lead] == Length::Fixed(1) || own[at - lead] == whole[at];
        if (0..whole.len()).all(known) {
            let summed = |at: &usize| *at < lead || (own[at - lead] != whole[*at]);
            let axes: Vec<i64> = (0..whole.len()).filter(summed).map(|at| at as i64).collect();
            let only_lead = axes.len() == lead;
            let sum = self.build.reduce_sum(&cotangent, &axes, !only_lead);
            let lead: Vec<i64> = (0..lead as i64).collect();
            return Ok(if only_lead || lead.is_empty() { sum } else { self.build.squeeze(&sum, &lead) });
        }
        // Lengths are only known when the graph runs: sum all axes along which the operand has length 1,
        // which changes nothing where the result has length 1 too.
        let own_shape = self.build.shape(operand);
        let ones = self.build.ints("ones", &vec![1; lead]);
        let padded = if lead == 0 { own_shape.clone() } else { self.build.concat(&[&ones, &own_shape], 0) };
        let one = self.build.ints("one", &[1]);
        let short = self.build.op("Equal", &[&padded, &one], &[]);
        let places = self.build.op("NonZero", &[&short], &[]);
        let axes = self.build.reshape(&places, &[-1]);
        let sum = self.build.op("ReduceSum", &[&cotangent, &axes], &[("noop_with_empty_axes", Attr::Int(1))]);
        Ok(self.build.reshape_to(&sum, &own_shape))
    }

    /// The mean over axes, which are kept with length 1. Not `ReduceMean`, whose form differs between opsets.
    pub(crate) fn mean(&mut self, value: &Value, of: &Value, axes: &[i64]) -> Result<Value> {
        let sum = self.build.reduce_sum(value, axes, true);
        let share = self.share(of, axes)?;
        Ok(self.build.mul(&sum, &share))
    }

    /// One over the number of elements of `of` along these axes, as a scalar.
    pub(crate) fn share(&mut self, of: &Value, axes: &[i64]) -> Result<Value> {
        let dims = self.dims(of)?;
        let lengths: Vec<Length> =
            axes.iter().filter_map(|axis| resolve_axis(*axis, dims.len())).map(|at| dims[at]).collect();
        let count = lengths.iter().try_fold(1.0, |all, length| Some(all * length.fixed()? as f64));
        if let Some(count) = count {
            return self.number(1.0 / count, of);
        }
        let shape = self.build.shape(of);
        let axes = self.build.ints("axes", axes);
        let lengths = self.build.gather(&shape, &axes, 0);
        let dtype = self.dtype(of);
        let lengths = self.build.cast(&lengths, dtype);
        let inverse = self.build.op("Reciprocal", &[&lengths], &[]);
        let share = self.build.op("ReduceProd", &[&inverse], &[("keepdims", Attr::Int(0))]);
        Ok(share)
    }

    /// The zero tangent of a value, with as many directions as `any`.
    pub(crate) fn no_tangent(&mut self, any: &Value, of: &Value) -> Result<Value> {
        let zero = self.number(0.0, of)?;
        let shape = self.shape_with_directions(any, of)?;
        Ok(self.build.expand(&zero, &shape))
    }

    /// The unit vectors as thin tangents `[width, 1, width]` of a value `[n, width]`.
    pub(crate) fn units(&mut self, width: usize, like: &Value) -> Result<Value> {
        let mut ones = vec![0.0_f32; width * width];
        ones.iter_mut().step_by(width + 1).for_each(|one| *one = 1.0);
        let units = self.build.constant("units", Tensor::f32(&[width, 1, width], ones)?);
        let dtype = self.dtype(like);
        Ok(if dtype == DType::F32 { units } else { self.build.cast(&units, dtype) })
    }

    /// Makes a sensitivity an output port like another port, with the axis `front` in front, if given.
    pub(crate) fn output(&mut self, name: &str, value: &Value, like: &Port, front: Option<Dim>) {
        let dims: Option<Vec<Dim>> =
            like.dims.as_ref().map(|dims| front.iter().chain(dims).cloned().collect());
        self.build.output_port(Port { name: name.to_owned(), dtype: like.dtype, dims }, value);
    }

    /// Zeros in the shape of a value.
    pub(crate) fn zeros(&mut self, like: &Value) -> Result<Value> {
        let zero = self.number(0.0, like)?;
        let shape = self.shape(like)?;
        Ok(self.build.expand(&zero, &shape))
    }

    /// Infers what is known of the weights and nodes added since the last call.
    fn catch_up(&mut self) {
        for (name, tensor) in self.build.fresh_weights() {
            self.facts.set_weight(&name, &tensor);
        }
        let nodes = self.build.nodes();
        for node in nodes.get(self.followed..).unwrap_or_default() {
            (self.infer_node)(&mut self.facts, node);
        }
        self.followed = nodes.len();
    }
}

/// How many elements of a value with axes `whole` are summed into one of `own`; `None` if it is unknown.
fn ratio(whole: &[Length], own: &[Length]) -> Option<f64> {
    let lead = whole.len().checked_sub(own.len())?;
    whole.iter().enumerate().try_fold(1.0, |all, (at, length)| {
        if at >= lead && own[at - lead] == *length { Some(all) } else { Some(all * length.fixed()? as f64) }
    })
}
