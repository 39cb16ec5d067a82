//! Running a graph once for each item of a batch.

use std::sync::Arc;

use onnx_protobuf::{AttributeProto, GraphProto, NodeProto, ValueInfoProto, attribute_proto::AttributeType};

use crate::{Dim, Error, Graph, Port, Result, Tensor, weight};

/// The least operator set of the result: `Squeeze` and `Unsqueeze` take their axes as inputs since.
const LEAST_OPSET: i64 = 13;

impl Graph {
    /// Returns a graph that runs this one once for each item of a batch, with a batch of one (the operator
    /// `Scan`). Its ports are those of this graph with a free first axis.
    ///
    /// A graph that reduces over its batch axis, for example to find the loudest moment of a recording, gives
    /// an item other values beside other items. In the returned graph an item's values depend on that item
    /// only.
    ///
    /// ```
    /// use chiasm_graph::{Builder, DType, Dim};
    ///
    /// let mut b = Builder::new("loudness");
    /// let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::named("time")])?;
    /// let sum = b.reduce_sum(&x, &[0, 1], true);
    /// b.output("sum", &sum, DType::F32, &[1.into(), 1.into()]);
    /// let each = b.finish()?.per_item()?;
    /// assert_eq!(each.outputs()[0].to_string(), "sum f32[batch,1]");
    /// # Ok::<(), chiasm_graph::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a port of unknown rank or without axes, or whose first axis is fixed to
    /// more than one; [`Error::Opset`] for operators that cannot be moved to operator set 13.
    pub fn per_item(&self) -> Result<Self> {
        let ports: Vec<Port> = self.inputs().into_iter().chain(self.outputs()).collect();
        ports.iter().try_for_each(one_item)?;
        let (inputs, outputs) = (self.inputs(), self.outputs());
        // Everything inside has a prefix, so that the ports of the result can have the old names.
        let mut inner = self.upgraded(self.opset().max(LEAST_OPSET))?.prefixed("each");
        let axis = "each/batch axis".to_owned();
        let first = Tensor::i64(&[1], vec![0])?;
        let mut body = GraphProto { name: format!("{}-each", self.name()), ..Default::default() };
        for port in &inputs {
            let name = format!("each/{}", port.name);
            body.input.push(item_port(port, &format!("{name}/item")));
            body.node.push(node("Unsqueeze", &[&format!("{name}/item"), &axis], &name));
        }
        body.node.append(&mut inner.graph.node);
        for port in &outputs {
            let name = format!("each/{}", port.name);
            body.output.push(item_port(port, &format!("{name}/item")));
            body.node.push(node("Squeeze", &[&name, &axis], &format!("{name}/item")));
        }
        body.value_info = std::mem::take(&mut inner.graph.value_info);
        body.value_info.extend(inner.graph.output.drain(..).filter(|port| !port.name.is_empty()));
        let of = |ports: &[Port]| ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>();
        let scan = NodeProto {
            op_type: "Scan".to_owned(),
            name: "each".to_owned(),
            input: of(&inputs),
            output: of(&outputs),
            attribute: vec![subgraph(body), number("num_scan_inputs", inputs.len())],
            ..Default::default()
        };
        inner.graph.node = vec![scan];
        inner.graph.input = inputs.iter().map(|port| batched(port).to_proto()).collect();
        inner.graph.output = outputs.iter().map(|port| batched(port).to_proto()).collect();
        inner.weights.insert(axis, Arc::new(weight::to_proto(&first)));
        Ok(inner)
    }
}

/// Checks that a port can hold one item of a batch.
fn one_item(port: &Port) -> Result<()> {
    match port.dims.as_deref() {
        Some([first, ..]) if first.fixed().is_none_or(|length| length == 1) => Ok(()),
        _ => Err(Error::Unsupported(format!(
            "running a graph for each item: the first axis of the port {port} must be the batch, free or of \
             length one"
        ))),
    }
}

/// The port of one item, without the batch axis.
fn item_port(port: &Port, name: &str) -> ValueInfoProto {
    let dims = port.dims.as_ref().map(|dims| dims[1..].to_vec());
    Port { name: name.to_owned(), dtype: port.dtype, dims }.to_proto()
}

/// The port of a batch.
pub(crate) fn batched(port: &Port) -> Port {
    let rest = port.dims.iter().flatten().skip(1).cloned();
    let dims = std::iter::once(Dim::named("batch")).chain(rest).collect();
    Port { name: port.name.clone(), dtype: port.dtype, dims: Some(dims) }
}

pub(crate) fn node(operator: &str, inputs: &[&String], output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.to_owned(),
        name: output.to_owned(),
        input: inputs.iter().map(|name| (*name).clone()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

pub(crate) fn subgraph(body: GraphProto) -> AttributeProto {
    AttributeProto {
        name: "body".to_owned(),
        g: Some(body).into(),
        type_: AttributeType::GRAPH.into(),
        ..Default::default()
    }
}

pub(crate) fn number(name: &str, value: usize) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i: value as i64,
        type_: AttributeType::INT.into(),
        ..Default::default()
    }
}
