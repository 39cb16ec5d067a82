//! Plans which items share a batch, and stacks them. Needs no thread and no engine.
//!
//! Within a shard, ragged items are sorted by length, the longest first, and packed until the padded size
//! reaches a limit, so that little of a batch is padding. Items of inputs without a padding value share a
//! batch only if these inputs have equal shapes: no mask would hide the padding from the model. The plan
//! depends only on the items, not on timing: the same items give the same batches, hence the same bytes.

use chiasm_graph::{DType, Tensor, TensorData};

/// One input of the model as a single item provides it (without the batch axis).
#[derive(Debug, Clone, PartialEq)]
pub struct ItemInput {
    /// The name of the model's input.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// The length of each axis; `None` marks a ragged axis.
    pub dims: Vec<Option<usize>>,
    /// The value that pads ragged axes to the longest item of the batch. `None` never pads: a batch holds
    /// items of equal lengths.
    pub pad: Option<f64>,
}

/// The limits of one batch. An item that exceeds them alone is a batch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most rows.
    pub rows: usize,
    /// The most steps: rows times the steps of the longest item along the ragged axes (tokens, samples).
    pub steps: usize,
    /// The most bytes of all inputs, padding included.
    pub bytes: usize,
}

/// The size of a prepared item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ItemSize {
    /// The longest product of ragged axes among the item's inputs; 1 when nothing is ragged.
    pub steps: usize,
    pub bytes: usize,
    /// The lengths of ragged axes that are never padded.
    pub unpadded: Vec<usize>,
}

/// Checks a prepared item against the inputs and returns its size.
///
/// # Errors
/// One sentence that names the input, what was expected and what was given.
pub(crate) fn measure(item: &[Tensor], inputs: &[ItemInput]) -> Result<ItemSize, String> {
    if item.len() != inputs.len() {
        return Err(format!("expected {} prepared tensors, got {}", inputs.len(), item.len()));
    }
    let mut size = ItemSize { steps: 1, bytes: 0, unpadded: Vec::new() };
    for (tensor, input) in item.iter().zip(inputs) {
        let shape = tensor.shape();
        let fits = shape.len() == input.dims.len()
            && shape.iter().zip(&input.dims).all(|(length, dim)| dim.is_none_or(|fixed| fixed == *length));
        if tensor.dtype() != input.dtype || !fits {
            return Err(format!(
                "prepared tensor \"{}\": expected {}{:?}, got {}{:?}",
                input.name,
                input.dtype,
                Ragged(&input.dims),
                tensor.dtype(),
                shape
            ));
        }
        let ragged =
            shape.iter().zip(&input.dims).filter(|(_, dim)| dim.is_none()).map(|(length, _)| *length);
        size.steps = size.steps.max(ragged.clone().product());
        if input.pad.is_none() {
            size.unpadded.extend(ragged);
        }
        size.bytes += tensor.bytes().len();
    }
    Ok(size)
}

struct Ragged<'a>(&'a [Option<usize>]);

impl std::fmt::Debug for Ragged<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dims: Vec<String> = self.0.iter().map(|d| d.map_or("any".into(), |n| n.to_string())).collect();
        write!(f, "[{}]", dims.join(", "))
    }
}

/// Splits a shard into batches of positions, the longest items first, ties in item order.
pub(crate) fn plan(sizes: &[ItemSize], limits: &BatchLimits) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by(|&i, &j| {
        let longest_first = sizes[j].steps.cmp(&sizes[i].steps);
        longest_first.then_with(|| sizes[i].unpadded.cmp(&sizes[j].unpadded)).then(i.cmp(&j))
    });
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for i in order {
        let fits = |batch: &Vec<usize>| {
            let (rows, first) = (batch.len() + 1, &sizes[batch[0]]);
            rows <= limits.rows
                && rows * first.steps <= limits.steps
                && rows * first.bytes <= limits.bytes
                && first.unpadded == sizes[i].unpadded
        };
        match batches.last_mut() {
            Some(batch) if fits(batch) => batch.push(i),
            _ => batches.push(vec![i]),
        }
    }
    batches
}

/// Stacks one input of several items along a new first axis, padding ragged axes to the longest.
pub(crate) fn stack(items: &[&Tensor], pad: f64) -> Result<Tensor, chiasm_graph::Error> {
    let rank = items.first().map_or(0, |t| t.shape().len());
    let longest: Vec<usize> =
        (0..rank).map(|axis| items.iter().map(|t| t.shape()[axis]).max().unwrap_or(0)).collect();
    let shape: Vec<usize> = std::iter::once(items.len()).chain(longest.iter().copied()).collect();
    macro_rules! stacked {
        ($variant:ident, $fill:expr) => {{
            let row: usize = longest.iter().product();
            let mut all = Vec::with_capacity(row * items.len());
            for tensor in items {
                let TensorData::$variant(values) = tensor.data() else { return Err(mixed(tensor)) };
                if values.len() == row {
                    all.extend_from_slice(values);
                } else {
                    let start = all.len();
                    all.resize(start + row, $fill);
                    place(&mut all[start..], &longest, values, tensor.shape());
                }
            }
            Tensor::new(&shape, TensorData::$variant(all))
        }};
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a pad value is a small whole number or 0"
    )]
    match items.first().map_or(DType::F32, |t| t.dtype()) {
        DType::F32 => stacked!(F32, pad as f32),
        DType::F64 => stacked!(F64, pad),
        DType::F16 => stacked!(F16, half::f16::from_f64(pad)),
        DType::BF16 => stacked!(BF16, half::bf16::from_f64(pad)),
        DType::I64 => stacked!(I64, pad as i64),
        DType::I32 => stacked!(I32, pad as i32),
        DType::I16 => stacked!(I16, pad as i16),
        DType::I8 => stacked!(I8, pad as i8),
        DType::U64 => stacked!(U64, pad as u64),
        DType::U32 => stacked!(U32, pad as u32),
        DType::U16 => stacked!(U16, pad as u16),
        DType::U8 => stacked!(U8, pad as u8),
        DType::Bool => stacked!(Bool, pad != 0.0),
        other => Err(chiasm_graph::Error::Unsupported(format!("stacking tensors of {other}"))),
    }
}

/// [`measure`] refuses mixed types earlier; a mix here is still an error instead of a panic.
fn mixed(tensor: &Tensor) -> chiasm_graph::Error {
    chiasm_graph::Error::Unsupported(format!("stacking {} with another type", tensor.dtype()))
}

/// Copies a block into the corner of a larger block of the same rank.
fn place<T: Copy>(into: &mut [T], outer: &[usize], from: &[T], inner: &[usize]) {
    let (Some((&length, inner_rest)), Some((_, outer_rest))) = (inner.split_first(), outer.split_first())
    else {
        if let (Some(to), Some(value)) = (into.first_mut(), from.first()) {
            *to = *value;
        }
        return;
    };
    if inner_rest == outer_rest {
        into[..from.len()].copy_from_slice(from);
        return;
    }
    let (to_step, from_step): (usize, usize) = (outer_rest.iter().product(), inner_rest.iter().product());
    for i in 0..length {
        place(&mut into[i * to_step..], outer_rest, &from[i * from_step..(i + 1) * from_step], inner_rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: BatchLimits = BatchLimits { rows: 4, steps: 20, bytes: usize::MAX };

    fn sizes(steps: &[usize]) -> Vec<ItemSize> {
        steps.iter().map(|&steps| ItemSize { steps, bytes: steps * 8, unpadded: Vec::new() }).collect()
    }

    #[test]
    fn batches_hold_every_item_once_within_the_limits() {
        let steps = [3, 9, 2, 2, 7, 5, 30, 1, 5, 5, 4, 2];
        let batches = plan(&sizes(&steps), &ANY);
        let mut seen: Vec<usize> = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..steps.len()).collect::<Vec<_>>());
        for batch in &batches {
            let longest = batch.iter().map(|&i| steps[i]).max().unwrap();
            assert!(batch.len() == 1 || (batch.len() <= 4 && batch.len() * longest <= 20), "{batch:?}");
        }
        assert_eq!(batches[0], vec![6], "an item above the limits goes alone");
    }

    #[test]
    fn equal_items_stay_in_order() {
        assert_eq!(plan(&sizes(&[1; 6]), &ANY), vec![vec![0, 1, 2, 3], vec![4, 5]]);
    }

    /// Lengths 2 x 6 and 3 x 4 are both 12 steps, so that the number of steps does not tell them apart.
    #[test]
    fn items_that_are_never_padded_share_a_batch_only_if_their_lengths_are_equal() {
        let shapes: [[usize; 2]; 7] = [[2, 6], [3, 4], [2, 6], [1, 5], [3, 4], [2, 6], [1, 5]];
        let inputs = |pad| [ItemInput { name: "x".into(), dtype: DType::F32, dims: vec![None, None], pad }];
        let sizes = |pad| -> Vec<ItemSize> {
            let item = |shape: &[usize; 2]| Tensor::f32(shape, vec![0.0; shape[0] * shape[1]]).unwrap();
            shapes.iter().map(|shape| measure(&[item(shape)], &inputs(pad)).unwrap()).collect()
        };
        let any = BatchLimits { rows: 9, steps: 999, bytes: usize::MAX };
        assert_eq!(plan(&sizes(None), &any), [vec![0, 2, 5], vec![1, 4], vec![3, 6]]);
        assert_eq!(plan(&sizes(Some(0.0)), &any), [vec![0, 1, 2, 4, 5, 3, 6]]);
    }

    #[test]
    fn ragged_axes_are_padded_in_the_corner() {
        let a = Tensor::i64(&[2], vec![1, 2]).unwrap();
        let b = Tensor::i64(&[3], vec![3, 4, 5]).unwrap();
        let both = stack(&[&a, &b], 9.0).unwrap();
        assert_eq!((both.shape(), both.as_i64().unwrap()), (&[2, 3][..], &[1, 2, 9, 3, 4, 5][..]));

        let wide = Tensor::f32(&[1, 3, 2], vec![1., 2., 3., 4., 5., 6.]).unwrap();
        let tall = Tensor::f32(&[2, 1, 2], vec![7., 8., 9., 10.]).unwrap();
        let both = stack(&[&wide, &tall], 0.5).unwrap();
        assert_eq!(both.shape(), &[2, 2, 3, 2]);
        let p = 0.5;
        let expected = [1., 2., 3., 4., 5., 6., p, p, p, p, p, p, 7., 8., p, p, p, p, 9., 10., p, p, p, p];
        assert_eq!(both.as_f32().unwrap(), &expected);
    }

    #[test]
    fn scalars_stack_into_a_row() {
        let items = [Tensor::scalar(1.0), Tensor::scalar(2.0)];
        let both = stack(&items.iter().collect::<Vec<_>>(), 0.0).unwrap();
        assert_eq!((both.shape(), both.as_f32().unwrap()), (&[2][..], &[1.0, 2.0][..]));
    }

    #[test]
    fn an_item_of_another_shape_is_named() {
        let inputs =
            [ItemInput { name: "ids".into(), dtype: DType::I64, dims: vec![None, Some(4)], pad: Some(0.0) }];
        let wrong = Tensor::i64(&[2, 3], vec![0; 6]).unwrap();
        let message = measure(&[wrong], &inputs).unwrap_err();
        assert!(message.contains("\"ids\": expected i64[any, 4], got i64[2, 3]"), "{message}");
        let right = Tensor::i64(&[5, 4], vec![0; 20]).unwrap();
        assert_eq!(measure(&[right], &inputs), Ok(ItemSize { steps: 5, bytes: 160, unpadded: Vec::new() }));
    }
}
