//! Composing: ports stay, inner names give way, weights keep their bytes and are stored once, axes are told
//! apart.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor};
use common::{batch, linear, load, names, texts};

/// Bytes and name of a graph's weights, checked to be sound first.
fn sound(graph: &Graph) -> &Graph {
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
    // Both weights were called `w`: the second gave way.
    assert_eq!(sound(&joined).weight_names().collect::<Vec<_>>(), ["b/w", "w"]);
}

#[test]
fn the_linked_name_may_come_again_as_an_output() {
    let first = linear("a", "x", "z", (2, 2), 1.0);
    let second = linear("b", "y", "z", (2, 2), 2.0);
    let joined = first.join(&second, &[("z", "y")]).unwrap();
    assert_eq!(names(&sound(&joined).outputs()), ["z"]);
    assert!(joined.to_text().contains("%a/z f32[batch,2] = MatMul(%x, %w)"), "{}", joined.to_text());
}

#[test]
fn one_output_may_feed_several_inputs_and_a_passed_input_stays_an_output() {
    let mut b = Builder::new("b");
    let p = b.input("p", DType::F32, &batch(2)).unwrap();
    let q = b.input("q", DType::F32, &batch(2)).unwrap();
    let sum = b.add(&p, &q);
    b.output("sum", &sum, DType::F32, &batch(2));
    let next = b.finish().unwrap().expose("p").unwrap();
    let joined = linear("a", "x", "z", (2, 2), 1.0).join(&next, &[("z", "p"), ("z", "q")]).unwrap();
    assert_eq!(names(&sound(&joined).outputs()), ["sum", "p"]);
    assert_eq!(names(&joined.inputs()), ["x"]);
}

#[test]
fn free_inputs_of_one_name_are_shared_and_must_agree() {
    let a = linear("a", "x", "u", (2, 3), 1.0);
    let merged = a.merge(&linear("b", "x", "v", (2, 4), 2.0)).unwrap();
    assert_eq!(texts(&sound(&merged).inputs()), ["x f32[batch,2]"]);
    assert_eq!(texts(&merged.outputs()), ["u f32[batch,3]", "v f32[batch,4]"]);

    let error = a.merge(&linear("b", "x", "v", (5, 4), 2.0)).unwrap_err().to_string();
    assert!(error.contains("x f32[batch,2]") && error.contains("axis 1 is 2 long and 5 long"), "{error}");
}

#[test]
fn ports_that_would_clash_are_an_error_that_says_what_to_do() {
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
fn links_that_do_not_fit_are_refused() {
    let a = linear("a", "x", "z", (2, 3), 1.0);
    let refusal = |next: &Graph, links: &[(&str, &str)]| a.join(next, links).unwrap_err().to_string();
    let b = linear("b", "y", "o", (3, 3), 1.0);
    assert!(refusal(&b, &[("w", "y")]).contains("no output `w`; it has `z`"));
    assert!(refusal(&b, &[("z", "k")]).contains("no input `k`; it has `y`"));
    assert!(refusal(&b, &[("z", "y"), ("z", "y")]).contains("already takes"));
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
fn a_weight_that_both_graphs_hold_is_stored_once() {
    let a = linear("a", "x", "z", (8, 8), 0.5).prefixed("a");
    let b = linear("b", "x", "z", (8, 8), 0.5).prefixed("b");
    let merged = a.merge(&b).unwrap();
    assert_eq!(sound(&merged).weight_bytes(), a.weight_bytes());
    assert_eq!(merged.weight_names().collect::<Vec<_>>(), ["a/w"]);
    // Another shape or another value is another weight.
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
fn axes_are_one_only_where_a_link_says_so() {
    // Two encoders with a batch of their own, side by side.
    let encoders = linear("a", "x", "u", (2, 3), 1.0).merge(&linear("b", "y", "v", (4, 3), 2.0)).unwrap();
    assert_eq!(texts(&encoders.inputs()), ["x f32[batch,2]", "y f32[batch_2,4]"]);
    // A head that takes both at once makes the batches equal.
    let mut b = Builder::new("head");
    let p = b.input("p", DType::F32, &[Dim::named("B"), Dim::named("D")]).unwrap();
    let q = b.input("q", DType::F32, &[Dim::named("B"), Dim::named("D")]).unwrap();
    let sum = b.add(&p, &q);
    b.output("sum", &sum, DType::F32, &[Dim::named("B"), Dim::named("D")]);
    let model = encoders.join(&b.finish().unwrap(), &[("u", "p"), ("v", "q")]).unwrap();
    assert_eq!(texts(&model.inputs()), ["x f32[batch,2]", "y f32[batch,4]"]);
    assert_eq!(texts(&model.outputs()), ["sum f32[batch,3]"]);
    // The name without a prefix wins.
    let prefixed = linear("a", "x", "u", (2, 3), 1.0).prefixed("image");
    let joined = prefixed.join(&linear("b", "y", "v", (3, 3), 2.0), &[("image/u", "y")]).unwrap();
    assert_eq!(texts(&joined.inputs()), ["image/x f32[batch,2]"]);
    let named = joined.renamed_dims(&[("batch", "N")]);
    assert_eq!(texts(&named.outputs()), ["v f32[N,3]"]);
}

#[test]
fn a_prefix_reaches_into_subgraphs_and_what_they_take_from_outside() {
    for name in ["branch", "loop", "sparse", "if_reduce_13"] {
        let graph = load(name);
        let prefixed = graph.prefixed("a");
        sound(&prefixed);
        for line in prefixed.to_text().lines() {
            let bare = line.split_whitespace().filter(|word| word.trim_start_matches('(').starts_with('%'));
            for word in bare {
                assert!(word.contains("%a/"), "{name}: {line}");
            }
        }
        // Beside its own copy nothing is confused, and equal weights are shared.
        let merged = graph.merge(&prefixed).unwrap();
        assert_eq!(sound(&merged).node_count(), 2 * graph.node_count());
        assert_eq!(merged.weight_bytes(), graph.weight_bytes());
    }
}

#[test]
fn local_functions_come_along() {
    let (a, b) = (load("function"), load("function_other"));
    let apart = a.prefixed("a").merge(&b.prefixed("b")).unwrap();
    let text = sound(&apart).to_text();
    for function in ["local.a/Scale", "local.b/Scale", "local.a/Double", "local.b/Double"] {
        assert!(text.contains(&format!("function {function}(")), "{function} in\n{text}");
    }
    // Without prefixes, the equal one is kept once and the other one renamed, with the calls to it.
    let joined = a.join(&b, &[("y", "x")]).unwrap();
    let text = sound(&joined).to_text();
    assert_eq!(text.matches("function local.Double(").count(), 1, "{text}");
    assert!(text.contains("%y f32[N] = local.function_other/Scale("), "{text}");
    assert!(text.contains("= local.Scale(%x)"), "{text}");
}

#[test]
fn foreign_operators_must_agree_in_version() {
    let (one, two) = (load("custom_13").prefixed("a"), load("custom_v2_13").prefixed("b"));
    assert!(one.merge(&one.prefixed("c")).is_ok());
    let error = one.merge(&two).unwrap_err().to_string();
    assert!(error.contains("com.microsoft") && error.contains("1 and 2"), "{error}");
}

#[test]
fn a_join_moves_the_older_graph_to_the_newer_opset() {
    let joined = load("conv_13").merge(&linear("b", "v", "z", (2, 2), 1.0)).unwrap();
    assert_eq!((joined.opset(), joined.ir_version()), (17, 8));
    let error =
        load("softmax_11").prefixed("a").merge(&linear("b", "v", "z", (2, 2), 1.0)).unwrap_err().to_string();
    assert!(error.contains("Softmax") && error.contains("11") && error.contains("17"), "{error}");
}

#[test]
fn ports_are_renamed_and_inner_names_give_way() {
    let graph = linear("a", "x", "z", (2, 2), 1.0);
    let renamed = graph.renamed(&[("x", "w"), ("z", "x")]).unwrap();
    assert_eq!(names(&renamed.inputs()), ["w"]);
    assert_eq!(names(&sound(&renamed).outputs()), ["x"]);
    assert_eq!(renamed.weight_names().collect::<Vec<_>>(), ["w_2"]);
    // Swapping two ports is no clash.
    let swapped = graph.renamed(&[("x", "z"), ("z", "x")]).unwrap();
    assert_eq!(
        (names(&swapped.inputs()), names(&sound(&swapped).outputs())),
        (vec!["z".into()], vec!["x".into()])
    );
    for (names, part) in
        [(&[("w", "v")][..], "no port `w`"), (&[("x", "z")], "would both be `z`"), (&[("x", "")], "empty")]
    {
        let error = graph.renamed(names).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn inner_tensors_are_exposed_with_their_type() {
    let graph = load("branch");
    let exposed =
        graph.join(&linear("b", "v", "o", (3, 2), 1.0), &[("y", "v")]).unwrap().expose("y").unwrap();
    assert_eq!(names(&sound(&exposed).outputs()), ["unused", "o", "y"]);
    assert_eq!(exposed.output("y").unwrap().dtype, DType::F32);
    // An output already there changes nothing; an unknown one is refused with names like it.
    assert_eq!(graph.expose("y").unwrap(), graph);
    let error = load("conv_13").expose("xx").unwrap_err().to_string();
    assert!(error.contains("no tensor `xx`; it has `x`"), "{error}");
    // Tensors inside a subgraph are nobody else's.
    assert!(graph.expose("scaled").is_err());
}

#[test]
fn types_are_followed_through_operators_and_control_flow() {
    let mut b = Builder::new("types");
    let x = b.input("x", DType::F32, &batch(4)).unwrap();
    let half = b.cast(&x, DType::F16);
    let shape = b.shape(&half);
    let (_, place) = b.top_k(&half, 1, -1);
    let less = b.op("Less", &[&half, &half], &[]);
    let picked = b.where_(&less, &half, &half);
    let last = b.op("Size", &[&picked], &[]);
    b.output("last", &last, DType::I64, &[]);
    let graph = b.finish().unwrap();
    let kinds = [
        (&half, DType::F16),
        (&shape, DType::I64),
        (&place, DType::I64),
        (&less, DType::Bool),
        (&picked, DType::F16),
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
fn an_extract_keeps_what_is_needed_and_no_more() {
    let merged = linear("a", "x", "u", (2, 3), 1.0).merge(&linear("b", "y", "v", (4, 5), 2.0)).unwrap();
    let part = merged.extract(&["v"]).unwrap();
    assert_eq!((names(&sound(&part).inputs()), names(&part.outputs())), (vec!["y".into()], vec!["v".into()]));
    assert_eq!((part.node_count(), part.weight_names().count()), (1, 1));
    // Outputs come in the order asked for.
    assert_eq!(names(&merged.extract(&["v", "u"]).unwrap().outputs()), ["v", "u"]);
    assert!(merged.extract(&["nothing"]).unwrap_err().to_string().contains("`nothing`"));
    assert!(merged.extract(&["v", "v"]).unwrap_err().to_string().contains("twice"));
    // What only a subgraph takes from outside is needed too; functions that nobody calls are not.
    let branch = load("branch").extract(&["y"]).unwrap();
    assert_eq!(names(&sound(&branch).inputs()), ["x", "flag"]);
    assert!(branch.weight("w").is_ok());
    let both = load("function").merge(&linear("b", "v", "z", (2, 2), 1.0)).unwrap();
    assert!(!both.extract(&["z"]).unwrap().to_text().contains("local"));
    assert!(sound(&both.extract(&["y"]).unwrap()).to_text().contains("function local.Double"));
}

#[test]
fn notes_of_the_first_graph_win() {
    let a = linear("a", "x", "u", (2, 3), 1.0).with_metadata("who", "a").with_metadata("only a", "1");
    let b = linear("b", "y", "v", (2, 3), 1.0).with_metadata("who", "b").with_metadata("only b", "2");
    let notes = a.merge(&b).unwrap().metadata();
    assert_eq!((&*notes["who"], &*notes["only a"], &*notes["only b"]), ("a", "1", "2"));
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
