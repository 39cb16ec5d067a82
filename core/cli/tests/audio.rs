//! Audio encoders from cards: windows, inner tensors, and a front-end graph inside the merged model.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_graph::{Attr, Builder, DType, Dim, Graph, Tensor};
use common::{RandomNumbers, Sandbox, npy, project};
use serde_json::Value;

/// A constant of seeded numbers.
fn weights(b: &mut Builder, name: &str, shape: &[usize], seed: u64) -> chiasm_graph::Value {
    let mut random = RandomNumbers(seed);
    let values = (0..shape.iter().product()).map(|_| 0.3 * random.next()).collect();
    b.constant(name, Tensor::f32(shape, values).unwrap())
}

/// A classifier of windows `[n, 1, 32, 20]` whose embedding, of 6 numbers, is the inner tensor that is
/// returned.
fn classifier() -> (Graph, String) {
    let mut b = Builder::new("classifier");
    let x = b.input("mel", DType::F32, &[Dim::named("n"), 1.into(), 32.into(), 20.into()]).unwrap();
    let kernel = weights(&mut b, "kernel", &[6, 1, 32, 5], 1);
    let map = b.op("Conv", &[&x, &kernel], &[]);
    let map = b.relu(&map);
    let pooled = b.op("GlobalAveragePool", &[&map], &[]);
    let embedding = b.squeeze(&pooled, &[2, 3]);
    let head = weights(&mut b, "head", &[6, 3], 2);
    let logits = b.matmul(&embedding, &head);
    let classes = b.softmax(&logits, 1);
    b.output("classes", &classes, DType::F32, &[Dim::named("n"), 3.into()]);
    let name = embedding.name().to_owned();
    (b.finish().unwrap(), name)
}

/// A front-end whose values depend on the largest of its whole input, and an embedding `[n, 10, 4]` to `[n,
/// 5]`.
fn two_graphs() -> [Graph; 2] {
    let mut b = Builder::new("front");
    let x = b.input("samples", DType::F32, &[Dim::named("n"), Dim::named("samples")]).unwrap();
    let x = b.unsqueeze(&x, &[1]);
    let kernel = weights(&mut b, "kernel", &[4, 1, 80], 3);
    let map = b.op("Conv", &[&x, &kernel], &[("strides", Attr::Ints(vec![40]))]);
    let largest = b.op("ReduceMax", &[&map], &[("keepdims", Attr::Int(0))]);
    let below = b.sub(&map, &largest);
    b.output("bands", &below, DType::F32, &[Dim::named("n"), 4.into(), Dim::named("frames")]);
    let front = b.finish().unwrap();
    let mut b = Builder::new("embedding");
    let x = b.input("frames", DType::F32, &[Dim::named("n"), 10.into(), 4.into()]).unwrap();
    let flat = b.reshape(&x, &[0, 40]);
    let kernel = weights(&mut b, "kernel", &[40, 5], 4);
    let y = b.matmul(&flat, &kernel);
    let y = b.relu(&y);
    b.output("embedding", &y, DType::F32, &[Dim::named("n"), 5.into()]);
    [front, b.finish().unwrap()]
}

/// A WAV file of 16-bit samples.
fn wav(rate: u32, samples: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|x| ((x * 32767.0) as i16).to_le_bytes()).collect();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend([rate, 2 * rate].iter().flat_map(|n| n.to_le_bytes()));
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

/// Writes two encoders with their cards, 40 recordings of different lengths, and vectors that go with them.
fn prepare(sandbox: &Sandbox) {
    let (classifier, embedding) = classifier();
    std::fs::create_dir_all(sandbox.path("onnx/two")).unwrap();
    classifier.save(sandbox.path("onnx/classifier.onnx")).unwrap();
    let [front, model] = two_graphs();
    front.save(sandbox.path("onnx/two/front.onnx")).unwrap();
    model.save(sandbox.path("onnx/two/embedding.onnx")).unwrap();
    let card = "rate = 8000\nframe = 80\nhop = 40\n";
    let add = |model: &str, name: &str, settings: &[String]| {
        let mut arguments =
            vec!["model", "add", model, "--name", name, "--into", "models", "--adapter", "audio"];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        sandbox.good(&arguments);
    };
    let set = |key: &str, value: &str| format!("preprocessing.{key}={value}");
    add(
        "onnx/classifier.onnx",
        "classifier",
        &[
            format!("ports.tokens={embedding:?}"),
            r#"ports.pooled=["mean", "std"]"#.to_owned(),
            set("rate", "8000"),
            set("frame", "200"),
            set("hop", "100"),
        ],
    );
    let shown = std::fs::read_to_string(sandbox.path("models/classifier/card.toml")).unwrap();
    assert!(shown.contains("layout = \"1mt\"") && shown.contains("window_frames = 20"), "{shown}");
    let path = sandbox.path("onnx/two/embedding.onnx");
    let sha256 = sha256(&path);
    sandbox.write(
        "models/two/card.toml",
        format!(
            "name = \"two\"\nadapter = \"audio\"\nmodel = {path:?}\nsha256 = \"{sha256}\"\n[ports]\n\
             tokens = \"embedding\"\npooled = [\"mean\", \"max\"]\n[preprocessing]\n{card}\
             front = \"front.onnx\"\n\
             front_layout = \"mt\"\nfront_scale = 2.0\nwindow_frames = 10\nwindow_hop = 5\nlayout = \"tm\"\n"
        ),
    );
    let (mut rows, mut vectors) = (String::new(), Vec::new());
    for index in 0..40_u32 {
        let pitch = 200.0 + 40.0 * f64::from(index * 7 % 40);
        let count = 3000 + 211 * (index * 13 % 40);
        let sample = |at: u32| (f64::from(at) * pitch / 8000.0 * std::f64::consts::TAU).sin() as f32;
        let samples: Vec<f32> = (0..count).map(|at| 0.02 * (1 + index) as f32 * sample(at)).collect();
        sandbox.write(&format!("sounds/{index}.wav"), wav(8000, &samples));
        let split = if index % 4 == 0 { "test" } else { "train" };
        rows +=
            &format!("{{\"sound\": \"sounds/{index}.wav\", \"pitch\": {index}, \"split\": \"{split}\"}}\n");
        let angle = pitch as f32 / 600.0;
        vectors.extend([angle.sin(), angle.cos(), (2.0 * angle).sin(), (index as f32 / 40.0) - 0.5]);
    }
    sandbox.write("pairs.jsonl", rows);
    sandbox.write("pitch.npy", npy(40, 4, &vectors));
    sandbox.write(
        "recipe.toml",
        "[encoders.sound]\nmodel = [\"classifier\", \"two\"]\n[encoders.pitch]\nvectors = \"pitch.npy\"\n\
         [data]\npairs = \"pairs.jsonl\"\n[align]\nplugin = \"ridge\"\n",
    );
}

fn sha256(path: &std::path::Path) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(std::fs::read(path).unwrap());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fit itself compares staged and merged outputs, and the weights before and after. Vectors of one file
/// must not depend on what is beside it in a batch: the front-end graph would make them so.
#[test]
fn audio_encoders_with_windows_and_two_graphs_are_merged() {
    let sandbox = Sandbox::new();
    prepare(&sandbox);
    let output = sandbox.call(&["fit", "recipe.toml", "-o", "run"]);
    assert!(matches!(output.code, Some(0 | 1)), "{}{}", output.stdout, output.stderr);
    let eval = sandbox.good(&["eval", "run", "--format", "json"]);
    assert!(eval.contains("rsum"), "{eval}");
    let run = |file: &str| -> Vec<f64> {
        let text = sandbox.good(&["run", "run", "--sound", file, "--format", "json"]);
        let value: Value = serde_json::from_str(&text).unwrap();
        numbers(&value)
    };
    let alone = run("sounds/0.wav");
    assert!(alone.len() >= 4, "{alone:?}");
    // The first row of several, of which others are longer and louder.
    let rows: String = [0, 39, 17].iter().map(|i| format!("{{\"sound\": \"sounds/{i}.wav\"}}\n")).collect();
    sandbox.write("rows.jsonl", rows);
    let text = sandbox.good(&["run", "run", "--input", "rows.jsonl", "--format", "json"]);
    let together = numbers(&serde_json::from_str(&text).unwrap());
    let same = |start: usize| {
        alone.iter().zip(&together[start..]).all(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + b.abs()))
    };
    assert!((0..=together.len() - alone.len()).any(same), "{alone:?} {together:?}");
    let output = sandbox.good(&["run", "run", "--sound", "sounds/3.wav", "--pitch", "5", "--format", "json"]);
    let [sound, pitch] = ["sounds/3.wav", "pitch.npy:5"].map(|item| sandbox.path(item).display().to_string());
    let read = sandbox.card_in_python("run", &output, &[&sound, &pitch]);
    for (name, difference) in read["differences"].as_object().unwrap() {
        // Features in double precision, and two builds of ONNX Runtime in f32.
        assert!(difference.as_f64().unwrap() < 1e-4, "{name} differs by {difference}");
    }
    sandbox.write("short.txt", "no sound");
    let arguments = ["run", "run", "--sound", "short.txt"];
    sandbox.call(&arguments).refused(arguments, &["short.txt", "expected WAV, FLAC, OGG"]);
}

/// Every number in a JSON value, in order.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Number(number) => number.as_f64().into_iter().collect(),
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        Value::Object(fields) => fields.values().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

/// Both real audio encoders on ESC-10, each as a modality: the same clip is seen by both.
#[test]
fn the_real_audio_encoders_are_merged() {
    let Some(clips) = chiasm_testing::real_data("esc10/audio_16k_ogg") else { return };
    let real = chiasm_testing::real_folder();
    let sandbox = Sandbox::new();
    let mut rows = String::new();
    let mut folders: Vec<_> = std::fs::read_dir(clips).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders {
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for (number, file) in files.into_iter().step_by(4).enumerate() {
            let split = if number % 4 == 3 { "test" } else { "train" };
            rows += &format!("{}\n", serde_json::json!({ "sound": file, "speech": file, "split": split }));
        }
    }
    sandbox.write("pairs.jsonl", rows);
    sandbox.write(
        "recipe.toml",
        "[encoders.sound]\nmodel = \"yamnet256\"\n[encoders.speech]\nmodel = \"speech-embedding\"\n\
         [data]\npairs = \"pairs.jsonl\"\n[align]\nplugin = \"ridge\"\n",
    );
    let models = std::env::join_paths([project().join("models"), real.join("models")]).unwrap();
    let fit =
        sandbox.chiasm().env("CHIASM_MODELS", &models).args(["fit", "recipe.toml", "-o", "run"]).output();
    let output = common::CommandOutput::of(fit.unwrap());
    assert!(matches!(output.code, Some(0 | 1)), "{}{}", output.stdout, output.stderr);
    let metrics = std::fs::read_to_string(sandbox.path("run/metrics.json")).unwrap();
    assert!(metrics.contains("rsum"), "{metrics}");
}

/// An encoder that averages over some axes of its input, and a map of the rest to six numbers.
fn averages(dims: &[Dim], axes: Vec<i64>, width: usize) -> Graph {
    let mut b = Builder::new("averages");
    let x = b.input("features", DType::F32, dims).unwrap();
    let mean = b.op("ReduceMean", &[&x], &[("axes", Attr::Ints(axes)), ("keepdims", Attr::Int(0))]);
    let kernel = weights(&mut b, "kernel", &[width, 6], 5);
    let y = b.matmul(&mean, &kernel);
    b.output("embedding", &y, DType::F32, &[Dim::named("n"), 6.into()]);
    b.finish().unwrap()
}

/// The program of the model card against the adapter, for the conventions of librosa, of Kaldi and of a
/// waveform. The adapter itself is tested against those libraries.
#[test]
fn a_card_prepares_recordings_in_python() {
    let free = Dim::named("t");
    let cases = [
        (
            averages(&[Dim::named("n"), 1.into(), free.clone(), 24.into()], vec![1, 2], 24),
            "pooled = \"embedding\"",
            "features = \"log-mel\"\nframe = 200\nhop = 80\nfft = 256\nwindow_place = \"middle\"\n\
             centre = \"reflect\"\nmels = 24\nmel_scale = \"slaney\"\nmel_norm = \"slaney\"\nlog = \"db\"\n\
             log_floor = 1e-10\nrange = 80.0\nmean = -40.0\nstd = 20.0\nseconds = 0.5\nlayout = \"1tm\"\n",
        ),
        (
            averages(&[Dim::named("n"), 1.into(), 24.into(), 20.into()], vec![1, 3], 24),
            "tokens = \"embedding\"\npooled = [\"mean\", \"max\"]",
            "features = \"log-mel\"\nframe = 200\nhop = 80\nscale = 32768.0\nwindow = \"povey\"\n\
             remove_mean = true\npreemphasis = 0.97\nmels = 24\nf_min = 20.0\nf_max = 3800.0\n\
             mel_sides = \"mel\"\nlog_floor = 1e-6\nshort = \"repeat\"\nwindow_frames = 20\nwindow_hop = 8\n\
             layout = \"1mt\"\n",
        ),
        (
            averages(&[Dim::named("n"), 1.into(), 4000.into()], vec![1], 4000),
            "pooled = \"embedding\"",
            "seconds = 0.5\nstandardise = \"recording\"\nlayout = \"1t\"\n",
        ),
    ];
    let sandbox = Sandbox::new();
    prepare(&sandbox);
    let recipe = "[encoders.sound]\nmodel = \"averages\"\n[encoders.pitch]\nvectors = \"pitch.npy\"\n\
                  [data]\npairs = \"pairs.jsonl\"\n[align]\nplugin = \"procrustes\"\n";
    sandbox.write("recipe.toml", recipe);
    for (model, ports, table) in cases {
        std::fs::create_dir_all(sandbox.path("models/averages")).unwrap();
        let path = sandbox.path("models/averages/model.onnx");
        model.save(&path).unwrap();
        let sha256 = sha256(&path);
        let card = format!(
            "name = \"averages\"\nadapter = \"audio\"\nmodel = \"model.onnx\"\nsha256 = \"{sha256}\"\n\
             [ports]\n{ports}\n[preprocessing]\nrate = 8000\n{table}"
        );
        sandbox.write("models/averages/card.toml", card);
        let fitted = sandbox.call(&["fit", "recipe.toml", "-o", "run"]);
        assert!(matches!(fitted.code, Some(0 | 1)), "{}{}", fitted.stdout, fitted.stderr);
        // A short recording, which is filled up, and a long one.
        for name in ["sounds/0.wav", "sounds/3.wav"] {
            let output = sandbox.good(&["run", "run", "--sound", name, "--pitch", "5", "--format", "json"]);
            let [sound, pitch] = [name, "pitch.npy:5"].map(|item| sandbox.path(item).display().to_string());
            let read = sandbox.card_in_python("run", &output, &[&sound, &pitch]);
            for (name, difference) in read["differences"].as_object().unwrap() {
                assert!(difference.as_f64().unwrap() < 1e-4, "{table}: {name} differs by {difference}");
            }
        }
    }
}
