//! Tensors with a name, and tensors that one side made and the other reads, then gives back.

use core::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use abi_stable::StableAbi;
use abi_stable::std_types::{RStr, RString, RVec};

use crate::{DataType, TensorView};

/// A borrowed tensor and its name, e.g. `source.pooled`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct NamedTensor<'a> {
    /// What the receiver asks for.
    pub name: RStr<'a>,
    /// The elements, borrowed.
    pub tensor: TensorView<'a>,
}

/// A tensor that its maker owns: the receiver reads it through [`OwnedTensor::view`] and the memory is freed by the maker's own
/// code when this is dropped, so neither side needs to know the other's allocator and nothing is copied.
#[repr(C)]
#[derive(StableAbi)]
pub struct OwnedTensor {
    data: *const u8,
    len_bytes: u64,
    dtype: DataType,
    shape: RVec<i64>,
    owner: *mut c_void,
    release: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: `owner` is a boxed `O: Send + Sync`, only ever read through shared views and dropped once.
unsafe impl Send for OwnedTensor {}
// SAFETY: as above.
unsafe impl Sync for OwnedTensor {}

impl OwnedTensor {
    /// Takes `owner`, whose bytes (as told by `bytes`) are dense elements of `dtype` and of this shape.
    pub fn new<O: Send + Sync + 'static>(
        owner: O,
        dtype: DataType,
        shape: &[i64],
        bytes: impl FnOnce(&O) -> &[u8],
    ) -> Self {
        let owner = Box::new(owner);
        let (data, len_bytes) = {
            let bytes = bytes(&owner);
            (bytes.as_ptr(), bytes.len() as u64)
        };
        Self {
            data,
            len_bytes,
            dtype,
            shape: RVec::from(shape.to_vec()),
            owner: Box::into_raw(owner).cast(),
            release: release::<O>,
        }
    }

    /// The elements, borrowed; checked by the reader as every view is.
    pub fn view(&self) -> TensorView<'_> {
        // SAFETY: `owner` keeps the bytes alive and unwritten while `self` lives; `new` took them from it.
        unsafe {
            TensorView::from_raw(
                self.data,
                self.len_bytes,
                self.dtype,
                crate::Device::CPU,
                self.shape.as_slice(),
                &[],
            )
        }
    }
}

impl Drop for OwnedTensor {
    fn drop(&mut self) {
        // SAFETY: `release` is the function made for `owner` in `new`, and this runs once.
        unsafe { (self.release)(self.owner) }
    }
}

/// Drops a boxed owner; a panic in its drop ends here.
///
/// # Safety
/// `owner` must come from `Box::<O>::into_raw`, and be released once.
unsafe extern "C" fn release<O>(owner: *mut c_void) {
    // SAFETY: the caller's promise.
    let owner = unsafe { Box::from_raw(owner.cast::<O>()) };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(owner))) {
        core::mem::forget(payload); // its drop might panic too
    }
}

/// A tensor that its maker owns, and its name.
#[repr(C)]
#[derive(StableAbi)]
pub struct NamedOwned {
    /// The name.
    pub name: RString,
    /// The elements.
    pub tensor: OwnedTensor,
}
