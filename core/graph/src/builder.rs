//! Building a graph node by node: values are handles, names are made, mistakes are told once, by
//! [`Builder::finish`].
//!
//! Why errors wait: a formula stays a formula (`b.add(&b_x, &c)`), and the finished graph is verified as a
//! whole anyway.

use std::{collections::HashMap, sync::Arc};

use onnx_protobuf::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, attribute_proto::AttributeType,
};

use crate::{
    DType, Dim, Error, Graph, IR_VERSION, OPSET, Port, Result, Tensor, walk,
    weight::{self, Weights},
};

/// A graph under construction.
#[derive(Debug)]
pub struct Builder {
    graph: GraphProto,
    weights: Weights,
    outputs: Vec<(Port, String)>,
    /// Every name taken, with the last number tried behind it.
    names: HashMap<String, usize>,
    trouble: Option<Error>,
    /// The rest of the model that is being continued.
    header: ModelProto,
    /// Scalars and small lists of integers made so far, to be made once.
    constants: HashMap<(DType, Vec<usize>, Vec<u8>), Value>,
    /// Weights not yet fetched by [`Builder::fresh_weights`].
    fresh: Vec<String>,
}

/// The note on a node that no derivative flows through.
pub(crate) const STOPPED: &str = "stop_gradient";

/// A value of the graph under construction: an input, a constant, or a node's output.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Value(String);

/// An attribute of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    /// One integer.
    Int(i64),
    /// One number.
    Float(f32),
    /// Integers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f32>),
    /// Text.
    Text(String),
    /// A tensor.
    Tensor(Tensor),
}

impl Value {
    /// The name of the value in the graph.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Stands for an optional input that is left out.
    pub fn none() -> Self {
        Self(String::new())
    }

    pub(crate) fn named(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl Builder {
    /// An empty graph with a name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            graph: GraphProto { name: name.into(), ..Default::default() },
            weights: Weights::new(),
            outputs: Vec::new(),
            names: HashMap::new(),
            trouble: None,
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

    /// A graph to be continued at its end; its ports, values and opset stay.
    pub(crate) fn continuing(graph: &Graph) -> Self {
        let mut builder = Self::new(graph.name());
        builder.names = graph.value_names().into_iter().map(|name| (name, 1)).collect();
        builder.graph = graph.graph.clone();
        builder.weights = graph.weights.clone();
        builder.header = graph.header.clone();
        builder
    }

    /// Adds an input port; an error when the name is taken.
    pub fn input(&mut self, name: &str, dtype: DType, dims: &[Dim]) -> Result<Value> {
        if name.is_empty() || self.names.contains_key(name) {
            return Err(Error::Unsound(format!("the input name `{name}` is empty or taken")));
        }
        self.names.insert(name.to_owned(), 1);
        self.graph.input.push(Port::new(name, dtype, dims).to_proto());
        Ok(Value(name.to_owned()))
    }

    /// Adds a weight; a taken name gets a number behind it.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> Value {
        let name = self.unique(name);
        self.weights.insert(name.clone(), Arc::new(weight::to_proto(&tensor)));
        self.fresh.push(name.clone());
        Value(name)
    }

    /// A constant that nobody trains: equal ones are one.
    fn shared(&mut self, name: &str, tensor: Tensor) -> Value {
        let key = (tensor.dtype(), tensor.shape().to_vec(), tensor.bytes().to_vec());
        if let Some(value) = self.constants.get(&key) {
            return value.clone();
        }
        let value = self.constant(name, tensor);
        self.constants.insert(key, value.clone());
        value
    }

    /// A scalar as a weight; equal ones are one weight.
    pub fn scalar(&mut self, value: f32) -> Value {
        self.shared("scalar", Tensor::scalar(value))
    }

    /// A scalar of any floating-point type.
    pub(crate) fn number(&mut self, value: f64, dtype: DType) -> Result<Value> {
        let tensor = match dtype {
            DType::F64 => Tensor::f64(&[], vec![value])?,
            DType::F16 => Tensor::f16(&[], vec![half::f16::from_f64(value)])?,
            DType::BF16 => Tensor::new(&[], crate::TensorData::BF16(vec![half::bf16::from_f64(value)]))?,
            _ => Tensor::scalar(value as f32),
        };
        Ok(self.shared("scalar", tensor))
    }

    /// Integers, such as axes or a shape, as a weight; equal ones are one weight.
    pub fn ints(&mut self, name: &str, values: &[i64]) -> Value {
        match Tensor::i64(&[values.len()], values.to_vec()) {
            Ok(tensor) => self.shared(name, tensor),
            Err(error) => self.fail(error),
        }
    }

    /// The same value, as a constant to every derivative.
    pub fn stop_gradient(&mut self, x: &Value) -> Value {
        let stopped = self.identity(x);
        if let Some(node) = self.graph.node.last_mut() {
            node.doc_string = STOPPED.to_owned();
        }
        stopped
    }

    /// Adds a node with one output, of any `ai.onnx` operator at [`OPSET`].
    pub fn op(&mut self, operator: &str, inputs: &[&Value], attributes: &[(&str, Attr)]) -> Value {
        let name = self.unique(&snake(operator));
        self.node(operator, inputs, attributes, vec![name.clone()]);
        Value(name)
    }

    /// Adds a node with several outputs.
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

    /// Adds a node with as many outputs as asked for.
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

    /// Adds a node like another, with other inputs and some attributes replaced.
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

    /// Makes a value an output port.
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

    /// The weights made since this was last asked.
    pub(crate) fn fresh_weights(&mut self) -> Vec<(String, Arc<onnx_protobuf::TensorProto>)> {
        let fresh = std::mem::take(&mut self.fresh);
        let found = |name: String| self.weights.get(&name).cloned().map(|tensor| (name, tensor));
        fresh.into_iter().filter_map(found).collect()
    }

    /// Whether a value is a weight.
    pub(crate) fn is_weight(&self, value: &Value) -> bool {
        self.weights.contains_key(&value.0)
    }

    /// The axes that a port states; free ones for anything else.
    pub(crate) fn port_dims(&self, name: &str) -> Option<Vec<Dim>> {
        let mut ports = self.graph.input.iter().chain(&self.graph.output);
        ports.find(|port| port.name == name).and_then(|port| Port::from_proto(port).ok()?.dims)
    }

    /// The finished graph; an error tells the first mistake made on the way, or what [`Graph::verify`] finds.
    pub fn finish(mut self) -> Result<Graph> {
        for at in 0..self.outputs.len() {
            self.settle_output(at);
        }
        if let Some(error) = self.trouble {
            return Err(error);
        }
        let built = Graph { header: self.header, graph: self.graph, weights: self.weights };
        built.verify()?;
        Ok(built)
    }

    /// Gives an output port's value the port's name, or copies the value where it must keep its own.
    fn settle_output(&mut self, at: usize) {
        let (port, value) = self.outputs[at].clone();
        let name = port.name.clone();
        if self.graph.input.iter().chain(&self.graph.output).any(|other| other.name == name) {
            self.fail(Error::Unsound(format!("two ports are named `{name}`")));
            return;
        }
        let settled = self.graph.output.iter().any(|output| output.name == value);
        let made = self.graph.node.iter().any(|node| node.output.contains(&value));
        if value != name {
            if self.names.contains_key(&name) {
                let other = self.unique(&name);
                self.rename(&name, &other);
            }
            self.names.insert(name.clone(), 1);
            if made && !settled {
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

    fn unique(&mut self, base: &str) -> String {
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

    /// Keeps the first mistake for `finish`.
    pub(crate) fn fail(&mut self, error: Error) -> Value {
        self.trouble.get_or_insert(error);
        Value::none()
    }
}

/// `ReduceSum` as `reduce_sum`.
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

impl Attr {
    pub(crate) fn to_proto(&self, name: &str) -> AttributeProto {
        let mut proto = AttributeProto { name: name.to_owned(), ..Default::default() };
        let kind = match self {
            Self::Int(value) => {
                proto.i = *value;
                AttributeType::INT
            }
            Self::Float(value) => {
                proto.f = *value;
                AttributeType::FLOAT
            }
            Self::Ints(values) => {
                proto.ints.clone_from(values);
                AttributeType::INTS
            }
            Self::Floats(values) => {
                proto.floats.clone_from(values);
                AttributeType::FLOATS
            }
            Self::Text(text) => {
                proto.s = text.clone().into_bytes();
                AttributeType::STRING
            }
            Self::Tensor(tensor) => {
                proto.t = Some(weight::to_proto(tensor)).into();
                AttributeType::TENSOR
            }
        };
        proto.type_ = kind.into();
        proto
    }
}

impl From<i64> for Attr {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f32> for Attr {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}

impl From<&[i64]> for Attr {
    fn from(values: &[i64]) -> Self {
        Self::Ints(values.to_vec())
    }
}

impl From<&str> for Attr {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
