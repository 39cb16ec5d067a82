//! Writing a group of nodes as one `chiasm.Pointwise` node.

use std::collections::{HashMap, HashSet};

use onnx_protobuf::NodeProto;

use super::{
    groups::FusionGroups,
    nodes::{is_sum, operands, operation, summation},
    program::{Broadcast, DOMAIN, Instruction, OPERATOR, Operation, Program, ProgramOutput, Summation},
};
use crate::{Attr, DType, shapes::Length, walk::attribute};

/// Fuses nodes into one, with casts around it for boolean inputs and outputs. Returns the nodes and the
/// values that they read; `None` if no input has the whole shape. `outputs` are the nodes whose results are
/// outputs.
pub(super) fn fuse<'a>(
    groups: &FusionGroups<'a>,
    over: &[Length],
    nodes: &[usize],
    outputs: &HashSet<usize>,
) -> Option<(Vec<NodeProto>, Vec<&'a str>)> {
    let nodes = live(groups, nodes, outputs);
    let mut writer = ProgramWriter {
        groups,
        over,
        program: Program::default(),
        inputs: Vec::new(),
        numbers: HashMap::new(),
    };
    writer.number_inputs(&nodes)?;
    if !writer.program.inputs.contains(&Broadcast::Full) {
        return None;
    }
    let results = writer.write_instructions(&nodes, outputs)?;
    Some((writer.nodes(&results), writer.inputs))
}

/// The nodes that the outputs depend on.
fn live(groups: &FusionGroups<'_>, nodes: &[usize], outputs: &HashSet<usize>) -> Vec<usize> {
    let mut wanted: HashSet<&str> = HashSet::new();
    let mut live = Vec::new();
    for at in nodes.iter().rev() {
        let node = &groups.nodes[*at];
        let name = node.output[0].as_str();
        if wanted.contains(name) || outputs.contains(at) {
            wanted.extend(operands(node).iter().map(String::as_str));
            live.push(*at);
        }
    }
    live.reverse();
    live
}

struct ProgramWriter<'a, 'g> {
    groups: &'g FusionGroups<'a>,
    over: &'g [Length],
    program: Program,
    /// The names of the program's inputs, in order.
    inputs: Vec<&'a str>,
    numbers: HashMap<&'a str, usize>,
}

impl<'a> ProgramWriter<'a, '_> {
    /// Numbers the inputs, then the constants.
    fn number_inputs(&mut self, nodes: &[usize]) -> Option<()> {
        let mut constants: Vec<&'a str> = Vec::new();
        let mut made: HashSet<&str> = HashSet::new();
        for node in nodes.iter().map(|node| &self.groups.nodes[*node]) {
            for name in operands(node).iter().map(String::as_str) {
                if made.contains(name) || self.inputs.contains(&name) || constants.contains(&name) {
                    continue;
                }
                match self.groups.constant(name) {
                    Some(value) => {
                        constants.push(name);
                        self.program.constants.push(value);
                    }
                    None => {
                        self.program.inputs.push(self.groups.broadcast(name, self.over)?);
                        self.inputs.push(name);
                    }
                }
            }
            made.insert(node.output[0].as_str());
        }
        self.numbers =
            self.inputs.iter().chain(&constants).enumerate().map(|(at, name)| (*name, at)).collect();
        Some(())
    }

    /// Writes the instructions; returns the names of the outputs.
    fn write_instructions(&mut self, nodes: &[usize], outputs: &HashSet<usize>) -> Option<Vec<&'a str>> {
        let mut results = Vec::new();
        for at in nodes {
            let node = &self.groups.nodes[*at];
            let name = node.output[0].as_str();
            if is_sum(node) {
                let keep = attribute(node, "keepdims").is_none_or(|keep| keep.i != 0);
                let summation = summation(&self.groups.facts, node, self.over)?;
                self.program.outputs.push(ProgramOutput {
                    value: *self.numbers.get(node.input[0].as_str())?,
                    summation,
                    keep,
                });
                results.push(name);
                continue;
            }
            let numbers = operands(node).iter().map(|name| self.numbers.get(name.as_str()).copied());
            let numbers: Vec<usize> = numbers.collect::<Option<_>>()?;
            let place = |place: usize| numbers.get(place).copied().unwrap_or_default();
            let operation = match (operation(node)?, numbers.len()) {
                (Operation::Add | Operation::Max | Operation::Min, 1) => Operation::Copy,
                (operation, _) => operation,
            };
            let mut number = self.push(operation, [place(0), place(1), place(2)]);
            if matches!(operation, Operation::Add | Operation::Max | Operation::Min) {
                for more in numbers.iter().skip(2) {
                    number = self.push(operation, [number, *more, 0]);
                }
            }
            self.numbers.insert(name, number);
            if outputs.contains(at) {
                self.program.outputs.push(ProgramOutput {
                    value: number,
                    summation: Summation::None,
                    keep: true,
                });
                results.push(name);
            }
        }
        Some(results)
    }

    fn push(&mut self, operation: Operation, operands: [usize; 3]) -> usize {
        self.program.instructions.push(Instruction { operation, operands });
        self.program.inputs.len() + self.program.constants.len() + self.program.instructions.len() - 1
    }

    fn nodes(&self, results: &[&str]) -> Vec<NodeProto> {
        let cast = |from: String, to: String, dtype: DType| NodeProto {
            op_type: "Cast".to_owned(),
            input: vec![from],
            output: vec![to],
            attribute: vec![Attr::Int(i64::from(dtype.onnx())).to_proto("to")],
            ..Default::default()
        };
        // Unique, because no two fused nodes have the same first output.
        let base = results.first().copied().unwrap_or_default();
        let number = |name: &str| format!("{base}/number/{name}");
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut fused =
            NodeProto { op_type: OPERATOR.to_owned(), domain: DOMAIN.to_owned(), ..Default::default() };
        for name in &self.inputs {
            if self.groups.is_bool(name) {
                before.push(cast((*name).to_owned(), number(name), DType::F32));
                fused.input.push(number(name));
            } else {
                fused.input.push((*name).to_owned());
            }
        }
        for name in results {
            if self.groups.is_bool(name) {
                after.push(cast(number(name), (*name).to_owned(), DType::Bool));
                fused.output.push(number(name));
            } else {
                fused.output.push((*name).to_owned());
            }
        }
        fused.attribute =
            self.program.attributes().iter().map(|(name, value)| value.to_proto(name)).collect();
        before.push(fused);
        before.extend(after);
        before
    }
}
