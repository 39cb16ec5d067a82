//! The inputs of a text model: those that are made of each text, and those that the graph before the model
//! computes.

use chiasm_plugin::graph::{DType, Tensor, TensorData};
use chiasm_plugin::{DimSpec, EncoderSpec, Error, ModelInput, PortSpec, Result};

/// The largest length that a model may fix; every text is filled up to it.
const MAX_FIXED_LENGTH: usize = 1 << 20;

/// The contents of an input of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextInput {
    /// The number of each token.
    Ids,
    /// 1 for a token and 0 for padding.
    Mask,
    /// The number of the segment of each token.
    Types,
    /// The place of each token; computed.
    Positions,
    /// The place of each token of one text, the same for all; computed.
    CachePositions,
    /// Keys or values of earlier tokens, of which there are none; computed.
    Past,
    /// Whether there are earlier tokens; computed.
    UseCache,
}

impl TextInput {
    /// Returns the contents of an input by its name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        // The host renames a port that is called like one of its own.
        Some(match name.strip_prefix("model_").unwrap_or(name) {
            "input_ids" | "ids" | "token_ids" | "tokens" => Self::Ids,
            "attention_mask" | "mask" | "input_mask" => Self::Mask,
            "token_type_ids" | "segment_ids" | "type_ids" => Self::Types,
            "position_ids" | "positions" => Self::Positions,
            "cache_position" => Self::CachePositions,
            "use_cache_branch" => Self::UseCache,
            past if past.starts_with("past_key_values.") || past.starts_with("past.") => Self::Past,
            _ => return None,
        })
    }

    /// Returns whether the graph before the model computes it.
    pub(crate) fn is_computed(self) -> bool {
        !matches!(self, Self::Ids | Self::Mask | Self::Types)
    }
}

/// An input that is made of each text.
pub(crate) struct MadeInput {
    pub(crate) contents: TextInput,
    pub(crate) input: ModelInput,
}

/// Returns the inputs of the model with their contents.
///
/// # Errors
/// If an input cannot be filled.
pub(crate) fn of_model(spec: &EncoderSpec) -> Result<Vec<(TextInput, &PortSpec)>> {
    let contents = |port: &PortSpec| {
        TextInput::of(&port.name).ok_or_else(|| {
            let help = match port.name.starts_with("decoder_") {
                true => "; of an encoder with a decoder, export the encoder only",
                false => "",
            };
            Error::unsupported(format!(
                "the model of `{}` has an input `{}`; a text model may have input_ids, attention_mask, \
                 token_type_ids, position_ids and past_key_values{help}",
                spec.name, port.name
            ))
        })
    };
    let inputs: Vec<(TextInput, &PortSpec)> =
        spec.inputs.iter().map(|port| Ok((contents(port)?, port))).collect::<Result<_>>()?;
    match inputs.iter().any(|(contents, _)| *contents == TextInput::Ids) {
        true => Ok(inputs),
        false => Err(Error::invalid(format!(
            "the model of `{}` has no input `input_ids`; is this a text model?",
            spec.name
        ))),
    }
}

/// Returns the length that the model fixes for texts; the least one, if its inputs differ.
pub(crate) fn fixed_length(inputs: &[(TextInput, &PortSpec)]) -> Option<usize> {
    let made = inputs.iter().filter(|(contents, _)| !contents.is_computed());
    let fixed = made.filter_map(|(_, port)| match port.dims.as_deref() {
        Some([_, DimSpec::Fixed(length)]) => Some(*length),
        _ => None,
    });
    fixed.min()
}

/// Describes an input that is made of each text. `pad` is the number of the padding token.
///
/// # Errors
/// If its type or axes are not those of a text.
pub(crate) fn made(spec: &EncoderSpec, contents: TextInput, port: &PortSpec, pad: u32) -> Result<MadeInput> {
    let length = match port.dims.as_deref() {
        None | Some([_, DimSpec::Named(_) | DimSpec::Unknown]) => None,
        Some([_, DimSpec::Fixed(length)]) if *length <= MAX_FIXED_LENGTH => Some(*length),
        Some([_, DimSpec::Fixed(length)]) => {
            return Err(Error::unsupported(format!(
                "input `{}` of `{}` takes texts of {length} tokens, at most {MAX_FIXED_LENGTH} are made",
                port.name, spec.name
            )));
        }
        Some(dims) => {
            return Err(Error::invalid(format!(
                "input `{}` of `{}`: expected [batch, tokens], got rank {}",
                port.name,
                spec.name,
                dims.len()
            )));
        }
    };
    let (fits, expected) = match contents {
        TextInput::Mask => (
            matches!(port.dtype, DType::I64 | DType::I32 | DType::F32 | DType::F16 | DType::Bool),
            "i64, i32, f32, f16 or bool",
        ),
        _ => (matches!(port.dtype, DType::I64 | DType::I32), "i64 or i32"),
    };
    if !fits {
        return Err(Error::invalid(format!(
            "input `{}` of `{}`: expected {expected}, got {}",
            port.name, spec.name, port.dtype
        )));
    }
    let pad = if contents == TextInput::Ids { f64::from(pad) } else { 0.0 };
    let dims = vec![length];
    let input = ModelInput { name: port.name.clone(), dtype: port.dtype, dims, pad: Some(pad) };
    Ok(MadeInput { contents, input })
}

impl MadeInput {
    /// Returns one text as a tensor. It is padded here if the model's length is fixed, on the left if `left`,
    /// else by the host.
    ///
    /// # Errors
    /// If the text is longer than the model's fixed length.
    pub(crate) fn tensor(&self, values: &[u32], left: bool) -> Result<Tensor> {
        let input = &self.input;
        let length = input.dims.first().copied().flatten().unwrap_or(values.len());
        let Some(missing) = length.checked_sub(values.len()) else {
            return Err(Error::invalid(format!(
                "a text has {} tokens, the model's `{}` takes {length}; set max_length = {length}",
                values.len(),
                input.name
            )));
        };
        let pad = input.pad.unwrap_or(0.0) as u32;
        let [before, after] = if left { [missing, 0] } else { [0, missing] };
        let filled = |count| std::iter::repeat_n(pad, count);
        let values = filled(before).chain(values.iter().copied()).chain(filled(after));
        Ok(Tensor::new(
            &[length],
            match input.dtype {
                DType::I32 => TensorData::I32(values.map(|value| value as i32).collect()),
                DType::Bool => TensorData::Bool(values.map(|value| value != 0).collect()),
                DType::F32 => TensorData::F32(values.map(|value| value as f32).collect()),
                DType::F16 => TensorData::F16(values.map(|value| half(value != 0)).collect()),
                _ => TensorData::I64(values.map(i64::from).collect()),
            },
        )?)
    }
}

/// Returns 1 or 0 in half precision.
fn half(one: bool) -> half::f16 {
    if one { half::f16::ONE } else { half::f16::ZERO }
}
