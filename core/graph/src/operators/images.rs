//! Convolution, pooling and resampling.

use onnx_protobuf::NodeProto;

use super::{
    resampling::{resize_forward, resize_reverse, resize_shape},
    row::{Change::*, Operator, OutputType::*, int, op},
    windows::{
        average_pool_forward, average_pool_reverse, conv_forward, conv_reverse, global_average_forward,
        global_average_reverse,
    },
};
use crate::{
    DType,
    calculus::DerivativeRule::Formulas,
    shapes::{Facts, Length},
    walk::attribute,
};

const CEIL_MODE: &str = "windows at the border are counted in another way when ceil_mode is set";

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("AffineGrid", &[20]),
    op("AveragePool", &[1, 7, 10, 11, 19, 22])
        .changes(&[(&[10], Compatible("ceil_mode = 0, dilations = 1")),
            (&[11], Compatible("defaults written down")), (&[19, 22], CompatibleIf(rounds_down, CEIL_MODE))])
        .shape(pool_shape)
        .derivative(Formulas { forward: average_pool_forward, reverse: average_pool_reverse }),
    op("Col2Im", &[18]),
    op("Conv", &[1, 11, 22]).changes(&[(&[11], Compatible("defaults written down")), (&[22], MoreTypes)])
        .shape(conv_shape).derivative(Formulas { forward: conv_forward, reverse: conv_reverse })
        .channel_axis(first_axis).learned(),
    op("ConvTranspose", &[1, 11, 22]).changes(&[(&[22], MoreTypes)]),
    op("DeformConv", &[19, 22]).changes(&[(&[22], MoreTypes)]),
    op("GlobalAveragePool", &[1, 22]).changes(&[(&[22], MoreTypes)]).shape(global_shape)
        .derivative(Formulas { forward: global_average_forward, reverse: global_average_reverse }).learned(),
    op("GlobalLpPool", &[1, 2, 22]).changes(&[(&[22], MoreTypes)]).shape(global_shape),
    op("GlobalMaxPool", &[1, 22]).changes(&[(&[22], MoreTypes)]).shape(global_shape).learned(),
    op("GridSample", &[16, 20, 22]).changes(&[(&[20], Incompatible("its modes have other names"))]),
    op("ImageDecoder", &[20]).outputs(&[Is(DType::U8)]),
    op("LpPool", &[1, 2, 11, 18, 22]).changes(&[(&[22], MoreTypes)]),
    op("MaxPool", &[1, 8, 10, 11, 12, 22])
        .changes(&[(&[8], Compatible("storage_order = 0 and a second, optional output")),
            (&[10], Compatible("ceil_mode = 0, dilations = 1")),
            (&[11], Compatible("defaults written down")),
            (&[12], Compatible("8-bit integers; the same formulas in other words")),
            (&[22], CompatibleIf(rounds_down, CEIL_MODE))])
        .outputs(&[Like(0), Is(DType::I64)]).shape(pool_shape),
    op("MaxRoiPool", &[1, 22]).changes(&[(&[22], MoreTypes)]),
    op("MaxUnpool", &[9, 11, 22])
        .changes(&[(&[11], Compatible("defaults written down")), (&[22], MoreTypes)]),
    op("Resize", &[10, 11, 13, 18, 19])
        .changes(&[(&[11], Incompatible("coordinates are computed in another way")),
            (&[13], Compatible("roi and scales may be left out")),
            (&[18], Incompatible("its rules for coordinates and sizes were written anew"))])
        .shape(resize_shape).derivative(Formulas { forward: resize_forward, reverse: resize_reverse }),
    op("RoiAlign", &[10, 16, 22])
        .changes(&[(&[16], Incompatible("its default coordinates are shifted by half a pixel")),
            (&[22], MoreTypes)]),
    op("Upsample", &[1, 7, 9, 10]).changes(&[(&[10], Incompatible("it was replaced by Resize"))]),
];

fn rounds_down(node: &NodeProto) -> bool {
    int(node, "ceil_mode", 0) == 0
}

fn first_axis(_: &NodeProto, _: usize) -> usize {
    0
}

/// `[N, C, ..]` to `[N, C, 1, ..]`.
fn global_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let dims = facts.input_dims(node, 0)?;
    Some((0..dims.len()).map(|at| if at < 2 { dims[at] } else { Length::Fixed(1) }).collect())
}

/// `[N, C, ..]` and a kernel `[M, C / group, ..]` to `[N, M, ..]`.
fn conv_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let (dims, kernel) = (facts.input_dims(node, 0)?, facts.input_dims(node, 1)?);
    if dims.len() != kernel.len() || dims.len() < 3 {
        return None;
    }
    let sizes: Vec<Option<i64>> = kernel[2..].iter().map(|length| length.fixed()).collect();
    let spatial = slid(facts, node, &dims[2..], &sizes);
    Some([&[dims[0], kernel[0]][..], &spatial].concat())
}

/// `[N, C, ..]` to `[N, C, ..]`.
fn pool_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let dims = facts.input_dims(node, 0)?;
    let kernel = &attribute(node, "kernel_shape")?.ints;
    if dims.len() != kernel.len() + 2 {
        return None;
    }
    let sizes: Vec<Option<i64>> = kernel.iter().map(|length| Some(*length)).collect();
    let spatial = slid(facts, node, &dims[2..], &sizes);
    Some([&dims[..2], &spatial].concat())
}

/// The lengths of the axes over which a window slides; a new symbol for one that is not known.
///
/// `(length + pads - dilation (size - 1) - 1) / stride + 1`, or `ceil(length / stride)` with `auto_pad =
/// SAME_*`.
fn slid(facts: &mut Facts, node: &NodeProto, dims: &[Length], sizes: &[Option<i64>]) -> Vec<Length> {
    let ints = |name: &str| attribute(node, name).map(|attribute| attribute.ints.clone());
    let (strides, dilations, pads) = (ints("strides"), ints("dilations"), ints("pads"));
    let of = |values: &Option<Vec<i64>>, at: usize, default: i64| match values {
        Some(values) => values.get(at).copied().unwrap_or(default),
        None => default,
    };
    let auto = attribute(node, "auto_pad").map(|attribute| attribute.s.clone()).unwrap_or_default();
    let same = auto.starts_with(b"SAME");
    let mut lengths = Vec::with_capacity(dims.len());
    for (at, (dim, size)) in dims.iter().zip(sizes).enumerate() {
        let stride = of(&strides, at, 1);
        let length = match (dim.fixed(), size) {
            _ if stride < 1 || !rounds_down(node) => None,
            (Some(length), _) if same => length.checked_add(stride - 1).map(|length| length / stride),
            (Some(length), Some(size)) => {
                let pads = of(&pads, at, 0).checked_add(of(&pads, at + dims.len(), 0));
                let window = size.checked_sub(1).and_then(|size| size.checked_mul(of(&dilations, at, 1)));
                let steps = pads
                    .zip(window)
                    .and_then(|(pads, window)| length.checked_add(pads)?.checked_sub(window)?.checked_sub(1));
                steps.and_then(|steps| (steps / stride).checked_add(1))
            }
            _ => None,
        };
        let known = length.filter(|length| *length >= 0).map(Length::Fixed);
        lengths.push(known.unwrap_or_else(|| facts.fresh()));
    }
    lengths
}
