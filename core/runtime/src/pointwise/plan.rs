//! Register allocation: assigns each value of a program to an input, an output, or a register of one block.

use chiasm_graph::fuse::{Broadcast, Operation, Program, Summation};

/// Where a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// An input's memory.
    Input(usize),
    /// An output's memory.
    Output(usize),
    /// A register of the block.
    Register(usize),
}

/// One instruction with the locations of its values.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlannedInstruction {
    pub(super) operation: Operation,
    pub(super) operands: [Location; 3],
    pub(super) result: Location,
}

/// A program with its registers allocated.
#[derive(Debug)]
pub(super) struct RegisterPlan {
    pub(super) steps: Vec<PlannedInstruction>,
    pub(super) registers: usize,
    /// Registers that hold a constant for the whole run, and the constant.
    pub(super) constants: Vec<(usize, f32)>,
    /// Registers that are filled from an input with one element: (register, input).
    pub(super) scalars: Vec<(usize, usize)>,
    /// Registers that are filled at each row: (register, input).
    pub(super) columns: Vec<(usize, usize)>,
    /// Row sums: (location of the value, output). Column sums: location of the value.
    pub(super) row_sums: Vec<(Location, usize)>,
    pub(super) column_sums: Vec<Location>,
}

impl RegisterPlan {
    pub(super) fn new(program: &Program) -> Self {
        let mut plan = Self {
            steps: Vec::new(),
            registers: 0,
            constants: Vec::new(),
            scalars: Vec::new(),
            columns: Vec::new(),
            row_sums: Vec::new(),
            column_sums: Vec::new(),
        };
        let mut places = Vec::new();
        for (at, broadcast) in program.inputs.iter().enumerate() {
            places.push(match broadcast {
                Broadcast::Full | Broadcast::Tail => Location::Input(at),
                Broadcast::Column => plan.filled(|plan, register| plan.columns.push((register, at))),
                Broadcast::Scalar => plan.filled(|plan, register| plan.scalars.push((register, at))),
            });
        }
        for number in &program.constants {
            places.push(plan.filled(|plan, register| plan.constants.push((register, *number))));
        }
        let first = places.len();
        let last = last_uses(program, first);
        let mut free: Vec<usize> = Vec::new();
        for (at, instruction) in program.instructions.iter().enumerate() {
            let value = first + at;
            let kept = |output: &chiasm_graph::fuse::ProgramOutput| {
                output.value == value && output.summation == Summation::None
            };
            let result = match program.outputs.iter().position(kept) {
                Some(output) => Location::Output(output),
                None => Location::Register(free.pop().unwrap_or_else(|| plan.register())),
            };
            let operands = instruction.operands.map(|operand| places.get(operand).copied().unwrap_or(result));
            plan.steps.push(PlannedInstruction { operation: instruction.operation, operands, result });
            places.push(result);
            let mut done: Vec<usize> = instruction.operands.to_vec();
            done.push(value);
            done.sort_unstable();
            done.dedup();
            for operand in done {
                if let (true, Some(Location::Register(register))) =
                    (operand >= first && last.get(operand) == Some(&at), places.get(operand))
                {
                    free.push(*register);
                }
            }
        }
        for (at, output) in program.outputs.iter().enumerate() {
            match (output.summation, places.get(output.value)) {
                (Summation::Row, Some(place)) => plan.row_sums.push((*place, at)),
                (Summation::Column, Some(place)) => plan.column_sums.push(*place),
                _ => {}
            }
        }
        plan
    }

    fn register(&mut self) -> usize {
        self.registers += 1;
        self.registers - 1
    }

    fn filled(&mut self, note: impl FnOnce(&mut Self, usize)) -> Location {
        let register = self.register();
        note(self, register);
        Location::Register(register)
    }
}

/// Returns the last instruction that uses each value; a summed value is used until the end.
fn last_uses(program: &Program, first: usize) -> Vec<usize> {
    let mut last: Vec<usize> = (0..first).map(|_| 0).chain(0..program.instructions.len()).collect();
    for (at, instruction) in program.instructions.iter().enumerate() {
        instruction.operands.iter().for_each(|operand| last[*operand] = last[*operand].max(at));
    }
    for output in &program.outputs {
        last[output.value] = usize::MAX;
    }
    last
}
