//! What is known of the values of a graph: element type, axes, and the elements of small integer tensors.

use std::collections::HashMap;

use onnx_protobuf::{NodeProto, TensorProto};

use crate::{DType, Dim, walk::attribute, weight};

/// The length of an axis, or one element of a small integer tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Length {
    /// A known number.
    Fixed(i64),
    /// An unknown number; equal symbols are equal numbers, different symbols may or may not be.
    Symbol(u32),
}

/// What is known of one value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fact {
    /// The element type.
    pub(crate) dtype: Option<DType>,
    /// The length of each axis.
    pub(crate) dims: Option<Vec<Length>>,
    /// The elements of a small integer tensor.
    pub(crate) elements: Option<Vec<Length>>,
}

/// What is known of every value of a graph, by name.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    facts: HashMap<String, Fact>,
    /// The elements of small weights of type f32, such as the scales of `Resize`.
    floats: HashMap<String, Vec<f32>>,
    symbols: HashMap<String, u32>,
    /// The symbols of cut axes, by the uncut length and the start, end and step of the cut.
    cuts: HashMap<(Length, [i64; 3]), Length>,
    last_symbol: u32,
}

/// Elements are tracked in integer tensors of at most this many elements.
pub(crate) const MAX_ELEMENTS: usize = 64;
/// The elements of float weights are known if there are at most this many.
const MAX_FLOATS: usize = 8;

impl Facts {
    /// What is known of a value; nothing for an unknown name.
    pub(crate) fn of(&self, name: &str) -> Fact {
        self.facts.get(name).cloned().unwrap_or_default()
    }

    /// Records what is known of a value. What no tensor can have (a negative length, very many axes) is
    /// unknown, and so are the elements of a tensor that is not small.
    pub(crate) fn set(&mut self, name: &str, mut fact: Fact) {
        fact.dims = fact.dims.filter(|dims| dims.len() <= MAX_ELEMENTS);
        fact.elements = fact.elements.filter(|elements| elements.len() <= MAX_ELEMENTS);
        for length in fact.dims.iter_mut().flatten() {
            if length.fixed().is_some_and(|length| length < 0) {
                *length = self.fresh();
            }
        }
        self.facts.insert(name.to_owned(), fact);
    }

    /// Records a weight.
    pub(crate) fn set_weight(&mut self, name: &str, proto: &TensorProto) {
        let elements = weight::small_ints(proto, MAX_ELEMENTS)
            .map(|values| values.into_iter().map(Length::Fixed).collect());
        let fact = Fact {
            dtype: DType::from_onnx(proto.data_type),
            dims: Some(proto.dims.iter().copied().map(Length::Fixed).collect()),
            elements,
        };
        self.set(name, fact);
        if let Some(floats) = weight::small_floats(proto, MAX_FLOATS) {
            self.floats.insert(name.to_owned(), floats);
        }
    }

    /// Records an input with these axes.
    pub(crate) fn set_input(&mut self, name: &str, dtype: DType, dims: Vec<Length>) {
        self.set(name, Fact { dtype: Some(dtype), dims: Some(dims), elements: None });
    }

    /// The elements of a small integer tensor, if all of them are known.
    pub(crate) fn known_elements(&self, name: &str) -> Option<Vec<i64>> {
        let elements = self.facts.get(name)?.elements.as_ref()?;
        elements.iter().map(|value| value.fixed()).collect()
    }

    /// The elements of a small weight of type f32.
    pub(crate) fn known_floats(&self, name: &str) -> Option<&[f32]> {
        self.floats.get(name).map(Vec::as_slice)
    }

    /// The symbol of a free axis with this name; a new symbol the first time.
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

    /// A new symbol: a length of which nothing is known.
    pub(crate) fn fresh(&mut self) -> Length {
        self.last_symbol += 1;
        Length::Symbol(self.last_symbol)
    }

    /// The symbol of an axis of this length after a cut with this start, end and step; the same for equal
    /// cuts of equal lengths.
    pub(crate) fn cut(&mut self, length: Length, bounds: [i64; 3]) -> Length {
        if let Some(cut) = self.cuts.get(&(length, bounds)) {
            return *cut;
        }
        let fresh = self.fresh();
        self.cuts.insert((length, bounds), fresh);
        fresh
    }

    /// The length of a port's axis.
    pub(crate) fn length(&mut self, dim: &Dim) -> Length {
        match dim {
            Dim::Fixed(length) => Length::Fixed(i64::try_from(*length).unwrap_or(i64::MAX)),
            Dim::Named(name) => self.symbol(name),
            Dim::Unknown => self.fresh(),
        }
    }

    /// The element type of a node's input.
    pub(crate) fn input_dtype(&self, node: &NodeProto, input: usize) -> Option<DType> {
        self.facts.get(node.input.get(input)?)?.dtype
    }

    /// The axes of a node's input.
    pub(crate) fn input_dims(&self, node: &NodeProto, input: usize) -> Option<Vec<Length>> {
        self.facts.get(node.input.get(input)?)?.dims.clone()
    }

    /// The length of a node's input that lists axes, which is the rank of a value; `None` if no tensor has so
    /// many axes.
    pub(crate) fn input_rank(&self, node: &NodeProto, input: usize) -> Option<usize> {
        let length = self.input_dims(node, input)?.first()?.fixed()?;
        usize::try_from(length).ok().filter(|rank| *rank <= MAX_ELEMENTS)
    }

    /// The elements of a node's input, which may be symbols.
    pub(crate) fn input_elements(&self, node: &NodeProto, input: usize) -> Option<Vec<Length>> {
        self.facts.get(node.input.get(input)?)?.elements.clone()
    }

    /// The integers of a node's input, or of the attribute that older versions of the operator have instead.
    pub(crate) fn input_or_attribute(&self, node: &NodeProto, input: usize, name: &str) -> Option<Vec<i64>> {
        match node.input.get(input).filter(|input| !input.is_empty()) {
            Some(input) => self.known_elements(input),
            None => attribute(node, name).map(|attribute| attribute.ints.clone()),
        }
    }

    /// The axes that a reduction over a value of this rank removes; `None` if they are not constants.
    pub(crate) fn reduced_axes(&self, node: &NodeProto, rank: usize) -> Option<Vec<usize>> {
        let noop = attribute(node, "noop_with_empty_axes").is_some_and(|noop| noop.i != 0);
        let given =
            node.input.get(1).is_some_and(|name| !name.is_empty()) || attribute(node, "axes").is_some();
        let axes = if given { self.input_or_attribute(node, 1, "axes")? } else { Vec::new() };
        match (axes.is_empty(), noop) {
            (true, true) => Some(Vec::new()),
            (true, false) => Some((0..rank).collect()),
            (false, _) => resolve_axes(&axes, rank),
        }
    }
}

impl Length {
    /// The number, if it is known.
    pub(crate) fn fixed(self) -> Option<i64> {
        match self {
            Self::Fixed(length) => Some(length),
            Self::Symbol(_) => None,
        }
    }
}

/// An axis, which may count from the end, as an index; `None` if it is out of range.
pub(crate) fn resolve_axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    usize::try_from(if axis < 0 { axis + rank } else { axis }).ok().filter(|at| (*at as i64) < rank)
}

/// Several axes as indices; `None` if one is out of range.
pub(crate) fn resolve_axes(axes: &[i64], rank: usize) -> Option<Vec<usize>> {
    axes.iter().map(|axis| resolve_axis(*axis, rank)).collect()
}
