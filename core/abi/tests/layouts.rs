//! Compares the layout of every type of this ABI with a golden file. A difference is a change of the ABI: a
//! minor one if a module, a trait or a code only grew at its end, and a major one otherwise. After a change,
//! set this crate's version and run the test with `UPDATE_GOLDEN=1`.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::fmt::Write;

use abi_stable::type_layout::{TLData, TypeLayout};
use chiasm_abi::stable::StableAbi;
use chiasm_abi::{
    AdapterBox, AdapterModule_Ref, AlignerModule_Ref, Extension, FitJob, FusionModule_Ref, Item, NamedOwned,
    NamedTensor, Outcome, PluginError, Root_Ref, ServicesRef, TensorView, TrainJob, TrainOutcome,
};

/// Writes a type, then every type of this crate that its fields contain.
fn describe(layout: &'static TypeLayout, seen: &mut BTreeSet<String>, text: &mut String) {
    let fields = match layout.data() {
        TLData::PrefixType(prefix) => Some(prefix.fields),
        _ => layout.get_fields(),
    };
    let fields: Vec<_> = fields.into_iter().flatten().collect();
    let mut own = format!("{}  size {} align {}\n", layout.full_type(), layout.size(), layout.alignment());
    for field in &fields {
        let functions: Vec<String> = field.function_range().iter().map(|one| one.to_string()).collect();
        // The lines that follow name lifetimes, which are not part of the layout.
        let function = functions.first().and_then(|text| text.lines().next());
        let kind = function.map_or_else(|| field.full_type().to_string(), str::to_owned);
        writeln!(own, "    {}: {kind}", field.name()).unwrap();
    }
    // Layouts are compared by address: those of a generic type of another crate may have the same text.
    if !seen.insert(format!("{layout:p}")) {
        return;
    }
    if layout.package() == "chiasm-abi" && seen.insert(own.clone()) {
        text.push_str(&own);
    }
    for field in fields.into_iter().chain(layout.phantom_fields()) {
        describe(field.layout(), seen, text);
    }
}

#[test]
fn layouts_match_the_golden_file() {
    let (mut seen, mut text) = (BTreeSet::new(), String::new());
    for layout in [
        <Root_Ref as StableAbi>::LAYOUT,
        <Extension as StableAbi>::LAYOUT,
        <AdapterModule_Ref as StableAbi>::LAYOUT,
        <AlignerModule_Ref as StableAbi>::LAYOUT,
        <FusionModule_Ref as StableAbi>::LAYOUT,
        <ServicesRef<'static> as StableAbi>::LAYOUT,
        <AdapterBox as StableAbi>::LAYOUT,
        <Item<'static> as StableAbi>::LAYOUT,
        <FitJob<'static> as StableAbi>::LAYOUT,
        <Outcome as StableAbi>::LAYOUT,
        <TrainJob<'static> as StableAbi>::LAYOUT,
        <TrainOutcome as StableAbi>::LAYOUT,
        <PluginError as StableAbi>::LAYOUT,
        <TensorView<'static> as StableAbi>::LAYOUT,
        <NamedTensor<'static> as StableAbi>::LAYOUT,
        <NamedOwned as StableAbi>::LAYOUT,
    ] {
        describe(layout, &mut seen, &mut text);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/layouts.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert!(text == golden, "the layouts of the ABI changed; they are now:\n{text}");
}
