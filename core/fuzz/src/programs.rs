//! Fused element-wise programs, compared with an interpreter that computes one element after another.

use crate::{input::Input, seeds::Seeds};
use chiasm_graph::fuse::{Broadcast, Operation, Program, Summation};

/// The lengths of an axis; a block of the kernel has 256 elements.
const LENGTHS: [usize; 12] = [0, 1, 2, 3, 4, 5, 8, 17, 33, 255, 257, 300];

/// The elements of inputs, and constants.
const NUMBERS: [f32; 12] =
    [0.0, 1.0, -1.0, 0.5, -0.0, 2.5, -3.25, 1e-38, 3e38, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];

/// The most elements of the shape.
const ELEMENTS: usize = 4096;

/// Reads a program and inputs, and runs it.
pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let shape: Vec<usize> = (0..input.below(4)).map(|_| input.one_of(&LENGTHS)).collect();
    if shape.iter().map(|length| (*length).max(1)).product::<usize>() > ELEMENTS {
        return;
    }
    let inputs: Vec<i64> = (0..input.below(5)).map(|_| input.below(5) as i64).collect();
    let constants: Vec<f32> = (0..input.below(4)).map(|_| input.one_of(&NUMBERS)).collect();
    let instructions: Vec<i64> = (0..input.below(9))
        .flat_map(|at| {
            // One number too many, so that invalid ones occur as well.
            let known = inputs.len() + constants.len() + at + 1;
            let operands = [0; 3].map(|_: i64| input.below(known) as i64);
            [input.below(28) as i64, operands[0], operands[1], operands[2]]
        })
        .collect();
    let values = inputs.len() + constants.len() + instructions.len() / 4;
    let outputs: Vec<i64> = (0..input.below(4))
        .flat_map(|_| [input.below(values + 1) as i64, input.below(4) as i64, i64::from(input.byte() % 2)])
        .collect();
    let Some(program) = Program::read(&inputs, &constants, &instructions, &outputs) else { return };
    let own = program.inputs.iter().map(|one| elements(*one, &shape, &mut input));
    let own: Vec<Vec<f32>> = own.collect();
    let slices: Vec<&[f32]> = own.iter().map(Vec::as_slice).collect();
    let full: Vec<i64> = shape.iter().map(|length| *length as i64).collect();
    let Ok(results) = chiasm_runtime::run_program(&program, &full, &slices) else { return };
    assert_eq!(results.len(), program.outputs.len());
    check(&program, &shape, &slices, &results);
}

/// The elements of an input, as many as the program needs, or any number of them.
fn elements(broadcast: Broadcast, shape: &[usize], input: &mut Input<'_>) -> Vec<f32> {
    let columns = shape.last().copied().unwrap_or(1);
    let lead: usize = shape.iter().rev().skip(1).product();
    let needed = match broadcast {
        Broadcast::Full => lead * columns,
        Broadcast::Tail => shape.iter().skip(1).product::<usize>().max(columns),
        Broadcast::Column => lead,
        Broadcast::Scalar => 1,
    };
    let length = match input.byte() {
        255 => input.below(64),
        _ => needed,
    };
    let start = input.below(NUMBERS.len());
    let finite = input.byte().is_multiple_of(2);
    let numbers = if finite { &NUMBERS[..8] } else { &NUMBERS[..] };
    (0..length).map(|at| numbers[(start + at * 5) % numbers.len()]).collect()
}

/// Asserts that the outputs are those of the operators, bit by bit where an operation has one right result.
fn check(program: &Program, shape: &[usize], inputs: &[&[f32]], results: &[Vec<f32>]) {
    let columns = shape.last().copied().unwrap_or(1);
    let rows: usize = shape.iter().rev().skip(1).product();
    let rowwise = program.inputs.iter().any(|one| matches!(one, Broadcast::Tail | Broadcast::Column))
        || program.outputs.iter().any(|output| output.summation != Summation::None);
    let (rows, columns) = if rowwise { (rows, columns) } else { (1, rows * columns) };
    let exact = !program.instructions.iter().any(|one| approximate(one.operation));
    for (output, result) in program.outputs.iter().zip(results) {
        let expected = match output.summation {
            Summation::None => rows * columns,
            Summation::Row => rows,
            Summation::Column => columns,
        };
        assert_eq!(result.len(), expected, "{output:?} over {shape:?}");
    }
    if !exact {
        return;
    }
    for row in 0..rows {
        for column in 0..columns {
            let values = element(program, inputs, (row, column), columns);
            let kept = program.outputs.iter().zip(results);
            for (output, result) in kept.filter(|(output, _)| output.summation == Summation::None) {
                let (got, expected) = (result[row * columns + column], values[output.value]);
                let equal = got == expected || (got.is_nan() && expected.is_nan());
                assert!(equal, "row {row}, column {column}: {got} instead of {expected} in {program:?}");
            }
        }
    }
}

/// Returns every value of the program at one element.
fn element(program: &Program, inputs: &[&[f32]], (row, column): (usize, usize), columns: usize) -> Vec<f32> {
    let mut values: Vec<f32> = Vec::new();
    for (broadcast, elements) in program.inputs.iter().zip(inputs) {
        values.push(match broadcast {
            Broadcast::Full => elements[row * columns + column],
            Broadcast::Tail => elements[(row * columns + column) % elements.len()],
            Broadcast::Column => elements[row],
            Broadcast::Scalar => elements[0],
        });
    }
    values.extend(&program.constants);
    for step in &program.instructions {
        let [a, b, c] = step.operands.map(|operand| values[operand]);
        values.push(operate(step.operation, a, b, c));
    }
    values
}

/// Whether an operation is computed by a polynomial, whose last bits are not fixed.
fn approximate(operation: Operation) -> bool {
    use Operation::{Erf, Exp, Log, Sigmoid, Tanh};
    matches!(operation, Exp | Log | Erf | Tanh | Sigmoid)
}

/// The operators of ONNX, of one element.
fn operate(operation: Operation, a: f32, b: f32, c: f32) -> f32 {
    use Operation::{
        Abs, Add, And, Copy, Div, Equal, Erf, Exp, Log, Max, Min, Mul, Neg, Not, Or, Reciprocal,
    };
    use Operation::{
        Greater, GreaterOrEqual, Less, LessOrEqual, Relu, Sigmoid, Sign, Sqrt, Sub, Tanh, Where,
    };
    let number = |holds: bool| if holds { 1.0 } else { 0.0 };
    match operation {
        Add => a + b,
        Sub => a - b,
        Mul => a * b,
        Div => a / b,
        Max | Min if a.is_nan() || b.is_nan() => f32::NAN,
        Max | Or => {
            if a > b {
                a
            } else {
                b
            }
        }
        Min => {
            if a < b {
                a
            } else {
                b
            }
        }
        Neg => -a,
        Sqrt => a.sqrt(),
        Abs => a.abs(),
        Sign if a.is_nan() => 0.0,
        Sign => number(a > 0.0) - number(a < 0.0),
        Relu => {
            if a < 0.0 {
                0.0
            } else {
                a
            }
        }
        Reciprocal => 1.0 / a,
        Where => {
            if a == 0.0 {
                c
            } else {
                b
            }
        }
        Equal => number(a == b),
        Greater => number(a > b),
        Less => number(a < b),
        GreaterOrEqual => number(a >= b),
        LessOrEqual => number(a <= b),
        Not => number(a == 0.0),
        And => a * b,
        Copy => a,
        Exp | Log | Erf | Tanh | Sigmoid => f32::NAN, // not compared
    }
}

pub(crate) fn seeds() -> Seeds {
    // (x - mean) * scale with its column sums; a condition; the row sums of products; a scalar alone.
    Ok(vec![
        vec![2, 7, 10, 3, 0, 2, 1, 0, 2, 1, 0, 1, 0, 2, 3, 2, 0, 2, 4, 0, 0, 3, 2, 1, 0, 0, 0, 0, 2, 0, 0, 4],
        vec![3, 2, 3, 5, 2, 0, 1, 2, 1, 3, 3, 0, 1, 2, 19, 0, 1, 2, 17, 4, 1, 2, 1, 5, 0, 1, 0, 3, 1, 1],
        vec![2, 8, 11, 2, 0, 0, 0, 1, 0, 1, 0, 2, 2, 2, 1, 0, 2, 2, 1, 0, 0, 1, 0, 0, 2, 0],
        vec![0, 1, 3, 1, 5, 1, 8, 0, 0, 0, 1, 2, 0, 0],
    ])
}
