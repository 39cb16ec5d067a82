//! The target `text` of `chiasm_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: chiasm_fuzz::begin("text"), |bytes: &[u8]| {
    chiasm_fuzz::run("text", bytes);
});
