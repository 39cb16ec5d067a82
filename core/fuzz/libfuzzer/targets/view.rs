//! The target `view` of `chiasm_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: chiasm_fuzz::begin("view"), |bytes: &[u8]| {
    chiasm_fuzz::run("view", bytes);
});
