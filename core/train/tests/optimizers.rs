//! Compares every optimizer, clipping and the schedule with PyTorch (see reference/make.py).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod common;

use chiasm_graph::Tensor;
use chiasm_train::{Objective, Optimizer, TrainingLength, TrainingOptions};
use common::{network, train, trainer};
use serde_json::Value;

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn tensor(shape: &[usize], value: &Value) -> Tensor {
    Tensor::f32(shape, floats(value).iter().map(|v| *v as f32).collect()).unwrap()
}

#[test]
fn fifty_steps_agree_with_pytorch() {
    let reference: Value = serde_json::from_str(include_str!("reference/optimizers.json")).unwrap();
    let names = ["w1", "b1", "w2", "b2"];
    let weights = names.map(|name| {
        let weight = &reference["start"][name];
        let shape: Vec<usize> = floats(&weight["shape"]).iter().map(|d| *d as usize).collect();
        (name, tensor(&shape, &weight["values"]))
    });
    let objective = Objective::new(network(&weights), &names).unwrap();
    let (x, y) = (tensor(&[24, 4], &reference["x"]), tensor(&[24, 3], &reference["y"]));
    let adam = Optimizer::default();
    let cases = [
        ("adamw", adam, 0.02, None),
        ("clipped", adam, 0.02, Some(0.25)),
        ("sgd", Optimizer::Sgd { momentum: 0.0 }, 0.2, None),
        ("momentum", Optimizer::Sgd { momentum: 0.9 }, 0.05, None),
        ("lion", Optimizer::Lion { beta1: 0.9, beta2: 0.99 }, 0.01, None),
    ];
    for (case, optimizer, learning_rate, clip) in cases {
        let options = TrainingOptions {
            optimizer,
            learning_rate,
            weight_decay: 0.1,
            warmup: 5,
            floor: 0.1,
            length: TrainingLength::Steps(50),
            batch: 24,
            clip,
            validation: 0.0,
            ..TrainingOptions::default()
        };
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        let trained = train(&trainer(), &objective, &x, &y, &options, &mut |progress| {
            losses.push(f64::from(progress.losses[0].1));
            norms.extend(progress.losses.get(1).map(|(_, norm)| f64::from(*norm)));
            true
        })
        .unwrap();
        let expected = &reference[case];
        // Single against double precision: 50 steps of a smooth problem keep five digits. Lion's sign can
        // change by a rounding error where a gradient passes zero, which moves a weight by one step size;
        // that does not happen here.
        close(case, "loss", &losses, &floats(&expected["losses"]), 2e-5);
        close(case, "norm", &norms, &floats(&expected["norms"]), 2e-4);
        for (name, weight) in &trained.weights {
            let got: Vec<f64> = weight.as_f32().unwrap().iter().map(|v| f64::from(*v)).collect();
            close(case, name, &got, &floats(&expected["weights"][name]), 1e-4);
        }
    }
}

fn close(case: &str, what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{case}: {what}");
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got - expected).abs() / expected.abs().max(1.0);
        assert!(error <= tolerance, "{case}: {what} {at}: got {got}, expected {expected}");
    }
}
