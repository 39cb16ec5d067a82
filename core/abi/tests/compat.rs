//! Compatibility of two versions of one module.
#![expect(dead_code, reason = "only the layouts are compared")]

use chiasm_abi::compat::{LayoutRelation, check};
use chiasm_abi::stable::StableAbi;

macro_rules! version {
    ($name:ident { $($fields:tt)* }) => {
        mod $name {
            #[repr(C)]
            #[derive(abi_stable::StableAbi)]
            #[sabi(kind(Prefix(prefix_ref = Module_Ref)))]
            pub struct Module { $($fields)* }
        }
    };
}
version!(first {
    pub a: extern "C" fn(u32) -> u32,
    #[sabi(last_prefix_field)]
    pub b: extern "C" fn(u32) -> u32,
});
version!(minor {
    pub a: extern "C" fn(u32) -> u32,
    #[sabi(last_prefix_field)]
    pub b: extern "C" fn(u32) -> u32,
    pub c: extern "C" fn(u64) -> u32,
});
version!(broken {
    pub a: extern "C" fn(u32) -> u32,
    #[sabi(last_prefix_field)]
    pub b: extern "C" fn(u64) -> u32,
});

#[test]
fn minor_versions_are_compatible_in_both_directions() {
    let (first, minor) = (<first::Module_Ref as StableAbi>::LAYOUT, <minor::Module_Ref as StableAbi>::LAYOUT);
    assert_eq!(check(first, first), Ok(LayoutRelation::TheirsExtendsOurs));
    assert_eq!(check(first, minor), Ok(LayoutRelation::TheirsExtendsOurs), "a newer plugin in an older host");
    assert_eq!(check(minor, first), Ok(LayoutRelation::OursExtendsTheirs), "an older plugin in a newer host");
}

#[test]
fn a_changed_field_is_refused_with_a_one_line_reason() {
    let (first, broken) =
        (<first::Module_Ref as StableAbi>::LAYOUT, <broken::Module_Ref as StableAbi>::LAYOUT);
    for mismatch in [check(first, broken).unwrap_err(), check(broken, first).unwrap_err()] {
        assert_eq!(mismatch.line.lines().count(), 1);
        assert!(mismatch.line.len() <= 310 && !mismatch.line.is_empty(), "{}", mismatch.line);
        assert!(mismatch.full.lines().count() > 10, "the full report is kept");
    }
}
