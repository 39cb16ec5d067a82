//! The memory that is free.

pub use chiasm_graph::budget::available_memory;
