//! The audio adapter: decodes a recording, resamples it, and makes the waveform or the log-mel spectrogram
//! that the encoder takes.
//!
//! Preprocessing is part of a model: another mel scale or logarithm lowers its accuracy. So each step follows
//! librosa, torchaudio, TensorFlow or Kaldi, as the card says, and is tested against stored values of these
//! libraries (tests/reference). The keys of a card are the fields of [`parameters::AudioParameters`]. A
//! recording is prepared on the calling thread; the host calls from several threads.
//!
//! There are three ways to give a recording to an encoder:
//!
//! - as a whole: the model's input is the waveform or the spectrogram. With `seconds` every recording has the
//!   same length. Without it, batches are padded, so the model's tokens have to be its frames (`frame`,
//!   `hop`), of which a mask hides the padding;
//! - window by window (`window_frames`, `window_hop`): the model runs once for each window, and each window
//!   becomes one token;
//! - through another graph (`front`), which runs first, once for each recording. Windows are then cut from
//!   its output, inside the merged graph.

mod checks;
mod draft;
mod frames;
mod head;
mod headers;
mod tensors;

pub mod corruption;
pub mod decode;
pub mod layout;
pub mod mel;
pub mod parameters;
pub mod preprocessing;
pub mod resample;
pub mod spectrogram;

use std::path::Path;

use chiasm_kit::{POOLINGS, PORT_KEYS, encoder_tail, windowed_tail};
use chiasm_plugin::graph::{DType, Graph, Tensor};
use chiasm_plugin::{
    Adapter, CardKey, CardKeys, DimSpec, Draft, EncoderSpec, Error, Item, Json, ModelInput, PortSpec, Result,
    Services, Signature, Takes,
};

use crate::head::FrontEnd;
use crate::parameters::AudioParameters;
use crate::preprocessing::Preprocessing;
use crate::tensors::{MASK, WAVEFORM, WINDOWS};

/// The adapter of an audio encoder.
pub struct AudioAdapter {
    preprocessing: Preprocessing,
    inputs: Vec<ModelInput>,
    head: Option<Graph>,
    tail: Graph,
}

impl Adapter for AudioAdapter {
    const ID: &'static str = "audio";
    const DOC: &'static str =
        "Recordings (WAV, FLAC, OGG, MP3) as waveforms or log-mel spectrograms, as the card says.";
    const KEYS: &'static [&'static [CardKey]] = &[PORT_KEYS, AudioParameters::KEYS];

    fn takes() -> Takes {
        Takes::Path
    }

    fn draft(signature: &Signature, directory: &Path) -> Result<Option<Draft>> {
        draft::draft(signature, directory)
    }

    fn open(spec: &EncoderSpec, _: &Services<'_>) -> Result<Self> {
        let about = |reason: String| Error::invalid(format!("[preprocessing] of `{}`: {reason}", spec.name));
        let parameters: AudioParameters =
            serde_json::from_value(spec.preprocessing.clone()).map_err(|error| about(error.to_string()))?;
        let front = parameters.front.clone();
        let preprocessing = Preprocessing::new(parameters).map_err(about)?;
        let front = match front {
            Some(file) => Some(FrontEnd::open(&spec.directory, &file, &preprocessing)?),
            None => None,
        };
        let port = only_input(spec)?;
        check_length(spec, &preprocessing).map_err(about)?;
        let made = match (&front, preprocessing.windows()) {
            (Some(front), _) => front.dims(&preprocessing),
            (None, Some(_)) => preprocessing.window_dims().into_iter().map(Some).collect(),
            (None, None) => preprocessing.dims(),
        };
        check_input(spec, port, &made)?;
        let head = match (&front, preprocessing.windows()) {
            (Some(front), _) => Some(front.head(&port.name, &preprocessing)?),
            (None, Some(_)) => Some(head::of_windows(&port.name, &preprocessing.window_dims())?),
            (None, None) => None,
        };
        let name = match (&front, preprocessing.windows()) {
            (Some(_), _) => WAVEFORM,
            (None, Some(_)) => WINDOWS,
            (None, None) => &port.name,
        };
        let masked = preprocessing.windows().is_some() || preprocessing.is_ragged();
        let inputs = inputs(name, &preprocessing, masked);
        let tail = tail(spec, &preprocessing)?;
        Ok(Self { preprocessing, inputs, head, tail })
    }

    fn inputs(&self) -> Vec<ModelInput> {
        self.inputs.clone()
    }

    fn prepare(&self, item: Item<'_>) -> Result<Vec<Tensor>> {
        let Item::Path(path) = item else {
            return Err(Error::invalid(format!("the audio adapter takes a file's path, got {item:?}")));
        };
        let prepared = self.preprocessing.read(path);
        let prepared = prepared.map_err(|reason| Error::invalid(format!("{}: {reason}", path.display())))?;
        let mut tensors = vec![Tensor::f32(&prepared.dims, prepared.values)?];
        if self.inputs.len() > 1 {
            tensors.push(Tensor::f32(&[prepared.tokens], vec![1.0; prepared.tokens])?);
        }
        Ok(tensors)
    }

    fn head(&self) -> Result<Option<Graph>> {
        Ok(self.head.clone())
    }

    fn tail(&self) -> Result<Graph> {
        Ok(self.tail.clone())
    }
}

/// The tensors that the adapter makes: the recording, and the mask if there is one.
fn inputs(name: &str, preprocessing: &Preprocessing, masked: bool) -> Vec<ModelInput> {
    let dims = preprocessing.dims();
    // The model runs once for each window, so a window of padding changes no other one. A whole recording
    // with padding behind it would be another input of the model, which has no mask.
    let pad = preprocessing.windows().map(|_| 0.0);
    let input = ModelInput { name: name.to_owned(), dtype: DType::F32, dims, pad };
    let mask = ModelInput { name: MASK.to_owned(), dtype: DType::F32, dims: vec![None], pad: Some(0.0) };
    if masked { vec![input, mask] } else { vec![input] }
}

fn only_input(spec: &EncoderSpec) -> Result<&PortSpec> {
    let [input] = spec.inputs.as_slice() else {
        let names: Vec<&str> = spec.inputs.iter().map(|port| port.name.as_str()).collect();
        return Err(Error::unsupported(format!(
            "the model of `{}` has {} inputs ({}); an audio model has one, the waveform or the spectrogram",
            spec.name,
            names.len(),
            names.join(", ")
        )));
    };
    Ok(input)
}

/// Checks that recordings of different lengths can share a batch: the length of each must be known to the
/// mask.
fn check_length(spec: &EncoderSpec, preprocessing: &Preprocessing) -> std::result::Result<(), String> {
    if preprocessing.windows().is_some() || !preprocessing.is_ragged() {
        return Ok(());
    }
    let help = "or set seconds (one length for all recordings) or window_frames (one token for each window)";
    if !preprocessing.has_frames() {
        return Err(format!(
            "set frame and hop, the samples of the model's first token and between two, {help}"
        ));
    }
    let pooled = match &spec.ports["pooled"] {
        Json::Array(names) => names.iter().filter_map(Json::as_str).collect(),
        Json::String(name) => vec![name.as_str()],
        _ => Vec::new(),
    };
    match pooled.iter().find(|name| !POOLINGS.contains(name)) {
        Some(name) => Err(format!(
            "the model's own vector `{name}` would change with the padding of a batch; pool the tokens \
             (mean, ..), {help}"
        )),
        None => Ok(()),
    }
}

/// Checks that the model takes inputs of these lengths.
fn check_input(spec: &EncoderSpec, input: &PortSpec, made: &[Option<usize>]) -> Result<()> {
    let fits = input.dtype == DType::F32
        && match input.dims.as_deref() {
            None => true,
            Some([_, dims @ ..]) => {
                dims.len() == made.len() && dims.iter().zip(made).all(|(dim, length)| admits(dim, *length))
            }
            Some([]) => false,
        };
    if fits {
        return Ok(());
    }
    let made: Vec<String> =
        made.iter().map(|length| length.map_or("any".to_owned(), |length| length.to_string())).collect();
    Err(Error::invalid(format!(
        "[preprocessing] of `{}` makes f32[batch, {}], but the model has {}; check layout, mels, seconds and \
         window_frames",
        spec.name,
        made.join(", "),
        described(input)
    )))
}

fn admits(dim: &DimSpec, length: Option<usize>) -> bool {
    !matches!(dim, DimSpec::Fixed(fixed) if Some(*fixed) != length)
}

/// Formats a port as "input f32[N, 1, 64, 96]".
fn described(port: &PortSpec) -> String {
    let dims = port.dims.iter().flatten().map(|dim| match dim {
        DimSpec::Fixed(length) => length.to_string(),
        DimSpec::Named(name) => name.clone(),
        DimSpec::Unknown => "?".into(),
    });
    format!("{} {}[{}]", port.name, port.dtype, dims.collect::<Vec<_>>().join(", "))
}

fn tail(spec: &EncoderSpec, preprocessing: &Preprocessing) -> Result<Graph> {
    if preprocessing.windows().is_some() {
        return windowed_tail(spec, MASK);
    }
    if !preprocessing.is_ragged() {
        return encoder_tail(spec, None, false);
    }
    // The mask is a tensor of the adapter, which the tail reads as it would read an input of the model.
    let mut spec = spec.clone();
    let dims = vec![DimSpec::Named("batch".into()), DimSpec::Named("frames".into())];
    spec.inputs.push(PortSpec { name: MASK.into(), dtype: DType::F32, dims: Some(dims) });
    encoder_tail(&spec, Some(MASK), false)
}

chiasm_plugin::export_plugin! { adapters: [AudioAdapter] }
