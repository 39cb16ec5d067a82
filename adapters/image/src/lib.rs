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

use chiasm_kit::encoder_tail;
use chiasm_plugin::graph::{DType, Graph, Tensor};
use chiasm_plugin::{
    Adapter, DimSpec, Draft, EncoderSpec, Error, Item, ModelInput, PortSpec, Result, Services, Signature,
    Takes, read_file,
};

use crate::preprocessing::{ImageParameters, PixelLayout, Preprocessing};

/// The largest size of a file: more than the largest image that is decoded takes without compression.
const MAX_BYTES: u64 = 1 << 30;

/// The adapter of an image encoder.
pub struct ImageAdapter {
    preprocessing: Preprocessing,
    input: String,
    tail: Graph,
}

impl Adapter for ImageAdapter {
    const ID: &'static str = "image";
    const DOC: &'static str =
        "Pictures (JPEG, PNG, WebP, BMP) as pixel tensors, resized and scaled as the card says.";

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
        let input = pixel_input(spec, &preprocessing)?;
        let tail = encoder_tail(spec, None, parameters.layout == PixelLayout::Nhwc)?;
        Ok(Self { preprocessing, input, tail })
    }

    fn inputs(&self) -> Vec<ModelInput> {
        let dims = self.preprocessing.shape().map(Some).to_vec();
        vec![ModelInput { name: self.input.clone(), dtype: DType::F32, dims, pad: None }]
    }

    fn prepare(&self, item: Item<'_>) -> Result<Vec<Tensor>> {
        let Item::Path(path) = item else {
            return Err(Error::invalid(format!("the image adapter takes a file's path, got {item:?}")));
        };
        let values = read_file(path, MAX_BYTES)
            .map_err(|error| format!("cannot be read ({error}); check the path in the pairs table"))
            .and_then(|bytes| self.preprocessing.apply(&bytes))
            .map_err(|reason| Error::invalid(format!("{}: {reason}", path.display())))?;
        Ok(vec![Tensor::f32(&self.preprocessing.shape(), values)?])
    }

    fn tail(&self) -> Result<Graph> {
        Ok(self.tail.clone())
    }
}

/// Returns the name of the model's only input, after checking that it takes the preprocessed image.
fn pixel_input(spec: &EncoderSpec, preprocessing: &Preprocessing) -> Result<String> {
    let wrong = |got: String| {
        let [a, b, c] = preprocessing.shape();
        Error::invalid(format!(
            "[preprocessing] of `{}` makes one input f32[batch, {a}, {b}, {c}], but the model has {got}; \
             check size and layout",
            spec.name
        ))
    };
    let [input] = spec.inputs.as_slice() else {
        let names: Vec<&str> = spec.inputs.iter().map(|port| port.name.as_str()).collect();
        return Err(wrong(format!("{} inputs ({})", names.len(), names.join(", "))));
    };
    let fits = input.dtype == DType::F32
        && match input.dims.as_deref() {
            None => true,
            Some([_, dims @ ..]) => {
                dims.len() == 3
                    && dims.iter().zip(preprocessing.shape()).all(|(dim, length)| admits(dim, length))
            }
            Some([]) => false,
        };
    if fits { Ok(input.name.clone()) } else { Err(wrong(described(input))) }
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
