//! Operators that make values: constants, shapes, ranges, random numbers.

use onnx_protobuf::NodeProto;

use super::{
    elements::filled,
    row::{Change::*, InputTypes, Operator, OutputType::*, op, stated_type},
    shape::scalar,
};
use crate::{
    DType,
    calculus::DerivativeRule::Zero,
    shapes::{Facts, Length, MAX_ELEMENTS},
    weight,
};

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("Bernoulli", &[15, 22]).all_outputs(like_type).random(),
    op("Constant", &[1, 9, 11, 12, 13, 19, 21, 23, 24, 25])
        .changes(&[(&[9, 13, 19, 21, 23, 24, 25], MoreTypes), (&[11, 12], Compatible("other values"))])
        .all_outputs(constant_type).shape(constant_shape).elements(constant_elements).derivative(Zero)
        .learned(),
    op("ConstantOfShape", &[9, 20, 21, 23, 24, 25]).changes(&[(&[20, 21, 23, 24, 25], MoreTypes)])
        .all_outputs(constant_type).shape(input_elements_shape).elements(filled).derivative(Zero).learned(),
    op("EyeLike", &[9, 22]).changes(&[(&[22], MoreTypes)]).all_outputs(like_type).derivative(Zero),
    op("Multinomial", &[7, 22]).outputs(&[]).random(),
    op("RandomNormal", &[1, 22]).all_outputs(random_type).random(),
    op("RandomNormalLike", &[1, 22]).all_outputs(like_type).random(),
    op("RandomUniform", &[1, 22]).all_outputs(random_type).random(),
    op("RandomUniformLike", &[1, 22]).all_outputs(like_type).random(),
    op("Range", &[11, 27]).shape(range_shape).derivative(Zero).learned(),
    op("Shape", &[1, 13, 15, 19, 21, 23, 24, 25])
        .changes(&[(&[13, 19, 21, 23, 24, 25], MoreTypes), (&[15], Compatible("start = 0, end = rank"))])
        .outputs(&[Is(DType::I64)]).shape(shape_shape).elements(shape_elements).derivative(Zero).learned(),
    op("Size", &[1, 13, 19, 21, 23, 24, 25]).changes(&[(&[13, 19, 21, 23, 24, 25], MoreTypes)])
        .outputs(&[Is(DType::I64)]).shape(scalar).derivative(Zero).learned(),
];

/// The type that the attribute `dtype` names, or that of the first input.
fn like_type(node: &NodeProto, input_types: InputTypes<'_>) -> Option<DType> {
    stated_type(node, "dtype").map_or_else(|| input_types(0), DType::from_onnx)
}

/// The type that the attribute `dtype` names, or 32-bit float.
fn random_type(node: &NodeProto, _: InputTypes<'_>) -> Option<DType> {
    stated_type(node, "dtype").map_or(Some(DType::F32), DType::from_onnx)
}

fn constant_type(node: &NodeProto, _: InputTypes<'_>) -> Option<DType> {
    let value = node.attribute.first();
    match value.map(|attribute| attribute.name.as_str()) {
        Some("value") => DType::from_onnx(value?.t.data_type),
        Some("value_int" | "value_ints") => Some(DType::I64),
        Some("value_float" | "value_floats") => Some(DType::F32),
        Some(_) => None,
        None => Some(DType::F32),
    }
}

fn constant_shape(_: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let value = node.attribute.first()?;
    match value.name.as_str() {
        "value" => Some(value.t.dims.iter().copied().map(Length::Fixed).collect()),
        "value_ints" => Some(vec![Length::Fixed(i64::try_from(value.ints.len()).ok()?)]),
        "value_floats" => Some(vec![Length::Fixed(i64::try_from(value.floats.len()).ok()?)]),
        _ => Some(Vec::new()),
    }
}

fn constant_elements(_: &Facts, node: &NodeProto) -> Option<Vec<Length>> {
    let value = node.attribute.first()?;
    let values = match value.name.as_str() {
        "value" => weight::small_ints(&value.t, MAX_ELEMENTS)?,
        "value_int" => vec![value.i],
        "value_ints" => value.ints.clone(),
        _ => return None,
    };
    Some(values.into_iter().map(Length::Fixed).collect())
}

/// The elements of the input are the lengths of the output's axes.
fn input_elements_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    facts.input_elements(node, 0)
}

/// The numbers from 0 to below a length are as many as that length says.
fn range_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let one = |input: usize| facts.input_elements(node, input)?.first().copied();
    let counted = one(0) == Some(Length::Fixed(0)) && one(2) == Some(Length::Fixed(1));
    Some(vec![one(1).filter(|_| counted).unwrap_or_else(|| facts.fresh())])
}

fn shape_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    Some(vec![Length::Fixed(i64::try_from(facts.input_dims(node, 0)?.len()).ok()?)])
}

fn shape_elements(facts: &Facts, node: &NodeProto) -> Option<Vec<Length>> {
    facts.input_dims(node, 0)
}
