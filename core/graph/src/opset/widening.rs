//! Which versions of an operator mean the same as the one before, for every graph that was valid before.
//!
//! Curated by hand from the operators' schemas and texts (`tools/operators.py --changes` lists what the
//! schemas say), and conservative: a change that is not listed here is refused. Opsets up to 7 and above 25
//! were not reviewed.

use onnx_protobuf::NodeProto;

use super::rewrite::Move;
use crate::walk::attribute;

/// How an operator crosses an opset that changed it.
pub(super) enum Step {
    /// As it is.
    Keep,
    /// An attribute of integers becomes the input with this number.
    Rewrite(Move),
    /// Not at all, for this reason.
    Refuse(&'static str),
}

/// Versions that only let an operator take more element types (or sequences and optionals, for control flow).
#[rustfmt::skip]
const TYPES: &[(i64, &[&str])] = &[
    (9, &["Cast", "Constant", "Flatten", "Gemm", "Greater", "Less", "MatMul", "PRelu"]),
    (11, &["Equal"]),
    (12, &["Clip", "Max", "Min", "Pow", "ReduceMax", "ReduceMin"]),
    (13, &[
        "Abs", "Add", "ArgMax", "ArgMin", "Cast", "Ceil", "Clip", "Concat", "Constant", "DepthToSpace", "Div",
        "Dropout", "Equal", "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND",
        "Gemm", "Greater", "Identity", "If", "IsNaN", "LRN", "Less", "Log", "Loop", "MatMul", "Max", "Mean",
        "Min", "Mod", "Mul", "Neg", "NonZero", "Pad", "Pow", "Reciprocal", "ReduceL1", "ReduceL2",
        "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
        "ReduceSumSquare", "Relu", "Reshape", "ScatterElements", "ScatterND", "Shape", "Sigmoid", "Sign",
        "Size", "Slice", "SpaceToDepth", "Sqrt", "Sub", "Sum", "Tanh", "Tile", "Transpose",
    ]),
    (14, &["Add", "CumSum", "Div", "Identity", "Mul", "Relu", "Sub"]),
    (15, &["BatchNormalization", "Pow"]),
    (16, &["GreaterOrEqual", "Identity", "If", "LeakyRelu", "LessOrEqual", "Loop", "PRelu", "Scan", "Where"]),
    (19, &[
        "Constant", "DequantizeLinear", "Equal", "Identity", "If", "Loop", "Reshape", "Scan", "Shape", "Size",
    ]),
    (20, &["ConstantOfShape", "IsInf", "IsNaN", "ReduceMax", "ReduceMin"]),
    (21, &[
        "Cast", "CastLike", "Constant", "ConstantOfShape", "Flatten", "Identity", "If", "Loop", "Pad",
        "QLinearMatMul", "Reshape", "Scan", "Shape", "Size", "Squeeze", "Transpose", "Unsqueeze",
    ]),
    (22, &[
        "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Conv", "ConvTranspose", "Cos", "Cosh",
        "DeformConv", "Det", "Dropout", "Elu", "EyeLike", "GRU", "GlobalAveragePool", "GlobalLpPool",
        "GlobalMaxPool", "HardSigmoid", "HardSwish", "InstanceNormalization", "LSTM", "LpNormalization",
        "LpPool", "MaxRoiPool", "MaxUnpool", "Mish", "RNN", "RoiAlign", "Round", "Selu", "Sin", "Sinh",
        "Softplus", "Softsign", "Tan", "ThresholdedRelu",
    ]),
    (23, &[
        "Cast", "CastLike", "Constant", "ConstantOfShape", "Flatten", "Identity", "If", "Loop", "Pad",
        "Reshape", "Scan", "Shape", "Size", "Squeeze", "Transpose", "Unsqueeze",
    ]),
    (24, &[
        "Constant", "ConstantOfShape", "DequantizeLinear", "Flatten", "Identity", "If", "Loop", "Pad",
        "Reshape", "Scan", "Shape", "Size", "Squeeze", "TopK", "Transpose", "Unsqueeze",
    ]),
    (25, &[
        "Cast", "CastLike", "Constant", "ConstantOfShape", "DequantizeLinear", "Flatten", "Identity", "If",
        "Loop", "Pad", "Reshape", "Scan", "Shape", "Size", "Squeeze", "Transpose", "Unsqueeze",
    ]),
];

/// Versions from which an axis or index may be negative and counts from the end, where it was an error
/// before.
#[rustfmt::skip]
const NEGATIVE: &[(i64, &[&str])] = &[
    (11, &[
        "ArgMax", "ArgMin", "Compress", "Concat", "Flatten", "Gather", "Hardmax", "LogSoftmax", "ReduceL1",
        "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
        "ReduceSum", "ReduceSumSquare", "Scan", "Slice", "Softmax", "Split", "Squeeze", "Unsqueeze",
    ]),
];

/// Versions that added attributes or optional inputs, and what is left out means what it meant before.
#[rustfmt::skip]
const DEFAULTS: &[(i64, &[&str])] = &[
    (8, &["MaxPool"]),                              // storage_order = 0 and a second, optional output
    (10, &["AveragePool", "MaxPool"]),              // ceil_mode = 0, dilations = 1
    // other values; mode = DCR; C may be left out; largest = sorted = 1
    (11, &["Constant", "DepthToSpace", "Gemm", "TopK"]),
    // select_last_index = 0; other values; batch_dims = 0
    (12, &["ArgMax", "ArgMin", "Constant", "GatherND"]),
    // axis (only for several scales, new); roi, scales optional
    (13, &["DequantizeLinear", "QuantizeLinear", "Resize"]),
    (14, &["GRU", "LSTM", "RNN", "Reshape"]),       // layout = 0; allowzero = 0
    (15, &["Shape"]),                               // start = 0, end = rank
    (16, &["ScatterElements", "ScatterND"]),        // reduction = none
    (18, &["Pad", "ScatterElements", "ScatterND"]), // axes = all; other reductions
    (19, &["Cast", "CastLike", "Pad", "QuantizeLinear"]), // saturate (float 8 only); a new mode
    (21, &["DequantizeLinear", "QuantizeLinear"]),  // block_size = 0, output_dtype = as before
    (23, &["DequantizeLinear"]),                    // output_dtype = as before
    (24, &["Cast", "CastLike"]),                    // round_mode (float 8 only)
];

/// Versions that changed words, or rules for what was an error before.
#[rustfmt::skip]
const OTHER: &[(i64, &[&str])] = &[
    (8, &["Max", "Mean", "Min", "Sum"]),            // inputs of different shapes are broadcast
    // defaults written down; If: shapes may differ
    (11, &["AveragePool", "Conv", "If", "MaxPool", "MaxUnpool", "NonMaxSuppression"]),
    (12, &["MaxPool"]),                             // 8-bit integers; the same formulas in other words
    (13, &["Erf"]),                                 // integers no longer allowed; floats as before
];

/// Versions known to have changed the meaning, with the reason that the refusal gives.
#[rustfmt::skip]
const CHANGED: &[(i64, &[&str], &str)] = &[
    (9, &["Scan"], "the batch axis is gone"),
    (10, &["Slice"], "its bounds became inputs"),
    (10, &["Dropout"], "its mask changed its type"),
    (10, &["TopK"], "k became an input"),
    (10, &["Upsample"], "it was replaced by Resize"),
    (11, &["Clip"], "its bounds became inputs"),
    (11, &["Pad"], "its pads became an input"),
    (11, &["Resize"], "coordinates are computed in another way"),
    (11, &["OneHot"], "negative indices count from the end"),
    (11, &["Scatter"], "it was replaced by ScatterElements"),
    (12, &["Dropout"], "its ratio became an input"),
    (
        13,
        &["Softmax", "LogSoftmax", "Hardmax"],
        "it used to flatten to two axes first, and its default axis changed",
    ),
    (16, &["RoiAlign"], "its default coordinates are shifted by half a pixel"),
    (18, &["Resize"], "its rules for coordinates and sizes were written anew"),
    (20, &["GridSample"], "its modes have other names"),
    (20, &["DFT"], "its axis became an input"),
    (21, &["GroupNormalization"], "its scale and bias are by channel and no longer by group"),
];

const AXES: Move = Move { attribute: "axes", input: 1 };

/// How a node crosses the version that changed its operator.
pub(super) fn step(node: &NodeProto, version: i64) -> Step {
    let name = node.op_type.as_str();
    let is = |attribute_: &str, value: i64| attribute(node, attribute_).is_none_or(|found| found.i == value);
    let only = |holds: bool, reason: &'static str| if holds { Step::Keep } else { Step::Refuse(reason) };
    match (name, version) {
        ("ReduceSum" | "Squeeze" | "Unsqueeze", 13) => Step::Rewrite(AXES),
        (
            "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean"
            | "ReduceMin" | "ReduceProd" | "ReduceSumSquare",
            18,
        ) => Step::Rewrite(AXES),
        ("Split", 13) => Step::Rewrite(Move { attribute: "split", input: 1 }),
        ("Split", 18) => only(
            node.input.get(1).is_some_and(|name| !name.is_empty()),
            "equal parts must be counted in an attribute",
        ),
        ("BatchNormalization", 9) => only(is("spatial", 1), "statistics by position are gone"),
        ("BatchNormalization", 14) => only(
            node.output.iter().skip(1).all(String::is_empty),
            "its further outputs, used in training, changed",
        ),
        ("AveragePool", 19 | 22) | ("MaxPool", 22) => {
            only(is("ceil_mode", 0), "windows at the border are counted in another way when ceil_mode is set")
        }
        _ if [TYPES, NEGATIVE, DEFAULTS, OTHER].iter().any(|table| listed(table, name, version)) => {
            Step::Keep
        }
        _ => {
            let changed = CHANGED.iter().find(|(at, names, _)| *at == version && names.contains(&name));
            Step::Refuse(changed.map_or("it is not known to mean the same", |(_, _, reason)| reason))
        }
    }
}

fn listed(table: &[(i64, &[&str])], name: &str, version: i64) -> bool {
    table.iter().any(|(at, names)| *at == version && names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opset::versions;

    #[test]
    fn every_listed_change_is_one_that_the_schemas_know() {
        let tables = [TYPES, NEGATIVE, DEFAULTS, OTHER];
        let rows = tables.into_iter().flatten().map(|(version, names)| (version, names));
        let rows = rows.chain(CHANGED.iter().map(|(version, names, _)| (version, names)));
        for (version, names) in rows {
            for name in *names {
                assert!(versions(name).contains(version), "{name} did not change in opset {version}");
            }
        }
    }
}
