//! The cards in models/ on real recordings: against soundfile, librosa or NumPy and the engine
//! (tests/reference/real.py), and as features of a linear probe. Skipped where the models, the recordings or
//! an engine are missing.
#![expect(clippy::unwrap_used, reason = "test")]

mod common;

use std::path::{Path, PathBuf};

use chiasm_audio::decode::{Recording, decode_file};
use chiasm_audio::resample::resample;
use chiasm_plugin::Json;
use chiasm_testing::real_data;
use common::{Encoder, cosine, engine, wav};

const CARDS: [&str; 2] = ["yamnet256", "speech-embedding"];

/// Decoders and resamplers differ below a 16-bit level; the vectors differ by roundings of the engine.
#[test]
fn the_cards_embed_as_python_does() {
    let (Some(models), Some(engine)) = (real_data("models/yamnet256"), engine()) else { return };
    let real = models.parent().unwrap().parent().unwrap();
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    let golden = std::fs::read(reference.join("real.bin")).unwrap();
    let cases: Vec<Json> =
        serde_json::from_str(&std::fs::read_to_string(reference.join("real.json")).unwrap()).unwrap();
    for name in CARDS {
        let encoder = Encoder::of_card(engine, &real.join("models"), name);
        let (mut least, mut count) = (1.0_f64, 0);
        for case in cases.iter().filter(|case| case["model"] == name) {
            let recording = real.join(case["recording"].as_str().unwrap());
            let bytes = &golden[case["offset"].as_u64().unwrap() as usize..];
            let bytes = &bytes[..4 * case["dim"].as_u64().unwrap() as usize];
            let expected: Vec<f32> =
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            let cosine = cosine(&encoder.pooled(&recording), &expected);
            assert!(cosine > 0.9999, "{name} {}: cosine {cosine}", recording.display());
            least = least.min(cosine);
            count += 1;
        }
        assert!(count >= 6);
        println!("{name}: least cosine {least:.7} over {count} recordings");
    }
}

/// A clip of 16 kHz, resampled to 48 kHz and written as two equal channels, against the clip itself. The way
/// up and down again changes what lies above 7.5 kHz.
#[test]
fn stereo_at_48_khz_is_embedded_as_mono_at_16_khz() {
    let (Some(clips), Some(engine)) = (real_data("esc10"), engine()) else { return };
    let models = clips.parent().unwrap().join("models");
    let clips = recordings(&clips);
    for name in CARDS {
        let encoder = Encoder::of_card(engine, &models, name);
        for (path, _, _) in clips.iter().step_by(57) {
            let mono = decode_file(path, 60.0).unwrap();
            assert_eq!(mono.rate, 16_000);
            let samples = resample(Recording { rate: 16_000, samples: mono.samples }, 48_000).unwrap();
            let both: Vec<f32> = samples.iter().flat_map(|sample| [*sample; 2]).collect();
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-48.wav"));
            let stereo = encoder.pooled(&wav(file, 48_000, 2, &both));
            let cosine = cosine(&encoder.pooled(path), &stereo);
            println!("{name} {}: {cosine:.6}", path.display());
            assert!(cosine > 0.999, "{name} {}: cosine {cosine}", path.display());
        }
    }
}

/// Recordings of one batch get the vectors that they get alone, within roundings of the engine.
#[test]
fn a_batch_gives_what_single_recordings_give() {
    let (Some(clips), Some(engine)) = (real_data("esc10"), engine()) else { return };
    let models = clips.parent().unwrap().join("models");
    let paths: Vec<PathBuf> = recordings(&clips).into_iter().step_by(45).map(|(path, _, _)| path).collect();
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    for name in CARDS {
        let encoder = Encoder::of_card(engine, &models, name);
        let [_, _, all] = encoder.run(&paths);
        let dim = all.shape()[1];
        for (row, path) in all.as_f32().unwrap().chunks_exact(dim).zip(&paths) {
            for (a, b) in row.iter().zip(encoder.pooled(path)) {
                assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{name} {}: {a} {b}", path.display());
            }
        }
    }
}

/// Ten classes, five folds. The probe is a multinomial logistic regression on standardised features, with
/// `|W|^2 / 2` added to the sum of the losses, on the pooled vector of `yamnet256` and the mean of the tokens
/// of `speech-embedding`. With the same features scikit-learn's (C = 1) has .945 and .8425. One clip is
/// .0025; the standard errors are .01 and .02.
#[test]
fn a_linear_probe_reaches_the_known_accuracies_on_esc10() {
    let (Some(clips), Some(engine)) = (real_data("esc10"), engine()) else { return };
    let models = clips.parent().unwrap().join("models");
    let clips = recordings(&clips);
    assert_eq!(clips.len(), 400);
    for (name, dims, known) in [("yamnet256", 512, 0.945), ("speech-embedding", 96, 0.8425)] {
        let encoder = Encoder::of_card(engine, &models, name);
        let features: Vec<Vec<f32>> =
            clips.iter().map(|(path, _, _)| encoder.pooled(path)[..dims].to_vec()).collect();
        let right: usize = (1..=5).map(|fold| probe(&features, &clips, fold)).sum();
        let accuracy = right as f64 / clips.len() as f64;
        println!("{name}: accuracy {accuracy:.4}");
        assert!(accuracy >= known - 0.0051, "{name}: {accuracy}");
    }
}

/// Every clip with its class and its fold.
fn recordings(folder: &Path) -> Vec<(PathBuf, usize, u32)> {
    let list = |folder: &Path| {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let classes = list(&folder.join("audio_16k_ogg"));
    let clips = classes.iter().enumerate().flat_map(|(class, folder)| {
        list(folder).into_iter().map(move |path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (path, class, name[..1].parse().unwrap())
        })
    });
    clips.collect()
}

/// Returns the number of clips of a fold that a probe fitted on the other folds classifies rightly.
fn probe(features: &[Vec<f32>], clips: &[(PathBuf, usize, u32)], fold: u32) -> usize {
    let (test, train): (Vec<usize>, Vec<usize>) = (0..clips.len()).partition(|at| clips[*at].2 == fold);
    let moments: Vec<(f64, f64)> = (0..features[0].len())
        .map(|column| {
            let values: Vec<f64> = train.iter().map(|at| f64::from(features[*at][column])).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
            (mean, variance.sqrt().max(1e-9))
        })
        .collect();
    let scaled = |at: &usize| -> Vec<f64> {
        features[*at].iter().zip(&moments).map(|(v, (mean, std))| (f64::from(*v) - mean) / std).collect()
    };
    let x: Vec<Vec<f64>> = train.iter().map(scaled).collect();
    let classes: Vec<usize> = train.iter().map(|at| clips[*at].1).collect();
    let (weights, bias) = logistic(&x, &classes);
    let hit = |at: &usize| {
        let near: Vec<f64> = x.iter().map(|row| dot(row, &scaled(at))).collect();
        let scores = scores(&near, &weights, &bias);
        let best = (0..10).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
        best == clips[*at].1
    };
    test.iter().filter(|at| hit(at)).count()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

type Classes = [f64; 10];

/// The scores of a row whose products with the training rows are `near`.
fn scores(near: &[f64], weights: &[Classes], bias: &Classes) -> Classes {
    let mut scores = *bias;
    for (product, weight) in near.iter().zip(weights) {
        (0..10).for_each(|class| scores[class] += product * weight[class]);
    }
    scores
}

/// Fits the regression by accelerated gradient descent. Its matrix W is a sum of training rows, of which the
/// weights are returned, with the biases. Descent on W is descent on the weights with the gradient
/// `probabilities - targets + weights`.
fn logistic(x: &[Vec<f64>], classes: &[usize]) -> (Vec<Classes>, Classes) {
    let products: Vec<Vec<f64>> = x.iter().map(|a| x.iter().map(|b| dot(a, b)).collect()).collect();
    let mut direction = vec![1.0; x.len()];
    let mut largest = 1.0;
    for _ in 0..50 {
        direction = products.iter().map(|row| dot(row, &direction) / largest).collect();
        largest *= dot(&direction, &direction).sqrt();
        let norm = dot(&direction, &direction).sqrt();
        direction.iter_mut().for_each(|value| *value /= norm);
    }
    // The loss has curvature of at most half the largest eigenvalue, plus one of the penalty.
    let step = 1.0 / (0.6 * largest + 1.0);
    let momentum = (1.0 - step.sqrt()) / (1.0 + step.sqrt());
    let (mut weights, mut bias) = (vec![[0.0; 10]; x.len()], [0.0; 10]);
    let (mut ahead, mut ahead_bias) = (weights.clone(), bias);
    for _ in 0..800 {
        let mut bias_gradient = [0.0; 10];
        let mut next = Vec::with_capacity(x.len());
        for ((row, class), own) in products.iter().zip(classes).zip(&ahead) {
            let scores = scores(row, &ahead, &ahead_bias);
            let largest = scores.iter().copied().fold(f64::MIN, f64::max);
            let powers = scores.map(|score| (score - largest).exp());
            let total: f64 = powers.iter().sum();
            let mut weight = *own;
            for at in 0..10 {
                let error = powers[at] / total - f64::from(u8::from(at == *class));
                weight[at] -= step * (error + own[at]);
                bias_gradient[at] += error;
            }
            next.push(weight);
        }
        let next_bias: Classes = std::array::from_fn(|at| ahead_bias[at] - step * bias_gradient[at]);
        let beyond = |new: f64, old: f64| new + momentum * (new - old);
        ahead =
            next.iter().zip(&weights).map(|(n, w)| std::array::from_fn(|at| beyond(n[at], w[at]))).collect();
        ahead_bias = std::array::from_fn(|at| beyond(next_bias[at], bias[at]));
        (weights, bias) = (next, next_bias);
    }
    (weights, bias)
}
