//! Convolution, pooling and resampling.

use onnx_protobuf::NodeProto;

use super::row::{Change::*, Operator, OutputType::*, int, op};
use crate::DType;

const CEIL_MODE: &str = "windows at the border are counted in another way when ceil_mode is set";

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("AffineGrid", &[20]),
    op("AveragePool", &[1, 7, 10, 11, 19, 22])
        .changes(&[(&[10], Compatible("ceil_mode = 0, dilations = 1")),
            (&[11], Compatible("defaults written down")), (&[19, 22], CompatibleIf(rounds_down, CEIL_MODE))]),
    op("Col2Im", &[18]),
    op("Conv", &[1, 11, 22]).changes(&[(&[11], Compatible("defaults written down")), (&[22], MoreTypes)])
        .channel_axis(first_axis).learned(),
    op("ConvTranspose", &[1, 11, 22]).changes(&[(&[22], MoreTypes)]),
    op("DeformConv", &[19, 22]).changes(&[(&[22], MoreTypes)]),
    op("GlobalAveragePool", &[1, 22]).changes(&[(&[22], MoreTypes)]).learned(),
    op("GlobalLpPool", &[1, 2, 22]).changes(&[(&[22], MoreTypes)]),
    op("GlobalMaxPool", &[1, 22]).changes(&[(&[22], MoreTypes)]).learned(),
    op("GridSample", &[16, 20, 22]).changes(&[(&[20], Incompatible("its modes have other names"))]),
    op("ImageDecoder", &[20]).outputs(&[Is(DType::U8)]),
    op("LpPool", &[1, 2, 11, 18, 22]).changes(&[(&[22], MoreTypes)]),
    op("MaxPool", &[1, 8, 10, 11, 12, 22])
        .changes(&[(&[8], Compatible("storage_order = 0 and a second, optional output")),
            (&[10], Compatible("ceil_mode = 0, dilations = 1")),
            (&[11], Compatible("defaults written down")),
            (&[12], Compatible("8-bit integers; the same formulas in other words")),
            (&[22], CompatibleIf(rounds_down, CEIL_MODE))])
        .outputs(&[Like(0), Is(DType::I64)]),
    op("MaxRoiPool", &[1, 22]).changes(&[(&[22], MoreTypes)]),
    op("MaxUnpool", &[9, 11, 22])
        .changes(&[(&[11], Compatible("defaults written down")), (&[22], MoreTypes)]),
    op("Resize", &[10, 11, 13, 18, 19])
        .changes(&[(&[11], Incompatible("coordinates are computed in another way")),
            (&[13], Compatible("roi and scales may be left out")),
            (&[18], Incompatible("its rules for coordinates and sizes were written anew"))]),
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
