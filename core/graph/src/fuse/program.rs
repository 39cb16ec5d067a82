//! What a fused node computes: instructions over blocks of rows, and how they are written into the node's
//! attributes.

use crate::Attr;

/// The domain of fused nodes.
pub const DOMAIN: &str = "chiasm";

/// The operator of fused nodes.
pub const OPERATOR: &str = "Pointwise";

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
    ($($name:ident = $number:literal;)*) => {
        /// What an instruction does; a truth value is 0 or 1.
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

    pub(super) fn attributes(&self) -> [(&'static str, Attr); 4] {
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
