//! The checks of a tensor view.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use chiasm_abi::{DataType, Device, MAX_RANK, OwnedTensor, TensorView, ViewError};

static DATA: [f32; 6] = [1., 2., 3., 4., 5., 6.];

fn error(shape: &[i64], strides: &[i64]) -> ViewError {
    TensorView::strided(&DATA, shape, strides).layout().unwrap_err()
}

/// Returns a view of the six floats with unchecked numbers.
fn raw<'a>(len: u64, dtype: DataType, device: Device, shape: &'a [i64]) -> TensorView<'a> {
    // SAFETY: no test makes `len` larger than the data where the view is then read.
    unsafe { TensorView::from_raw(DATA.as_ptr().cast(), len, dtype, device, shape, &[]) }
}

#[test]
fn a_valid_view_is_read_in_place() {
    let view = TensorView::dense(&DATA, &[2, 3]);
    let (slice, layout) = view.slice::<f32>().unwrap();
    assert_eq!((slice.as_ptr(), slice), (DATA.as_ptr(), &DATA[..]));
    assert_eq!((layout.shape(), layout.strides(), layout.is_dense()), (&[2, 3][..], &[3, 1][..], true));
    let (bytes, _) = view.bytes().unwrap();
    assert_eq!(bytes.len(), 24);
}

#[test]
fn strides_may_transpose_repeat_or_skip_elements() {
    for (shape, strides) in [(&[3, 2], &[1, 3]), (&[4, 6], &[0, 1]), (&[2, 2], &[3, 2])] {
        let layout = TensorView::strided(&DATA, shape, strides).layout().unwrap();
        assert!(!layout.is_dense());
        let view = TensorView::strided(&DATA, shape, strides);
        assert!(matches!(view.slice::<f32>(), Err(ViewError::NotDense { .. })));
        assert!(matches!(view.bytes(), Err(ViewError::NotDense { .. })));
    }
    let one_row = TensorView::strided(&DATA, &[1, 6], &[99, 1]);
    assert!(one_row.layout().unwrap().is_dense(), "the stride of an axis of length 1 is ignored");
}

#[test]
fn an_empty_view_needs_no_data_and_a_scalar_has_one_element() {
    // SAFETY: nothing is read from an empty view.
    let empty =
        unsafe { TensorView::from_raw(std::ptr::null(), 0, DataType::F32, Device::CPU, &[0, 5], &[]) };
    assert!(empty.slice::<f32>().unwrap().0.is_empty() && empty.bytes().unwrap().0.is_empty());
    assert_eq!(TensorView::dense(&DATA, &[]).slice::<f32>().unwrap().0, &DATA[..1]);
}

#[test]
fn each_invalid_shape_or_stride_has_its_own_error() {
    assert_eq!(error(&[2, 4], &[]), ViewError::TooShort { end: 32, len: 24 });
    assert_eq!(error(&[2, 3], &[4, 1]), ViewError::TooShort { end: 28, len: 24 });
    assert_eq!(error(&[2, -3], &[]), ViewError::NegativeLength { axis: 1, length: -3 });
    assert_eq!(error(&[2, 3], &[-3, 1]), ViewError::NegativeStride { axis: 0, stride: -3 });
    assert_eq!(error(&[2, 3], &[1]), ViewError::StrideCount { rank: 2, strides: 1 });
    assert_eq!(error(&[1; MAX_RANK + 1], &[]), ViewError::Rank { rank: MAX_RANK + 1 });
    assert_eq!(error(&[i64::MAX, 2], &[]), ViewError::Overflow);
    assert_eq!(error(&[i64::MAX, i64::MAX, 0], &[]), ViewError::Overflow, "an empty array may overflow too");
    assert_eq!(error(&[i64::MAX], &[]), ViewError::Overflow, "the number of bytes overflows");
    assert_eq!(error(&[3, 2], &[i64::MAX, 1]), ViewError::Overflow);
    assert_eq!(raw(u64::MAX, DataType::F32, Device::CPU, &[6]).layout(), Err(ViewError::Overflow));
}

#[test]
fn device_type_address_and_alignment_are_checked() {
    let gpu = Device { kind: 2, id: 1 };
    assert_eq!(raw(24, DataType::F32, gpu, &[6]).layout(), Err(ViewError::Device { kind: 2, id: 1 }));
    for odd in
        [DataType { lanes: 2, ..DataType::F32 }, DataType::of(2, 33), DataType::of(9, 8), DataType::of(6, 16)]
    {
        assert_eq!(raw(24, odd, Device::CPU, &[1]).layout(), Err(ViewError::UnknownType(odd)));
    }
    let wrong = ViewError::Type { expected: DataType::of(0, 64), got: DataType::F32 };
    assert_eq!(TensorView::dense(&DATA, &[6]).slice::<i64>().unwrap_err(), wrong);
    // SAFETY: a null address is refused before any read.
    let null = unsafe { TensorView::from_raw(std::ptr::null(), 24, DataType::F32, Device::CPU, &[6], &[]) };
    assert_eq!(null.layout(), Err(ViewError::Null { elements: 6 }));
    let bytes: Vec<u8> = DATA.iter().flat_map(|value| value.to_le_bytes()).collect();
    let odd = bytes.as_ptr().addr() % 4; // makes `start` an unaligned address
    let start = if odd == 3 { 2 } else { 1 };
    let view = TensorView::of_bytes(&bytes[start..], DataType::F32, &[2]);
    assert_eq!(view.layout(), Err(ViewError::Misaligned { align: 4 }));
}

#[test]
fn an_owned_tensor_is_freed_once_and_a_panic_of_its_drop_is_discarded() {
    use std::sync::Arc;
    struct Owner {
        _alive: Arc<()>,
        bytes: Vec<u8>,
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            panic!("on purpose")
        }
    }
    let alive = Arc::new(());
    let tensor = OwnedTensor::new(
        Owner { _alive: alive.clone(), bytes: vec![1, 2] },
        DataType::of(1, 8),
        [2].into_iter(),
        |owner| &owner.bytes,
    )
    .unwrap();
    assert_eq!(tensor.view().slice::<u8>().unwrap().0, [1, 2]);
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(tensor);
    assert_eq!(Arc::strong_count(&alive), 1);
}
