//! Tensors with a name, and tensors that one side made and the other reads, then gives back.

use core::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use abi_stable::StableAbi;
use abi_stable::std_types::{RStr, RString};

use crate::{DataType, Device, MAX_RANK, TensorView, ViewError};

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
    rank: u32,
    shape: *const i64,
    owner: *mut c_void,
    release: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: `owner` is a boxed `O: Send + Sync`, only ever read through shared views and dropped once.
unsafe impl Send for OwnedTensor {}
// SAFETY: as above.
unsafe impl Sync for OwnedTensor {}

/// What `owner` points to: one allocation for the elements' owner and the shape.
struct OwnerAndShape<O> {
    owner: O,
    shape: [i64; MAX_RANK],
}

impl OwnedTensor {
    /// Takes `owner`, whose bytes (as told by `bytes`) are dense elements of `dtype` and of this shape.
    pub fn new<O: Send + Sync + 'static>(
        owner: O,
        dtype: DataType,
        shape: impl ExactSizeIterator<Item = i64>,
        bytes: impl FnOnce(&O) -> &[u8],
    ) -> Result<Self, ViewError> {
        let rank = shape.len();
        if rank > MAX_RANK {
            return Err(ViewError::Rank { rank });
        }
        let mut boxed = Box::new(OwnerAndShape { owner, shape: [0; MAX_RANK] });
        boxed.shape.iter_mut().zip(shape).for_each(|(place, length)| *place = length);
        let bytes = bytes(&boxed.owner);
        let (data, len_bytes) = (bytes.as_ptr(), bytes.len() as u64);
        let boxed = Box::into_raw(boxed);
        Ok(Self {
            data,
            len_bytes,
            dtype,
            rank: rank as u32,
            // SAFETY: `boxed` was boxed just above.
            shape: unsafe { &raw const (*boxed).shape }.cast(),
            owner: boxed.cast(),
            release: release::<O>,
        })
    }

    /// The elements, borrowed; checked by the reader as every view is.
    pub fn view(&self) -> TensorView<'_> {
        // SAFETY: `owner` keeps the bytes and the `rank` lengths alive and unwritten while `self` lives; `new` took them from it.
        unsafe {
            let shape = core::slice::from_raw_parts(self.shape, self.rank as usize);
            TensorView::from_raw(self.data, self.len_bytes, self.dtype, Device::CPU, shape, &[])
        }
    }
}

impl Drop for OwnedTensor {
    fn drop(&mut self) {
        // SAFETY: `release` is the function made for `owner` in `new`, and this runs once.
        unsafe { (self.release)(self.owner) }
    }
}

/// Drops what is boxed; a panic in its drop ends here.
///
/// # Safety
/// `owner` must be of [`OwnedTensor::new`], with the same `O`, and be released once.
unsafe extern "C" fn release<O>(owner: *mut c_void) {
    // SAFETY: the caller's promise.
    let owner = unsafe { Box::from_raw(owner.cast::<OwnerAndShape<O>>()) };
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
