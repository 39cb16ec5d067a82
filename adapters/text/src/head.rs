//! The graph before a text model: inputs that follow from the tokens and their mask.
//!
//! Places count the tokens that are not masked, so that they do not depend on padding. Of the keys and values
//! of earlier tokens there are none: their tensors have the length zero.

use chiasm_plugin::graph::{Attr, Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_plugin::{DimSpec, EncoderSpec, Error, PortSpec, Result};

use crate::inputs::TextInput;

/// Builds the graph that computes the inputs of the model which are not made of each text; `None` if there
/// are none. `first_position` is the place of the first token.
///
/// # Errors
/// If the axes or the type of such an input are not known.
pub(crate) fn build(
    spec: &EncoderSpec,
    inputs: &[(TextInput, &PortSpec)],
    first_position: u32,
) -> Result<Option<Graph>> {
    let computed: Vec<_> = inputs.iter().filter(|(contents, _)| contents.is_computed()).collect();
    let find = |wanted| inputs.iter().find(|(contents, _)| *contents == wanted).map(|(_, port)| *port);
    let (Some(ids), false) = (find(TextInput::Ids), computed.is_empty()) else { return Ok(None) };
    let mut b = Builder::new(format!("{}-inputs", spec.name));
    let ids_value = b.input(&ids.name, ids.dtype, &dims(ids))?;
    let places = match find(TextInput::Mask).filter(|_| has(&computed, TextInput::Positions)) {
        Some(mask) => {
            let mask = b.input(&mask.name, mask.dtype, &dims(mask))?;
            b.cast(&mask, DType::I64)
        }
        None => ones(&mut b, &ids_value)?,
    };
    for (contents, port) in computed {
        let value = match contents {
            TextInput::Positions => positions(&mut b, &places, first_position)?,
            TextInput::CachePositions => {
                let ones = ones(&mut b, &ids_value)?;
                let all = positions(&mut b, &ones, 0)?;
                let first = b.constant("row", Tensor::i64(&[], vec![0])?);
                b.gather(&all, &first, 0)
            }
            TextInput::UseCache => b.constant("false", Tensor::i64(&[1], vec![0])?),
            _ => empty(&mut b, spec, port, &ids_value)?,
        };
        let value = b.cast(&value, port.dtype);
        b.output(&port.name, &value, port.dtype, &dims(port));
    }
    Ok(Some(b.finish()?))
}

fn has(inputs: &[&(TextInput, &PortSpec)], wanted: TextInput) -> bool {
    inputs.iter().any(|(contents, _)| *contents == wanted)
}

/// Returns ones in the shape of the token numbers.
fn ones(b: &mut Builder, ids: &Value) -> Result<Value> {
    let shape = b.shape(ids);
    let one = Tensor::i64(&[1], vec![1])?;
    Ok(b.op("ConstantOfShape", &[&shape], &[("value", Attr::Tensor(one))]))
}

/// Returns the place of each token, counted from `first`; that of padding is the one before it, or `first`.
fn positions(b: &mut Builder, tokens: &Value, first: u32) -> Result<Value> {
    let axis = b.constant("axis", Tensor::i64(&[], vec![1])?);
    let count = b.op("CumSum", &[tokens, &axis], &[]);
    let before = b.constant("before", Tensor::i64(&[], vec![i64::from(first) - 1])?);
    let least = b.constant("first", Tensor::i64(&[], vec![i64::from(first)])?);
    let places = b.add(&count, &before);
    Ok(b.op("Max", &[&places, &least], &[]))
}

/// Returns the keys or values of no token: the batch of the token numbers, and the length zero for the axis
/// that the model leaves free.
fn empty(b: &mut Builder, spec: &EncoderSpec, port: &PortSpec, ids: &Value) -> Result<Value> {
    let about = |reason: &str| {
        Error::unsupported(format!(
            "input `{}` of `{}`: {reason}; export the model without its cache (no `past_key_values`)",
            port.name, spec.name
        ))
    };
    let Some([_, rest @ ..]) = port.dims.as_deref() else { return Err(about("its axes are not known")) };
    let free = rest.iter().filter(|dim| !matches!(dim, DimSpec::Fixed(_))).count();
    if free > 1 || (free == 0 && !rest.contains(&DimSpec::Fixed(0))) {
        return Err(about(&format!(
            "expected [batch, heads, 0 earlier tokens, width] with one free axis after the batch, got {free}"
        )));
    }
    if !port.dtype.is_float() {
        return Err(about(&format!("expected floating point, got {}", port.dtype)));
    }
    let lengths = rest.iter().map(|dim| match dim {
        DimSpec::Fixed(length) => *length as i64,
        _ => 0,
    });
    let lengths = b.ints("lengths", &lengths.collect::<Vec<_>>());
    let batch = b.op("Shape", &[ids], &[("start", 0.into()), ("end", 1.into())]);
    let shape = b.concat(&[&batch, &lengths], 0);
    let zero = Tensor::f32(&[1], vec![0.0])?;
    Ok(b.op("ConstantOfShape", &[&shape], &[("value", Attr::Tensor(zero))]))
}

fn dims(port: &PortSpec) -> Vec<Dim> {
    let dim = |dim: &DimSpec| match dim {
        DimSpec::Fixed(length) => Dim::Fixed(*length),
        DimSpec::Named(name) => Dim::named(name),
        DimSpec::Unknown => Dim::Unknown,
    };
    port.dims.iter().flatten().map(dim).collect()
}
