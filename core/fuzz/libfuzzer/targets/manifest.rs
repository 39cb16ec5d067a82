//! The target `manifest` of `chiasm_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: chiasm_fuzz::begin("manifest"), |bytes: &[u8]| {
    chiasm_fuzz::run("manifest", bytes);
});
