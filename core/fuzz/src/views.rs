//! Tensors as they cross the boundary to a plugin: a buffer, and numbers about it that may be wrong.

use crate::{input::Input, seeds::Seeds};
use chiasm_abi::{DataType, Element, TensorView, ViewError};

/// The words of the buffer.
const WORDS: usize = 24;

/// Reads a view of part of a buffer with any type, shape and strides. A view that can be read lies within
/// that part.
pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let words: [u64; WORDS] = std::array::from_fn(|word| 0x0101_0101_0101_0101 * word as u64);
    let buffer: &[u8] = bytes_of(&words);
    let from = input.below(buffer.len());
    let part = &buffer[from..][..input.below(buffer.len() - from + 1)];
    let dtype = DataType { code: input.byte() % 8, bits: input.byte(), lanes: u16::from(input.byte() % 3) };
    let kind = input.byte();
    let shape: Vec<i64> = (0..input.below(12)).map(|_| input.length()).collect();
    let strides: Vec<i64> = (0..input.below(12)).map(|_| input.length()).collect();
    match kind % 4 {
        0 => check(&TensorView::of_bytes(part, dtype, &shape), part, &shape, &[]),
        1 => {
            let view = TensorView::strided(part, &shape, &strides);
            check(&view, part, &shape, &strides);
        }
        2 => {
            let part = &words[..part.len() / 8];
            let view = TensorView::strided(part, &shape, &strides);
            check(&view, bytes_of(part), &shape, &strides);
        }
        _ => {
            let view = TensorView::dense(&words, &shape);
            check(&view, buffer, &shape, &[]);
        }
    }
}

/// Reads a view in every way, and asserts that what is read lies within `part` and has the stated shape.
fn check(view: &TensorView<'_>, part: &[u8], shape: &[i64], strides: &[i64]) {
    of::<u8>(view);
    of::<i64>(view);
    of::<u64>(view);
    of::<f32>(view);
    let Ok(layout) = view.layout() else {
        assert!(view.bytes().is_err(), "bytes are read of a view without a layout");
        return;
    };
    let stated: Vec<i64> = layout.shape().iter().map(|length| *length as i64).collect();
    assert_eq!(stated, shape);
    let size = view.dtype().size().unwrap_or(0) as i128;
    let count = stated.iter().fold(1_i128, |count, length| count.saturating_mul(i128::from(*length)));
    assert_eq!(count, layout.elements() as i128);
    // The place of the last element, in 128 bits, which these products do not exceed.
    let reach = |(axis, length): (usize, &i64)| {
        let stride = match strides.get(axis) {
            Some(stride) => i128::from(*stride),
            None => stated[axis + 1..].iter().map(|length| i128::from(*length).max(1)).product(),
        };
        (i128::from(*length) - 1) * stride
    };
    let last: i128 = stated.iter().enumerate().map(reach).sum();
    assert!(count == 0 || (last + 1) * size <= part.len() as i128, "{view_len} bytes", view_len = part.len());
    match view.bytes() {
        Ok((bytes, _)) => {
            assert_eq!(bytes.len() as i128, count * size);
            assert_eq!(bytes, &part[..bytes.len()]);
        }
        Err(error) => assert!(matches!(error, ViewError::NotDense { .. }), "{error}"),
    }
}

fn of<T: Element + PartialEq + std::fmt::Debug>(view: &TensorView<'_>) {
    if let Ok((slice, layout)) = view.slice::<T>() {
        assert_eq!(slice.len(), layout.elements());
        // Every element is read.
        std::hint::black_box(slice.iter().filter(|value| Some(*value) == slice.first()).count());
    }
}

/// The bytes of words in the order of the machine.
fn bytes_of(words: &[u64]) -> &[u8] {
    bytemuck::cast_slice(words)
}

pub(crate) fn seeds() -> Seeds {
    let case = |kind: u8, dtype: [u8; 3], shape: &[u8], strides: &[u8]| {
        let sizes = ([shape.len() as u8], [strides.len() as u8]);
        [&[0, 192][..], &dtype, &[kind], &sizes.0, shape, &sizes.1, strides].concat()
    };
    Ok(vec![
        case(0, [2, 32, 1], &[6, 8], &[]),
        case(0, [4, 16, 1], &[2, 3, 4], &[]),
        case(0, [6, 8, 1], &[0, 200], &[]),
        case(1, [1, 8, 1], &[4, 8], &[40, 1]),
        case(2, [1, 64, 1], &[2, 3], &[1, 8]),
        case(3, [1, 64, 1], &[24], &[]),
        case(2, [1, 64, 1], &[255, 255, 255, 255, 255, 255, 255, 255, 127, 2], &[0, 0]),
    ])
}
