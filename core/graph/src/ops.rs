//! Methods of [`Builder`] for operators and small layers.
//!
//! All operators used here have the same form in every opset from [`crate::OPSET`] on. `ReduceMean` is
//! missing, because its form changed in opset 18.

use crate::{Attr, Builder, DType, Value};

/// Defines a method for each operator with one input and no attribute.
macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident $operator:literal)*) => {
        impl Builder {
            $(
                $(#[$doc])*
                pub fn $name(&mut self, x: &Value) -> Value {
                    self.op($operator, &[x], &[])
                }
            )*
        }
    };
}

/// Defines a method for each operator with two inputs, which are broadcast to each other.
macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident $operator:literal)*) => {
        impl Builder {
            $(
                $(#[$doc])*
                pub fn $name(&mut self, a: &Value, b: &Value) -> Value {
                    self.op($operator, &[a, b], &[])
                }
            )*
        }
    };
}

unary! {
    /// `-x`.
    neg "Neg"
    /// Square root.
    sqrt "Sqrt"
    /// `e^x`.
    exp "Exp"
    /// Natural logarithm.
    log "Log"
    /// Absolute value.
    abs "Abs"
    /// -1, 0 or 1.
    sign "Sign"
    /// `max(x, 0)`.
    relu "Relu"
    /// Hyperbolic tangent.
    tanh "Tanh"
    /// The error function.
    erf "Erf"
    /// The lengths of the axes, `i64[rank]`.
    shape "Shape"
    /// The same value under another name.
    identity "Identity"
}

binary! {
    /// `a + b`, broadcast.
    add "Add"
    /// `a - b`, broadcast.
    sub "Sub"
    /// `a * b`, broadcast.
    mul "Mul"
    /// `a / b`, broadcast.
    div "Div"
    /// Matrix product of the last two axes; the axes before them are broadcast.
    matmul "MatMul"
}

impl Builder {
    /// `x + value` for 32-bit floats.
    pub fn add_scalar(&mut self, x: &Value, value: f32) -> Value {
        let value = self.scalar(value);
        self.add(x, &value)
    }

    /// `x * value` for 32-bit floats.
    pub fn mul_scalar(&mut self, x: &Value, value: f32) -> Value {
        let value = self.scalar(value);
        self.mul(x, &value)
    }

    /// `max(x, value)` for 32-bit floats.
    pub fn max_scalar(&mut self, x: &Value, value: f32) -> Value {
        let value = self.scalar(value);
        self.op("Max", &[x, &value], &[])
    }

    /// `x^exponent` for 32-bit floats.
    pub fn pow(&mut self, x: &Value, exponent: f32) -> Value {
        let exponent = self.scalar(exponent);
        self.op("Pow", &[x, &exponent], &[])
    }

    /// GELU in its exact form: `x * Phi(x)` with the distribution function `Phi` of the standard normal
    /// distribution (Hendrycks and Gimpel 2016).
    pub fn gelu(&mut self, x: &Value) -> Value {
        let scaled = self.mul_scalar(x, std::f32::consts::FRAC_1_SQRT_2);
        let erf = self.erf(&scaled);
        let shifted = self.add_scalar(&erf, 1.0);
        let halved = self.mul_scalar(x, 0.5);
        self.mul(&halved, &shifted)
    }

    /// Softmax over one axis (a negative one counts from the end).
    pub fn softmax(&mut self, x: &Value, axis: i64) -> Value {
        self.op("Softmax", &[x], &[("axis", axis.into())])
    }

    /// Layer normalisation over the last axis: `(x - mean) / sqrt(variance + eps) * scale + bias` (Ba, Kiros
    /// and Hinton 2016).
    pub fn layer_norm(&mut self, x: &Value, scale: &Value, bias: &Value, eps: f32) -> Value {
        let attributes = [("axis", Attr::Int(-1)), ("epsilon", eps.into())];
        self.op("LayerNormalization", &[x, scale, bias], &attributes)
    }

    /// `x / max(|x|, eps)` with the Euclidean norm over one axis: unit vectors, and zero for the zero vector.
    pub fn l2_normalise(&mut self, x: &Value, axis: i64, eps: f32) -> Value {
        let squares = self.mul(x, x);
        let sum = self.reduce_sum(&squares, &[axis], true);
        // The maximum is taken before the root, so that the derivative of the root is finite at zero.
        let sum = self.max_scalar(&sum, eps * eps);
        let norm = self.sqrt(&sum);
        self.div(x, &norm)
    }

    /// Linear layer: `x W + b` with `W[in, out]` and `b[out]`.
    pub fn linear(&mut self, x: &Value, weight: &Value, bias: Option<&Value>) -> Value {
        let product = self.matmul(x, weight);
        match bias {
            Some(bias) => self.add(&product, bias),
            None => product,
        }
    }

    /// Feed-forward network: linear layers `(W[in, out], b[out])` with GELU between them.
    pub fn mlp(&mut self, x: &Value, layers: &[(Value, Value)]) -> Value {
        let mut hidden = x.clone();
        for (index, (weight, bias)) in layers.iter().enumerate() {
            if index > 0 {
                hidden = self.gelu(&hidden);
            }
            hidden = self.linear(&hidden, weight, Some(bias));
        }
        hidden
    }

    /// Sum over axes (negative ones count from the end); `keepdims` keeps them with length 1.
    pub fn reduce_sum(&mut self, x: &Value, axes: &[i64], keepdims: bool) -> Value {
        let axes = self.ints("axes", axes);
        self.op("ReduceSum", &[x, &axes], &[("keepdims", i64::from(keepdims).into())])
    }

    /// Permutes the axes: axis `i` of the result is axis `order[i]` of `x`.
    pub fn transpose(&mut self, x: &Value, order: &[i64]) -> Value {
        self.op("Transpose", &[x], &[("perm", order.into())])
    }

    /// The same elements in another shape: 0 keeps the length of an axis, one -1 is inferred.
    pub fn reshape(&mut self, x: &Value, shape: &[i64]) -> Value {
        let shape = self.ints("shape", shape);
        self.reshape_to(x, &shape)
    }

    /// The same elements in a shape that is itself a value (`i64[rank]`).
    pub fn reshape_to(&mut self, x: &Value, shape: &Value) -> Value {
        self.op("Reshape", &[x, shape], &[])
    }

    /// Inserts axes of length 1 at these indices of the result.
    pub fn unsqueeze(&mut self, x: &Value, axes: &[i64]) -> Value {
        let axes = self.ints("axes", axes);
        self.op("Unsqueeze", &[x, &axes], &[])
    }

    /// Removes these axes of length 1.
    pub fn squeeze(&mut self, x: &Value, axes: &[i64]) -> Value {
        let axes = self.ints("axes", axes);
        self.op("Squeeze", &[x, &axes], &[])
    }

    /// Concatenates values along an axis.
    pub fn concat(&mut self, parts: &[&Value], axis: i64) -> Value {
        self.op("Concat", parts, &[("axis", axis.into())])
    }

    /// The `k` largest elements along an axis, in descending order, and their indices (`i64`).
    pub fn top_k(&mut self, x: &Value, k: usize, axis: i64) -> (Value, Value) {
        let k = self.ints("k", &[i64::try_from(k).unwrap_or(i64::MAX)]);
        let [values, indices] = self.op_many("TopK", &[x, &k], &[("axis", axis.into())]);
        (values, indices)
    }

    /// `a` where the condition (`bool`) is true, else `b`; all are broadcast to each other.
    pub fn where_(&mut self, condition: &Value, a: &Value, b: &Value) -> Value {
        self.op("Where", &[condition, a, b], &[])
    }

    /// The same elements in another type.
    pub fn cast(&mut self, x: &Value, dtype: DType) -> Value {
        self.op("Cast", &[x], &[("to", i64::from(dtype.onnx()).into())])
    }

    /// The slices of `x` along an axis at these indices (`i64` of any rank).
    pub fn gather(&mut self, x: &Value, indices: &Value, axis: i64) -> Value {
        self.op("Gather", &[x, indices], &[("axis", axis.into())])
    }

    /// Broadcasts to a shape that is itself a value (`i64[rank]`).
    pub fn expand(&mut self, x: &Value, shape: &Value) -> Value {
        self.op("Expand", &[x, shape], &[])
    }

    /// Mean of `tokens[B, T, D]` over the positions where `mask[B, T]` (`f32`, 0 or 1) is 1: `[B, D]`, zero
    /// if the mask is all zeros.
    pub fn mean_pool(&mut self, tokens: &Value, mask: &Value) -> Value {
        // A matrix product with the mask as a row reads the tokens once; multiplying and then summing would
        // write a copy of them.
        let row = self.unsqueeze(mask, &[1]);
        let sum = self.matmul(&row, tokens);
        let sum = self.squeeze(&sum, &[1]);
        let count = self.reduce_sum(mask, &[1], true);
        let count = self.max_scalar(&count, 1.0);
        self.div(&sum, &count)
    }

    /// The first token of `tokens[B, T, D]`: `[B, D]`.
    pub fn cls_pool(&mut self, tokens: &Value) -> Value {
        match crate::Tensor::i64(&[], vec![0]) {
            Ok(first) => {
                let first = self.constant("first", first);
                self.gather(tokens, &first, 1)
            }
            Err(error) => self.fail(error),
        }
    }
}
