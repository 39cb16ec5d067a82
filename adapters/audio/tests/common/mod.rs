//! Encoders of cards as a host joins them, and recordings made in the tests.
#![allow(clippy::allow_attributes, reason = "an expectation may go unmet in one of the test files")]
#![allow(dead_code, reason = "not every test file uses every function")]
#![allow(clippy::unwrap_used, reason = "test")]

use std::path::{Path, PathBuf};

use chiasm_audio::AudioAdapter;
use chiasm_plugin::graph::{Graph, Tensor};
use chiasm_plugin::{Adapter, EncoderSpec, Item, Json, PortSpec, Services, Signature};
use chiasm_runtime::{Engine, EngineSearch, Session, SessionOptions};
use chiasm_testing::{Requirement, skip};

/// An adapter with a session of its head, its model and its tail in a row.
pub struct Encoder {
    pub adapter: AudioAdapter,
    pub graph: Graph,
    session: Session,
}

/// The engine; without one the test is skipped.
pub fn engine() -> Option<&'static Engine> {
    let engine = Engine::open(&EngineSearch::from_environment(None));
    engine.inspect_err(|error| skip(Requirement::Engine, &error.to_string())).ok()
}

/// The specification of an encoder with this model and these tables.
pub fn spec(model: &Graph, directory: &Path, ports: Json, preprocessing: Json) -> EncoderSpec {
    let Signature { inputs, outputs, .. } = Signature::of(model);
    let names = |value: &Json| match value {
        Json::Array(names) => names.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        other => other.as_str().map(str::to_owned).into_iter().collect::<Vec<_>>(),
    };
    let named = ["tokens", "pooled"].iter().flat_map(|key| names(&ports[*key]));
    let inner = named
        .filter(|name| outputs.iter().all(|port| port.name != *name))
        .filter_map(|name| model.expose(&name).ok()?.output(&name).ok())
        .map(|port| PortSpec::from(&port))
        .collect();
    let directory = directory.to_path_buf();
    EncoderSpec { name: "test".into(), directory, inputs, outputs, inner, ports, preprocessing }
}

pub fn open(spec: &EncoderSpec) -> Result<AudioAdapter, String> {
    AudioAdapter::open(spec, &Services::detached(0, 1)).map_err(|error| error.message().to_owned())
}

impl Encoder {
    pub fn new(engine: &Engine, model: &Graph, spec: &EncoderSpec) -> Self {
        let adapter = open(spec).unwrap();
        let tail = adapter.tail().unwrap().prefixed("tail");
        let own: Vec<String> = adapter.inputs().into_iter().map(|input| input.name).collect();
        let mut graph = model.clone();
        let mut links = Vec::new();
        for name in adapter.tail().unwrap().inputs().into_iter().map(|port| port.name) {
            if own.contains(&name) && model.input(&name).is_err() {
                continue;
            }
            graph = graph.expose(&name).unwrap();
            links.push((name.clone(), format!("tail/{name}")));
        }
        if let Some(head) = adapter.head().unwrap() {
            let head = head.prefixed("head");
            let input = &model.inputs()[0].name;
            graph = head.join(&graph, &[(&format!("head/{input}"), input)]).unwrap();
        }
        let links: Vec<(&str, &str)> = links.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        graph = graph.join(&tail, &links).unwrap();
        graph = graph.extract(&["tail/tokens", "tail/mask", "tail/pooled"]).unwrap();
        let session = engine.session(&graph, &SessionOptions::default()).unwrap();
        Self { adapter, graph, session }
    }

    /// The card of `models/NAME` with the real model.
    pub fn of_card(engine: &Engine, models: &Path, name: &str) -> Self {
        let card = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name).join("card.toml");
        let card: Json = toml::from_str(&std::fs::read_to_string(card).unwrap()).unwrap();
        let directory = models.join(name);
        let model = Graph::load(directory.join(card["model"].as_str().unwrap())).unwrap();
        let spec = spec(&model, &directory, card["ports"].clone(), card["preprocessing"].clone());
        Self::new(engine, &model, &spec)
    }

    /// Runs recordings as one batch; returns tokens, mask and pooled vectors.
    pub fn run(&self, recordings: &[&Path]) -> [Tensor; 3] {
        let prepared: Vec<Vec<Tensor>> =
            recordings.iter().map(|path| self.adapter.prepare(Item::Path(path)).unwrap()).collect();
        let names = self.adapter.inputs().into_iter().map(|input| input.name);
        let inputs: Vec<(String, Tensor)> = names
            .enumerate()
            .map(|(at, name)| {
                let tensors: Vec<&Tensor> = prepared.iter().map(|item| &item[at]).collect();
                let port = self.graph.inputs().into_iter().find(|port| port.name.ends_with(&name)).unwrap();
                (port.name, stacked(&tensors))
            })
            .collect();
        let inputs: Vec<(&str, &Tensor)> =
            inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let outputs = self.session.run(&inputs).unwrap();
        ["tokens", "mask", "pooled"]
            .map(|name| outputs.iter().find(|(own, _)| *own == format!("tail/{name}")).unwrap().1.clone())
    }

    /// The pooled vector of one recording.
    pub fn pooled(&self, recording: &Path) -> Vec<f32> {
        let [_, _, pooled] = self.run(&[recording]);
        pooled.into_f32().unwrap()
    }
}

/// Stacks tensors that differ in their first axis, with zeros behind the shorter ones.
fn stacked(tensors: &[&Tensor]) -> Tensor {
    let longest = tensors.iter().map(|tensor| tensor.shape()[0]).max().unwrap();
    let rest = &tensors[0].shape()[1..];
    let length = longest * rest.iter().product::<usize>();
    let values = tensors.iter().flat_map(|tensor| {
        let values = tensor.as_f32().unwrap();
        values.iter().copied().chain(std::iter::repeat_n(0.0, length - values.len())).collect::<Vec<_>>()
    });
    let values = values.collect();
    Tensor::f32(&[&[tensors.len(), longest], rest].concat(), values).unwrap()
}

/// Writes a WAV file of 32-bit floats with interleaved channels.
pub fn wav(path: PathBuf, rate: u32, channels: u16, samples: &[f32]) -> PathBuf {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend([3_u16, channels].iter().flat_map(|value| value.to_le_bytes()));
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * u32::from(channels) * 4).to_le_bytes());
    bytes.extend([channels * 4, 32].iter().flat_map(|value| value.to_le_bytes()));
    bytes.extend(b"data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Rising tones below 7 kHz, in -0.8..0.8.
pub fn tones(rate: u32, seconds: f64) -> Vec<f32> {
    let count = (f64::from(rate) * seconds).round() as usize;
    let sample = |at: usize| {
        let time = at as f64 / f64::from(rate);
        let phase = std::f64::consts::TAU * (220.0 * time + 300.0 * time * time / seconds);
        let fade = (time * (seconds - time) * 4.0 / (seconds * seconds)).sqrt();
        let tone: f64 = (1..=8).map(|k| (phase * f64::from(k)).sin() / f64::from(k)).sum();
        (0.35 * fade * tone) as f32
    };
    (0..count).map(sample).collect()
}

pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
