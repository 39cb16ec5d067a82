//! Hidden units: axes of weights whose entries can be permuted without changing the function of a graph.
//!
//! A layer (`MatMul`, `Gemm`, `Conv`) makes units, element-wise operators and `BatchNormalization` keep them
//! apart, and further layers sum over them. Permuting the units in all these weights alike permutes the terms
//! of the sums.

use std::collections::{BTreeMap, BTreeSet};

use onnx_protobuf::NodeProto;

use crate::{
    Graph,
    operators::{self, PointwiseRole},
    walk::{attribute, subgraphs},
};

/// The weights that hold one set of hidden units, each with the axis of the units.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HiddenUnits {
    /// Number of units.
    pub count: usize,
    /// The weights that make the units: those of the layer, its bias, and what scales and shifts the units.
    pub incoming: Vec<(String, usize)>,
    /// The weights that sum over the units.
    pub outgoing: Vec<(String, usize)>,
}

impl Graph {
    /// Returns all hidden units whose order does not matter, in the order of their layers. Units that a
    /// residual connection, a reshape or an output keeps in place are left out, and so are weights with a
    /// second use.
    ///
    /// ```
    /// use chiasm_graph::{Builder, DType, Dim, Tensor};
    ///
    /// let mut b = Builder::new("mlp");
    /// let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(3)])?;
    /// let weight = |b: &mut Builder, name: &str, shape: &[usize]| {
    ///     Ok::<_, chiasm_graph::Error>(b.constant(name, Tensor::zeros(DType::F32, shape)?))
    /// };
    /// let layers = [(weight(&mut b, "w1", &[3, 8])?, weight(&mut b, "b1", &[8])?),
    ///     (weight(&mut b, "w2", &[8, 2])?, weight(&mut b, "b2", &[2])?)];
    /// let y = b.mlp(&x, &layers);
    /// b.output("y", &y, DType::F32, &[Dim::named("batch"), Dim::Fixed(2)]);
    /// let units = b.finish()?.hidden_units();
    /// assert_eq!((units.len(), units[0].count), (1, 8));
    /// assert_eq!(units[0].incoming, [("w1".to_owned(), 1), ("b1".to_owned(), 0)]);
    /// assert_eq!(units[0].outgoing, [("w2".to_owned(), 0)]);
    /// # Ok::<(), chiasm_graph::Error>(())
    /// ```
    pub fn hidden_units(&self) -> Vec<HiddenUnits> {
        let uses = Uses::of(self);
        let layers = self.graph.node.iter();
        layers.filter_map(|node| UnitSearch::new(self, &uses, node)?.finish()).collect()
    }
}

/// The nodes that read each value.
struct Uses<'a> {
    readers: BTreeMap<&'a str, Vec<&'a NodeProto>>,
    /// Values that are outputs of the graph or are read by subgraphs.
    fixed: BTreeSet<&'a str>,
}

impl<'a> Uses<'a> {
    fn of(graph: &'a Graph) -> Self {
        let mut readers: BTreeMap<&str, Vec<&NodeProto>> = BTreeMap::new();
        let mut fixed: BTreeSet<&str> = graph.graph.output.iter().map(|port| port.name.as_str()).collect();
        for node in &graph.graph.node {
            for name in node.input.iter().filter(|name| !name.is_empty()) {
                readers.entry(name).or_default().push(node);
            }
            for inner in subgraphs(node) {
                crate::walk::nodes(&inner.node, &mut |node| {
                    fixed.extend(node.input.iter().map(String::as_str));
                });
                fixed.extend(inner.output.iter().map(|port| port.name.as_str()));
            }
        }
        Self { readers, fixed }
    }
}

/// Follows the units of one layer.
struct UnitSearch<'a> {
    graph: &'a Graph,
    uses: &'a Uses<'a>,
    units: HiddenUnits,
    /// The axis of the units in values, counted from the end.
    from_end: usize,
    /// Values that hold the units.
    values: BTreeSet<&'a str>,
    /// Values whose readers were not followed yet.
    open: Vec<&'a str>,
    /// Inputs of element-wise nodes that must turn out to hold the units too.
    expected: Vec<&'a str>,
}

impl<'a> UnitSearch<'a> {
    /// Starts at a layer; `None` for other nodes.
    fn new(graph: &'a Graph, uses: &'a Uses<'a>, node: &'a NodeProto) -> Option<Self> {
        let (weight, axis) = (node.input.get(1)?, made_axis(node)?);
        let shape = graph.weight_shape(weight)?;
        let convolution = node.op_type == "Conv";
        let count = *shape.get(axis).filter(|_| convolution || shape.len() == 2)?;
        let mut incoming = vec![(weight.clone(), axis)];
        if let Some(bias) = node.input.get(2).filter(|bias| !bias.is_empty()) {
            let shape = graph.weight_shape(bias)?;
            if shape != [count] {
                return None;
            }
            incoming.push((bias.clone(), 0));
        }
        let output = node.output.first()?.as_str();
        Some(Self {
            graph,
            uses,
            units: HiddenUnits { count, incoming, outgoing: Vec::new() },
            from_end: if convolution { shape.len() - 2 } else { 0 },
            values: [output].into(),
            open: vec![output],
            expected: Vec::new(),
        })
    }

    /// Follows the units to the layers that sum over them; `None` where something keeps them in place.
    fn finish(mut self) -> Option<HiddenUnits> {
        while let Some(value) = self.open.pop() {
            if self.uses.fixed.contains(value) {
                return None;
            }
            for node in self.uses.readers.get(value).into_iter().flatten() {
                self.follow(value, node)?;
            }
        }
        let once = |name: &String| {
            self.uses.readers.get(name.as_str()).is_some_and(|readers| readers.len() == 1)
                && !self.uses.fixed.contains(name.as_str())
        };
        let weights = || self.units.incoming.iter().chain(&self.units.outgoing);
        let whole = self.expected.iter().all(|value| self.values.contains(value));
        (whole && !self.units.outgoing.is_empty() && weights().all(|(name, _)| once(name)))
            .then_some(self.units)
    }

    fn follow(&mut self, value: &str, node: &'a NodeProto) -> Option<()> {
        if let Some(axis) = summed_axis(node) {
            let weight =
                node.input.get(1).filter(|_| node.input.first().is_some_and(|name| name == value))?;
            let shape = self.graph.weight_shape(weight)?;
            let fits = shape.get(axis) == Some(&self.units.count)
                && (node.op_type == "Conv") == (self.from_end > 0)
                && (node.op_type == "Conv" || shape.len() == 2);
            return fits.then(|| self.units.outgoing.push((weight.clone(), axis)));
        }
        if node.op_type == "BatchNormalization" {
            let statistics = node.input.iter().skip(1);
            statistics.for_each(|name| self.units.incoming.push((name.clone(), 0)));
        } else if is_pointwise(node) {
            let others: Vec<&'a String> = node.input.iter().filter(|name| !name.is_empty()).collect();
            for name in others {
                self.operand(name)?;
            }
        } else {
            return None;
        }
        let output = node.output.first()?.as_str();
        if self.values.insert(output) {
            self.open.push(output);
        }
        Some(())
    }

    /// Notes an operand of an element-wise node: a weight for all units alike, one for each unit, or a value.
    fn operand(&mut self, name: &'a str) -> Option<()> {
        let Some(shape) = self.graph.weight_shape(name) else {
            self.expected.push(name);
            return Some(());
        };
        let axis = shape.len().checked_sub(1 + self.from_end);
        let length = axis.map_or(1, |axis| shape[axis]);
        let known = self.units.incoming.iter().any(|(own, _)| own == name);
        match axis {
            _ if length == 1 || known => {}
            Some(axis) if length == self.units.count => self.units.incoming.push((name.to_owned(), axis)),
            _ => return None,
        }
        Some(())
    }
}

impl Graph {
    fn weight_shape(&self, name: &str) -> Option<Vec<usize>> {
        let dims = &self.weights.get(name)?.dims;
        dims.iter().map(|length| usize::try_from(*length).ok()).collect()
    }
}

/// The axis of a layer's weight that counts its outputs.
fn made_axis(node: &NodeProto) -> Option<usize> {
    match node.op_type.as_str() {
        "MatMul" => Some(1),
        "Gemm" if plain(node) => Some(usize::from(!flag(node, "transB"))),
        "Conv" if !grouped(node) => Some(0),
        _ => None,
    }
}

/// The axis of a layer's weight that it sums over.
fn summed_axis(node: &NodeProto) -> Option<usize> {
    match node.op_type.as_str() {
        "MatMul" => Some(0),
        "Gemm" if plain(node) => Some(usize::from(flag(node, "transB"))),
        "Conv" if !grouped(node) => Some(1),
        _ => None,
    }
}

fn flag(node: &NodeProto, name: &str) -> bool {
    attribute(node, name).is_some_and(|attribute| attribute.i != 0)
}

/// Whether a `Gemm` does not transpose its first input.
fn plain(node: &NodeProto) -> bool {
    !flag(node, "transA")
}

fn grouped(node: &NodeProto) -> bool {
    attribute(node, "group").is_some_and(|attribute| attribute.i != 1)
}

fn is_pointwise(node: &NodeProto) -> bool {
    const MORE: [&str; 14] = [
        "Elu",
        "Selu",
        "Celu",
        "LeakyRelu",
        "PRelu",
        "HardSigmoid",
        "HardSwish",
        "Mish",
        "Gelu",
        "Softplus",
        "Softsign",
        "Identity",
        "Cast",
        "Clip",
    ];
    let role = operators::of(node).and_then(|operator| operator.fusion);
    matches!(role, Some(PointwiseRole::Map(_))) || MORE.contains(&node.op_type.as_str())
}
