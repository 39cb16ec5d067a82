//! What a fused node computes: instructions over blocks of rows, and how they are written into the node's attributes.

use std::collections::HashMap;

use onnx_protobuf::NodeProto;

use super::{DOMAIN, Groups, OPERATOR};
use crate::{
    Attr, DType,
    shapes::{Length, Shapes},
    walk::attribute,
    weight,
};

/// The instructions of one `chiasm.Pointwise` node, over rows of the shape of its full inputs.
///
/// Values are numbered: first the inputs, then the constants, then the result of each instruction.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Program {
    /// How each input covers the shape.
    pub inputs: Vec<Broadcast>,
    /// Numbers that the instructions use.
    pub constants: Vec<f32>,
    /// What is computed, in order.
    pub instructions: Vec<Instruction>,
    /// What leaves the node, in order.
    pub outputs: Vec<Output>,
}

/// How an operand covers the shape that a node runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Broadcast {
    /// An element each.
    Full = 0,
    /// The last axes, repeated.
    Tail = 1,
    /// One element a row.
    Column = 2,
    /// One element.
    Scalar = 3,
}

/// `value = operation(a, b, c)`; operands that an operation does not take are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What is done.
    pub operation: Operation,
    /// The numbers of the operands.
    pub operands: [usize; 3],
}

/// One output: a value, or its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// The number of the value.
    pub value: usize,
    /// What becomes of it.
    pub reach: Reach,
    /// Whether summed axes stay, with length 1.
    pub keep: bool,
}

/// Which elements one element of an output gathers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Reach {
    /// Its own.
    Each = 0,
    /// Those of a row (the last axis).
    Row = 1,
    /// Those of a column (all axes but the last).
    Column = 2,
}

macro_rules! operations {
    ($($name:ident = $number:literal, $onnx:literal;)*) => {
        /// What an instruction does; a truth value is 0 or 1.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i64)]
        #[expect(missing_docs, reason = "each is the ai.onnx operator of its name")]
        pub enum Operation {
            $($name = $number,)*
        }

        impl Operation {
            fn numbered(number: i64) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            fn named(operator: &str) -> Option<Self> {
                match operator {
                    $($onnx => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

operations! {
    Add = 0, "Add";
    Sub = 1, "Sub";
    Mul = 2, "Mul";
    Div = 3, "Div";
    Max = 4, "Max";
    Min = 5, "Min";
    Neg = 6, "Neg";
    Sqrt = 7, "Sqrt";
    Exp = 8, "Exp";
    Log = 9, "Log";
    Abs = 10, "Abs";
    Sign = 11, "Sign";
    Erf = 12, "Erf";
    Tanh = 13, "Tanh";
    Sigmoid = 14, "Sigmoid";
    Relu = 15, "Relu";
    Reciprocal = 16, "Reciprocal";
    Where = 17, "Where";
    Equal = 18, "Equal";
    Greater = 19, "Greater";
    Less = 20, "Less";
    GreaterOrEqual = 21, "GreaterOrEqual";
    LessOrEqual = 22, "LessOrEqual";
    Not = 23, "Not";
    And = 24, "And";
    Or = 25, "Or";
    Copy = 26, "Identity";
}

impl Program {
    /// The program that a fused node's attributes hold; `None` for attributes that hold none.
    pub fn read(inputs: &[i64], constants: &[f32], instructions: &[i64], outputs: &[i64]) -> Option<Self> {
        let broadcast = |number: &i64| match number {
            0 => Some(Broadcast::Full),
            1 => Some(Broadcast::Tail),
            2 => Some(Broadcast::Column),
            3 => Some(Broadcast::Scalar),
            _ => None,
        };
        let instruction = |(at, words): (usize, &[i64])| {
            let operands = [words[1], words[2], words[3]].map(|word| usize::try_from(word).ok());
            let known = inputs.len() + constants.len() + at;
            let [Some(a), Some(b), Some(c)] = operands else { return None };
            let operands = [a, b, c].iter().all(|operand| *operand < known).then_some([a, b, c])?;
            Some(Instruction { operation: Operation::numbered(words[0])?, operands })
        };
        let values = inputs.len() + constants.len() + instructions.len() / 4;
        let output = |words: &[i64]| {
            let reach = [Reach::Each, Reach::Row, Reach::Column]
                .into_iter()
                .find(|reach| *reach as i64 == words[1])?;
            let value = usize::try_from(words[0]).ok().filter(|value| *value < values)?;
            Some(Output { value, reach, keep: words[2] != 0 })
        };
        Some(Self {
            inputs: inputs.iter().map(broadcast).collect::<Option<_>>()?,
            constants: constants.to_vec(),
            instructions: instructions.chunks_exact(4).enumerate().map(instruction).collect::<Option<_>>()?,
            outputs: outputs.chunks_exact(3).map(output).collect::<Option<_>>()?,
        })
    }

    fn attributes(&self) -> [(&'static str, Attr); 4] {
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let instruction = |step: &Instruction| {
            let [a, b, c] = step.operands.map(number);
            [step.operation as i64, a, b, c]
        };
        let output = |output: &Output| [number(output.value), output.reach as i64, i64::from(output.keep)];
        [
            ("inputs", Attr::Ints(self.inputs.iter().map(|input| *input as i64).collect())),
            ("constants", Attr::Floats(self.constants.clone())),
            ("instructions", Attr::Ints(self.instructions.iter().flat_map(instruction).collect())),
            ("outputs", Attr::Ints(self.outputs.iter().flat_map(output).collect())),
        ]
    }
}

/// The operation of an element-wise node.
pub(super) fn operation(node: &NodeProto) -> Option<Operation> {
    let plain = node.domain.is_empty() && node.output.len() == 1;
    match node.op_type.as_str() {
        _ if !plain => None,
        "Cast" => Some(Operation::Copy),
        "Expand" => Some(Operation::Copy),
        "Sum" => Some(Operation::Add),
        name => Operation::named(name),
    }
}

/// The inputs of an element-wise node that are its operands.
pub(super) fn operands(node: &NodeProto) -> &[String] {
    if node.op_type == "Expand" { &node.input[..1] } else { &node.input }
}

/// How a value covers a shape; `None` when it does so in another way.
pub(super) fn broadcast(dims: &[Length], over: &[Length]) -> Option<Broadcast> {
    let one = Length::Fixed(1);
    let (rank, last) = (over.len(), over.len().checked_sub(1)?);
    if dims == over {
        return Some(Broadcast::Full);
    }
    if dims.iter().all(|length| *length == one) {
        return Some(Broadcast::Scalar);
    }
    if dims.len() == rank && dims[last] == one && dims[..last] == over[..last] {
        return Some(Broadcast::Column);
    }
    let lead = dims.iter().take_while(|length| **length == one).count();
    let tail = &dims[lead..];
    (over.ends_with(tail)).then_some(Broadcast::Tail)
}

/// What a sum over this shape gathers; `None` for other axes than the last, or all others.
pub(super) fn reach(shapes: &Shapes, node: &NodeProto, over: &[Length]) -> Option<Reach> {
    let rank = over.len();
    let axes = shapes.reduced_axes(node, rank)?;
    if rank >= 2 && axes == [rank - 1] {
        return Some(Reach::Row);
    }
    let mut sorted = axes;
    sorted.sort_unstable();
    (rank >= 2 && sorted == (0..rank - 1).collect::<Vec<_>>()).then_some(Reach::Column)
}

/// A unit as a fused node, with casts around it where truth values enter or leave; `None` when there is nothing to gain.
pub(super) fn fuse(groups: &Groups<'_>, unit: usize) -> Option<Vec<NodeProto>> {
    let members = &groups.members[unit];
    let over = groups.over[unit].as_ref().filter(|_| members.len() > 1)?;
    let mut writer =
        Writer { groups, over, program: Program::default(), taken: Vec::new(), numbers: HashMap::new() };
    writer.gather(members)?;
    if !writer.program.inputs.contains(&Broadcast::Full) {
        return None;
    }
    let results = writer.compute(members)?;
    Some(writer.nodes(unit, members, &results))
}

struct Writer<'a> {
    groups: &'a Groups<'a>,
    over: &'a [Length],
    program: Program,
    /// The values that enter, in the order of the program's inputs.
    taken: Vec<&'a str>,
    numbers: HashMap<&'a str, usize>,
}

impl<'a> Writer<'a> {
    fn inner(&self, name: &str, members: &[usize]) -> bool {
        self.groups.producer.get(name).is_some_and(|node| members.contains(node))
    }

    /// Numbers what enters: inputs, then constants.
    fn gather(&mut self, members: &[usize]) -> Option<()> {
        let mut constants: Vec<&'a str> = Vec::new();
        for node in members.iter().map(|node| &self.groups.nodes[*node]) {
            let operands = if node.op_type == "ReduceSum" { &node.input[..1] } else { operands(node) };
            for name in operands {
                if self.inner(name, members)
                    || self.taken.contains(&name.as_str())
                    || constants.contains(&name.as_str())
                {
                    continue;
                }
                match self.constant(name) {
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
        }
        self.numbers =
            self.taken.iter().chain(&constants).enumerate().map(|(at, name)| (*name, at)).collect();
        Some(())
    }

    /// The value of a scalar weight.
    fn constant(&self, name: &str) -> Option<f32> {
        let proto = self.groups.graph.weights.get(name)?;
        if proto.dims.iter().any(|length| *length != 1) {
            return None;
        }
        weight::from_proto(proto).ok()?.as_f32()?.first().copied()
    }

    /// Writes the instructions; the values that leave, with the names they leave under.
    fn compute(&mut self, members: &[usize]) -> Option<Vec<&'a str>> {
        let mut results = Vec::new();
        for node in members.iter().map(|node| &self.groups.nodes[*node]) {
            if node.op_type == "ReduceSum" {
                let keep = attribute(node, "keepdims").is_none_or(|keep| keep.i != 0);
                let reach = reach(&self.groups.shapes, node, self.over)?;
                self.program.outputs.push(Output {
                    value: *self.numbers.get(node.input[0].as_str())?,
                    reach,
                    keep,
                });
                results.push(node.output[0].as_str());
                continue;
            }
            let numbers: Option<Vec<usize>> =
                operands(node).iter().map(|name| self.numbers.get(name.as_str()).copied()).collect();
            let numbers = numbers?;
            let operation = operation(node)?;
            let at = |place: usize| numbers.get(place).copied().unwrap_or_default();
            let mut number = self.push(operation, [at(0), at(1), at(2)]);
            if matches!(node.op_type.as_str(), "Sum" | "Max" | "Min") {
                number = match numbers.len() {
                    1 => self.replace(Operation::Copy, [at(0), 0, 0]),
                    _ => number,
                };
                for more in numbers.iter().skip(2) {
                    number = self.push(operation, [number, *more, 0]);
                }
            }
            let name = node.output[0].as_str();
            self.numbers.insert(name, number);
            if self.leaves(name, members) {
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

    fn replace(&mut self, operation: Operation, operands: [usize; 3]) -> usize {
        self.program.instructions.pop();
        self.push(operation, operands)
    }

    /// Whether something outside the unit takes a value.
    fn leaves(&self, name: &str, members: &[usize]) -> bool {
        let taken = |(at, node): (usize, &NodeProto)| {
            !members.contains(&at) && node.input.iter().any(|input| input == name)
        };
        self.groups.graph.graph.output.iter().any(|port| port.name == name)
            || self.groups.nodes.iter().enumerate().any(taken)
    }

    fn nodes(&self, unit: usize, members: &[usize], results: &[&str]) -> Vec<NodeProto> {
        let cast = |from: String, to: String, dtype: DType| NodeProto {
            op_type: "Cast".to_owned(),
            input: vec![from],
            output: vec![to],
            attribute: vec![Attr::Int(i64::from(dtype.onnx())).to_proto("to")],
            ..Default::default()
        };
        // Names with a number that no member's output has.
        let base = members.last().map_or(String::new(), |node| self.groups.nodes[*node].output[0].clone());
        let aside = |name: &str, what: &str| format!("{base}/{what}/{unit}/{name}");
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut fused =
            NodeProto { op_type: OPERATOR.to_owned(), domain: DOMAIN.to_owned(), ..Default::default() };
        for name in &self.taken {
            if self.groups.is_truth(name) {
                before.push(cast((*name).to_owned(), aside(name, "number"), DType::F32));
                fused.input.push(aside(name, "number"));
            } else {
                fused.input.push((*name).to_owned());
            }
        }
        for name in results {
            if self.groups.is_truth(name) {
                after.push(cast(aside(name, "number"), (*name).to_owned(), DType::Bool));
                fused.output.push(aside(name, "number"));
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
