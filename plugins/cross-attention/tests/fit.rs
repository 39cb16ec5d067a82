//! Fits with a known answer, in a real engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the data of aligners is of no use here")]
#[path = "../../mlp/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;

use chiasm_cross_attention::CrossAttentionFusion;
use chiasm_plugin::graph::{Graph, Tensor};
use chiasm_plugin::ndarray::{Array2, Array3, Axis};
use chiasm_plugin::{
    Fused, Fusion, FusionSpec, Inputs, Json, Modality, Result, ServiceBackend, Services, Task, TaskKind, json,
};
use common::TestHost;

const KEYS: usize = 4;
const COLOURS: usize = 3;
/// Numbers of a token: a picture's object is its shape and its colour, a word is a shape or a filler.
const OBJECT: usize = KEYS + COLOURS;
const WORD: usize = KEYS + 1;

/// A small random generator, so that the test data depend on nothing else.
struct SeededRandom(u64);

impl SeededRandom {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }
}

/// Pictures of four objects, each shape once, in any order and colour. A question names a shape; the answer
/// is its colour.
///
/// The pooled picture gives the colours but not their shapes, and the question alone gives nothing. So a
/// model of pooled vectors can at best answer the picture's most common colour, which is right in 0.55 of
/// the cases (the mean share of the most common of three colours among four draws is 0.56).
struct ObjectQuestions {
    pictures: Array3<f32>,
    questions: Array3<f32>,
    question_mask: Array2<f32>,
    answers: Array2<f32>,
}

impl ObjectQuestions {
    fn new(rows: usize, seed: u64) -> Self {
        let mut dice = SeededRandom(seed);
        let mut world = Self {
            pictures: Array3::zeros((rows, KEYS, OBJECT)),
            questions: Array3::zeros((rows, 2, WORD)),
            question_mask: Array2::ones((rows, 2)),
            answers: Array2::zeros((rows, COLOURS)),
        };
        for row in 0..rows {
            let mut order: Vec<usize> = (0..KEYS).collect();
            (1..KEYS).rev().for_each(|at| order.swap(at, dice.below(at + 1)));
            let asked = dice.below(KEYS);
            for (place, shape) in order.into_iter().enumerate() {
                let colour = dice.below(COLOURS);
                world.pictures[[row, place, shape]] = 1.0;
                world.pictures[[row, place, KEYS + colour]] = 1.0;
                if shape == asked {
                    world.answers[[row, colour]] = 1.0;
                }
            }
            world.questions[[row, 0, asked]] = 1.0;
            world.questions[[row, 1, KEYS]] = 1.0;
            // a shorter question: what its hidden word holds must not matter
            if dice.below(2) == 0 {
                world.question_mask[[row, 1]] = 0.0;
                world.questions[[row, 1, dice.below(KEYS)]] = 9.0;
            }
        }
        world
    }

    fn spec(kind: TaskKind) -> FusionSpec {
        let modality =
            |name: &str, width| Modality { name: name.into(), pooled_dim: width, token_dim: Some(width) };
        let labels = match kind {
            TaskKind::Retrieval => Vec::new(),
            _ => ["red", "green", "blue"].map(str::to_owned).to_vec(),
        };
        let modalities = vec![modality("image", OBJECT), modality("text", WORD)];
        FusionSpec { modalities, task: Some(Task { kind, labels }) }
    }

    fn fit(&self, host: &TestHost, kind: TaskKind, parameters: &Json) -> Result<Fused> {
        let image_mask = Array2::ones((self.pictures.len_of(Axis(0)), self.pictures.len_of(Axis(1))));
        let pooled =
            [self.pictures.mean_axis(Axis(1)).unwrap(), self.questions.index_axis(Axis(1), 0).to_owned()];
        let matrices = [
            ("image.mask", image_mask.view()),
            ("text.mask", self.question_mask.view()),
            ("image.pooled", pooled[0].view()),
            ("text.pooled", pooled[1].view()),
            ("target", self.answers.view()),
        ];
        let tokens = [
            ("image.tokens", self.pictures.view().into_dyn()),
            ("text.tokens", self.questions.view().into_dyn()),
        ];
        let data = Inputs::of(&matrices).and(&tokens);
        CrossAttentionFusion::fit_json(&Self::spec(kind), &data, parameters, &Services::of(host))
    }

    /// The outputs for these rows, with some modalities hidden.
    fn run(&self, host: &TestHost, graph: &Graph, hidden: &[&str]) -> BTreeMap<String, Array2<f32>> {
        let rows = self.pictures.len_of(Axis(0));
        let tensor = |shape: &[usize], values: Vec<f32>| Tensor::f32(shape, values).unwrap();
        let seen = |name: &str, mask: &Array2<f32>| -> Vec<f32> {
            mask.iter().map(|x| if hidden.contains(&name) { 0.0 } else { *x }).collect()
        };
        let length = self.pictures.len_of(Axis(1));
        // An encoder that was given nothing may have divided by its length.
        let blank = |name: &str, pooled: Array2<f32>| {
            if hidden.contains(&name) { pooled.mapv(|_| f32::NAN) } else { pooled }
        };
        let pooled = blank("image", self.pictures.mean_axis(Axis(1)).unwrap());
        let first = blank("text", self.questions.index_axis(Axis(1), 0).to_owned());
        let ports = [
            ("image.tokens", tensor(self.pictures.shape(), self.pictures.iter().copied().collect())),
            ("image.mask", tensor(&[rows, length], seen("image", &Array2::ones((rows, length))))),
            ("image.pooled", tensor(pooled.shape(), pooled.iter().copied().collect())),
            ("text.tokens", tensor(self.questions.shape(), self.questions.iter().copied().collect())),
            ("text.mask", tensor(self.question_mask.shape(), seen("text", &self.question_mask))),
            ("text.pooled", tensor(first.shape(), first.iter().copied().collect())),
        ];
        let given: Vec<(&str, &Tensor)> = (ports.iter())
            .filter(|(name, _)| graph.input(name).is_ok())
            .map(|(name, tensor)| (*name, tensor))
            .collect();
        let outputs = host.run(graph, &given).unwrap().into_iter();
        outputs
            .map(|(name, tensor)| {
                let shape = (tensor.shape()[0], tensor.shape()[1]);
                (name, Array2::from_shape_vec(shape, tensor.into_f32().unwrap()).unwrap())
            })
            .collect()
    }

    fn accuracy(&self, host: &TestHost, graph: &Graph, hidden: &[&str]) -> f64 {
        let logits = &self.run(host, graph, hidden)["logits"];
        assert!(logits.iter().all(|x| x.is_finite()));
        let best = |row: chiasm_plugin::ndarray::ArrayView1<'_, f32>| {
            (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap()
        };
        let right =
            logits.outer_iter().zip(self.answers.outer_iter()).filter(|(a, b)| best(*a) == best(*b)).count();
        right as f64 / logits.nrows() as f64
    }
}

impl ObjectQuestions {
    /// The mean attention weight of the object asked for, and the mean sum of the weights of a picture.
    fn attention(&self, host: &TestHost, graph: &Graph) -> (f32, f32) {
        let shares = &self.run(host, graph, &[])["attention.image"];
        let (mut right, rows) = (0.0, shares.nrows());
        for (row, shares) in shares.outer_iter().enumerate() {
            let asked = (0..KEYS).find(|shape| self.questions[[row, 0, *shape]] == 1.0).unwrap();
            let place = (0..KEYS).find(|place| self.pictures[[row, *place, asked]] == 1.0).unwrap();
            right += shares[place];
        }
        (right / rows as f32, shares.sum() / rows as f32)
    }
}

fn small(mode: &str, epochs: u64) -> Json {
    json!({
        "mode": mode, "width": 32, "heads": 2, "depth": 1, "hidden": 64, "latents": 6, "epochs": epochs,
        "learning_rate": 3e-3, "dropout": 0.0, "patience": 100,
    })
}

/// 600 test rows: an accuracy of 0.55 is known to within 0.04 (two standard errors).
#[test]
fn attention_answers_what_pooled_vectors_cannot() {
    let (host, training, test) =
        (TestHost::new(3), ObjectQuestions::new(2000, 1), ObjectQuestions::new(600, 2));
    let fit = |mode: &str| training.fit(&host, TaskKind::Classification, &small(mode, 24)).unwrap().graph;
    let pooled = ["concat", "late"].map(|mode| test.accuracy(&host, &fit(mode), &[]));
    assert!(pooled.iter().all(|share| (0.45..0.65).contains(share)), "{pooled:?}");
    for mode in ["decoder", "one-way", "two-way", "gated", "latent"] {
        let graph = fit(mode);
        let share = test.accuracy(&host, &graph, &[]);
        assert!(share > 0.9, "{mode}: {share}, against {pooled:?} of pooled vectors");
        let (right, sum) = test.attention(&host, &graph);
        assert!((sum - 1.0).abs() < 1e-5 || mode == "latent", "{mode}: shares sum to {sum}");
        // the weight is averaged over all latents, of which some attend elsewhere
        let least = if mode == "latent" { 0.27 } else { 0.5 };
        assert!(
            right > least * sum,
            "{mode}: {right} of {sum} at the right object, where chance is a quarter"
        );
        if mode != "decoder" {
            continue;
        }
        // with one modality hidden: the best that the other alone allows
        let without_image = test.accuracy(&host, &graph, &["image"]);
        assert!(
            (0.25..0.42).contains(&without_image),
            "a question alone reaches chance, 1/3, got {without_image}"
        );
        let without_text = test.accuracy(&host, &graph, &["text"]);
        assert!(
            (0.45..0.65).contains(&without_text),
            "a picture alone reaches the share of its commonest colour, got {without_text}"
        );
    }
}

#[test]
fn every_mode_serves_every_task() {
    let (host, training) = (TestHost::new(5), ObjectQuestions::new(60, 4));
    let (none, single, few) =
        (ObjectQuestions::new(0, 7), ObjectQuestions::new(1, 5), ObjectQuestions::new(7, 6));
    let kinds = [TaskKind::Classification, TaskKind::MultiLabel, TaskKind::Regression, TaskKind::Retrieval];
    let modes = [
        "decoder",
        "one-way",
        "two-way",
        "gated",
        "latent",
        "concat",
        "mean",
        "gated-sum",
        "bilinear",
        "late",
    ];
    for (mode, kind) in modes.iter().flat_map(|mode| kinds.map(|kind| (mode, kind))) {
        let fused = training.fit(&host, kind, &small(mode, 2)).unwrap();
        fused.graph.verify_learned().unwrap();
        assert!(fused.notes["trained_parameters"].as_u64().unwrap() > 0);
        for hidden in [&[][..], &["image"], &["image", "text"]] {
            for world in [&none, &single, &few] {
                let outputs = world.run(&host, &fused.graph, hidden);
                let answer = if kind == TaskKind::Retrieval { "fused" } else { "logits" };
                assert_eq!(outputs[answer].dim(), (world.answers.nrows(), COLOURS), "{mode} {kind:?}");
                assert!(outputs.values().flatten().all(|x| x.is_finite()), "{mode} {kind:?} {hidden:?}");
                assert_eq!(outputs.contains_key("logits"), kind != TaskKind::Retrieval);
            }
        }
        if *mode == "gated" {
            let share = fused.notes["balance"]["image"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&share), "{share}");
        }
    }
}

/// With a weight of 1 the loss of the student has no labels, so what it knows is from its teacher. A student
/// of pooled vectors cannot learn what attention answers, and its graph reads no tokens.
#[test]
fn a_student_learns_from_its_teachers_answers() {
    let (host, training, test) =
        (TestHost::new(3), ObjectQuestions::new(2000, 1), ObjectQuestions::new(600, 2));
    let fit = |mode: &str, weight: f64| {
        let mut parameters = small(mode, 24);
        parameters["teacher"] = json!("decoder");
        parameters["teacher_weight"] = json!(weight);
        training.fit(&host, TaskKind::Classification, &parameters).unwrap()
    };
    let student = fit("two-way", 1.0);
    assert_eq!(student.notes["teacher"]["mode"], "decoder");
    let share = test.accuracy(&host, &student.graph, &[]);
    assert!(share > 0.9, "{share}");
    let pooled = fit("concat", 0.5).graph;
    assert!(pooled.input("image.tokens").is_err());
    let share = test.accuracy(&host, &pooled, &[]);
    assert!((0.45..0.65).contains(&share), "{share}");
}

/// Predictions have the units of the targets, far from zero and one.
#[test]
fn regression_answers_in_the_targets_units() {
    let (host, mut training, mut test) =
        (TestHost::new(3), ObjectQuestions::new(2000, 1), ObjectQuestions::new(200, 2));
    for world in [&mut training, &mut test] {
        world.answers.mapv_inplace(|x| 1000.0 + 50.0 * x);
    }
    let fused = training.fit(&host, TaskKind::Regression, &small("two-way", 30)).unwrap();
    let numbers = &test.run(&host, &fused.graph, &[])["logits"];
    let error = (numbers - &test.answers).mapv(|x| x * x).mean().unwrap().sqrt();
    // the mean alone misses by 50 sqrt(2)/3 = 23.6
    assert!(error < 12.0, "{error}");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let training = ObjectQuestions::new(80, 1);
    let fit = |seed| {
        let fused =
            training.fit(&TestHost::new(seed), TaskKind::Classification, &small("two-way", 2)).unwrap();
        fused.graph.to_bytes().unwrap()
    };
    assert_eq!(fit(1), fit(1));
    assert_ne!(fit(1), fit(2));
}

#[test]
fn invalid_requests_are_refused_with_a_correction() {
    let (host, mut world) = (TestHost::new(1), ObjectQuestions::new(40, 1));
    let refused = |world: &ObjectQuestions, parameters: Json| {
        world.fit(&host, TaskKind::Classification, &parameters).unwrap_err().message().to_owned()
    };
    for (parameters, words) in [
        (json!({ "heads": 3 }), "divisor of `width` = 128, got 3"),
        (json!({ "mode": "one-way", "query": "sound" }), "expected one of image, text, got sound"),
        (json!({ "mode": "sum" }), "`mode`: expected one of decoder"),
        (json!({ "dropout": 1.5 }), "`dropout`: expected a number from 0 to 0.95, got 1.5"),
    ] {
        let message = refused(&world, parameters);
        assert!(message.contains(words), "expected `{words}` in: {message}");
    }
    let spec = FusionSpec { task: None, ..ObjectQuestions::spec(TaskKind::Classification) };
    let error = CrossAttentionFusion::fit_json(&spec, &Inputs::of(&[]), &json!({}), &Services::of(&host))
        .unwrap_err();
    assert!(error.message().contains("needs a task"), "{error}");
    // one token a picture: one-way has a single key, two-way still has the words
    world.pictures = world.pictures.slice_axis(Axis(1), (..1).into()).to_owned();
    let message = refused(&world, small("one-way", 1));
    assert!(message.contains("softmax over one key") && message.contains("concat"), "{message}");
    world.fit(&host, TaskKind::Classification, &small("two-way", 1)).unwrap();
    assert!(
        host.messages.lock().unwrap().iter().any(|said| said.contains("text would attend to a single token"))
    );
    let parameters = json!({ "mode": "mean", "teacher": "late" });
    let error = world.fit(&host, TaskKind::Regression, &parameters).unwrap_err();
    assert!(error.message().contains("`teacher`: expected a classification"), "{error}");
    world.answers[[3, 0]] = f32::NAN;
    let message = refused(&world, small("two-way", 1));
    assert!(message.contains("row 3"), "{message}");
}
