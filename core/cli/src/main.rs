//! The chiasm binary.
fn main() {}
