//! The target `table` of `chiasm_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: chiasm_fuzz::begin("table"), |bytes: &[u8]| {
    chiasm_fuzz::run("table", bytes);
});
