//! Named tensors, and tensors that one side of the ABI owns and the other reads and releases.

use core::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use abi_stable::StableAbi;
use abi_stable::std_types::{RStr, RString};

use crate::{DataType, Device, MAX_RANK, TensorView, ViewError};

/// A borrowed tensor and its name, for example `image.pooled`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct NamedTensor<'a> {
    /// The name.
    pub name: RStr<'a>,
    /// The elements, borrowed.
    pub tensor: TensorView<'a>,
}

/// A tensor whose memory belongs to the side that made it.
///
/// The receiver reads it through [`OwnedTensor::view`]. When it is dropped, the code of the side that made it
/// frees the memory: nothing is copied, and the two sides may use different allocators.
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

/// The allocation that `OwnedTensor::owner` points to.
struct OwnerAndShape<O> {
    owner: O,
    shape: [i64; MAX_RANK],
}

impl OwnedTensor {
    /// Returns a tensor over the memory of `owner`. `bytes` returns the dense elements, of this type and
    /// shape.
    ///
    /// # Errors
    /// If the rank exceeds [`MAX_RANK`].
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

    /// Returns a view of the elements. It is checked when it is read.
    pub fn view(&self) -> TensorView<'_> {
        // A rank that `new` would not have accepted comes from a faulty plugin. Reading the view then fails.
        static TOO_MANY_AXES: [i64; MAX_RANK + 1] = [0; MAX_RANK + 1];
        // SAFETY: `new` took the bytes and the `rank` lengths from `owner`, which keeps them alive and
        // unchanged as long as `self`.
        unsafe {
            let rank = self.rank as usize;
            let shape = if rank > MAX_RANK || self.shape.is_null() {
                &TOO_MANY_AXES
            } else {
                core::slice::from_raw_parts(self.shape, rank)
            };
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

/// Drops the owner of a tensor and discards a panic of its drop.
///
/// # Safety
/// `owner` must come from [`OwnedTensor::new`] with the same `O`, and must be released only once.
unsafe extern "C" fn release<O>(owner: *mut c_void) {
    // SAFETY: the caller guarantees it.
    let owner = unsafe { Box::from_raw(owner.cast::<OwnerAndShape<O>>()) };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(owner))) {
        core::mem::forget(payload); // its drop might panic too
    }
}

/// An [`OwnedTensor`] and its name.
#[repr(C)]
#[derive(StableAbi)]
pub struct NamedOwned {
    /// The name.
    pub name: RString,
    /// The tensor.
    pub tensor: OwnedTensor,
}
