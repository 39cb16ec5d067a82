//! Ranks, lengths and small integers, followed through the operators as far as the graph itself tells them.
//!
//! Derivatives need to know which axes an operand was broadcast along. A free axis is a symbol: equal symbols
//! are equally long, different ones may or may not be. Shapes that are computed inside the graph (`Shape`,
//! `Gather`, `Concat` ...) are followed too, since that is how exporters write a reshape. An operator missing
//! here only makes its outputs unknown.

mod lengths;

use std::collections::HashMap;

use onnx_protobuf::NodeProto;

use crate::{DType, Dim, Graph, types, walk::attribute, weight};

/// Length of an axis, or one integer of a small tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// This number.
    Fixed(i64),
    /// Free; the same symbol is the same number.
    Symbol(u32),
}

/// What is known of one value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fact {
    /// Element type.
    pub(crate) dtype: Option<DType>,
    /// Axes.
    pub(crate) dims: Option<Vec<Length>>,
    /// The elements of a small tensor of integers.
    ints: Option<Vec<Length>>,
}

/// What is known of every value of a graph.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    facts: HashMap<String, Fact>,
    symbols: HashMap<String, u32>,
    next: u32,
}

/// Integers are followed in tensors of at most this many elements.
const SMALL: usize = 64;

impl Shapes {
    /// The facts of a whole graph.
    pub(crate) fn of(graph: &Graph) -> Self {
        let mut shapes = Self::default();
        for (name, (dtype, dims)) in types::of(graph) {
            let dims = dims.map(|dims| dims.iter().map(|dim| shapes.length(dim)).collect());
            shapes.facts.insert(name, Fact { dtype: Some(dtype), dims, ints: None });
        }
        for (name, proto) in &graph.weights {
            shapes.weight(name, proto);
        }
        for node in &graph.graph.node {
            shapes.follow(node);
        }
        shapes
    }

    /// What is known of a value; nothing for one that was never met.
    pub(crate) fn fact(&self, name: &str) -> Fact {
        self.facts.get(name).cloned().unwrap_or_default()
    }

    /// The integers of a small tensor, when all are known.
    pub(crate) fn known_ints(&self, name: &str) -> Option<Vec<i64>> {
        let ints = self.facts.get(name)?.ints.as_ref()?;
        ints.iter().map(|value| value.fixed()).collect()
    }

    /// Notes a weight.
    pub(crate) fn weight(&mut self, name: &str, proto: &onnx_protobuf::TensorProto) {
        let ints = weight::small_ints(proto, SMALL).map(|ints| ints.into_iter().map(Length::Fixed).collect());
        let fact = Fact {
            dtype: DType::from_onnx(proto.data_type),
            dims: Some(proto.dims.iter().copied().map(Length::Fixed).collect()),
            ints,
        };
        self.facts.insert(name.to_owned(), fact);
    }

    /// Notes an input with these axes.
    pub(crate) fn input(&mut self, name: &str, dtype: DType, dims: Vec<Length>) {
        self.facts.insert(name.to_owned(), Fact { dtype: Some(dtype), dims: Some(dims), ints: None });
    }

    /// The symbol of a free axis with this name; a new one for a name not met before.
    pub(crate) fn symbol(&mut self, name: &str) -> Length {
        if let Some(symbol) = self.symbols.get(name) {
            return Length::Symbol(*symbol);
        }
        let fresh = self.fresh();
        if let Length::Symbol(symbol) = fresh {
            self.symbols.insert(name.to_owned(), symbol);
        }
        fresh
    }

    /// Notes what a node makes.
    pub(crate) fn follow(&mut self, node: &NodeProto) {
        for (place, name) in node.output.iter().enumerate() {
            if name.is_empty() {
                continue;
            }
            let of_input = |number: usize| self.facts.get(node.input.get(number)?)?.dtype;
            let dtype = if node.domain.is_empty() { types::output(node, place, &of_input) } else { None };
            let stated = self.facts.get(name).cloned().unwrap_or_default();
            let dims = self.dims(node, place).or(stated.dims);
            let ints = if place == 0 { self.ints(node) } else { None };
            self.facts.insert(name.clone(), Fact { dtype: dtype.or(stated.dtype), dims, ints });
        }
    }

    fn length(&mut self, dim: &Dim) -> Length {
        match dim {
            Dim::Fixed(length) => Length::Fixed(i64::try_from(*length).unwrap_or(i64::MAX)),
            Dim::Named(name) => self.symbol(name),
            Dim::Unknown => self.fresh(),
        }
    }

    fn fresh(&mut self) -> Length {
        self.next += 1;
        Length::Symbol(self.next)
    }

    fn dims_of(&self, node: &NodeProto, input: usize) -> Option<Vec<Length>> {
        self.facts.get(node.input.get(input)?)?.dims.clone()
    }

    /// Integers of an input, or of the attribute that older operators have instead.
    pub(crate) fn list(&self, node: &NodeProto, input: usize, name: &str) -> Option<Vec<i64>> {
        match node.input.get(input).filter(|input| !input.is_empty()) {
            Some(input) => self.known_ints(input),
            None => attribute(node, name).map(|attribute| attribute.ints.clone()),
        }
    }
}

impl Length {
    /// The number, when it is one.
    pub(crate) fn fixed(self) -> Option<i64> {
        match self {
            Self::Fixed(length) => Some(length),
            Self::Symbol(_) => None,
        }
    }
}

/// An axis that may count from the end, as a place.
pub(crate) fn place_of(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    usize::try_from(if axis < 0 { axis + rank } else { axis }).ok().filter(|at| (*at as i64) < rank)
}
