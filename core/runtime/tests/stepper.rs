//! Stepping a model: the state stays in the engine's memory, the data is read in the caller's.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod common;

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor, TensorRef};
use chiasm_runtime::{SessionOptions, StateVariable, Stepper};
use chiasm_testing::{Requirement, skip};
use common::engine;

/// `x' = x + data[index]`, `sum = sum(x')`: the state accumulates rows of the data.
fn walk() -> Graph {
    let mut b = Builder::new("walk");
    let two = [Dim::Fixed(2)];
    let x = b.input("x", DType::F32, &two).unwrap();
    let data = b.input("data", DType::F32, &[Dim::named("rows"), Dim::Fixed(2)]).unwrap();
    let index = b.input("index", DType::I64, &[]).unwrap();
    let row = b.gather(&data, &index, 0);
    let next = b.add(&x, &row);
    let sum = b.reduce_sum(&next, &[0], false);
    b.output("sum", &sum, DType::F32, &[]);
    b.output("next/x", &next, DType::F32, &two);
    b.finish().unwrap()
}

fn stepper(data: &Tensor) -> Stepper<'_> {
    let session = engine().session(&walk(), &SessionOptions::default()).unwrap();
    let first = Tensor::f32(&[2], vec![0.5, 0.25]).unwrap();
    let state = StateVariable { input: "x".into(), output: "next/x".into(), first };
    session.stepper(&[("data", data.into())], vec![state]).unwrap()
}

#[test]
fn the_state_is_updated_and_the_other_outputs_are_returned() {
    let data = Tensor::f32(&[3, 2], vec![1., 2., 10., 20., 100., 200.]).unwrap();
    let mut stepper = stepper(&data);
    let mut expected = [0.5_f32, 0.25];
    // More steps than buffers, so that every buffer is reused.
    for at in [0_i64, 2, 1, 0, 1, 2, 2] {
        let index = Tensor::i64(&[], vec![at]).unwrap();
        let outputs = stepper.step(&[("index", TensorRef::from(&index))]).unwrap();
        let row = &data.as_f32().unwrap()[2 * at as usize..][..2];
        expected = [expected[0] + row[0], expected[1] + row[1]];
        let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["sum"], "the state is not an output of a step");
        assert_eq!(outputs[0].1.as_f32().unwrap(), [expected[0] + expected[1]]);
        let state = stepper.state().unwrap();
        assert_eq!((state[0].0.as_str(), state[0].1.as_f32().unwrap()), ("x", &expected[..]));
    }
}

#[test]
fn data_on_the_processor_is_read_in_place() {
    // 64 MiB: with a copy, the process's peak would rise by as much.
    let rows = 8 << 20;
    let data = Tensor::zeros(DType::F32, &[rows, 2]).unwrap();
    // Touch every page before measuring.
    data.bytes().iter().step_by(4096).for_each(|byte| assert_eq!(*byte, 0));
    let mut stepper = stepper(&data);
    let Some(before) = peak_mib() else {
        return skip(Requirement::ProcessStatus, "no VmHWM in /proc/self/status");
    };
    let index = Tensor::i64(&[], vec![rows as i64 - 1]).unwrap();
    stepper.step(&[("index", TensorRef::from(&index))]).unwrap();
    let after = peak_mib().unwrap();
    assert!(after - before < 32, "binding 64 MiB took {} MiB more", after - before);
}

/// Returns the peak resident size so far, where the system reports it.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

#[test]
fn a_step_with_wrong_inputs_is_an_error_and_leaves_the_state_unchanged() {
    let data = Tensor::f32(&[1, 2], vec![1., 2.]).unwrap();
    let mut stepper = stepper(&data);
    let wrong = Tensor::scalar(0.0);
    let good = Tensor::i64(&[], vec![0]).unwrap();
    let beyond = Tensor::i64(&[], vec![7]).unwrap();
    for (given, words) in [
        (vec![], "input \"index\""),
        (vec![("index", TensorRef::from(&wrong))], "expected i64"),
        (vec![("index", TensorRef::from(&good)), ("x", TensorRef::from(&data))], "twice"),
        (vec![("index", TensorRef::from(&beyond))], "running \"walk\" failed"),
    ] {
        let message = stepper.step(&given).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
        assert_eq!(stepper.state().unwrap()[0].1.as_f32().unwrap(), [0.5, 0.25]);
    }
    let unknown = StateVariable { input: "x".into(), output: "nothing".into(), first: Tensor::scalar(0.0) };
    let session = engine().session(&walk(), &SessionOptions::default()).unwrap();
    let message = session.stepper(&[], vec![unknown]).unwrap_err().to_string();
    assert!(message.contains("no output \"nothing\""), "{message}");
}
