//! The last learned layer before an output.

use std::collections::{HashMap, HashSet};

use onnx_protobuf::NodeProto;

use crate::{Graph, Port};

/// Operators between a layer and an output that have one data input and learn nothing.
const PASSED: [&str; 12] = [
    "Cast",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "Identity",
    "LogSoftmax",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Softmax",
    "Squeeze",
    "Unsqueeze",
];
/// Operators that multiply their first input by weights.
const LAYERS: [&str; 3] = ["Gemm", "MatMul", "Conv"];

impl Graph {
    /// Returns the tensor that the last learned layer before an output reads: of a classifier, the vector
    /// from which the class scores are computed.
    ///
    /// The layer is a matrix product or a convolution with weights of the model. Between it and the output
    /// there may be a bias, a softmax or another function of one input. `None` if there is no such layer, or
    /// if the shape of the tensor is not known.
    ///
    /// ```
    /// use chiasm_graph::{Builder, DType, Dim, Tensor};
    ///
    /// let mut b = Builder::new("classifier");
    /// let x = b.input("x", DType::F32, &[Dim::named("batch"), 4.into()])?;
    /// let hidden = b.relu(&x);
    /// let weight = b.constant("weight", Tensor::f32(&[4, 2], vec![0.5; 8])?);
    /// let scores = b.matmul(&hidden, &weight);
    /// let probabilities = b.softmax(&scores, -1);
    /// b.output("classes", &probabilities, DType::F32, &[Dim::named("batch"), 2.into()]);
    /// let before = b.finish()?.before_last("classes").unwrap();
    /// assert_eq!((&*before.name, before.fixed(-1)), (hidden.name(), Some(4)));
    /// # Ok::<(), chiasm_graph::Error>(())
    /// ```
    pub fn before_last(&self, output: &str) -> Option<Port> {
        let made: HashMap<&str, &NodeProto> =
            self.graph.node.iter().flat_map(|node| node.output.iter().map(move |o| (&**o, node))).collect();
        // A weight may pass through a node of its own: a transpose, or the dequantisation of its storage.
        let learned = |name: &str| {
            let mut name = name;
            for _ in 0..4 {
                if self.weights.contains_key(name) {
                    return true;
                }
                let Some(first) = made.get(name).and_then(|node| node.input.first()) else { return false };
                name = first;
            }
            false
        };
        let (mut name, mut seen) = (output, HashSet::new());
        while seen.insert(name) {
            let node = made.get(name)?;
            let inputs: Vec<&str> = node.input.iter().map(String::as_str).filter(|i| !i.is_empty()).collect();
            let (&first, others) = inputs.split_first()?;
            name = match node.op_type.as_str() {
                operator if LAYERS.contains(&operator) && others.first().is_some_and(|w| learned(w)) => {
                    let port = self.expose(first).ok()?.output(first).ok()?;
                    return port.dims.is_some().then_some(port);
                }
                operator if PASSED.contains(&operator) => first,
                "Add" | "Sub" | "Mul" | "Div" if others.iter().all(|other| learned(other)) => first,
                "Add" | "Mul" if learned(first) => others.first().copied()?,
                _ => return None,
            };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::{Builder, DType, Dim, Tensor};

    #[test]
    fn the_tensor_before_the_last_layer_is_found_behind_its_bias_and_activation() {
        let batch = || Dim::named("batch");
        let mut b = Builder::new("model");
        let x = b.input("x", DType::F32, &[batch(), 3.into(), 4.into(), 4.into()]).unwrap();
        let map = b.relu(&x);
        let kernel = b.constant("kernel", Tensor::f32(&[5, 3, 1, 1], vec![0.5; 15]).unwrap());
        let scores = b.op("Conv", &[&map, &kernel], &[]);
        let scores = b.op("GlobalAveragePool", &[&scores], &[]);
        let scores = b.reshape(&scores, &[0, -1]);
        b.output("scores", &scores, DType::F32, &[batch(), 5.into()]);
        let pooled = b.op("GlobalAveragePool", &[&x], &[]);
        let flat = b.reshape(&pooled, &[0, 3]);
        let weight = b.constant("weight", Tensor::f32(&[2, 3], vec![0.5; 6]).unwrap());
        let turned = b.transpose(&weight, &[1, 0]);
        let bias = b.constant("bias", Tensor::f32(&[2], vec![0.1; 2]).unwrap());
        let product = b.linear(&flat, &turned, Some(&bias));
        let classes = b.softmax(&product, -1);
        b.output("classes", &classes, DType::F32, &[batch(), 2.into()]);
        b.output("pooled", &flat, DType::F32, &[batch(), 3.into()]);
        let squares = b.mul(&flat, &flat);
        let norm = b.reduce_sum(&squares, &[1], true);
        b.output("norm", &norm, DType::F32, &[batch(), 1.into()]);
        let graph = b.finish().unwrap();

        let before = |output: &str| graph.before_last(output).map(|port| (port.name, port.dims.unwrap()));
        let (name, dims) = before("scores").unwrap();
        assert_eq!((name.as_str(), dims.len(), dims[1].fixed()), (map.name(), 4, Some(3)));
        let (name, dims) = before("classes").unwrap();
        assert_eq!((dims.len(), dims[1].fixed()), (2, Some(3)), "{name}");
        assert_eq!((before("pooled"), before("norm"), before("none")), (None, None, None));
    }
}
