//! The transform of an item before centring: a curve on each encoder's block, and scaling to length one.
//!
//! `unit` divides by the length. `signed-root` takes sign(x) sqrt|x| first, which reduces the influence of
//! the few large values of pooled activations (the Hellinger map of histograms; Arandjelovic and Zisserman
//! 2012). If an item concatenates the vectors of several encoders, each block is transformed by itself and
//! weighted by 1/sqrt(blocks), so that the whole item has length one and all encoders have the same weight.

use chiasm_graph::{Attr, Builder, Value};
use chiasm_parameters::Choice;
use ndarray::{Array2, ArrayView2, ArrayViewMut1, Axis, Slice};
use serde::{Deserialize, Serialize};

/// The lower bound of the length that an item, or its block, is divided by: its square is the smallest normal
/// number of single precision, in which graphs compute it.
const LEAST_DIVISOR: f32 = 1.1e-19;
/// The least length of an item that is not zero: the squares of 1e5 equal values still are normal numbers of
/// single precision.
const SHORTEST: f64 = 1e-16;
/// The largest length of an item: graphs square it in single precision.
const LONGEST: f64 = 1e19;

/// Returns the first item that no graph can bring to length one, with what was expected and found.
pub(crate) fn unfit_item(items: ArrayView2<'_, f32>) -> Option<(usize, &'static str, String)> {
    items.outer_iter().enumerate().find_map(|(at, item)| {
        let length = item.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        if !length.is_finite() {
            Some((at, "finite numbers", "NaN or infinity".into()))
        } else if length > LONGEST {
            let expected =
                "items of a length up to 1e19, whose squares single precision holds (rescale them)";
            Some((at, expected, format!("a length of {length:.1e}")))
        } else if length > 0.0 && length < SHORTEST {
            let expected = "items of zeros or of a length from 1e-16 up, whose squares single precision \
                            holds (rescale them)";
            Some((at, expected, format!("a length of {length:.1e}")))
        } else {
            None
        }
    })
}

/// What a block goes through before it is brought to length one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Choice)]
#[serde(rename_all = "kebab-case")]
pub enum Curve {
    /// The items as they are.
    Unit,
    /// The signed square root sign(x) sqrt|x|.
    SignedRoot,
}

impl std::fmt::Display for Curve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unit => "unit",
            Self::SignedRoot => "signed-root",
        })
    }
}

/// A curve applied to each block of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Transform {
    pub(crate) curve: Curve,
    blocks: Vec<usize>,
}

impl Transform {
    /// A transform of items that consist of these blocks.
    pub(crate) fn new(curve: Curve, blocks: &[usize]) -> Self {
        Self { curve, blocks: blocks.to_vec() }
    }

    /// Number of columns.
    pub(crate) fn width(&self) -> usize {
        self.blocks.iter().sum()
    }

    /// Number of encoders whose vectors are concatenated.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Applies the transform to rows.
    pub(crate) fn apply(&self, rows: ArrayView2<'_, f32>) -> Array2<f64> {
        let mut out = rows.mapv(f64::from);
        if self.curve == Curve::SignedRoot {
            out.mapv_inplace(|x| x.signum() * x.abs().sqrt());
        }
        for mut row in out.outer_iter_mut() {
            for (start, width) in self.places() {
                scale(row.slice_axis_mut(Axis(0), Slice::from(start..start + width)), self.weight());
            }
        }
        out
    }

    /// Adds the transform to a graph.
    pub(crate) fn build(&self, b: &mut Builder, x: &Value) -> Value {
        let curved = match self.curve {
            Curve::Unit => x.clone(),
            Curve::SignedRoot => {
                let size = b.abs(x);
                let root = b.sqrt(&size);
                let sign = b.sign(x);
                b.mul(&sign, &root)
            }
        };
        if self.blocks.len() == 1 {
            return b.l2_normalise(&curved, -1, LEAST_DIVISOR);
        }
        let parts: Vec<Value> = self
            .places()
            .map(|(start, width)| {
                let ends: Vec<Value> = [("starts", start), ("ends", start + width), ("axes", 1)]
                    .map(|(name, at)| b.ints(name, &[at as i64]))
                    .to_vec();
                let part = b.op("Slice", &[&curved, &ends[0], &ends[1], &ends[2]], &[] as &[(&str, Attr)]);
                b.l2_normalise(&part, -1, LEAST_DIVISOR)
            })
            .collect();
        let joined = b.concat(&parts.iter().collect::<Vec<_>>(), 1);
        b.mul_scalar(&joined, self.weight() as f32)
    }

    /// Adds the inverse of the curve to a graph. The length of the item cannot be recovered.
    pub(crate) fn undo(&self, b: &mut Builder, p: &Value) -> Value {
        match self.curve {
            Curve::Unit => p.clone(),
            Curve::SignedRoot => {
                let size = b.abs(p);
                b.mul(p, &size)
            }
        }
    }

    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        self.blocks.iter().scan(0, |end, &width| {
            let start = *end;
            *end += width;
            Some((start, width))
        })
    }

    fn weight(&self) -> f64 {
        1.0 / (self.blocks.len() as f64).sqrt()
    }
}

fn scale(mut block: ArrayViewMut1<'_, f64>, weight: f64) {
    let length = block.dot(&block).sqrt().max(f64::from(LEAST_DIVISOR));
    block *= weight / length;
}
