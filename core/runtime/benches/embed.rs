//! Embeds 1000 pictures and 5000 captions with real encoders, and compares with a Python script
//! (`peer_embed.py`).
//!
//! `cargo bench -p chiasm-runtime --profile dev --bench embed -- [--only text|image] [--threads N]
//! [--replicas N] [--rows N] [--steps N] [--bytes N] [--rounds N] [--peer PYTHON]`. With `--peer`, rounds of
//! both alternate and the best of each is compared, since other work on the machine only ever adds time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use chiasm_graph::{DType, Tensor};
use chiasm_runtime::{
    BadItemPolicy, BatchLimits, Device, EmbedOptions, EmbedReport, EmbedRequest, Engine, EngineSearch,
    ItemInput, SessionOptions, embed_all,
};
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer, images::Image};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

struct Arguments(BTreeMap<String, String>);

impl Arguments {
    fn read() -> Self {
        let words: Vec<String> = std::env::args().skip(1).filter(|w| w != "--bench").collect();
        Self(words.chunks(2).map(|w| (w[0].clone(), w.get(1).cloned().unwrap_or_default())).collect())
    }

    fn number(&self, name: &str, otherwise: usize) -> usize {
        self.0.get(name).and_then(|v| v.parse().ok()).unwrap_or(otherwise)
    }
}

fn main() -> Fallible<()> {
    let arguments = Arguments::read();
    let real = std::env::var_os("CHIASM_REAL").map_or_else(|| "../../../shared/real".into(), PathBuf::from);
    if !real.is_dir() {
        say(&format!("skipped: no real models and pairs at {}", real.display()));
        return Ok(());
    }
    let engine = Engine::open(&EngineSearch::from_environment(None))?;
    say(&format!("engine {:?}", engine.found()));
    for what in ["text", "image"] {
        if arguments.0.get("--only").is_none_or(|only| only == what) {
            compare(engine, what, &real, &arguments)?;
        }
    }
    Ok(())
}

fn compare(engine: &Engine, what: &str, real: &Path, arguments: &Arguments) -> Fallible<()> {
    let (mut ours, mut peer) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..arguments.number("--rounds", 1) {
        let report =
            if what == "text" { text(engine, real, arguments)? } else { image(engine, real, arguments)? };
        ours = ours.min(report.wall.as_secs_f64());
        say(&format!(
            "{what}: {} items in {:.2} s, {} batches, padding {:.1} %, {:.1} % of the time in the session",
            report.embedded,
            report.wall.as_secs_f64(),
            report.batches,
            100.0 * report.padding,
            100.0 * report.session_share()
        ));
        if let Some(python) = arguments.0.get("--peer") {
            peer = peer.min(python_seconds(python, what, real, arguments)?);
        }
    }
    if peer.is_finite() {
        say(&format!("{what}: ours {ours:.2} s, Python {peer:.2} s, Python / ours {:.3}", peer / ours));
    }
    Ok(())
}

fn python_seconds(python: &str, what: &str, real: &Path, arguments: &Arguments) -> Fallible<f64> {
    let threads = arguments.number("--threads", 2).to_string();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer_embed.py");
    let output =
        Command::new(python).arg(script).arg(real).args(["--only", what, "--threads", &threads]).output()?;
    let line: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    line["seconds"].as_f64().ok_or_else(|| format!("the peer said {line}").into())
}

fn options(arguments: &Arguments) -> (SessionOptions, EmbedOptions) {
    let threads = arguments.number("--threads", 2);
    let mut session = SessionOptions::batches(Device::Cpu, threads);
    session.replicas = arguments.number("--replicas", session.replicas);
    let limits =
        ["--rows", "--steps", "--bytes"].iter().any(|n| arguments.0.contains_key(*n)).then(|| BatchLimits {
            rows: arguments.number("--rows", 64),
            steps: arguments.number("--steps", 1024),
            bytes: arguments.number("--bytes", 4 << 20),
        });
    (session, EmbedOptions { threads, limits })
}

fn text(engine: &Engine, real: &Path, arguments: &Arguments) -> Fallible<EmbedReport> {
    let captions: Vec<String> = pairs(real)?
        .iter()
        .flat_map(|pair| pair["captions"].as_array().cloned().unwrap_or_default())
        .map(|caption| caption.as_str().unwrap_or_default().to_owned())
        .collect();
    let folder = real.join("models/minilm-l6");
    let mut tokenizer =
        tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).map_err(|e| e.to_string())?;
    // The file pads everything to 128 tokens; batches pad to their own longest.
    tokenizer.with_padding(None);
    let (session, embedding) = options(arguments);
    let session = engine.session(folder.join("all-MiniLM-L6-v2_w8.onnx").as_path(), &session)?;
    let input =
        |name: &str| ItemInput { name: name.into(), dtype: DType::I64, dims: vec![None], pad: Some(0.0) };
    let prepare = |item: usize| -> Result<Vec<Tensor>, String> {
        let encoding = tokenizer.encode(captions[item].as_str(), true).map_err(|e| e.to_string())?;
        let ids: Vec<i64> = encoding.get_ids().iter().take(256).map(|id| i64::from(*id)).collect();
        let shape = [ids.len()];
        let mask = vec![1; ids.len()];
        Ok(vec![tensor(Tensor::i64(&shape, ids))?, tensor(Tensor::i64(&shape, mask))?])
    };
    let inputs = [input("input_ids"), input("attention_mask")];
    all(&session, captions.len(), &inputs, "sentence_embedding", &embedding, prepare)
}

fn image(engine: &Engine, real: &Path, arguments: &Arguments) -> Fallible<EmbedReport> {
    let files: Vec<PathBuf> = pairs(real)?
        .iter()
        .map(|pair| real.join("flickr1k").join(pair["image"].as_str().unwrap_or_default()))
        .collect();
    let (session, embedding) = options(arguments);
    let model = real.join("models/mobilenetv2/mobilenet_v2_1.0_224_w8.onnx");
    let session = engine.session(model.as_path(), &session)?;
    let prepare = |item: usize| picture(&files[item]);
    let dims = vec![Some(3), Some(224), Some(224)];
    let inputs = [ItemInput { name: "image".into(), dtype: DType::F32, dims, pad: None }];
    all(&session, files.len(), &inputs, "embedding", &embedding, prepare)
}

/// Decoded, stretched to 224 x 224 by bicubic interpolation, (x - 128) / 128, channels first.
fn picture(path: &Path) -> Result<Vec<Tensor>, String> {
    const SIDE: u32 = 224;
    let decoded = image::open(path).map_err(|e| e.to_string())?.into_rgb8();
    let (width, height) = decoded.dimensions();
    let kind = fast_image_resize::PixelType::U8x3;
    let from = Image::from_vec_u8(width, height, decoded.into_raw(), kind).map_err(|e| e.to_string())?;
    let mut to = Image::new(SIDE, SIDE, kind);
    let bicubic = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new().resize(&from, &mut to, &bicubic).map_err(|e| e.to_string())?;
    let area = (SIDE * SIDE) as usize;
    let mut pixels = vec![0.0_f32; 3 * area];
    for (at, pixel) in to.buffer().chunks_exact(3).enumerate() {
        for (channel, value) in pixel.iter().enumerate() {
            pixels[channel * area + at] = f32::from(*value) / 128.0 - 1.0;
        }
    }
    Ok(vec![tensor(Tensor::f32(&[3, SIDE as usize, SIDE as usize], pixels))?])
}

fn all(
    session: &chiasm_runtime::Session,
    items: usize,
    inputs: &[ItemInput],
    output: &str,
    options: &EmbedOptions,
    prepare: impl Fn(usize) -> Result<Vec<Tensor>, String> + Sync,
) -> Fallible<EmbedReport> {
    let (mut abort, mut go_on) = (|_: usize, _: &str| BadItemPolicy::Abort, |_: usize, _: usize| true);
    let outputs = [output];
    let request = EmbedRequest { items, inputs, outputs: &outputs, options: *options };
    Ok(embed_all(session, &request, prepare, &mut abort, &mut go_on)?.report)
}

fn tensor(made: Result<Tensor, chiasm_graph::Error>) -> Result<Tensor, String> {
    made.map_err(|e| e.to_string())
}

fn pairs(real: &Path) -> Fallible<Vec<serde_json::Value>> {
    let text = std::fs::read_to_string(real.join("flickr1k/pairs.jsonl"))?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

#[expect(clippy::print_stdout, reason = "a bench reports on standard output")]
fn say(line: &str) {
    println!("{line}");
}
