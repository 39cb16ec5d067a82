//! Reading and writing files: round trips, external weights, and failed writes.

mod common;

use std::fs;

use chiasm_graph::{DType, Graph, Tensor};
use common::{linear, load, names, path};

#[test]
fn every_stored_model_round_trips() {
    for name in ["branch", "loop", "function", "old_inputs", "typed_fields", "sparse", "conv_13", "custom_13"]
    {
        let graph = load(name);
        let bytes = graph.to_bytes().unwrap();
        let again = Graph::from_bytes(&bytes).unwrap();
        assert_eq!(again, graph, "{name}");
        assert_eq!(again.to_bytes().unwrap(), bytes, "{name}: the same graph gives the same bytes");
    }
}

#[test]
fn weights_that_are_listed_as_inputs_are_not_ports() {
    let graph = load("old_inputs");
    assert_eq!(names(&graph.inputs()), ["x"]);
    assert_eq!(graph.weight("w").unwrap().as_f32().unwrap(), [1.0, 2.0, 3.0]);
    // Up to IR version 3 every weight had to be listed as an input.
    assert_eq!(graph.ir_version(), 4);
}

#[test]
fn weights_in_typed_fields_are_read() {
    let graph = load("typed_fields");
    let weight = |name: &str| graph.weight(name).unwrap();
    assert_eq!(weight("f32").as_f32().unwrap(), [1.5, -2.0]);
    assert_eq!(weight("f64").as_f64().unwrap(), [0.1, 2.0]);
    assert_eq!(weight("f16").as_f16().unwrap().iter().map(|x| x.to_f32()).collect::<Vec<_>>(), [0.5, -1.0]);
    assert_eq!(weight("i64").as_i64().unwrap(), [-3, 1 << 40]);
    assert_eq!(weight("i32").as_i32().unwrap(), [-7, 8]);
    assert_eq!(weight("i8").bytes(), [0xFF, 5]);
    assert_eq!(weight("u8").as_u8().unwrap(), [200, 1]);
    assert_eq!(weight("bool").as_bool().unwrap(), [true, false]);
    assert_eq!(weight("u64").bytes(), [(1_u64 << 63).to_le_bytes(), 2_u64.to_le_bytes()].concat());
}

#[test]
fn the_hash_of_a_weight_is_that_of_its_bytes() {
    // SHA-256 of the little-endian bytes of 1.0, 2.0, 3.0 as f32, by Python's hashlib.
    let expected = "8e628779e6a74ee0b36991c10158f63cafec7d340ad4e075592502c8708524dd";
    assert_eq!(load("old_inputs").weight_hashes()["w"], expected);
}

#[test]
fn external_weights_are_read() {
    let graph = load("external");
    assert_eq!(graph.weight("w").unwrap(), Tensor::f32(&[2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap());
    // Once read, the weights are part of the graph.
    Graph::from_bytes(&graph.to_bytes().unwrap()).unwrap();
}

#[test]
fn weights_outside_the_models_folder_are_an_error() {
    for (name, location) in [("external_up", "../data/external.bin"), ("external_absolute", "/etc/hostname")]
    {
        let error = Graph::load(path(name)).unwrap_err().to_string();
        assert!(error.contains(location) && error.contains("leaves the model's folder"), "{error}");
    }
}

#[test]
fn external_weights_cannot_be_read_from_bytes() {
    let error = Graph::from_bytes(&fs::read(path("external")).unwrap()).unwrap_err().to_string();
    assert!(error.contains("`w`") && error.contains("load the model from its path"), "{error}");
}

#[test]
fn the_error_names_a_truncated_data_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("external.onnx");
    fs::copy(path("external"), &file).unwrap();
    fs::write(folder.path().join("external.bin"), [0; 20]).unwrap();
    let error = Graph::load(&file).unwrap_err().to_string();
    assert!(error.contains("external.bin") && error.contains("truncated"), "{error}");
    fs::remove_file(folder.path().join("external.bin")).unwrap();
    let error = Graph::load(&file).unwrap_err().to_string();
    assert!(error.contains("external.bin"), "{error}");
}

#[test]
fn weights_of_a_model_above_the_limit_are_written_to_a_data_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.onnx");
    let graph = linear("big", "x", "z", (40, 30), 0.25);
    let whole = graph.save(&file).unwrap();
    assert_eq!((whole.model, whole.data), (file.clone(), None));

    let split = graph.save_split(&file, 1000).unwrap();
    assert_eq!(split.data, Some(folder.path().join("model.onnx.data")));
    assert!(fs::metadata(&file).unwrap().len() < 1000);
    assert_eq!(fs::metadata(split.data.unwrap()).unwrap().len(), 40 * 30 * 4);
    assert_eq!(Graph::load(&file).unwrap(), graph);
}

#[test]
fn several_external_weights_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.onnx");
    let parts = [(1, 0.5), (2, 0.25), (3, -1.0)].map(|(n, value)| {
        linear(&format!("part{n}"), "x", &format!("z{n}"), (300 * n, 7), value).prefixed(&format!("p{n}"))
    });
    let graph = parts[0].merge(&parts[1]).unwrap().merge(&parts[2]).unwrap();
    graph.save_split(&file, 0).unwrap();
    assert_eq!(Graph::load(&file).unwrap(), graph);
}

#[test]
fn a_failed_save_leaves_nothing_and_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("absent").join("model.onnx");
    let error = linear("small", "x", "z", (2, 2), 1.0).save(&file).unwrap_err().to_string();
    assert!(error.contains("model.onnx"), "{error}");
    // The target is a folder: the temporary file must be removed.
    let target = folder.path().join("target.onnx");
    fs::create_dir(&target).unwrap();
    linear("small", "x", "z", (2, 2), 1.0).save(&target).unwrap_err();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn metadata_is_kept() {
    let graph = load("loop").with_metadata("b", "2").with_metadata("a", "1").with_metadata("b", "3");
    let again = Graph::from_bytes(&graph.to_bytes().unwrap()).unwrap();
    let entries: Vec<_> = again.metadata().into_iter().collect();
    assert_eq!(entries, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "3".to_owned())]);
}

#[test]
fn data_that_does_not_match_the_shape_is_an_error() {
    let error = Tensor::f32(&[2, 3], vec![0.0; 5]).unwrap_err().to_string();
    assert!(error.contains("[2, 3]") && error.contains("6 elements, got 5"), "{error}");
    assert!(Tensor::i64(&[usize::MAX, 2], vec![]).is_err());
    assert!(Tensor::from_bytes(DType::F32, &[1], &[0; 5]).is_err());
    let error = Tensor::i64(&[1], vec![1]).unwrap().into_f32().unwrap_err().to_string();
    assert!(error.contains("holds i64, expected f32"), "{error}");
}

#[test]
fn graphs_can_be_sent_between_threads() {
    fn is_sendable<T: Send + Sync + Clone + 'static>() {}
    is_sendable::<Graph>();
    is_sendable::<Tensor>();
}
