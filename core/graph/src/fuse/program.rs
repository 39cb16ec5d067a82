//! The program of a fused element-wise node, and how it is written into the node's attributes.

use std::collections::HashSet;

use crate::Attr;

/// The operator domain of fused nodes.
pub const DOMAIN: &str = "chiasm";

/// The operator type of fused element-wise nodes.
pub const OPERATOR: &str = "Pointwise";

/// What one `chiasm.Pointwise` node computes, element by element over one shape.
///
/// Values are numbered: first the inputs, then the constants, then the result of each instruction.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Program {
    /// How each input is broadcast to the shape.
    pub inputs: Vec<Broadcast>,
    /// Numbers that the instructions use.
    pub constants: Vec<f32>,
    /// The instructions, in order.
    pub instructions: Vec<Instruction>,
    /// The outputs of the node, in order.
    pub outputs: Vec<ProgramOutput>,
}

/// How an operand is broadcast to the shape of a fused node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Broadcast {
    /// It has the whole shape.
    Full = 0,
    /// It has the last axes only and is repeated along the others.
    Tail = 1,
    /// It has one element per row: all axes but the last.
    Column = 2,
    /// It has one element.
    Scalar = 3,
}

/// `value = operation(a, b, c)`; the numbers of unused operands are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The operation.
    pub operation: Operation,
    /// The numbers of the operands.
    pub operands: [usize; 3],
}

/// One output of a fused node: a value, or its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramOutput {
    /// The number of the value.
    pub value: usize,
    /// Over which elements the value is summed.
    pub summation: Summation,
    /// Whether summed axes are kept, with length 1.
    pub keep: bool,
}

/// Which elements of a value are summed into one element of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Summation {
    /// None: the output is the value itself.
    None = 0,
    /// Those of a row: the last axis is summed.
    Row = 1,
    /// Those of a column: all axes but the last are summed.
    Column = 2,
}

macro_rules! operations {
    ($($name:ident = $number:literal;)*) => {
        /// The operation of an instruction; a boolean is 0 or 1.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i64)]
        #[expect(missing_docs, reason = "each is the ai.onnx operator of its name, and `Copy` is `Identity`")]
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
        }
    };
}

operations! {
    Add = 0;
    Sub = 1;
    Mul = 2;
    Div = 3;
    Max = 4;
    Min = 5;
    Neg = 6;
    Sqrt = 7;
    Exp = 8;
    Log = 9;
    Abs = 10;
    Sign = 11;
    Erf = 12;
    Tanh = 13;
    Sigmoid = 14;
    Relu = 15;
    Reciprocal = 16;
    Where = 17;
    Equal = 18;
    Greater = 19;
    Less = 20;
    GreaterOrEqual = 21;
    LessOrEqual = 22;
    Not = 23;
    And = 24;
    Or = 25;
    Copy = 26;
}

impl Program {
    /// Reads a program from the attributes of a fused node; `None` if they are malformed.
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
            let summation = [Summation::None, Summation::Row, Summation::Column]
                .into_iter()
                .find(|summation| *summation as i64 == words[1])?;
            let value = usize::try_from(words[0]).ok().filter(|value| *value < values)?;
            // An output that is no sum is the memory of an instruction's result.
            let made = summation != Summation::None || value >= inputs.len() + constants.len();
            made.then_some(ProgramOutput { value, summation, keep: words[2] != 0 })
        };
        let read = Self {
            inputs: inputs.iter().map(broadcast).collect::<Option<_>>()?,
            constants: constants.to_vec(),
            instructions: instructions.chunks_exact(4).enumerate().map(instruction).collect::<Option<_>>()?,
            outputs: outputs.chunks_exact(3).map(output).collect::<Option<_>>()?,
        };
        // The kernel writes a result into one output.
        let mut stored = HashSet::new();
        let kept = |output: &&ProgramOutput| output.summation == Summation::None;
        read.outputs.iter().filter(kept).all(|output| stored.insert(output.value)).then_some(read)
    }

    /// The attributes that hold the program.
    pub(super) fn attributes(&self) -> [(&'static str, Attr); 4] {
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let instruction = |step: &Instruction| {
            let [a, b, c] = step.operands.map(number);
            [step.operation as i64, a, b, c]
        };
        let output =
            |output: &ProgramOutput| [number(output.value), output.summation as i64, i64::from(output.keep)];
        [
            ("inputs", Attr::Ints(self.inputs.iter().map(|input| *input as i64).collect())),
            ("constants", Attr::Floats(self.constants.clone())),
            ("instructions", Attr::Ints(self.instructions.iter().flat_map(instruction).collect())),
            ("outputs", Attr::Ints(self.outputs.iter().flat_map(output).collect())),
        ]
    }
}
