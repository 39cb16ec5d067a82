//! Writing a group of nodes as one `chiasm.Pointwise` node.

use std::collections::{HashMap, HashSet};

use onnx_protobuf::NodeProto;

use super::{
    groups::Groups,
    nodes::{is_sum, operands, operation, reach},
    program::{Broadcast, DOMAIN, Instruction, OPERATOR, Operation, Output, Program, Reach},
};
use crate::{Attr, DType, shapes::Length, walk::attribute};

/// Nodes as one fused node, with casts around it where truth values enter or leave, and what it takes. `None`
/// when there is nothing to gain. `asked` are the nodes whose results are to leave.
pub(super) fn fuse<'a>(
    groups: &Groups<'a>,
    over: &[Length],
    nodes: &[usize],
    asked: &HashSet<usize>,
) -> Option<(Vec<NodeProto>, Vec<&'a str>)> {
    let nodes = live(groups, nodes, asked);
    let mut writer =
        Writer { groups, over, program: Program::default(), taken: Vec::new(), numbers: HashMap::new() };
    writer.gather(&nodes)?;
    if !writer.program.inputs.contains(&Broadcast::Full) {
        return None;
    }
    let results = writer.compute(&nodes, asked)?;
    Some((writer.nodes(&results), writer.taken))
}

/// The nodes that something asked for depends on.
fn live(groups: &Groups<'_>, nodes: &[usize], asked: &HashSet<usize>) -> Vec<usize> {
    let mut wanted: HashSet<&str> = HashSet::new();
    let mut live = Vec::new();
    for at in nodes.iter().rev() {
        let node = &groups.nodes[*at];
        let name = node.output[0].as_str();
        if wanted.contains(name) || asked.contains(at) {
            wanted.extend(operands(node).iter().map(String::as_str));
            live.push(*at);
        }
    }
    live.reverse();
    live
}

struct Writer<'a, 'g> {
    groups: &'g Groups<'a>,
    over: &'g [Length],
    program: Program,
    /// The values that enter, in the order of the program's inputs.
    taken: Vec<&'a str>,
    numbers: HashMap<&'a str, usize>,
}

impl<'a> Writer<'a, '_> {
    /// Numbers what enters: inputs, then constants.
    fn gather(&mut self, nodes: &[usize]) -> Option<()> {
        let mut constants: Vec<&'a str> = Vec::new();
        let mut made: HashSet<&str> = HashSet::new();
        for node in nodes.iter().map(|node| &self.groups.nodes[*node]) {
            for name in operands(node).iter().map(String::as_str) {
                if made.contains(name) || self.taken.contains(&name) || constants.contains(&name) {
                    continue;
                }
                match self.groups.constant(name) {
                    Some(value) => {
                        constants.push(name);
                        self.program.constants.push(value);
                    }
                    None => {
                        self.program.inputs.push(self.groups.broadcast(name, self.over)?);
                        self.taken.push(name);
                    }
                }
            }
            made.insert(node.output[0].as_str());
        }
        self.numbers =
            self.taken.iter().chain(&constants).enumerate().map(|(at, name)| (*name, at)).collect();
        Some(())
    }

    /// Writes the instructions; the names of the values that leave.
    fn compute(&mut self, nodes: &[usize], asked: &HashSet<usize>) -> Option<Vec<&'a str>> {
        let mut results = Vec::new();
        for at in nodes {
            let node = &self.groups.nodes[*at];
            let name = node.output[0].as_str();
            if is_sum(node) {
                let keep = attribute(node, "keepdims").is_none_or(|keep| keep.i != 0);
                let reach = reach(&self.groups.facts, node, self.over)?;
                self.program.outputs.push(Output {
                    value: *self.numbers.get(node.input[0].as_str())?,
                    reach,
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
            if asked.contains(at) {
                self.program.outputs.push(Output { value: number, reach: Reach::Each, keep: true });
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
        // No two fused nodes have a first result in common.
        let base = results.first().copied().unwrap_or_default();
        let number = |name: &str| format!("{base}/number/{name}");
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut fused =
            NodeProto { op_type: OPERATOR.to_owned(), domain: DOMAIN.to_owned(), ..Default::default() };
        for name in &self.taken {
            if self.groups.is_truth(name) {
                before.push(cast((*name).to_owned(), number(name), DType::F32));
                fused.input.push(number(name));
            } else {
                fused.input.push((*name).to_owned());
            }
        }
        for name in results {
            if self.groups.is_truth(name) {
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
