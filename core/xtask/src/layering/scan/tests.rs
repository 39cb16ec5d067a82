use super::*;

/// Each used path as `line: words as name`.
fn uses(source: &str) -> Vec<String> {
    let shown = |one: &Use| {
        let name = one.name.as_deref().unwrap_or("*");
        format!("{}: {} as {name}", one.path.line, one.path.words.join("::"))
    };
    scan(source).uses.iter().map(shown).collect()
}

fn paths(source: &str) -> Vec<String> {
    scan(source).paths.iter().map(|path| path.words.join("::")).collect()
}

#[test]
fn nested_braces_self_globs_and_aliases_are_read() {
    let source = "use crate::{\n  a::{self, b::C as D},\n  e::*,\n};\nuse super::f as _;\nuse ::g::h;";
    let expected = [
        "2: crate::a as a",
        "2: crate::a::b::C as D",
        "3: crate::e as *",
        "5: super::f as _",
        "6: ::g::h as h",
    ];
    assert_eq!(uses(source), expected);
}

#[test]
fn items_under_cfg_test_are_skipped() {
    let source = "
        #[cfg(test)] use crate::{a, b};
        #[cfg(test)] mod tests { use crate::c; fn f() { crate::d::e(); } }
        #[cfg(test)] pub(crate) fn g<A, B>(x: [u8; 3]) -> crate::h::I { crate::i::j() }
        #[cfg(test)] #[derive(Debug)] struct K { l: crate::m::N }
        #[cfg(all(test, unix))] const O: P = crate::q::R { s: 1 };
        #[cfg(test)] mod in_a_file;
        struct T { #[cfg(test)] u: crate::v::W, x: crate::y::Z }
        use crate::kept;";
    assert_eq!(uses(source), ["9: crate::kept as kept"]);
    assert_eq!(paths(source), ["crate::y::Z"]);
    assert!(scan(source).files.is_empty());
}

#[test]
fn text_in_comments_strings_and_attributes_is_not_an_import() {
    let source = "// use crate::a;\nconst B: &str = \"use crate::b; { \";\n#[doc = \"}\"]\n\
                  /// use crate::c;\nfn d() {}";
    assert!(uses(source).is_empty() && paths(source).is_empty());
    assert_eq!(scan(source).items.len(), 2);
}

#[test]
fn paths_end_at_generics_and_a_visibility_is_not_a_path() {
    let source = "pub(in crate::a) fn f<'a, T: crate::b::C<'a>>() -> impl Iterator + use<'a, T> {
        <T as super::d::E>::g::<u8>(); ::std::mem::drop(x); Vec::<self::h::I>::new(); y.z::<u8>() }";
    assert_eq!(paths(source), ["crate::b::C", "super::d::E", "self::h::I"]);
    assert!(uses(source).is_empty());
}

#[test]
fn modules_items_and_macros_are_found_in_their_modules() {
    let source = "mod a; #[path = \"../b.rs\"] mod b; pub mod c { mod d; pub fn e() { fn f() {} } }
        #[macro_export] macro_rules! g { () => { use $crate::h::i; $crate::j::k() } }
        impl L { fn m() {} }";
    let scan = scan(source);
    let files: Vec<_> =
        scan.files.iter().map(|f| (f.inside.join("::"), &*f.name, f.path.as_deref())).collect();
    assert_eq!(
        files,
        [("".to_owned(), "a", None), ("".to_owned(), "b", Some("../b.rs")), ("c".to_owned(), "d", None)]
    );
    let items: Vec<_> = scan.items.iter().map(|i| (i.inside.join("::"), &*i.name, i.at_root)).collect();
    assert_eq!(items, [("c".to_owned(), "e", false), ("".to_owned(), "g", true)]);
    assert_eq!(scan.inline, [["c".to_owned()]]);
    assert!(scan.uses.is_empty() && scan.paths.is_empty());
}

#[test]
fn names_are_types_and_functions_but_not_fields_or_variables() {
    let names = scan("use a::B; fn c(d: E) { let f = g(d).h(I::J); k.l = m; N { o: 1 } }").names;
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["E", "I", "N", "c", "g"]);
}

#[test]
fn a_use_inside_a_function_is_not_of_the_module() {
    let scan = scan("pub use a::B; fn f() { use crate::c::D; }");
    assert!(scan.uses[0].public && scan.uses[0].of_module);
    assert!(!scan.uses[1].public && !scan.uses[1].of_module);
}
