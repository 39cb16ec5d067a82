//! The derivative of `Resize`.
//!
//! Resizing is linear, and along each axis it is one matrix: linear, cubic and nearest-neighbour
//! interpolation of images are products of interpolations along single axes. The matrix of an axis is what
//! the node itself makes of the unit vectors of that axis, so that no rule for coordinates is repeated here.

use crate::calculus::{RuleResult, Sensitivities, Tape, TapeNode};
use crate::{
    DType, Result, Tensor, Value,
    shapes::{Facts, Length, resolve_axes},
    walk::attribute,
};

use onnx_protobuf::NodeProto;

pub(super) fn resize_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let mut dims = facts.input_dims(node, 0)?;
    let axes = match attribute(node, "axes") {
        Some(axes) => resolve_axes(&axes.ints, dims.len())?,
        None => (0..dims.len()).collect(),
    };
    let stretched = attribute(node, "keep_aspect_ratio_policy").is_none_or(|policy| policy.s == b"stretch");
    let sizes = if stretched { facts.input_elements(node, 3) } else { None };
    let scales = node.input.get(2).and_then(|name| facts.known_floats(name)).map(<[f32]>::to_vec);
    for (number, at) in axes.into_iter().enumerate() {
        let size = sizes.as_ref().and_then(|sizes| sizes.get(number).copied());
        let scale = scales.as_ref().and_then(|scales| scales.get(number).copied());
        dims[at] = match (size, scale, dims[at].fixed()) {
            (Some(size), _, _) => size,
            (None, Some(1.0), _) => dims[at],
            (None, Some(scale), Some(length)) => {
                Length::Fixed((length as f64 * f64::from(scale)).floor() as i64)
            }
            _ => facts.fresh(),
        };
    }
    Some(dims)
}

pub(super) fn resize_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let (x, rank) = (node.x(0), tape.rank(&node.x(0))?);
    let matrices = matrices(tape, node)?;
    let axes: Vec<i64> = matrices.iter().map(|(axis, _)| *axis as i64).collect();
    let mut resized = tape.full_along(tangent, &x, &axes)?;
    for (axis, matrix) in matrices {
        resized = along(tape, &resized, &matrix, axis + 1, rank + 1);
    }
    Ok(vec![Some(resized)])
}

pub(super) fn resize_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let rank = tape.rank(&node.x(0))?;
    let mut back = tape.full(c, &node.y())?;
    for (axis, matrix) in matrices(tape, node)? {
        let transposed = tape.build.transpose(&matrix, &[1, 0]);
        back = along(tape, &back, &transposed, axis, rank);
    }
    Ok(vec![Some(back)])
}

/// The axes whose lengths change, each with its matrix `[old length, new length]`.
fn matrices(tape: &mut Tape, node: &TapeNode) -> Result<Vec<(usize, Value)>> {
    if node.text("coordinate_transformation_mode") == "tf_crop_and_resize" {
        return Err(node.refuse("it crops (tf_crop_and_resize), which is not one matrix for each axis"));
    }
    if !matches!(node.text("keep_aspect_ratio_policy").as_str(), "" | "stretch") {
        return Err(node.refuse("it keeps the aspect ratio, so its lengths are not those of its inputs"));
    }
    let (old, new) = (tape.dims(&node.x(0))?, tape.dims(&node.y())?);
    let axes = match node.ints("axes") {
        Some(axes) => resolve_axes(&axes, old.len())
            .ok_or_else(|| node.refuse("its axes are out of range for the rank of its input"))?,
        None => (0..old.len()).collect(),
    };
    let mut matrices = Vec::new();
    for (number, axis) in axes.into_iter().enumerate().filter(|(_, axis)| old[*axis] != new[*axis]) {
        let length = old[axis].fixed().and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or_else(|| {
            node.refuse(format!("the length of its input along axis {axis} is free, expected a fixed one"))
        })?;
        matrices.push((axis, matrix(tape, node, number, length)?));
    }
    Ok(matrices)
}

/// What the node makes of the unit vectors of one axis, `[old length, new length]`.
fn matrix(tape: &mut Tape, node: &TapeNode, number: usize, length: usize) -> Result<Value> {
    let mut unit = vec![0.0; length * length];
    unit.iter_mut().step_by(length + 1).for_each(|one| *one = 1.0);
    let unit = tape.build.constant("unit", Tensor::f32(&[length, 1, length, 1], unit)?);
    let at = tape.build.ints("axis", &[number as i64]);
    let (scales, sizes) = (node.x(2), node.x(3));
    let mut proto = node.proto.clone();
    proto.attribute.retain(|other| !matches!(other.name.as_str(), "axes" | "keep_aspect_ratio_policy"));
    let none = Value::none();
    let resized = if sizes.name().is_empty() {
        let one = tape.build.constant("one", Tensor::f32(&[1], vec![1.0])?);
        let scale = tape.build.gather(&scales, &at, 0);
        let scales = tape.build.concat(&[&one, &one, &scale, &one], 0);
        tape.build.copy(&proto, &[&unit, &none, &scales], &[])
    } else {
        let (rows, one) = (tape.build.ints("rows", &[length as i64]), tape.build.ints("one", &[1]));
        let size = tape.build.gather(&sizes, &at, 0);
        let sizes = tape.build.concat(&[&rows, &one, &size, &one], 0);
        tape.build.copy(&proto, &[&unit, &none, &none, &sizes], &[])
    };
    let resized = resized.into_iter().next().unwrap_or_else(Value::none);
    let matrix = tape.build.reshape(&resized, &[length as i64, -1]);
    let dtype = tape.dtype(&node.y());
    Ok(if dtype == DType::F32 { matrix } else { tape.build.cast(&matrix, dtype) })
}

/// The product of a matrix with a value of this rank along one axis.
fn along(tape: &mut Tape, value: &Value, matrix: &Value, axis: usize, rank: usize) -> Value {
    if axis + 1 == rank {
        return tape.build.matmul(value, matrix);
    }
    let mut order: Vec<i64> = (0..rank as i64).collect();
    order.swap(axis, rank - 1);
    let turned = tape.build.transpose(value, &order);
    let product = tape.build.matmul(&turned, matrix);
    tape.build.transpose(&product, &order)
}
