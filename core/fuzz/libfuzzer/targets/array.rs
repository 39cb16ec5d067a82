//! The target `array` of `chiasm_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: chiasm_fuzz::begin("array"), |bytes: &[u8]| {
    chiasm_fuzz::run("array", bytes);
});
