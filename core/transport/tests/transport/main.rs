//! Tests of the public solvers: stored values of POT and SciPy, mathematical properties, invalid input.
#![expect(clippy::unwrap_used, reason = "tests")]

mod cancellation;
mod exact;
mod gaussian;
mod gromov;
mod lowrank;
mod lowrank_gromov;
mod maps;
mod reference;
mod signed;
mod sinkhorn;
mod unpaired;
