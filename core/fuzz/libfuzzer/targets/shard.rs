//! The target `shard` of `chiasm_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: chiasm_fuzz::begin("shard"), |bytes: &[u8]| {
    chiasm_fuzz::run("shard", bytes);
});
