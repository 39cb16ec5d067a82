//! Trainings: batches, validation, divergence, noise, and the errors about invalid input.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod common;

use chiasm_graph::{Builder, DType, Dim, Tensor};
use chiasm_train::{
    NoiseDistribution, Objective, Optimizer, StopReason, TrainableWeight, TrainingLength, TrainingOptions,
    TrainingRows,
};
use common::{mean, rows, scalar, small, squared_error, tensor, train, trainer};

fn options() -> TrainingOptions {
    TrainingOptions {
        learning_rate: 0.05,
        length: TrainingLength::Steps(60),
        batch: 16,
        check_every: Some(5),
        ..TrainingOptions::default()
    }
}

/// `loss = mean((x w - y)^2)` from a start of zeros, with a weight that the loss does not use.
fn linear() -> Objective {
    let mut b = Builder::new("linear");
    let (x, y) = (rows(&mut b, "x", 3), rows(&mut b, "y", 2));
    let w = b.constant("w", Tensor::zeros(DType::F32, &[3, 2]).unwrap());
    b.constant("idle", Tensor::scalar(1.0));
    let out = b.matmul(&x, &w);
    let loss = squared_error(&mut b, &out, &y);
    scalar(&mut b, "loss", &loss);
    Objective::new(b.finish().unwrap(), &["w"]).unwrap()
}

/// Rows of `y = x w` with a known `w`.
fn exact_rows(count: usize) -> (Tensor, Tensor, [f32; 6]) {
    let w = [0.5, -1.0, 2.0, 0.25, -0.75, 1.5];
    let x = tensor(&[count, 3], 9);
    let y = x
        .as_f32()
        .unwrap()
        .chunks(3)
        .flat_map(|r| [0, 1].map(|c| r[0] * w[c] + r[1] * w[2 + c] + r[2] * w[4 + c]));
    let y = Tensor::f32(&[count, 2], y.collect()).unwrap();
    (x, y, w)
}

#[test]
fn a_linear_map_is_found_from_shuffled_batches() {
    let (x, y, w) = exact_rows(64);
    let options = TrainingOptions {
        length: TrainingLength::Epochs(300),
        weight_decay: 0.0,
        validation: 0.25,
        ..options()
    };
    let trained = train(&trainer(), &linear(), &x, &y, &options, &mut |_| true).unwrap();
    // The rows fit the map without noise, and the step size goes to 0, so only rounding remains.
    for (got, expected) in trained.weights[0].1.as_f32().unwrap().iter().zip(w) {
        assert!((got - expected).abs() < 1e-4, "got {got}, expected {expected}");
    }
    let report = trained.report;
    assert_eq!((report.steps, &report.stopped), (300 * 3, &StopReason::Finished));
    assert_eq!(report.curve.first().unwrap().step, 0);
    assert_eq!(report.curve.last().unwrap().step, 900);
    assert!(report.curve.last().unwrap().score.unwrap() < 1e-6);
}

#[test]
fn weights_are_never_worse_on_validation_than_the_start() {
    // The starting weights fit the validation rows; the training rows lead away from them.
    let objective = linear();
    let (x, y, _) = exact_rows(32);
    let still = Tensor::zeros(DType::F32, &[32, 2]).unwrap();
    let training = [("x", (&x).into()), ("y", (&y).into())];
    let validation = [("x", (&x).into()), ("y", (&still).into())];
    let rows = TrainingRows { training: &training, validation: &validation };
    let options = TrainingOptions { patience: Some(3), ..options() };
    let trained = trainer().train(&objective, &rows, &options, &mut |_| true).unwrap();
    assert_eq!(trained.weights[0].1, objective.graph.weight("w").unwrap());
    assert_eq!((trained.report.best_step, trained.report.stopped), (0, StopReason::Early(3)));
    assert_eq!(trained.report.steps, 15, "three checks of five steps");
}

#[test]
fn the_best_weights_are_kept_not_the_last() {
    // The validation rows fit half the map, which the training passes on its way.
    let (x, y, _) = exact_rows(64);
    let half = Tensor::f32(&[64, 2], y.as_f32().unwrap().iter().map(|v| v / 2.0).collect()).unwrap();
    let training = [("x", (&x).into()), ("y", (&y).into())];
    let validation = [("x", (&x).into()), ("y", (&half).into())];
    let rows = TrainingRows { training: &training, validation: &validation };
    let options = TrainingOptions { floor: 1.0, ..options() };
    let trained = trainer().train(&linear(), &rows, &options, &mut |_| true).unwrap();
    let score = |step| trained.report.curve.iter().find(|p| p.step == step).unwrap().score.unwrap();
    let best = trained.report.curve.iter().map(|p| p.score.unwrap()).fold(f32::INFINITY, f32::min);
    assert_eq!(score(trained.report.best_step), best);
    assert!(best < 0.9 * score(60), "the last weights are worse: {best} against {}", score(60));
    assert!((1..60).contains(&trained.report.best_step));
}

/// `loss = mean(sqrt(w) x^2)`: its gradient pushes `w` below 0, where the square root is NaN.
fn diverging() -> Objective {
    let mut b = Builder::new("doomed");
    let x = rows(&mut b, "x", 1);
    let w = b.constant("w", Tensor::f32(&[1], vec![0.05]).unwrap());
    let root = b.sqrt(&w);
    let square = b.mul(&x, &x);
    let product = b.mul(&square, &root);
    let loss = mean(&mut b, &product);
    scalar(&mut b, "loss", &loss);
    Objective::new(b.finish().unwrap(), &["w"]).unwrap()
}

#[test]
fn a_nan_loss_stops_with_the_last_finite_weights() {
    let x = tensor(&[40, 1], 5);
    let training = [("x", (&x).into())];
    let rows = TrainingRows { training: &training, validation: &[] };
    for validation in [0.0, 0.2] {
        let options = TrainingOptions {
            learning_rate: 0.004,
            weight_decay: 0.0,
            floor: 1.0,
            validation,
            check_every: Some(2),
            ..options()
        };
        let trained = trainer().train(&diverging(), &rows, &options, &mut |_| true).unwrap();
        let StopReason::Diverged(reason) = &trained.report.stopped else { panic!("{:?}", trained.report) };
        assert!(reason.contains("NaN") || reason.contains("finite"), "{reason}");
        assert!(reason.contains("learning rate (4e-3)"), "{reason}");
        let w = trained.weights[0].1.as_f32().unwrap()[0];
        assert!(w > 0.0 && w < 0.05, "trained, and still a number: {w}");
        assert!(trained.report.best_step > 0 && trained.report.best_step < trained.report.steps);
        assert!(trained.report.sentence().contains("were kept"));
    }
}

#[test]
fn a_loss_that_explodes_stops() {
    let (x, y, _) = exact_rows(64);
    let optimizer = Optimizer::Sgd { momentum: 0.9 };
    let options = TrainingOptions { optimizer, learning_rate: 50.0, ..options() };
    let trained = train(&trainer(), &linear(), &x, &y, &options, &mut |_| true).unwrap();
    let StopReason::Diverged(reason) = trained.report.stopped else { panic!("{:?}", trained.report) };
    assert!(reason.contains("exploded"), "{reason}");
    assert!(trained.weights[0].1.as_f32().unwrap().iter().all(|w| w.is_finite()));
}

#[test]
fn noise_differs_at_each_step_and_masks_are_ones_in_validation() {
    let mut b = Builder::new("noise");
    let x = rows(&mut b, "x", 4);
    let mask = b.input("mask", DType::F32, &[Dim::named("batch"), Dim::Fixed(4)]).unwrap();
    let sign = b.input("sign", DType::F32, &[Dim::Fixed(8)]).unwrap();
    let w = b.constant("w", Tensor::f32(&[4], vec![1.0; 4]).unwrap());
    let kept = b.mul(&x, &mask);
    let weighed = b.mul(&kept, &w);
    let loss = mean(&mut b, &weighed);
    scalar(&mut b, "loss", &loss);
    let mask = mean(&mut b, &mask);
    scalar(&mut b, "mask_mean", &mask);
    let sign = mean(&mut b, &sign);
    scalar(&mut b, "sign_mean", &sign);
    let objective = Objective::new(b.finish().unwrap(), &["w"]).unwrap();
    let objective = objective
        .with_random("mask", NoiseDistribution::Mask { keep: 0.5 })
        .with_random("sign", NoiseDistribution::Sign);
    let x = tensor(&[50, 4], 6);
    let training = [("x", (&x).into())];
    let mut seen = Vec::new();
    let rows = TrainingRows { training: &training, validation: &[] };
    let options = TrainingOptions { validation: 0.2, ..options() };
    let trained = trainer()
        .train(&objective, &rows, &options, &mut |progress| {
            seen.push(progress.losses.iter().find(|(name, _)| name == "mask_mean").unwrap().1);
            true
        })
        .unwrap();
    let (first, mean) = (seen[0], seen.iter().sum::<f32>() / seen.len() as f32);
    assert!(seen.iter().any(|value| *value != first));
    // 60 steps of 64 values of variance 1: a standard error of 0.016; five standard errors are allowed.
    assert!((mean - 1.0).abs() < 0.08, "{mean}");
    let checks: Vec<_> =
        trained.report.curve.iter().map(|p| (p.validation["mask_mean"], p.validation["sign_mean"])).collect();
    assert!(checks.iter().all(|(mask, _)| *mask == 1.0));
    assert!(checks.iter().all(|(_, sign)| *sign == checks[0].1), "the same draw at every check");
}

#[test]
fn the_graph_after_a_step_constrains_trained_weights_and_updates_others() {
    let mut b = Builder::new("linear");
    let (x, y) = (rows(&mut b, "x", 3), rows(&mut b, "y", 2));
    let w = b.constant("w", Tensor::zeros(DType::F32, &[3, 2]).unwrap());
    b.constant("count", Tensor::scalar(0.0));
    let out = b.matmul(&x, &w);
    let loss = squared_error(&mut b, &out, &y);
    scalar(&mut b, "loss", &loss);
    let mut objective = Objective::new(b.finish().unwrap(), &["w"]).unwrap();
    let mut after = Builder::new("after");
    let dims = [Dim::Fixed(3), Dim::Fixed(2)];
    let w = after.input("w", DType::F32, &dims).unwrap();
    let count = after.input("count", DType::F32, &[]).unwrap();
    let (low, high) = (after.scalar(-0.5), after.scalar(0.5));
    let clipped = after.op("Clip", &[&w, &low, &high], &[]);
    let counted = after.add_scalar(&count, 1.0);
    after.output("next/w", &clipped, DType::F32, &dims);
    after.output("next/count", &counted, DType::F32, &[]);
    objective.after = Some(after.finish().unwrap());
    let (x, y, expected) = exact_rows(64);
    let options = TrainingOptions {
        length: TrainingLength::Steps(200),
        weight_decay: 0.0,
        validation: 0.0,
        ..options()
    };
    let trained = train(&trainer(), &objective, &x, &y, &options, &mut |_| true).unwrap();
    let (w, count) = (trained.weights[0].1.as_f32().unwrap(), trained.weights[1].1.as_f32().unwrap());
    assert_eq!(count, [200.0]);
    assert!(w.iter().all(|w| w.abs() <= 0.5));
    assert!(w.iter().zip(expected).any(|(w, expected)| *w == 0.5 && expected > 0.5), "{w:?} meets the bound");
}

#[test]
fn many_validation_rows_are_scored_in_parts_and_averaged() {
    let mut b = Builder::new("mean");
    let x = rows(&mut b, "x", 1);
    let w = b.constant("w", Tensor::f32(&[1], vec![1.0]).unwrap());
    let product = b.mul(&x, &w);
    let loss = mean(&mut b, &product);
    scalar(&mut b, "loss", &loss);
    let judged = b.mul_scalar(&loss, -3.0);
    scalar(&mut b, "validation", &judged);
    let objective = Objective::new(b.finish().unwrap(), &["w"]).unwrap();
    let x = Tensor::f32(&[10_001, 1], (0..10_001).map(|i| (i % 7) as f32).collect()).unwrap();
    let expected = -3.0 * x.as_f32().unwrap().iter().sum::<f32>() / 10_001.0;
    let few = tensor(&[20, 1], 1);
    let (training, validation) = ([("x", (&few).into())], [("x", (&x).into())]);
    let rows = TrainingRows { training: &training, validation: &validation };
    let options = TrainingOptions { length: TrainingLength::Steps(1), ..options() };
    let report = trainer().train(&objective, &rows, &options, &mut |_| true).unwrap().report;
    let score = report.curve[0].score.unwrap();
    assert!((score - expected).abs() < 1e-4, "got {score}, expected {expected}");
    assert!(!report.curve[1].training.contains_key("validation"), "a training step does not compute it");
}

#[test]
fn invalid_objectives_rows_and_options_are_named_in_the_error() {
    let (x, y, _) = exact_rows(16);
    let message = |objective: &Objective, x: &Tensor, options: &TrainingOptions| {
        train(&trainer(), objective, x, &y, options, &mut |_| true).unwrap_err().to_string()
    };
    let good = linear();
    let trainable = |name: &str| Objective {
        trainable: vec![TrainableWeight { name: name.into(), decay: true }],
        ..good.clone()
    };
    let narrow = tensor(&[16, 2], 1);
    let short = tensor(&[15, 3], 1);
    let cases = [
        (message(&trainable("v"), &x, &options()), "`v`"),
        (message(&trainable("idle"), &x, &options()), "does not depend on the weight `idle`"),
        (message(&Objective { trainable: Vec::new(), ..good.clone() }, &x, &options()), "no weight to train"),
        (message(&good.clone().with_random("z", NoiseDistribution::Normal), &x, &options()), "`z`"),
        (
            message(&good.clone().with_random("x", NoiseDistribution::Mask { keep: 0.0 }), &x, &options()),
            "probability 0",
        ),
        (message(&good, &narrow, &options()), "expected x f32[batch,3], got f32[16, 2]"),
        (message(&good, &short, &options()), "as the others"),
        (message(&good, &x, &TrainingOptions { batch: 0, ..options() }), "`batch`"),
        (message(&good, &x, &TrainingOptions { validation: 1.0, ..options() }), "`validation`"),
        (message(&good, &x, &TrainingOptions { learning_rate: f64::NAN, ..options() }), "`learning_rate`"),
    ];
    for (message, words) in cases {
        assert!(message.contains(words), "expected `{words}` in: {message}");
    }
    let missing = [("x", (&x).into())];
    let rows = TrainingRows { training: &missing, validation: &[] };
    let message = trainer().train(&good, &rows, &options(), &mut |_| true).unwrap_err().to_string();
    assert!(message.contains("none for `y`; given: x"), "{message}");
    assert!(
        train(&trainer(), &small(), &tensor(&[16, 4], 1), &tensor(&[16, 3], 2), &options(), &mut |_| true)
            .is_ok()
    );
}
