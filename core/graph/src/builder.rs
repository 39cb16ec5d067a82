//! Building a graph node by node.
//!
//! Values are handles, and their names are generated. Methods that add nodes return no `Result`, so that a
//! formula reads as one (`b.add(&b_x, &c)`); the first mistake is returned by [`Builder::finish`], which
//! verifies the whole graph.

use std::{collections::HashMap, sync::Arc};

use onnx_protobuf::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};

use crate::{
    Attr, DType, Dim, Error, Graph, IR_VERSION, OPSET, Port, Result, Tensor, walk,
    weight::{self, WeightMap},
};

/// A graph under construction.
///
/// ```
/// use chiasm_graph::{Attr, Builder, DType, Dim};
///
/// let mut b = Builder::new("centre");
/// let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(3)])?;
/// let sum = b.reduce_sum(&x, &[-1], true);
/// let mean = b.mul_scalar(&sum, 1.0 / 3.0);
/// let centred = b.sub(&x, &mean);
/// // Operators without a method of their own are added by name.
/// let y = b.op("LeakyRelu", &[&centred], &[("alpha", Attr::Float(0.1))]);
/// b.output("y", &y, DType::F32, &[Dim::named("batch"), Dim::Fixed(3)]);
/// assert_eq!(b.finish()?.node_count(), 4);
/// # Ok::<(), chiasm_graph::Error>(())
/// ```
#[derive(Debug)]
pub struct Builder {
    pub(crate) graph: GraphProto,
    weights: WeightMap,
    outputs: Vec<(Port, String)>,
    /// Every name in use, with the last number that was appended to it.
    names: HashMap<String, usize>,
    /// The first mistake.
    error: Option<Error>,
    /// The model without its graph.
    header: ModelProto,
    /// Scalars and lists of integers by content, so that equal ones are stored once.
    constants: HashMap<(DType, Vec<usize>, Vec<u8>), Value>,
    /// Weights that [`Builder::fresh_weights`] has not returned yet.
    fresh: Vec<String>,
}

/// The doc string of a node that stops derivatives.
pub(crate) const STOPPED: &str = "stop_gradient";

/// A handle to a value of a graph under construction: an input, a constant, or the output of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Value(String);

impl Value {
    /// Returns the name of the value in the graph.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Returns the value that stands for an optional input that is left out.
    pub fn none() -> Self {
        Self(String::new())
    }

    pub(crate) fn named(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl Builder {
    /// Starts an empty graph with a name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            graph: GraphProto { name: name.into(), ..Default::default() },
            weights: WeightMap::new(),
            outputs: Vec::new(),
            names: HashMap::new(),
            error: None,
            header: ModelProto {
                ir_version: IR_VERSION,
                producer_name: "chiasm".to_owned(),
                opset_import: vec![OperatorSetIdProto { version: OPSET, ..Default::default() }],
                ..Default::default()
            },
            constants: HashMap::new(),
            fresh: Vec::new(),
        }
    }

    /// Continues a graph after its last node; its ports, values and opset are kept.
    pub(crate) fn continuing(graph: &Graph) -> Self {
        let mut builder = Self::new(graph.name());
        builder.names = graph.value_names().into_iter().map(|name| (name, 1)).collect();
        builder.graph = graph.graph.clone();
        builder.weights = graph.weights.clone();
        builder.header = graph.header.clone();
        builder
    }

    /// Adds an input port.
    ///
    /// # Errors
    /// [`Error::Unsound`] for an empty name and one that is in use.
    pub fn input(&mut self, name: &str, dtype: DType, dims: &[Dim]) -> Result<Value> {
        if name.is_empty() || self.names.contains_key(name) {
            return Err(Error::Unsound(format!(
                "the input name `{name}` is empty or in use; choose another"
            )));
        }
        self.names.insert(name.to_owned(), 1);
        self.graph.input.push(Port::new(name, dtype, dims).to_proto());
        Ok(Value(name.to_owned()))
    }

    /// Adds a weight. If the name is in use, a number is appended to it.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> Value {
        let name = self.unique(name);
        self.weights.insert(name.clone(), Arc::new(weight::to_proto(&tensor)));
        self.fresh.push(name.clone());
        Value(name)
    }

    /// Adds a constant that is not trained; equal ones are stored once.
    fn shared(&mut self, name: &str, tensor: Tensor) -> Value {
        let key = (tensor.dtype(), tensor.shape().to_vec(), tensor.bytes().to_vec());
        if let Some(value) = self.constants.get(&key) {
            return value.clone();
        }
        let value = self.constant(name, tensor);
        self.constants.insert(key, value.clone());
        value
    }

    /// Adds a scalar as a weight; equal scalars are stored once.
    pub fn scalar(&mut self, value: f32) -> Value {
        self.shared("scalar", Tensor::scalar(value))
    }

    /// Adds a scalar of any floating-point type.
    pub(crate) fn number(&mut self, value: f64, dtype: DType) -> Result<Value> {
        let tensor = match dtype {
            DType::F64 => Tensor::f64(&[], vec![value])?,
            DType::F16 => Tensor::f16(&[], vec![half::f16::from_f64(value)])?,
            DType::BF16 => Tensor::new(&[], crate::TensorData::BF16(vec![half::bf16::from_f64(value)]))?,
            _ => Tensor::scalar(value as f32),
        };
        Ok(self.shared("scalar", tensor))
    }

    /// Adds integers, such as axes or a shape, as a weight `i64[n]`; equal lists are stored once.
    pub fn ints(&mut self, name: &str, values: &[i64]) -> Value {
        match Tensor::i64(&[values.len()], values.to_vec()) {
            Ok(tensor) => self.shared(name, tensor),
            Err(error) => self.fail(error),
        }
    }

    /// Returns the same value as a constant for derivatives: no tangent or cotangent passes through it.
    pub fn stop_gradient(&mut self, x: &Value) -> Value {
        let stopped = self.identity(x);
        if let Some(node) = self.graph.node.last_mut() {
            node.doc_string = STOPPED.to_owned();
        }
        stopped
    }

    /// Adds a node of any `ai.onnx` operator at [`OPSET`] with one output.
    pub fn op(&mut self, operator: &str, inputs: &[&Value], attributes: &[(&str, Attr)]) -> Value {
        let name = self.unique(&snake(operator));
        self.node(operator, inputs, attributes, vec![name.clone()]);
        Value(name)
    }

    /// Adds a node with `N` outputs.
    pub fn op_many<const N: usize>(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attr)],
    ) -> [Value; N] {
        let base = snake(operator);
        let outputs = [(); N].map(|()| Value(self.unique(&base)));
        let names = outputs.iter().map(|value| value.0.clone()).collect();
        self.node(operator, inputs, attributes, names);
        outputs
    }

    /// Adds a node of an operator of another domain, given with its version, with `N` outputs.
    pub fn op_many_of<const N: usize>(
        &mut self,
        (domain, version): (&str, i64),
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attr)],
    ) -> [Value; N] {
        let outputs = self.op_many(operator, inputs, attributes);
        if let Some(node) = self.graph.node.last_mut() {
            node.domain = domain.to_owned();
        }
        let imports = &mut self.header.opset_import;
        if imports.iter().all(|import| import.domain != domain) {
            let domain = domain.to_owned();
            imports.push(OperatorSetIdProto { domain, version, ..Default::default() });
        }
        outputs
    }

    /// Adds a node with `count` outputs.
    pub(crate) fn op_several(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attr)],
        count: usize,
    ) -> Vec<Value> {
        let base = snake(operator);
        let outputs: Vec<Value> = (0..count).map(|_| Value(self.unique(&base))).collect();
        let names = outputs.iter().map(|value| value.0.clone()).collect();
        self.node(operator, inputs, attributes, names);
        outputs
    }

    /// Adds a copy of a node with other inputs and some attributes replaced.
    pub(crate) fn copy(
        &mut self,
        node: &NodeProto,
        inputs: &[&Value],
        replaced: &[(&str, Attr)],
    ) -> Vec<Value> {
        let outputs = self.op_several(&node.op_type, inputs, replaced, node.output.len());
        let kept = node.attribute.iter().filter(|old| replaced.iter().all(|(name, _)| *name != old.name));
        if let Some(new) = self.graph.node.last_mut() {
            new.attribute.extend(kept.cloned());
        }
        outputs
    }

    /// Makes a value an output port; the value gets the name of the port.
    pub fn output(&mut self, name: &str, value: &Value, dtype: DType, dims: &[Dim]) {
        self.output_port(Port::new(name, dtype, dims), value);
    }

    pub(crate) fn output_port(&mut self, port: Port, value: &Value) {
        self.outputs.push((port, value.0.clone()));
    }

    /// All nodes so far, in order.
    pub(crate) fn nodes(&self) -> &[NodeProto] {
        &self.graph.node
    }

    /// The weights added since the last call.
    pub(crate) fn fresh_weights(&mut self) -> Vec<(String, Arc<onnx_protobuf::TensorProto>)> {
        let fresh = std::mem::take(&mut self.fresh);
        let found = |name: String| self.weights.get(&name).cloned().map(|tensor| (name, tensor));
        fresh.into_iter().filter_map(found).collect()
    }

    /// Whether a value is a weight.
    pub(crate) fn is_weight(&self, value: &Value) -> bool {
        self.weights.contains_key(&value.0)
    }

    /// The axes that a port states; `None` for other values.
    pub(crate) fn port_dims(&self, name: &str) -> Option<Vec<Dim>> {
        let mut ports = self.graph.input.iter().chain(&self.graph.output);
        ports.find(|port| port.name == name).and_then(|port| Port::from_proto(port).ok()?.dims)
    }

    /// Returns the finished graph, after [`Graph::verify`].
    ///
    /// # Errors
    /// The first mistake made while building, or what [`Graph::verify`] finds.
    pub fn finish(mut self) -> Result<Graph> {
        for at in 0..self.outputs.len() {
            self.name_output(at);
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        let built = Graph { header: self.header, graph: self.graph, weights: self.weights };
        built.verify()?;
        Ok(built)
    }

    /// Gives the value of an output port the port's name. Inputs, weights and values that are outputs already
    /// keep their name and are copied.
    fn name_output(&mut self, at: usize) {
        let (port, value) = self.outputs[at].clone();
        let name = port.name.clone();
        if self.graph.input.iter().chain(&self.graph.output).any(|other| other.name == name) {
            self.fail(Error::Unsound(format!("two ports are named `{name}`; port names must be distinct")));
            return;
        }
        let is_output = self.graph.output.iter().any(|output| output.name == value);
        let is_node_output = self.graph.node.iter().any(|node| node.output.contains(&value));
        if value != name {
            if self.names.contains_key(&name) {
                let other = self.unique(&name);
                self.rename(&name, &other);
            }
            self.names.insert(name.clone(), 1);
            if is_node_output && !is_output {
                self.rename(&value, &name);
            } else {
                self.node("Identity", &[&Value(value)], &[], vec![name]);
            }
        }
        self.graph.output.push(port.to_proto());
    }

    fn rename(&mut self, from: &str, to: &str) {
        walk::rename_values(&mut self.graph, &|name| (name == from).then(|| to.to_owned()));
        self.outputs
            .iter_mut()
            .filter(|(_, value)| value == from)
            .for_each(|(_, value)| to.clone_into(value));
        if let Some(tensor) = self.weights.remove(from) {
            self.weights.insert(to.to_owned(), tensor);
        }
    }

    fn node(&mut self, operator: &str, inputs: &[&Value], attributes: &[(&str, Attr)], outputs: Vec<String>) {
        self.graph.node.push(NodeProto {
            op_type: operator.to_owned(),
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: outputs,
            attribute: attributes.iter().map(|(name, value)| value.to_proto(name)).collect(),
            ..Default::default()
        });
    }

    pub(crate) fn unique(&mut self, base: &str) -> String {
        let base = if base.is_empty() { "value" } else { base };
        let Some(mut number) = self.names.get(base).copied() else {
            self.names.insert(base.to_owned(), 1);
            return base.to_owned();
        };
        loop {
            number += 1;
            let name = format!("{base}_{number}");
            if !self.names.contains_key(&name) {
                self.names.insert(base.to_owned(), number);
                self.names.insert(name.clone(), 1);
                return name;
            }
        }
    }

    /// Records a mistake for `finish`, which returns the first one.
    pub(crate) fn fail(&mut self, error: Error) -> Value {
        self.error.get_or_insert(error);
        Value::none()
    }
}

/// Converts `ReduceSum` to `reduce_sum`.
fn snake(operator: &str) -> String {
    let mut text = String::with_capacity(operator.len() + 4);
    for letter in operator.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
