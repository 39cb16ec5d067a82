//! Weights stored in fewer bits, for smaller files.
//!
//! A weight is converted back to 32-bit floats by nodes at the start of the graph: `Cast` from 16 bits;
//! `Cast` and `Mul` from 8 bits, with `w = scale * q` and `scale = max |w| / 127` per output channel
//! (symmetric quantization, Jacob et al. 2018, arXiv 1712.05877). ONNX Runtime evaluates these nodes once,
//! when it loads the model: activations keep single precision, and the speed is that of 32-bit weights.
//! `DequantizeLinear` is not used, because it makes some engines quantize activations too.

use std::sync::Arc;

use half::f16;
use onnx_protobuf::NodeProto;

use crate::{
    Attr, DType, Graph, Tensor, operators,
    rename::free_name,
    walk,
    weight::{from_proto, to_proto},
};

/// The number format in which a graph's large weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// 16-bit floats: half the size, 11 significant bits.
    Fp16,
    /// 8-bit integers with a scale for each output channel: a quarter of the size; the error is at most 1/254
    /// of the channel's largest absolute value.
    Int8,
}

/// Weights of fewer elements are not converted, and neither are vectors (biases, norms, scales): they would
/// save nothing.
const MIN_ELEMENTS: usize = 1024;

impl Storage {
    /// Returns the name: "fp16" or "int8".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

impl Graph {
    /// Returns the graph with its large weights stored in fewer bits: those of 32-bit floats with at least
    /// two axes and 1024 elements. Weights with a number that is not finite or, for 16 bits, above 65504 are
    /// unchanged.
    #[must_use]
    pub fn stored_as(&self, storage: Storage) -> Self {
        let mut narrow = self.clone();
        let mut taken = self.value_names();
        let mut front = Vec::new();
        for (name, proto) in &self.weights {
            if DType::from_onnx(proto.data_type) != Some(DType::F32) || proto.dims.len() < 2 {
                continue;
            }
            let Some(tensor) = from_proto(proto).ok().filter(|tensor| tensor.len() >= MIN_ELEMENTS) else {
                continue;
            };
            let parts = match storage {
                Storage::Fp16 => halves(&tensor).map(|halves| (halves, None)),
                Storage::Int8 => bytes(&tensor, self.channels(name, tensor.shape().len())),
            };
            let Some((stored, scale)) = parts else { continue };
            narrow.weights.remove(name);
            let mut add = |narrow: &mut Self, suffix: &str, tensor: &Tensor| {
                let name = free_name(&format!("{name}/{suffix}"), &taken);
                taken.insert(name.clone());
                narrow.weights.insert(name.clone(), Arc::new(to_proto(tensor)));
                name
            };
            let stored = add(&mut narrow, storage.as_str(), &stored);
            match scale {
                None => front.push(cast(stored, name.clone())),
                Some(scale) => {
                    let scale = add(&mut narrow, "scale", &scale);
                    let wide = free_name(&format!("{stored}/f32"), &taken);
                    taken.insert(wide.clone());
                    front.push(cast(stored, wide.clone()));
                    front.push(node("Mul", vec![wide, scale], name.clone()));
                }
            }
        }
        narrow.graph.node.splice(0..0, front);
        narrow
    }

    /// The axis of a weight's output channels, which its first user determines; by default the last axis.
    fn channels(&self, weight: &str, rank: usize) -> usize {
        let (mut axis, last) = (None, rank.saturating_sub(1));
        walk::nodes(&self.graph.node, &mut |node| {
            if axis.is_some() || !node.input.iter().any(|name| name == weight) {
                return;
            }
            let rule = operators::of(node).and_then(|operator| operator.channel_axis);
            axis = Some(rule.map_or(last, |rule| rule(node, rank)));
        });
        axis.unwrap_or(last)
    }
}

/// The tensor as 16-bit floats; `None` if an element does not fit.
fn halves(tensor: &Tensor) -> Option<Tensor> {
    let narrow: Vec<f16> = tensor.as_f32()?.iter().map(|w| f16::from_f32(*w)).collect();
    narrow.iter().all(|w| w.is_finite()).then(|| Tensor::f16(tensor.shape(), narrow).ok()).flatten()
}

/// The tensor as 8-bit integers, and the scale of each slice along an axis, in a shape that broadcasts.
fn bytes(tensor: &Tensor, axis: usize) -> Option<(Tensor, Option<Tensor>)> {
    let (wide, shape) = (tensor.as_f32()?, tensor.shape());
    if !wide.iter().all(|w| w.is_finite()) {
        return None;
    }
    let inner: usize = shape[axis + 1..].iter().product();
    let channel = |at: usize| at / inner % shape[axis];
    let mut most = vec![0.0_f32; shape[axis]];
    wide.iter().enumerate().for_each(|(at, w)| most[channel(at)] = most[channel(at)].max(w.abs()));
    let scale = |most: &f32| Some(most / 127.0).filter(|scale| scale.is_normal()).unwrap_or(1.0);
    let scales: Vec<f32> = most.iter().map(scale).collect();
    let narrow =
        wide.iter().enumerate().map(|(at, w)| (w / scales[channel(at)]).round().clamp(-127.0, 127.0));
    let narrow: Vec<u8> = narrow.map(|w| (w as i8).cast_unsigned()).collect();
    let mut beside = vec![1; shape.len()];
    beside[axis] = shape[axis];
    let narrow = Tensor::from_bytes(DType::I8, shape, &narrow).ok()?;
    Some((narrow, Some(Tensor::f32(&beside, scales).ok()?)))
}

fn cast(from: String, to: String) -> NodeProto {
    let mut node = node("Cast", vec![from], to);
    node.attribute.push(Attr::Int(i64::from(DType::F32.onnx())).to_proto("to"));
    node
}

fn node(operator: &str, input: Vec<String>, output: String) -> NodeProto {
    NodeProto {
        op_type: operator.to_owned(),
        name: output.clone(),
        input,
        output: vec![output],
        ..Default::default()
    }
}
