//! The target `plugin` of `chiasm_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: chiasm_fuzz::begin("plugin"), |bytes: &[u8]| {
    chiasm_fuzz::run("plugin", bytes);
});
