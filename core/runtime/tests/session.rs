//! Sessions: inputs, outputs, and the errors about wrong ones.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor, TensorData};
use chiasm_runtime::{Device, Engine, Error, FoundEngine, SessionOptions};
use common::{engine, text_encoder, text_item};
use half::{bf16, f16};

fn options() -> SessionOptions {
    SessionOptions { threads: 1, ..SessionOptions::default() }
}

fn identity(dtype: DType) -> Graph {
    let mut b = Builder::new("identity");
    let x = b.input("x", dtype, &[Dim::named("n"), Dim::Fixed(2)]).unwrap();
    let y = b.identity(&x);
    b.output("y", &y, dtype, &[Dim::named("n"), Dim::Fixed(2)]);
    b.finish().unwrap()
}

#[test]
fn every_element_type_passes_through_unchanged() {
    let all: Vec<TensorData> = vec![
        TensorData::F32(vec![1.5, -2.0]),
        TensorData::F64(vec![1e300, -2.0]),
        TensorData::F16(vec![f16::from_f32(0.5), f16::MAX]),
        TensorData::BF16(vec![bf16::from_f32(0.5), bf16::MAX]),
        TensorData::I64(vec![i64::MAX, -1]),
        TensorData::I32(vec![i32::MIN, 1]),
        TensorData::I16(vec![i16::MIN, 1]),
        TensorData::I8(vec![i8::MIN, 1]),
        TensorData::U64(vec![u64::MAX, 1]),
        TensorData::U32(vec![u32::MAX, 1]),
        TensorData::U16(vec![u16::MAX, 1]),
        TensorData::U8(vec![255, 1]),
        TensorData::Bool(vec![true, false]),
    ];
    for data in all {
        let x = Tensor::new(&[1, 2], data).unwrap();
        let session = engine().session(&identity(x.dtype()), &options()).unwrap();
        assert_eq!(session.run(&[("x", &x)]).unwrap(), vec![("y".to_owned(), x)]);
    }
}

#[test]
fn the_error_about_a_wrong_input_names_the_port() {
    let session = engine().session(&text_encoder(), &options()).unwrap();
    let ids = Tensor::i64(&[1, 2], vec![1, 2]).unwrap();
    let mask = Tensor::f32(&[1, 2], vec![1.0; 2]).unwrap();
    let flat = Tensor::f32(&[2], vec![1.0; 2]).unwrap();
    let cases: [(&[(&str, &Tensor)], &str); 5] = [
        (&[("ids", &ids)], "input \"mask\" of \"text\": expected f32[N,T], got no tensor of that name"),
        (&[("ids", &mask), ("mask", &mask)], "input \"ids\" of \"text\": expected i64[N,T], got f32[1, 2]"),
        (&[("ids", &ids), ("mask", &flat)], "input \"mask\" of \"text\": expected f32[N,T], got f32[2]"),
        (
            &[("ids", &ids), ("mask", &mask), ("masc", &mask)],
            "\"masc\" of \"text\": expected one of the model's inputs (ids, mask)",
        ),
        (&[("ids", &ids), ("mask", &mask), ("mask", &mask)], "the same name twice"),
    ];
    for (inputs, expected) in cases {
        let message = session.run(inputs).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let session = engine().session(&identity(DType::F32), &options()).unwrap();
    let wide = Tensor::f32(&[1, 3], vec![0.0; 3]).unwrap();
    let message = session.run(&[("x", &wide)]).unwrap_err().to_string();
    assert!(message.contains("expected f32[n,2], got f32[1, 3]"), "{message}");
}

#[test]
fn outputs_are_selected_by_name_in_the_order_asked() {
    let session = engine().session(&text_encoder(), &options()).unwrap();
    let item: Vec<Tensor> = text_item(3)
        .into_iter()
        .map(|t| {
            let n = t.len();
            t.reshaped(&[1, n]).unwrap()
        })
        .collect();
    let inputs = [("mask", &item[1]), ("ids", &item[0])];
    let names = |outputs: Vec<(String, Tensor)>| outputs.into_iter().map(|o| o.0).collect::<Vec<_>>();
    assert_eq!(names(session.run(&inputs).unwrap()), ["pooled", "tokens"]);
    assert_eq!(names(session.run_outputs(&inputs, &["tokens", "pooled"]).unwrap()), ["tokens", "pooled"]);
    assert_eq!(names(session.run_outputs(&inputs, &["pooled"]).unwrap()), ["pooled"]);
    let message = session.run_outputs(&inputs, &["pool"]).unwrap_err().to_string();
    assert!(message.contains("has no output \"pool\"; it has pooled, tokens"), "{message}");
}

#[test]
fn a_batch_of_no_rows_gives_empty_outputs() {
    let session = engine().session(&text_encoder(), &options()).unwrap();
    let ids = Tensor::i64(&[0, 4], vec![]).unwrap();
    let mask = Tensor::f32(&[0, 4], vec![]).unwrap();
    let outputs = session.run(&[("ids", &ids), ("mask", &mask)]).unwrap();
    assert_eq!(outputs[0].1.shape(), [0, 3]);
    assert_eq!(outputs[1].1.shape(), [0, 4, 3]);
}

#[test]
fn a_model_on_disk_runs_as_the_same_model_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("encoder.onnx");
    // Weights beside the file, as above 2 GiB.
    text_encoder().save_split(&path, 64).unwrap();
    assert!(folder.path().join("encoder.onnx.data").exists());
    let ids = Tensor::i64(&[2, 2], vec![1, 2, 3, 4]).unwrap();
    let mask = Tensor::f32(&[2, 2], vec![1.0; 4]).unwrap();
    let inputs = [("ids", &ids), ("mask", &mask)];
    let on_disk = engine().session(path.as_path(), &options()).unwrap().run(&inputs).unwrap();
    let in_memory = engine().session(&text_encoder(), &options()).unwrap().run(&inputs).unwrap();
    assert_eq!(on_disk, in_memory);
}

#[test]
fn a_file_that_is_not_a_model_is_named_in_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.onnx");
    std::fs::write(&path, "not a model").unwrap();
    for path in [path, folder.path().join("missing.onnx")] {
        let message = engine().session(path.as_path(), &options()).unwrap_err().to_string();
        assert!(message.contains(path.file_name().unwrap().to_str().unwrap()), "{message}");
    }
}

#[test]
fn a_model_that_the_engine_refuses_is_named_in_the_error() {
    let mut b = Builder::new("impossible");
    let x = b.input("x", DType::F32, &[Dim::named("n"), Dim::Fixed(2)]).unwrap();
    let w = b.constant("w", Tensor::f32(&[3, 2], vec![0.0; 6]).unwrap());
    let y = b.matmul(&x, &w);
    b.output("y", &y, DType::F32, &[Dim::named("n"), Dim::Fixed(2)]);
    let message = engine().session(&b.finish().unwrap(), &options()).unwrap_err().to_string();
    assert!(message.contains("cannot load \"impossible\"") && message.contains("MatMul"), "{message}");
}

#[test]
fn cuda_is_used_when_available_and_an_error_otherwise() {
    let on = |device| engine().session(&text_encoder(), &SessionOptions { device, ..options() });
    let auto = on(Device::Auto).unwrap();
    match on(Device::Cuda) {
        Ok(session) => {
            assert!(session.device_used().starts_with("cuda"));
            assert_eq!(auto.device_used(), session.device_used());
        }
        Err(error) => {
            let message = error.to_string();
            assert!(matches!(error, Error::Device { .. }), "{message}");
            assert!(
                message.contains("device \"cuda\" was asked for") && message.contains("To fix it: "),
                "{message}"
            );
            assert_eq!(auto.device_used(), "cpu");
            assert!(auto.device_reason().starts_with("CUDA cannot be used: "), "{}", auto.device_reason());
        }
    }
}

#[test]
fn the_engine_starts_once() {
    let running = engine().found().clone();
    assert!(Engine::start(running.clone()).is_ok());
    let other = FoundEngine { path: "/other/libonnxruntime.so".into(), ..running };
    let message = Engine::start(other).unwrap_err().to_string();
    assert!(message.contains("already runs"), "{message}");
}

#[test]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn subnormal_numbers_are_zero_where_that_is_asked_for_and_nowhere_else() {
    let mut b = Builder::new("halves");
    let x = b.input("x", DType::F32, &[Dim::named("n"), Dim::Fixed(2)]).unwrap();
    let y = b.mul_scalar(&x, 0.5);
    b.output("y", &y, DType::F32, &[Dim::named("n"), Dim::Fixed(2)]);
    let graph = b.finish().unwrap();
    let smallest = f32::MIN_POSITIVE; // its half is subnormal
    // So many rows that the engine shares them among its threads.
    let rows = 100_000;
    let x = Tensor::f32(&[rows, 2], [smallest, 3.0].repeat(rows)).unwrap();
    for threads in [1, 2] {
        for (asked, expected) in [(false, smallest / 2.0), (true, 0.0)] {
            let options = SessionOptions { threads, subnormals_as_zero: asked, ..SessionOptions::default() };
            let session = engine().session(&graph, &options).unwrap();
            let y = session.run(&[("x", &x)]).unwrap().remove(0).1;
            for pair in y.as_f32().unwrap().chunks_exact(2) {
                assert_eq!(pair, [expected, 1.5], "{threads} threads, as zero: {asked}");
            }
            let own = std::hint::black_box(smallest) * std::hint::black_box(0.5);
            assert!(own > 0.0, "this thread computes as before");
        }
    }
}
