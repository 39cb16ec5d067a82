//! Running a graph with a fixed batch on a batch of any size.

use std::sync::Arc;

use onnx_protobuf::{AttributeProto, GraphProto, NodeProto};

use crate::per_item::{batched, node, number, subgraph};
use crate::{Error, Graph, Port, Result, Tensor, weight};

/// The operator set in which the shape of a `Reshape` may have an axis without elements, as the inputs for an
/// earlier context have.
const WITH_EMPTY_AXES: i64 = 14;

/// The prefix of everything that is added.
const PREFIX: &str = "batches";

impl Graph {
    /// Returns a graph that runs this one, which takes batches of exactly `size` items, once for each `size`
    /// items of a batch (the operator `Scan`). The last item is repeated to fill up the last batch. The ports
    /// are those of this graph with a free first axis.
    ///
    /// ```
    /// use chiasm_graph::{Builder, DType};
    ///
    /// let mut b = Builder::new("four");
    /// let x = b.input("x", DType::F32, &[4.into(), 3.into()])?;
    /// let y = b.tanh(&x);
    /// b.output("y", &y, DType::F32, &[4.into(), 3.into()]);
    /// let any = b.finish()?.in_batches(4)?;
    /// assert_eq!(any.outputs()[0].to_string(), "y f32[batch,3]");
    /// # Ok::<(), chiasm_graph::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a port of unknown rank or without axes, or whose first axis is fixed to
    /// another length; [`Error::Opset`] for operators that cannot be moved to operator set 14.
    pub fn in_batches(&self, size: usize) -> Result<Self> {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        inputs.iter().chain(&outputs).try_for_each(|port| fits(port, size))?;
        let Some(first) = inputs.first() else {
            return Err(Error::Unsupported("running a graph without inputs in batches".to_owned()));
        };
        let mut inner = self.upgraded(self.opset().max(WITH_EMPTY_AXES))?.prefixed("each");
        let mut body = GraphProto { name: format!("{}-each", self.name()), ..Default::default() };
        let port = |port: &Port| Port { name: format!("each/{}", port.name), ..port.clone() }.to_proto();
        body.input = inputs.iter().map(port).collect();
        body.output = outputs.iter().map(port).collect();
        body.node.append(&mut inner.graph.node);
        body.value_info = std::mem::take(&mut inner.graph.value_info);
        let mut nodes = filled(&first.name);
        let mut names = [Vec::new(), Vec::new()];
        for port in &inputs {
            nodes.extend(blocks(&port.name));
            names[0].push(of(&port.name, "blocks"));
        }
        names[1].extend(outputs.iter().map(|port| of(&port.name, "of blocks")));
        let [scanned, found] = names;
        nodes.push(NodeProto {
            op_type: "Scan".to_owned(),
            name: of("each", "block"),
            input: scanned,
            output: found,
            attribute: vec![subgraph(body), number("num_scan_inputs", inputs.len())],
            ..Default::default()
        });
        outputs.iter().for_each(|port| nodes.extend(joined(&port.name)));
        inner.graph.node = nodes;
        inner.graph.input = inputs.iter().map(|port| batched(port).to_proto()).collect();
        inner.graph.output = outputs.iter().map(|port| batched(port).to_proto()).collect();
        for (name, tensor) in constants(size)? {
            inner.weights.insert(name, Arc::new(weight::to_proto(&tensor)));
        }
        Ok(inner)
    }
}

/// Checks that a port holds a batch of `size` items.
fn fits(port: &Port, size: usize) -> Result<()> {
    match port.dims.as_deref() {
        Some([first, ..]) if first.fixed().is_none_or(|length| length == size) => Ok(()),
        _ => Err(Error::Unsupported(format!(
            "running a graph in batches of {size}: the first axis of the port {port} must be the batch, free \
             or of length {size}"
        ))),
    }
}

/// The name of something that is added for a port.
fn of(port: &str, what: &str) -> String {
    format!("{PREFIX}/{port}/{what}")
}

/// The name of a constant, or of something that all ports share.
fn shared(what: &str) -> String {
    format!("{PREFIX}/{what}")
}

fn constants(size: usize) -> Result<Vec<(String, Tensor)>> {
    let size = size as i64;
    let named =
        |(name, dims, values): (&str, &[usize], Vec<i64>)| Ok((shared(name), Tensor::i64(dims, values)?));
    [
        ("0", &[][..], vec![0]),
        ("1", &[], vec![1]),
        ("size", &[], vec![size]),
        ("size less 1", &[], vec![size - 1]),
        ("first axis", &[1], vec![0]),
        ("from 1", &[1], vec![1]),
        ("from 2", &[1], vec![2]),
        ("to the end", &[1], vec![i64::MAX]),
        ("size as list", &[1], vec![size]),
    ]
    .into_iter()
    .map(named)
    .collect()
}

fn added(operator: &str, inputs: &[String], output: String) -> NodeProto {
    let inputs: Vec<&String> = inputs.iter().collect();
    node(operator, &inputs, &output)
}

fn with(mut node: NodeProto, attribute: AttributeProto) -> NodeProto {
    node.attribute.push(attribute);
    node
}

/// Computes the number of rows, and the row at each place of the filled batch: the number of the row, or of
/// the last one.
fn filled(first: &str) -> Vec<NodeProto> {
    let name = shared;
    vec![
        added("Shape", &[first.to_owned()], name("shape")),
        with(added("Gather", &[name("shape"), name("0")], name("rows")), number("axis", 0)),
        added("Add", &[name("rows"), name("size less 1")], name("rows and more")),
        added("Div", &[name("rows and more"), name("size")], name("blocks")),
        added("Mul", &[name("blocks"), name("size")], name("places")),
        added("Range", &[name("0"), name("places"), name("1")], name("every place")),
        added("Sub", &[name("rows"), name("1")], name("last row")),
        added("Min", &[name("every place"), name("last row")], name("row of place")),
        added("Unsqueeze", &[name("rows"), name("first axis")], name("rows as list")),
        added("Unsqueeze", &[name("blocks"), name("first axis")], name("blocks as list")),
        added("Unsqueeze", &[name("places"), name("first axis")], name("places as list")),
    ]
}

/// A `Reshape` to exactly this shape: an axis of length 0 stays one.
fn reshaped(value: String, shape: String, output: String) -> NodeProto {
    with(added("Reshape", &[value, shape], output), number("allowzero", 1))
}

/// Fills up an input, and cuts it into blocks.
fn blocks(port: &str) -> Vec<NodeProto> {
    let name = |what| of(port, what);
    vec![
        with(added("Gather", &[port.to_owned(), shared("row of place")], name("filled")), number("axis", 0)),
        added("Shape", &[name("filled")], name("shape")),
        added(
            "Slice",
            &[name("shape"), shared("from 1"), shared("to the end"), shared("first axis")],
            name("item"),
        ),
        with(
            added(
                "Concat",
                &[shared("blocks as list"), shared("size as list"), name("item")],
                name("shape of blocks"),
            ),
            number("axis", 0),
        ),
        reshaped(name("filled"), name("shape of blocks"), name("blocks")),
    ]
}

/// Joins the blocks of an output, and removes what filled them up.
fn joined(port: &str) -> Vec<NodeProto> {
    let name = |what| of(port, what);
    vec![
        added("Shape", &[name("of blocks")], name("shape of output")),
        added(
            "Slice",
            &[name("shape of output"), shared("from 2"), shared("to the end"), shared("first axis")],
            name("item of output"),
        ),
        with(
            added("Concat", &[shared("places as list"), name("item of output")], name("shape of rows")),
            number("axis", 0),
        ),
        reshaped(name("of blocks"), name("shape of rows"), name("all rows")),
        added(
            "Slice",
            &[name("all rows"), shared("first axis"), shared("rows as list"), shared("first axis")],
            port.to_owned(),
        ),
    ]
}
