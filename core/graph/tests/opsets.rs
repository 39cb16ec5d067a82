//! Upgrading a graph to a newer opset.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use chiasm_graph::{Graph, OPSET};
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
