//! The solvers as a user calls them: against stored values of POT and SciPy, properties, hostile input.
#![expect(clippy::unwrap_used, reason = "tests")]

mod exact;
mod gaussian;
mod gromov;
mod lowrank;
mod lowrank_gromov;
mod reference;
mod sinkhorn;
