//! Moving a graph to another opset.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use chiasm_graph::{Attr, Builder, DType, Dim, Graph, OLDEST_OPSET, OPSET};
use common::{linear, load};

fn error_of(name: &str, opset: i64) -> String {
    load(name).upgraded(opset).unwrap_err().to_string()
}

#[test]
fn operators_that_changed_compatibly_are_unchanged() {
    for name in
        ["clip_13", "reshape_13", "add_13", "conv_13", "dequantize_13", "batch_norm_13", "max_pool_13"]
    {
        let graph = load(name);
        let moved = graph.upgraded(OPSET).unwrap();
        assert_eq!(moved.verify().unwrap().opset, OPSET, "{name}");
        assert_eq!(moved.op_types(), graph.op_types(), "{name}");
        assert_eq!(moved.weight_hashes(), graph.weight_hashes(), "{name}");
    }
}

#[test]
fn the_error_of_an_incompatible_change_names_operator_node_and_both_opsets() {
    let error = error_of("clip_10", OPSET);
    for part in ["Clip", "opset 10", "opset 17", "bounds became inputs"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert!(error_of("max_pool_13", 22).contains("ceil_mode"));
}

#[test]
fn subgraphs_are_upgraded_too() {
    let moved = load("if_softmax_11").upgraded(13).unwrap();
    moved.verify().unwrap();
    // The rank of a value in a subgraph is not known, so the flattening is written out.
    for part in ["Flatten(%x) {axis=1}", "Softmax(%s/flat) {axis=-1}", "Reshape(%s/result, %s/shape)"] {
        assert!(moved.to_text().contains(part), "{part} in {}", moved.to_text());
    }
}

/// Along the last axis, softmax means the same since opset 13.
#[test]
fn a_softmax_of_the_last_axis_keeps_its_form() {
    let moved = load("softmax_11").upgraded(OPSET).unwrap();
    moved.verify().unwrap();
    assert_eq!(moved.op_types(), load("softmax_11").op_types());
    assert!(moved.to_text().contains("Softmax(%x) {axis=-1}"), "{}", moved.to_text());
}

#[test]
fn attributes_that_became_inputs_are_moved() {
    let cases = [
        ("reduce_sum_11", OPSET, "ReduceSum(%x, %y/axes)", "i64[1] [-1]"),
        ("squeeze_11", OPSET, "Squeeze(%x, %y/axes)", "i64[1] [1]"),
        ("unsqueeze_11", OPSET, "Unsqueeze(%x, %y/axes)", "i64[2] [0, 2]"),
        ("split_11", OPSET, "Split(%x, %y/split) {axis=1}", "i64[2] [1, 3]"),
        ("reduce_mean_13", 18, "ReduceMean(%x, %y/axes) {keepdims=0}", "i64[1] [1]"),
        ("if_reduce_13", 18, "ReduceMax(%x, %m/axes)", "i64[1] [1]"),
    ];
    for (name, opset, call, values) in cases {
        let moved = load(name).upgraded(opset).unwrap();
        moved.verify().unwrap();
        let text = moved.to_text();
        assert!(
            text.contains(call) && text.contains(&format!("Constant() {{value={values}}}")),
            "{name}:\n{text}"
        );
    }
    // Nothing is rewritten below the opset that changed the form.
    assert!(
        load("reduce_mean_13")
            .upgraded(OPSET)
            .unwrap()
            .to_text()
            .contains("ReduceMean(%x) {axes=[1], keepdims=0}")
    );
}

#[test]
fn local_functions_are_upgraded_with_their_model() {
    let moved = load("function").upgraded(21).unwrap();
    moved.verify().unwrap();
    let old = load("bad_function_opset");
    // Its functions are written in opset 11 and use operators that have not changed since.
    old.upgraded(OPSET).unwrap().verify().unwrap();
}

#[test]
fn a_lower_opset_and_an_unknown_opset_are_an_error() {
    for opset in [13, 99] {
        let error = linear("a", "x", "z", (2, 2), 1.0).upgraded(opset).unwrap_err().to_string();
        assert!(error.contains("opset 17") && error.contains(&opset.to_string()), "{error}");
    }
}

#[test]
fn an_upgrade_to_the_same_opset_changes_nothing() {
    let graph = load("softmax_11");
    assert_eq!(graph.upgraded(11).unwrap(), graph);
}

#[test]
fn built_graphs_can_be_upgraded_to_every_reviewed_opset() {
    // Learned graphs are joined to encoders of any of these opsets; 25 is the newest that was reviewed.
    let mut learned: Vec<Graph> = vec![linear("a", "x", "z", (2, 2), 1.0)];
    learned.push(Graph::from_bytes(&learned[0].to_bytes().unwrap()).unwrap());
    for opset in OPSET..=25 {
        for graph in &learned {
            graph.upgraded(opset).unwrap().verify().unwrap();
        }
    }
}

/// A graph of one node in opset 17, with the input `x [N,3,4]`.
fn one(operator: &str, attributes: &[(&str, Attr)]) -> Graph {
    let mut b = Builder::new("one");
    let x = b.input("x", DType::F32, &[Dim::named("N"), Dim::Fixed(3), Dim::Fixed(4)]).unwrap();
    let y = b.op(operator, &[&x], attributes);
    b.output("y", &y, DType::F32, &[const { Dim::Unknown }; 3]);
    b.finish().unwrap()
}

/// Forms that became others on the way up are written as they were on the way down.
#[test]
fn inputs_that_were_attributes_become_attributes_again() {
    let cases = [
        ("reduce_sum_11", 11, OPSET, "ReduceSum(%x) {axes=[-1]}"),
        ("squeeze_11", 11, OPSET, "Squeeze(%x) {axes=[1]}"),
        ("unsqueeze_11", 11, OPSET, "Unsqueeze(%x) {axes=[0, 2]}"),
        ("split_11", 12, OPSET, "Split(%x) {axis=1, split=[1, 3]}"),
        ("reduce_mean_13", 17, 18, "ReduceMean(%x) {axes=[1], keepdims=0}"),
        ("if_reduce_13", 13, 18, "ReduceMax(%x) {axes=[1]}"),
    ];
    for (name, old, new, call) in cases {
        let moved = load(name).in_opset(new).unwrap().in_opset(old).unwrap();
        assert_eq!(moved.verify().unwrap().opset, old, "{name}");
        let text = moved.to_text();
        assert!(text.contains(call), "{call} in {text}");
        assert!(name == "if_reduce_13" || !text.contains("Constant"), "{text}");
    }
}

#[test]
fn softmax_gets_the_axis_that_it_had() {
    let last = one("Softmax", &[("axis", 2.into())]).in_opset(11).unwrap();
    assert!(last.to_text().contains("Softmax(%x) {axis=-1}"), "{}", last.to_text());
    let first = one("Softmax", &[("axis", 0.into())]).in_opset(12).unwrap();
    first.verify().unwrap();
    assert_eq!(first.to_text().matches("Transpose").count(), 2, "{}", first.to_text());
    assert!(first.to_text().contains("{perm=[2, 1, 0]}"), "{}", first.to_text());
}

#[test]
fn operators_that_an_older_opset_lacks_are_written_with_others() {
    let mut b = Builder::new("norm");
    let x = b.input("x", DType::F32, &[Dim::named("N"), Dim::Fixed(4)]).unwrap();
    let one = b.scalar(1.0);
    let y = b.layer_norm(&x, &one, &one, 1e-5);
    let y = b.op("HardSwish", &[&y], &[]);
    b.output("y", &y, DType::F32, &[Dim::named("N"), Dim::Fixed(4)]);
    let graph = b.finish().unwrap();
    for opset in OLDEST_OPSET..=OPSET {
        let moved = graph.in_opset(opset).unwrap();
        assert_eq!(moved.verify().unwrap().opset, opset);
        assert_eq!(moved.op_types().contains_key("LayerNormalization"), opset == OPSET);
        assert_eq!(moved.op_types().contains_key("HardSwish"), opset >= 14);
        assert_eq!(moved.outputs(), graph.outputs());
    }
}

#[test]
fn what_an_older_opset_cannot_say_is_refused_with_operator_and_node() {
    let refused = |graph: &Graph, opset: i64| graph.in_opset(opset).unwrap_err().to_string();
    let cases = [
        (one("Trilu", &[]), 13, "opset 13 has no such operator"),
        (one("ArgMax", &[("select_last_index", 1.into())]), 11, "its `select_last_index` is 1"),
        (one("Dropout", &[]), 11, "opset 12 changed it: its ratio became an input"),
        (one("Erf", &[]).upgraded(25).unwrap(), 10, "the oldest possible is 11"),
        (load("reshape_13").upgraded(28).unwrap(), 29, "possible are 28 to 28"),
    ];
    for (graph, opset, words) in cases {
        let error = refused(&graph, opset);
        assert!(error.contains(words), "{words} in {error}");
    }
    let error = refused(&one("Trilu", &[]), 13);
    for part in ["operator Trilu", "node `", "opset 17", "choose a newer opset"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn defaults_that_are_newer_are_dropped() {
    let moved = one("ArgMax", &[("axis", 1.into()), ("select_last_index", 0.into())]).in_opset(11).unwrap();
    assert!(moved.to_text().contains("ArgMax(%x) {axis=1}"), "{}", moved.to_text());
}
