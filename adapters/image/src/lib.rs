//! The image adapter: decodes an image file, and resizes and scales it to the encoder's pixel tensor.
//!
//! Preprocessing is part of a model: another kernel or channel order lowers its accuracy. So each step
//! follows Pillow, the library that most models are trained with, and is tested against images that Pillow
//! stored (tests/reference). An image is prepared on the calling thread; the host calls from several
//! threads.

mod box_filter;
mod draft;
mod jpeg_scans;

pub mod corruption;
pub mod decode;
pub mod preprocessing;
pub mod resize;

use std::path::Path;

use chiasm_kit::{PORT_KEYS, encoder_tail};
use chiasm_plugin::graph::{DType, Graph, Tensor, TensorData};
use chiasm_plugin::{
    Adapter, CardKey, CardKeys, DimSpec, Draft, EncoderSpec, Error, Item, ModelInput, PortSpec, Result,
    Services, Signature, Takes, read_file,
};

use crate::preprocessing::{ImageParameters, PixelLayout, Preprocessing};

/// The largest size of a file: more than the largest image that is decoded takes without compression.
const MAX_BYTES: u64 = 1 << 30;

/// The adapter of an image encoder.
pub struct ImageAdapter {
    preprocessing: Preprocessing,
    input: String,
    dtype: DType,
    tail: Graph,
}

impl Adapter for ImageAdapter {
    const ID: &'static str = "image";
    const DOC: &'static str =
        "Pictures (JPEG, PNG, WebP, BMP) as pixel tensors, resized and scaled as the card says.";
    const KEYS: &'static [&'static [CardKey]] = &[PORT_KEYS, ImageParameters::KEYS];

    fn takes() -> Takes {
        Takes::Path
    }

    fn draft(signature: &Signature, directory: &Path) -> Result<Option<Draft>> {
        draft::draft(signature, directory)
    }

    fn open(spec: &EncoderSpec, _: &Services<'_>) -> Result<Self> {
        let about = |reason: String| Error::invalid(format!("[preprocessing] of `{}`: {reason}", spec.name));
        let parameters: ImageParameters =
            serde_json::from_value(spec.preprocessing.clone()).map_err(|error| about(error.to_string()))?;
        let preprocessing = Preprocessing::new(&parameters).map_err(about)?;
        let (input, dtype) = pixel_input(spec, &preprocessing)?;
        let tail = encoder_tail(spec, None, parameters.layout == PixelLayout::Nhwc)?;
        Ok(Self { preprocessing, input, dtype, tail })
    }

    fn inputs(&self) -> Vec<ModelInput> {
        let dims = self.preprocessing.shape().map(Some).to_vec();
        vec![ModelInput { name: self.input.clone(), dtype: self.dtype, dims, pad: None }]
    }

    fn prepare(&self, item: Item<'_>) -> Result<Vec<Tensor>> {
        let Item::Path(path) = item else {
            return Err(Error::invalid(format!("the image adapter takes a file's path, got {item:?}")));
        };
        let values = read_file(path, MAX_BYTES)
            .map_err(|error| format!("cannot be read ({error}); check the path in the pairs table"))
            .and_then(|bytes| self.preprocessing.apply(&bytes))
            .map_err(|reason| Error::invalid(format!("{}: {reason}", path.display())))?;
        Ok(vec![Tensor::new(&self.preprocessing.shape(), elements(values, self.dtype))?])
    }

    fn tail(&self) -> Result<Graph> {
        Ok(self.tail.clone())
    }
}

/// Returns the name and the type of the model's only input, after checking that it takes the preprocessed
/// image.
fn pixel_input(spec: &EncoderSpec, preprocessing: &Preprocessing) -> Result<(String, DType)> {
    let wrong = |got: String, help: &str| {
        let [a, b, c] = preprocessing.shape();
        Error::invalid(format!(
            "[preprocessing] of `{}` makes one input [batch, {a}, {b}, {c}] of floating point or u8, but the \
             model has {got}; {help}",
            spec.name
        ))
    };
    let [input] = spec.inputs.as_slice() else {
        let names: Vec<&str> = spec.inputs.iter().map(|port| port.name.as_str()).collect();
        let help = "name outputs in [ports] that need the picture only, or export the model so";
        return Err(wrong(format!("{} inputs ({})", names.len(), names.join(", ")), help));
    };
    let fits = match input.dims.as_deref() {
        None => true,
        Some([_, dims @ ..]) => {
            dims.len() == 3 && dims.iter().zip(preprocessing.shape()).all(|(dim, length)| admits(dim, length))
        }
        Some([]) => false,
    };
    let floats = input.dtype.is_float();
    if !fits || !(floats || input.dtype == DType::U8) {
        return Err(wrong(described(input), "check size, layout and channels"));
    }
    if input.dtype == DType::U8 && !preprocessing.makes_levels() {
        return Err(Error::invalid(format!(
            "[preprocessing] of `{}`: the model's `{}` takes the levels 0 to 255 as u8; set scale = 1, mean \
             = 0 and std = 1",
            spec.name, input.name
        )));
    }
    Ok((input.name.clone(), input.dtype))
}

/// Converts values to the type of the model's input.
fn elements(values: Vec<f32>, dtype: DType) -> TensorData {
    let values = values.into_iter();
    match dtype {
        DType::F16 => TensorData::F16(values.map(half::f16::from_f32).collect()),
        DType::BF16 => TensorData::BF16(values.map(half::bf16::from_f32).collect()),
        DType::F64 => TensorData::F64(values.map(f64::from).collect()),
        // Whole numbers of 0 to 255, see `Preprocessing::makes_levels`.
        DType::U8 => TensorData::U8(values.map(|value| value as u8).collect()),
        _ => TensorData::F32(values.collect()),
    }
}

fn admits(dim: &DimSpec, length: usize) -> bool {
    !matches!(dim, DimSpec::Fixed(fixed) if *fixed != length)
}

/// Formats a port as "image f32[N, 3, 224, 224]".
fn described(port: &PortSpec) -> String {
    let dims = port.dims.iter().flatten().map(|dim| match dim {
        DimSpec::Fixed(length) => length.to_string(),
        DimSpec::Named(name) => name.clone(),
        DimSpec::Unknown => "?".into(),
    });
    format!("{} {}[{}]", port.name, port.dtype, dims.collect::<Vec<_>>().join(", "))
}

chiasm_plugin::export_plugin! { adapters: [ImageAdapter] }
