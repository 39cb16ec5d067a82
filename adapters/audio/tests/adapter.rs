//! The adapter as a host sees it: waveforms, spectrograms, windows, a front-end graph, mistakes in cards.
#![expect(clippy::unwrap_used, reason = "test")]

mod common;

use std::path::{Path, PathBuf};

use chiasm_audio::AudioAdapter;
use chiasm_plugin::graph::{Attr, Builder, DType, Dim, Graph, Tensor};
use chiasm_plugin::{Adapter, Item, Json, json};
use common::{Encoder, engine, open, spec, tones, wav};

/// A folder for the files of one test.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("audio-{test}"));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A model whose output is the mean over one axis of its input `x` with these axes.
fn mean_over(dims: &[Dim], axis: i64, output: &[Dim]) -> Graph {
    let mut b = Builder::new("mean");
    let x = b.input("x", DType::F32, dims).unwrap();
    let sum = b.reduce_sum(&x, &[axis], false);
    let length = dims[axis as usize].fixed().unwrap_or(1);
    let mean = b.mul_scalar(&sum, 1.0 / length as f32);
    b.output("y", &mean, DType::F32, output);
    b.finish().unwrap()
}

fn values(tensor: &Tensor) -> (Vec<usize>, Vec<f32>) {
    (tensor.shape().to_vec(), tensor.as_f32().unwrap().to_vec())
}

/// f32 sums of up to a few hundred values of order one: a few roundings of 6e-8 each.
fn assert_close(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * (1.0 + b.abs());
    assert!(got.iter().zip(expected).all(close), "{got:?} is not {expected:?}");
}

/// Windows of samples: 4 frames of 2 samples, one sample apart, are 5 samples; every 2 frames a window.
#[test]
fn windows_of_a_waveform_become_tokens_with_a_mask() {
    let Some(engine) = engine() else { return };
    let here = folder("windows");
    let model = mean_over(&[Dim::named("n"), 1.into(), 5.into()], 2, &[Dim::named("n"), 1.into()]);
    let table =
        json!({ "rate": 8000, "frame": 2, "hop": 1, "window_frames": 4, "window_hop": 2, "layout": "1t" });
    let ports = json!({ "tokens": "y", "pooled": ["mean", "std", "max"] });
    let encoder = Encoder::new(engine, &model, &spec(&model, &here, ports, table));
    let long: Vec<f32> = (0..10).map(|at| at as f32).collect();
    let files = [wav(here.join("long.wav"), 8000, 1, &long), wav(here.join("short.wav"), 8000, 1, &[3.0; 3])];
    let [tokens, mask, pooled] = encoder.run(&[&files[0], &files[1]]);
    // Windows at 0, 2 and 4; the fourth would need 11 samples. The short one is filled up with two zeros.
    assert_eq!(values(&mask), (vec![2, 3], vec![1.0, 1.0, 1.0, 1.0, 0.0, 0.0]));
    assert_eq!(tokens.shape(), [2, 3, 1]);
    assert_close(&tokens.as_f32().unwrap()[..4], &[2.0, 4.0, 6.0, 1.8]);
    let deviation = (8.0_f32 / 3.0).sqrt();
    assert_eq!(pooled.shape(), [2, 3]);
    assert_close(pooled.as_f32().unwrap(), &[4.0, deviation, 6.0, 1.8, 0.0, 1.8]);
}

/// The frames of a convolution, minus the largest value of everything: such a graph gives an item other
/// values beside other items, unless it runs once for each.
fn front(bands: usize, frame: usize, hop: usize) -> Graph {
    let mut b = Builder::new("front");
    let x = b.input("samples", DType::F32, &[Dim::named("b"), Dim::named("samples")]).unwrap();
    let weights = (0..bands * frame).map(|at| ((at as f32) * 0.7).sin()).collect();
    let weights = b.constant("weights", Tensor::f32(&[bands, 1, frame], weights).unwrap());
    let x = b.unsqueeze(&x, &[1]);
    let strides = Attr::Ints(vec![hop as i64]);
    let frames = b.op("Conv", &[&x, &weights], &[("strides", strides)]);
    let largest = b.op("ReduceMax", &[&frames], &[("keepdims", Attr::Int(0))]);
    let below = b.sub(&frames, &largest);
    b.output("bands", &below, DType::F32, &[Dim::named("b"), bands.into(), Dim::named("frames")]);
    b.finish().unwrap()
}

/// What [`front`] gives for one recording, `[frames][bands]`.
fn front_by_hand(samples: &[f32], bands: usize, frame: usize, hop: usize) -> Vec<Vec<f32>> {
    let weight = |band: usize, at: usize| (((band * frame + at) as f32) * 0.7).sin();
    let starts = (0..=samples.len() - frame).step_by(hop);
    let mut frames: Vec<Vec<f32>> = starts
        .map(|start| {
            (0..bands).map(|m| (0..frame).map(|at| weight(m, at) * samples[start + at]).sum()).collect()
        })
        .collect();
    let largest = frames.iter().flatten().copied().fold(f32::MIN, f32::max);
    frames.iter_mut().flatten().for_each(|value| *value -= largest);
    frames
}

#[test]
fn a_front_end_graph_runs_first_and_each_recording_for_itself() {
    let Some(engine) = engine() else { return };
    let here = folder("front");
    front(3, 8, 4).save(here.join("front.onnx")).unwrap();
    let dims = [Dim::named("n"), 5.into(), 3.into(), 1.into()];
    let model = mean_over(&dims, 1, &[Dim::named("n"), 3.into(), 1.into()]);
    let table = json!({
        "rate": 16000, "scale": 2.0, "front": "front.onnx", "front_layout": "mt", "front_scale": 0.5,
        "front_offset": 1.0, "frame": 8, "hop": 4, "window_frames": 5, "window_hop": 3, "layout": "tm1",
    });
    let encoder = Encoder::new(engine, &model, &spec(&model, &here, json!({ "tokens": "y" }), table));
    let loud: Vec<f32> = tones(16_000, 0.004);
    let quiet: Vec<f32> = tones(16_000, 0.003).iter().map(|sample| 0.01 * sample).collect();
    let files =
        [wav(here.join("loud.wav"), 16_000, 1, &loud), wav(here.join("quiet.wav"), 16_000, 1, &quiet)];
    let [tokens, mask, _] = encoder.run(&[&files[0], &files[1]]);
    let mut expected = Vec::new();
    for samples in [&loud, &quiet] {
        let scaled: Vec<f32> = samples.iter().map(|sample| 2.0 * sample).collect();
        let frames = front_by_hand(&scaled, 3, 8, 4);
        let windows: Vec<Vec<f32>> = (0..=frames.len() - 5)
            .step_by(3)
            .map(|start| {
                let mean = |m: usize| frames[start..start + 5].iter().map(|f| f[m]).sum::<f32>() / 5.0;
                (0..3).map(|m| 0.5 * mean(m) + 1.0).collect()
            })
            .collect();
        expected.push(windows);
    }
    assert_eq!([expected[0].len(), expected[1].len()], [4, 3]);
    assert_eq!(values(&mask), (vec![2, 4], vec![1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]));
    let got = tokens.as_f32().unwrap();
    assert_close(&got[..12], &expected[0].concat());
    assert_close(&got[12..21], &expected[1].concat());
    assert_close(&encoder.pooled(&files[1]), &values(&encoder.run(&[&files[0], &files[1]])[2]).1[3..]);
}

#[test]
fn a_whole_waveform_has_one_token_for_each_frame() {
    let Some(engine) = engine() else { return };
    let here = folder("frames");
    let mut b = Builder::new("model");
    let x = b.input("x", DType::F32, &[Dim::named("n"), Dim::named("samples")]).unwrap();
    let x = b.unsqueeze(&x, &[1]);
    let weights = b.constant("w", Tensor::f32(&[2, 1, 3], vec![1.0, 0.0, 0.0, 0.0, 0.0, 1.0]).unwrap());
    let y = b.op("Conv", &[&x, &weights], &[("strides", Attr::Ints(vec![2]))]);
    let y = b.transpose(&y, &[0, 2, 1]);
    b.output("y", &y, DType::F32, &[Dim::named("n"), Dim::named("t"), 2.into()]);
    let model = b.finish().unwrap();
    let table = json!({ "rate": 8000, "frame": 3, "hop": 2 });
    let encoder = Encoder::new(engine, &model, &spec(&model, &here, json!({ "tokens": "y" }), table));
    let files = [
        wav(here.join("six.wav"), 8000, 1, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        wav(here.join("three.wav"), 8000, 1, &[7.0, 8.0, 9.0]),
    ];
    let [tokens, mask, pooled] = encoder.run(&[&files[0], &files[1]]);
    assert_eq!(values(&mask), (vec![2, 2], vec![1.0, 1.0, 1.0, 0.0]));
    assert_close(&tokens.as_f32().unwrap()[..6], &[1.0, 3.0, 3.0, 5.0, 7.0, 9.0]);
    assert_close(pooled.as_f32().unwrap(), &[2.0, 4.0, 7.0, 9.0]);
}

fn prepared(adapter: &AudioAdapter, path: &Path) -> Vec<f32> {
    adapter.prepare(Item::Path(path)).unwrap().remove(0).into_f32().unwrap()
}

/// Tones below 7 kHz. The bands end at 7 kHz, where the resampler is flat; the natural logarithms, of
/// magnitudes plus 1e-3, may differ by 0.01.
#[test]
fn stereo_at_48_khz_gives_what_mono_at_16_khz_gives() {
    let here = folder("stereo");
    let (mono, high) = (tones(16_000, 1.0), tones(48_000, 1.0));
    let side = |at: usize| 0.1 * (at as f32 * 0.05).sin();
    let stereo: Vec<f32> = high.iter().enumerate().flat_map(|(at, x)| [x + side(at), x - side(at)]).collect();
    let mono = wav(here.join("mono.wav"), 16_000, 1, &mono);
    let stereo = wav(here.join("stereo.wav"), 48_000, 2, &stereo);
    let model = mean_over(&[Dim::named("n"), 40.into(), Dim::named("t")], 1, &[Dim::named("n"), 40.into()]);
    let table = json!({
        "rate": 16000, "features": "log-mel", "frame": 400, "hop": 160, "mels": 40, "f_max": 7000.0,
        "spectrum": "magnitude", "log_offset": 1e-3, "seconds": 1.0,
    });
    let adapter = open(&spec(&model, &here, json!({ "pooled": "y" }), table)).unwrap();
    let (a, b) = (prepared(&adapter, &mono), prepared(&adapter, &stereo));
    assert_eq!((a.len(), b.len()), (40 * 98, 40 * 98));
    let difference = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("largest difference {difference}");
    assert!(difference < 0.01, "{difference}");
}

#[test]
fn samples_are_scaled_standardised_repeated_and_cut() {
    let here = folder("samples");
    let file = wav(here.join("four.wav"), 8000, 1, &[0.5, -0.5, 0.25, 0.0]);
    let model = mean_over(&[Dim::named("n"), Dim::named("t")], 1, &[Dim::named("n"), 1.into()]);
    let read = |table: Json| {
        let adapter = open(&spec(&model, &here, json!({ "pooled": "y" }), table)).unwrap();
        prepared(&adapter, &file)
    };
    assert_eq!(
        read(json!({ "rate": 8000, "scale": 32768.0, "seconds": 0.000375 })),
        [16384.0, -16384.0, 8192.0]
    );
    let mean = 0.0625_f32;
    let deviation = ((0.25_f32 + 0.25 + 0.0625) / 4.0 - mean * mean + 1e-7).sqrt();
    let standardised = read(json!({ "rate": 8000, "standardise": "recording", "seconds": 0.000625 }));
    assert_close(&standardised, &[0.5, -0.5, 0.25, 0.0, mean].map(|x| (x - mean) / deviation));
    assert_eq!(standardised[4], 0.0); // filled up after it was standardised
    let window = mean_over(&[Dim::named("n"), 6.into()], 1, &[Dim::named("n"), 1.into()]);
    let table = json!({ "rate": 8000, "frame": 1, "hop": 1, "window_frames": 6, "short": "repeat" });
    let adapter = open(&spec(&window, &here, json!({ "tokens": "y" }), table)).unwrap();
    assert_eq!(prepared(&adapter, &file), [0.5, -0.5, 0.25, 0.0, 0.5, -0.5]);
}

/// Opens a card for a model `[n, 1, 64, 96]` with the table of YAMNet, changed.
fn refused(changes: Json, ports: Json) -> String {
    let dims = [Dim::named("n"), 1.into(), 64.into(), 96.into()];
    let model = mean_over(&dims, 3, &[Dim::named("n"), 1.into(), 64.into()]);
    let mut table = json!({
        "rate": 16000, "features": "log-mel", "frame": 400, "hop": 160, "mels": 64, "log_offset": 0.01,
        "window_frames": 96, "window_hop": 48, "layout": "1mt",
    });
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Json::Null => drop(table.as_object_mut().unwrap().remove(key)),
            value => table[key] = value.clone(),
        }
    }
    open(&spec(&model, &folder("refused"), ports, table)).err().unwrap_or_default()
}

#[test]
fn mistakes_in_a_card_are_refused_with_the_key() {
    let tokens = json!({ "tokens": "y" });
    assert_eq!(refused(json!({}), tokens.clone()), "");
    for (changes, words) in [
        (json!({ "raet": 3 }), "unknown field `raet`"),
        (json!({ "rate": 0 }), "rate must be 1..768000"),
        (json!({ "layout": "1tm" }), "makes f32[batch, 1, 96, 64], but the model has x f32[n, 1, 64, 96]"),
        (json!({ "layout": "1mx" }), "layout must have one `t`"),
        (json!({ "mels": 40 }), "check layout, mels"),
        (json!({ "hop": null }), "frame and hop belong together"),
        (json!({ "fft": 256 }), "fft must be 400 (frame)"),
        (json!({ "f_max": 9000.0 }), "half the rate, 8000"),
        (json!({ "log_offset": 0.0 }), "the logarithm of silence is infinite"),
        (json!({ "window_frames": null }), "window_hop needs window_frames"),
        (json!({ "window_hop": 0 }), "window_hop must be"),
        (json!({ "mean": [1.0, 2.0] }), "a list of 64, got a list of 2"),
        (json!({ "std": 0.0 }), "std positive"),
        (json!({ "seconds": -1.0 }), "seconds must be a positive number"),
        (json!({ "front": "none.onnx" }), "remove features"),
        (json!({ "front": "none.onnx", "features": null, "mels": 64 }), "none.onnx"),
        (json!({ "window_frames": null, "window_hop": null }), "makes f32[batch, 1, 64, any]"),
    ] {
        let message = refused(changes.clone(), tokens.clone());
        assert!(message.contains(words), "{changes}: {message}");
    }
    let message = refused(json!({}), json!({ "pooled": "y" }));
    assert!(message.contains("once for each window"), "{message}");
    let message = refused(json!({}), json!({ "tokens": "y", "pooled": "y" }));
    assert!(message.contains("expected poolings"), "{message}");
    let message = refused(json!({}), json!({ "tokens": "z" }));
    assert!(message.contains("no such output or inner tensor"), "{message}");
}

#[test]
fn recordings_of_any_length_need_a_mask_or_one_length() {
    let here = folder("lengths");
    let model = mean_over(&[Dim::named("n"), Dim::named("t")], 1, &[Dim::named("n"), 1.into()]);
    let refused = |table: Json| open(&spec(&model, &here, json!({ "pooled": "y" }), table)).err().unwrap();
    assert!(refused(json!({ "rate": 8000 })).contains("set frame and hop"));
    assert!(refused(json!({ "rate": 8000, "frame": 4, "hop": 2 })).contains("would change with the padding"));
    let adapter =
        open(&spec(&model, &here, json!({ "pooled": "y" }), json!({ "rate": 8000, "seconds": 1.0 })));
    let adapter = adapter.unwrap();
    let error = adapter.prepare(Item::Path(&here.join("none.wav"))).unwrap_err();
    assert!(error.message().contains("none.wav: cannot be read"), "{error}");
    assert!(adapter.prepare(Item::Text("a")).is_err());
}

#[test]
fn drafts_name_the_axes_of_the_input() {
    let draft = |model: &Graph, directory: &Path| {
        AudioAdapter::draft(&chiasm_plugin::Signature::of(model), directory).unwrap()
    };
    let here = folder("draft");
    let dims = [Dim::named("n"), 1.into(), 64.into(), 96.into()];
    let yamnet = mean_over(&dims, 3, &[Dim::named("n"), 1.into(), 64.into()]);
    let card = draft(&yamnet, &here).unwrap();
    assert_eq!((&card.preprocessing["layout"], &card.preprocessing["mels"]), (&json!("1mt"), &json!(64)));
    assert_eq!((&card.preprocessing["window_frames"], &card.ports["tokens"]), (&json!(96), &json!("y")));
    open(&spec(&yamnet, &here, card.ports, card.preprocessing)).unwrap();

    let here = folder("draft-front");
    front(32, 512, 160).save(here.join("melspectrogram.onnx")).unwrap();
    let dims = [Dim::named("n"), 76.into(), 32.into(), 1.into()];
    let speech = mean_over(&dims, 1, &[Dim::named("n"), 32.into(), 1.into()]);
    let card = draft(&speech, &here).unwrap();
    assert_eq!(
        (&card.preprocessing["layout"], &card.preprocessing["front"]),
        (&json!("tm1"), &json!("melspectrogram.onnx"))
    );

    let wave = mean_over(&[Dim::named("n"), Dim::named("samples")], 1, &[Dim::named("n"), 1.into()]);
    assert_eq!(draft(&wave, &here).unwrap().preprocessing["layout"], "t");
    for dims in [vec![Dim::named("n"), 768.into()], vec![Dim::named("n"), Dim::named("k")]] {
        let vectors = mean_over(&dims, 1, &[Dim::named("n"), 1.into()]);
        assert!(draft(&vectors, &here).is_none(), "a model of vectors is not an audio model");
    }
    let pixels = [Dim::named("n"), 3.into(), 224.into(), 224.into()];
    let pixels = mean_over(&pixels, 1, &[Dim::named("n"), 224.into(), 224.into()]);
    assert!(draft(&pixels, &here).is_none());
}
