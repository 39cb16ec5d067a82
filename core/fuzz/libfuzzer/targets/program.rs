//! The target `program` of `chiasm_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: chiasm_fuzz::begin("program"), |bytes: &[u8]| {
    chiasm_fuzz::run("program", bytes);
});
