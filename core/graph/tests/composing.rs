//! Composing graphs: names of ports and inner values, shared weights, free axes, local functions.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor};
use common::{batch, linear, load, names, texts};

/// The graph, after verification.
fn verified(graph: &Graph) -> &Graph {
    graph.verify().unwrap();
    graph
}

#[test]
fn a_join_feeds_outputs_into_inputs() {
    let joined = linear("a", "x", "z", (2, 3), 1.0)
        .join(&linear("b", "y", "out", (3, 4), 2.0), &[("z", "y")])
        .unwrap();
    assert_eq!(texts(&joined.inputs()), ["x f32[batch,2]"]);
    assert_eq!(texts(&joined.outputs()), ["out f32[batch,4]"]);
    // Both weights were named `w`: the second is renamed.
    assert_eq!(verified(&joined).weight_names().collect::<Vec<_>>(), ["b/w", "w"]);
}

#[test]
fn an_output_may_have_the_name_of_a_linked_output() {
    let first = linear("a", "x", "z", (2, 2), 1.0);
    let second = linear("b", "y", "z", (2, 2), 2.0);
    let joined = first.join(&second, &[("z", "y")]).unwrap();
    assert_eq!(names(&verified(&joined).outputs()), ["z"]);
    assert!(joined.to_text().contains("%a/z f32[batch,2] = MatMul(%x, %w)"), "{}", joined.to_text());
}

#[test]
fn one_output_may_feed_several_inputs_and_an_input_may_be_an_output() {
    let mut b = Builder::new("b");
    let p = b.input("p", DType::F32, &batch(2)).unwrap();
    let q = b.input("q", DType::F32, &batch(2)).unwrap();
    let sum = b.add(&p, &q);
    b.output("sum", &sum, DType::F32, &batch(2));
    let next = b.finish().unwrap().expose("p").unwrap();
    let joined = linear("a", "x", "z", (2, 2), 1.0).join(&next, &[("z", "p"), ("z", "q")]).unwrap();
    assert_eq!(names(&verified(&joined).outputs()), ["sum", "p"]);
    assert_eq!(names(&joined.inputs()), ["x"]);
}

#[test]
fn unlinked_inputs_of_the_same_name_are_shared_and_must_match() {
    let a = linear("a", "x", "u", (2, 3), 1.0);
    let merged = a.merge(&linear("b", "x", "v", (2, 4), 2.0)).unwrap();
    assert_eq!(texts(&verified(&merged).inputs()), ["x f32[batch,2]"]);
    assert_eq!(texts(&merged.outputs()), ["u f32[batch,3]", "v f32[batch,4]"]);

    let error = a.merge(&linear("b", "x", "v", (5, 4), 2.0)).unwrap_err().to_string();
    assert!(error.contains("x f32[batch,2]") && error.contains("axis 1 is 2 long and 5 long"), "{error}");
}

#[test]
fn equal_port_names_are_an_error_that_says_what_to_do() {
    let a = linear("a", "x", "z", (2, 2), 1.0);
    for other in [
        linear("b", "y", "z", (2, 2), 1.0),
        linear("b", "z", "o", (2, 2), 1.0),
        linear("b", "y", "x", (2, 2), 1.0),
    ] {
        let error = a.merge(&other).unwrap_err().to_string();
        assert!(error.contains("rename one of them or link them"), "{error}");
    }
}

#[test]
fn links_that_do_not_fit_are_an_error() {
    let a = linear("a", "x", "z", (2, 3), 1.0);
    let refusal = |next: &Graph, links: &[(&str, &str)]| a.join(next, links).unwrap_err().to_string();
    let b = linear("b", "y", "o", (3, 3), 1.0);
    assert!(refusal(&b, &[("w", "y")]).contains("no output `w`; it has `z`"));
    assert!(refusal(&b, &[("z", "k")]).contains("no input `k`; it has `y`"));
    assert!(refusal(&b, &[("z", "y"), ("z", "y")]).contains("already linked"));
    let wrong = refusal(&linear("b", "y", "o", (4, 3), 1.0), &[("z", "y")]);
    assert!(
        wrong.contains("z f32[batch,3]") && wrong.contains("y f32[batch,4]") && wrong.contains("axis 1"),
        "{wrong}"
    );
    let error = load("loop").join(&b, &[("y", "y")]).unwrap_err().to_string();
    assert!(error.contains("1 and 2 axes"), "{error}");
    let error = load("typed_fields").join(&load("loop"), &[("y_f64", "x")]).unwrap_err().to_string();
    assert!(error.contains("element types differ"), "{error}");
}

#[test]
fn a_weight_that_both_graphs_have_is_stored_once() {
    let a = linear("a", "x", "z", (8, 8), 0.5).prefixed("a");
    let b = linear("b", "x", "z", (8, 8), 0.5).prefixed("b");
    let merged = a.merge(&b).unwrap();
    assert_eq!(verified(&merged).weight_bytes(), a.weight_bytes());
    assert_eq!(merged.weight_names().collect::<Vec<_>>(), ["a/w"]);
    // Weights of different shapes or values are different weights.
    for other in [linear("b", "x", "z", (8, 8), -0.5), linear("b", "x", "z", (4, 16), 0.5)] {
        assert_eq!(a.merge(&other).unwrap().weight_names().count(), 2);
    }
}

#[test]
fn weights_keep_their_bytes() {
    let (a, b) = (load("typed_fields").prefixed("a"), load("conv_13").prefixed("b"));
    let merged = a.merge(&b).unwrap().weight_hashes();
    let parts: std::collections::BTreeMap<_, _> =
        a.weight_hashes().into_iter().chain(b.weight_hashes()).collect();
    assert_eq!(merged, parts);
}

#[test]
fn axes_are_equal_only_where_a_link_makes_them_equal() {
    // Two encoders, each with its own batch axis.
    let encoders = linear("a", "x", "u", (2, 3), 1.0).merge(&linear("b", "y", "v", (4, 3), 2.0)).unwrap();
    assert_eq!(texts(&encoders.inputs()), ["x f32[batch,2]", "y f32[batch_2,4]"]);
    // A head that uses both outputs makes the batch axes equal.
    let mut b = Builder::new("head");
    let p = b.input("p", DType::F32, &[Dim::named("B"), Dim::named("D")]).unwrap();
    let q = b.input("q", DType::F32, &[Dim::named("B"), Dim::named("D")]).unwrap();
    let sum = b.add(&p, &q);
    b.output("sum", &sum, DType::F32, &[Dim::named("B"), Dim::named("D")]);
    let model = encoders.join(&b.finish().unwrap(), &[("u", "p"), ("v", "q")]).unwrap();
    assert_eq!(texts(&model.inputs()), ["x f32[batch,2]", "y f32[batch,4]"]);
    assert_eq!(texts(&model.outputs()), ["sum f32[batch,3]"]);
    // The name without a prefix is kept.
    let prefixed = linear("a", "x", "u", (2, 3), 1.0).prefixed("image");
    let joined = prefixed.join(&linear("b", "y", "v", (3, 3), 2.0), &[("image/u", "y")]).unwrap();
    assert_eq!(texts(&joined.inputs()), ["image/x f32[batch,2]"]);
    let named = joined.renamed_dims(&[("batch", "N")]);
    assert_eq!(texts(&named.outputs()), ["v f32[N,3]"]);
}

#[test]
fn a_prefix_is_added_inside_subgraphs_too() {
    for name in ["branch", "loop", "sparse", "if_reduce_13"] {
        let graph = load(name);
        let prefixed = graph.prefixed("a");
        verified(&prefixed);
        for line in prefixed.to_text().lines() {
            let bare = line.split_whitespace().filter(|word| word.trim_start_matches('(').starts_with('%'));
            for word in bare {
                assert!(word.contains("%a/"), "{name}: {line}");
            }
        }
        // Merged with its own copy, all nodes are kept and equal weights are shared.
        let merged = graph.merge(&prefixed).unwrap();
        assert_eq!(verified(&merged).node_count(), 2 * graph.node_count());
        assert_eq!(merged.weight_bytes(), graph.weight_bytes());
    }
}

#[test]
fn local_functions_are_joined() {
    let (a, b) = (load("function"), load("function_other"));
    let apart = a.prefixed("a").merge(&b.prefixed("b")).unwrap();
    let text = verified(&apart).to_text();
    for function in ["local.a/Scale", "local.b/Scale", "local.a/Double", "local.b/Double"] {
        assert!(text.contains(&format!("function {function}(")), "{function} in\n{text}");
    }
    // Without prefixes, an equal function is kept once; a different one is renamed, with the calls to it.
    let joined = a.join(&b, &[("y", "x")]).unwrap();
    let text = verified(&joined).to_text();
    assert_eq!(text.matches("function local.Double(").count(), 1, "{text}");
    assert!(text.contains("%y f32[N] = local.function_other/Scale("), "{text}");
    assert!(text.contains("= local.Scale(%x)"), "{text}");
}

#[test]
fn operators_of_other_domains_must_have_the_same_version() {
    let (one, two) = (load("custom_13").prefixed("a"), load("custom_v2_13").prefixed("b"));
    assert!(one.merge(&one.prefixed("c")).is_ok());
    let error = one.merge(&two).unwrap_err().to_string();
    assert!(error.contains("com.microsoft") && error.contains("versions 1 and 2"), "{error}");
}

#[test]
fn a_join_upgrades_the_older_graph() {
    let joined = load("conv_13").merge(&linear("b", "v", "z", (2, 2), 1.0)).unwrap();
    assert_eq!((joined.opset(), joined.ir_version()), (17, 8));
    let error =
        load("clip_10").prefixed("a").merge(&linear("b", "v", "z", (2, 2), 1.0)).unwrap_err().to_string();
    assert!(error.contains("Clip") && error.contains("10") && error.contains("17"), "{error}");
}

#[test]
fn renaming_a_port_renames_inner_values_of_that_name() {
    let graph = linear("a", "x", "z", (2, 2), 1.0);
    let renamed = graph.renamed(&[("x", "w"), ("z", "x")]).unwrap();
    assert_eq!(names(&renamed.inputs()), ["w"]);
    assert_eq!(names(&verified(&renamed).outputs()), ["x"]);
    assert_eq!(renamed.weight_names().collect::<Vec<_>>(), ["w_2"]);
    // Two ports can swap their names.
    let swapped = graph.renamed(&[("x", "z"), ("z", "x")]).unwrap();
    assert_eq!(
        (names(&swapped.inputs()), names(&verified(&swapped).outputs())),
        (vec!["z".into()], vec!["x".into()])
    );
    for (names, part) in [
        (&[("w", "v")][..], "no port `w`"),
        (&[("x", "z")], "would both be named `z`"),
        (&[("x", "")], "empty"),
    ] {
        let error = graph.renamed(names).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// Convolution: (9 + 1 + 1 - 2 (3 - 1) - 1) / 2 + 1 = 4 and ceil(11 / 3) = 4; pooling: (4 - 2) / 2 + 1 = 2.
#[test]
fn the_axes_of_an_inner_tensor_of_a_convolutional_model_are_inferred() {
    let mut b = Builder::new("cnn");
    let x = b.input("x", DType::F32, &["n".into(), 2.into(), 9.into(), Dim::named("w")]).unwrap();
    let kernel = b.constant("k", Tensor::zeros(DType::F32, &[5, 2, 3, 3]).unwrap());
    let ints = |values: &[i64]| chiasm_graph::Attr::Ints(values.to_vec());
    let slide = [("strides", ints(&[2, 2])), ("dilations", ints(&[2, 1])), ("pads", ints(&[1, 0, 1, 0]))];
    let map = b.op("Conv", &[&x, &kernel], &slide);
    let pooled = b.op("MaxPool", &[&map], &[("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))]);
    let mean = b.op("GlobalAveragePool", &[&pooled], &[]);
    let flat = b.squeeze(&mean, &[2, 3]);
    let inner = [&map, &pooled, &mean, &flat].map(|value| value.name().to_owned());
    let y = b.softmax(&flat, 1);
    b.output("y", &y, DType::F32, &["n".into(), 5.into()]);
    let graph = b.finish().unwrap();
    let shown = inner.map(|name| graph.expose(&name).unwrap().output(&name).unwrap().type_text());
    assert_eq!(shown, ["f32[?,5,4,?]", "f32[?,5,2,?]", "f32[?,5,1,1]", "f32[?,5]"]);
}

#[test]
fn a_graph_that_runs_for_each_item_has_a_free_batch_axis() {
    let mut b = Builder::new("loudest");
    let x = b.input("x", DType::F32, &["one".into(), Dim::named("t")]).unwrap();
    let w = b.constant("w", Tensor::f32(&[1], vec![2.0]).unwrap());
    let scaled = b.mul(&x, &w);
    let sum = b.reduce_sum(&scaled, &[0, 1], true);
    let y = b.div(&scaled, &sum);
    b.output("y", &y, DType::F32, &[1.into(), Dim::named("t")]);
    let graph = b.finish().unwrap();
    let each = graph.per_item().unwrap();
    assert_eq!(texts(&verified(&each).inputs()), ["x f32[batch,t]"]);
    assert_eq!(texts(&each.outputs()), ["y f32[batch,t]"]);
    assert_eq!(each.op_types()["Scan"], 1);
    // It joins and is cut out again like any other graph.
    let joined = each.join(&linear("l", "v", "z", (3, 2), 1.0), &[]).unwrap().extract(&["y"]).unwrap();
    assert_eq!(joined.op_types()["Scan"], 1);
    let mut b = Builder::new("fixed");
    let x = b.input("x", DType::F32, &[3.into()]).unwrap();
    let y = b.mul_scalar(&x, 2.0);
    b.output("y", &y, DType::F32, &[3.into()]);
    let error = b.finish().unwrap().per_item().unwrap_err().to_string();
    assert!(error.contains("x f32[3]") && error.contains("batch"), "{error}");
}

#[test]
fn a_graph_that_runs_in_batches_has_a_free_batch_axis() {
    let four = |rows: usize| {
        let mut b = Builder::new("four");
        let x = b.input("x", DType::F32, &[4.into(), Dim::named("t"), 2.into()]).unwrap();
        let y = b.mul_scalar(&x, 2.0);
        b.output("y", &y, DType::F32, &[rows.into(), Dim::named("t"), 2.into()]);
        b.finish().unwrap()
    };
    let any = four(4).in_batches(4).unwrap();
    assert_eq!(texts(&verified(&any).inputs()), ["x f32[batch,t,2]"]);
    assert_eq!(texts(&any.outputs()), ["y f32[batch,t,2]"]);
    assert_eq!(any.op_types()["Scan"], 1);
    let error = four(4).in_batches(3).unwrap_err().to_string();
    assert!(error.contains("x f32[4,t,2]") && error.contains("of length 3"), "{error}");
}

#[test]
fn inner_tensors_are_exposed_with_their_type() {
    let graph = load("branch");
    let exposed =
        graph.join(&linear("b", "v", "o", (3, 2), 1.0), &[("y", "v")]).unwrap().expose("y").unwrap();
    assert_eq!(names(&verified(&exposed).outputs()), ["unused", "o", "y"]);
    assert_eq!(exposed.output("y").unwrap().dtype, DType::F32);
    // Exposing an output changes nothing; the error for an unknown name lists similar ones.
    assert_eq!(graph.expose("y").unwrap(), graph);
    let error = load("conv_13").expose("xx").unwrap_err().to_string();
    assert!(error.contains("no tensor `xx`; it has `x`"), "{error}");
    // Tensors inside a subgraph cannot be exposed.
    assert!(graph.expose("scaled").is_err());
}

#[test]
fn element_types_are_inferred_through_operators() {
    let mut b = Builder::new("types");
    let x = b.input("x", DType::F32, &batch(4)).unwrap();
    let half = b.cast(&x, DType::F16);
    let shape = b.shape(&half);
    let (_, index) = b.top_k(&half, 1, -1);
    let less = b.op("Less", &[&half, &half], &[]);
    let selected = b.where_(&less, &half, &half);
    let last = b.op("Size", &[&selected], &[]);
    b.output("last", &last, DType::I64, &[]);
    let graph = b.finish().unwrap();
    let kinds = [
        (&half, DType::F16),
        (&shape, DType::I64),
        (&index, DType::I64),
        (&less, DType::Bool),
        (&selected, DType::F16),
    ];
    for (value, dtype) in kinds {
        assert_eq!(
            graph.expose(value.name()).unwrap().output(value.name()).unwrap().dtype,
            dtype,
            "{}",
            value.name()
        );
    }
}

#[test]
fn an_extract_keeps_only_what_its_outputs_need() {
    let merged = linear("a", "x", "u", (2, 3), 1.0).merge(&linear("b", "y", "v", (4, 5), 2.0)).unwrap();
    let part = merged.extract(&["v"]).unwrap();
    assert_eq!(
        (names(&verified(&part).inputs()), names(&part.outputs())),
        (vec!["y".into()], vec!["v".into()])
    );
    assert_eq!((part.node_count(), part.weight_names().count()), (1, 1));
    // Outputs are in the requested order.
    assert_eq!(names(&merged.extract(&["v", "u"]).unwrap().outputs()), ["v", "u"]);
    assert!(merged.extract(&["nothing"]).unwrap_err().to_string().contains("`nothing`"));
    assert!(merged.extract(&["v", "v"]).unwrap_err().to_string().contains("twice"));
    // Values that only a subgraph uses are kept; functions that no node calls are dropped.
    let branch = load("branch").extract(&["y"]).unwrap();
    assert_eq!(names(&verified(&branch).inputs()), ["x", "flag"]);
    assert!(branch.weight("w").is_ok());
    let both = load("function").merge(&linear("b", "v", "z", (2, 2), 1.0)).unwrap();
    assert!(!both.extract(&["z"]).unwrap().to_text().contains("local"));
    assert!(verified(&both.extract(&["y"]).unwrap()).to_text().contains("function local.Double"));
}

#[test]
fn metadata_of_the_first_graph_is_kept() {
    let a = linear("a", "x", "u", (2, 3), 1.0).with_metadata("who", "a").with_metadata("only a", "1");
    let b = linear("b", "y", "v", (2, 3), 1.0).with_metadata("who", "b").with_metadata("only b", "2");
    let metadata = a.merge(&b).unwrap().metadata();
    assert_eq!((&*metadata["who"], &*metadata["only a"], &*metadata["only b"]), ("a", "1", "2"));
}

#[test]
fn joining_is_deterministic() {
    let make = || {
        let parts = [
            load("branch"),
            load("branch").prefixed("b"),
            load("loop").prefixed("l"),
            load("sparse").prefixed("s"),
        ];
        let [first, rest @ ..] = parts;
        rest.iter().fold(first, |all, part| all.merge(part).unwrap()).to_bytes().unwrap()
    };
    let first = make();
    assert!((0..5).all(|_| make() == first));
}

#[test]
fn a_copy_of_a_graph_shares_its_weights() {
    // 64 MB of weights, a hundred copies and joins: without sharing this would take over 6 GB.
    let graph = {
        let mut b = Builder::new("large");
        let x = b.input("x", DType::F32, &batch(4096)).unwrap();
        let w = b.constant("w", Tensor::zeros(DType::F32, &[4096, 4096]).unwrap());
        let z = b.matmul(&x, &w);
        b.output("z", &z, DType::F32, &batch(4096));
        b.finish().unwrap()
    };
    let copies: Vec<Graph> = (0..100).map(|n| graph.prefixed(&format!("copy{n}"))).collect();
    assert!(copies.iter().all(|copy| copy.weight_bytes() == 4096 * 4096 * 4));
}
