//! A borrowed tensor in the form of DLPack.
//!
//! The numbers of a view come from the other side of the ABI and may be wrong. [`TensorView::layout`] checks
//! them, and every method that gives access to the memory calls it first.

use core::marker::PhantomData;

use abi_stable::StableAbi;
use abi_stable::std_types::RSlice;

/// The largest rank a view may have.
pub const MAX_RANK: usize = 8;

/// An element type in the encoding of DLPack (`DLDataType`).
#[repr(C)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataType {
    /// 0 signed integer, 1 unsigned integer, 2 float, 4 bfloat, 6 bool.
    pub code: u8,
    /// Bits of one lane.
    pub bits: u8,
    /// Number of lanes; always 1 here.
    pub lanes: u16,
}

impl DataType {
    /// IEEE 754 half, single and double, and bfloat16.
    pub const F16: Self = Self::of(2, 16);
    /// See [`DataType::F16`].
    pub const F32: Self = Self::of(2, 32);
    /// See [`DataType::F16`].
    pub const F64: Self = Self::of(2, 64);
    /// See [`DataType::F16`].
    pub const BF16: Self = Self::of(4, 16);
    /// One byte, 0 or 1.
    pub const BOOL: Self = Self::of(6, 8);

    /// Returns the type of this code and width, with one lane.
    pub const fn of(code: u8, bits: u8) -> Self {
        Self { code, bits, lanes: 1 }
    }

    /// Returns the size of one element in bytes, or `None` for a type that this ABI does not support.
    pub const fn size(self) -> Option<usize> {
        match (self.code, self.bits, self.lanes) {
            (0 | 1, 8 | 16 | 32 | 64, 1) | (2, 16 | 32 | 64, 1) => Some(self.bits as usize / 8),
            (4, 16, 1) => Some(2),
            (6, 8, 1) => Some(1),
            _ => None,
        }
    }
}

impl core::fmt::Display for DataType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match (self.code, self.bits, self.lanes) {
            (0, bits, 1) => write!(f, "i{bits}"),
            (1, bits, 1) => write!(f, "u{bits}"),
            (2, bits, 1) => write!(f, "f{bits}"),
            (4, bits, 1) => write!(f, "bf{bits}"),
            (6, 8, 1) => write!(f, "bool"),
            (code, bits, lanes) => write!(f, "DLPack type {code}/{bits}x{lanes}"),
        }
    }
}

/// A device in the encoding of DLPack (`DLDevice`).
#[repr(C)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Device {
    /// 1 for the CPU, the only supported kind.
    pub kind: i32,
    /// The index of the device.
    pub id: i32,
}

impl Device {
    /// The CPU.
    pub const CPU: Self = Self { kind: 1, id: 0 };
}

/// A Rust type that the elements of a view can be read as.
///
/// # Safety
/// The type must have the size of `DTYPE`, and every bit pattern must be a valid value.
pub unsafe trait Element: Copy + Send + Sync + 'static {
    /// The corresponding DLPack type.
    const DTYPE: DataType;
}

macro_rules! elements {
    ($($rust:ty: $code:literal, $bits:literal;)*) => { $(
        // SAFETY: a plain number, for which every bit pattern is a value, of `bits` bits.
        unsafe impl Element for $rust { const DTYPE: DataType = DataType::of($code, $bits); }
    )* };
}
elements! {
    f32: 2, 32; f64: 2, 64;
    i8: 0, 8; i16: 0, 16; i32: 0, 32; i64: 0, 64;
    u8: 1, 8; u16: 1, 16; u32: 1, 32; u64: 1, 64;
}

/// A borrowed n-dimensional array, valid for `'a`. The receiver must not keep a pointer beyond the call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct TensorView<'a> {
    data: *const u8,
    len_bytes: u64,
    dtype: DataType,
    device: Device,
    shape: RSlice<'a, i64>,
    strides: RSlice<'a, i64>,
    borrowed: PhantomData<&'a u8>,
}

// SAFETY: a view is a shared borrow of memory that is not written during `'a`.
unsafe impl Send for TensorView<'_> {}
// SAFETY: as above.
unsafe impl Sync for TensorView<'_> {}

/// The checked shape and strides of a view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TensorLayout {
    rank: usize,
    shape: [usize; MAX_RANK],
    strides: [usize; MAX_RANK],
    elements: usize,
    dense: bool,
}

impl TensorLayout {
    /// Returns the length of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape[..self.rank]
    }
    /// Returns the stride of each axis, in elements.
    pub fn strides(&self) -> &[usize] {
        &self.strides[..self.rank]
    }
    /// Returns the number of elements.
    pub fn elements(&self) -> usize {
        self.elements
    }
    /// Returns whether the elements are contiguous in row-major order.
    pub fn is_dense(&self) -> bool {
        self.dense
    }
}

/// The error of a view that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum ViewError {
    #[error("the tensor is on device {kind}:{id}; only the CPU (1:0) is supported")]
    Device { kind: i32, id: i32 },
    #[error("element type {0} is not known to this ABI")]
    UnknownType(DataType),
    #[error("expected elements of type {expected}, got {got}")]
    Type { expected: DataType, got: DataType },
    #[error("expected a rank of at most {MAX_RANK}, got {rank}")]
    Rank { rank: usize },
    #[error("expected one stride for each of {rank} axes, or none for row-major order, got {strides}")]
    StrideCount { rank: usize, strides: usize },
    #[error("axis {axis} has the negative length {length}")]
    NegativeLength { axis: usize, length: i64 },
    #[error("axis {axis} has the negative stride {stride}")]
    NegativeStride { axis: usize, stride: i64 },
    #[error("the shape's number of elements or bytes overflows")]
    Overflow,
    #[error("the last element ends at byte {end}, but the tensor has {len} bytes")]
    TooShort { end: u64, len: u64 },
    #[error("the tensor has {elements} elements, but its address is null")]
    Null { elements: usize },
    #[error("the address of the tensor is not a multiple of {align}, the size of an element")]
    Misaligned { align: usize },
    #[error("expected row-major order, got the strides {strides:?}")]
    NotDense { strides: Vec<usize> },
}

impl<'a> TensorView<'a> {
    /// Returns a view of a slice in row-major order. The shape is checked when the view is read.
    pub fn dense<T: Element>(data: &'a [T], shape: &'a [i64]) -> Self {
        Self::strided(data, shape, &[])
    }

    /// Returns a view of a slice with these strides, in elements. No strides mean row-major order.
    pub fn strided<T: Element>(data: &'a [T], shape: &'a [i64], strides: &'a [i64]) -> Self {
        // SAFETY: the memory is a live slice of `T`, the type that `DTYPE` describes.
        unsafe {
            Self::from_raw(
                data.as_ptr().cast(),
                size_of_val(data) as u64,
                T::DTYPE,
                Device::CPU,
                shape,
                strides,
            )
        }
    }

    /// Returns a dense view of bytes as elements of `dtype`. The alignment is checked when the view is read.
    pub fn of_bytes(bytes: &'a [u8], dtype: DataType, shape: &'a [i64]) -> Self {
        // SAFETY: the memory is a live slice; a reader checks alignment and, for bool, the values.
        unsafe { Self::from_raw(bytes.as_ptr(), bytes.len() as u64, dtype, Device::CPU, shape, &[]) }
    }

    /// Returns a view of unchecked numbers. They are checked when the view is read.
    ///
    /// # Safety
    /// On the CPU, `data..data + len_bytes` must be readable and must not be written during `'a`. The other
    /// numbers may be wrong.
    pub unsafe fn from_raw(
        data: *const u8,
        len_bytes: u64,
        dtype: DataType,
        device: Device,
        shape: &'a [i64],
        strides: &'a [i64],
    ) -> Self {
        Self {
            data,
            len_bytes,
            dtype,
            device,
            shape: RSlice::from_slice(shape),
            strides: RSlice::from_slice(strides),
            borrowed: PhantomData,
        }
    }

    /// Returns the element type, unchecked.
    pub fn dtype(&self) -> DataType {
        self.dtype
    }

    /// Returns the address of the first element, unchecked. A test can use it to show that nothing was
    /// copied.
    pub fn data(&self) -> *const u8 {
        self.data
    }

    /// Checks the view and returns its shape and strides.
    ///
    /// # Errors
    /// If the device or the element type is not supported, the rank is too large, a length or stride is
    /// negative, a product overflows, the address is misaligned or null, or the last element lies beyond the
    /// bytes.
    pub fn layout(&self) -> Result<TensorLayout, ViewError> {
        if self.device != Device::CPU {
            return Err(ViewError::Device { kind: self.device.kind, id: self.device.id });
        }
        let size = self.dtype.size().ok_or(ViewError::UnknownType(self.dtype))?;
        let layout = numbers(self.shape.as_slice(), self.strides.as_slice())?;
        self.fits(&layout, size)?;
        Ok(layout)
    }

    /// Returns the address of the first element, aligned and not null, and the checked layout.
    ///
    /// # Errors
    /// As [`TensorView::layout`], or if the elements are not of type `T`.
    pub fn elements<T: Element>(&self) -> Result<(*const T, TensorLayout), ViewError> {
        if self.dtype != T::DTYPE {
            return Err(ViewError::Type { expected: T::DTYPE, got: self.dtype });
        }
        let layout = self.layout()?;
        let data = if layout.elements == 0 { core::ptr::dangling() } else { self.data.cast::<T>() };
        Ok((data, layout))
    }

    /// Returns the elements as a slice, and the checked layout.
    ///
    /// # Errors
    /// As [`TensorView::elements`], or if the elements are not in row-major order.
    pub fn slice<T: Element>(&self) -> Result<(&'a [T], TensorLayout), ViewError> {
        let (data, layout) = self.elements::<T>()?;
        if !layout.dense {
            return Err(ViewError::NotDense { strides: layout.strides().to_vec() });
        }
        // SAFETY: `layout` checked that `elements` aligned values of `T` lie in memory borrowed for `'a`.
        Ok((unsafe { core::slice::from_raw_parts(data, layout.elements) }, layout))
    }

    /// Returns the elements as bytes, and the checked layout. It serves types without a Rust equivalent.
    ///
    /// # Errors
    /// As [`TensorView::layout`], or if the elements are not in row-major order.
    pub fn bytes(&self) -> Result<(&'a [u8], TensorLayout), ViewError> {
        let layout = self.layout()?;
        if !layout.dense {
            return Err(ViewError::NotDense { strides: layout.strides().to_vec() });
        }
        if layout.elements == 0 {
            return Ok((&[], layout));
        }
        let bytes = layout.elements * self.dtype.size().unwrap_or(0);
        // SAFETY: `layout` checked that so many bytes are readable for `'a`.
        Ok((unsafe { core::slice::from_raw_parts(self.data, bytes) }, layout))
    }

    /// Checks that the last element lies within the bytes, and that the address is aligned.
    fn fits(&self, layout: &TensorLayout, size: usize) -> Result<(), ViewError> {
        let bytes = layout.elements.checked_mul(size).ok_or(ViewError::Overflow)?;
        if isize::try_from(bytes).is_err() || isize::try_from(self.len_bytes).is_err() {
            return Err(ViewError::Overflow);
        }
        if layout.elements == 0 {
            return Ok(());
        }
        let mut last = 0usize;
        for (length, stride) in layout.shape().iter().zip(layout.strides()) {
            let reach = (length - 1).checked_mul(*stride).ok_or(ViewError::Overflow)?;
            last = last.checked_add(reach).ok_or(ViewError::Overflow)?;
        }
        let end = last.checked_add(1).and_then(|n| n.checked_mul(size)).ok_or(ViewError::Overflow)?;
        if end as u64 > self.len_bytes {
            return Err(ViewError::TooShort { end: end as u64, len: self.len_bytes });
        }
        if self.data.is_null() {
            return Err(ViewError::Null { elements: layout.elements });
        }
        if !self.data.addr().is_multiple_of(size) {
            return Err(ViewError::Misaligned { align: size });
        }
        Ok(())
    }
}

/// Converts lengths and strides to a layout, without looking at the memory.
fn numbers(shape: &[i64], strides: &[i64]) -> Result<TensorLayout, ViewError> {
    let rank = shape.len();
    if rank > MAX_RANK {
        return Err(ViewError::Rank { rank });
    }
    if !strides.is_empty() && strides.len() != rank {
        return Err(ViewError::StrideCount { rank, strides: strides.len() });
    }
    let mut layout =
        TensorLayout { rank, shape: [0; MAX_RANK], strides: [0; MAX_RANK], elements: 1, dense: true };
    // Axes of length zero are left out of the product: the other axes of an empty array must not overflow.
    let mut product = 1usize;
    for axis in (0..rank).rev() {
        let length = usize::try_from(shape[axis])
            .map_err(|_| ViewError::NegativeLength { axis, length: shape[axis] })?;
        let stride = match strides.get(axis) {
            None => product,
            Some(&s) => usize::try_from(s).map_err(|_| ViewError::NegativeStride { axis, stride: s })?,
        };
        layout.dense &= length <= 1 || stride == product;
        layout.shape[axis] = length;
        layout.strides[axis] = stride;
        layout.elements = layout.elements.saturating_mul(length);
        product = product.checked_mul(length.max(1)).ok_or(ViewError::Overflow)?;
    }
    layout.dense |= layout.elements == 0;
    if isize::try_from(product).is_err() { Err(ViewError::Overflow) } else { Ok(layout) }
}
