//! Operators that an older operator set does not have, written with others.

use std::collections::HashSet;

use onnx_protobuf::{AttributeProto, NodeProto};

use crate::{
    Attr, DType, Tensor,
    rename::free_name,
    shapes::{Facts, resolve_axis},
    walk,
};

/// Nodes that compute an output of another node.
struct Nodes<'a> {
    made: Vec<NodeProto>,
    /// The name of the output.
    output: String,
    taken: &'a mut HashSet<String>,
}

/// Returns nodes that compute what a node computes.
///
/// # Errors
/// The reason why not, after a colon, or nothing for an operator that is not known here.
pub(super) fn decomposed(
    node: &NodeProto,
    facts: &Facts,
    taken: &mut HashSet<String>,
) -> Result<Vec<NodeProto>, String> {
    let output = node.output.first().cloned().unwrap_or_default();
    let mut nodes = Nodes { made: Vec::new(), output, taken };
    let x = node.input.first().cloned().unwrap_or_default();
    let write: fn(&mut Nodes<'_>, &NodeProto, &str, &Facts) -> Result<(), String> =
        match node.op_type.as_str() {
            "Gelu" => gelu,
            "HardSwish" => hard_swish,
            "LayerNormalization" => layer_normalization,
            "Mish" => mish,
            _ => return Err(String::new()),
        };
    // In a subgraph the type is not known; the engine refuses other types there.
    if facts.input_dtype(node, 0).is_some_and(|dtype| dtype != DType::F32) {
        return Err(", and it is only rewritten for 32-bit floats".to_owned());
    }
    write(&mut nodes, node, &x, facts)?;
    if let Some(last) = nodes.made.last_mut() {
        last.name.clone_from(&node.name);
        last.output = vec![nodes.output];
    }
    Ok(nodes.made)
}

impl Nodes<'_> {
    /// Adds a node and returns the name of its output.
    fn op(&mut self, operator: &str, input: &[&str], attribute: Vec<AttributeProto>) -> String {
        let name = free_name(&format!("{}/{}", self.output, operator.to_lowercase()), self.taken);
        self.taken.insert(name.clone());
        self.made.push(NodeProto {
            op_type: operator.to_owned(),
            input: input.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![name.clone()],
            attribute,
            ..Default::default()
        });
        name
    }

    /// Adds a number.
    fn number(&mut self, value: f32) -> String {
        let value = Attr::Tensor(Tensor::scalar(value)).to_proto("value");
        self.op("Constant", &[], vec![value])
    }

    fn binary(&mut self, operator: &str, x: &str, value: f32) -> String {
        let value = self.number(value);
        self.op(operator, &[x, &value], Vec::new())
    }
}

fn real(node: &NodeProto, name: &str, default: f32) -> f32 {
    walk::attribute(node, name).map_or(default, |attribute| attribute.f)
}

/// `x / 2 (1 + erf(x / sqrt 2))`, the exact form.
fn gelu(nodes: &mut Nodes<'_>, node: &NodeProto, x: &str, _: &Facts) -> Result<(), String> {
    if walk::attribute(node, "approximate").is_some_and(|text| text.s != b"none") {
        return Err(", and it is only rewritten without `approximate`".to_owned());
    }
    let scaled = nodes.binary("Mul", x, std::f32::consts::FRAC_1_SQRT_2);
    let erf = nodes.op("Erf", &[&scaled], Vec::new());
    let shifted = nodes.binary("Add", &erf, 1.0);
    let half = nodes.binary("Mul", x, 0.5);
    nodes.op("Mul", &[&half, &shifted], Vec::new());
    Ok(())
}

/// `x max(0, min(1, x / 6 + 1/2))`.
fn hard_swish(nodes: &mut Nodes<'_>, _: &NodeProto, x: &str, _: &Facts) -> Result<(), String> {
    let share = nodes.op(
        "HardSigmoid",
        &[x],
        vec![Attr::Float(1.0 / 6.0).to_proto("alpha"), Attr::Float(0.5).to_proto("beta")],
    );
    nodes.op("Mul", &[x, &share], Vec::new());
    Ok(())
}

/// `x tanh(log(1 + e^x))`.
fn mish(nodes: &mut Nodes<'_>, _: &NodeProto, x: &str, _: &Facts) -> Result<(), String> {
    let soft = nodes.op("Softplus", &[x], Vec::new());
    let share = nodes.op("Tanh", &[&soft], Vec::new());
    nodes.op("Mul", &[x, &share], Vec::new());
    Ok(())
}

/// `(x - mean) / sqrt(variance + epsilon) scale + bias`, over the axes from `axis` on.
fn layer_normalization(
    nodes: &mut Nodes<'_>,
    node: &NodeProto,
    x: &str,
    facts: &Facts,
) -> Result<(), String> {
    if node.output.iter().skip(1).any(|name| !name.is_empty()) {
        return Err(", and its mean and deviation are outputs".to_owned());
    }
    let axis = walk::attribute(node, "axis").map_or(-1, |attribute| attribute.i);
    let rank = facts.input_dims(node, 0).map(|dims| dims.len());
    let count = match rank.and_then(|rank| Some(rank - resolve_axis(axis, rank)?)) {
        Some(count) => i64::try_from(count).unwrap_or(i64::MAX),
        None if axis < 0 => -axis,
        None => return Err(", and the number of axes of its input is not known".to_owned()),
    };
    let axes = Attr::Ints((-count..0).collect()).to_proto("axes");
    let mean = vec![axes, Attr::Int(1).to_proto("keepdims")];
    let [scale, bias] = [1, 2].map(|at| node.input.get(at).filter(|name| !name.is_empty()).cloned());
    let epsilon = real(node, "epsilon", 1e-5);
    let centre = nodes.op("ReduceMean", &[x], mean.clone());
    let centred = nodes.op("Sub", &[x, &centre], Vec::new());
    let squares = nodes.op("Mul", &[&centred, &centred], Vec::new());
    let variance = nodes.op("ReduceMean", &[&squares], mean);
    let raised = nodes.binary("Add", &variance, epsilon);
    let deviation = nodes.op("Sqrt", &[&raised], Vec::new());
    let mut y = nodes.op("Div", &[&centred, &deviation], Vec::new());
    if let Some(scale) = scale {
        y = nodes.op("Mul", &[&y, &scale], Vec::new());
    }
    if let Some(bias) = bias {
        nodes.op("Add", &[&y, &bias], Vec::new());
    }
    Ok(())
}
