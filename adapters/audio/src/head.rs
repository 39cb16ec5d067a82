//! The graph before the encoder: a front-end graph, and the windows of all recordings as one batch.

use std::path::Path;

use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Port, Tensor, Value};
use chiasm_plugin::{Error, Result};

use crate::frames::Windows;
use crate::layout::{Layout, LayoutAxis};
use crate::preprocessing::Preprocessing;
use crate::tensors::{WAVEFORM, WINDOWS};

/// The head of an encoder that runs once for each window: `windows` `[batch, windows, ..]` become the batch
/// of the model's input.
pub(crate) fn of_windows(model_input: &str, dims: &[usize]) -> Result<Graph> {
    let mut b = Builder::new("windows");
    let inner = dims.iter().map(|length| Dim::Fixed(*length));
    let input: Vec<Dim> =
        [Dim::named("batch"), Dim::named("windows")].into_iter().chain(inner.clone()).collect();
    let windows = b.input(WINDOWS, DType::F32, &input)?;
    let rows = b.reshape(&windows, &rows_of(dims));
    let output: Vec<Dim> = std::iter::once(Dim::named("rows")).chain(inner).collect();
    b.output(model_input, &rows, DType::F32, &output);
    Ok(b.finish()?)
}

/// A front-end graph that was read from a file.
pub(crate) struct FrontEnd {
    /// The graph, which runs once for each recording.
    graph: Graph,
    output: Port,
    layout: Layout,
    /// The number of mel bands.
    pub(crate) mels: usize,
}

impl FrontEnd {
    /// Reads the front-end graph of a card and checks its ports.
    pub(crate) fn open(directory: &Path, file: &str, preprocessing: &Preprocessing) -> Result<Self> {
        let path = directory.join(file);
        let about = |reason: String| Error::invalid(format!("front {}: {reason}", path.display()));
        let graph = Graph::load(&path).map_err(|error| {
            about(format!("{error}; put the front-end's .onnx file beside the card or the model"))
        })?;
        let (inputs, outputs) = (graph.inputs(), graph.outputs());
        let ([input], [output]) = (inputs.as_slice(), outputs.as_slice()) else {
            return Err(about(format!(
                "expected one input and one output, got {} and {}",
                inputs.len(),
                outputs.len()
            )));
        };
        let rank = input.dims.as_ref().map(Vec::len);
        if input.dtype != DType::F32 || output.dtype != DType::F32 || rank != Some(2) {
            return Err(about(format!(
                "expected a waveform f32[batch, samples] and an output of f32, got {input} and {output}"
            )));
        }
        let layout = Layout::parse("front_layout", &preprocessing.parameters().front_layout, true)
            .map_err(Error::invalid)?;
        let dims = output.dims.clone().unwrap_or_default();
        let mels = layout.axes().iter().position(|axis| *axis == LayoutAxis::Mels);
        let mels = mels.filter(|_| dims.len() == layout.axes().len() + 1).and_then(|at| dims[at + 1].fixed());
        let Some(mels) = mels else {
            return Err(about(format!(
                "front_layout {:?} expects {} axes after the batch and a fixed number of mel bands, but the \
                 output is {output}; correct front_layout",
                preprocessing.parameters().front_layout,
                layout.axes().len()
            )));
        };
        let (from, output) = (input.name.clone(), output.clone());
        let each = graph.per_item().and_then(|each| each.renamed(&[(&from, WAVEFORM)]));
        let graph = each.map_err(|error| about(error.to_string()))?;
        Ok(Self { graph, output, layout, mels })
    }

    /// Returns the lengths of the axes of the model's input: those of a window, or those of a whole
    /// recording.
    pub(crate) fn dims(&self, preprocessing: &Preprocessing) -> Vec<Option<usize>> {
        let time = preprocessing.windows().map(|windows| windows.frames);
        preprocessing.layout().dims(time, self.mels)
    }

    /// Joins the front-end with the graph that scales its output, cuts windows and orders the axes.
    pub(crate) fn head(&self, model_input: &str, preprocessing: &Preprocessing) -> Result<Graph> {
        let parameters = preprocessing.parameters();
        let mut b = Builder::new("front");
        let dims = self.output.dims.clone().unwrap_or_default();
        let features = b.input("features", DType::F32, &dims)?;
        let mut value = time_by_mels(&mut b, &features, &self.layout);
        if parameters.front_scale != 1.0 {
            value = b.mul_scalar(&value, parameters.front_scale as f32);
        }
        if parameters.front_offset != 0.0 {
            value = b.add_scalar(&value, parameters.front_offset as f32);
        }
        if let Some(windows) = preprocessing.windows() {
            value = cut(&mut b, &value, windows, self.mels)?;
        }
        let layout = preprocessing.layout();
        if layout.mels_first() {
            value = b.transpose(&value, &[0, 2, 1]);
        }
        let ones = ones(layout);
        if !ones.is_empty() {
            value = b.unsqueeze(&value, &ones);
        }
        let inner = self.dims(preprocessing).into_iter().map(|length| match length {
            Some(length) => Dim::Fixed(length),
            None => Dim::named("frames"),
        });
        let output: Vec<Dim> = std::iter::once(Dim::named("rows")).chain(inner).collect();
        // An identity, in case that nothing else is between the front-end and the model.
        let value = b.op("Identity", &[&value], &[]);
        b.output(model_input, &value, DType::F32, &output);
        Ok(self.graph.join(&b.finish()?, &[(&self.output.name, "features")])?)
    }
}

/// The shape of rows of these dimensions, for a reshape.
fn rows_of(dims: &[usize]) -> Vec<i64> {
    std::iter::once(-1).chain(dims.iter().map(|length| *length as i64)).collect()
}

/// The places of the axes of length one, counted with the batch axis.
fn ones(layout: &Layout) -> Vec<i64> {
    let places = layout.axes().iter().enumerate().filter(|(_, axis)| **axis == LayoutAxis::One);
    places.map(|(at, _)| at as i64 + 1).collect()
}

/// Orders the axes as `[batch, time, mels]`.
fn time_by_mels(b: &mut Builder, features: &Value, layout: &Layout) -> Value {
    let ones = ones(layout);
    let two = if ones.is_empty() { features.clone() } else { b.squeeze(features, &ones) };
    if layout.mels_first() { b.transpose(&two, &[0, 2, 1]) } else { two }
}

/// Cuts `[batch, time, mels]` into `[batch * windows, frames, mels]`, the windows of an item in sequence.
fn cut(b: &mut Builder, features: &Value, windows: Windows, mels: usize) -> Result<Value> {
    let number = |value: usize| Tensor::i64(&[], vec![value as i64]);
    let length = b.op("Shape", &[features], &[("start", 1.into()), ("end", 2.into())]);
    let length = b.squeeze(&length, &[0]);
    let (size, hop) = (b.constant("size", number(windows.frames)?), b.constant("hop", number(windows.hop)?));
    let (zero, one) = (b.constant("zero", number(0)?), b.constant("one", number(1)?));
    let rest = b.op("Sub", &[&length, &size], &[]);
    let whole = b.op("Div", &[&rest, &hop], &[]);
    let count = b.op("Add", &[&whole, &one], &[]);
    let numbers = b.op("Range", &[&zero, &count, &one], &[]);
    let starts = b.op("Mul", &[&numbers, &hop], &[]);
    let starts = b.unsqueeze(&starts, &[1]);
    let offsets: Vec<i64> = (0..windows.frames as i64).collect();
    let offsets = b.constant("offsets", Tensor::i64(&[1, windows.frames], offsets)?);
    let places = b.op("Add", &[&starts, &offsets], &[]);
    let cut = b.gather(features, &places, 1);
    Ok(b.reshape(&cut, &rows_of(&[windows.frames, mels])))
}
