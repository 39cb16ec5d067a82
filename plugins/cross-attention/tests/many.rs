//! Three and four modalities, hidden and absent ones included, in a real engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the data of aligners is of no use here")]
#[path = "../../mlp/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;

use chiasm_cross_attention::CrossAttentionFusion;
use chiasm_plugin::graph::{Graph, Tensor};
use chiasm_plugin::ndarray::{Array2, Array3, ArrayView1, Axis};
use chiasm_plugin::{
    Fused, Fusion, FusionSpec, Inputs, Json, Modality, ServiceBackend, Services, Task, TaskKind, json,
};
use common::TestHost;

const NAMES: [&str; 4] = ["image", "text", "sound", "depth"];
/// Length of a token of each modality, and tokens of a row.
const WIDTHS: [usize; 4] = [5, 7, 6, 4];
const LENGTHS: [usize; 4] = [4, 3, 5, 2];
const CLASSES: usize = 3;
const MODES: [&str; 10] =
    ["decoder", "one-way", "two-way", "gated", "latent", "concat", "mean", "gated-sum", "bilinear", "late"];

/// Rows of some modalities. The class is marked on one token of the sound; everything else is noise.
#[derive(Clone)]
struct MarkedSounds {
    tokens: Vec<Array3<f32>>,
    masks: Vec<Array2<f32>>,
    target: Array2<f32>,
}

/// A small random generator, so that the test data depend on nothing else.
struct MarkedSoundsRandom(u64);

impl MarkedSoundsRandom {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }
}

impl MarkedSounds {
    fn new(modalities: usize, rows: usize, seed: u64) -> Self {
        let mut dice = MarkedSoundsRandom(seed);
        let mut tokens: Vec<Array3<f32>> = (0..modalities)
            .map(|at| {
                Array3::from_shape_simple_fn((rows, LENGTHS[at], WIDTHS[at]), || {
                    dice.below(1000) as f32 / 1000.0 - 0.5
                })
            })
            .collect();
        let mut target = Array2::zeros((rows, CLASSES));
        for row in 0..rows {
            let (class, place) = (dice.below(CLASSES), dice.below(LENGTHS[2]));
            target[[row, class]] = 1.0;
            tokens[2][[row, place, class]] += 4.0;
        }
        let masks = (0..modalities).map(|at| Array2::ones((rows, LENGTHS[at]))).collect();
        Self { tokens, masks, target }
    }

    /// Takes a modality away from every row that `chosen` accepts; what stands there is noise of another
    /// size.
    fn hide(&mut self, modality: usize, chosen: impl Fn(usize) -> bool) {
        for row in (0..self.target.nrows()).filter(|row| chosen(*row)) {
            self.masks[modality].row_mut(row).fill(0.0);
            self.tokens[modality].index_axis_mut(Axis(0), row).mapv_inplace(|x| 50.0 * x - 7.0);
        }
    }

    fn pooled(&self, modality: usize) -> Array2<f32> {
        self.tokens[modality].mean_axis(Axis(1)).unwrap()
    }

    fn spec(&self, kind: TaskKind) -> FusionSpec {
        let modality = |at: usize| Modality {
            name: NAMES[at].into(),
            pooled_dim: WIDTHS[at],
            token_dim: Some(WIDTHS[at]),
        };
        let labels = match kind {
            TaskKind::Retrieval => Vec::new(),
            _ => ["red", "green", "blue"].map(str::to_owned).to_vec(),
        };
        let modalities = (0..self.tokens.len()).map(modality).collect();
        FusionSpec { modalities, task: Some(Task { kind, labels }) }
    }

    fn fit(&self, host: &TestHost, kind: TaskKind, parameters: &Json) -> Fused {
        let count = self.tokens.len();
        let names: Vec<[String; 3]> = (0..count)
            .map(|at| ["mask", "pooled", "tokens"].map(|port| format!("{}.{port}", NAMES[at])))
            .collect();
        let pooled: Vec<Array2<f32>> = (0..count).map(|at| self.pooled(at)).collect();
        let mut matrices = vec![("target", self.target.view())];
        for (at, [mask, vector, _]) in names.iter().enumerate() {
            matrices.push((mask, self.masks[at].view()));
            matrices.push((vector, pooled[at].view()));
        }
        let tokens: Vec<_> = names
            .iter()
            .zip(&self.tokens)
            .map(|([.., name], values)| (name.as_str(), values.view().into_dyn()))
            .collect();
        let data = Inputs::of(&matrices).and(&tokens);
        CrossAttentionFusion::fit_json(&self.spec(kind), &data, parameters, &Services::of(host)).unwrap()
    }

    fn run(&self, host: &TestHost, graph: &Graph) -> BTreeMap<String, Array2<f32>> {
        let tensor = |shape: &[usize], values: Vec<f32>| Tensor::f32(shape, values).unwrap();
        let mut ports = Vec::new();
        for (at, (tokens, mask)) in self.tokens.iter().zip(&self.masks).enumerate() {
            let (name, pooled) = (NAMES[at], self.pooled(at));
            ports.push((format!("{name}.tokens"), tensor(tokens.shape(), tokens.iter().copied().collect())));
            ports.push((format!("{name}.mask"), tensor(mask.shape(), mask.iter().copied().collect())));
            ports.push((format!("{name}.pooled"), tensor(pooled.shape(), pooled.iter().copied().collect())));
        }
        let given: Vec<(&str, &Tensor)> = (ports.iter())
            .filter(|(name, _)| graph.input(name).is_ok())
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        let outputs = host.run(graph, &given).unwrap().into_iter();
        outputs
            .map(|(name, tensor)| {
                let shape = (tensor.shape()[0], tensor.shape()[1]);
                (name, Array2::from_shape_vec(shape, tensor.into_f32().unwrap()).unwrap())
            })
            .collect()
    }

    fn accuracy(&self, host: &TestHost, graph: &Graph) -> f64 {
        let logits = &self.run(host, graph)["logits"];
        let best =
            |row: ArrayView1<'_, f32>| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        let right = logits.outer_iter().zip(self.target.outer_iter()).filter(|(a, b)| best(*a) == best(*b));
        right.count() as f64 / logits.nrows() as f64
    }
}

fn small(mode: &str, epochs: u64) -> Json {
    json!({
        "mode": mode, "query": "text", "width": 16, "heads": 2, "depth": 1, "hidden": 32, "latents": 4,
        "epochs": epochs, "learning_rate": 3e-3, "dropout": 0.0, "patience": 100,
    })
}

/// Every set of hidden modalities, one a row, in every mode, with three and with four: finite answers of the
/// right shape, which do not depend on the values of a hidden modality, and attention that goes
/// to the modalities that are present.
#[test]
fn every_mode_takes_three_and_four_modalities_with_any_of_them_hidden() {
    let host = TestHost::new(5);
    for (count, mode) in [3, 4].into_iter().flat_map(|count| MODES.map(|mode| (count, mode))) {
        let is_hidden = |row: usize, at: usize| row >> at & 1 == 1;
        let mut training = MarkedSounds::new(count, 40, 4);
        let mut test = MarkedSounds::new(count, 1 << count, 6);
        for at in 0..count {
            training.hide(at, |row| row % (count + 1) == at);
            test.hide(at, |row| is_hidden(row, at));
        }
        let mut other = test.clone();
        for (row, at) in (0..1 << count).flat_map(|row| (0..count).map(move |at| (row, at))) {
            if is_hidden(row, at) {
                other.tokens[at].index_axis_mut(Axis(0), row).fill(f32::NAN);
            }
        }
        for kind in [TaskKind::Classification, TaskKind::Retrieval] {
            let graph = training.fit(&host, kind, &small(mode, 1)).graph;
            graph.verify_learned().unwrap();
            let outputs = test.run(&host, &graph);
            let answer = if kind == TaskKind::Retrieval { "fused" } else { "logits" };
            assert_eq!(outputs[answer].dim(), (1 << count, CLASSES), "{mode} {kind:?}");
            assert!(outputs.values().flatten().all(|x| x.is_finite()), "{mode} {kind:?}");
            assert_eq!(other.run(&host, &graph)[answer], outputs[answer], "{mode} {kind:?}");
            for (at, name) in NAMES[..count].iter().enumerate() {
                let Some(shares) = outputs.get(&format!("attention.{name}")) else { continue };
                for (row, shares) in shares.outer_iter().enumerate() {
                    let total = shares.sum();
                    assert_eq!(total == 0.0, is_hidden(row, at), "{mode}, row {row}: {total} of {name}");
                }
            }
        }
    }
}

/// Only the third of four modalities determines the class; the query is another one. 200 test rows: 0.7 is
/// ten standard errors above the chance of a third, near which answers stay where the sound is hidden.
#[test]
fn every_mode_uses_the_informative_modality() {
    let (host, training, test) =
        (TestHost::new(3), MarkedSounds::new(4, 600, 1), MarkedSounds::new(4, 200, 2));
    let mut silent = test.clone();
    silent.hide(2, |_| true);
    let fitted = MODES.map(|mode| {
        let graph = training.fit(&host, TaskKind::Classification, &small(mode, 15)).graph;
        (mode, test.accuracy(&host, &graph), silent.accuracy(&host, &graph))
    });
    for (mode, share, without) in fitted {
        assert!(share > 0.7, "{mode}: {share}, of {fitted:?}");
        assert!((0.15..0.5).contains(&without), "{mode}: {without} without the sound, of {fitted:?}");
    }
}
