//! Calls of a correct plugin and of a faulty one, whose faults become errors.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::sync::atomic::Ordering;

use chiasm_host::{
    AlignModality, AlignSpec, BorrowedArray, Code, EncoderSpec, FusionNeeds, FusionSpec, Host, HostError,
    Item, Learned, Modality, Phase, PortSpec, Signature, Takes, Task, TaskKind,
};
use chiasm_plugin::{Json, json};
use support::{RecordingServices, host_of, library};

const ROWS: [f32; 12] = [1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12.];

fn plain() -> Host {
    host_of(&[library("fixture-plain")])
}

fn fit(host: &Host, id: &str, parameters: &Json, services: &RecordingServices) -> Result<Learned, HostError> {
    let pooled = || BorrowedArray::f32(&[4, 3], &ROWS);
    let row = || BorrowedArray::i64(&[4], &[0, 1, 2, 3]);
    let data = [("a.pooled", pooled()), ("a.row", row()), ("b.pooled", pooled()), ("b.row", row())];
    host.aligner(id).unwrap().fit(&spec(), &data, parameters, services)
}

/// Returns two modalities of dimension three; the second is the anchor.
fn spec() -> AlignSpec {
    let modality = |name: &str| AlignModality { name: name.into(), dim: 3, blocks: vec![3] };
    AlignSpec { modalities: vec![modality("a"), modality("b")], anchor: Some("b".into()) }
}

fn hostile(does: &str, services: &RecordingServices) -> Result<Learned, HostError> {
    let host = host_of(&[library("fixture-hostile")]);
    fit(&host, "hostile", &json!({ "does": does }), services)
}

#[test]
fn an_aligner_reads_the_hosts_memory_without_a_copy() {
    let services = RecordingServices { threads: 2, ..RecordingServices::default() };
    let learned = fit(&plain(), "first-columns", &json!({ "k": 3 }), &services).unwrap();
    assert_eq!(learned.maps[0].output("z").unwrap().fixed(-1), Some(3));
    assert!(learned.inverses.iter().all(Option::is_some));
    assert_eq!(learned.notes["anchor"], json!("b"));
    assert_eq!(learned.parameters, json!({ "k": 3 }));
    let address = json!(ROWS.as_ptr().addr());
    assert_eq!(learned.notes["addresses"], json!([address, address]), "no tensor may be copied");
    assert_eq!(learned.notes["sum"], json!(78.0));
    assert_eq!((&learned.notes["seed"], &learned.notes["threads"]), (&json!(42), &json!(2)));
    assert_eq!(*services.log.lock().unwrap(), ["fixture-plain Warning: fitting"]);
    assert_eq!(services.calls.load(Ordering::Relaxed), 1, "progress was reported once");
}

#[test]
fn a_plugin_runs_a_graph_through_the_host() {
    let learned =
        fit(&plain(), "first-columns", &json!({ "run": true }), &RecordingServices::default()).unwrap();
    assert_eq!(learned.notes["run"], json!(["first-columns:x", [2.0, 4.0, 6.0]]));
    let error = hostile("run-garbage", &RecordingServices::default()).unwrap_err();
    assert!(error.message.contains("expected inputs with elements"), "{error}");
}

#[test]
fn a_plugin_trains_through_the_host_without_copying_rows() {
    let services = RecordingServices::default();
    let learned = fit(&plain(), "first-columns", &json!({ "train": 2 }), &services).unwrap();
    let sentence =
        "stopped after 3 steps, since 2 checks brought nothing better; the starting weights were kept";
    assert_eq!(learned.notes["train"], json!(["w", [1.5], sentence]));
    let rows = format!("x f32[4, 3] at {}", ROWS.as_ptr().addr());
    assert!(services.log.lock().unwrap().contains(&format!("fixture-plain trains on {rows}, {rows}")));
    let refused =
        fit(&plain(), "first-columns", &json!({ "train": 0 }), &RecordingServices::default()).unwrap_err();
    assert_eq!((refused.code, refused.phase), (Code::HOST, Phase::Fit));
    assert!(refused.message.contains("option `batch`"), "{refused}");
    let panics = RecordingServices { panics: "train", ..RecordingServices::default() };
    let error = fit(&plain(), "first-columns", &json!({ "train": 2 }), &panics).unwrap_err();
    assert!(error.message.contains("train went wrong"), "{error}");
}

#[test]
fn the_error_of_an_unknown_parameter_lists_the_known_ones() {
    let error =
        fit(&plain(), "first-columns", &json!({ "kk": 1 }), &RecordingServices::default()).unwrap_err();
    assert_eq!(error.code, Code::INVALID);
    assert!(error.message.contains("`kk`") && error.message.contains("`k`"), "{error}");
}

#[test]
fn inconsistent_data_are_refused() {
    let aligner = plain().aligner("first-columns").unwrap();
    let rows = |shape: &[usize]| BorrowedArray::f32(shape, &ROWS);
    let fit = |a: &[usize], b: &[usize], row: &[usize]| {
        let data = [
            ("a.pooled", rows(a)),
            ("a.row", BorrowedArray::i64(row, &[0, 1, 2, 3])),
            ("b.pooled", rows(b)),
            ("b.row", BorrowedArray::i64(&[4], &[0, 1, 2, 3])),
        ];
        aligner.fit(&spec(), &data, &json!({}), &RecordingServices::default()).unwrap_err()
    };
    let only_a = [("a.pooled", rows(&[4, 3])), ("a.row", BorrowedArray::i64(&[4], &[0, 1, 2, 3]))];
    let cases = [
        (aligner.fit(&spec(), &only_a, &json!({}), &RecordingServices::default()).unwrap_err(), "`b.pooled`"),
        (fit(&[4, 3], &[3, 4], &[4]), "expected `b.pooled` [items, 3]"),
        (fit(&[4, 3], &[4, 3], &[3]), "one row number per item"),
        (fit(&[5, 3], &[4, 3], &[5]), "but the tensor has"),
        (fit(&[usize::MAX, 3], &[4, 3], &[usize::MAX]), "overflow"),
    ];
    for (error, word) in cases {
        assert!(error.message.contains(word), "expected `{word}` in: {error}");
        assert_eq!((error.code, error.phase), (Code::INVALID, Phase::Fit));
    }
}

#[test]
fn an_adapter_drafts_a_card_and_prepares_items() {
    let host = plain();
    let factory = host.adapter("rows").unwrap();
    assert_eq!(factory.takes().unwrap(), Takes::Row);
    let directory = std::path::Path::new("/models/x");
    assert_eq!(factory.draft(&Signature::default(), directory).unwrap(), None);
    let port: PortSpec =
        serde_json::from_value(json!({ "name": "row", "dtype": "f32", "dims": ["n", 4] })).unwrap();
    let signature = Signature { inputs: vec![port.clone()], ..Signature::default() };
    assert_eq!(
        factory.draft(&signature, directory).unwrap().unwrap().reason,
        "found the input `row`, in /models/x"
    );

    let services = RecordingServices::default();
    let spec = EncoderSpec {
        name: "enc".into(),
        preprocessing: json!({ "dim": 4 }),
        inputs: vec![port],
        ..Default::default()
    };
    let adapter = factory.open(&spec, &services).unwrap();
    assert_eq!(*services.log.lock().unwrap(), ["fixture-plain Info: opened for enc"]);
    assert_eq!(adapter.inputs()[0].dims, [Some(4)]);
    let tensors = adapter.prepare(Item::Row(7)).unwrap();
    assert_eq!(tensors[0].as_f32().unwrap(), [7.0; 4]);
    assert_eq!(adapter.prepare_borrowed(Item::Row(7)).unwrap()[0].as_f32().unwrap(), [7.0; 4]);
    assert_eq!(adapter.tail().unwrap().outputs().len(), 3);
    let error = adapter.prepare(Item::Text("seven")).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (Code::INVALID, "expected a row's number"));
}

#[test]
fn the_ports_of_a_fusion_must_match_its_modalities() {
    let fusion = plain().fusion("sum").unwrap();
    let modality = |name: &str| Modality { name: name.into(), pooled_dim: 3, token_dim: None };
    let data = [("image.pooled", BorrowedArray::f32(&[4, 3], &ROWS))];
    let of = |modalities: &[Modality]| FusionSpec { modalities: modalities.to_vec(), task: None };
    let both = [modality("image"), modality("text")];
    let fused = fusion.fit(&of(&both), &data, &Json::Null, &RecordingServices::default()).unwrap();
    assert_eq!(fused.graph.input("text.pooled").unwrap().fixed(-1), Some(3));
    assert_eq!(fused.notes["given"], json!(["image.pooled"]));
    let unequal = [modality("image"), Modality { pooled_dim: 5, ..modality("text") }];
    fusion.fit(&of(&unequal[1..]), &data, &Json::Null, &RecordingServices::default()).unwrap();
    let error = fusion.fit(&of(&[]), &data, &Json::Null, &RecordingServices::default()).unwrap_err();
    assert!(error.message.contains("expected at least one modality"), "{error}");
}

#[test]
fn a_fusion_that_reads_tokens_must_have_free_lengths_and_logits() {
    assert_eq!(plain().fusion("sum").unwrap().needs(&json!({})).unwrap(), FusionNeeds::default());
    let fusion = plain().fusion("mean-pool").unwrap();
    let needs = fusion.needs(&json!({})).unwrap();
    assert_eq!((needs.tokens, needs.tasks), (true, vec![TaskKind::Classification]));
    assert!(!fusion.needs(&json!({ "tokens": false })).unwrap().tokens, "the needs depend on the parameters");
    let refused = fusion.needs(&json!({ "tokens": 1 })).unwrap_err();
    assert_eq!(refused.code, Code::INVALID);
    assert!(refused.message.contains("`tokens`: expected true or false, got 1"), "{refused}");
    let image = Modality { name: "image".into(), pooled_dim: 5, token_dim: Some(3) };
    let labels = vec!["yes".to_owned(), "no".to_owned()];
    let task = Task { kind: TaskKind::Classification, labels };
    let spec = FusionSpec { modalities: vec![image], task: Some(task) };
    let data = || {
        [
            ("image.tokens", BorrowedArray::f32(&[2, 2, 3], &ROWS)),
            ("image.mask", BorrowedArray::f32(&[2, 2], &[1.0, 1.0, 1.0, 0.0])),
        ]
    };
    let fit = |spec: &FusionSpec, set: Json| fusion.fit(spec, &data(), &set, &RecordingServices::default());
    let fused = fit(&spec, Json::Null).unwrap();
    assert_eq!(fused.notes["tokens"], json!([2, 2, 3]));
    assert_eq!(fused.graph.output("logits").unwrap().fixed(-1), Some(2));
    assert!(fused.graph.input("image.pooled").is_err(), "an unused port may be left out");
    let text = Modality { name: "text".into(), ..spec.modalities[0].clone() };
    let both = FusionSpec { modalities: vec![spec.modalities[0].clone(), text], ..spec.clone() };
    for (spec, set, words) in [
        (&spec, json!({ "fixed_length": true }), "expected a free axis"),
        (&spec, json!({ "omit_logits": true }), "`logits`"),
        (&FusionSpec { task: None, ..spec.clone() }, json!({}), ""),
        (&both, json!({}), "has no input of the modality text"),
    ] {
        match fit(spec, set) {
            Ok(fused) => assert!(words.is_empty() && fused.graph.output("logits").is_err()),
            Err(error) => assert!(!words.is_empty() && error.message.contains(words), "{error}"),
        }
    }
}

#[test]
fn panics_become_errors_with_file_and_line() {
    for (does, words) in [
        ("panic", "on purpose"),
        ("panic-rayon", "in a worker"),
        ("panic-thread", "Any"),
        ("panic-payload", "(no text)"),
    ] {
        let error = hostile(does, &RecordingServices::default()).unwrap_err();
        assert_eq!(error.code, Code::PANICKED, "{error}");
        assert!(error.message.contains(words), "{error}");
        assert!(error.message.contains("hostile/src/lib.rs:"), "{does} does not name the place: {error}");
    }
    let error = hostile("panic-thread", &RecordingServices::default()).unwrap_err();
    assert!(error.detail.as_ref().unwrap().contains("in a thread"), "{error:?}");
    let aligner = host_of(&[library("fixture-hostile")]).aligner("hostile").unwrap();
    assert_eq!(aligner.takes(&json!({ "does": "panic-takes" })).unwrap_err().code, Code::PANICKED);
}

#[test]
fn an_error_names_plugin_version_file_and_phase() {
    let error = hostile("error", &RecordingServices::default()).unwrap_err();
    let text = error.to_string();
    let path = library("fixture-hostile");
    for part in ["fixture-hostile", env!("CARGO_PKG_VERSION"), path.to_str().unwrap(), "fitting", "no good"] {
        assert!(text.contains(part), "`{part}` is missing: {text}");
    }
    assert_eq!(error.detail.as_deref(), Some(r#"{"why":"told to"}"#));
}

#[test]
fn results_are_checked() {
    for (does, words) in [
        ("nan-weights", "NaN"),
        ("infinite-weights", "infinite"),
        ("wrong-port", "no input of its graph `map.a` `x`"),
        ("extra-port", "unexpected input of its graph `map.a` `more`"),
        ("wrong-output", "no output of its graph `map.b` `z`"),
        ("wrong-input-dim", "expected length 3"),
        ("unequal-dims", "expected length 2"),
        ("fixed-batch", "batch"),
        ("foreign-operator", "RandomNormalLike"),
        ("missing-map", "expected 2 maps"),
        ("wrong-inverse", "expected length 3"),
        ("parameters-no-object", "expected an object"),
    ] {
        let error = hostile(does, &RecordingServices::default()).unwrap_err();
        assert!(error.message.contains(words), "{does}: expected `{words}` in: {error}");
        assert_eq!(error.phase, Phase::Fit);
    }
    hostile("", &RecordingServices::default()).unwrap();
}

#[test]
fn a_request_to_stop_ends_the_fit_even_if_the_plugin_ignores_it() {
    let services = RecordingServices { stop_at: Some(100), ..RecordingServices::default() };
    assert_eq!(hostile("forever", &services).unwrap_err().code, Code::CANCELLED);
    assert_eq!(services.calls.load(Ordering::Relaxed), 101);
    let services = RecordingServices { stop_at: Some(0), ..RecordingServices::default() };
    assert_eq!(hostile("ignore-cancel", &services).unwrap_err().code, Code::CANCELLED);
}

#[test]
fn a_panic_in_a_service_of_the_host_is_an_error() {
    for service in ["log", "seed", "threads", "progress"] {
        let error = hostile(
            "call-everything",
            &RecordingServices { panics: service, ..RecordingServices::default() },
        )
        .unwrap_err();
        assert_eq!(error.code, Code::HOST);
        assert!(error.message.contains(&format!("{service} went wrong")), "{error}");
    }
    let error = fit(
        &plain(),
        "first-columns",
        &json!({ "run": true }),
        &RecordingServices { panics: "run", ..RecordingServices::default() },
    );
    assert!(error.unwrap_err().message.contains("run went wrong"));
}

#[test]
fn rayon_uses_the_hosts_number_of_threads() {
    let host = host_of(&[library("fixture-hostile")]);
    for threads in [2, 1, 3, 2] {
        let services = RecordingServices { threads, ..RecordingServices::default() };
        let learned = fit(&host, "hostile", &json!({}), &services).unwrap();
        assert_eq!(learned.notes["pool"], json!(threads));
    }
}

#[test]
fn faults_of_an_adapter_become_errors() {
    let factory = host_of(&[library("fixture-hostile")]).adapter("hostile").unwrap();
    let open = |does: &str| {
        let port = serde_json::from_value(json!({ "name": "x", "dtype": "f32", "dims": ["n", 3] })).unwrap();
        let spec =
            EncoderSpec { preprocessing: json!({ "does": does }), inputs: vec![port], ..Default::default() };
        factory.open(&spec, &RecordingServices::default())
    };
    assert_eq!(open("panic-open").err().unwrap().code, Code::PANICKED);
    assert!(open("wrong-rank").err().unwrap().message.contains("rank 2"));
    assert!(open("wrong-input").err().unwrap().message.contains("`nothing`"));
    for (does, words) in [("wrong-shape", "[4]"), ("wrong-type", "i64"), ("two-tensors", "got 2")] {
        let error = open(does).unwrap().prepare(Item::Text("a")).unwrap_err();
        assert!(error.message.contains(words), "{error}");
        assert_eq!(error.phase, Phase::Prepare);
    }
    let error = open("").unwrap().tail().unwrap_err();
    assert!(error.message.contains("`tokens`"), "{error}");
    drop(open("panic-drop").unwrap());
    assert_eq!(factory.draft(&Signature::default(), "/".as_ref()).unwrap_err().code, Code::PANICKED);
}

#[test]
fn an_adapter_that_panicked_refuses_calls_and_a_new_one_accepts_them() {
    let factory = host_of(&[library("fixture-hostile")]).adapter("hostile").unwrap();
    let spec = EncoderSpec { preprocessing: json!({ "does": "panic-once" }), ..Default::default() };
    let adapter = factory.open(&spec, &RecordingServices::default()).unwrap();
    adapter.prepare(Item::Text("good")).unwrap();
    assert_eq!(adapter.prepare(Item::Text("bad")).unwrap_err().code, Code::PANICKED);
    assert_eq!(adapter.prepare(Item::Text("good")).unwrap_err().code, Code::POISONED);
    let reopened = factory.open(&spec, &RecordingServices::default()).unwrap();
    reopened.prepare(Item::Text("good")).unwrap();
}

#[test]
fn a_plugin_that_was_shut_down_refuses_calls() {
    let host = host_of(&[library("fixture-plain")]);
    fit(&host, "first-columns", &json!({}), &RecordingServices::default()).unwrap();
    host.quiesce();
    let error = fit(&host, "first-columns", &json!({}), &RecordingServices::default()).unwrap_err();
    assert_eq!(error.code, Code::QUIESCED);
    fit(&plain(), "first-columns", &json!({}), &RecordingServices::default())
        .expect("another copy is not affected");
}
