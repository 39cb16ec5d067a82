//! Shape inference: element types, axes and small integer tensors, as far as the graph determines them.
//!
//! Derivatives need to know along which axes an operand was broadcast. A free axis is a symbol: equal symbols
//! have equal lengths. Shapes that are computed inside the graph (`Shape`, `Gather`, `Concat` ...) are
//! followed too, because exporters write reshapes that way. The rule of each operator is in its row of
//! [`crate::operators`]; the outputs of an operator without a rule have unknown axes.

mod facts;

use onnx_protobuf::NodeProto;

use crate::{Graph, operators, types};

pub(crate) use facts::{Fact, Facts, Length, MAX_ELEMENTS, resolve_axes, resolve_axis};

/// Infers what is known of every value of a graph.
pub(crate) fn infer(graph: &Graph) -> Facts {
    let mut facts = stated(graph);
    for node in &graph.graph.node {
        infer_node(&mut facts, node);
    }
    facts
}

/// What a graph states of its ports, annotated values and weights.
pub(crate) fn stated(graph: &Graph) -> Facts {
    let mut facts = Facts::default();
    for (name, (dtype, dims)) in types::of(graph) {
        let dims = dims.map(|dims| dims.iter().map(|dim| facts.length(dim)).collect());
        facts.set(&name, Fact { dtype: Some(dtype), dims, elements: None });
    }
    for (name, proto) in &graph.weights {
        facts.set_weight(name, proto);
    }
    facts
}

/// Infers what is known of a node's outputs from what is known of its inputs.
pub(crate) fn infer_node(facts: &mut Facts, node: &NodeProto) {
    let operator = operators::of(node);
    for (output, name) in node.output.iter().enumerate() {
        if name.is_empty() {
            continue;
        }
        let input_dtype = |input: usize| facts.input_dtype(node, input);
        let dtype = operator.and_then(|known| known.dtype(node, output, &input_dtype));
        let stated = facts.of(name);
        let dims = operator.and_then(|known| known.shape?(facts, node, output)).or(stated.dims);
        let elements =
            if output == 0 { operator.and_then(|known| known.elements?(facts, node)) } else { None };
        facts.set(name, Fact { dtype: dtype.or(stated.dtype), dims, elements });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, DType, Dim};

    /// The length of a `Concat` of vectors with these lengths.
    fn concatenated(lengths: impl Iterator<Item = Dim>) -> Length {
        let mut b = Builder::new("concat");
        let parts: Vec<_> = lengths
            .enumerate()
            .map(|(at, length)| b.input(&format!("x{at}"), DType::F32, &[length]).unwrap())
            .collect();
        let y = b.concat(&parts.iter().collect::<Vec<_>>(), 0);
        b.output("y", &y, DType::F32, &[Dim::named("all")]);
        infer(&b.finish().unwrap()).of("y").dims.unwrap()[0]
    }

    #[test]
    fn a_concat_with_an_unknown_length_has_an_unknown_length() {
        assert_eq!(concatenated([2, 3, 4].into_iter().map(Dim::Fixed)), Length::Fixed(9));
        for count in [1, 2, 64, 65, 1000] {
            let free = (0..count).map(|at| Dim::named(format!("n{at}")));
            let length = concatenated([Dim::Fixed(1)].into_iter().chain(free));
            assert!(matches!(length, Length::Symbol(_)), "{count} unknown lengths: {length:?}");
        }
        let huge = [i64::MAX, i64::MAX].map(|length| Dim::Fixed(length.try_into().unwrap()));
        assert!(matches!(concatenated(huge.into_iter()), Length::Symbol(_)));
    }
}
