//! The target `model` of `chiasm_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: chiasm_fuzz::begin("model"), |bytes: &[u8]| {
    chiasm_fuzz::run("model", bytes);
});
