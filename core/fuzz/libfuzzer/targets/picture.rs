//! The target `picture` of `chiasm_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: chiasm_fuzz::begin("picture"), |bytes: &[u8]| {
    chiasm_fuzz::run("picture", bytes);
});
