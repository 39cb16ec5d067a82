//! The table of rules: how each operator passes tangents forward and cotangents back.
//!
//! Most operators are one of two kinds that both directions share: element-wise ones and reductions, whose
//! derivative is one factor per element. The others have a formula for each direction. At kinks: 0 for `Relu`
//! and `Abs` at 0, ties of `Max` and `Min` share equally, the bounds of `Clip` pass (PyTorch's conventions,
//! but for `Max` against a constant, whose tie passes whole, as that of a bound does).

mod elementwise;
mod layers;
mod linear;
mod pick;
mod reduce;
mod reshape;
mod rule;

pub(super) use reduce::with_axes as reduce_axes;
pub(super) use rule::{Factor, Rule};

use super::tape::Call;
use crate::Result;

impl Call {
    /// The rule of this node's operator; an error when there is none.
    #[rustfmt::skip]
    pub(super) fn rule(&self) -> Result<Rule> {
        use Rule::{Elementwise, Flat, Formulas, Reduction};
        if !self.node.domain.is_empty() {
            return Err(self.refuse("its domain is not ai.onnx"));
        }
        Ok(match self.node.op_type.as_str() {
            "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Not" | "And" | "Or" | "Xor"
            | "Shape" | "Size" | "ArgMax" | "ArgMin" | "NonZero" | "Range" | "ConstantOfShape" | "Constant"
            | "Floor" | "Ceil" | "Round" | "Sign" | "IsNaN" | "IsInf" | "EyeLike" | "OneHot" => Flat,
            "Add" | "Sum" | "Identity" => Elementwise(elementwise::one),
            "Sub" => Elementwise(elementwise::sub),
            "Neg" => Elementwise(elementwise::neg),
            "Mul" => Elementwise(elementwise::mul),
            "Div" => Elementwise(elementwise::div),
            "Reciprocal" => Elementwise(elementwise::reciprocal),
            "Pow" => Elementwise(elementwise::pow),
            "Sqrt" => Elementwise(elementwise::sqrt),
            "Exp" => Elementwise(elementwise::exp),
            "Log" => Elementwise(elementwise::log),
            "Abs" => Elementwise(elementwise::abs),
            "Sin" => Elementwise(elementwise::sin),
            "Cos" => Elementwise(elementwise::cos),
            "Erf" => Elementwise(elementwise::erf),
            "Tanh" => Elementwise(elementwise::tanh),
            "Sigmoid" => Elementwise(elementwise::sigmoid),
            "Softplus" => Elementwise(elementwise::softplus),
            "Relu" => Elementwise(elementwise::relu),
            "LeakyRelu" => Elementwise(elementwise::leaky_relu),
            "Gelu" => Elementwise(elementwise::gelu),
            "Clip" => Elementwise(elementwise::clip),
            "Max" | "Min" => Elementwise(elementwise::extreme),
            "ReduceSum" => Reduction(reduce::sum),
            "ReduceMean" => Reduction(reduce::mean),
            "ReduceSumSquare" => Reduction(reduce::sum_square),
            "ReduceL1" => Reduction(reduce::l1),
            "ReduceL2" => Reduction(reduce::l2),
            "ReduceMax" | "ReduceMin" => Reduction(reduce::extreme),
            "ReduceLogSumExp" => Reduction(reduce::log_sum_exp),
            "Where" => Formulas { forward: pick::where_forward, reverse: pick::where_reverse },
            "Cast" => Formulas { forward: reshape::cast_forward, reverse: reshape::cast_reverse },
            "MatMul" => Formulas { forward: linear::matmul_forward, reverse: linear::matmul_reverse },
            "Gemm" => Formulas { forward: linear::gemm_forward, reverse: linear::gemm_reverse },
            "Einsum" => Formulas { forward: linear::einsum_forward, reverse: linear::einsum_reverse },
            "Transpose" => {
                Formulas { forward: reshape::transpose_forward, reverse: reshape::transpose_reverse }
            }
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => {
                Formulas { forward: reshape::reshape_forward, reverse: reshape::reshape_reverse }
            }
            "Expand" => Formulas { forward: reshape::expand_forward, reverse: reshape::expand_reverse },
            "Concat" => Formulas { forward: reshape::concat_forward, reverse: reshape::concat_reverse },
            "Split" => Formulas { forward: reshape::split_forward, reverse: reshape::split_reverse },
            "Slice" => Formulas { forward: pick::slice_forward, reverse: pick::slice_reverse },
            "Gather" => Formulas { forward: pick::gather_forward, reverse: pick::gather_reverse },
            "GatherElements" => {
                Formulas { forward: pick::gather_elements_forward, reverse: pick::gather_elements_reverse }
            }
            "TopK" => Formulas { forward: pick::top_k_forward, reverse: pick::top_k_reverse },
            "Softmax" => Formulas { forward: layers::softmax_forward, reverse: layers::softmax_reverse },
            "LogSoftmax" => {
                Formulas { forward: layers::log_softmax_forward, reverse: layers::log_softmax_reverse }
            }
            "LayerNormalization" => {
                Formulas { forward: layers::layer_norm_forward, reverse: layers::layer_norm_reverse }
            }
            _ => return Err(self.refuse("no rule for this operator")),
        })
    }
}
