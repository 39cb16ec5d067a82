//! Graphs of one architecture: their difference besides the weights, and exchanging weights.

use std::sync::Arc;

use onnx_protobuf::Message as _;

use crate::{Error, Graph, Result, Tensor, walk::node_name, weight};

impl Graph {
    /// Returns the first difference to another graph besides the values of the weights, in words: `None` if
    /// both have the same ports, nodes, and weights of the same names, types and shapes.
    ///
    /// ```
    /// use chiasm_graph::{Builder, DType, Dim, Tensor};
    ///
    /// let scaled = |by: f32| {
    ///     let mut b = Builder::new("scale");
    ///     let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(2)])?;
    ///     let w = b.constant("w", Tensor::f32(&[2], vec![by; 2])?);
    ///     let y = b.mul(&x, &w);
    ///     b.output("y", &y, DType::F32, &[Dim::named("batch"), Dim::Fixed(2)]);
    ///     b.finish()
    /// };
    /// let (two, three) = (scaled(2.0)?, scaled(3.0)?);
    /// assert_eq!(two.architecture_difference(&three), None);
    /// assert_eq!(two.with_weights(&[("w", three.weight("w")?)])?, three);
    /// # Ok::<(), chiasm_graph::Error>(())
    /// ```
    pub fn architecture_difference(&self, other: &Self) -> Option<String> {
        let ports = |graph: &Self| graph.inputs().into_iter().chain(graph.outputs()).collect::<Vec<_>>();
        let (own, theirs) = (ports(self), ports(other));
        if own.len() != theirs.len() {
            return Some(format!("one has {} ports and the other {}", own.len(), theirs.len()));
        }
        if let Some((own, theirs)) = own.iter().zip(&theirs).find(|(own, theirs)| own != theirs) {
            return Some(format!("the port `{own}` is `{theirs}` in the other"));
        }
        let (own, theirs) = (&self.graph.node, &other.graph.node);
        if own.len() != theirs.len() {
            return Some(format!("one has {} nodes and the other {}", own.len(), theirs.len()));
        }
        for (own, theirs) in own.iter().zip(theirs) {
            // Writing into memory cannot fail; messages with a map have no fixed order of bytes, nodes have
            // none.
            let bytes = |node: &onnx_protobuf::NodeProto| node.write_to_bytes().unwrap_or_default();
            let wired =
                (own.op_type == theirs.op_type, own.input == theirs.input, own.output == theirs.output);
            if wired != (true, true, true) || bytes(own) != bytes(theirs) {
                let (operator, name) = (&own.op_type, node_name(own));
                return Some(format!(
                    "the node `{name}` ({operator}) is `{}` ({}) in the other",
                    node_name(theirs),
                    theirs.op_type
                ));
            }
        }
        let missing = self.weights.keys().find(|name| !other.weights.contains_key(*name));
        let missing = missing.or_else(|| other.weights.keys().find(|name| !self.weights.contains_key(*name)));
        if let Some(name) = missing {
            return Some(format!("only one has the weight `{name}`"));
        }
        let differs = |(name, own): (&String, &Arc<onnx_protobuf::TensorProto>)| {
            let theirs = other.weights.get(name)?;
            let same = own.dims == theirs.dims && own.data_type == theirs.data_type;
            (!same).then(|| {
                format!(
                    "the weight `{name}` has the shape {:?}, and {:?} in the other",
                    own.dims, theirs.dims
                )
            })
        };
        self.weights.iter().find_map(differs)
    }

    /// Returns the graph with the values of some weights replaced.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a name that is no weight, [`Error::Tensor`] for another type or shape.
    pub fn with_weights(&self, values: &[(&str, Tensor)]) -> Result<Self> {
        let mut replaced = self.clone();
        for (name, tensor) in values {
            let own = self.weight(name)?;
            if own.dtype() != tensor.dtype() || own.shape() != tensor.shape() {
                return Err(Error::Tensor(format!(
                    "for the weight `{name}`: expected {} {:?}, got {} {:?}",
                    own.dtype(),
                    own.shape(),
                    tensor.dtype(),
                    tensor.shape()
                )));
            }
            replaced.weights.insert((*name).to_owned(), Arc::new(weight::to_proto(tensor)));
        }
        Ok(replaced)
    }
}
